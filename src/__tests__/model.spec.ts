import { NotebookModel } from '@jupyterlab/notebook';
import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import type { Kernel } from '@jupyterlab/services';
import { Signal } from '@lumino/signaling';

import type { Finding, Trouble, Update } from '../_schema';
import { DoctorModel } from '../model';
import type { Service } from '../service';
import { finding, fix, reply, report } from './healthy';

/** The service's side of the model, in the hands of the test. */
class Line {
  heard = new Signal<Line, Update | Trouble>(this);
  asked = new Signal<Line, void>(this);
  linkChanged = new Signal<Line, string>(this);
  link = 'server';
  followed: (string | null)[] = [];
  since: number[] = [];
  cells: string[][] = [];
  follow(kernel: { id: string } | null, since = 0): void {
    this.followed.push(kernel?.id ?? null);
    this.since.push(since);
  }
  seen(): void {}
  sendCells(cells: { id: string }[]): void {
    this.cells.push(cells.map(cell => cell.id));
  }
  updates(over: Parameters<typeof reply>[0] = {}): void {
    this.heard.emit({ type: 'update', kernel_id: 'k', reply: reply(over) });
  }
  troubles(kind: Trouble['kind'], message = ''): void {
    this.heard.emit({ type: 'trouble', kernel_id: 'k', kind, message });
  }
}

function makeKernel(id: string, language = 'python', ok = true) {
  const executed: string[] = [];
  const kernel = {
    id,
    status: 'idle',
    spec: Promise.resolve({ language, display_name: language }),
    requestExecute: (content: { code: string; silent: boolean }) => {
      expect(content.silent).toBe(true);
      executed.push(content.code);
      return {
        done: Promise.resolve({ content: { status: ok ? 'ok' : 'error' } })
      };
    }
  };
  return { kernel, executed };
}

/** As much of a notebook panel as the model looks at; the notebook itself is a real one. */
function makePanel(name: string, kernel: object | null) {
  const model = new NotebookModel();
  const owner = {};
  const sessionContext = {
    session: kernel ? { kernel: kernel as Kernel.IKernelConnection } : null,
    kernelDisplayStatus: 'idle',
    kernelChanged: new Signal<object, void>(owner),
    statusChanged: new Signal<object, void>(owner)
  };
  const panel = {
    isDisposed: false,
    disposed: new Signal<object, void>(owner),
    title: { label: name, changed: new Signal<object, void>(owner) },
    model,
    context: { sessionContext, contentsModel: { writable: true } },
    content: { modelContentChanged: new Signal<object, void>(owner) }
  };
  return panel as typeof panel & NotebookPanel;
}

async function settle(ms = 10): Promise<void> {
  await new Promise(resolve => setTimeout(resolve, ms));
}

describe('DoctorModel', () => {
  let line: Line;
  let tracker: { currentWidget: unknown; currentChanged: Signal<object, void> };
  let model: DoctorModel;

  function start(panel: unknown): void {
    line = new Line();
    tracker = { currentWidget: panel, currentChanged: new Signal({}) };
    model = new DoctorModel({
      tracker: tracker as unknown as INotebookTracker,
      service: line as unknown as Service,
      quietMs: 30,
      cellsMs: 5
    });
    model.isActive = true;
  }

  function show(panel: unknown): void {
    tracker.currentWidget = panel;
    tracker.currentChanged.emit();
  }

  afterEach(() => model.dispose());

  it('says that there is no notebook, or no kernel', () => {
    start(null);
    expect(model.state).toMatchObject({ phase: 'no-notebook', notebook: null });
    show(makePanel('a.ipynb', null));
    expect(model.state).toMatchObject({
      phase: 'no-kernel',
      notebook: 'a.ipynb'
    });
  });

  it('asks nothing while nobody looks, or while it is paused', () => {
    start(makePanel('a.ipynb', makeKernel('k').kernel));
    expect(line.followed.at(-1)).toBe('k');
    model.isActive = false;
    expect(line.followed.at(-1)).toBeNull();
    model.isActive = true;
    expect(line.followed.at(-1)).toBe('k');
    model.isPaused = true;
    expect(line.followed.at(-1)).toBeNull();
    model.checkNow();
    expect(line.followed.at(-1)).toBe('k');
    expect(line.since.at(-1)).toBe(0);
    expect(model.isPaused).toBe(false);
  });

  it('follows the active notebook, unless it is pinned to one', () => {
    const first = makePanel('a.ipynb', makeKernel('k').kernel);
    const second = makePanel('b.ipynb', makeKernel('l').kernel);
    start(first);
    show(second);
    expect(model.state.notebook).toBe('b.ipynb');
    model.isPinned = true;
    show(first);
    expect(model.state.notebook).toBe('b.ipynb');
    model.isPinned = false;
    expect(model.state.notebook).toBe('a.ipynb');
  });

  it('lets go of a pinned notebook that is closed', () => {
    const first = makePanel('a.ipynb', makeKernel('k').kernel);
    const second = makePanel('b.ipynb', makeKernel('l').kernel);
    start(first);
    model.isPinned = true;
    show(second);
    first.disposed.emit();
    expect(model.state).toMatchObject({
      notebook: 'b.ipynb',
      isPinned: false
    });
  });

  it('shows nothing of another kernel', () => {
    const panel = makePanel('a.ipynb', makeKernel('k').kernel);
    start(panel);
    line.updates();
    expect(model.state.told).not.toBeNull();
    panel.context.sessionContext.kernelChanged.emit();
    expect(model.state).toMatchObject({ phase: 'starting', told: null });
  });

  it('keeps what it knows, and says that it is old, when the kernel falls silent', async () => {
    start(makePanel('a.ipynb', makeKernel('k').kernel));
    line.updates();
    expect(model.state.pulse).toBe('live');
    await settle(60);
    expect(model.state.pulse).toBe('quiet');
    expect(model.state.told).not.toBeNull();
    line.troubles('not-answering');
    expect(model.state.told).not.toBeNull();
    line.updates({ rev: 2 });
    expect(model.state.pulse).toBe('live');
  });

  it('loads the kernel’s side once, and says what is missing when that fails', async () => {
    const { kernel, executed } = makeKernel('k', 'python', false);
    start(makePanel('a.ipynb', kernel));
    line.troubles('no-doctor');
    await settle();
    line.troubles('no-doctor');
    await settle();
    expect(executed).toEqual(['%load_ext jupyter_dask_doctor']);
    expect(model.state.phase).toBe('no-package');
    model.checkNow();
    line.troubles('no-doctor');
    await settle();
    expect(executed).toHaveLength(2);
  });

  it('waits with loading until a busy kernel is idle', async () => {
    const { kernel, executed } = makeKernel('k');
    kernel.status = 'busy';
    const panel = makePanel('a.ipynb', kernel);
    start(panel);
    line.troubles('no-doctor');
    await settle();
    expect(model.state.phase).toBe('not-loaded');
    expect(executed).toEqual([]);
    kernel.status = 'idle';
    panel.context.sessionContext.statusChanged.emit();
    await settle();
    expect(executed).toHaveLength(1);
  });

  it('sends no line of Python to a kernel of another language', async () => {
    const { kernel, executed } = makeKernel('k', 'R');
    start(makePanel('a.ipynb', kernel));
    line.troubles('no-doctor');
    await settle();
    line.troubles('no-doctor');
    await settle();
    expect(executed).toEqual([]);
    expect(model.state.phase).toBe('not-python');
  });

  it('sends the cells when it begins to ask, and a while after they changed', async () => {
    const panel = makePanel('a.ipynb', makeKernel('k').kernel);
    start(panel);
    line.asked.emit();
    expect(line.cells).toHaveLength(1);
    panel.content.modelContentChanged.emit();
    panel.content.modelContentChanged.emit();
    expect(line.cells).toHaveLength(1);
    await settle(40);
    expect(line.cells).toHaveLength(2);
  });

  it('raises each critical finding once', () => {
    start(makePanel('a.ipynb', makeKernel('k').kernel));
    const alarms: Finding[] = [];
    model.alarmed.connect((_, each) => alarms.push(each));
    const critical = finding({ id: 'killed-worker:3', severity: 'critical' });
    const findings = [critical, finding()];
    line.updates({ report: report({ findings }) });
    line.updates({ rev: 2, report: report({ findings }) });
    expect(alarms).toEqual([critical]);
  });

  it('keeps what is ignored in the notebook, beside what others keep there', () => {
    const panel = makePanel('a.ipynb', makeKernel('k').kernel);
    const shared = panel.model.sharedModel;
    shared.setMetadata('dask_doctor', { other: 1, ignored: 'nonsense' });
    start(panel);
    expect(model.state.ignored).toEqual([]);
    model.ignore('x:y', true);
    model.ignore('x:y', true);
    expect(shared.getMetadata('dask_doctor')).toEqual({
      other: 1,
      ignored: ['x:y']
    });
    model.ignore('x:y', false);
    expect(shared.getMetadata('dask_doctor')).toEqual({ other: 1 });
    expect(model.state.ignored).toEqual([]);
  });

  it('does not write to a notebook that is read-only', async () => {
    const panel = makePanel('a.ipynb', makeKernel('k').kernel);
    panel.context.contentsModel.writable = false;
    start(panel);
    model.ignore('x:y', true);
    expect(model.state.ignored).toEqual(['x:y']);
    expect(panel.model.sharedModel.getMetadata('dask_doctor')).toBeUndefined();
    const outcome = await model.apply(finding(), fix(), false);
    expect(outcome).toEqual({
      kind: 'refused',
      refusal: { kind: 'read-only' }
    });
  });

  it('asks for everything when the kernel’s side began a new life', () => {
    start(makePanel('a.ipynb', makeKernel('k').kernel));
    line.updates({ rev: 9 });
    line.updates({ session: 's2', rev: 3, report: null });
    expect(line.since.at(-1)).toBe(0);
    expect(model.state.told?.report).toBeNull();
  });
});
