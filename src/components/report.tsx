/** The verdict in one line, the findings worst first, what was treated, and what is ignored. */
import React, { useRef, useState } from 'react';

import type { Finding, Report, Treated } from '../_schema';
import { compared, count, seconds, tally } from '../format';
import type { IState } from '../tokens';
import { FindingView } from './finding';
import { Guard } from './guard';
import { goodIcon, Picture, severityIcons } from './icons';
import { CellButton, Prose } from './text';
import { useTools } from './tools';
import type { IActions } from './tools';

/** More cards than this are kept back behind a button. */
const MAX_CARDS = 20;

export function Verdict(props: {
  report: Report;
  findings: readonly Finding[];
  /** The cluster is gone: whatever is said is said of what was. */
  isPast?: boolean;
}): JSX.Element {
  const { trans } = useTools();
  const { critical, warning, lost, of } = tally(props.findings);
  const ran = props.report.checks.filter(
    check => check.outcome === 'passed' || check.outcome === 'found'
  ).length;
  const open = props.report.checks.filter(
    check => check.outcome === 'incomplete' || check.outcome === 'error'
  ).length;
  const isPast = props.isPast || props.report.is_past;
  const parts: string[] = [];
  if (isPast) {
    parts.push(trans.__('Seen last'));
  }
  if (isPast && critical + warning === 0) {
    parts.push(
      trans._n(
        'nothing urgent, %1 check had run',
        'nothing urgent, %1 checks had run',
        ran
      )
    );
  } else if (critical + warning === 0) {
    const words =
      props.findings.length === 0
        ? trans._n(
            'Nothing wrong: %1 check ran',
            'Nothing wrong: %1 checks ran',
            ran
          )
        : trans._n(
            'Nothing urgent: %1 check ran',
            'Nothing urgent: %1 checks ran',
            ran
          );
    parts.push(words);
    if (open > 0) {
      parts.push(trans.__('%1 could not', count(open)));
    }
  } else {
    const counted: string[] = [];
    if (critical > 0) {
      counted.push(trans.__('%1 critical', count(critical)));
    }
    if (warning > 0) {
      counted.push(trans._n('%1 warning', '%1 warnings', warning));
    }
    parts.push(counted.join(', '));
    if (lost !== null && of !== null) {
      parts.push(
        trans.__('≈ %1 of the last %2 lost', seconds(lost), seconds(of))
      );
    }
  }
  const level =
    critical > 0
      ? 'critical'
      : warning > 0
        ? 'warning'
        : isPast
          ? 'past'
          : 'good';
  const icon =
    level === 'good'
      ? goodIcon
      : severityIcons[level === 'past' ? 'info' : level];
  return (
    <p
      className={`jp-DaskDoctorPanel-verdict jp-mod-${level}`}
      role="status"
      aria-live="polite"
    >
      <Picture icon={icon} />
      <span>{parts.join(' · ')}</span>
    </p>
  );
}

export function TreatedView(props: {
  treated: Treated;
  counts: ReadonlyMap<string, number | null>;
  goTo: (cellId: string) => void;
}): JSX.Element {
  const { trans } = useTools();
  const { treated, counts, goTo } = props;
  const words = {
    resolved: trans.__('resolved'),
    better: trans.__('better'),
    'no-change': trans.__('no change – take it back?'),
    worse: trans.__('worse – take it back?')
  }[treated.status];
  const isGood = treated.status === 'resolved' || treated.status === 'better';
  return (
    <li
      className={`jp-DaskDoctorPanel-card jp-DaskDoctorPanel-treated jp-mod-${treated.status}`}
    >
      <div className="jp-DaskDoctorPanel-cardTop">
        <span className="jp-DaskDoctorPanel-severity">
          {isGood && <Picture icon={goodIcon} />}
          {trans.__('Treated: %1', words)}
        </span>
        <CellButton at={treated.at} counts={counts} goTo={goTo} />
      </div>
      <dl className="jp-DaskDoctorPanel-measures">
        {compared(treated.before, treated.after).map((measure, i) => (
          <div key={i}>
            <dt>{measure.label}</dt>
            <dd>
              {measure.before} → <strong>{measure.after}</strong>
            </dd>
          </div>
        ))}
      </dl>
      <p className="jp-DaskDoctorPanel-muted">
        <Prose text={treated.message} />
      </p>
    </li>
  );
}

/** The card the user opened or closed; untouched, the worst one is open. */
function useOpenCards(findings: readonly Finding[]) {
  const [chosen, setChosen] = useState<Record<string, boolean>>({});
  // Once chosen it stays while it is there, so that no card shuts while it is read.
  const first = useRef<string | null>(null);
  if (!findings.some(finding => finding.id === first.current)) {
    const worst = findings[0];
    first.current = worst && worst.severity !== 'info' ? worst.id : null;
  }
  const isOpen = (id: string) => chosen[id] ?? id === first.current;
  const toggle = (id: string) => setChosen({ ...chosen, [id]: !isOpen(id) });
  return { isOpen, toggle };
}

function Ignored(props: {
  findings: readonly Finding[];
  ids: readonly string[];
  restore: (id: string) => void;
}): JSX.Element | null {
  const { trans } = useTools();
  const { findings, ids, restore } = props;
  const [isOpen, setIsOpen] = useState(false);
  if (ids.length === 0) {
    return null;
  }
  return (
    <div className="jp-DaskDoctorPanel-ignored">
      <button
        type="button"
        className="jp-DaskDoctorPanel-link"
        aria-expanded={isOpen}
        onClick={() => setIsOpen(!isOpen)}
      >
        {trans._n('%1 ignored finding', '%1 ignored findings', ids.length)}
      </button>
      {isOpen && (
        <ul>
          {ids.map(id => (
            <li key={id}>
              <span>
                <Prose
                  text={findings.find(each => each.id === id)?.message ?? id}
                />
              </span>
              <button
                type="button"
                className="jp-DaskDoctorPanel-link"
                onClick={() => restore(id)}
              >
                {trans.__('Show again')}
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

export function ReportView(props: {
  report: Report;
  state: IState;
  actions: IActions;
}): JSX.Element {
  const { trans } = useTools();
  const { report, state, actions } = props;
  const [hasAll, setHasAll] = useState(false);
  const ignored = new Set(state.ignored);
  const findings = report.findings.filter(each => !ignored.has(each.id));
  const shown = hasAll ? findings : findings.slice(0, MAX_CARDS);
  const { isOpen, toggle } = useOpenCards(findings);
  return (
    <section
      className="jp-DaskDoctorPanel-report"
      aria-label={trans.__('Findings')}
    >
      <Verdict
        report={report}
        findings={findings}
        isPast={state.pulse === 'lost'}
      />
      <ul className="jp-DaskDoctorPanel-cards">
        {report.treated.map(treated => (
          <TreatedView
            key={`treated ${treated.finding_id}`}
            treated={treated}
            counts={state.counts}
            goTo={actions.goTo}
          />
        ))}
        {shown.map(finding => (
          <Guard key={finding.id} about={`${report.time}`}>
            <FindingView
              finding={finding}
              counts={state.counts}
              outcomes={state.outcomes}
              isOpen={isOpen(finding.id)}
              toggle={() => toggle(finding.id)}
              actions={actions}
            />
          </Guard>
        ))}
      </ul>
      {shown.length < findings.length && (
        <button
          type="button"
          className="jp-DaskDoctorPanel-link"
          onClick={() => setHasAll(true)}
        >
          {trans.__('Show %1 more', count(findings.length - shown.length))}
        </button>
      )}
      <Ignored
        findings={report.findings}
        ids={state.ignored}
        restore={id => actions.ignore(id, false)}
      />
    </section>
  );
}
