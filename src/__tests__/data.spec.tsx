import { fireEvent, render, screen, within } from '@testing-library/react';
import React from 'react';

import type { CollectionInfo, GraphInfo, HiddenJobs } from '../_schema';
import { DataView } from '../components/data';
import { GraphsView } from '../components/graph';
import { piecesChart } from '../components/partitions';
import { merge } from '../told';
import { collection, GiB, graph, MiB, reply } from './healthy';

const counts = new Map([['b', 7]]);

function data(...collections: CollectionInfo[]) {
  const goTo = jest.fn();
  const { container } = render(
    <DataView
      collections={collections}
      limit={682 * MiB}
      places={{ counts, goTo }}
    />
  );
  return { container, goTo };
}

function graphs(told: GraphInfo[], hidden: HiddenJobs[] = []) {
  const goTo = jest.fn();
  const { container } = render(
    <GraphsView graphs={told} hidden={hidden} places={{ counts, goTo }} />
  );
  return { container, goTo };
}

/** The lines of the list of facts, by their names. */
function lines(container: HTMLElement): Record<string, string | null> {
  return Object.fromEntries(
    [...container.querySelectorAll('dl > div')].map(line => [
      line.querySelector('dt')?.textContent ?? '',
      line.querySelector('dd')?.textContent ?? null
    ])
  );
}

const other = collection({ name: 'other' });

describe('the section Data', () => {
  it('tells exact from estimated from unknown', () => {
    const { container } = data(
      collection({ nbytes: { nbytes: 2 * GiB, known: 'estimated' } }),
      collection({ name: 'x', nbytes: { nbytes: 3 * GiB, known: 'exact' } }),
      collection({ name: 'y', npartitions: null, nbytes: null })
    );
    expect(
      [...container.querySelectorAll('.jp-DaskDoctorPanel-entryFacts')].map(
        line => line.textContent
      )
    ).toEqual([
      'dataframe · 24 partitions · ≈ 2 GiB estimated',
      'dataframe · 24 partitions · 3 GiB exact',
      'dataframe · number of partitions unknown · size unknown'
    ]);
  });

  it('shows one alone open, several closed, and what was opened stays open', () => {
    const one = data(collection());
    expect(lines(one.container).Size).toBe('≈ 2 GiB estimated');
    one.container.remove();
    const { container } = data(collection(), other);
    expect(container.querySelector('dl')).toBeNull();
    const title = screen.getByRole('button', { name: 'other' });
    expect(title.getAttribute('aria-expanded')).toBe('false');
    fireEvent.click(title);
    expect(title.getAttribute('aria-expanded')).toBe('true');
    expect(container.querySelectorAll('dl').length).toBe(1);
  });

  it('goes to the cell that bound it', () => {
    const at = { cell_id: 'b', execution_count: 7, line: 1 };
    const { goTo } = data(collection({ at }), other);
    fireEvent.click(screen.getByRole('button', { name: 'Go to cell [7]' }));
    expect(goTo).toHaveBeenCalledWith('b');
  });

  it('has a line for what is known and none for what is not', () => {
    const { container } = data(
      collection({
        sizes: {
          n: 3,
          total: 300,
          median: 90 * MiB,
          p95: 100,
          largest: 100 * MiB,
          largest_index: '1',
          values: [80 * MiB, 100 * MiB, 90 * MiB]
        },
        rows: {
          n: 3,
          total: 33,
          median: 11,
          largest: 12,
          largest_index: '2',
          values: [10, 11, 12]
        },
        n_rows: 1_234_567,
        has_known_divisions: true,
        reads: [
          { format: 'parquet', path: 'sales', n_files: 20, nbytes: GiB },
          { format: 'csv', path: '', n_files: 1, nbytes: null }
        ],
        n_reads: 5,
        type: 'pandas.DataFrame',
        unlike: ['3', '7'],
        held_by: ['Out[7]']
      })
    );
    expect(lines(container)).toEqual({
      State: 'in the cluster’s memory',
      Size: '≈ 2 GiB estimated',
      'Largest partition': '100 MiB exact',
      'Median partition': '90 MiB',
      'Limit: a third of a thread’s memory': '682 MiB',
      Rows: '≈ 1,230,000',
      'Rows of the longest partition': '12, median 11',
      'Partitions really are': 'pandas.DataFrame',
      'Unlike the first partition': '3, 7',
      Divisions: 'known',
      Reads: 'parquet · 20 files · 1 GiB on disksalescsv · 1 fileand 3 more',
      'Held also by': 'Out[7]'
    });
    const counted = data(
      collection({ n_rows: 1_234_567, has_exact_rows: true })
    );
    expect(lines(counted.container).Rows).toBe('1,234,567');
    const bare = data(
      collection({ nbytes: null, largest: null, is_persisted: false })
    );
    expect(lines(bare.container)).toEqual({
      State: 'lazy: not computed yet',
      Size: 'unknown',
      'Limit: a third of a thread’s memory': '682 MiB'
    });
  });

  it('says when a partition is over the limit', () => {
    const largest = { nbytes: 683 * MiB, known: 'estimated' as const };
    const { container } = data(collection({ largest }));
    expect(lines(container)['Largest partition']).toBe(
      '≈ 683 MiB estimated, over the limit'
    );
  });

  it('tells of arrays their shape, and whose part they are', () => {
    const { container } = data(
      collection({
        name: "ds['temp']",
        kind: 'array',
        npartitions: 1,
        wrapped_by: 'xarray.Dataset',
        shape: [1000, -1],
        chunks: [100, 50],
        dtype: 'float64'
      })
    );
    expect(container.textContent).toContain(
      "ds['temp']persistedarray of xarray.Dataset · 1 chunk"
    );
    expect(lines(container)).toMatchObject({
      Shape: '1,000 × ?',
      'Chunk shape': '100 × 50',
      Type: 'float64',
      'Largest chunk': '100 MiB exact'
    });
  });

  it('says why something is not known', () => {
    const { container } = data(
      collection({ nbytes: null, gaps: ['`<b>x</b>` says nothing of sizes.'] })
    );
    expect(container.textContent).toContain(
      'Not known: <b>x</b> says nothing of sizes.'
    );
    expect(container.querySelector('b')).toBeNull();
  });

  it('tells a column that is another type than Dask was told', () => {
    const { container } = data(
      collection({
        n_columns: 120,
        columns: [
          {
            name: 'city',
            dtype: 'string',
            real: 'object',
            nbytes: { nbytes: GiB, known: 'estimated' }
          },
          { name: 'n', dtype: 'int64', real: null, nbytes: null }
        ]
      })
    );
    const fold = container.querySelector('details') as HTMLElement;
    expect(fold.hasAttribute('open')).toBe(false);
    expect(fold.querySelector('summary')?.textContent).toBe(
      'Columns120, 1 of another type'
    );
    expect(
      [...fold.querySelectorAll('tbody tr')].map(row => row.textContent)
    ).toEqual(['city object, but Dask was told string≈ 1 GiB', 'n int64–']);
    expect(fold.textContent).toContain('and 118 more');
  });

  it('tells of the hot key in a sentence', () => {
    const { container } = data(
      collection({
        hot: {
          column: '<i>country</i>',
          value: 'US',
          share: 0.83,
          partition: '17',
          n_rows: 1_200_000
        }
      })
    );
    expect(container.textContent).toContain(
      '83 % of the 1,200,000 rows looked at in partition 17 share one value: <i>country</i> = US'
    );
    expect(container.querySelector('i')).toBeNull();
  });

  it('bears names that are alike after they were cut', () => {
    const error = jest.spyOn(console, 'error').mockImplementation();
    data(other, other);
    expect(error).not.toHaveBeenCalled();
    error.mockRestore();
  });

  it('bears a kind that a newer kernel tells', () => {
    const kind = 'cube' as CollectionInfo['kind'];
    const { container } = data(collection({ kind }));
    expect(container.textContent).toContain('cube');
  });
});

describe('a chart of partitions', () => {
  const options = {
    title: 't',
    unit: 'bytes' as const,
    limits: [],
    top: (percent: number) => `top ${percent} %`
  };

  it('has the largest first, each with its number', () => {
    const chart = piecesChart(
      { n: 4, median: 35, values: [10, 40, 30, 40], largest_index: '1' },
      options
    );
    expect(chart.series[0].values).toEqual([40, 40, 30, 10]);
    expect(chart.labels).toEqual(['1', '3', '2', '0']);
    expect(chart.highlight).toBeNull();
  });

  it('names a share of all where there are more than bars', () => {
    const chart = piecesChart(
      { n: 1000, median: 2, values: [1, 2, 3], largest_index: '17' },
      options
    );
    expect(chart.series[0].values).toEqual([3, 2, 1]);
    expect(chart.labels).toEqual(['17', 'top 50 %', 'top 100 %']);
  });

  it('does not invent the number of a chunk', () => {
    const chart = piecesChart(
      { n: 3, median: 2, values: [1, 2, 3], largest_index: '0, 2' },
      options
    );
    expect(chart.labels).toEqual(['0, 2', '', '']);
  });

  it('marks the largest where it stands out, or does not fit', () => {
    const marked = (median: number, ...limits: [number, boolean][]) =>
      piecesChart(
        { n: 2, median, values: [10, 40], largest_index: '1' },
        {
          ...options,
          limits: limits.map(([value, isHard]) => ({ name: '', value, isHard }))
        }
      ).highlight;
    expect(marked(19)).toBe(0);
    expect(marked(20)).toBeNull();
    expect(marked(20, [39, true])).toBe(0);
    expect(marked(20, [39, false])).toBeNull();
    expect(marked(20, [40, true])).toBeNull();
  });

  it('keeps the names of its limits apart', () => {
    const limit = (value: number) => ({
      name: `${value}`,
      value,
      isHard: true
    });
    const named = (...values: number[]) =>
      piecesChart(
        { n: 1, median: 1, values: [150], largest_index: '0' },
        { ...options, limits: values.map(limit) }
      ).limits.map(each => each.value);
    expect(named(341, 100)).toEqual([341, 100]);
    expect(named(110, 100)).toEqual([110]);
    expect(named(451, 100)).toEqual([100]);
    expect(named()).toEqual([]);
  });
});

describe('the section Graph', () => {
  it('says how many tasks, how long the start took, and how long it ran', () => {
    const { container } = graphs([graph(), graph({ id: 'k2' })]);
    expect(
      container.querySelector('.jp-DaskDoctorPanel-entryFacts')?.textContent
    ).toBe('compute · 4,501 tasks · started after 4 s · ran 12 s');
  });

  it('says what it does not know, and what runs still', () => {
    const { container } = graphs([
      graph({
        names: [],
        method: null,
        n_tasks: null,
        start: [],
        run_seconds: null,
        is_done: false
      })
    ]);
    expect(
      container.querySelector('.jp-DaskDoctorPanel-entryFacts')?.textContent
    ).toBe('number of tasks unknown · runs');
    expect(screen.getByRole('button', { name: 'A computation' })).toBeTruthy();
  });

  it('is named by the line that started it, else by variables, else by the method', () => {
    const titles = (over: Partial<GraphInfo>) => {
      const { container } = graphs([graph(over)]);
      const [title, line] = [
        '.jp-DaskDoctorPanel-entryTitle',
        '.jp-DaskDoctorPanel-entryFacts'
      ].map(each => container.querySelector(each)?.textContent);
      container.remove();
      return [title, line?.split(' · ')[0]];
    };
    expect(titles({ code: 'x.<b>sum</b>()' })).toEqual([
      'x.<b>sum</b>()',
      '4,501 tasks'
    ]);
    expect(titles({ names: ['a', 'b'] })).toEqual(['a, b', 'compute']);
    expect(titles({ names: [] })).toEqual(['compute', '4,501 tasks']);
  });

  it('stacks the parts of the start by their share, each with its seconds', () => {
    const { container } = graphs([graph()]);
    const bar = container.querySelector('.jp-DaskDoctorPanel-startBar');
    const parts = [...(bar?.children ?? [])] as HTMLElement[];
    expect(parts.map(part => part.style.flexGrow)).toEqual([
      '0.375',
      '0.125',
      '0.5'
    ]);
    expect(
      [...container.querySelectorAll('.jp-DaskDoctorPanel-startParts li')].map(
        line => line.textContent
      )
    ).toEqual([
      'optimizing1.5 s',
      'serializing500 ms',
      'waiting for a worker2 s'
    ]);
  });

  it('bears a start that took no time', () => {
    const start: GraphInfo['start'] = [{ kind: 'optimizing', seconds: 0 }];
    const { container } = graphs([graph({ start })]);
    expect(container.innerHTML).not.toContain('NaN');
  });

  it('shows tasks per layer, data inside, and what fusing would do', () => {
    const { container } = graphs([
      graph({
        embedded: [
          {
            type: 'pandas.DataFrame',
            nbytes: 200 * MiB,
            n_times: 24,
            variable: '<b>lookup</b>'
          },
          {
            type: 'numpy.ndarray',
            nbytes: 10 * MiB,
            n_times: 1,
            variable: null
          }
        ],
        n_more: 12
      })
    ]);
    const [inside, layers] = [
      ...container.querySelectorAll('.jp-DaskDoctorPanel-layers')
    ];
    expect([...inside.children].map(line => line.textContent)).toEqual([
      '<b>lookup</b>200 MiBpandas.DataFrame · in each of 24 tasks',
      'numpy.ndarray10 MiB'
    ]);
    expect(container.querySelector('b')).toBeNull();
    expect([...layers.children].map(line => line.textContent)).toEqual([
      'read_parquet3,000',
      'sum1,500'
    ]);
    expect(container.textContent).toContain('and 1 smaller');
    expect(lines(container)).toEqual({
      'If its tasks were fused': '601 tasks',
      'Steps upon each other': '3',
      'More computations of this cell': '12'
    });
  });

  it('says nothing of fusing that saves nothing', () => {
    const { container } = graphs([graph({ fused_tasks: 4501, depth: null })]);
    expect(lines(container)).toEqual({});
  });

  it('goes to the cell', () => {
    const { goTo } = graphs([graph()]);
    fireEvent.click(screen.getByRole('button', { name: 'Go to cell [7]' }));
    expect(goTo).toHaveBeenCalledWith('b');
  });

  it('keeps what was computed, what nobody asked for and what waits apart', () => {
    const at = { cell_id: 'b', execution_count: 7, line: 3 };
    const { container } = graphs(
      [graph(), graph({ id: null, names: ['lazy'], is_cyclic: true })],
      [
        { method: 'npartitions', code: 'y = x', n: 3, seconds: 4.2, at },
        { method: null, code: null, n: 1, seconds: 1, at: null }
      ]
    );
    expect(
      [...container.querySelectorAll('h3')].map(title => title.textContent)
    ).toEqual([
      'Computed, newest first',
      'Computations that nobody asked for',
      'Not computed yet'
    ]);
    const [, hidden, lazy] = container.querySelectorAll(
      'ul.jp-DaskDoctorPanel-list'
    );
    expect([...hidden.children].map(line => line.textContent)).toEqual([
      'y = x[7]npartitions · 3 computations · 4.2 s',
      'unknown1 computation · 1 s'
    ]);
    fireEvent.click(
      within(lazy as HTMLElement).getByRole('button', { name: 'lazy' })
    );
    expect(lazy.textContent).toContain('The graph has a cycle');
  });

  it('says that there is nothing', () => {
    expect(graphs([]).container.textContent).toContain(
      'No cell has computed anything yet'
    );
  });
});

describe('a kernel’s side of before', () => {
  it('says nothing of what it does not know', () => {
    const old = JSON.parse(
      JSON.stringify(reply({ collections: [collection()] }))
    );
    delete old.graphs;
    delete old.hidden_jobs;
    for (const name of ['columns', 'reads', 'gaps', 'rows', 'hot', 'held_by']) {
      delete old.collections[0][name];
    }
    const told = merge(null, old);
    expect(told.graphs).toEqual([]);
    expect(told.hidden_jobs).toEqual([]);
    const { container } = data(...told.collections);
    expect(container.textContent).toContain('24 partitions');
    expect(lines(container).Size).toBe('≈ 2 GiB estimated');
  });
});
