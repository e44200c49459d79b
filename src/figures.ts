/** Charts drawn by the BokehJS that the server's own bokeh brings: one script, loaded when the first chart is opened. */
import type { ServerConnection } from '@jupyterlab/services';

import type { Chart } from './_schema';
import type { IDrawn } from './components/tools';
import { figure, info, serverUrl } from './request';

/** Points kept in a chart that is streamed. */
const ROLLOVER = 1200;

interface IStreamable {
  stream(columns: Record<string, number[]>, rollover?: number): void;
}
interface IDocument {
  get_model_by_name(name: string): IStreamable | null;
  clear(): void;
}
interface IViews {
  readonly roots?: readonly { model: { document: IDocument | null } }[];
  clear(): void;
}
interface IBokeh {
  embed: {
    embed_item(item: unknown, target: HTMLElement): Promise<IViews>;
  };
}
type BokehGlobal = IBokeh & Record<string, IBokeh | undefined>;

function roots(
  views: IViews
): readonly { model: { document: IDocument | null } }[] {
  return views.roots ?? [];
}

export class Figures {
  constructor(options: Figures.IOptions) {
    this._settings = options.serverSettings;
    this._isDark = options.isDark;
  }

  /**
   * Draw a chart into an element.
   *
   * @throws when the server has no part of ours, no bokeh, or the script cannot be loaded.
   */
  async draw(chart: Chart, node: HTMLElement): Promise<IDrawn> {
    const [bokeh, item] = await Promise.all([
      this._bokeh(),
      figure(chart, this._isDark(), this._settings)
    ]);
    const views = await bokeh.embed.embed_item(item, node);
    const document = roots(views)[0]?.model.document ?? null;
    const source = document?.get_model_by_name('stream') ?? null;
    return {
      newest: chart.x.at(-1) ?? null,
      stream: columns => {
        const { x, ...rest } = columns;
        source?.stream({ x: x.map(time => time * 1000), ...rest }, ROLLOVER);
      },
      dispose: () => {
        views.clear();
        document?.clear();
      }
    };
  }

  private _bokeh(): Promise<IBokeh> {
    if (this._loading === null) {
      this._loading = this._load();
      // What failed may be tried again by the next chart.
      this._loading.catch(() => {
        this._loading = null;
      });
    }
    return this._loading;
  }

  private async _load(): Promise<IBokeh> {
    const { bokeh: version } = await info(this._settings);
    if (!version) {
      throw new Error('The server has no bokeh.');
    }
    const loaded = () => {
      const all = (window as unknown as { Bokeh?: BokehGlobal }).Bokeh;
      return all?.[version] ?? (all as IBokeh | undefined);
    };
    const present = (window as unknown as { Bokeh?: BokehGlobal }).Bokeh?.[
      version
    ];
    if (present) {
      return present;
    }
    await new Promise<void>((resolve, reject) => {
      const script = document.createElement('script');
      const url = serverUrl(
        this._settings,
        'bokeh',
        version,
        'js',
        'bokeh.min.js'
      );
      script.src =
        this._settings.appendToken && this._settings.token
          ? `${url}?token=${encodeURIComponent(this._settings.token)}`
          : url;
      script.async = true;
      script.onload = () => resolve();
      script.onerror = () => {
        script.remove();
        reject(new Error('BokehJS could not be loaded.'));
      };
      document.head.appendChild(script);
    });
    const bokeh = loaded();
    if (!bokeh) {
      throw new Error('BokehJS was loaded and is not there.');
    }
    return bokeh;
  }

  private readonly _settings: ServerConnection.ISettings;
  private readonly _isDark: () => boolean;
  private _loading: Promise<IBokeh> | null = null;
}

export namespace Figures {
  export interface IOptions {
    serverSettings: ServerConnection.ISettings;
    isDark: () => boolean;
  }
}
