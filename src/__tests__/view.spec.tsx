import { act, fireEvent, render, screen } from '@testing-library/react';
import { nullTranslator } from '@jupyterlab/translation';
import React from 'react';

import type { ChangeInfo, MemoryPoint, Sign, WorkerInfo } from '../_schema';
import type { IActions, IDrawn, ITools } from '../components/tools';
import type { IState, Phase } from '../tokens';
import { DoctorView } from '../view';
import {
  cluster,
  GiB,
  MiB,
  point,
  reply,
  report,
  state,
  vitals
} from './healthy';

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
      const title = view.container.querySelector('h2')?.textContent;
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

describe('the vital signs', () => {
  const sign = (over: Partial<Sign>): Sign => ({
    kind: 'worker-memory',
    value: 0.5,
    unit: 'share',
    limit: 0.7,
    is_out: false,
    ...over
  });
  const rows = (...signs: Sign[]) => {
    const { view } = show({ told: reply({ vitals: vitals({ signs }) }) });
    const fold = view.container.querySelector(
      '.jp-DaskDoctorPanel-vitals details'
    );
    return {
      title: fold?.querySelector('summary')?.textContent,
      rows: [...(fold?.querySelectorAll('dl > div') ?? [])].map(
        row => row.textContent
      )
    };
  };

  it('say their level and, in words, when it is crossed', () => {
    expect(
      rows(
        sign({}),
        sign({
          kind: 'memory-kills',
          value: 2,
          unit: 'count',
          limit: 0,
          is_out: true
        }),
        sign({ kind: 'success', value: 0.99951, limit: 0.999 }),
        sign({ kind: 'cell-seconds', value: 12, unit: 'seconds', limit: null }),
        sign({ kind: 'scheduler-cpu', value: null, limit: 0.5 })
      )
    ).toEqual({
      title: 'Vital signs1 out of range',
      rows: [
        'Fullest worker50 % at most 70 %',
        'Killed for memory out of range2 at most 0',
        'Computations that succeed99.95 % at least 99.9 %',
        'Cells, 95th percentile12 s',
        'Scheduler’s CPUnot known at most 50 %'
      ]
    });
  });

  it('are in range when none is out', () => {
    expect(rows(sign({})).title).toBe('Vital signsin range');
  });

  it('have a name each, whatever a newer kernel tells', () => {
    expect(rows(sign({ kind: 'moon-phase' as Sign['kind'] })).rows).toEqual([
      'moon-phase50 % at most 70 %'
    ]);
  });
});

describe('the sections', () => {
  it('build nothing, and draw nothing, before they are opened', () => {
    const draw = jest.fn();
    show({ told: reply({ workers: [worker] }) }, makeTools({ draw }));
    expect(screen.queryByText('w0')).toBeNull();
    expect(draw).not.toHaveBeenCalled();
  });

  it('Cluster says what was not checked and why', () => {
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
    const title = screen.getByRole('button', { name: /^Cluster/ });
    expect(title.textContent).toContain('2 passed, 1 not checked');
    fireEvent.click(title);
    expect(screen.getByText(/No plugin\./)).toBeTruthy();
    // What passed is there for those who want it.
    const folds = [
      ...document.querySelectorAll('details.jp-DaskDoctorPanel-fold')
    ].map(fold => [
      fold.querySelector('summary')?.textContent,
      fold.hasAttribute('open')
    ]);
    expect(folds).toEqual([
      ['Not checked1', true],
      ['Looked for, not found2', false]
    ]);
  });

  it('Cluster shows what is known and leaves out what is not', () => {
    const { view } = show({ told: reply({ cluster: cluster() }) });
    fireEvent.click(screen.getByRole('button', { name: /^Cluster/ }));
    const lines = () =>
      Object.fromEntries(
        [...view.container.querySelectorAll('dl.jp-mod-wide > div')].map(
          line => [
            line.querySelector('dt')?.textContent,
            line.querySelector('dd')?.textContent
          ]
        )
      );
    expect(lines()).toEqual({
      Cluster: 'LocalCluster cluster',
      Scheduler: 'tcp://127.0.0.1:1',
      Workers: '4 × 2 threads, 4 GiB each',
      Adaptive: 'no',
      Nanny: 'yes',
      'Memory levels': 'target 60 % · spill 70 % · pause 80 % · terminate 95 %',
      'Spills to': '/tmp/dask-scratch-space/worker-1',
      'Its disk': '200 GiB of 500 GiB free · ext4',
      Machine: '8 cores · 32 GiB',
      Queuing: 'worker-saturation 1.1',
      'Allowed failures': '3',
      Encrypted: 'no',
      Versions: 'Dask 2026.8.0 · distributed 2026.8.0 · Python 3.11',
      Dashboard: 'http://127.0.0.1:8787/status'
    });
  });

  it('Cluster tells off from unknown', () => {
    const bare = cluster({
      kind: null,
      variable: null,
      shapes: [{ n: 1, nthreads: 1, memory_limit: null }],
      memory_target: null,
      memory_terminate: null,
      has_nanny: null,
      is_encrypted: null,
      saturation: null,
      allowed_failures: null,
      n_cpus: null,
      local_directory: null,
      disk_free: null,
      disk_total: null,
      file_system: null,
      has_mixed_versions: true,
      gaps: ['The cluster does not accept `plugins`.']
    });
    const { view } = show({
      told: reply({
        cluster: bare,
        vitals: vitals({ dashboard_link: 'javascript:alert(1)' })
      })
    });
    fireEvent.click(screen.getByRole('button', { name: /^Cluster/ }));
    const text = view.container.querySelector('dl.jp-mod-wide')?.textContent;
    for (const words of [
      'connected by its address',
      '1 × 1 thread, no memory limit',
      'target off · spill 70 % · pause 80 % · terminate off',
      'Queuingoff',
      'not the same everywhere'
    ]) {
      expect(text).toContain(words);
    }
    for (const words of [
      'Nanny',
      'Encrypted',
      'Machine',
      'null',
      'Dashboard'
    ]) {
      expect(text).not.toContain(words);
    }
    expect(view.container.querySelector('a')).toBeNull();
    expect(screen.getByText('plugins')).toBeTruthy();
  });

  it('Cluster tells who came and went', () => {
    const changes: ChangeInfo[] = [
      {
        time: 990,
        kind: 'removed',
        name: '<b>w1</b>',
        n_workers: 3,
        is_expected: false,
        n_lost: 2
      },
      {
        time: 900,
        kind: 'removed',
        name: 'w2',
        n_workers: 1,
        is_expected: true,
        n_lost: 0
      },
      {
        time: 800,
        kind: 'added',
        name: 'w2',
        n_workers: 2,
        is_expected: true,
        n_lost: 0
      }
    ];
    const { view } = show({
      told: reply({ report: null, cluster: cluster({ changes }) })
    });
    fireEvent.click(screen.getByRole('button', { name: /^Cluster/ }));
    const lines = [
      ...view.container.querySelectorAll('.jp-DaskDoctorPanel-check')
    ].map(line => line.textContent);
    expect(lines).toEqual([
      '<b>w1</b> was lost – 10 s ago, 3 workers then, 2 results lost with it',
      'w2 went – 100 s ago, 1 worker then',
      'w2 came – 3 min 20 s ago, 2 workers then'
    ]);
    expect(view.container.querySelector('b')).toBeNull();
  });

  it('Memory says what stays behind at rest, with its error', () => {
    const { view } = show({
      told: reply({
        workers: [worker],
        cluster: cluster({
          rest: { slope: 10 * MiB, low: -1 * MiB, high: 12 * MiB, n: 6 },
          scheduler_memory: 300 * MiB,
          is_in_process: true
        })
      })
    });
    fireEvent.click(screen.getByRole('button', { name: /^Memory/ }));
    const text = view.container.querySelector(
      '.jp-DaskDoctorPanel-sectionBody dl'
    )?.textContent;
    expect(text).toBe(
      'Unmanaged at rest, per computation≈ +10 MiB -1 MiB to +12 MiB, from 6 pauses' +
        'Scheduler, in the kernel’s process300 MiB'
    );
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
