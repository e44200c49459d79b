/** What the browser tests share: a notebook on disk, its cells run by their ids, the panel beside it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import type { IJupyterLabPageFixture } from '@jupyterlab/galata';
import { expect, test as base } from '@jupyterlab/galata';
import type { Locator } from '@playwright/test';

export { expect };

export const PANEL = 'jp-dask-doctor-panel';

/** Starts two worker processes; a small limit, so that memory troubles show on any machine. */
export const CLUSTER = `
from dask.distributed import Client, LocalCluster, wait
cluster = LocalCluster(
    n_workers=2, threads_per_worker=2, memory_limit="1GiB", dashboard_address="127.0.0.1:0"
)
client = Client(cluster)`.trim();

export class Doctor {
  constructor(
    readonly page: IJupyterLabPageFixture,
    private readonly folder: string
  ) {}

  get panel(): Locator {
    return this.page.locator(`#${PANEL}`);
  }

  get findings(): Locator {
    return this.panel.getByRole('region', { name: 'Findings' });
  }

  /** The card whose heading has this text. */
  card(text: string | RegExp): Locator {
    return this.panel
      .locator('.jp-DaskDoctorPanel-card:not(.jp-DaskDoctorPanel-treated)')
      .filter({ has: this.page.locator('.jp-DaskDoctorPanel-heading', { hasText: text }) });
  }

  /** The button that opens a section: findings may begin with the same word. */
  section(name: string): Locator {
    return this.panel.locator('.jp-DaskDoctorPanel-sectionTitle').getByRole('button', {
      name: new RegExp(`^${name}`)
    });
  }

  /** What a section holds. */
  body(name: string): Locator {
    return this.panel.locator('.jp-DaskDoctorPanel-section').filter({
      has: this.page.locator('.jp-DaskDoctorPanel-sectionTitle', { hasText: name })
    });
  }

  get treated(): Locator {
    return this.panel.locator('.jp-DaskDoctorPanel-treated');
  }

  /** Opens a card that is closed. */
  async unfold(card: Locator): Promise<void> {
    const heading = card.locator('.jp-DaskDoctorPanel-heading').getByRole('button');
    if ((await heading.getAttribute('aria-expanded')) !== 'true') {
      await heading.click();
    }
  }

  async openPanel(): Promise<void> {
    await this.page.sidebar.openTab(PANEL);
    await expect(this.panel).toBeVisible();
  }

  /** Opens a copy of the demo notebook. */
  async openDemo(): Promise<void> {
    const path = join(__dirname, '..', '..', 'binder', 'demo.ipynb');
    await this.open('demo.ipynb', readFileSync(path, 'utf-8'));
  }

  /** Opens a copy of a notebook of the clinic, named by its family and its rule. */
  async openExample(family: string, rule: string): Promise<void> {
    const path = join(__dirname, '..', '..', 'examples', family, `${rule}.ipynb`);
    await this.open(`${rule}.ipynb`, readFileSync(path, 'utf-8'));
  }

  /** Opens a new notebook with these code cells, by id. */
  async openNew(name: string, cells: Record<string, string>): Promise<void> {
    const content = {
      cells: Object.entries(cells).map(([id, source]) => ({
        cell_type: 'code',
        id,
        source,
        metadata: {},
        execution_count: null,
        outputs: []
      })),
      metadata: {
        kernelspec: { display_name: 'Python 3', language: 'python', name: 'python3' },
        language_info: { name: 'python' }
      },
      nbformat: 4,
      nbformat_minor: 5
    };
    await this.open(name, JSON.stringify(content));
  }

  private async open(name: string, text: string): Promise<void> {
    const path = `${this.folder}/${name}`;
    await this.page.contents.uploadContent(text, 'text', path);
    // Not by Galata's helper: it clicks through the file browser.
    await this.page.evaluate(
      async path => window.jupyterapp.commands.execute('docmanager:open', { path }),
      path
    );
    await this.page.waitForFunction(
      () =>
        (window.jupyterapp.shell.currentWidget as any)?.sessionContext?.session?.kernel
          ?.connectionStatus === 'connected',
      null,
      { timeout: 60_000 }
    );
  }

  /** Starts a cell; `ended` waits for it. */
  async start(id: string): Promise<void> {
    await this.page.evaluate(id => {
      const notebook = (window.jupyterapp.shell.currentWidget as any).content;
      notebook.deselectAll();
      notebook.activeCellIndex = notebook.widgets.findIndex((w: any) => w.model.id === id);
      const runs = ((window as any).doctorRuns ??= {});
      runs[id] = false;
      void window.jupyterapp.commands
        .execute('notebook:run-cell')
        .then(() => (runs[id] = true));
    }, id);
  }

  async ended(id: string, timeout = 90_000): Promise<void> {
    await this.page.waitForFunction(id => (window as any).doctorRuns[id], id, { timeout });
  }

  async run(...ids: string[]): Promise<void> {
    for (const id of ids) {
      await this.start(id);
      await this.ended(id);
    }
  }

  /** The texts of the notebook's code cells, in order. */
  async sources(): Promise<string[]> {
    return this.page.evaluate(() =>
      (window.jupyterapp.shell.currentWidget as any).content.widgets
        .filter((w: any) => w.model.type === 'code')
        .map((w: any) => w.model.sharedModel.source)
    );
  }

  async setSource(id: string, source: string): Promise<void> {
    await this.page.evaluate(
      ([id, source]) => {
        const notebook = (window.jupyterapp.shell.currentWidget as any).content;
        notebook.widgets.find((w: any) => w.model.id === id).model.sharedModel.source = source;
      },
      [id, source]
    );
  }

  /** Ends the kernel of the notebook, and its cluster with it. */
  async shutdown(): Promise<void> {
    await this.page.evaluate(async () => {
      await (window.jupyterapp.shell.currentWidget as any)?.sessionContext?.shutdown?.();
    });
  }
}

export const test = base.extend<{ doctor: Doctor }>({
  // The real ones: Galata's stand-ins for the lists of kernels and sessions cannot restart.
  kernels: async ({}, use) => use(null as any),
  sessions: async ({}, use) => use(null as any),
  doctor: async ({ page, tmpPath }, use) => {
    const doctor = new Doctor(page, tmpPath);
    await doctor.openPanel();
    await use(doctor);
    await doctor.shutdown();
  }
});
