import type { ISharedNotebook } from '@jupyter/ydoc';
import { NotebookModel } from '@jupyterlab/notebook';

import { apply, checksum, offset, preview, refusal } from '../edits';
import { edit, fix } from './healthy';

const SOURCES: Record<string, string> = {
  a: 'import dask',
  b: 'df = load()\ny = df.sum().compute()',
  c: 'print("😀", df.x)\nz = 1'
};

function makeNotebook(disableDocumentWideUndoRedo = true): ISharedNotebook {
  const model = new NotebookModel({ disableDocumentWideUndoRedo });
  const shared = model.sharedModel;
  shared.deleteCellRange(0, shared.cells.length);
  for (const [id, source] of Object.entries(SOURCES)) {
    shared.addCell({ cell_type: 'code', id, source, metadata: {} });
  }
  shared.clearUndoHistory();
  return shared;
}

function texts(notebook: ISharedNotebook): string[] {
  return notebook.cells.map(cell => cell.getSource());
}

const REPLACE = edit({
  kind: 'replace',
  cell_id: 'b',
  old: 'df.sum().compute()',
  new: 'dask.compute(df.sum())[0]',
  line: 2,
  column: 4,
  end_line: 2,
  end_column: 22
});

describe('checksum', () => {
  it('is that of zlib.crc32 over UTF-8', () => {
    // python3 -c 'import zlib; print(zlib.crc32("print(\"😀\", 1)".encode()))'
    expect(checksum('print("😀", 1)')).toBe(1420086938);
    expect(checksum('')).toBe(0);
    expect(checksum('b')).toBe(1908338681);
  });
});

describe('offset', () => {
  it('counts code points in and UTF-16 units out', () => {
    expect(offset('a😀b', 1, 2)).toBe(3);
    expect(offset('😀\nx😀y', 2, 2)).toBe(6);
  });

  it('knows no place beyond the end of a line or of the text', () => {
    expect(offset('ab\ncd', 1, 2)).toBe(2);
    expect(offset('ab\ncd', 1, 3)).toBeNull();
    expect(offset('ab\ncd', 3, 0)).toBeNull();
    expect(offset('ab', 0, 0)).toBeNull();
    expect(offset('ab', 1, -1)).toBeNull();
  });
});

describe.each([true, false])('apply (undo per cell: %p)', perCell => {
  let notebook: ISharedNotebook;
  beforeEach(() => {
    notebook = makeNotebook(perCell);
  });

  it('inserts below, and one undo takes it back', () => {
    const outcome = apply(notebook, fix(), false);
    expect(outcome).toMatchObject({ kind: 'applied', changed: [] });
    expect(texts(notebook)).toEqual([
      SOURCES.a,
      SOURCES.b,
      edit().new,
      SOURCES.c
    ]);
    notebook.undo();
    expect(texts(notebook)).toEqual(Object.values(SOURCES));
  });

  it('inserts above', () => {
    apply(notebook, fix({ edits: [edit({ kind: 'above' })] }), false);
    expect(texts(notebook)[1]).toBe(edit().new);
  });

  it('keeps the order of several new cells', () => {
    const edits = ['one', 'two', 'three'].map(text => edit({ new: text }));
    const outcome = apply(notebook, fix({ edits }), false);
    expect(texts(notebook).slice(2, 5)).toEqual(['one', 'two', 'three']);
    expect(outcome).toMatchObject({
      inserted: notebook.cells.slice(2, 5).map(cell => cell.id)
    });
    notebook.undo();
    expect(texts(notebook)).toEqual(Object.values(SOURCES));
  });

  it('edits in place together with a new cell, and one undo takes both back', () => {
    const edits = [REPLACE, edit({ new: 'import dask', kind: 'above' })];
    const outcome = apply(notebook, fix({ edits }), false);
    expect(outcome).toMatchObject({ kind: 'applied', changed: ['b'] });
    expect(texts(notebook)[2]).toBe(
      'df = load()\ny = dask.compute(df.sum())[0]'
    );
    notebook.undo();
    expect(texts(notebook)).toEqual(Object.values(SOURCES));
  });

  it('takes back only its own change, not what was typed just before', () => {
    notebook.transact(() => notebook.cells[0].updateSource(0, 0, '# mine\n'));
    apply(notebook, fix(), false);
    notebook.undo();
    expect(texts(notebook)[0]).toBe('# mine\nimport dask');
    expect(notebook.cells.length).toBe(3);
  });

  it('edits two places of one line with characters beyond 16 bits before them', () => {
    const place = { kind: 'replace' as const, cell_id: 'c', line: 1 };
    const edits = [
      edit({
        ...place,
        old: '"😀"',
        new: '"x"',
        column: 6,
        end_line: 1,
        end_column: 9
      }),
      edit({
        ...place,
        old: 'df.x',
        new: 'df.y',
        column: 11,
        end_line: 1,
        end_column: 15
      })
    ];
    apply(notebook, fix({ edits }), false);
    expect(texts(notebook)[2]).toBe('print("x", df.y)\nz = 1');
  });
});

describe('refusal', () => {
  let notebook: ISharedNotebook;
  beforeEach(() => {
    notebook = makeNotebook();
  });

  function expectRefused(
    over: Parameters<typeof fix>[0],
    kind: string,
    isReadOnly = false
  ): void {
    expect(apply(notebook, fix(over), isReadOnly)).toMatchObject({
      kind: 'refused',
      refusal: { kind }
    });
    expect(texts(notebook)).toEqual(Object.values(SOURCES));
  }

  it('has nothing against a fix whose cells are as they were', () => {
    const checksums = Object.entries(SOURCES).map(
      ([id, source]) => [id, checksum(source)] as [string, number]
    );
    expect(refusal(notebook, fix({ checksums }), false)).toBeNull();
  });

  it('takes a checksum that came as a signed number', () => {
    const checksums: [string, number][] = [['b', checksum(SOURCES.b) | 0]];
    expect(refusal(notebook, fix({ checksums }), false)).toBeNull();
  });

  it('a cell that changed', () => {
    expectRefused({ checksums: [['b', checksum('other')]] }, 'changed');
  });

  it('a cell that is gone, though only its checksum was needed', () => {
    expectRefused({ checksums: [['gone', 0]] }, 'missing');
  });

  it('a neighbour that is gone', () => {
    expectRefused({ edits: [edit({ cell_id: 'gone' })] }, 'missing');
  });

  it('an old text that does not stand there', () => {
    expectRefused({ edits: [{ ...REPLACE, column: 5 }] }, 'no-match');
    expectRefused({ edits: [{ ...REPLACE, line: 9 }] }, 'no-match');
  });

  it('changes that overlap', () => {
    const inner = edit({
      ...REPLACE,
      old: 'df',
      new: 'x',
      column: 4,
      end_column: 6
    });
    expectRefused({ edits: [REPLACE, inner] }, 'overlap');
  });

  it('a notebook that is read-only', () => {
    expectRefused({}, 'read-only', true);
  });

  it('a fix that is only shown', () => {
    expectRefused({ applicability: 'display-only' }, 'nothing');
    expectRefused({ edits: [] }, 'nothing');
  });

  it('a cell that is there already, until it is taken back', () => {
    apply(notebook, fix(), false);
    expect(refusal(notebook, fix(), false)).toEqual({ kind: 'already' });
    notebook.undo();
    expect(refusal(notebook, fix(), false)).toBeNull();
  });

  it('changes nothing when one of several edits does not fit', () => {
    expectRefused({ edits: [edit(), { ...REPLACE, old: 'x' }] }, 'no-match');
  });
});

describe('preview', () => {
  it('tells how the cell would read, without touching it', () => {
    const notebook = makeNotebook();
    expect(preview(notebook, fix({ edits: [REPLACE] }))).toEqual([
      {
        cellId: 'b',
        before: SOURCES.b,
        after: 'df = load()\ny = dask.compute(df.sum())[0]'
      }
    ]);
    expect(texts(notebook)).toEqual(Object.values(SOURCES));
  });

  it('is empty when the edit does not fit any more', () => {
    const edits = [{ ...REPLACE, old: 'something else' }];
    expect(preview(makeNotebook(), fix({ edits }))).toEqual([]);
  });
});
