/** What was checked and passed, and what was not checked and why: silence is earned. */
import React from 'react';

import type { Check } from '../_schema';
import { count, cut } from '../format';
import { Fold } from './fold';
import { goodIcon, Picture, severityIcons } from './icons';
import { Prose } from './text';
import { useTools } from './tools';

function Group(props: {
  title: string;
  checks: readonly Check[];
  isOpen?: boolean;
}): JSX.Element | null {
  if (props.checks.length === 0) {
    return null;
  }
  return (
    <Fold
      title={props.title}
      note={count(props.checks.length)}
      isOpen={props.isOpen}
    >
      <ul className="jp-DaskDoctorPanel-list">
        {props.checks.map(check => (
          <li
            key={check.rule}
            className={`jp-DaskDoctorPanel-check ${check.outcome === 'error' ? 'jp-mod-bad' : ''}`}
          >
            {check.outcome === 'passed' && <Picture icon={goodIcon} />}
            {check.outcome === 'error' && (
              <Picture icon={severityIcons.warning} />
            )}
            <span>
              {cut(check.title, 200)}
              {check.reason !== '' && (
                <span className="jp-DaskDoctorPanel-muted">
                  {' – '}
                  <Prose text={check.reason} />
                </span>
              )}
            </span>
          </li>
        ))}
      </ul>
    </Fold>
  );
}

export function ChecksView(props: {
  checks: readonly Check[];
  notes: readonly string[];
}): JSX.Element {
  const { trans } = useTools();
  const by = (outcome: Check['outcome']) =>
    props.checks.filter(check => check.outcome === outcome);
  return (
    <>
      <Group
        title={trans.__('Not checked')}
        checks={by('incomplete')}
        isOpen={true}
      />
      <Group
        title={trans.__('Failed by a fault of the doctor')}
        checks={by('error')}
        isOpen={true}
      />
      <Group
        title={trans.__('Found something')}
        checks={by('found')}
        isOpen={true}
      />
      <Group title={trans.__('Looked for, not found')} checks={by('passed')} />
      <Group title={trans.__('Nothing to check')} checks={by('inapplicable')} />
      {props.notes.map((note, i) => (
        <p key={i} className="jp-DaskDoctorPanel-note">
          {cut(note)}
        </p>
      ))}
    </>
  );
}
