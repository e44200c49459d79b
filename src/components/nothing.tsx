/** Why there is nothing to show, and the one next step. */
import React from 'react';

import { cut } from '../format';
import type { IState } from '../tokens';
import { doctorIcon } from './icons';
import { useTools } from './tools';
import type { IActions, ITools } from './tools';

interface IWords {
  title: string;
  text: string;
  /** Of the button; without one the text says what to do. */
  step?: string;
  act?: () => void;
}

function words(
  state: IState,
  actions: IActions,
  trans: ITools['trans']
): IWords {
  const again = { step: trans.__('Check again'), act: actions.checkNow };
  switch (state.phase) {
    case 'no-notebook':
      return {
        title: trans.__('No notebook is open'),
        text: trans.__(
          'Open a notebook that uses Dask: the doctor follows the active one.'
        )
      };
    case 'no-kernel':
      return {
        title: trans.__('No kernel is running'),
        text: trans.__(
          'Start a kernel for this notebook, by running a cell for example.'
        )
      };
    case 'starting':
      return {
        title: trans.__('Asking the kernel…'),
        text: trans.__('This takes a moment.'),
        ...again
      };
    case 'restarting':
      return {
        title: trans.__('The kernel is restarting'),
        text: trans.__(
          'The doctor comes back with it. Then run the cell that makes the Dask client.'
        )
      };
    case 'not-python':
      return {
        title: trans.__('This kernel does not speak Python'),
        text: trans.__(
          'Dask needs a Python kernel: change it in the notebook’s toolbar.'
        )
      };
    case 'not-loaded':
      return {
        title: trans.__('Waiting for the kernel'),
        text: trans.__(
          'The doctor is not loaded in this kernel. It will be as soon as the running cell ends.'
        )
      };
    case 'loading':
      return {
        title: trans.__('Loading the doctor into the kernel…'),
        text: trans.__('This takes a moment.'),
        ...again
      };
    case 'no-package':
      return {
        title: trans.__('The kernel’s environment lacks the doctor'),
        text: trans.__(
          'The package jupyter-dask-doctor has to be installed where the kernel runs.'
        ),
        step: trans.__('Insert a cell that installs it'),
        act: () => actions.offer('package')
      };
    case 'no-distributed':
      return {
        title: trans.__('No Dask cluster yet'),
        text: trans.__(
          'Nothing in this kernel uses dask.distributed. The doctor sees a client by itself as soon as there is one.'
        ),
        step: trans.__('Insert a cell that starts a local cluster'),
        act: () => actions.offer('cluster')
      };
    case 'no-client':
      return {
        title: trans.__('No Dask client yet'),
        text: trans.__(
          'Make a Client in any cell: the doctor sees it by itself.'
        ),
        step: trans.__('Insert a cell that starts a local cluster'),
        act: () => actions.offer('cluster')
      };
    case 'old-distributed':
      return {
        title: trans.__('This version of Dask is too old'),
        text: trans.__('Upgrade dask and distributed, then restart the kernel.')
      };
    case 'connecting':
      return {
        title: trans.__('Connecting to the scheduler…'),
        text: trans.__(
          'The client is there; its scheduler has not answered yet.'
        ),
        ...again
      };
    case 'lost':
      return {
        title: trans.__('The scheduler is gone'),
        text: trans.__(
          'It does not answer any more. Run the cell that makes the client again.'
        ),
        ...again
      };
    case 'off':
      return {
        title: trans.__('The doctor switched itself off'),
        text: trans.__(
          'It failed repeatedly, by its own fault. Your computation is not affected. Restart the kernel to try again.'
        )
      };
    case 'old-kernel-side':
      return {
        title: trans.__('The kernel has an older doctor'),
        text: trans.__(
          'Upgrade jupyter-dask-doctor where the kernel runs, then restart the kernel.'
        ),
        step: trans.__('Insert a cell that upgrades it'),
        act: () => actions.offer('package')
      };
    case 'new-kernel-side':
      return {
        title: trans.__('The kernel has a newer doctor'),
        text: trans.__(
          'Upgrade jupyter-dask-doctor where JupyterLab runs, then restart the server and reload this page.'
        )
      };
    case 'not-answering':
      return {
        title: trans.__('The kernel does not answer'),
        text: trans.__(
          'It is starting, or busy in native code. The doctor goes on as soon as it answers.'
        ),
        ...again
      };
    case 'bad-message':
      return {
        title: trans.__('The kernel’s answer could not be read'),
        text: trans.__('Restart the kernel to try again.'),
        ...again
      };
    case 'no-server':
      return {
        title: trans.__('The Jupyter server does not answer'),
        text: trans.__('The doctor tries again by itself.'),
        ...again
      };
    default:
      return {
        title: trans.__('Waiting for the first measurement…'),
        text: trans.__('This takes a moment.'),
        ...again
      };
  }
}

export function Nothing(props: {
  state: IState;
  actions: IActions;
}): JSX.Element {
  const { trans } = useTools();
  const { state, actions } = props;
  const paused: IWords = {
    title: trans.__('Paused'),
    text: trans.__('Nothing is asked of the kernel.'),
    step: trans.__('Go on watching'),
    act: actions.togglePause
  };
  const said =
    state.isPaused && state.phase !== 'no-notebook'
      ? paused
      : words(state, actions, trans);
  return (
    <div
      className="jp-DaskDoctorPanel-nothing"
      role="status"
      data-phase={state.phase}
    >
      <span aria-hidden="true" className="jp-DaskDoctorPanel-emblem">
        <doctorIcon.react tag={null} />
      </span>
      <h2>{said.title}</h2>
      <p>{said.text}</p>
      {said.act && (
        <button
          type="button"
          className="jp-DaskDoctorPanel-button"
          onClick={said.act}
        >
          {said.step}
        </button>
      )}
      {state.message !== '' && (
        <p className="jp-DaskDoctorPanel-muted">{cut(state.message)}</p>
      )}
    </div>
  );
}
