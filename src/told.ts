/** What is known of a kernel, reply after reply, and what of a notebook may be told to it: both bounded. */
import type { CellText, MemoryPoint, Reply } from './_schema';

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
    ...reply,
    memory: points.filter(point => point.time >= oldest),
    report: reply.report ?? before?.report ?? null
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
