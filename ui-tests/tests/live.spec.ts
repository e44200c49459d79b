/** The panel while a cell blocks the kernel. */
import type { Page } from '@playwright/test';

import { CLUSTER, expect, test } from './doctor';

test.setTimeout(180_000);

const HOLD = `
def fill(steps):
    import time
    held = []
    for _ in range(steps):
        held.append(bytearray(15_000_000))
        time.sleep(1)
    return len(held)

client.submit(fill, 20, pure=False).result()`.trim();

test('the memory lines move while a cell is blocked for 20 s', async ({ doctor, page }) => {
  await doctor.openNew('blocked.ipynb', { cluster: CLUSTER, hold: HOLD });
  await doctor.run('cluster');
  await doctor.section('Memory').click();
  const used = doctor.panel.locator('.jp-DaskDoctorPanel-memoryWords');
  await expect(used).toContainText('of 2 GiB');
  const lines = doctor.panel.locator('.jp-DaskDoctorPanel-vitals svg path, .jp-DaskDoctorPanel-vitals svg polyline');

  await doctor.start('hold');
  const words = new Set<string>();
  const shapes = new Set<string>();
  const points: number[] = [];
  const began = Date.now();
  while (Date.now() - began < 18_000) {
    words.add((await used.textContent()) ?? '');
    shapes.add(await lines.evaluateAll(nodes => nodes.map(n => n.outerHTML).join()));
    points.push(await streamed(page));
    // The kernel is never shown idle meanwhile.
    const status = await page.evaluate(
      () => (window.jupyterapp.shell.currentWidget as any).sessionContext.session.kernel.status
    );
    expect(status).toBe('busy');
    await page.waitForTimeout(1_000);
  }
  expect(words.size).toBeGreaterThan(8);
  expect(shapes.size).toBeGreaterThan(8);
  // The chart grows by streaming, about one point a second.
  expect(points[points.length - 1]).toBeGreaterThan(points[0] + 8);
  await doctor.ended('hold');
});

test('a client is seen while the cell that made it still runs', async ({ doctor }) => {
  await doctor.openNew('still.ipynb', { cluster: `${CLUSTER}\nimport time\ntime.sleep(12)` });
  await doctor.start('cluster');
  await expect(doctor.panel).toContainText('2 workers · 4 threads', { timeout: 30_000 });
  expect(await doctor.page.evaluate(() => (window as any).doctorRuns.cluster)).toBe(false);
  await doctor.ended('cluster');
});

/** Points in the live chart of the Memory section. */
async function streamed(page: Page): Promise<number> {
  return page.evaluate(() => {
    for (const doc of (window as any).Bokeh?.documents ?? []) {
      const source = doc.get_model_by_name('stream');
      if (source) {
        return source.get_array('x').length;
      }
    }
    return 0;
  });
}
