/** The collections of the notebook: what they are, in how many pieces, how large and how we know. */
import React from 'react';

import type {
  CollectionInfo,
  ColumnInfo,
  HotKey,
  Size,
  SourceInfo
} from '../_schema';
import { bytes, count, cut, estimated, quantity } from '../format';
import { Entry, Facts } from './entry';
import type { IPlaces } from './entry';
import { Fold } from './fold';
import { PartitionCharts } from './partitions';
import { Prose } from './text';
import { useTools } from './tools';
import type { ITools } from './tools';

const MAX_COLLECTIONS = 100;
const MAX_NAME = 80;

type Trans = ITools['trans'];

/** A size as it is known: exact, estimated or not at all. */
export function sizeWords(size: Size | null, trans: Trans): string {
  if (size === null) {
    return trans.__('size unknown');
  }
  return size.known === 'estimated'
    ? trans.__('%1 estimated', estimated(bytes(size.nbytes), true))
    : trans.__('%1 exact', bytes(size.nbytes));
}

function kindWords(collection: CollectionInfo, trans: Trans): string {
  const kinds: Record<CollectionInfo['kind'], string> = {
    array: trans.__('array'),
    bag: trans.__('bag'),
    dataframe: trans.__('dataframe'),
    delayed: trans.__('delayed'),
    futures: trans.__('futures'),
    index: trans.__('index'),
    series: trans.__('series')
  };
  const kind = kinds[collection.kind] ?? cut(collection.kind, MAX_NAME);
  return collection.wrapped_by === null
    ? kind
    : trans.__('%1 of %2', kind, cut(collection.wrapped_by, MAX_NAME));
}

function piecesWords(collection: CollectionInfo, trans: Trans): string {
  const { kind, npartitions } = collection;
  if (npartitions === null) {
    return trans.__('number of partitions unknown');
  }
  const number = count(npartitions);
  switch (kind) {
    case 'array':
      return npartitions === 1
        ? trans.__('1 chunk')
        : trans.__('%1 chunks', number);
    case 'delayed':
      return trans.__('1 value');
    case 'futures':
      return npartitions === 1
        ? trans.__('1 future')
        : trans.__('%1 futures', number);
    default:
      return npartitions === 1
        ? trans.__('1 partition')
        : trans.__('%1 partitions', number);
  }
}

/** "1,000 × 500 × ?". */
function lengths(shape: readonly number[]): string {
  return shape
    .slice(0, 8)
    .map(n => (n < 0 ? '?' : count(n)))
    .join(' × ');
}

function sourceWords(source: SourceInfo, trans: Trans): string {
  const words = [cut(source.format, MAX_NAME)];
  if (source.n_files !== null) {
    words.push(
      source.n_files === 1
        ? trans.__('1 file')
        : trans.__('%1 files', count(source.n_files))
    );
  }
  if (source.nbytes !== null) {
    words.push(trans.__('%1 on disk', bytes(source.nbytes)));
  }
  return words.join(' · ');
}

function Sources({ collection }: { collection: CollectionInfo }): JSX.Element {
  const { trans } = useTools();
  const more = collection.n_reads - collection.reads.length;
  return (
    <>
      {collection.reads.map((source, i) => (
        <div key={i}>
          {sourceWords(source, trans)}
          {source.path !== '' && (
            <>
              <br />
              <code>{cut(source.path, 200)}</code>
            </>
          )}
        </div>
      ))}
      {more > 0 && <div>{trans.__('and %1 more', count(more))}</div>}
    </>
  );
}

function Codes({ names }: { names: readonly string[] }): JSX.Element {
  return (
    <>
      {names.map((name, i) => (
        <React.Fragment key={i}>
          {i > 0 && ', '}
          <code>{cut(name, MAX_NAME)}</code>
        </React.Fragment>
      ))}
    </>
  );
}

function Columns(props: {
  columns: readonly ColumnInfo[];
  n: number | null;
}): JSX.Element {
  const { trans } = useTools();
  const { columns, n } = props;
  const hasSizes = columns.some(column => column.nbytes !== null);
  const more = (n ?? columns.length) - columns.length;
  const other = columns.filter(column => column.real !== null).length;
  return (
    <Fold
      title={trans.__('Columns')}
      note={
        other > 0
          ? trans.__(
              '%1, %2 of another type',
              count(n ?? columns.length),
              other
            )
          : count(n ?? columns.length)
      }
    >
      <table className="jp-DaskDoctorPanel-table">
        <thead>
          <tr>
            <th scope="col">{trans.__('Name and type')}</th>
            {hasSizes && <th scope="col">{trans.__('Size')}</th>}
          </tr>
        </thead>
        <tbody>
          {columns.map((column, i) => (
            <tr key={i}>
              <th scope="row">
                <code>{cut(column.name, MAX_NAME)}</code>{' '}
                <span className="jp-DaskDoctorPanel-muted">
                  {column.real === null
                    ? cut(column.dtype, MAX_NAME)
                    : trans.__(
                        '%1, but Dask was told %2',
                        cut(column.real, MAX_NAME),
                        cut(column.dtype, MAX_NAME)
                      )}
                </span>
              </th>
              {hasSizes && (
                <td>
                  {column.nbytes === null
                    ? '–'
                    : estimated(
                        bytes(column.nbytes.nbytes),
                        column.nbytes.known === 'estimated'
                      )}
                </td>
              )}
            </tr>
          ))}
        </tbody>
      </table>
      {more > 0 && (
        <p className="jp-DaskDoctorPanel-note">
          {trans.__('and %1 more', count(more))}
        </p>
      )}
    </Fold>
  );
}

function HotKeyView({ hot }: { hot: HotKey }): JSX.Element {
  const { trans } = useTools();
  return (
    <p className="jp-DaskDoctorPanel-hot">
      {trans.__(
        '%1 of the %2 rows looked at in partition %3 share one value:',
        quantity(hot.share, 'share'),
        count(hot.n_rows),
        cut(hot.partition, MAX_NAME)
      )}{' '}
      <code>
        {cut(hot.column, MAX_NAME)} = {cut(hot.value, MAX_NAME)}
      </code>
    </p>
  );
}

/** Only what is known: a fact that is null has no line. */
function facts(
  collection: CollectionInfo,
  limit: number | null,
  trans: Trans
): [string, React.ReactNode][] {
  const { rows, sizes, n_rows: n, has_known_divisions: known } = collection;
  const isOver =
    limit !== null &&
    collection.largest !== null &&
    collection.largest.nbytes > limit;
  const isFrame = ['dataframe', 'series', 'index'].includes(collection.kind);
  const state = collection.is_persisted
    ? trans.__('in the cluster’s memory')
    : trans.__('lazy: not computed yet');
  return [
    [trans.__('State'), collection.kind === 'futures' ? null : state],
    [
      trans.__('Size'),
      collection.nbytes === null
        ? trans.__('unknown')
        : sizeWords(collection.nbytes, trans)
    ],
    [
      collection.kind === 'array'
        ? trans.__('Largest chunk')
        : trans.__('Largest partition'),
      collection.largest === null
        ? null
        : isOver
          ? trans.__('%1, over the limit', sizeWords(collection.largest, trans))
          : sizeWords(collection.largest, trans)
    ],
    [
      collection.kind === 'array'
        ? trans.__('Median chunk')
        : trans.__('Median partition'),
      sizes === null || sizes.n < 2 ? null : bytes(sizes.median)
    ],
    [
      trans.__('Limit: a third of a thread’s memory'),
      limit === null || collection.kind === 'futures' ? null : bytes(limit)
    ],
    [
      trans.__('Rows'),
      n === null
        ? null
        : collection.has_exact_rows
          ? count(n)
          : estimated(count(Number(n.toPrecision(3))), true)
    ],
    [
      trans.__('Rows of the longest partition'),
      rows === null || rows.n < 2
        ? null
        : trans.__('%1, median %2', count(rows.largest), count(rows.median))
    ],
    [
      trans.__('Shape'),
      collection.shape.length === 0 ? null : lengths(collection.shape)
    ],
    [
      trans.__('Chunk shape'),
      collection.chunks.length === 0 ? null : lengths(collection.chunks)
    ],
    [
      trans.__('Type'),
      collection.dtype === null ? null : (
        <code>{cut(collection.dtype, MAX_NAME)}</code>
      )
    ],
    [
      trans.__('Partitions really are'),
      collection.type === null ? null : (
        <code>{cut(collection.type, MAX_NAME)}</code>
      )
    ],
    [
      trans.__('Unlike the first partition'),
      collection.unlike.length === 0
        ? null
        : cut(collection.unlike.join(', '), 200)
    ],
    [
      trans.__('Divisions'),
      known === null || !isFrame
        ? null
        : known
          ? trans.__('known')
          : trans.__('unknown')
    ],
    [
      trans.__('Reads'),
      collection.reads.length === 0 ? null : <Sources collection={collection} />
    ],
    [
      trans.__('Held also by'),
      collection.held_by.length === 0 ? null : (
        <Codes names={collection.held_by} />
      )
    ]
  ];
}

function Details(props: {
  collection: CollectionInfo;
  limit: number | null;
}): JSX.Element {
  const { trans } = useTools();
  const { collection, limit } = props;
  return (
    <>
      <PartitionCharts collection={collection} limit={limit} />
      {collection.hot !== null && <HotKeyView hot={collection.hot} />}
      <Facts facts={facts(collection, limit, trans)} />
      {collection.columns.length > 0 && (
        <Columns columns={collection.columns} n={collection.n_columns} />
      )}
      {collection.gaps.map((gap, i) => (
        <p key={i} className="jp-DaskDoctorPanel-note">
          {trans.__('Not known:')} <Prose text={gap} />
        </p>
      ))}
    </>
  );
}

function CollectionView(props: {
  collection: CollectionInfo;
  limit: number | null;
  places: IPlaces;
  isOpen: boolean;
}): JSX.Element {
  const { trans } = useTools();
  const { collection, limit, places, isOpen } = props;
  const words = [kindWords(collection, trans), piecesWords(collection, trans)];
  if (collection.kind !== 'delayed' || collection.nbytes !== null) {
    words.push(sizeWords(collection.nbytes, trans));
  }
  if (collection.is_eager) {
    words.push(trans.__('a look at it would start a computation'));
  }
  return (
    <Entry
      title={<code>{cut(collection.name, MAX_NAME)}</code>}
      tags={
        collection.is_persisted &&
        collection.kind !== 'futures' && (
          <span className="jp-DaskDoctorPanel-badge jp-mod-safe">
            {trans.__('persisted')}
          </span>
        )
      }
      facts={words}
      at={collection.at}
      places={places}
      isOpen={isOpen}
    >
      {() => <Details collection={collection} limit={limit} />}
    </Entry>
  );
}

/** Its name, so that what is open stays open; names that were cut may be alike. */
function uniqueKey(
  name: string,
  i: number,
  all: readonly CollectionInfo[]
): string {
  return all.findIndex(each => each.name === name) === i
    ? name
    : `${name} ${i}`;
}

export function DataView(props: {
  collections: readonly CollectionInfo[];
  /** Bytes that one partition may have on a worker. */
  limit: number | null;
  places: IPlaces;
}): JSX.Element {
  const { trans } = useTools();
  const { collections, limit, places } = props;
  if (collections.length === 0) {
    return (
      <p className="jp-DaskDoctorPanel-note">
        {trans.__('No variable of this notebook holds a Dask collection.')}
      </p>
    );
  }
  return (
    <ul className="jp-DaskDoctorPanel-list">
      {collections.slice(0, MAX_COLLECTIONS).map((collection, i, all) => (
        <CollectionView
          key={uniqueKey(collection.name, i, all)}
          collection={collection}
          limit={limit}
          places={places}
          isOpen={collections.length === 1}
        />
      ))}
    </ul>
  );
}
