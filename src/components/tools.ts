/** What every component may use and none of them makes: words, charts, colours for code, and the clicks. */
import type { TranslationBundle } from '@jupyterlab/translation';
import { nullTranslator } from '@jupyterlab/translation';
import type { Widget } from '@lumino/widgets';
import { createContext, useContext } from 'react';
import type { MouseEvent } from 'react';

import type { Chart, Finding, Fix } from '../_schema';

/** A chart that stands in the page. */
export interface IDrawn {
  /** Append points: "x" in seconds since the epoch, and one column per series. */
  stream(columns: Record<string, number[]>): void;
  /** The time of its newest point when it was drawn; null when it has no times. */
  readonly newest: number | null;
  dispose(): void;
}

/** An edit of a cell as it would come out now. */
export interface IRewrite {
  cellId: string;
  before: string;
  after: string;
}

export interface ITools {
  trans: TranslationBundle;
  /** Grows when the theme changes: charts are to be drawn anew. */
  theme: number;
  /** Draw a chart; null when there is nobody who could. */
  draw: ((chart: Chart, node: HTMLElement) => Promise<IDrawn>) | null;
  /** Put Python source into an element, with the colours of the editor. */
  highlight: (code: string, node: HTMLElement) => Promise<void>;
  /** The rule's manual page, rendered. */
  explain: (rule: string) => Promise<Widget>;
  preview: (fix: Fix) => IRewrite[];
}

export interface IActions {
  checkNow: () => void;
  togglePause: () => void;
  togglePin: () => void;
  openMenu: (event: MouseEvent<HTMLElement>) => void;
  goTo: (cellId: string) => void;
  apply: (finding: Finding, fix: Fix, run: boolean) => void;
  copy: (text: string) => void;
  ignore: (findingId: string, value: boolean) => void;
  /** Insert the cell that installs the package, or the one that starts a cluster. */
  offer: (what: 'package' | 'cluster') => void;
}

const TOOLS: ITools = {
  trans: nullTranslator.load('jupyter-dask-doctor'),
  theme: 0,
  draw: null,
  highlight: async (code, node) => {
    node.textContent = code;
  },
  explain: () => Promise.reject(new Error('no server')),
  preview: () => []
};

export const Tools = createContext<ITools>(TOOLS);

export function useTools(): ITools {
  return useContext(Tools);
}
