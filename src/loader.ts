/** Load the kernel's side by one silent line, once per life of a kernel, only while it has nothing else to do. */
import type { Kernel } from '@jupyterlab/services';

const CODE = '%load_ext jupyter_dask_doctor';

export class Loader {
  /** `done` is called when an attempt has ended, well or not. */
  constructor(done: () => void) {
    this._done = done;
  }

  /** "new": not tried yet in this kernel. */
  get state(): 'new' | 'loading' | 'failed' | 'loaded' {
    return this._state;
  }

  /** The kernel began a new life, or the user asks to try again. */
  forget(): void {
    this._state = 'new';
    this._kernelId = null;
  }

  /** It answers: whatever was tried before is past, and after a restart it may be tried again. */
  loaded(): void {
    this._state = 'new';
  }

  /** Try, unless it was tried or the kernel is busy; true when it is under way. */
  load(kernel: Kernel.IKernelConnection): boolean {
    if (kernel.id !== this._kernelId) {
      this._state = 'new';
    }
    if (this._state !== 'new' || kernel.status !== 'idle') {
      return false;
    }
    this._kernelId = kernel.id;
    this._state = 'loading';
    const future = kernel.requestExecute({
      code: CODE,
      silent: true,
      store_history: false,
      allow_stdin: false,
      stop_on_error: false
    });
    future.done.then(
      reply => this._end(kernel.id, reply.content.status === 'ok'),
      () => this._end(kernel.id, false)
    );
    return true;
  }

  private _end(kernelId: string, isLoaded: boolean): void {
    if (kernelId === this._kernelId && this._state === 'loading') {
      this._state = isLoaded ? 'loaded' : 'failed';
      this._done();
    }
  }

  private readonly _done: () => void;
  private _state: 'new' | 'loading' | 'failed' | 'loaded' = 'new';
  private _kernelId: string | null = null;
}
