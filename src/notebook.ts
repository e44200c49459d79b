/** What the doctor reads from a notebook and does in it: cells, going to one, inserting, the list of ignored findings. */
import type { Cell } from '@jupyterlab/cells';
import { NotebookActions } from '@jupyterlab/notebook';
import type { Notebook, NotebookPanel } from '@jupyterlab/notebook';

import type { CellText, Fix } from './_schema';
import { apply } from './edits';
import type { Outcome } from './tokens';

/** Our place in the notebook's metadata. */
const METADATA = 'dask_doctor';
const FLASH_CLASS = 'jp-DaskDoctor-flash';
const FLASH_MS = 1600;

/** The code cells as they stand. */
export function cellTexts(panel: NotebookPanel): CellText[] {
  const cells = panel.model?.sharedModel.cells ?? [];
  return cells
    .filter(cell => cell.cell_type === 'code')
    .map(cell => ({ id: cell.id, source: cell.getSource() }));
}

/** The `[7]` beside each code cell. */
export function executionCounts(
  panel: NotebookPanel
): Map<string, number | null> {
  const counts = new Map<string, number | null>();
  for (const cell of panel.model?.sharedModel.cells ?? []) {
    if (cell.cell_type === 'code') {
      counts.set(
        cell.id,
        (cell as { execution_count?: number | null }).execution_count ?? null
      );
    }
  }
  return counts;
}

export function isReadOnly(panel: NotebookPanel): boolean {
  return (
    panel.model?.readOnly === true ||
    panel.context.contentsModel?.writable === false
  );
}

function indexOf(notebook: Notebook, cellId: string): number {
  return notebook.widgets.findIndex(cell => cell.model.id === cellId);
}

function widgetsOf(notebook: Notebook, ids: readonly string[]): Cell[] {
  return ids
    .map(id => notebook.widgets.find(cell => cell.model.id === id))
    .filter((cell): cell is Cell => cell !== undefined);
}

/** Scroll to a cell, select it and let it light up for a moment; false when it is gone. */
export async function goToCell(
  panel: NotebookPanel,
  cellId: string
): Promise<boolean> {
  const notebook = panel.content;
  const index = indexOf(notebook, cellId);
  if (index < 0) {
    return false;
  }
  notebook.deselectAll();
  notebook.activeCellIndex = index;
  const cell = notebook.widgets[index];
  await notebook.scrollToItem(index, 'smart').catch(() => undefined);
  cell.node.classList.remove(FLASH_CLASS);
  void cell.node.offsetWidth; // Starts the animation anew when it was still going.
  cell.node.classList.add(FLASH_CLASS);
  window.setTimeout(() => cell.node.classList.remove(FLASH_CLASS), FLASH_MS);
  return true;
}

/** Run these cells in this order; those that are gone are left out. */
export async function runCells(
  panel: NotebookPanel,
  ids: readonly string[]
): Promise<void> {
  const cells = widgetsOf(panel.content, ids);
  if (cells.length > 0) {
    await NotebookActions.runCells(
      panel.content,
      cells,
      panel.context.sessionContext
    );
  }
}

/** Apply a fix, show what came of it, and when asked run it and the cells that prove it. */
export async function applyFix(
  panel: NotebookPanel,
  fix: Fix,
  run: boolean
): Promise<Outcome> {
  const shared = panel.model?.sharedModel;
  if (!shared) {
    return { kind: 'refused', refusal: { kind: 'no-notebook' } };
  }
  const outcome = apply(shared, fix, isReadOnly(panel));
  if (outcome.kind === 'refused') {
    return outcome;
  }
  const shown = outcome.inserted[0] ?? outcome.changed[0];
  await goToCell(panel, shown);
  if (run) {
    const rerun = fix.rerun.filter(id => !outcome.inserted.includes(id));
    // What was changed in place must run to take effect, even when nobody said so.
    const changed = outcome.changed.filter(id => !rerun.includes(id));
    void runCells(panel, [...outcome.inserted, ...changed, ...rerun]);
  }
  return outcome;
}

/** Put a cell of ours (an install line, a cluster) below the active one, or into it when it is empty. */
export async function offerCell(
  panel: NotebookPanel,
  source: string
): Promise<void> {
  const shared = panel.model?.sharedModel;
  if (!shared || isReadOnly(panel)) {
    return;
  }
  const index = Math.min(panel.content.activeCellIndex, shared.cells.length);
  const cell = shared.insertCell(index + 1, {
    cell_type: 'code',
    source,
    metadata: {}
  });
  await goToCell(panel, cell.id);
}

/** Findings that the user does not want to see in this notebook. Anything else that stands there is left alone. */
export function ignoredIn(panel: NotebookPanel): string[] {
  const stored = panel.model?.sharedModel.getMetadata(METADATA) as
    { ignored?: unknown } | undefined;
  const ignored = stored?.ignored;
  return Array.isArray(ignored)
    ? ignored.filter((id): id is string => typeof id === 'string')
    : [];
}

export function setIgnored(
  panel: NotebookPanel,
  ignored: readonly string[]
): void {
  const shared = panel.model?.sharedModel;
  if (!shared) {
    return;
  }
  const stored = shared.getMetadata(METADATA);
  const kept =
    stored !== null && typeof stored === 'object' && !Array.isArray(stored)
      ? { ...stored }
      : {};
  delete (kept as { ignored?: unknown }).ignored;
  if (ignored.length === 0 && Object.keys(kept).length === 0) {
    shared.deleteMetadata(METADATA);
  } else {
    shared.setMetadata(
      METADATA,
      ignored.length > 0 ? { ...kept, ignored: [...ignored] } : kept
    );
  }
}
