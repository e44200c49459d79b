/** The sections Data and Graph of a real cluster: what is known of collections before and after they are computed. */
import AxeBuilder from '@axe-core/playwright';
import type { Locator } from '@playwright/test';

import { CLUSTER, expect, PANEL, test } from './doctor';

test.setTimeout(300_000);

const FILES = `
import tempfile
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import xarray as xr
folder = tempfile.TemporaryDirectory()
for i in range(12):
    n = 900_000 if i == 4 else 40_000
    country = np.where(np.arange(n) % 20 < (17 if i == 4 else 1), "US", "other")
    pd.DataFrame(
        {"user": np.arange(n), "country": country, "amount": np.random.random(n)}
    ).to_parquet(f"{folder.name}/part.{i:02}.parquet")`.trim();

const LAZY = `
orders = dd.read_parquet(folder.name)
climate = xr.Dataset({"temp": (("t", "x"), da.random.random((4_000, 2_000), chunks=(500, 2_000)))})
lookup = np.random.random(1_000_000)
scores = orders.map_partitions(lambda part, table: part.amount * table[0], lookup, meta=("amount", "f8"))`.trim();

const KEPT = 'kept = orders[orders.amount > 0.1].persist()\nwait(kept)';

const LOOK = 'by_user = orders.set_index("user")\nby_user.npartitions';

const KEYS = 'by_country = kept.groupby("country").amount.mean()';

const SUM = 'scores.sum().compute()';

test('collections and graphs, before and after they are computed', async ({ doctor, page }, info) => {
  const check = async (name: string) => {
    await page.waitForTimeout(1_500);
    await doctor.panel.screenshot({ path: info.outputPath(`${name}.png`) });
    const { violations } = await new AxeBuilder({ page }).include(`#${PANEL}`).analyze();
    expect(violations.map(v => `${v.id}: ${v.nodes.map(n => n.html).join(' | ')}`)).toEqual([]);
    const over = await doctor.panel
      .locator('.jp-DaskDoctorPanel-scroll')
      .evaluate(node => node.scrollWidth - node.clientWidth);
    expect(over).toBeLessThanOrEqual(0);
  };
  const entry = (name: string | RegExp, within: Locator = doctor.panel): Locator =>
    within.locator('.jp-DaskDoctorPanel-entry').filter({
      has: page.locator('.jp-DaskDoctorPanel-entryTitle', { hasText: name })
    });
  const open = async (which: Locator) => {
    const title = which.locator('.jp-DaskDoctorPanel-entryTitle');
    if ((await title.getAttribute('aria-expanded')) !== 'true') {
      await title.click();
    }
  };

  await page.setViewportSize({ width: 1440, height: 1600 });
  await page.sidebar.close('left');
  await page.sidebar.setWidth(420, 'right');
  await doctor.openNew('data.ipynb', {
    cluster: CLUSTER,
    files: FILES,
    lazy: LAZY,
    kept: KEPT,
    look: LOOK,
    keys: KEYS,
    sum: SUM
  });
  await doctor.run('cluster', 'files', 'lazy');
  await doctor.section('Data').click();

  await test.step('before: estimated from the files, lazy, named as it is typed', async () => {
    const orders = entry(/^orders$/);
    await expect(orders).toContainText('12 partitions');
    await expect(orders).toContainText('≈');
    await expect(orders).toContainText('estimated');
    await expect(orders.locator('dl')).toHaveCount(0);
    await open(orders);
    await expect(orders).toContainText('lazy');
    await expect(orders).toContainText('parquet');
    await expect(orders).toContainText('12 files');
    await orders.locator('summary', { hasText: 'Columns' }).click();
    await expect(orders.getByRole('row', { name: /country/ })).toBeVisible();

    const climate = entry(/climate/);
    await expect(climate).toContainText('xarray.Dataset');
    await expect(climate).toContainText('exact');
    await open(climate);
    await expect(climate).toContainText('4,000 × 2,000');
    await expect(climate).toContainText('500 × 2,000');
    await check('data-lazy');
  });

  await test.step('what a lazy collection would send', async () => {
    await doctor.section('Graph').click();
    const scores = entry(/^scores$/, doctor.body('Graph'));
    await expect(scores).toContainText(/\d+ tasks/);
    await open(scores);
    await expect(scores).toContainText('Tasks per layer');
    await expect(scores).toContainText('lookup');
    await check('graph-lazy');
  });

  await test.step('after: exact, with a chart of the partitions, and the key that fills one', async () => {
    await doctor.run('kept');
    const kept = entry(/^kept$/, doctor.body('Data'));
    await expect(kept).toContainText('persisted');
    await expect(kept).toContainText('exact', { timeout: 30_000 });
    await open(kept);
    await expect(kept.locator('.bk-Figure').first()).toBeVisible();
    await expect(kept).toContainText('Partition sizes, largest first');
    await expect(kept).toContainText('Rows per partition', { timeout: 30_000 });
    // Which value fills it is asked once a step says which column matters.
    await doctor.run('keys');
    await expect(kept).toContainText(/8\d % of the \d+,\d+ rows looked at in partition 4/, { timeout: 30_000 });
    await expect(kept).toContainText('country = US');
    await check('data-kept');
  });

  await test.step('where the start went', async () => {
    await doctor.run('look', 'sum');
    const computed = entry(SUM, doctor.body('Graph'));
    await expect(computed).toContainText('started after');
    await open(computed);
    const start = computed.locator('.jp-DaskDoctorPanel-start');
    await expect(start).toContainText('scheduling');
    await expect(start).toContainText('serializing');
    await expect(start).toContainText('waiting for a worker');
    await expect(computed).toContainText('Tasks per layer');
    await page.evaluate(() => {
      (window.jupyterapp.shell.currentWidget as any).content.activeCellIndex = 0;
    });
    await computed.getByRole('button', { name: /Go to cell/ }).click();
    await expect(page.locator('.jp-Notebook .jp-Cell', { hasText: SUM })).toHaveClass(/jp-mod-active/);
    const hidden = doctor.body('Graph').locator('li', { hasText: 'by_user.npartitions' });
    await expect(hidden).toContainText(/computations? · [\d.]+ m?s/);
  });

  for (const width of [420, 260]) {
    await page.sidebar.setWidth(width, 'right');
    for (const name of ['Data', 'Graph']) {
      await doctor.section(name).evaluate(node => node.scrollIntoView({ block: 'start' }));
      await check(`${name.toLowerCase()}-${width}`);
    }
  }
  await page.theme.setDarkTheme();
  for (const name of ['Data', 'Graph']) {
    await doctor.section(name).evaluate(node => node.scrollIntoView({ block: 'start' }));
    await check(`${name.toLowerCase()}-dark`);
  }
});
