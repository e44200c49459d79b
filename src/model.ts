/** From the notebook that is followed to its report, or to the reason why there is none. */
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import type { IDisposable } from '@lumino/disposable';
import { Debouncer } from '@lumino/polling';
import { Signal } from '@lumino/signaling';
import type { ISignal } from '@lumino/signaling';

import type { Finding, Fix, Reply, Trouble, Update } from './_schema';
import { Followed } from './followed';
import { Loader } from './loader';
import {
  applyFix,
  cellTexts,
  executionCounts,
  goToCell,
  ignoredIn,
  isReadOnly,
  offerCell,
  setIgnored
} from './notebook';
import { merge } from './told';
import type { Service } from './service';
import { FROM_STATUS, FROM_TROUBLE, STILL_SHOWN } from './phases';
import { fixKey } from './tokens';
import type { IDoctor, IState, Outcome, Phase, Pulse } from './tokens';

/** Silence longer than this is told. */
const QUIET_MS = 5000;
const CELLS_DEBOUNCE_MS = 1000;

export class DoctorModel implements IDoctor, IDisposable {
  constructor(options: DoctorModel.IOptions) {
    this._service = options.service;
    this._quietMs = options.quietMs ?? QUIET_MS;
    this._loader = new Loader(() => this._onLoaded());
    this._sendCells = new Debouncer(() => {
      this._tellCells();
      this._emit();
    }, options.cellsMs ?? CELLS_DEBOUNCE_MS);
    this._service.heard.connect(this._onHeard, this);
    this._service.asked.connect(this._tellCells, this);
    this._service.linkChanged.connect(this._onLink, this);
    this._followed = new Followed(options.tracker);
    this._followed.changed.connect(this._restart, this);
    this._followed.renamed.connect(this._emit, this);
    this._followed.statusChanged.connect(this._onStatus, this);
    this._followed.contentChanged.connect(this._onContent, this);
    this._restart();
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** A critical finding that was not there before. */
  get alarmed(): ISignal<this, Finding> {
    return this._alarmed;
  }

  get panel(): NotebookPanel | null {
    return this._followed.panel;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  get state(): IState {
    const { panel } = this;
    const isShown = STILL_SHOWN.includes(this._phase);
    return {
      phase: this._phase,
      message: this._message,
      notebook: panel ? panel.title.label : null,
      counts: panel ? executionCounts(panel) : new Map(),
      isPinned: this.isPinned,
      isPaused: this._isPaused,
      isReadOnly: panel ? isReadOnly(panel) : false,
      pulse: this._pulse(),
      heard: this._heardAt,
      told: isShown ? this._told : null,
      ignored: panel ? this._ignored() : [],
      outcomes: this._outcomes,
      isServerless: this._service.link === 'kernel'
    };
  }

  /** Whether anybody looks: nothing is asked while nobody does. */
  get isActive(): boolean {
    return this._isActive;
  }
  set isActive(value: boolean) {
    if (value !== this._isActive) {
      this._isActive = value;
      this._follow();
    }
  }

  get isPaused(): boolean {
    return this._isPaused;
  }
  set isPaused(value: boolean) {
    if (value !== this._isPaused) {
      this._isPaused = value;
      this._follow();
      this._emit();
    }
  }

  /** Stay with this notebook when another one becomes active. */
  get isPinned(): boolean {
    return this._followed.isPinned;
  }
  set isPinned(value: boolean) {
    this._followed.isPinned = value;
    this._emit();
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    this._service.follow(null);
    this._followed.dispose();
    clearTimeout(this._quietTimer);
    this._sendCells.dispose();
    Signal.clearData(this);
  }

  checkNow(): void {
    this._loader.forget();
    this._isPaused = false;
    this._follow(0);
    this._emit();
  }

  async apply(finding: Finding, fix: Fix, run: boolean): Promise<Outcome> {
    const { panel } = this;
    const outcome: Outcome = panel
      ? await applyFix(panel, fix, run)
      : { kind: 'refused', refusal: { kind: 'no-notebook' } };
    this._outcomes = new Map(this._outcomes).set(fixKey(finding, fix), outcome);
    this._emit();
    return outcome;
  }

  async goTo(cellId: string): Promise<boolean> {
    return this.panel ? goToCell(this.panel, cellId) : false;
  }

  async offer(source: string): Promise<void> {
    if (this.panel) {
      await offerCell(this.panel, source);
    }
  }

  ignore(findingId: string, value: boolean): void {
    if (!this.panel) {
      return;
    }
    const others = this._ignored().filter(id => id !== findingId);
    const ignored = value ? [...others, findingId] : others;
    if (isReadOnly(this.panel)) {
      this._ignoredHere.set(this.panel, ignored);
    } else {
      setIgnored(this.panel, ignored);
    }
    this._emit();
  }

  private _ignored(): string[] {
    const panel = this.panel as NotebookPanel;
    return this._ignoredHere.get(panel) ?? ignoredIn(panel);
  }

  /** Another notebook or another kernel: nothing that was known counts. */
  private _restart(): void {
    this._told = null;
    this._heardAt = null;
    this._isQuiet = false;
    this._message = '';
    this._outcomes = new Map();
    this._phase = this.panel
      ? this._followed.kernel
        ? 'starting'
        : 'no-kernel'
      : 'no-notebook';
    this._follow(0);
    this._emit();
    const kernel = this._followed.kernel;
    void kernel?.spec.then(spec => {
      if (
        kernel === this._followed.kernel &&
        spec &&
        spec.language.toLowerCase() !== 'python'
      ) {
        this._set('not-python', spec.display_name);
        this._service.follow(null);
      }
    });
  }

  private _follow(since = this._told?.rev ?? 0): void {
    const wanted = this._isActive && !this._isPaused && !this._isDisposed;
    clearTimeout(this._quietTimer);
    this._isQuiet = false;
    this._service.follow(
      wanted && this._phase !== 'not-python' ? this._followed.kernel : null,
      since
    );
  }

  private _onStatus(): void {
    const status = this._followed.status;
    if (status === 'restarting' || status === 'autorestarting') {
      this._loader.forget();
      this._set('restarting', '');
    } else if (status === 'idle' && this._phase === 'not-loaded') {
      void this._load();
    } else if (status === 'dead' || status === 'terminating') {
      this._set('no-kernel', '');
    }
  }

  private _onContent(): void {
    // Nothing at each keystroke: typing must stay as quick as it was.
    if (this._isActive) {
      void this._sendCells.invoke().catch(() => undefined);
    }
  }

  private _tellCells(): void {
    if (this.panel && this._isActive && !this._isPaused) {
      this._service.sendCells(cellTexts(this.panel));
    }
  }

  private _onLink(_: Service, link: string): void {
    if (link === 'down') {
      this._set('no-server', '');
    } else {
      this._emit();
    }
  }

  private _onHeard(_: Service, message: Update | Trouble): void {
    if (message.type === 'trouble') {
      const phase = FROM_TROUBLE[message.kind] ?? 'bad-message';
      if (this._phase === 'not-python') {
        return;
      }
      if (phase === 'not-loaded' && this._loader.state !== 'new') {
        const isMissing = this._loader.state === 'failed';
        this._set(isMissing ? 'no-package' : 'loading', message.message);
        return;
      }
      this._set(phase, message.message);
      if (phase === 'not-loaded') {
        void this._load();
      }
      return;
    }
    const { reply } = message;
    const isNewSession =
      this._told !== null && this._told.session !== reply.session;
    this._told = merge(this._told, reply);
    this._service.seen(reply.rev);
    this._heardAt = Date.now();
    this._isQuiet = false;
    clearTimeout(this._quietTimer);
    this._quietTimer = window.setTimeout(() => {
      this._isQuiet = true;
      this._emit();
    }, this._quietMs);
    this._loader.loaded();
    this._set(
      FROM_STATUS[reply.status.kind] ?? 'bad-message',
      reply.status.message
    );
    this._alarm();
    if (isNewSession && reply.report === null) {
      this._follow(0);
    }
  }

  private _alarm(): void {
    const told = this._told;
    for (const finding of told?.report?.findings ?? []) {
      const key = `${told?.session} ${finding.id}`;
      if (finding.severity === 'critical' && !this._alarms.has(key)) {
        this._alarms.add(key);
        if (!this._ignored().includes(finding.id)) {
          this._alarmed.emit(finding);
        }
      }
    }
  }

  private async _load(): Promise<void> {
    const kernel = this._followed.kernel;
    // Never send our line to a kernel that speaks another language.
    const spec = await kernel?.spec;
    const isPython = spec?.language.toLowerCase() === 'python';
    if (
      kernel &&
      isPython &&
      kernel === this._followed.kernel &&
      this._phase === 'not-loaded' &&
      this._loader.load(kernel)
    ) {
      this._set('loading', '');
    }
  }

  private _onLoaded(): void {
    if (this._loader.state === 'failed') {
      this._set('no-package', this._message);
    } else {
      this._follow(0);
    }
  }

  private _pulse(): Pulse {
    if (this._phase === 'lost' || this._phase === 'no-server') {
      return 'lost';
    }
    return this._phase === 'live' && !this._isQuiet && !this._isPaused
      ? 'live'
      : 'quiet';
  }

  private _set(phase: Phase, message: string): void {
    this._phase = phase;
    this._message = message;
    this._emit();
  }

  private _emit(): void {
    if (!this._isDisposed) {
      this._changed.emit();
    }
  }

  private readonly _followed: Followed;
  private readonly _service: Service;
  private readonly _loader: Loader;
  private readonly _sendCells: Debouncer;
  private readonly _quietMs: number;
  private readonly _changed = new Signal<this, void>(this);
  private readonly _alarmed = new Signal<this, Finding>(this);
  private readonly _alarms = new Set<string>();
  /** Of notebooks that cannot be written. */
  private readonly _ignoredHere = new WeakMap<NotebookPanel, string[]>();
  private _phase: Phase = 'no-notebook';
  private _message = '';
  private _told: Reply | null = null;
  private _outcomes: ReadonlyMap<string, Outcome> = new Map();
  private _heardAt: number | null = null;
  private _quietTimer = 0;
  private _isQuiet = false;
  private _isActive = false;
  private _isPaused = false;
  private _isDisposed = false;
}

export namespace DoctorModel {
  export interface IOptions {
    tracker: INotebookTracker;
    service: Service;
    /** Silence in ms after which the panel says so. */
    quietMs?: number;
    /** Rest in ms after the last keystroke before the cells are sent. */
    cellsMs?: number;
  }
}
