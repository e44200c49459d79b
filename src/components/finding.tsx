/** One finding as a card: what is wrong and what it costs; opened, the proof, why it matters, and the fixes. */
import {
  caretDownIcon,
  caretRightIcon,
  copyIcon
} from '@jupyterlab/ui-components';
import { Widget } from '@lumino/widgets';
import React, { useId, useLayoutEffect, useRef, useState } from 'react';

import type { Detail, Finding } from '../_schema';
import { bytes, cut, MAX_CODE, seconds } from '../format';
import { fixKey } from '../tokens';
import type { Outcome } from '../tokens';
import { EvidenceTable, Figure } from './evidence';
import { FixView } from './fix';
import { Fold } from './fold';
import { IconButton } from './header';
import { Picture, severityIcons } from './icons';
import { CellButton, Prose } from './text';
import { useTools } from './tools';
import type { IActions } from './tools';

function useSeverity(severity: Finding['severity']): string {
  const { trans } = useTools();
  return {
    critical: trans.__('Critical'),
    warning: trans.__('Warning'),
    info: trans.__('Note')
  }[severity];
}

function Loss({ finding }: { finding: Finding }): JSX.Element | null {
  const { trans } = useTools();
  const { loss_seconds: lost, of_seconds: of, loss_bytes: size } = finding;
  const words: string[] = [];
  if (lost !== null && of !== null) {
    words.push(trans.__('≈ %1 of %2 lost', seconds(lost), seconds(of)));
  } else if (lost !== null) {
    words.push(trans.__('≈ %1 lost', seconds(lost)));
  }
  if (size !== null) {
    words.push(trans.__('≈ %1 too much', bytes(size)));
  }
  return words.length === 0 ? null : (
    <span className="jp-DaskDoctorPanel-loss">{words.join(' · ')}</span>
  );
}

/** The rule's manual page, asked for when it is opened. */
function Manual({ rule }: { rule: string }): JSX.Element {
  const { explain, trans } = useTools();
  const node = useRef<HTMLDivElement>(null);
  const [hasFailed, setHasFailed] = useState(false);
  // The widget must be taken out before React takes its place away.
  useLayoutEffect(() => {
    let widget: Widget | null = null;
    let isGone = false;
    explain(rule).then(
      result => {
        if (isGone || node.current === null) {
          result.dispose();
          return;
        }
        widget = result;
        Widget.attach(widget, node.current);
      },
      () => {
        if (!isGone) {
          setHasFailed(true);
        }
      }
    );
    return () => {
      isGone = true;
      widget?.dispose();
    };
  }, [explain, rule]);
  return (
    <div className="jp-DaskDoctorPanel-manual" ref={node}>
      {hasFailed &&
        trans.__('The explanation could not be had from the server.')}
    </div>
  );
}

/** A longer text, folded: a call stack, a traceback. */
function DetailView(props: {
  detail: Detail;
  copy: (text: string) => void;
}): JSX.Element {
  const { trans } = useTools();
  const { detail, copy } = props;
  const title = cut(detail.title.replace(/`/g, ''), 200);
  return (
    <Fold title={<Prose text={detail.title} />}>
      <div className="jp-DaskDoctorPanel-detail">
        <pre
          className="jp-DaskDoctorPanel-code"
          tabIndex={0}
          role="group"
          aria-label={title}
        >
          {cut(detail.text, MAX_CODE)}
        </pre>
        <IconButton
          icon={copyIcon}
          label={trans.__('Copy the text')}
          onClick={() => copy(detail.text)}
        />
      </div>
    </Fold>
  );
}

function Body(props: FindingView.IProps): JSX.Element {
  const { trans } = useTools();
  const { finding, counts, outcomes, actions } = props;
  const [isExplained, setIsExplained] = useState(false);
  return (
    <>
      {finding.why !== '' && (
        <p className="jp-DaskDoctorPanel-why">
          <Prose text={finding.why} />
        </p>
      )}
      <EvidenceTable evidence={finding.evidence} />
      {finding.charts.map((chart, i) => (
        <Figure key={i} chart={chart} drawKey={JSON.stringify(chart)} />
      ))}
      {finding.details.map((detail, i) => (
        <DetailView key={i} detail={detail} copy={actions.copy} />
      ))}
      {finding.fixes.length > 0 && (
        <h3 className="jp-DaskDoctorPanel-subheading">
          {trans._n('Fix', 'Fixes', finding.fixes.length)}
        </h3>
      )}
      {finding.fixes.map(fix => (
        <FixView
          key={fixKey(finding, fix)}
          fix={fix}
          counts={counts}
          outcome={outcomes.get(fixKey(finding, fix))}
          apply={run => actions.apply(finding, fix, run)}
          copy={actions.copy}
        />
      ))}
      <div className="jp-DaskDoctorPanel-links">
        <button
          type="button"
          className="jp-DaskDoctorPanel-link"
          aria-expanded={isExplained}
          onClick={() => setIsExplained(!isExplained)}
        >
          {isExplained ? trans.__('Hide explanation') : trans.__('Explain')}
        </button>
        <button
          type="button"
          className="jp-DaskDoctorPanel-link"
          onClick={() => actions.ignore(finding.id, true)}
        >
          {trans.__('Ignore this finding')}
        </button>
      </div>
      {isExplained && <Manual rule={finding.rule} />}
    </>
  );
}

export function FindingView(props: FindingView.IProps): JSX.Element {
  const { finding, counts, isOpen, toggle, actions } = props;
  const severity = useSeverity(finding.severity);
  const id = useId();
  const Caret = isOpen ? caretDownIcon : caretRightIcon;
  return (
    <li
      className={`jp-DaskDoctorPanel-card jp-mod-${finding.severity}`}
      data-finding={finding.id.slice(0, 200)}
    >
      <div className="jp-DaskDoctorPanel-cardTop">
        <span className="jp-DaskDoctorPanel-severity">
          <Picture icon={severityIcons[finding.severity]} />
          {severity}
        </span>
        <Loss finding={finding} />
        <CellButton at={finding.at} counts={counts} goTo={actions.goTo} />
      </div>
      <h2 className="jp-DaskDoctorPanel-heading">
        <button
          type="button"
          aria-expanded={isOpen}
          aria-controls={id}
          onClick={toggle}
        >
          <span
            aria-hidden="true"
            className="jp-DaskDoctorPanel-picture jp-DaskDoctorPanel-caret"
          >
            <Caret.react tag={null} />
          </span>
          <span>
            <Prose text={finding.message} />
          </span>
        </button>
      </h2>
      <div id={id} className="jp-DaskDoctorPanel-cardBody" hidden={!isOpen}>
        {isOpen && <Body {...props} />}
      </div>
    </li>
  );
}

export namespace FindingView {
  export interface IProps {
    finding: Finding;
    counts: ReadonlyMap<string, number | null>;
    outcomes: ReadonlyMap<string, Outcome>;
    isOpen: boolean;
    toggle: () => void;
    actions: IActions;
  }
}
