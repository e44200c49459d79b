/** The cluster: settings and environment that matter, who came and went, and what was checked. */
import React from 'react';

import type { ChangeInfo, ClusterInfo, Report, Vitals } from '../_schema';
import { bytes, count, cut, seconds } from '../format';
import { ChecksView } from './checks';
import { goodIcon, Picture, severityIcons } from './icons';
import { Prose } from './text';
import { useTools } from './tools';
import type { ITools } from './tools';

const MAX_NAME = 200;

function shapes(cluster: ClusterInfo, trans: ITools['trans']): string[] {
  return cluster.shapes.map(shape => {
    const threads = trans._n('%1 thread', '%1 threads', shape.nthreads);
    const size = `${count(shape.n)} × ${threads}`;
    return shape.memory_limit === null
      ? trans.__('%1, no memory limit', size)
      : trans.__('%1, %2 each', size, bytes(shape.memory_limit));
  });
}

function thresholds(cluster: ClusterInfo, trans: ITools['trans']): string {
  const words = (name: string, value: number | null) =>
    value === null
      ? trans.__('%1 off', name)
      : `${name} ${Math.round(value * 100)} %`;
  return [
    words(trans.__('target'), cluster.memory_target),
    words(trans.__('spill'), cluster.memory_spill),
    words(trans.__('pause'), cluster.memory_pause),
    words(trans.__('terminate'), cluster.memory_terminate)
  ].join(' · ');
}

function disk(cluster: ClusterInfo, trans: ITools['trans']): string | null {
  const { disk_free: free, disk_total: total, file_system: kind } = cluster;
  const words: string[] = [];
  if (free !== null && total !== null) {
    words.push(trans.__('%1 of %2 free', bytes(free), bytes(total)));
  }
  if (kind !== null) {
    words.push(cut(kind, 40));
  }
  return words.length > 0 ? words.join(' · ') : null;
}

function yesNo(value: boolean | null, trans: ITools['trans']): string | null {
  return value === null ? null : value ? trans.__('yes') : trans.__('no');
}

/** Only what is known: a fact that is null has no line. */
function facts(
  cluster: ClusterInfo,
  vitals: Vitals,
  trans: ITools['trans']
): [string, React.ReactNode][] {
  const kind = cluster.kind ?? trans.__('connected by its address');
  const versions = trans.__(
    'Dask %1 · distributed %2 · Python %3',
    cut(cluster.dask, 40),
    cut(cluster.distributed, 40),
    cut(cluster.python, 40)
  );
  const all: [string, React.ReactNode][] = [
    [
      trans.__('Cluster'),
      <>
        {cut(kind, MAX_NAME)}
        {cluster.variable !== null && (
          <>
            {' '}
            <code>{cut(cluster.variable, MAX_NAME)}</code>
          </>
        )}
      </>
    ],
    [trans.__('Scheduler'), <code>{cut(cluster.address, MAX_NAME)}</code>],
    [trans.__('Workers'), shapes(cluster, trans).join('; ') || null],
    [trans.__('Adaptive'), yesNo(cluster.is_adaptive, trans)],
    [trans.__('Nanny'), yesNo(cluster.has_nanny, trans)],
    [trans.__('Memory levels'), thresholds(cluster, trans)],
    [
      trans.__('Spills to'),
      cluster.local_directory === null ? null : (
        <code>{cut(cluster.local_directory, MAX_NAME)}</code>
      )
    ],
    [trans.__('Its disk'), disk(cluster, trans)],
    [
      trans.__('Machine'),
      cluster.n_cpus === null
        ? null
        : [
            trans._n('%1 core', '%1 cores', cluster.n_cpus),
            ...(cluster.host_memory === null
              ? []
              : [bytes(cluster.host_memory)])
          ].join(' · ')
    ],
    [
      trans.__('Queuing'),
      cluster.has_queuing === null
        ? null
        : cluster.saturation === null
          ? trans.__('off')
          : trans.__('worker-saturation %1', cluster.saturation)
    ],
    [
      trans.__('Allowed failures'),
      cluster.allowed_failures === null ? null : count(cluster.allowed_failures)
    ],
    [trans.__('Encrypted'), yesNo(cluster.is_encrypted, trans)],
    [
      trans.__('Versions'),
      cluster.has_mixed_versions
        ? trans.__('%1, not the same everywhere', versions)
        : versions
    ],
    [
      trans.__('Dashboard'),
      link(vitals.dashboard_link) === null ? null : (
        <a
          href={link(vitals.dashboard_link) ?? undefined}
          target="_blank"
          rel="noopener noreferrer"
        >
          {cut(vitals.dashboard_link ?? '', MAX_NAME)}
        </a>
      )
    ]
  ];
  return all.filter(([, value]) => value !== null);
}

/** Only where a browser would go on its own feet: a link may come from a cluster's settings. */
export function link(address: string | null): string | null {
  return address !== null && /^https?:\/\//i.test(address) ? address : null;
}

function Change(props: { change: ChangeInfo; now: number }): JSX.Element {
  const { trans } = useTools();
  const { change, now } = props;
  const ago = Math.max(0, now - change.time);
  const isBad = change.kind === 'removed' && !change.is_expected;
  const words =
    change.kind === 'added'
      ? trans.__('came')
      : change.is_expected
        ? trans.__('went')
        : trans.__('was lost');
  return (
    <li className={`jp-DaskDoctorPanel-check ${isBad ? 'jp-mod-bad' : ''}`}>
      <Picture icon={isBad ? severityIcons.warning : goodIcon} />
      <span>
        <code>{cut(change.name, MAX_NAME)}</code> {words}
        <span className="jp-DaskDoctorPanel-muted">
          {' – '}
          {trans.__('%1 ago', seconds(Math.round(ago)))}
          {', '}
          {trans._n('%1 worker then', '%1 workers then', change.n_workers)}
          {change.n_lost > 0 &&
            `, ${trans._n('%1 result lost with it', '%1 results lost with it', change.n_lost)}`}
        </span>
      </span>
    </li>
  );
}

export function ClusterView(props: {
  cluster: ClusterInfo | null;
  vitals: Vitals;
  report: Report | null;
  now: number;
}): JSX.Element {
  const { trans } = useTools();
  const { cluster, vitals, report, now } = props;
  return (
    <>
      {cluster !== null && (
        <>
          <dl className="jp-DaskDoctorPanel-facts jp-mod-wide">
            {facts(cluster, vitals, trans).map(([label, value]) => (
              <div key={label}>
                <dt>{label}</dt>
                <dd>{value}</dd>
              </div>
            ))}
          </dl>
          {cluster.gaps.map((gap, i) => (
            <p key={i} className="jp-DaskDoctorPanel-note">
              {trans.__('Not known:')} <Prose text={gap} />
            </p>
          ))}
          {cluster.changes.length > 0 && (
            <>
              <h3 className="jp-DaskDoctorPanel-subheading">
                {trans.__('Workers that came and went')}
              </h3>
              <ul className="jp-DaskDoctorPanel-list">
                {cluster.changes.map((change, i) => (
                  <Change key={i} change={change} now={now} />
                ))}
              </ul>
            </>
          )}
        </>
      )}
      {report !== null && (
        <>
          <h3 className="jp-DaskDoctorPanel-subheading">
            {trans.__('Checks')}
          </h3>
          <ChecksView checks={report.checks} notes={report.notes} />
        </>
      )}
    </>
  );
}
