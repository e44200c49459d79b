/** What the cluster holds and does now, and its last five minutes as small lines. */
import React from 'react';

import type { MemoryPoint, Vitals } from '../_schema';
import { bytes, count } from '../format';
import { SignsView } from './signs';
import { useTools } from './tools';

/** How far back the small lines go, in seconds. */
const SPAN = 300;
const WIDTH = 100;
const HEIGHT = 24;

/** Points of a polyline in a box of WIDTH × HEIGHT: the newest at the right edge, zero at the bottom. */
export function linePoints(
  times: readonly number[],
  values: readonly number[],
  top: number
): string {
  const newest = times.at(-1) ?? 0;
  const points: string[] = [];
  times.forEach((time, i) => {
    if (newest - time > SPAN) {
      return;
    }
    const x = WIDTH * (1 - (newest - time) / SPAN);
    const y = HEIGHT - 1 - (HEIGHT - 2) * Math.min(1, values[i] / (top || 1));
    points.push(`${x.toFixed(1)},${y.toFixed(1)}`);
  });
  return points.join(' ');
}

function Line(props: {
  times: number[];
  values: number[];
  top: number;
  label: string;
}): JSX.Element {
  const { times, values, top, label } = props;
  const points = linePoints(times, values, top);
  const shape =
    points === ''
      ? ''
      : `${points} ${WIDTH},${HEIGHT} ${points.split(',')[0]},${HEIGHT}`;
  return (
    <svg
      className="jp-DaskDoctorPanel-line"
      role="img"
      aria-label={label}
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
    >
      <polygon points={shape} />
      <polyline points={points} vectorEffect="non-scaling-stroke" />
    </svg>
  );
}

function Tile(props: {
  label: string;
  value: string;
  of?: string;
  children: React.ReactNode;
}): JSX.Element {
  return (
    <div className="jp-DaskDoctorPanel-tile">
      <div className="jp-DaskDoctorPanel-tileLabel">{props.label}</div>
      <div className="jp-DaskDoctorPanel-tileValue">
        {props.value}
        {props.of && (
          <span className="jp-DaskDoctorPanel-tileOf"> {props.of}</span>
        )}
      </div>
      {props.children}
    </div>
  );
}

function Mark(props: { at: number; label: string }): JSX.Element {
  return (
    <span
      className="jp-DaskDoctorPanel-mark"
      style={{ left: `${Math.min(100, props.at * 100)}%` }}
      title={props.label}
    />
  );
}

function MemoryBar({ vitals }: { vitals: Vitals }): JSX.Element {
  const { trans } = useTools();
  const { managed, unmanaged, spilled, memory_limit: limit } = vitals;
  const used = managed + unmanaged;
  const whole = Math.max(limit ?? 0, used + spilled, 1);
  const share = limit === null ? 0 : used / limit;
  const level =
    limit === null || share < vitals.memory_target
      ? 'calm'
      : share < vitals.memory_pause
        ? 'high'
        : 'paused';
  const percent = (value: number) => `${(100 * value) / whole}%`;
  const parts = [
    { name: 'managed', label: trans.__('managed'), value: managed },
    { name: 'unmanaged', label: trans.__('unmanaged'), value: unmanaged },
    { name: 'spilled', label: trans.__('spilled'), value: spilled }
  ];
  const words = parts.map(part => `${bytes(part.value)} ${part.label}`);
  return (
    <div className={`jp-DaskDoctorPanel-memory jp-mod-${level}`}>
      <div className="jp-DaskDoctorPanel-memoryWords">
        <span>{trans.__('Memory')}</span>
        <span>
          <strong>{bytes(used)}</strong>
          {limit !== null && ` ${trans.__('of %1', bytes(limit))}`}
        </span>
      </div>
      <div
        className="jp-DaskDoctorPanel-bar"
        role="img"
        aria-label={trans.__(
          'Memory of the cluster: %1 of %2',
          words.join(', '),
          limit === null ? trans.__('no limit') : bytes(limit)
        )}
      >
        {parts.map(part => (
          <span
            key={part.name}
            className={`jp-DaskDoctorPanel-part jp-mod-${part.name}`}
            style={{ width: percent(part.value) }}
            title={`${bytes(part.value)} ${part.label}`}
          />
        ))}
        {limit !== null && (
          <>
            <Mark
              at={(limit * vitals.memory_target) / whole}
              label={trans.__('target: workers begin to spill')}
            />
            <Mark
              at={(limit * vitals.memory_pause) / whole}
              label={trans.__('pause: workers take no new tasks')}
            />
          </>
        )}
      </div>
      <ul className="jp-DaskDoctorPanel-legend" aria-hidden="true">
        {parts
          .filter(part => part.value > 0 || part.name !== 'spilled')
          .map(part => (
            <li key={part.name}>
              <span className={`jp-DaskDoctorPanel-key jp-mod-${part.name}`} />
              {part.label} {bytes(part.value)}
            </li>
          ))}
      </ul>
    </div>
  );
}

export function VitalsView(props: {
  vitals: Vitals;
  memory: readonly MemoryPoint[];
}): JSX.Element {
  const { trans } = useTools();
  const { vitals, memory } = props;
  const times = memory.map(point => point.time);
  const used = memory.map(point => point.managed + point.unmanaged);
  const busy = memory.map(point => point.threads_busy);
  const tasks = memory.map(point => point.tasks_processing);
  return (
    <section
      className="jp-DaskDoctorPanel-vitals"
      aria-label={trans.__('Vitals of the cluster')}
    >
      <MemoryBar vitals={vitals} />
      <div className="jp-DaskDoctorPanel-tiles">
        <Tile label={trans.__('Memory')} value={bytes(used.at(-1) ?? 0)}>
          <Line
            times={times}
            values={used}
            top={vitals.memory_limit ?? Math.max(...used, 1)}
            label={trans.__('Memory over the last five minutes')}
          />
        </Tile>
        <Tile
          label={trans.__('Threads')}
          value={count(vitals.threads_busy)}
          of={trans.__('of %1', count(vitals.nthreads))}
        >
          <Line
            times={times}
            values={busy}
            top={vitals.nthreads}
            label={trans.__('Busy threads over the last five minutes')}
          />
        </Tile>
        <Tile label={trans.__('Tasks')} value={count(vitals.tasks_processing)}>
          <Line
            times={times}
            values={tasks}
            top={Math.max(...tasks, 1)}
            label={trans.__('Tasks processing over the last five minutes')}
          />
        </Tile>
      </div>
      <div className="jp-DaskDoctorPanel-tasks">
        <span>{trans.__('%1 processing', count(vitals.tasks_processing))}</span>
        <span>{trans.__('%1 waiting', count(vitals.tasks_waiting))}</span>
        <span className={vitals.tasks_erred > 0 ? 'jp-mod-bad' : ''}>
          {trans.__('%1 failed', count(vitals.tasks_erred))}
        </span>
      </div>
      <SignsView vitals={vitals} />
    </section>
  );
}
