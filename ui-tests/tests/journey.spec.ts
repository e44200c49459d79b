/** The main job, as a person does it: run a sick notebook, read what is wrong, mend it, see that it helped. */
import { expect, test } from './doctor';

test.setTimeout(300_000);

test('the demo notebook from the first cell to the mended one', async ({ doctor, page }) => {
  await doctor.openDemo();
  await expect(doctor.panel).toContainText('No Dask cluster yet');

  await test.step('a client is seen while nothing else was done', async () => {
    await doctor.run('cluster');
    await expect(doctor.panel).toContainText('2 workers · 4 threads · 2 GiB');
  });

  await test.step('skew: which partition, and how much', async () => {
    await doctor.run('orders', 'score');
    const card = doctor.card('Partition 17 of orders holds 23× the median');
    await expect(card).toContainText('Warning');
    await doctor.unfold(card);
    await expect(card.getByRole('row', { name: /largest partition/ })).toContainText('77 MiB');
    // The chart is drawn by the BokehJS of the server, and has a bar for each day.
    await expect(card.locator('.jp-mod-drawn .bk-Figure, .bk-Figure').first()).toBeVisible();
    // From another cell, for the one that ran last is the active one already.
    await page.evaluate(() => {
      (window.jupyterapp.shell.currentWidget as any).content.activeCellIndex = 0;
    });
    await card.getByRole('button', { name: 'Go to cell [3]' }).click();
    const cell = page.locator('.jp-Notebook .jp-Cell', {
      hasText: 'def paid(part)'
    });
    await expect(cell).toBeInViewport();
    await expect(cell).toHaveClass(/jp-mod-active/);
  });

  await test.step('graph: thousands of tasks where hundreds would do', async () => {
    await doctor.run('events', 'powers');
    await expect(doctor.card(/events was computed with 4,501 tasks; fused it is 601/)).toBeVisible();
  });

  await test.step('memory: workers at the edge', async () => {
    await doctor.run('points', 'density');
    await expect(doctor.card(/of their memory while/)).toBeVisible();
  });

  await test.step('the skew fix is inserted, run, and measured', async () => {
    const before = await doctor.sources();
    const card = doctor.card('Partition 17 of orders');
    await doctor.unfold(card);
    await expect(card.getByText('Needs review')).toBeVisible();
    await card.getByRole('button', { name: 'Insert and run' }).click();
    await expect(doctor.treated.filter({ hasText: 'Partition 17 of orders' })).toContainText('resolved', {
      timeout: 60_000
    });
    await expect(doctor.card('Partition 17')).toHaveCount(0);
    const after = await doctor.sources();
    expect(after).toHaveLength(before.length + 1);
    expect(after[2]).toContain('orders.partitions[17]');
    expect(after[2]).not.toContain('partition_size');
  });

  await test.step('the graph fix edits the cell in place', async () => {
    const card = doctor.card(/events was computed/);
    await doctor.unfold(card);
    await card.getByRole('button', { name: 'Apply and run' }).click();
    await expect(doctor.treated.filter({ hasText: '4,501 → 601' })).toContainText('resolved', { timeout: 60_000 });
    const sources = await doctor.sources();
    expect(sources.some(source => source.includes('.optimize().compute()'))).toBe(true);
  });

  await test.step('one undo takes an edit back', async () => {
    await page.evaluate(() => window.jupyterapp.commands.execute('notebook:undo-cell-action'));
    const sources = await doctor.sources();
    expect(sources.some(source => source.includes('.optimize().compute()'))).toBe(false);
  });
});
