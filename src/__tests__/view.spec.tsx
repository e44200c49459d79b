import { act, fireEvent, render, screen } from '@testing-library/react';
import { nullTranslator } from '@jupyterlab/translation';
import React from 'react';

import type { CollectionInfo, MemoryPoint, WorkerInfo } from '../_schema';
import type { IActions, IDrawn, ITools } from '../components/tools';
import type { IState, Phase } from '../tokens';
import { DoctorView } from '../view';
import { GiB, MiB, point, reply, report, state, vitals } from './healthy';

function makeTools(over: Partial<ITools> = {}): ITools {
  return {
    trans: nullTranslator.load('jupyter_dask_doctor'),
    theme: 0,
    draw: null,
    highlight: async (code, node) => {
      node.textContent = code;
    },
    explain: () => Promise.reject(new Error('none')),
    preview: () => [],
    ...over
  };
}

function show(over: Partial<IState> = {}, tools = makeTools()) {
  const actions = {
    checkNow: jest.fn(),
    togglePause: jest.fn(),
    togglePin: jest.fn(),
    openMenu: jest.fn(),
    goTo: jest.fn(),
    apply: jest.fn(),
    copy: jest.fn(),
    ignore: jest.fn(),
    offer: jest.fn()
  } satisfies IActions;
  const element = (more: Partial<IState>) => (
    <DoctorView state={state(more)} actions={actions} tools={tools} />
  );
  const view = render(element(over));
  return {
    actions,
    view,
    again: (more: Partial<IState>) => view.rerender(element(more))
  };
}

const worker: WorkerInfo = {
  name: 'w0',
  address: 'tcp://127.0.0.1:1',
  status: 'running',
  memory_limit: 4 * GiB,
  process: 3 * GiB,
  managed: GiB,
  spilled: 0,
  peak: 3.5 * GiB
};

const collection: CollectionInfo = {
  name: 'orders',
  kind: 'dataframe',
  npartitions: 24,
  nbytes: { nbytes: 2 * GiB, known: 'estimated' },
  largest: { nbytes: 100 * MiB, known: 'measured' },
  is_persisted: true,
  is_eager: false,
  sizes: null,
  at: null
};

describe('states with nothing to show', () => {
  const phases: [Phase, RegExp, string | null][] = [
    ['no-notebook', /No notebook is open/, null],
    ['no-kernel', /No kernel is running/, null],
    ['starting', /Asking the kernel/, 'Check again'],
    ['restarting', /The kernel is restarting/, null],
    ['not-python', /does not speak Python/, null],
    ['not-loaded', /Waiting for the kernel/, null],
    ['loading', /Loading the doctor/, 'Check again'],
    ['no-package', /lacks the doctor/, 'Insert a cell that installs it'],
    [
      'no-distributed',
      /No Dask cluster yet/,
      'Insert a cell that starts a local cluster'
    ],
    ['old-distributed', /too old/, null],
    [
      'no-client',
      /No Dask client yet/,
      'Insert a cell that starts a local cluster'
    ],
    ['connecting', /Connecting to the scheduler/, 'Check again'],
    ['lost', /The scheduler is gone/, 'Check again'],
    ['off', /switched itself off/, null],
    [
      'old-kernel-side',
      /kernel has an older doctor/,
      'Insert a cell that upgrades it'
    ],
    ['new-kernel-side', /kernel has a newer doctor/, null],
    ['not-answering', /does not answer/, 'Check again'],
    ['bad-message', /could not be read/, 'Check again'],
    ['no-server', /Jupyter server does not answer/, 'Check again']
  ];

  it.each(phases)(
    '%s has its own words and one next step',
    (phase, title, step) => {
      const { view } = show({
        phase,
        told: null,
        message: 'From <b>there</b>.',
        pulse: 'quiet'
      });
      expect(screen.getByRole('heading').textContent).toMatch(title);
      expect(view.container.querySelector('b')).toBeNull();
      const buttons = [
        ...view.container.querySelectorAll('.jp-DaskDoctorPanel-nothing button')
      ].map(button => button.textContent);
      expect(buttons).toEqual(step === null ? [] : [step]);
    }
  );

  it('are all different', () => {
    const titles = phases.map(([phase]) => {
      const { view } = show({ phase, told: null });
      const title = view.container.querySelector('h3')?.textContent;
      view.unmount();
      return title;
    });
    expect(new Set(titles).size).toBe(phases.length);
  });

  it('offer the cell that helps', () => {
    const { actions } = show({ phase: 'no-client', told: null });
    fireEvent.click(screen.getByText(/starts a local cluster/));
    expect(actions.offer).toHaveBeenCalledWith('cluster');
  });
});

describe('the header', () => {
  it('names the notebook and its cluster', () => {
    show();
    expect(screen.getByText('sales.ipynb')).toBeTruthy();
    expect(screen.getByText('4 workers · 8 threads · 16 GiB')).toBeTruthy();
    expect(screen.getByRole('img', { name: 'Live' })).toBeTruthy();
  });

  it('says in words why it is not live', () => {
    show({ pulse: 'lost', phase: 'lost' });
    expect(
      screen.getByText('Lost: the scheduler does not answer')
    ).toBeTruthy();
  });

  it('leaves out a limit that there is not', () => {
    show({ told: reply({ vitals: vitals({ memory_limit: null }) }) });
    expect(screen.getByText('4 workers · 8 threads')).toBeTruthy();
  });

  it('has a name for each button', () => {
    show();
    for (const button of screen.getAllByRole('button')) {
      expect(button.getAttribute('aria-label') ?? button.textContent).toMatch(
        /\w/
      );
    }
  });
});

describe('the vitals', () => {
  it('draw their marks where the limits are', () => {
    const { view } = show();
    const marks = [
      ...view.container.querySelectorAll<HTMLElement>(
        '.jp-DaskDoctorPanel-mark'
      )
    ].map(mark => mark.style.left);
    expect(marks).toEqual(['60%', '80%']);
  });

  it('stay within the bar when more is spilled than memory there is', () => {
    const { view } = show({
      told: reply({ vitals: vitals({ spilled: 100 * GiB }) })
    });
    const widths = [
      ...view.container.querySelectorAll<HTMLElement>(
        '.jp-DaskDoctorPanel-part'
      )
    ].map(part => parseFloat(part.style.width));
    expect(widths.reduce((a, b) => a + b)).toBeLessThanOrEqual(100.01);
  });

  it('bear a cluster without workers', () => {
    const { view } = show({
      told: reply({
        memory: [],
        vitals: vitals({
          n_workers: 0,
          nthreads: 0,
          memory_limit: 0,
          managed: 0,
          unmanaged: 0
        })
      })
    });
    expect(view.container.innerHTML).not.toContain('NaN');
  });
});

describe('the sections', () => {
  it('build nothing, and draw nothing, before they are opened', () => {
    const draw = jest.fn();
    show({ told: reply({ workers: [worker] }) }, makeTools({ draw }));
    expect(screen.queryByText('w0')).toBeNull();
    expect(draw).not.toHaveBeenCalled();
  });

  it('Data tells measured from estimated from unknown', () => {
    const unknown = {
      ...collection,
      name: 'x',
      npartitions: null,
      nbytes: null,
      largest: null
    };
    show({ told: reply({ collections: [collection, unknown] }) });
    fireEvent.click(screen.getByRole('button', { name: /^Data/ }));
    expect(
      screen.getByText(
        '24 partitions · ≈ 2 GiB estimated · largest 100 MiB measured'
      )
    ).toBeTruthy();
    expect(
      screen.getByText('number of partitions unknown · size unknown')
    ).toBeTruthy();
  });

  it('Checks says what was not checked and why', () => {
    const checks = [
      ...report().checks,
      {
        rule: 'x',
        title: 'Unfused compute',
        outcome: 'incomplete' as const,
        reason: 'No plugin.'
      }
    ];
    show({ told: reply({ report: report({ checks }) }) });
    const title = screen.getByRole('button', { name: /^Checks/ });
    expect(title.textContent).toContain('2 passed, 1 not checked');
    fireEvent.click(title);
    expect(screen.getByText(/No plugin\./)).toBeTruthy();
  });

  it('Memory draws once and streams what comes later, each point once', async () => {
    const streamed: number[][] = [];
    const draw = jest.fn(async (): Promise<IDrawn> => ({
      newest: 1001,
      stream: columns => streamed.push(columns.x),
      dispose: jest.fn()
    }));
    const points = (...times: number[]): MemoryPoint[] =>
      times.map(time => point({ rev: time, time }));
    const tools = makeTools({ draw });
    const { again } = show(
      { told: reply({ workers: [worker], memory: points(1000, 1001) }) },
      tools
    );
    await act(async () => {
      fireEvent.click(screen.getByRole('button', { name: /^Memory/ }));
    });
    expect(screen.getByText('w0')).toBeTruthy();
    for (const memory of [
      points(1000, 1001, 1002),
      points(1000, 1001, 1002),
      points(1001, 1002, 1003, 1004)
    ]) {
      await act(async () => {
        again({ told: reply({ workers: [worker], memory }) });
      });
    }
    expect(draw).toHaveBeenCalledTimes(1);
    expect(streamed).toEqual([[1002], [1003, 1004]]);
  });
});
