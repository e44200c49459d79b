/** The proof: what was measured beside the limit it crossed, and charts of it. */
import React, { useEffect, useRef, useState } from 'react';

import type { Chart, Evidence } from '../_schema';
import { cut, estimated, quantity } from '../format';
import { Prose } from './text';
import { useTools } from './tools';
import type { IDrawn } from './tools';

/** Rows of the table that stands in for a chart. */
const MAX_ROWS = 12;

export function EvidenceTable(props: {
  evidence: readonly Evidence[];
}): JSX.Element | null {
  const { trans } = useTools();
  if (props.evidence.length === 0) {
    return null;
  }
  const hasLimits = props.evidence.some(each => each.limit !== null);
  return (
    <table className="jp-DaskDoctorPanel-table">
      <thead>
        <tr>
          <th scope="col">{trans.__('Measured')}</th>
          <th scope="col">{trans.__('Value')}</th>
          {hasLimits && <th scope="col">{trans.__('Limit')}</th>}
        </tr>
      </thead>
      <tbody>
        {props.evidence.map((each, i) => (
          <tr key={i}>
            <th scope="row">{cut(each.label, 120)}</th>
            <td
              className={each.unit === 'text' ? 'jp-mod-text' : ''}
              colSpan={hasLimits && each.unit === 'text' ? 2 : 1}
            >
              {estimated(quantity(each.value, each.unit), each.is_estimated)}
            </td>
            {hasLimits && each.unit !== 'text' && (
              <td>{each.limit !== null && quantity(each.limit, each.unit)}</td>
            )}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** The numbers of a chart, largest first, when it cannot be drawn. */
function Numbers({ chart }: { chart: Chart }): JSX.Element {
  const rows: { label: string; value: number }[] = [];
  for (const series of chart.series) {
    if (chart.kind === 'bars') {
      series.values.forEach((value, i) =>
        rows.push({ label: chart.labels[i] ?? `${i}`, value })
      );
    } else if (series.values.length > 0) {
      rows.push({
        label: series.name,
        value: series.values[series.values.length - 1]
      });
    }
  }
  rows.sort((a, b) => b.value - a.value);
  return (
    <table className="jp-DaskDoctorPanel-table">
      <tbody>
        {rows.slice(0, MAX_ROWS).map((row, i) => (
          <tr key={i}>
            <th scope="row">{cut(row.label, 120)}</th>
            <td>{quantity(row.value, chart.unit)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/**
 * A chart drawn by Bokeh, or its numbers. It is drawn once and drawn anew only when `drawKey` or the theme changes;
 * points that come later are streamed by `onDrawn`'s receiver.
 */
export function Figure(props: {
  chart: Chart;
  drawKey: string;
  onDrawn?: (drawn: IDrawn | null) => void;
}): JSX.Element {
  const { draw, theme, trans } = useTools();
  const { chart, drawKey, onDrawn } = props;
  const node = useRef<HTMLDivElement>(null);
  const [state, setState] = useState<'drawing' | 'drawn' | 'failed'>('drawing');
  const latest = useRef(chart);
  latest.current = chart;
  const told = useRef(onDrawn);
  told.current = onDrawn;

  useEffect(() => {
    const host = node.current;
    if (host === null || draw === null) {
      setState('failed');
      return;
    }
    let isGone = false;
    let drawn: IDrawn | null = null;
    setState('drawing');
    draw(latest.current, host).then(
      result => {
        if (isGone) {
          result.dispose();
          return;
        }
        drawn = result;
        setState('drawn');
        told.current?.(result);
      },
      () => {
        if (!isGone) {
          setState('failed');
        }
      }
    );
    return () => {
      isGone = true;
      told.current?.(null);
      drawn?.dispose();
      host.replaceChildren();
    };
  }, [draw, theme, drawKey]);

  return (
    <figure className={`jp-DaskDoctorPanel-figure jp-mod-${state}`}>
      <figcaption>
        <Prose text={chart.title} />
      </figcaption>
      <div
        ref={node}
        role="img"
        aria-label={cut(chart.title.replace(/`/g, ''), 200)}
        hidden={state === 'failed'}
      />
      {state === 'drawing' && (
        <div className="jp-DaskDoctorPanel-note">{trans.__('Drawing…')}</div>
      )}
      {state === 'failed' && <Numbers chart={chart} />}
    </figure>
  );
}
