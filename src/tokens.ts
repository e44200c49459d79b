/** What other plugins and the components may know of the doctor: names, the state it is in, its token. */
import { Token } from '@lumino/coreutils';
import type { ISignal } from '@lumino/signaling';

import type { Finding, Fix, Reply } from './_schema';

export const PLUGIN_ID = 'jupyter-dask-doctor:plugin';
export const PANEL_ID = 'jp-dask-doctor-panel';
/** Target of the `comm_info_request` by which the kernel's side knows that it is meant. */
export const TARGET = 'jupyter_dask_doctor';
/** Of the messages in `_schema.ts`; a test compares it with the schema. */
export const PROTOCOL = 1;

export namespace CommandIDs {
  export const openPanel = 'dask-doctor:open-panel';
  export const checkNow = 'dask-doctor:check-now';
  export const togglePin = 'dask-doctor:toggle-pin';
  export const togglePause = 'dask-doctor:toggle-pause';
  export const insertFix = 'dask-doctor:insert-fix';
  export const runFix = 'dask-doctor:run-fix';
  export const goToCell = 'dask-doctor:go-to-cell';
  export const copyReport = 'dask-doctor:copy-report';
  export const openDashboard = 'dask-doctor:open-dashboard';
  export const openSettings = 'dask-doctor:open-settings';
}

/** Where things stand with the notebook that is followed; each has its own words in the panel. */
export type Phase =
  | 'no-notebook'
  | 'no-kernel'
  | 'starting'
  | 'restarting'
  | 'not-python'
  | 'not-loaded'
  | 'loading'
  | 'no-package'
  | 'no-distributed'
  | 'old-distributed'
  | 'no-client'
  | 'connecting'
  | 'live'
  | 'lost'
  | 'off'
  | 'old-kernel-side'
  | 'new-kernel-side'
  | 'not-answering'
  | 'bad-message'
  | 'no-server';

/** How fresh what is shown is. */
export type Pulse = 'live' | 'quiet' | 'lost';

/** Why a fix was not applied. */
export type Refusal =
  | { kind: 'missing'; cellId: string }
  | { kind: 'changed'; cellId: string }
  | { kind: 'no-match'; cellId: string }
  | { kind: 'overlap' }
  | { kind: 'read-only' }
  | { kind: 'already' }
  | { kind: 'no-notebook' }
  | { kind: 'nothing' };

/** What became of a click on a fix. */
export type Outcome =
  | { kind: 'applied'; inserted: string[]; changed: string[] }
  | { kind: 'refused'; refusal: Refusal };

/** All that the panel shows, at one moment. */
export interface IState {
  phase: Phase;
  /** A sentence from the kernel or server; empty when there is none. Hostile text. */
  message: string;
  notebook: string | null;
  /** Execution counts by cell id, as they stand in the notebook now. */
  counts: ReadonlyMap<string, number | null>;
  isPinned: boolean;
  isPaused: boolean;
  isReadOnly: boolean;
  pulse: Pulse;
  /** When the kernel last answered, in ms of the browser's clock; null when it did not yet. */
  heard: number | null;
  /** The last reply, with the memory points of the last ten minutes and the last report. */
  told: Reply | null;
  /** Ids of findings that the user does not want to see in this notebook. */
  ignored: readonly string[];
  /** Outcomes of clicks, by `fixKey`. */
  outcomes: ReadonlyMap<string, Outcome>;
  /** The server has no part of ours: the browser asks the kernel, and there are no charts. */
  isServerless: boolean;
}

/** Names a fix from one report to the next. */
export function fixKey(finding: Finding, fix: Fix): string {
  return `${finding.id}\n${fix.title}\n${fix.code.slice(0, 1000)}`;
}

export interface IDoctor {
  readonly state: IState;
  readonly changed: ISignal<IDoctor, void>;
  /** Ask for everything anew. */
  checkNow(): void;
  /** Put a fix into the notebook; `run` also runs it and the cells that show whether it helped. */
  apply(finding: Finding, fix: Fix, run: boolean): Promise<Outcome>;
}

export const IDoctor = new Token<IDoctor>(
  'jupyter-dask-doctor:IDoctor',
  'What the Dask doctor found in the notebook that it follows.'
);
