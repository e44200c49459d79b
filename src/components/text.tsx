/** Texts from a cluster or a notebook: always text nodes, always cut; code between backticks; the button to a cell. */
import React from 'react';

import type { Location } from '../_schema';
import { codeSpans } from '../format';
import { useTools } from './tools';

export function Prose({ text }: { text: string }): JSX.Element {
  return (
    <>
      {codeSpans(text).map((span, i) =>
        span.isCode ? (
          <code key={i}>{span.text}</code>
        ) : (
          <React.Fragment key={i}>{span.text}</React.Fragment>
        )
      )}
    </>
  );
}

/** "[7]", or "[ ]" for a cell that has not run. */
export function cellLabel(count: number | null | undefined): string {
  return `[${count ?? ' '}]`;
}

/** The count that stands beside the cell now, else the one it had when it was judged. */
export function countOf(
  at: Location,
  counts: ReadonlyMap<string, number | null>
): number | null {
  const now = at.cell_id === null ? undefined : counts.get(at.cell_id);
  return now ?? at.execution_count;
}

export function CellButton(props: {
  at: Location | null;
  counts: ReadonlyMap<string, number | null>;
  goTo: (cellId: string) => void;
}): JSX.Element | null {
  const { trans } = useTools();
  const { at, counts, goTo } = props;
  if (at === null || (at.cell_id === null && at.execution_count === null)) {
    return null;
  }
  const label = cellLabel(countOf(at, counts));
  const id = at.cell_id;
  if (id === null || !counts.has(id)) {
    const gone = trans.__('This cell is no longer in the notebook');
    return (
      <span className="jp-DaskDoctorPanel-cell jp-mod-gone" title={gone}>
        {label}
      </span>
    );
  }
  return (
    <button
      type="button"
      className="jp-DaskDoctorPanel-cell"
      title={trans.__('Go to the cell')}
      aria-label={trans.__('Go to cell %1', label)}
      onClick={() => goTo(id)}
    >
      {label}
    </button>
  );
}
