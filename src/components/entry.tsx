/** One of many things in a section: its name and its cell, a line of facts, and more when it is opened. */
import { caretDownIcon, caretRightIcon } from '@jupyterlab/ui-components';
import React, { useId, useState } from 'react';

import type { Location } from '../_schema';
import { Guard } from './guard';
import { CellButton } from './text';

/** What brings a reader to a cell. */
export interface IPlaces {
  counts: ReadonlyMap<string, number | null>;
  goTo: (cellId: string) => void;
}

export function Entry(props: {
  title: React.ReactNode;
  /** Beside the title. */
  tags?: React.ReactNode;
  facts: readonly string[];
  at: Location | null;
  places: IPlaces;
  isOpen?: boolean;
  children: () => React.ReactNode;
}): JSX.Element {
  const [isOpen, setIsOpen] = useState(props.isOpen ?? false);
  const id = useId();
  const Caret = isOpen ? caretDownIcon : caretRightIcon;
  return (
    <li className="jp-DaskDoctorPanel-entry">
      <div className="jp-DaskDoctorPanel-cardTop">
        <button
          type="button"
          className="jp-DaskDoctorPanel-entryTitle"
          aria-expanded={isOpen}
          aria-controls={id}
          onClick={() => setIsOpen(!isOpen)}
        >
          <span aria-hidden="true" className="jp-DaskDoctorPanel-caret">
            <Caret.react tag={null} />
          </span>
          <span>{props.title}</span>
        </button>
        {props.tags}
        <CellButton
          at={props.at}
          counts={props.places.counts}
          goTo={props.places.goTo}
        />
      </div>
      <div className="jp-DaskDoctorPanel-entryFacts">
        {props.facts.map((fact, i) => (
          <React.Fragment key={i}>
            {i > 0 && ' · '}
            {/* A short one stays whole. */}
            {fact.length < 24 ? (
              <span className="jp-DaskDoctorPanel-whole">{fact}</span>
            ) : (
              fact
            )}
          </React.Fragment>
        ))}
      </div>
      <div id={id} className="jp-DaskDoctorPanel-entryBody" hidden={!isOpen}>
        {isOpen && <Guard about="">{props.children()}</Guard>}
      </div>
    </li>
  );
}

/** Names and values, one below the other; a value that is null has no line. */
export function Facts(props: {
  facts: readonly (readonly [string, React.ReactNode])[];
}): JSX.Element {
  return (
    <dl className="jp-DaskDoctorPanel-facts">
      {props.facts
        .filter(([, value]) => value !== null)
        .map(([label, value]) => (
          <div key={label}>
            <dt>{label}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}
