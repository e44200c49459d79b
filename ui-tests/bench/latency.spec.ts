/** How soon the panel shows a client and a finding, while the cell that made them still runs. Prints, asserts
 * no speed: `make bench` runs it. Goals: a client within 1 s, a finding within 2 s of its evidence. */
import { Doctor, expect, test } from '../tests/doctor';

const ROUNDS = 3;

test.setTimeout(ROUNDS * 60_000);

const CELLS = {
  imports: `import time
import dask.dataframe as dd
import numpy as np
import pandas as pd
from dask.distributed import Client, LocalCluster, wait

def part(i):
    return pd.DataFrame({"x": np.zeros(9_000_000 if i == 3 else 100_000)})

cluster = LocalCluster(n_workers=2, threads_per_worker=2, memory_limit="1GiB", dashboard_address="127.0.0.1:0")`,
  client: `client = Client(cluster)
print(time.time())
time.sleep(4)`,
  skewed: `uneven = dd.from_map(part, range(12)).persist()
_ = wait(uneven)
print(time.time())
time.sleep(5)`,
  many: `many = dd.from_pandas(pd.DataFrame({"a": range(3_000)}), npartitions=300)
for n in range(12):
    many = many.assign(**{f"b{n}": many.a + n})
many.b11.sum().compute()
print(time.time())
time.sleep(5)`
};

test('seconds from the fact to the panel', async ({ doctor }) => {
  const seen: Record<string, number[]> = { client: [], skewed: [], many: [] };
  for (let round = 0; round < ROUNDS; round++) {
    await doctor.openNew(`latency-${round}.ipynb`, CELLS);
    await doctor.run('imports');
    seen.client.push(await delay(doctor, 'client', '2 workers'));
    seen.skewed.push(await delay(doctor, 'skewed', 'Partition 3 of uneven'));
    seen.many.push(await delay(doctor, 'many', 'many was computed with'));
    await doctor.shutdown();
  }
  for (const [what, values] of Object.entries(seen)) {
    values.sort((a, b) => a - b);
    const words = values.map(value => value.toFixed(2)).join(' ');
    console.log(
      `${what}: median ${values[ROUNDS >> 1].toFixed(2)} s, all ${words}`
    );
  }
  expect(Object.values(seen).flat()).toHaveLength(3 * ROUNDS);
});

/** Seconds between what the cell printed and the first moment at which the panel has the text. */
async function delay(
  doctor: Doctor,
  id: string,
  text: string
): Promise<number> {
  const { page } = doctor;
  await page.evaluate(text => {
    const panel = document.getElementById('jp-dask-doctor-panel')!;
    const marks = window as any;
    marks.wanted = text;
    marks.shownAt = null;
    marks.observer ??= new MutationObserver(() => {
      if (marks.shownAt === null && panel.textContent?.includes(marks.wanted)) {
        marks.shownAt = Date.now() / 1000;
      }
    });
    marks.observer.observe(panel, {
      subtree: true,
      childList: true,
      characterData: true
    });
  }, text);
  await doctor.start(id);
  await page.waitForFunction(() => (window as any).shownAt !== null, null, {
    timeout: 60_000
  });
  await doctor.ended(id);
  const [shown, printed] = await page.evaluate(id => {
    const notebook = (window.jupyterapp.shell.currentWidget as any).content;
    const cell = notebook.widgets.find((w: any) => w.model.id === id);
    return [
      (window as any).shownAt,
      Number(cell.model.outputs.get(0).data['application/vnd.jupyter.stdout'])
    ];
  }, id);
  return shown - printed;
}
