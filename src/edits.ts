/** Put a fix into a notebook: one transaction, one undo, and a reason when it must not be done. */
import type { ISharedNotebook } from '@jupyter/ydoc';
import CRC32 from 'crc-32';

import type { Edit, Fix } from './_schema';
import type { Outcome, Refusal } from './tokens';

/** The same number as `zlib.crc32(source.encode())` in Python. */
export function checksum(source: string): number {
  return CRC32.str(source) >>> 0;
}

/**
 * Where a place lies in a source, in UTF-16 units; null when there is no such place.
 * Lines count from 1, columns are code points from 0, as everywhere in the messages.
 */
export function offset(
  source: string,
  line: number,
  column: number
): number | null {
  let start = 0;
  for (let n = 1; n < line; n++) {
    const end = source.indexOf('\n', start);
    if (end < 0) {
      return null;
    }
    start = end + 1;
  }
  if (line < 1 || column < 0) {
    return null;
  }
  let at = start;
  for (let n = 0; n < column; n++) {
    if (at >= source.length || source[at] === '\n') {
      return null;
    }
    at += (source.codePointAt(at) as number) > 0xffff ? 2 : 1;
  }
  return at;
}

interface IPlace {
  start: number;
  end: number;
  text: string;
}

function place(source: string, edit: Edit): IPlace | null {
  const start = offset(source, edit.line, edit.column);
  const end = offset(source, edit.end_line, edit.end_column);
  if (start === null || end === null || end < start) {
    return null;
  }
  return source.slice(start, end) === edit.old
    ? { start, end, text: edit.new }
    : null;
}

/** The places of one cell, last first, so that an earlier one stays valid; null when two overlap. */
function ordered(places: IPlace[]): IPlace[] | null {
  const sorted = [...places].sort((a, b) => b.start - a.start);
  const overlap = sorted.some(
    (later, i) => i + 1 < sorted.length && sorted[i + 1].end > later.start
  );
  return overlap ? null : sorted;
}

/** What each cell that is edited in place will read, by cell id; or why it cannot be done. */
function rewrite(
  source: (cellId: string) => string | null,
  edits: readonly Edit[]
): Map<string, { places: IPlace[]; text: string }> | Refusal {
  const byCell = new Map<string, IPlace[]>();
  for (const edit of edits) {
    if (edit.kind !== 'replace') {
      continue;
    }
    const text = source(edit.cell_id);
    if (text === null) {
      return { kind: 'missing', cellId: edit.cell_id };
    }
    const found = place(text, edit);
    if (found === null) {
      return { kind: 'no-match', cellId: edit.cell_id };
    }
    byCell.set(edit.cell_id, [...(byCell.get(edit.cell_id) ?? []), found]);
  }
  const result = new Map<string, { places: IPlace[]; text: string }>();
  for (const [cellId, places] of byCell) {
    const sorted = ordered(places);
    if (sorted === null) {
      return { kind: 'overlap' };
    }
    let text = source(cellId) as string;
    for (const { start, end, text: piece } of sorted) {
      text = text.slice(0, start) + piece + text.slice(end);
    }
    result.set(cellId, { places: sorted, text });
  }
  return result;
}

function sources(notebook: ISharedNotebook): (cellId: string) => string | null {
  const cells = new Map(notebook.cells.map(cell => [cell.id, cell]));
  return id => cells.get(id)?.getSource() ?? null;
}

/** Each cell that the fix edits in place: its text before and after. Empty when it does not fit any more. */
export function preview(
  notebook: ISharedNotebook,
  fix: Fix
): { cellId: string; before: string; after: string }[] {
  const source = sources(notebook);
  const rewritten = rewrite(source, fix.edits);
  if (!(rewritten instanceof Map)) {
    return [];
  }
  return [...rewritten].map(([cellId, { text }]) => ({
    cellId,
    before: source(cellId) ?? '',
    after: text
  }));
}

/** Why the fix must not be applied now; null when it may. */
export function refusal(
  notebook: ISharedNotebook,
  fix: Fix,
  isReadOnly: boolean
): Refusal | null {
  if (fix.edits.length === 0 || fix.applicability === 'display-only') {
    return { kind: 'nothing' };
  }
  if (isReadOnly) {
    return { kind: 'read-only' };
  }
  const source = sources(notebook);
  const inserts = fix.edits.filter(edit => edit.kind !== 'replace');
  if (inserts.length === fix.edits.length) {
    const present = new Set(
      notebook.cells
        .filter(cell => cell.cell_type === 'code')
        .map(cell => cell.getSource().trim())
    );
    if (inserts.every(edit => present.has(edit.new.trim()))) {
      return { kind: 'already' };
    }
  }
  for (const [cellId, expected] of fix.checksums) {
    const text = source(cellId);
    if (text === null) {
      return { kind: 'missing', cellId };
    }
    if (checksum(text) !== expected >>> 0) {
      return { kind: 'changed', cellId };
    }
  }
  for (const edit of inserts) {
    if (source(edit.cell_id) === null) {
      return { kind: 'missing', cellId: edit.cell_id };
    }
  }
  const rewritten = rewrite(source, fix.edits);
  return rewritten instanceof Map ? null : rewritten;
}

/** Undo managers merge changes that follow one another quickly: what the user typed before is not ours to take back. */
function closeUndoStep(notebook: ISharedNotebook): void {
  const manager = (
    notebook as ISharedNotebook & {
      undoManager?: { stopCapturing?: () => void };
    }
  ).undoManager;
  manager?.stopCapturing?.();
}

/** Apply the fix in one transaction, so that one undo of the notebook takes it back. */
export function apply(
  notebook: ISharedNotebook,
  fix: Fix,
  isReadOnly: boolean
): Outcome {
  const reason = refusal(notebook, fix, isReadOnly);
  if (reason !== null) {
    return { kind: 'refused', refusal: reason };
  }
  const rewritten = rewrite(sources(notebook), fix.edits);
  if (!(rewritten instanceof Map)) {
    return { kind: 'refused', refusal: rewritten };
  }
  const inserted: string[] = [];
  closeUndoStep(notebook);
  notebook.transact(() => {
    for (const [cellId, { places }] of rewritten) {
      const cell = notebook.cells.find(each => each.id === cellId);
      for (const { start, end, text } of places) {
        cell?.updateSource(start, end, text);
      }
    }
    // Several new cells below the same one come in the order of the edits.
    const below = new Map<string, number>();
    for (const edit of fix.edits) {
      if (edit.kind === 'replace') {
        continue;
      }
      const anchor = notebook.cells.findIndex(each => each.id === edit.cell_id);
      let index = anchor;
      if (edit.kind === 'below') {
        const before = below.get(edit.cell_id) ?? 0;
        index = anchor + 1 + before;
        below.set(edit.cell_id, before + 1);
      }
      const cell = notebook.insertCell(index, {
        cell_type: 'code',
        source: edit.new,
        metadata: {}
      });
      inserted.push(cell.id);
    }
  });
  closeUndoStep(notebook);
  return { kind: 'applied', inserted, changed: [...rewritten.keys()] };
}
