import { ServerConnection } from '@jupyterlab/services';
import type { Kernel } from '@jupyterlab/services';

import type { Trouble, Update } from '../_schema';
import schema from '../../jupyter_dask_doctor/schema.json';
import { Service } from '../service';
import { PROTOCOL } from '../tokens';
import { reply } from './healthy';

it('the protocol is that of the schema', () => {
  expect(schema.description).toContain(`Protocol ${PROTOCOL}.`);
});

/** A socket whose other end is the test. */
class Wire {
  static all: Wire[] = [];
  static readonly OPEN = 1;
  readyState = 0;
  sent: Record<string, unknown>[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: (() => void) | null = null;
  constructor(readonly url: string) {
    Wire.all.push(this);
  }
  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }
  close(): void {
    this.readyState = 3;
  }
  opens(): void {
    this.readyState = 1;
    this.onopen?.();
  }
  breaks(): void {
    this.readyState = 3;
    this.onclose?.();
  }
  says(message: object): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
}

/** A kernel that answers what the test lets it. */
function makeKernel(id: string, answer: () => unknown) {
  const asked: { target_name: string; since: number; cells: unknown }[] = [];
  const kernel = {
    id,
    status: 'idle',
    username: 'u',
    clientId: 'c',
    sendControlMessage: (message: { content: never; channel: string }) => {
      expect(message.channel).toBe('control');
      asked.push(message.content);
      return {
        done: Promise.resolve({ content: answer() }),
        dispose: () => undefined
      };
    }
  };
  return { kernel: kernel as unknown as Kernel.IKernelConnection, asked };
}

function settings(status: number | 'down'): ServerConnection.ISettings {
  return ServerConnection.makeSettings({
    baseUrl: 'http://localhost:1/',
    wsUrl: 'ws://localhost:1/',
    appendToken: true,
    token: 'a b',
    WebSocket: Wire as unknown as typeof WebSocket,
    fetch: async () => {
      if (status === 'down') {
        throw new TypeError('no network');
      }
      return new Response(JSON.stringify({ bokeh: '3.9.2' }), { status });
    }
  });
}

async function settle(ms = 20): Promise<void> {
  await new Promise(resolve => setTimeout(resolve, ms));
}

describe('Service', () => {
  let service: Service;
  let heard: (Update | Trouble)[];

  function start(status: number | 'down'): void {
    Wire.all = [];
    heard = [];
    service = new Service({
      serverSettings: settings(status),
      backoff: [1],
      pullInterval: 5
    });
    service.heard.connect((_, message) => heard.push(message));
  }

  afterEach(() => service.dispose());

  it('subscribes when the socket opens, with the token in the address', async () => {
    start(200);
    service.follow(makeKernel('k1', () => ({})).kernel, 7);
    await settle();
    const [wire] = Wire.all;
    expect(wire.url).toBe('ws://localhost:1/dask-doctor/api/live?token=a%20b');
    wire.opens();
    expect(wire.sent).toEqual([
      { type: 'subscribe', protocol: PROTOCOL, kernel_id: 'k1', since: 7 }
    ]);
    expect(service.link).toBe('server');
  });

  it('drops what comes late from a kernel it no longer follows', async () => {
    start(200);
    service.follow(makeKernel('k1', () => ({})).kernel);
    await settle();
    const [wire] = Wire.all;
    wire.opens();
    service.follow(makeKernel('k2', () => ({})).kernel);
    wire.says({ type: 'update', kernel_id: 'k1', reply: reply() });
    wire.says({ type: 'update', kernel_id: 'k2', reply: reply() });
    wire.onmessage?.({ data: 'not JSON' });
    expect(heard.map(message => message.kernel_id)).toEqual(['k2']);
  });

  it('unsubscribes when nobody looks', async () => {
    start(200);
    service.follow(makeKernel('k1', () => ({})).kernel);
    await settle();
    Wire.all[0].opens();
    service.follow(null);
    expect(Wire.all[0].sent.at(-1)).toEqual({ type: 'unsubscribe' });
  });

  it('connects again after a break and goes on where it was', async () => {
    start(200);
    service.follow(makeKernel('k1', () => ({})).kernel);
    await settle();
    Wire.all[0].opens();
    service.seen(42);
    Wire.all[0].breaks();
    expect(service.link).toBe('down');
    await settle(50);
    Wire.all[1].opens();
    expect(Wire.all[1].sent[0]).toMatchObject({ since: 42 });
    expect(service.link).toBe('server');
  });

  it('keeps knocking while the server is away, and does not ask the kernel', async () => {
    start('down');
    const { kernel, asked } = makeKernel('k1', () => ({}));
    service.follow(kernel);
    await settle();
    expect(service.link).toBe('down');
    expect(asked).toEqual([]);
  });

  it('asks the kernel itself where the server has no part of ours', async () => {
    start(404);
    const { kernel, asked } = makeKernel('k1', () => ({
      status: 'ok',
      comms: {},
      dask_doctor: reply({ rev: 5 })
    }));
    service.follow(kernel);
    await settle();
    service.sendCells([{ id: 'a', source: 'x' }]);
    const brought = () => asked.findIndex(each => each.cells !== null);
    while (brought() < 0 || brought() === asked.length - 1) {
      await settle(5);
    }
    expect(service.link).toBe('kernel');
    expect(Wire.all).toEqual([]);
    expect(heard[0]).toMatchObject({ type: 'update', kernel_id: 'k1' });
    expect(asked[0]).toMatchObject({
      target_name: 'jupyter_dask_doctor',
      since: 0
    });
    expect(asked.at(-1)).toMatchObject({ since: 5, cells: null });
    expect(asked.filter(each => each.cells !== null)).toHaveLength(1);
  });

  it('asks the kernel itself when the server says gateway, and only that one', async () => {
    start(200);
    const far = makeKernel('far', () => ({ dask_doctor: reply() }));
    const near = makeKernel('near', () => ({ dask_doctor: reply() }));
    service.follow(far.kernel);
    await settle();
    Wire.all[0].opens();
    Wire.all[0].says({
      type: 'trouble',
      kernel_id: 'far',
      kind: 'gateway',
      message: ''
    });
    await settle();
    expect(heard.at(-1)).toMatchObject({ type: 'update', kernel_id: 'far' });
    service.follow(near.kernel);
    await settle();
    expect(near.asked).toEqual([]);
    expect(Wire.all[0].sent.at(-1)).toMatchObject({ kernel_id: 'near' });
  });

  it.each([
    [{ comms: {} }, 'no-doctor'],
    [{ dask_doctor: { error: 'boom' } }, 'bad-message'],
    [{ dask_doctor: { ...reply(), protocol: 0 } }, 'old-kernel-side'],
    [{ dask_doctor: { ...reply(), protocol: 99 } }, 'new-kernel-side']
  ])('tells what is wrong with the answer %#', async (content, kind) => {
    start(404);
    service.follow(makeKernel('k1', () => content).kernel);
    await settle();
    expect(heard[0]).toMatchObject({ type: 'trouble', kind });
  });

  it('asks one question at a time', async () => {
    start(404);
    const { kernel, asked } = makeKernel('k1', () => ({}));
    (kernel as { sendControlMessage: unknown }).sendControlMessage = () => {
      asked.push({ target_name: '', since: 0, cells: null });
      return { done: new Promise(() => undefined), dispose: () => undefined };
    };
    service.follow(kernel);
    await settle(60);
    service.follow(kernel);
    await settle(60);
    expect(asked).toHaveLength(1);
  });
});
