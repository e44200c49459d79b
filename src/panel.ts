/** The widget in the sidebar: shows the model, asks nothing while it is hidden. */
import { Clipboard, ReactWidget } from '@jupyterlab/apputils';
import type { IThemeManager } from '@jupyterlab/apputils';
import type { IEditorLanguageRegistry } from '@jupyterlab/codemirror';
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import type { Message } from '@lumino/messaging';
import { Menu, Widget } from '@lumino/widgets';
import { createElement } from 'react';
import type { ReactElement } from 'react';

import { doctorIcon } from './components/icons';
import type { IActions, ITools } from './components/tools';
import { preview } from './edits';
import { Figures } from './figures';
import type { DoctorModel } from './model';
import { manual } from './request';
import type { Service } from './service';
import { CommandIDs, PANEL_ID } from './tokens';
import { DoctorView } from './view';

/** One line that installs, one that loads: no restart is needed. */
const PACKAGE_CELL =
  '%pip install --upgrade jupyter-dask-doctor\n%load_ext jupyter_dask_doctor';
const CLUSTER_CELL = `from dask.distributed import Client, LocalCluster

cluster = LocalCluster(dashboard_address="127.0.0.1:0")
client = Client(cluster)
client`;

export class DoctorPanel extends ReactWidget {
  constructor(options: DoctorPanel.IOptions) {
    super();
    const { model, trans, themes } = options;
    this._options = options;
    this.id = PANEL_ID;
    this.addClass('jp-DaskDoctorPanel');
    this.title.icon = doctorIcon;
    this.title.caption = trans.__('Dask Doctor');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', trans.__('Dask Doctor'));
    this._figures = new Figures({
      serverSettings: options.service.serverSettings,
      isDark: () => (themes?.theme ? !themes.isLight(themes.theme) : false)
    });
    this._menu = this._makeMenu();
    this._tools = this._makeTools(0);
    this._actions = this._makeActions();
    model.changed.connect(this._onChanged, this);
    themes?.themeChanged.connect(this._onTheme, this);
  }

  override dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this._options.model.changed.disconnect(this._onChanged, this);
    this._options.themes?.themeChanged.disconnect(this._onTheme, this);
    this._menu.dispose();
    super.dispose();
  }

  protected override onAfterShow(msg: Message): void {
    super.onAfterShow(msg);
    this._options.model.isActive = true;
    this.update();
  }

  protected override onAfterHide(msg: Message): void {
    super.onAfterHide(msg);
    this._options.model.isActive = false;
  }

  protected override onAfterAttach(msg: Message): void {
    super.onAfterAttach(msg);
    this._options.model.isActive = this.isVisible;
  }

  protected override onBeforeDetach(msg: Message): void {
    this._options.model.isActive = false;
    super.onBeforeDetach(msg);
  }

  protected render(): ReactElement {
    return createElement(DoctorView, {
      state: this._options.model.state,
      actions: this._actions,
      tools: this._tools
    });
  }

  private _onChanged(): void {
    if (this.isVisible) {
      this.update();
    }
  }

  private _onTheme(): void {
    this._tools = this._makeTools(this._tools.theme + 1);
    this.update();
  }

  private _makeTools(theme: number): ITools {
    const { languages, rendermime, service, trans, model } = this._options;
    return {
      trans,
      theme,
      draw: (chart, node) => this._figures.draw(chart, node),
      highlight: async (code, node) => {
        const python = languages?.findByName('python') ?? null;
        if (languages && python) {
          await languages.highlight(code, python, node);
        } else {
          node.textContent = code;
        }
      },
      explain: async rule => {
        const { text } = await manual(rule, service.serverSettings);
        return this._markdown(text, rendermime);
      },
      preview: fix => {
        const shared = model.panel?.model?.sharedModel;
        return shared ? preview(shared, fix) : [];
      }
    };
  }

  private async _markdown(
    text: string,
    rendermime: IRenderMimeRegistry | null
  ): Promise<Widget> {
    const mimeType = 'text/markdown';
    if (rendermime === null) {
      const plain = new Widget();
      const pre = document.createElement('pre');
      pre.textContent = text;
      plain.node.appendChild(pre);
      return plain;
    }
    const renderer = rendermime.createRenderer(mimeType);
    // Not trusted: whatever the sanitizer does not let through stays out.
    await renderer.renderModel(
      rendermime.createModel({ data: { [mimeType]: text }, trusted: false })
    );
    return renderer;
  }

  private _makeActions(): IActions {
    const { model, commands } = this._options;
    return {
      checkNow: () => void commands.execute(CommandIDs.checkNow),
      togglePause: () => void commands.execute(CommandIDs.togglePause),
      togglePin: () => void commands.execute(CommandIDs.togglePin),
      openMenu: event => {
        const box = event.currentTarget.getBoundingClientRect();
        this._menu.open(box.left, box.bottom);
      },
      goTo: cellId => void model.goTo(cellId),
      apply: (finding, fix, run) => void model.apply(finding, fix, run),
      copy: text => Clipboard.copyToSystem(text),
      ignore: (findingId, value) => model.ignore(findingId, value),
      offer: what =>
        void model.offer(what === 'package' ? PACKAGE_CELL : CLUSTER_CELL)
    };
  }

  private _makeMenu(): Menu {
    const menu = new Menu({ commands: this._options.commands });
    menu.addItem({ command: CommandIDs.openDashboard });
    menu.addItem({ command: CommandIDs.copyReport });
    menu.addItem({ type: 'separator' });
    menu.addItem({ command: CommandIDs.openSettings });
    return menu;
  }

  private readonly _options: DoctorPanel.IOptions;
  private readonly _figures: Figures;
  private readonly _menu: Menu;
  private readonly _actions: IActions;
  private _tools: ITools;
}

export namespace DoctorPanel {
  export interface IOptions {
    model: DoctorModel;
    service: Service;
    commands: CommandRegistry;
    trans: TranslationBundle;
    themes: IThemeManager | null;
    languages: IEditorLanguageRegistry | null;
    rendermime: IRenderMimeRegistry | null;
  }
}
