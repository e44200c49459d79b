/** Signs of how the cluster is, whether or not anything is wrong, and the level at which each colours. */
import React from 'react';

import type { Sign, Vitals } from '../_schema';
import { quantity } from '../format';
import { Fold } from './fold';
import { goodIcon, Picture, severityIcons } from './icons';
import { useTools } from './tools';
import type { ITools } from './tools';

function label(kind: Sign['kind'], trans: ITools['trans']): string {
  switch (kind) {
    case 'worker-memory':
      return trans.__('Fullest worker');
    case 'memory-kills':
      return trans.__('Killed for memory');
    case 'workers-lost':
      return trans.__('Workers lost in 10 min');
    case 'success':
      return trans.__('Computations that succeed');
    case 'failure-rate':
      return trans.__('Tasks that fail');
    case 'start-delay':
      return trans.__('Ready to running');
    case 'cell-seconds':
      return trans.__('Cells, 95th percentile');
    case 'bytes-moved':
      return trans.__('Moved by the last run');
    case 'waiting':
      return trans.__('Tasks waiting');
    case 'scheduler-cpu':
      return trans.__('Scheduler’s CPU');
    default:
      return kind;
  }
}

/** In words; of a share near one, what is missing matters. */
function amount(value: number, unit: Sign['unit']): string {
  return unit === 'share' && value > 0.9 && value < 1
    ? `${Math.floor(value * 10_000 + 1e-9) / 100} %`
    : quantity(value, unit);
}

function Row({ sign }: { sign: Sign }): JSX.Element {
  const { trans } = useTools();
  const { value, unit, limit } = sign;
  const level =
    limit === null
      ? ''
      : sign.kind === 'success'
        ? trans.__('at least %1', amount(limit, unit))
        : trans.__('at most %1', amount(limit, unit));
  return (
    <div className={sign.is_out ? 'jp-mod-out' : ''}>
      <dt>
        {label(sign.kind, trans)}
        {sign.is_out && (
          <>
            {' '}
            <Picture icon={severityIcons.warning} />
            <span className="jp-DaskDoctorPanel-signLevel">
              {trans.__('out of range')}
            </span>
          </>
        )}
      </dt>
      <dd>
        <span
          className={value === null ? 'jp-DaskDoctorPanel-muted' : undefined}
        >
          {value === null ? trans.__('not known') : amount(value, unit)}
        </span>
        {level !== '' && (
          <span className="jp-DaskDoctorPanel-signLevel"> {level}</span>
        )}
      </dd>
    </div>
  );
}

export function SignsView({ vitals }: { vitals: Vitals }): JSX.Element | null {
  const { trans } = useTools();
  const { signs } = vitals;
  if (signs.length === 0) {
    return null;
  }
  const out = signs.filter(sign => sign.is_out).length;
  return (
    <Fold
      title={trans.__('Vital signs')}
      note={
        <span className={out > 0 ? 'jp-mod-out' : ''}>
          <Picture icon={out > 0 ? severityIcons.warning : goodIcon} />
          {out > 0 ? trans.__('%1 out of range', out) : trans.__('in range')}
        </span>
      }
    >
      <dl className="jp-DaskDoctorPanel-facts">
        {signs.map(sign => (
          <Row key={sign.kind} sign={sign} />
        ))}
      </dl>
    </Fold>
  );
}
