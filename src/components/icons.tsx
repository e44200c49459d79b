/** Our own pictures: the stethoscope of the panel, and one shape for each severity, so that colour is never alone. */
import { LabIcon } from '@jupyterlab/ui-components';
import React from 'react';

import type { Finding } from '../_schema';
import critical from '../../style/icons/critical.svg';
import doctor from '../../style/icons/stethoscope.svg';
import good from '../../style/icons/good.svg';
import info from '../../style/icons/info.svg';
import pin from '../../style/icons/pin.svg';
import warning from '../../style/icons/warning.svg';

export const doctorIcon = new LabIcon({
  name: 'jupyter-dask-doctor:stethoscope',
  svgstr: doctor
});
export const pinIcon = new LabIcon({
  name: 'jupyter-dask-doctor:pin',
  svgstr: pin
});
export const goodIcon = new LabIcon({
  name: 'jupyter-dask-doctor:good',
  svgstr: good
});

export const severityIcons: Record<Finding['severity'], LabIcon> = {
  critical: new LabIcon({
    name: 'jupyter-dask-doctor:critical',
    svgstr: critical
  }),
  warning: new LabIcon({
    name: 'jupyter-dask-doctor:warning',
    svgstr: warning
  }),
  info: new LabIcon({ name: 'jupyter-dask-doctor:info', svgstr: info })
};

/** A picture that says nothing that the words beside it do not say. */
export function Picture({ icon }: { icon: LabIcon }): JSX.Element {
  return (
    <span aria-hidden="true" className="jp-DaskDoctorPanel-picture">
      <icon.react tag={null} />
    </span>
  );
}
