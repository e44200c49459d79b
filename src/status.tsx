/** The item in the status bar: how many findings, how grave; a click opens the panel. */
import { ReactWidget } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import { doctorIcon, Picture } from './components/icons';
import { tally } from './format';
import type { DoctorModel } from './model';

export class DoctorStatus extends ReactWidget {
  constructor(options: DoctorStatus.IOptions) {
    super();
    this._options = options;
    this.addClass('jp-DaskDoctorStatus');
    options.model.changed.connect(this._onChanged, this);
  }

  override dispose(): void {
    this._options.model.changed.disconnect(this._onChanged, this);
    super.dispose();
  }

  protected render(): JSX.Element {
    const { model, trans, open } = this._options;
    const { told, ignored } = model.state;
    const findings = (told?.report?.findings ?? []).filter(
      each => !ignored.includes(each.id)
    );
    const { critical, warning } = tally(findings);
    const level = critical > 0 ? 'critical' : warning > 0 ? 'warning' : 'good';
    const words =
      told?.report == null
        ? trans.__('Dask Doctor')
        : critical + warning === 0
          ? trans.__('Dask Doctor: nothing wrong')
          : trans.__(
              'Dask Doctor: %1 critical, %2 warnings',
              critical,
              warning
            );
    return (
      <button
        type="button"
        className={`jp-DaskDoctorStatus-button jp-mod-${level}`}
        title={words}
        aria-label={words}
        onClick={open}
      >
        <Picture icon={doctorIcon} />
        {critical + warning > 0 && <span>{critical + warning}</span>}
      </button>
    );
  }

  private _onChanged(): void {
    const { told, ignored } = this._options.model.state;
    const key = `${told?.session} ${told?.report?.time} ${ignored.length}`;
    if (key !== this._shown) {
      this._shown = key;
      this.update();
    }
  }

  private readonly _options: DoctorStatus.IOptions;
  private _shown = '';
}

export namespace DoctorStatus {
  export interface IOptions {
    model: DoctorModel;
    trans: TranslationBundle;
    open: () => void;
  }
}
