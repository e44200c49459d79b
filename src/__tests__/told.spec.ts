import { bounded, KEPT_SECONDS, merge } from '../told';
import { point, reply, report } from './healthy';

describe('merge', () => {
  it('appends new points and leaves out those it has', () => {
    const first = merge(null, reply({ rev: 2, memory: [point({ rev: 1 })] }));
    const second = merge(
      first,
      reply({ rev: 3, memory: [point({ rev: 1 }), point({ rev: 3 })] })
    );
    expect(second.memory.map(each => each.rev)).toEqual([1, 3]);
  });

  it('keeps the report when none came, and takes the new one when it did', () => {
    const first = merge(null, reply({ report: report({ time: 5 }) }));
    const kept = merge(first, reply({ rev: 2, report: null }));
    expect(kept.report?.time).toBe(5);
    const replaced = merge(
      kept,
      reply({ rev: 3, report: report({ time: 9 }) })
    );
    expect(replaced.report?.time).toBe(9);
  });

  it('begins anew with another session', () => {
    const first = merge(null, reply({ memory: [point({ rev: 50 })] }));
    const next = merge(
      first,
      reply({ session: 's2', report: null, memory: [point({ rev: 1 })] })
    );
    expect(next.memory.map(each => each.rev)).toEqual([1]);
    expect(next.report).toBeNull();
  });

  it('forgets points older than ten minutes, by the clock of the kernel', () => {
    const old = point({ rev: 1, time: 1000 - KEPT_SECONDS - 1 });
    const young = point({ rev: 2, time: 1000 - KEPT_SECONDS + 1 });
    expect(merge(null, reply({ memory: [old, young] })).memory).toEqual([
      young
    ]);
  });
});

describe('bounded', () => {
  it('counts bytes, not characters, and leaves out only what does not fit', () => {
    const cells = [
      { id: 'a', source: 'xx' },
      { id: 'b', source: '😀😀' },
      { id: 'c', source: 'yy' }
    ];
    expect(bounded(cells, 12).map(cell => cell.id)).toEqual(['a', 'b', 'c']);
    expect(bounded(cells, 11).map(cell => cell.id)).toEqual(['a', 'b']);
    expect(bounded(cells, 9).map(cell => cell.id)).toEqual(['a', 'c']);
  });
});
