/** Ask the kernel itself, over its control channel, where the server cannot (a gateway, or no part of ours). */
import { KernelMessage } from '@jupyterlab/services';
import type { Kernel } from '@jupyterlab/services';
import type { IDisposable } from '@lumino/disposable';

import type { CellText, Reply, Request, Trouble, Update } from './_schema';
import { PROTOCOL, TARGET } from './tokens';

/** Silence longer than this is told; the question stays open. */
const QUIET_MS = 3000;
/** A question without an answer for so long was lost (kernels lose some while they start). */
const LOST_MS = 30_000;

export class Puller implements IDisposable {
  constructor(options: Puller.IOptions) {
    this._heard = options.heard;
    this._interval = options.interval ?? 1000;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    this.stop();
    this._isDisposed = true;
  }

  /** Ask this kernel from now on. */
  follow(kernel: Kernel.IKernelConnection, since: number): void {
    const isSame = this._kernel === kernel;
    this._kernel = kernel;
    this._since = since;
    if (!isSame) {
      this._generation += 1;
      this._session = null;
      this._cells = null;
      this._isBusy = false;
    }
    clearTimeout(this._timer);
    void this._pull();
  }

  stop(): void {
    this._kernel = null;
    this._generation += 1;
    this._isBusy = false;
    clearTimeout(this._timer);
  }

  /** Goes with the next question. */
  sendCells(cells: CellText[]): void {
    this._cells = cells;
  }

  private async _pull(): Promise<void> {
    const kernel = this._kernel;
    if (this._isBusy || kernel === null || this._isDisposed) {
      return;
    }
    const generation = this._generation;
    if (['starting', 'restarting', 'autorestarting'].includes(kernel.status)) {
      this._tell(kernel, 'restarting', 'The kernel is starting.');
    } else if (kernel.status !== 'dead') {
      this._isBusy = true;
      try {
        await this._ask(kernel, generation);
      } catch {
        // The kernel went away meanwhile; the next round will see.
      }
    }
    if (generation !== this._generation) {
      return;
    }
    this._isBusy = false;
    this._timer = window.setTimeout(() => void this._pull(), this._interval);
  }

  private async _ask(
    kernel: Kernel.IKernelConnection,
    generation: number
  ): Promise<void> {
    const cells = this._cells;
    const request: Request = { protocol: PROTOCOL, since: this._since, cells };
    // JupyterLab's types know comm_info_request on the shell channel only; kernels serve it on both.
    const message = KernelMessage.createMessage({
      msgType: 'comm_info_request',
      channel: 'shell',
      username: kernel.username,
      session: kernel.clientId,
      content: { target_name: TARGET, ...request } as { target_name: string }
    });
    const control = {
      ...message,
      channel: 'control'
    } as unknown as KernelMessage.IDebugRequestMsg;
    const future = kernel.sendControlMessage(control, true);
    const quiet = window.setTimeout(() => {
      if (generation === this._generation) {
        this._tell(
          kernel,
          'not-answering',
          'The kernel does not answer: it is starting, or busy in native code.'
        );
      }
    }, QUIET_MS);
    let lost = 0;
    const timeout = new Promise<null>(resolve => {
      lost = window.setTimeout(() => resolve(null), LOST_MS);
    });
    try {
      const reply = await Promise.race([future.done, timeout]);
      if (reply === null) {
        future.dispose();
      } else if (generation === this._generation) {
        if (this._cells === cells) {
          this._cells = null;
        }
        this._read(kernel, reply.content as unknown);
      }
    } finally {
      clearTimeout(quiet);
      clearTimeout(lost);
    }
  }

  private _read(kernel: Kernel.IKernelConnection, content: unknown): void {
    const reply = (content as { dask_doctor?: Reply }).dask_doctor;
    if (reply === undefined || reply === null) {
      this._tell(kernel, 'no-doctor', '');
    } else if (typeof reply.protocol !== 'number') {
      const { error } = reply as unknown as { error?: unknown };
      this._tell(kernel, 'bad-message', typeof error === 'string' ? error : '');
    } else if (reply.protocol !== PROTOCOL) {
      const kind =
        reply.protocol < PROTOCOL ? 'old-kernel-side' : 'new-kernel-side';
      this._tell(kernel, kind, '');
    } else {
      // A new session counts from the beginning: what it has said before now we do not know.
      const isNew = this._session !== null && this._session !== reply.session;
      this._session = reply.session;
      this._since = isNew ? 0 : reply.rev;
      this._heard({ type: 'update', kernel_id: kernel.id, reply });
    }
  }

  private _tell(
    kernel: Kernel.IKernelConnection,
    kind: Trouble['kind'],
    message: string
  ): void {
    this._heard({ type: 'trouble', kernel_id: kernel.id, kind, message });
  }

  private readonly _heard: (message: Update | Trouble) => void;
  private readonly _interval: number;
  private _kernel: Kernel.IKernelConnection | null = null;
  /** Grows when another kernel is followed, so that late answers are known as such. */
  private _generation = 0;
  private _session: string | null = null;
  private _since = 0;
  private _cells: CellText[] | null = null;
  private _isBusy = false;
  private _timer = 0;
  private _isDisposed = false;
}

export namespace Puller {
  export interface IOptions {
    heard: (message: Update | Trouble) => void;
    interval?: number;
  }
}
