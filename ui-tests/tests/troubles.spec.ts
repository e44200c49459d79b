/** Bad luck and bad input: each has a clear message, nothing is lost, nothing hostile runs. */
import { CLUSTER, expect, test } from './doctor';

test.setTimeout(180_000);

const HOSTILE = `
import dask.dataframe as dd
import numpy as np
import pandas as pd
EVIL = "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>"

def part(i):
    return pd.DataFrame({EVIL: np.zeros(9_000_000 if i == 3 else 100_000)})

wicked = dd.from_map(part, range(12), label=EVIL).persist()
_ = wait(wicked)
def fail(x):
    raise ValueError(EVIL)
future = client.submit(fail, 1, key=EVIL)
_ = wait(future)`.trim();

test('names from a cluster are text, whatever they say', async ({ doctor, page }) => {
  await doctor.openNew('hostile.ipynb', { cluster: CLUSTER, hostile: HOSTILE });
  await doctor.run('cluster', 'hostile');
  const card = doctor.card('Partition 3 of wicked');
  await expect(card).toBeVisible();
  await doctor.unfold(card);
  for (const section of ['Data', 'Memory', 'Cluster']) {
    await doctor.section(section).click();
  }
  await expect(doctor.panel.getByText('wicked').first()).toBeVisible();
  await page.waitForTimeout(2_000);
  expect(await page.evaluate(() => (window as any).hacked)).toBeUndefined();
  expect(await doctor.panel.locator('img, script').count()).toBe(0);
});

test('a hanging repartition is named before its cell runs', async ({ doctor }) => {
  await doctor.openNew('hang.ipynb', {
    cluster: CLUSTER,
    frame: `import dask.dataframe as dd
import pandas as pd
df = dd.from_pandas(pd.DataFrame({"a": range(1000)}), npartitions=4)`,
    hang: `small = df.repartition(partition_size="100MB")
small.a.sum().compute()`
  });
  await doctor.run('cluster', 'frame');
  const python = await doctor.page.evaluate(async () => {
    const info = await (window.jupyterapp.shell.currentWidget as any).sessionContext.session.kernel.info;
    return info.language_info.version as string;
  });
  test.skip(!/^3\.(10|11)\./.test(python), 'Python 3.12 and later do not hang');
  const card = doctor.card(/partition_size/);
  await expect(card).toContainText('Critical');
  await doctor.unfold(card);
  await card.getByRole('button', { name: 'Apply and run' }).click();
  await expect.poll(async () => (await doctor.sources())[2]).toContain('npartitions=');
  await expect(card).toHaveCount(0);
});

test('a fix is refused when its cell changed meanwhile, and can be undone when it was not', async ({
  doctor,
  page
}) => {
  await doctor.openNew('refused.ipynb', {
    cluster: CLUSTER,
    frame: `import dask.dataframe as dd
import numpy as np
import pandas as pd
uneven = dd.from_map(lambda i: pd.DataFrame({"x": np.zeros(9_000_000 if i == 3 else 100_000)}), range(12)).persist()
_ = wait(uneven)`
  });
  await doctor.run('cluster', 'frame');
  const card = doctor.card('Partition 3 of uneven');
  await doctor.unfold(card);
  const text = (await doctor.sources())[1];

  await doctor.setSource('frame', `${text}\n# changed`);
  await card.getByRole('button', { name: /^Insert below/ }).click();
  await expect(card.getByRole('alert')).toContainText(/changed/);
  expect(await doctor.sources()).toHaveLength(2);

  await doctor.setSource('frame', text);
  await card.getByRole('button', { name: /^Insert below/ }).click();
  await expect.poll(async () => (await doctor.sources()).length).toBe(3);
  await page.evaluate(() => window.jupyterapp.commands.execute('notebook:undo-cell-action'));
  expect(await doctor.sources()).toEqual([expect.any(String), text]);
});

test('two tabs see the same; a restarted kernel and a vanished scheduler are told', async ({
  doctor,
  page,
  context,
  baseURL
}) => {
  await doctor.openNew('tabs.ipynb', {
    cluster: CLUSTER,
    gone: 'cluster.close()'
  });
  await doctor.run('cluster');
  await expect(doctor.panel).toContainText('2 workers');

  const path = await page.evaluate(() => (window.jupyterapp.shell.currentWidget as any).context.path);
  const other = await context.newPage();
  await other.goto(`${baseURL}/lab/workspaces/second/tree/${path}`);
  await other.waitForSelector('.jp-NotebookPanel');
  await other.evaluate(() => window.jupyterapp.commands.execute('dask-doctor:open-panel'));
  await expect(other.locator('#jp-dask-doctor-panel')).toContainText('2 workers', { timeout: 30_000 });
  await other.close();
  await expect(doctor.panel).toContainText('2 workers');

  await doctor.run('gone');
  await expect(doctor.panel).toContainText(/The Dask client was closed|The scheduler is gone|No Dask client yet/);

  await page.evaluate(async () =>
    (window.jupyterapp.shell.currentWidget as any).sessionContext.session.kernel.restart()
  );
  await expect(doctor.panel).toContainText('No Dask cluster yet', { timeout: 30_000 });
  await doctor.run('cluster');
  await expect(doctor.panel).toContainText('2 workers');
});
