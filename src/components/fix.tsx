/** A fix on offer: what it would put where, what it should change, and the buttons that do it. */
import { copyIcon } from '@jupyterlab/ui-components';
import { structuredPatch } from 'diff';
import React, { useEffect, useRef } from 'react';

import type { Edit, Fix } from '../_schema';
import { cut, MAX_CODE } from '../format';
import type { Outcome, Refusal } from '../tokens';
import { IconButton } from './header';
import { goodIcon, Picture } from './icons';
import { cellLabel, Prose } from './text';
import { useTools } from './tools';
import type { IRewrite, ITools } from './tools';

/** Longer cells are not compared line by line. */
const MAX_DIFF = 100_000;

export function Code({ source }: { source: string }): JSX.Element {
  const { highlight, theme, trans } = useTools();
  const node = useRef<HTMLElement>(null);
  const text = cut(source, MAX_CODE);
  useEffect(() => {
    let isGone = false;
    const host = document.createElement('span');
    highlight(text, host).then(
      () => {
        if (!isGone && node.current) {
          node.current.replaceChildren(host);
        }
      },
      () => undefined
    );
    return () => {
      isGone = true;
    };
  }, [text, highlight, theme]);
  return (
    <pre
      className="jp-DaskDoctorPanel-code"
      tabIndex={0}
      role="group"
      aria-label={trans.__('Code')}
    >
      <code ref={node} key={text}>
        {text}
      </code>
    </pre>
  );
}

export function Diff({ rewrite }: { rewrite: IRewrite }): JSX.Element {
  const { trans } = useTools();
  const { before, after } = rewrite;
  if (before.length + after.length > MAX_DIFF) {
    return <Code source={after} />;
  }
  const patch = structuredPatch('', '', before, after, '', '', { context: 2 });
  const lines = patch.hunks.flatMap((hunk, i) =>
    (i === 0 ? [] : [' ⋯']).concat(hunk.lines)
  );
  return (
    <pre
      className="jp-DaskDoctorPanel-code jp-DaskDoctorPanel-diff"
      tabIndex={0}
      role="group"
      aria-label={trans.__('Changes to the cell')}
    >
      <code>
        {lines
          .filter(line => !line.startsWith('\\'))
          .map((line, i) => {
            const kind =
              line[0] === '+' ? 'added' : line[0] === '-' ? 'removed' : 'same';
            return (
              <span
                key={i}
                className={`jp-DaskDoctorPanel-diffLine jp-mod-${kind}`}
              >
                {`${cut(line, 2000)}\n`}
              </span>
            );
          })}
      </code>
    </pre>
  );
}

function refusalWords(
  refusal: Refusal,
  counts: ReadonlyMap<string, number | null>,
  trans: ITools['trans']
): string {
  const cell = 'cellId' in refusal ? cellLabel(counts.get(refusal.cellId)) : '';
  switch (refusal.kind) {
    case 'missing':
      return trans.__(
        'Not applied: the cell this fix leans on is no longer in the notebook.'
      );
    case 'changed':
      return trans.__(
        'Not applied: cell %1 has changed since it was examined. Run it again to get a fix that fits.',
        cell
      );
    case 'no-match':
      return trans.__(
        'Not applied: the text to be changed no longer stands in cell %1.',
        cell
      );
    case 'overlap':
      return trans.__('Not applied: the changes of this fix overlap.');
    case 'read-only':
      return trans.__('Not applied: this notebook is read-only.');
    case 'already':
      return trans.__('Not applied: the notebook already has this cell.');
    case 'no-notebook':
      return trans.__('Not applied: the notebook is closed.');
    default:
      return trans.__('This fix is shown only: copy what you need of it.');
  }
}

function where(
  edit: Edit,
  counts: ReadonlyMap<string, number | null>,
  trans: ITools['trans']
): string {
  const cell = cellLabel(counts.get(edit.cell_id));
  switch (edit.kind) {
    case 'below':
      return trans.__('New cell below %1', cell);
    case 'above':
      return trans.__('New cell above %1', cell);
    default:
      return trans.__('Change in %1', cell);
  }
}

function primaryLabel(
  fix: Fix,
  counts: ReadonlyMap<string, number | null>,
  trans: ITools['trans']
): string {
  const [first] = fix.edits;
  const cell = cellLabel(counts.get(first.cell_id));
  if (fix.edits.some(edit => edit.kind === 'replace')) {
    return trans.__('Apply to %1', cell);
  }
  return first.kind === 'below'
    ? trans.__('Insert below %1', cell)
    : trans.__('Insert above %1', cell);
}

function Edits(props: {
  fix: Fix;
  counts: ReadonlyMap<string, number | null>;
}): JSX.Element {
  const { preview, trans } = useTools();
  const { fix, counts } = props;
  if (fix.edits.length === 0) {
    return <Code source={fix.code} />;
  }
  const rewrites = preview(fix);
  const blocks: JSX.Element[] = [];
  const shown = new Set<string>();
  fix.edits.forEach((edit, i) => {
    const key = edit.kind === 'replace' ? edit.cell_id : `${i}`;
    if (shown.has(key)) {
      return; // Another change to a cell whose diff is there already.
    }
    shown.add(key);
    const fallback: IRewrite = {
      cellId: edit.cell_id,
      before: edit.old,
      after: edit.new
    };
    const rewrite = rewrites.find(each => each.cellId === edit.cell_id);
    blocks.push(
      <div key={key}>
        <div className="jp-DaskDoctorPanel-where">
          {where(edit, counts, trans)}
        </div>
        {edit.kind === 'replace' ? (
          <Diff rewrite={rewrite ?? fallback} />
        ) : (
          <Code source={edit.new} />
        )}
      </div>
    );
  });
  return <>{blocks}</>;
}

export function FixView(props: {
  fix: Fix;
  counts: ReadonlyMap<string, number | null>;
  outcome: Outcome | undefined;
  apply: (run: boolean) => void;
  copy: (text: string) => void;
}): JSX.Element {
  const { preview, trans } = useTools();
  const { fix, counts, outcome, apply, copy } = props;
  const classes = {
    safe: trans.__('Safe'),
    unsafe: trans.__('Needs review'),
    'display-only': trans.__('Shown only')
  };
  // After an undo the new cell is gone, or the old text stands there again.
  const stands = (applied: Outcome & { kind: 'applied' }) =>
    applied.inserted.length > 0
      ? applied.inserted.some(id => counts.has(id))
      : preview(fix).length === 0;
  const canApply = fix.edits.length > 0 && fix.applicability !== 'display-only';
  return (
    <div className="jp-DaskDoctorPanel-fix">
      <div className="jp-DaskDoctorPanel-fixTitle">
        <span>
          <Prose text={fix.title} />
        </span>
        <span
          className={`jp-DaskDoctorPanel-badge jp-mod-${fix.applicability}`}
        >
          {classes[fix.applicability]}
        </span>
      </div>
      <Edits fix={fix} counts={counts} />
      {fix.expect !== '' && (
        <p className="jp-DaskDoctorPanel-expect">
          <span className="jp-DaskDoctorPanel-muted">
            {trans.__('Should change: ')}
          </span>
          <Prose text={fix.expect} />
        </p>
      )}
      <div className="jp-DaskDoctorPanel-actions">
        {canApply && (
          <>
            <button
              type="button"
              className="jp-DaskDoctorPanel-button jp-mod-accept"
              onClick={() => apply(false)}
            >
              {primaryLabel(fix, counts, trans)}
            </button>
            <button
              type="button"
              className="jp-DaskDoctorPanel-button"
              onClick={() => apply(true)}
            >
              {fix.edits.some(edit => edit.kind === 'replace')
                ? trans.__('Apply and run')
                : trans.__('Insert and run')}
            </button>
          </>
        )}
        <IconButton
          icon={copyIcon}
          label={trans.__('Copy the code')}
          onClick={() => copy(fix.code)}
        />
      </div>
      {outcome?.kind === 'applied' && stands(outcome) && (
        <p className="jp-DaskDoctorPanel-outcome jp-mod-good" role="status">
          <Picture icon={goodIcon} />
          {outcome.changed.length > 0
            ? trans.__('Applied. Undo in the notebook takes it back.')
            : trans.__('Inserted. Undo in the notebook takes it back.')}
        </p>
      )}
      {outcome?.kind === 'refused' && (
        <p className="jp-DaskDoctorPanel-outcome jp-mod-bad" role="alert">
          {refusalWords(outcome.refusal, counts, trans)}
        </p>
      )}
    </div>
  );
}
