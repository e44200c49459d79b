/** Something that is there for those who want it: a line that opens. */
import React from 'react';

export function Fold(props: {
  title: React.ReactNode;
  note?: React.ReactNode;
  isOpen?: boolean;
  children: React.ReactNode;
}): JSX.Element {
  return (
    <details className="jp-DaskDoctorPanel-fold" open={props.isOpen}>
      <summary>
        <span>{props.title}</span>
        {props.note !== undefined && (
          <span className="jp-DaskDoctorPanel-foldNote">{props.note}</span>
        )}
      </summary>
      {props.children}
    </details>
  );
}
