/** Which notebook is followed: the active one, or the one that was pinned; and what happens to it. */
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import type { Kernel } from '@jupyterlab/services';
import type { IDisposable } from '@lumino/disposable';
import { Signal } from '@lumino/signaling';
import type { ISignal } from '@lumino/signaling';

export class Followed implements IDisposable {
  constructor(tracker: INotebookTracker) {
    this._tracker = tracker;
    tracker.currentChanged.connect(this._onCurrent, this);
    this._onCurrent();
  }

  /** Another notebook, or another kernel of the same one. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get renamed(): ISignal<this, void> {
    return this._renamed;
  }

  /** The kernel's status changed. */
  get statusChanged(): ISignal<this, void> {
    return this._statusChanged;
  }

  get contentChanged(): ISignal<this, void> {
    return this._contentChanged;
  }

  get panel(): NotebookPanel | null {
    return this._panel;
  }

  get kernel(): Kernel.IKernelConnection | null {
    return this._panel?.context.sessionContext.session?.kernel ?? null;
  }

  /** As JupyterLab shows it; "" without a notebook. */
  get status(): string {
    return this._panel?.context.sessionContext.kernelDisplayStatus ?? '';
  }

  get isPinned(): boolean {
    return this._isPinned;
  }
  set isPinned(value: boolean) {
    this._isPinned = value && this._panel !== null;
    this._onCurrent();
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    if (!this._isDisposed) {
      this._isDisposed = true;
      this._attach(null);
      Signal.clearData(this);
    }
  }

  private _onCurrent(): void {
    if (this._isPinned && this._panel && !this._panel.isDisposed) {
      return;
    }
    this._isPinned = false;
    const current = this._tracker.currentWidget;
    this._attach(current && !current.isDisposed ? current : null);
  }

  private _onPanelDisposed(): void {
    this._isPinned = false;
    this._onCurrent();
  }

  private _attach(panel: NotebookPanel | null): void {
    if (panel === this._panel) {
      return;
    }
    const old = this._panel;
    if (old) {
      const session = old.context.sessionContext;
      old.disposed.disconnect(this._onPanelDisposed, this);
      old.title.changed.disconnect(this._onRenamed, this);
      session.kernelChanged.disconnect(this._onChanged, this);
      session.statusChanged.disconnect(this._onStatus, this);
      old.content.modelContentChanged.disconnect(this._onContent, this);
    }
    this._panel = panel;
    if (panel) {
      const session = panel.context.sessionContext;
      panel.disposed.connect(this._onPanelDisposed, this);
      panel.title.changed.connect(this._onRenamed, this);
      session.kernelChanged.connect(this._onChanged, this);
      session.statusChanged.connect(this._onStatus, this);
      panel.content.modelContentChanged.connect(this._onContent, this);
    }
    this._onChanged();
  }

  private _onChanged(): void {
    this._changed.emit();
  }

  private _onRenamed(): void {
    this._renamed.emit();
  }

  private _onStatus(): void {
    this._statusChanged.emit();
  }

  private _onContent(): void {
    this._contentChanged.emit();
  }

  private readonly _tracker: INotebookTracker;
  private readonly _changed = new Signal<this, void>(this);
  private readonly _renamed = new Signal<this, void>(this);
  private readonly _statusChanged = new Signal<this, void>(this);
  private readonly _contentChanged = new Signal<this, void>(this);
  private _panel: NotebookPanel | null = null;
  private _isPinned = false;
  private _isDisposed = false;
}
