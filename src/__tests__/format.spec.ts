import {
  bytes,
  codeSpans,
  comparison,
  cut,
  estimated,
  quantity,
  seconds,
  tally
} from '../format';
import { finding, GiB, MiB } from './healthy';

describe('bytes', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1010, '0.99 KiB'],
    [84 * MiB, '84 MiB'],
    [1.9 * GiB, '1.9 GiB'],
    [16 * GiB, '16 GiB'],
    [1010 * MiB, '0.99 GiB'],
    [-3 * GiB, '-3 GiB'],
    [NaN, '– B']
  ])('%p is %p', (value, words) => {
    expect(bytes(value)).toBe(words);
  });
});

describe('seconds', () => {
  it.each([
    [0, '0 ms'],
    [0.0312, '31 ms'],
    [0.9996, '1 s'],
    [3.84, '3.8 s'],
    [52.4, '52 s'],
    [200, '3 min 20 s'],
    [180, '3 min'],
    [7500, '2 h 5 min'],
    [-2, '-2 s'],
    [Infinity, '–']
  ])('%p is %p', (value, words) => {
    expect(seconds(value)).toBe(words);
  });
});

describe('quantity', () => {
  it('says the unit', () => {
    expect(quantity(0.45, 'share')).toBe('45 %');
    expect(quantity(23.4, 'ratio')).toBe('23×');
    expect(quantity(12_403, 'count')).toBe('12,403');
    expect(quantity('tcp://x', 'text')).toBe('tcp://x');
  });

  it('cuts a text of 10 MB', () => {
    expect(quantity('x'.repeat(10_000_000), 'text').length).toBeLessThan(1000);
  });

  it('marks an estimate, and only an estimate', () => {
    expect(estimated('1 GiB', true)).toBe('≈ 1 GiB');
    expect(estimated('1 GiB', false)).toBe('1 GiB');
  });
});

describe('cut', () => {
  it('leaves a short text alone', () => {
    expect(cut('abc', 3)).toBe('abc');
  });

  it('never cuts a character in two', () => {
    expect(cut('ab😀cd', 3)).toBe('ab…');
    expect(cut('ab😀cd', 4)).toBe('ab😀…');
  });
});

describe('codeSpans', () => {
  it('finds the names between backticks', () => {
    expect(codeSpans('a `b` c')).toEqual([
      { text: 'a ', isCode: false },
      { text: 'b', isCode: true },
      { text: ' c', isCode: false }
    ]);
  });

  it('takes an odd backtick for a character', () => {
    expect(codeSpans('a ` b')).toEqual([{ text: 'a ` b', isCode: false }]);
  });
});

describe('tally', () => {
  it('never counts what is only informative as lost time', () => {
    const result = tally([
      finding({ severity: 'info', loss_seconds: 50, of_seconds: 52 })
    ]);
    expect(result).toMatchObject({
      critical: 0,
      warning: 0,
      info: 1,
      lost: null
    });
  });

  it('does not let findings of one cell cost more than the cell took', () => {
    const result = tally([
      finding({ loss_seconds: 40, of_seconds: 52 }),
      finding({ loss_seconds: 30, of_seconds: 52, severity: 'critical' })
    ]);
    expect(result).toMatchObject({
      critical: 1,
      warning: 1,
      lost: 52,
      of: 52
    });
  });

  it('adds up different cells', () => {
    const other = { cell_id: 'z', execution_count: 9, line: null };
    const result = tally([
      finding({ loss_seconds: 10, of_seconds: 20 }),
      finding({ loss_seconds: 5, of_seconds: 30, at: other })
    ]);
    expect(result).toMatchObject({ lost: 15, of: 50 });
  });
});

describe('comparison', () => {
  it('tells both sides of each measure', () => {
    expect(
      comparison(
        [{ label: 'run time', value: 52, unit: 'seconds' }],
        [{ label: 'run time', value: 19, unit: 'seconds' }]
      )
    ).toBe('run time 52 s → 19 s');
  });

  it('is silent where the sides do not match', () => {
    expect(
      comparison(
        [{ label: 'run time', value: 52, unit: 'seconds' }],
        [{ label: 'peak memory', value: 19, unit: 'bytes' }]
      )
    ).toBe('');
  });
});
