/** The collections of the notebook: what they are, in how many pieces, how large and how we know. */
import React from 'react';

import type { Chart, CollectionInfo, PartitionSizes, Size } from '../_schema';
import { bytes, cut, estimated } from '../format';
import { Figure } from './evidence';
import { CellButton } from './text';
import { useTools } from './tools';

const MAX_COLLECTIONS = 50;

function useSizeWords(): (size: Size | null) => string {
  const { trans } = useTools();
  return size => {
    if (size === null) {
      return trans.__('size unknown');
    }
    const isEstimated = size.known === 'estimated';
    const words = isEstimated ? trans.__('estimated') : trans.__('measured');
    return `${estimated(bytes(size.nbytes), isEstimated)} ${words}`;
  };
}

/** The sizes of a collection's partitions as a chart. */
export function sizeChart(sizes: PartitionSizes, title: string): Chart {
  const inOrder = sizes.values.length === sizes.n;
  const largest = sizes.values.indexOf(Math.max(...sizes.values));
  return {
    kind: 'bars',
    title,
    unit: 'bytes',
    series: [{ name: 'nbytes', values: sizes.values }],
    labels: sizes.values.map((_, i) =>
      inOrder
        ? `${i}`
        : `${Math.round((100 * i) / Math.max(1, sizes.values.length - 1))} %`
    ),
    x: [],
    limits: [{ name: 'median', value: sizes.median }],
    highlight: largest >= 0 ? largest : null
  };
}

function CollectionView(props: {
  collection: CollectionInfo;
  counts: ReadonlyMap<string, number | null>;
  goTo: (cellId: string) => void;
}): JSX.Element {
  const { trans } = useTools();
  const sizeWords = useSizeWords();
  const { collection, counts, goTo } = props;
  const { sizes, npartitions } = collection;
  const kinds: Record<CollectionInfo['kind'], string> = {
    array: trans.__('array'),
    bag: trans.__('bag'),
    dataframe: trans.__('dataframe'),
    delayed: trans.__('delayed'),
    futures: trans.__('futures'),
    index: trans.__('index'),
    series: trans.__('series')
  };
  const isArray = collection.kind === 'array';
  const pieces =
    npartitions === null
      ? trans.__('number of partitions unknown')
      : isArray
        ? trans._n('%1 chunk', '%1 chunks', npartitions)
        : trans._n('%1 partition', '%1 partitions', npartitions);
  const facts = [pieces, sizeWords(collection.nbytes)];
  if (collection.largest !== null) {
    facts.push(trans.__('largest %1', sizeWords(collection.largest)));
  }
  return (
    <li className="jp-DaskDoctorPanel-collection">
      <div className="jp-DaskDoctorPanel-cardTop">
        <code>{cut(collection.name, 80)}</code>
        <span className="jp-DaskDoctorPanel-muted">
          {kinds[collection.kind] ?? collection.kind}
        </span>
        {collection.is_persisted && (
          <span className="jp-DaskDoctorPanel-badge jp-mod-safe">
            {trans.__('persisted')}
          </span>
        )}
        <CellButton at={collection.at} counts={counts} goTo={goTo} />
      </div>
      <div className="jp-DaskDoctorPanel-muted">{facts.join(' · ')}</div>
      {collection.is_eager && (
        <div className="jp-DaskDoctorPanel-muted">
          {trans.__('Looking at it closer would start a computation.')}
        </div>
      )}
      {sizes !== null && sizes.values.length > 1 && (
        <Figure
          chart={sizeChart(
            sizes,
            isArray ? trans.__('Chunk sizes') : trans.__('Partition sizes')
          )}
          drawKey={`${sizes.n} ${sizes.total} ${sizes.largest}`}
        />
      )}
    </li>
  );
}

export function DataView(props: {
  collections: readonly CollectionInfo[];
  counts: ReadonlyMap<string, number | null>;
  goTo: (cellId: string) => void;
}): JSX.Element {
  const { trans } = useTools();
  const { collections, counts, goTo } = props;
  if (collections.length === 0) {
    return (
      <p className="jp-DaskDoctorPanel-note">
        {trans.__('No variable of this notebook holds a Dask collection.')}
      </p>
    );
  }
  return (
    <ul className="jp-DaskDoctorPanel-list">
      {collections.slice(0, MAX_COLLECTIONS).map(collection => (
        <CollectionView
          key={collection.name}
          collection={collection}
          counts={counts}
          goTo={goTo}
        />
      ))}
    </ul>
  );
}
