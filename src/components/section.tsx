/** A part of the panel that opens and closes, as JupyterLab's sidebars have them; closed, it builds nothing. */
import { caretDownIcon, caretRightIcon } from '@jupyterlab/ui-components';
import React, { useId, useState } from 'react';

import { Guard } from './guard';

export function Section(props: {
  title: string;
  note?: string;
  children: () => React.ReactNode;
}): JSX.Element {
  const [isOpen, setIsOpen] = useState(false);
  const id = useId();
  const Caret = isOpen ? caretDownIcon : caretRightIcon;
  return (
    <section className="jp-DaskDoctorPanel-section">
      <h2 className="jp-DaskDoctorPanel-sectionTitle">
        <button
          type="button"
          aria-expanded={isOpen}
          aria-controls={id}
          onClick={() => setIsOpen(!isOpen)}
        >
          <span aria-hidden="true" className="jp-DaskDoctorPanel-picture">
            <Caret.react tag={null} />
          </span>
          <span>{props.title}</span>
          {props.note && (
            <span className="jp-DaskDoctorPanel-sectionNote">{props.note}</span>
          )}
        </button>
      </h2>
      <div id={id} className="jp-DaskDoctorPanel-sectionBody" hidden={!isOpen}>
        {isOpen && <Guard about="">{props.children()}</Guard>}
      </div>
    </section>
  );
}
