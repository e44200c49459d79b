/** Whose doctor it is: the notebook, its cluster, how fresh the news is, and the buttons. */
import type { LabIcon } from '@jupyterlab/ui-components';
import {
  ellipsesIcon,
  pauseIcon,
  refreshIcon,
  runIcon
} from '@jupyterlab/ui-components';
import React from 'react';

import type { Vitals } from '../_schema';
import { bytes, cut } from '../format';
import type { IState } from '../tokens';
import { pinIcon } from './icons';
import { useTools } from './tools';
import type { IActions } from './tools';

export function IconButton(props: {
  icon: LabIcon;
  label: string;
  isPressed?: boolean;
  isDisabled?: boolean;
  hasPopup?: boolean;
  onClick: (event: React.MouseEvent<HTMLElement>) => void;
}): JSX.Element {
  const { icon, label, isPressed, isDisabled, hasPopup, onClick } = props;
  return (
    <button
      type="button"
      className="jp-DaskDoctorPanel-iconButton"
      title={label}
      aria-label={label}
      aria-pressed={isPressed}
      aria-haspopup={hasPopup ? 'menu' : undefined}
      disabled={isDisabled}
      onClick={onClick}
    >
      <icon.react tag={null} />
    </button>
  );
}

/** What the dot means, in words. */
function reason(state: IState, trans: ReturnType<typeof useTools>['trans']) {
  const time =
    state.heard === null ? '' : new Date(state.heard).toLocaleTimeString();
  if (state.isPaused) {
    return trans.__('Paused');
  }
  if (state.pulse === 'live') {
    return trans.__('Live');
  }
  switch (state.phase) {
    case 'no-server':
      return trans.__('Lost: the Jupyter server does not answer');
    case 'lost':
      return trans.__('Lost: the scheduler does not answer');
    case 'connecting':
      return trans.__('Connecting to the scheduler');
    case 'restarting':
      return trans.__('The kernel is restarting');
    default:
      return time
        ? trans.__('Quiet: the kernel last answered at %1', time)
        : trans.__('Quiet: nothing heard yet');
  }
}

function clusterWords(
  vitals: Vitals,
  trans: ReturnType<typeof useTools>['trans']
): string {
  const parts = [
    trans._n('%1 worker', '%1 workers', vitals.n_workers),
    trans._n('%1 thread', '%1 threads', vitals.nthreads)
  ];
  if (vitals.memory_limit !== null) {
    parts.push(bytes(vitals.memory_limit));
  }
  return parts.join(' · ');
}

export function Header(props: {
  state: IState;
  actions: IActions;
}): JSX.Element {
  const { trans } = useTools();
  const { state, actions } = props;
  const vitals = state.told?.vitals ?? null;
  const words = reason(state, trans);
  const name = state.notebook ?? trans.__('No notebook');
  return (
    <div className="jp-DaskDoctorPanel-header">
      <div className="jp-DaskDoctorPanel-who">
        <span
          className={`jp-DaskDoctorPanel-dot jp-mod-${state.pulse}`}
          role="img"
          aria-label={words}
          title={words}
        />
        <span className="jp-DaskDoctorPanel-notebook" title={cut(name)}>
          {cut(name, 200)}
        </span>
        <span className="jp-DaskDoctorPanel-buttons">
          <IconButton
            icon={refreshIcon}
            label={trans.__('Check now')}
            isDisabled={state.notebook === null}
            onClick={actions.checkNow}
          />
          <IconButton
            icon={state.isPaused ? runIcon : pauseIcon}
            label={
              state.isPaused
                ? trans.__('Go on watching')
                : trans.__('Pause watching')
            }
            isDisabled={state.notebook === null}
            onClick={actions.togglePause}
          />
          <IconButton
            icon={pinIcon}
            label={trans.__('Stay with this notebook')}
            isPressed={state.isPinned}
            isDisabled={state.notebook === null}
            onClick={actions.togglePin}
          />
          <IconButton
            icon={ellipsesIcon}
            label={trans.__('More')}
            hasPopup={true}
            onClick={actions.openMenu}
          />
        </span>
      </div>
      <div className="jp-DaskDoctorPanel-cluster">
        {vitals && <span>{clusterWords(vitals, trans)}</span>}
        {vitals && state.pulse !== 'live' && (
          <span className="jp-DaskDoctorPanel-reason">{words}</span>
        )}
      </div>
    </div>
  );
}
