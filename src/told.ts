/** What is known of a kernel, reply after reply, and what of a notebook may be told to it: both bounded. */
import type { CellText, CollectionInfo, MemoryPoint, Reply } from './_schema';

/** Memory points older than this, by the kernel's clock, are forgotten. */
export const KEPT_SECONDS = 600;
/** All cells together are cut off at this many bytes of UTF-8. */
export const CELLS_NBYTES = 256 * 1024;

/**
 * What is known after a reply: its memory points appended to the earlier ones, the last report kept when it
 * brought none. A new session of the kernel's side begins with nothing.
 */
export function merge(known: Reply | null, reply: Reply): Reply {
  const before = known && known.session === reply.session ? known : null;
  const last = before?.memory.at(-1)?.rev ?? -1;
  const points: MemoryPoint[] = [
    ...(before?.memory ?? []),
    ...reply.memory.filter(point => point.rev > last)
  ];
  const oldest = reply.time - KEPT_SECONDS;
  return {
    ...complete(reply),
    memory: points.filter(point => point.time >= oldest),
    report: reply.report ?? before?.report ?? null
  };
}

/** What a kernel's side that does not know of a field would say. */
const UNTOLD: Omit<
  CollectionInfo,
  | 'name'
  | 'kind'
  | 'npartitions'
  | 'nbytes'
  | 'largest'
  | 'is_persisted'
  | 'is_eager'
  | 'sizes'
  | 'at'
> = {
  rows: null,
  n_rows: null,
  has_exact_rows: false,
  columns: [],
  n_columns: null,
  has_known_divisions: null,
  shape: [],
  chunks: [],
  dtype: null,
  reads: [],
  n_reads: 0,
  n_tasks: null,
  fused_tasks: null,
  held_by: [],
  wrapped_by: null,
  type: null,
  unlike: [],
  hot: null,
  gaps: []
};

/** A reply of an older kernel's side lacks what was added since; the server fills it in, where there is one. */
function complete(reply: Reply): Reply {
  return {
    ...reply,
    collections: reply.collections.map(each => ({ ...UNTOLD, ...each })),
    graphs: reply.graphs ?? [],
    hidden_jobs: reply.hidden_jobs ?? []
  };
}

/** The cells that may be sent: in their order, without those that would go beyond the bound. */
export function bounded(
  cells: readonly CellText[],
  nbytes = CELLS_NBYTES
): CellText[] {
  const encoder = new TextEncoder();
  let left = nbytes;
  return cells.filter(({ source }) => {
    // A text has at least as many bytes as UTF-16 units: do not encode what cannot fit.
    const size =
      source.length > left ? Infinity : encoder.encode(source).length;
    if (size > left) {
      return false;
    }
    left -= size;
    return true;
  });
}
