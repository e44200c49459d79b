import { fireEvent, render, screen, within } from '@testing-library/react';
import { Widget } from '@lumino/widgets';
import React from 'react';

import type { Finding, Report } from '../../_schema';
import { ReportView, Verdict } from '../../components/report';
import { Tools } from '../../components/tools';
import type { IActions, ITools } from '../../components/tools';
import { fixKey } from '../../tokens';
import type { IState, Outcome } from '../../tokens';
import { edit, evidence, finding, fix, report, state } from '../healthy';

export function makeActions(): jest.Mocked<IActions> {
  return {
    checkNow: jest.fn(),
    togglePause: jest.fn(),
    togglePin: jest.fn(),
    openMenu: jest.fn(),
    goTo: jest.fn(),
    apply: jest.fn(),
    copy: jest.fn(),
    ignore: jest.fn(),
    offer: jest.fn()
  };
}

function tools(over: Partial<ITools> = {}): ITools {
  // The default of the context has everything but a server.
  const { _currentValue } = Tools as unknown as { _currentValue: ITools };
  return { ..._currentValue, ...over };
}

function show(
  over: Partial<Report>,
  more: { state?: Partial<IState>; tools?: Partial<ITools> } = {}
) {
  const actions = makeActions();
  const view = render(
    <Tools.Provider value={tools(more.tools)}>
      <ReportView
        report={report(over)}
        state={state(more.state)}
        actions={actions}
      />
    </Tools.Provider>
  );
  return { actions, view };
}

function verdict(findings: Finding[], over: Partial<Report> = {}): string {
  const { container, unmount } = render(
    <Verdict report={report(over)} findings={findings} />
  );
  const text = container.textContent ?? '';
  unmount();
  return text;
}

describe('the verdict', () => {
  it('counts what is urgent and what it costs', () => {
    const findings = [
      finding({ severity: 'critical', loss_seconds: 20 }),
      finding({ id: 'b', loss_seconds: 10 }),
      finding({ id: 'c', loss_seconds: 8 })
    ];
    expect(verdict(findings)).toBe(
      '1 critical, 2 warnings · ≈ 38 s of the last 52 s lost'
    );
  });

  it('never counts what is only informative', () => {
    expect(verdict([finding({ severity: 'info' })])).toBe(
      'Nothing urgent: 2 checks ran'
    );
  });

  it('says how many checks make its silence, and how many could not', () => {
    expect(verdict([])).toBe('Nothing wrong: 2 checks ran');
    const checks = [
      ...report().checks,
      { rule: 'x', title: 'X', outcome: 'incomplete' as const, reason: 'r' }
    ];
    expect(verdict([], { checks })).toBe(
      'Nothing wrong: 2 checks ran · 1 could not'
    );
  });

  it('says of a cluster that is gone what was seen last, never that nothing is wrong', () => {
    expect(verdict([], { is_past: true })).toBe(
      'Seen last · nothing urgent, 2 checks had run'
    );
    expect(verdict([finding()], { is_past: true })).toMatch(
      /^Seen last · 1 warning/
    );
    const { view } = show({}, { state: { pulse: 'lost', phase: 'lost' } });
    const told = view.container.querySelector('.jp-DaskDoctorPanel-verdict');
    expect(told?.textContent).toMatch(/^Seen last/);
    expect(told?.classList.contains('jp-mod-good')).toBe(false);
  });
});

describe('a finding', () => {
  it('shows message, loss, evidence and limit; the worst one is open', () => {
    show({
      findings: [
        finding({ evidence: [evidence({ is_estimated: true })] }),
        finding({ id: 'other:x', message: 'Another one.', fixes: [] })
      ]
    });
    const [first, second] = screen.getAllByRole('heading', { level: 2 });
    expect(first.textContent).toBe(
      'Partition 17 of orders holds 23× the median.'
    );
    expect(within(first).getByRole('button').ariaExpanded ?? 'true').toBe(
      'true'
    );
    expect(screen.getAllByText('≈ 31 s of 52 s lost')).toHaveLength(2);
    expect(screen.getByText('≈ 1.9 GiB')).toBeTruthy();
    expect(screen.getByText('500 MiB')).toBeTruthy();
    const button = within(second).getByRole('button');
    expect(button.getAttribute('aria-expanded')).toBe('false');
    fireEvent.click(button);
    expect(button.getAttribute('aria-expanded')).toBe('true');
  });

  it('leads to its cell, and does not when the cell is gone', () => {
    const { actions } = show({
      findings: [
        finding(),
        finding({
          id: 'x:y',
          at: { cell_id: 'gone', execution_count: 3, line: null }
        })
      ]
    });
    fireEvent.click(screen.getByRole('button', { name: 'Go to cell [7]' }));
    expect(actions.goTo).toHaveBeenCalledWith('b');
    expect(screen.getByText('[3]').tagName).toBe('SPAN');
  });

  it('is hidden when ignored, and comes back from the list', () => {
    const { actions } = show(
      { findings: [finding()] },
      { state: { ignored: [finding().id] } }
    );
    expect(screen.queryByRole('heading', { level: 2 })).toBeNull();
    expect(screen.getByText('Nothing wrong: 2 checks ran')).toBeTruthy();
    fireEvent.click(screen.getByText('1 ignored finding'));
    fireEvent.click(screen.getByText('Show again'));
    expect(actions.ignore).toHaveBeenCalledWith(finding().id, false);
  });

  it('holds longer texts folded, to read and to copy', () => {
    const text = '  File "<b>.py", line 7\n    sleep()';
    const { actions, view } = show({
      findings: [
        finding({ details: [{ title: 'Call stack of `work`', text }] })
      ]
    });
    const fold = view.container.querySelector('details');
    expect(fold?.hasAttribute('open')).toBe(false);
    expect(fold?.querySelector('summary')?.textContent).toBe(
      'Call stack of work'
    );
    const pre = screen.getByRole('group', {
      name: 'Call stack of work',
      hidden: true
    });
    expect(pre.textContent).toBe(text);
    expect(view.container.querySelector('b')).toBeNull();
    fireEvent.click(
      screen.getByRole('button', { name: 'Copy the text', hidden: true })
    );
    expect(actions.copy).toHaveBeenCalledWith(text);
  });

  it('shows the page of its rule, and says so when it cannot be had', async () => {
    const explain = jest.fn(async () => {
      const page = new Widget();
      page.node.textContent = 'The whole truth.';
      return page;
    });
    show({ findings: [finding()] }, { tools: { explain } });
    fireEvent.click(screen.getByText('Explain'));
    expect(await screen.findByText('The whole truth.')).toBeTruthy();
    expect(explain).toHaveBeenCalledWith('partition-skew');
  });

  it('has words for a page that cannot be had', async () => {
    show({ findings: [finding()] });
    fireEvent.click(screen.getByText('Explain'));
    expect(await screen.findByText(/could not be had/)).toBeTruthy();
  });
});

describe('a chart', () => {
  const chart = {
    kind: 'bars' as const,
    title: 'Partition sizes',
    unit: 'count' as const,
    series: [{ name: 'n', values: [1, 900, 3] }],
    labels: ['a', 'b', 'c'],
    x: [],
    limits: [],
    highlight: 1
  };

  it('is drawn once, not anew with every report, and taken away at the end', async () => {
    const dispose = jest.fn();
    const draw = jest.fn(async () => ({
      newest: null,
      stream: jest.fn(),
      dispose
    }));
    const provided = tools({ draw });
    const element = (time: number) => (
      <Tools.Provider value={provided}>
        <ReportView
          report={report({ time, findings: [finding({ charts: [chart] })] })}
          state={state()}
          actions={makeActions()}
        />
      </Tools.Provider>
    );
    const view = render(element(1));
    await screen.findByText('Partition sizes');
    view.rerender(element(2));
    expect(draw).toHaveBeenCalledTimes(1);
    await Promise.resolve();
    view.unmount();
    expect(dispose).toHaveBeenCalledTimes(1);
  });

  it('gives way to its numbers, largest first, when it cannot be drawn', async () => {
    show(
      { findings: [finding({ charts: [chart], evidence: [] })] },
      { tools: { draw: () => Promise.reject(new Error('no Bokeh')) } }
    );
    const rows = await screen.findAllByRole('row');
    expect(rows.map(row => row.textContent)).toEqual(['b900', 'c3', 'a1']);
  });
});

describe('a fix', () => {
  const outcomes = (outcome: Outcome) =>
    new Map([[fixKey(finding(), fix()), outcome]]);

  it('shows its class, its code, what it should change, and its buttons', () => {
    const { actions } = show({ findings: [finding()] });
    expect(screen.getByText('Safe')).toBeTruthy();
    expect(screen.getByText('New cell below [7]')).toBeTruthy();
    expect(screen.getByText(edit().new)).toBeTruthy();
    expect(screen.getByText(fix().expect)).toBeTruthy();
    fireEvent.click(screen.getByText('Insert below [7]'));
    expect(actions.apply).toHaveBeenLastCalledWith(finding(), fix(), false);
    fireEvent.click(screen.getByText('Insert and run'));
    expect(actions.apply).toHaveBeenLastCalledWith(finding(), fix(), true);
    fireEvent.click(screen.getByRole('button', { name: 'Copy the code' }));
    expect(actions.copy).toHaveBeenCalledWith(fix().code);
  });

  it('shows an edit in place as a diff of the cell', () => {
    const replace = edit({ kind: 'replace', old: 'two', new: 'TWO' });
    const { view } = show(
      { findings: [finding({ fixes: [fix({ edits: [replace] })] })] },
      {
        tools: {
          preview: () => [
            { cellId: 'b', before: 'one\ntwo\n', after: 'one\nTWO\n' }
          ]
        }
      }
    );
    const lines = (kind: string) =>
      [...view.container.querySelectorAll(`.jp-mod-${kind}`)].map(line =>
        line.textContent?.trimEnd()
      );
    expect(lines('removed')).toEqual(['-two']);
    expect(lines('added')).toEqual(['+TWO']);
    expect(screen.getByText('Apply to [7]')).toBeTruthy();
  });

  it('offers only a copy of what is only shown', () => {
    const shown = fix({ applicability: 'display-only', edits: [] });
    show({ findings: [finding({ fixes: [shown] })] });
    expect(screen.getByText('Shown only')).toBeTruthy();
    expect(screen.queryByText(/^Insert/)).toBeNull();
    expect(screen.getByRole('button', { name: 'Copy the code' })).toBeTruthy();
  });

  it('says why it was refused', () => {
    const refusal = { kind: 'changed' as const, cellId: 'b' };
    show(
      { findings: [finding()] },
      { state: { outcomes: outcomes({ kind: 'refused', refusal }) } }
    );
    expect(screen.getByRole('alert').textContent).toContain(
      'cell [7] has changed'
    );
  });

  it('says that it was applied, until it is undone', () => {
    const applied = outcomes({ kind: 'applied', inserted: ['n'], changed: [] });
    const counts = new Map([...state().counts, ['n', null] as const]);
    const { view } = show(
      { findings: [finding()] },
      { state: { outcomes: applied, counts } }
    );
    expect(screen.getByText(/^Inserted\./)).toBeTruthy();
    expect(screen.queryByRole('alert')).toBeNull();
    view.unmount();
    show({ findings: [finding()] }, { state: { outcomes: applied } });
    expect(screen.queryByText(/^Inserted\./)).toBeNull();
  });
});

describe('what was treated', () => {
  it('is told in measured numbers', () => {
    show({
      treated: [
        {
          finding_id: 'x',
          rule: 'x',
          subject: 'orders',
          message: 'It was slow.',
          status: 'resolved',
          before: [{ label: 'run time', value: 52, unit: 'seconds' }],
          after: [{ label: 'run time', value: 19, unit: 'seconds' }],
          at: null,
          noise: null
        }
      ]
    });
    expect(screen.getByText('Treated: resolved')).toBeTruthy();
    expect(screen.getByText('run time').nextSibling?.textContent).toBe(
      '52 s → 19 s'
    );
  });
});

describe('hostile texts', () => {
  const evil =
    '<img src=x onerror="window.hit=1"><script>window.hit=1</script>';

  it('stay text wherever they stand', () => {
    const { view } = show(
      {
        findings: [
          finding({
            id: evil,
            message: `${evil} \`${evil}\``,
            why: evil,
            subject: evil,
            evidence: [
              evidence({ label: evil, value: evil, unit: 'text', limit: null })
            ],
            fixes: [
              fix({
                title: evil,
                expect: evil,
                code: evil,
                edits: [edit({ new: evil })]
              })
            ]
          })
        ],
        treated: [
          {
            finding_id: evil,
            rule: evil,
            subject: evil,
            message: evil,
            status: 'worse',
            before: [{ label: evil, value: 1, unit: 'text' }],
            after: [{ label: evil, value: 2, unit: 'text' }],
            at: null,
            noise: null
          }
        ]
      },
      { state: { ignored: [`${evil} ignored`] } }
    );
    fireEvent.click(screen.getByText('1 ignored finding'));
    expect(view.container.querySelector('img, script')).toBeNull();
    expect((window as { hit?: number }).hit).toBeUndefined();
    expect(view.container.textContent).toContain(evil);
  });

  it('of 10 MB are cut', () => {
    const huge = 'x`'.repeat(5_000_000);
    const { view } = show({
      findings: [
        finding({
          message: huge,
          why: huge,
          evidence: [evidence({ label: huge, value: huge, unit: 'text' })],
          fixes: [
            fix({
              title: huge,
              expect: huge,
              edits: [
                edit({ new: huge }),
                edit({ kind: 'replace', old: huge, new: huge })
              ]
            })
          ]
        })
      ]
    });
    expect(view.container.textContent?.length).toBeLessThan(100_000);
  });
});
