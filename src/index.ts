/** The list of plugins. */
import { ILayoutRestorer } from '@jupyterlab/application';
import type {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import {
  ICommandPalette,
  IThemeManager,
  Notification
} from '@jupyterlab/apputils';
import { IEditorLanguageRegistry } from '@jupyterlab/codemirror';
import { INotebookTracker } from '@jupyterlab/notebook';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { addCommands } from './commands';
import { cut } from './format';
import { DoctorModel } from './model';
import { DoctorPanel } from './panel';
import { Service } from './service';
import { DoctorStatus } from './status';
import { CommandIDs, IDoctor, PANEL_ID, PLUGIN_ID } from './tokens';

const plugin: JupyterFrontEndPlugin<IDoctor> = {
  id: PLUGIN_ID,
  description:
    'Says why a Dask computation is slow, dies or hangs, and offers the fix.',
  autoStart: true,
  requires: [INotebookTracker],
  optional: [
    ITranslator,
    ICommandPalette,
    ILayoutRestorer,
    ISettingRegistry,
    IStatusBar,
    IThemeManager,
    IEditorLanguageRegistry,
    IRenderMimeRegistry
  ],
  provides: IDoctor,
  activate: (
    app: JupyterFrontEnd,
    tracker: INotebookTracker,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null,
    settings: ISettingRegistry | null,
    statusBar: IStatusBar | null,
    themes: IThemeManager | null,
    languages: IEditorLanguageRegistry | null,
    rendermime: IRenderMimeRegistry | null
  ): IDoctor => {
    const trans = (translator ?? nullTranslator).load('jupyter_dask_doctor');
    const service = new Service({
      serverSettings: app.serviceManager.serverSettings
    });
    const model = new DoctorModel({ tracker, service });
    const open = () => void app.commands.execute(CommandIDs.openPanel);
    addCommands({ app, model, trans, palette });
    const panel = new DoctorPanel({
      model,
      service,
      commands: app.commands,
      trans,
      themes,
      languages,
      rendermime
    });
    app.shell.add(panel, 'right', { rank: 700, type: 'Dask Doctor' });
    restorer?.add(panel, PANEL_ID);
    statusBar?.registerStatusItem('jupyter-dask-doctor:status', {
      item: new DoctorStatus({ model, trans, open }),
      align: 'left',
      rank: 100
    });
    model.alarmed.connect((_, finding) => {
      Notification.error(cut(finding.message.replace(/`/g, ''), 140), {
        autoClose: 15_000,
        actions: [
          {
            label: trans.__('Show'),
            caption: trans.__('Open the Dask Doctor'),
            callback: open
          }
        ]
      });
    });
    void openOnStart(app, settings, open);
    return model;
  }
};

async function openOnStart(
  app: JupyterFrontEnd,
  settings: ISettingRegistry | null,
  open: () => void
): Promise<void> {
  try {
    const loaded = await settings?.load(PLUGIN_ID);
    await app.restored;
    if (loaded?.get('openOnStart').composite === true) {
      open();
    }
  } catch (error) {
    console.warn('The settings of the Dask Doctor could not be read.', error);
  }
}

export { IDoctor } from './tokens';
export default plugin;
