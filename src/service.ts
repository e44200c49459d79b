/** Hear what the kernel says: through the server's websocket, or from the kernel itself where that cannot be. */
import { ServerConnection } from '@jupyterlab/services';
import type { Kernel } from '@jupyterlab/services';
import type { IDisposable } from '@lumino/disposable';
import { Signal } from '@lumino/signaling';
import type { ISignal } from '@lumino/signaling';

import type {
  CellText,
  Info,
  SendCells,
  Subscribe,
  Trouble,
  Unsubscribe,
  Update
} from './_schema';
import { bounded } from './told';
import { Puller } from './puller';
import { info, liveUrl } from './request';
import { PROTOCOL } from './tokens';

const BACKOFF_MS = [1000, 2000, 4000, 8000, 15_000, 30_000];
/** A socket that fails this often without ever opening is taken for absent. */
const MAX_FAILURES = 3;

/** Through whom we hear: nobody yet, the server, the kernel itself, or nobody because the server is away. */
export type Link = 'connecting' | 'server' | 'kernel' | 'down';

export class Service implements IDisposable {
  constructor(options: Service.IOptions) {
    this.serverSettings = options.serverSettings;
    this._backoff = options.backoff ?? BACKOFF_MS;
    this._puller = new Puller({
      heard: message => this._hear(message),
      interval: options.pullInterval
    });
  }

  readonly serverSettings: ServerConnection.ISettings;

  /** What the kernel said, or why there is nothing. */
  get heard(): ISignal<this, Update | Trouble> {
    return this._heard;
  }

  get linkChanged(): ISignal<this, Link> {
    return this._linkChanged;
  }

  get link(): Link {
    return this._link;
  }

  /** What the server told of itself; null when it has no part of ours, or not yet. */
  get info(): Info | null {
    return this._info;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    this._kernel = null;
    this._puller.dispose();
    this._close();
    Signal.clearData(this);
  }

  /** Listen to this kernel from now on instead of the one before; null: to nobody. */
  follow(kernel: Kernel.IKernelConnection | null, since = 0): void {
    this._kernel = kernel;
    this._since = since;
    if (kernel === null) {
      this._puller.stop();
      this._send({ type: 'unsubscribe' });
      return;
    }
    if (this._link === 'kernel' || this._gatewayed.has(kernel.id)) {
      this._puller.follow(kernel, since);
      return;
    }
    this._puller.stop();
    if (this._socket?.readyState === WebSocket.OPEN) {
      this._subscribe();
    } else {
      void this._connect();
    }
  }

  /** Where to go on after a break: the `rev` seen last. */
  seen(rev: number): void {
    this._since = rev;
  }

  /** Tell the kernel's side how the notebook's code cells stand. */
  sendCells(cells: readonly CellText[]): void {
    if (this._kernel === null) {
      return;
    }
    if (this._link === 'kernel' || this._gatewayed.has(this._kernel.id)) {
      this._puller.sendCells(bounded(cells));
    } else {
      this._send({
        type: 'cells',
        kernel_id: this._kernel.id,
        cells: bounded(cells)
      });
    }
  }

  private async _connect(): Promise<void> {
    if (this._isConnecting || this._isDisposed) {
      return;
    }
    this._isConnecting = true;
    clearTimeout(this._timer);
    try {
      this._info = await info(this.serverSettings);
    } catch (error) {
      this._isConnecting = false;
      if (error instanceof ServerConnection.ResponseError) {
        // It answers, and knows nothing of us or will not have us: the kernel may.
        this._fallBack();
      } else {
        this._retry();
      }
      return;
    }
    this._isConnecting = false;
    if (!this._isDisposed && this._kernel !== null) {
      this._open();
    }
  }

  private _open(): void {
    this._close();
    const socket = new this.serverSettings.WebSocket(
      liveUrl(this.serverSettings)
    );
    this._socket = socket;
    let hasOpened = false;
    socket.onopen = () => {
      hasOpened = true;
      this._failures = 0;
      this._attempt = 0;
      this._setLink('server');
      this._subscribe();
    };
    socket.onmessage = event => {
      if (socket === this._socket) {
        this._read(String(event.data));
      }
    };
    socket.onclose = () => {
      if (socket !== this._socket) {
        return;
      }
      this._socket = null;
      this._failures += hasOpened ? 0 : 1;
      if (this._failures >= MAX_FAILURES) {
        this._fallBack();
      } else {
        this._retry();
      }
    };
  }

  private _read(data: string): void {
    let message: Update | Trouble;
    try {
      message = JSON.parse(data) as Update | Trouble;
    } catch {
      return;
    }
    if (message.kernel_id === '') {
      // The server would not even hear which kernel is meant.
      message = { ...message, kernel_id: this._kernel?.id ?? '' };
    }
    if (message.kernel_id !== this._kernel?.id) {
      return; // A late answer of a kernel that we no longer follow.
    }
    if (message.type === 'trouble' && message.kind === 'gateway') {
      this._gatewayed.add(message.kernel_id);
      this._send({ type: 'unsubscribe' });
      this._puller.follow(this._kernel, this._since);
      this._asked.emit();
      return;
    }
    if (message.type === 'update' || message.type === 'trouble') {
      this._hear(message);
    }
  }

  private _hear(message: Update | Trouble): void {
    if (!this._isDisposed && message.kernel_id === this._kernel?.id) {
      this._heard.emit(message);
    }
  }

  private _subscribe(): void {
    if (this._kernel === null) {
      return;
    }
    this._send({
      type: 'subscribe',
      protocol: PROTOCOL,
      kernel_id: this._kernel.id,
      since: this._since
    });
    this._asked.emit();
  }

  /** Emitted when a kernel is asked anew: now it should be told the cells. */
  get asked(): ISignal<this, void> {
    return this._asked;
  }

  private _fallBack(): void {
    this._setLink('kernel');
    if (this._kernel !== null) {
      this._puller.follow(this._kernel, this._since);
      this._asked.emit();
    }
  }

  private _retry(): void {
    if (this._isDisposed) {
      return;
    }
    this._setLink('down');
    clearTimeout(this._timer);
    const wait =
      this._backoff[Math.min(this._attempt, this._backoff.length - 1)];
    this._attempt += 1;
    // Spread, so that the tabs of a server that comes back do not all knock at once.
    this._timer = window.setTimeout(
      () => {
        if (this._kernel !== null) {
          void this._connect();
        }
      },
      wait * (0.75 + Math.random() / 2)
    );
  }

  private _send(message: Subscribe | Unsubscribe | SendCells): void {
    if (this._socket?.readyState === WebSocket.OPEN) {
      this._socket.send(JSON.stringify(message));
    }
  }

  private _setLink(link: Link): void {
    if (link !== this._link) {
      this._link = link;
      this._linkChanged.emit(link);
    }
  }

  private _close(): void {
    clearTimeout(this._timer);
    const socket = this._socket;
    this._socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
  }

  private readonly _puller: Puller;
  private readonly _backoff: readonly number[];
  private readonly _gatewayed = new Set<string>();
  private readonly _heard = new Signal<this, Update | Trouble>(this);
  private readonly _asked = new Signal<this, void>(this);
  private readonly _linkChanged = new Signal<this, Link>(this);
  private _kernel: Kernel.IKernelConnection | null = null;
  private _since = 0;
  private _socket: WebSocket | null = null;
  private _info: Info | null = null;
  private _link: Link = 'connecting';
  private _attempt = 0;
  private _failures = 0;
  private _timer = 0;
  private _isConnecting = false;
  private _isDisposed = false;
}

export namespace Service {
  export interface IOptions {
    serverSettings: ServerConnection.ISettings;
    /** Waiting times in ms before each next attempt; the last one repeats. */
    backoff?: readonly number[];
    /** Between two questions to the kernel, in ms. */
    pullInterval?: number;
  }
}
