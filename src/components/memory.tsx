/** Memory of the cluster as it goes, and of its workers, the fullest first. */
import React, { useCallback, useEffect, useRef } from 'react';

import type {
  Chart,
  ClusterInfo,
  MemoryPoint,
  Vitals,
  WorkerInfo
} from '../_schema';
import { bytes, cut } from '../format';
import { Figure } from './evidence';
import { useTools } from './tools';
import type { IDrawn } from './tools';

const PARTS = ['managed', 'unmanaged', 'spilled'] as const;

export function memoryChart(
  memory: readonly MemoryPoint[],
  vitals: Vitals | null,
  title: string
): Chart {
  return {
    kind: 'stack',
    title,
    unit: 'bytes',
    series: PARTS.map(name => ({
      name,
      values: memory.map(point => point[name])
    })),
    labels: [],
    x: memory.map(point => point.time),
    limits:
      vitals?.memory_limit == null
        ? []
        : [{ name: 'limit', value: vitals.memory_limit }],
    highlight: null
  };
}

/** Drawn once; what comes later is streamed into it. */
function LiveChart(props: {
  memory: readonly MemoryPoint[];
  vitals: Vitals | null;
  session: string;
}): JSX.Element {
  const { trans } = useTools();
  const { memory, vitals, session } = props;
  const drawn = useRef<IDrawn | null>(null);
  const last = useRef(0);
  const latest = useRef(memory);
  latest.current = memory;

  const stream = useCallback(() => {
    const fresh = latest.current.filter(point => point.time > last.current);
    if (drawn.current === null || fresh.length === 0) {
      return;
    }
    last.current = fresh[fresh.length - 1].time;
    const columns: Record<string, number[]> = {
      x: fresh.map(point => point.time)
    };
    for (const name of PARTS) {
      columns[name] = fresh.map(point => point[name]);
    }
    drawn.current.stream(columns);
  }, []);
  useEffect(stream, [memory, stream]);

  const chart = memoryChart(memory, vitals, trans.__('Memory of the cluster'));
  return (
    <Figure
      chart={chart}
      drawKey={`${session} ${vitals?.memory_limit ?? ''}`}
      onDrawn={result => {
        drawn.current = result;
        if (result !== null) {
          // The chart was drawn from the points of some moments ago.
          last.current = result.newest ?? 0;
          stream();
        }
      }}
    />
  );
}

/** What stays behind from run to run, and what the scheduler holds. */
function Standing({ cluster }: { cluster: ClusterInfo }): JSX.Element | null {
  const { trans } = useTools();
  const { rest, scheduler_memory: scheduler } = cluster;
  if (rest === null && scheduler === null) {
    return null;
  }
  const signed = (value: number) =>
    `${value > 0 ? '+' : ''}${bytes(Math.round(value))}`;
  return (
    <dl className="jp-DaskDoctorPanel-facts">
      {rest !== null && (
        <div>
          <dt>{trans.__('Unmanaged at rest, per computation')}</dt>
          <dd>
            ≈ {signed(rest.slope)}
            <span className="jp-DaskDoctorPanel-signLevel">
              {' '}
              {trans.__(
                '%1 to %2, from %3 pauses',
                signed(rest.low),
                signed(rest.high),
                rest.n
              )}
            </span>
          </dd>
        </div>
      )}
      {scheduler !== null && (
        <div>
          <dt>
            {cluster.is_in_process
              ? trans.__('Scheduler, in the kernel’s process')
              : trans.__('Scheduler')}
          </dt>
          <dd>{bytes(scheduler)}</dd>
        </div>
      )}
    </dl>
  );
}

function WorkerTable({
  workers
}: {
  workers: readonly WorkerInfo[];
}): JSX.Element {
  const { trans } = useTools();
  return (
    <table className="jp-DaskDoctorPanel-table">
      <thead>
        <tr>
          <th scope="col">{trans.__('Worker')}</th>
          <th scope="col">{trans.__('Memory')}</th>
          <th scope="col">{trans.__('Peak')}</th>
          <th scope="col">{trans.__('Spilled')}</th>
        </tr>
      </thead>
      <tbody>
        {workers.map(worker => {
          const limit = worker.memory_limit;
          const share =
            limit === null ? 0 : Math.min(1, worker.process / limit);
          const part =
            limit === null ? 0 : Math.min(share, worker.managed / limit);
          return (
            <tr key={worker.address}>
              <th scope="row" title={cut(worker.address, 200)}>
                {cut(worker.name, 40)}
                {worker.status !== 'running' && (
                  <span className="jp-DaskDoctorPanel-status">
                    {' '}
                    {cut(worker.status, 40)}
                  </span>
                )}
              </th>
              <td>
                {bytes(worker.process)}
                {limit !== null && (
                  <span className="jp-DaskDoctorPanel-gauge" aria-hidden="true">
                    <span
                      className="jp-mod-managed"
                      style={{ width: `${part * 100}%` }}
                    />
                    <span
                      className="jp-mod-unmanaged"
                      style={{ width: `${(share - part) * 100}%` }}
                    />
                  </span>
                )}
              </td>
              <td>{bytes(worker.peak)}</td>
              <td>{worker.spilled > 0 ? bytes(worker.spilled) : '–'}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

export function MemoryView(props: {
  memory: readonly MemoryPoint[];
  workers: readonly WorkerInfo[];
  vitals: Vitals | null;
  cluster: ClusterInfo | null;
  session: string;
}): JSX.Element {
  const { trans } = useTools();
  const { memory, workers, vitals, cluster, session } = props;
  return (
    <>
      {memory.length > 0 && (
        <LiveChart memory={memory} vitals={vitals} session={session} />
      )}
      {workers.length > 0 ? (
        <WorkerTable workers={workers} />
      ) : (
        <p className="jp-DaskDoctorPanel-note">
          {trans.__('The cluster has no workers.')}
        </p>
      )}
      {vitals !== null && vitals.n_workers > workers.length && (
        <p className="jp-DaskDoctorPanel-note">
          {trans.__('The %1 fullest of %2.', workers.length, vitals.n_workers)}
        </p>
      )}
      {cluster !== null && <Standing cluster={cluster} />}
    </>
  );
}
