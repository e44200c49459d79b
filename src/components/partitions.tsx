/** Sizes and rows of a collection's partitions as charts, the largest first. */
import React from 'react';

import type { Chart, CollectionInfo } from '../_schema';
import { Figure } from './evidence';
import { useTools } from './tools';

/** What Dask's best practices call about right. */
export const TYPICAL = 100 * 1024 ** 2;

interface IPieces {
  n: number;
  median: number;
  values: readonly number[];
  largest_index: string | null;
}

interface ILimit {
  name: string;
  value: number;
  /** A piece beyond it is a fault. */
  isHard: boolean;
}

/**
 * Bars from the largest to the smallest, with the partition's number where it is known.
 *
 * Of more partitions than `values` there are quantiles.
 */
export function piecesChart(
  pieces: IPieces,
  options: Pick<Chart, 'title' | 'unit'> & {
    limits: readonly ILimit[];
    /** Names the bar of a share of all, such as "top 10 %". */
    top: (percent: number) => string;
  }
): Chart {
  const { values, n, largest_index: first } = pieces;
  const isEach = values.length === n;
  const order = values
    .map((value, i) => ({ value, i }))
    .sort((a, b) => b.value - a.value || a.i - b.i);
  // The number of a chunk with several dimensions cannot be told from its place in the list.
  const isPlain = first === null || /^\d+$/.test(first);
  const highest = order[0]?.value ?? 0;
  return {
    kind: 'bars',
    title: options.title,
    unit: options.unit,
    series: [
      { name: options.unit, values: order.map(each => Math.max(0, each.value)) }
    ],
    labels: order.map(({ i }, rank) => {
      if (rank === 0 && first !== null) {
        return first;
      }
      return isEach
        ? isPlain
          ? `${i}`
          : ''
        : options.top(Math.round((100 * rank) / Math.max(1, order.length - 1)));
    }),
    x: [],
    limits: apart(options.limits, highest),
    // Marked only where it stands out, or where it does not fit.
    highlight:
      highest > 2 * pieces.median ||
      options.limits.some(each => each.isHard && highest > each.value)
        ? 0
        : null
  };
}

/** Limits that are near enough to the bars, without those whose names would lie upon one before them. */
function apart(limits: readonly ILimit[], highest: number): Chart['limits'] {
  // One far above would flatten all bars.
  const near = limits.filter(each => each.value <= 3 * highest);
  const top = Math.max(highest, ...near.map(each => each.value));
  return near
    .filter((each, i) =>
      near
        .slice(0, i)
        .every(other => Math.abs(other.value - each.value) > top / 6)
    )
    .map(({ name, value }) => ({ name, value }));
}

export function PartitionCharts(props: {
  collection: CollectionInfo;
  /** Bytes that one partition may have on a worker. */
  limit: number | null;
}): JSX.Element | null {
  const { trans } = useTools();
  const { collection, limit } = props;
  const { sizes, rows } = collection;
  const isArray = collection.kind === 'array';
  const top = (percent: number) => trans.__('top %1 %', percent);
  const limits = [
    ...(limit === null
      ? []
      : [{ name: trans.__('limit'), value: limit, isHard: true }]),
    { name: trans.__('rule of thumb'), value: TYPICAL, isHard: false }
  ];
  return (
    <>
      {sizes !== null && sizes.values.length > 1 && (
        <Figure
          chart={piecesChart(sizes, {
            title: isArray
              ? trans.__('Chunk sizes, largest first')
              : trans.__('Partition sizes, largest first'),
            unit: 'bytes',
            limits,
            top
          })}
          drawKey={`${sizes.n} ${sizes.total} ${sizes.largest} ${sizes.values.length} ${limit}`}
        />
      )}
      {rows !== null && rows.values.length > 1 && (
        <Figure
          chart={piecesChart(rows, {
            title: trans.__('Rows per partition, most first'),
            unit: 'count',
            limits: [],
            top
          })}
          drawKey={`${rows.n} ${rows.total} ${rows.largest} ${rows.values.length}`}
        />
      )}
    </>
  );
}
