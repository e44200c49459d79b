/** Numbers into words: bytes, seconds, counts; and texts cut to a length that a view can bear. */
import type { Evidence, Finding, Measure } from './_schema';

export type Unit = Evidence['unit'];

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
const COUNT = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });
/** A text longer than this is cut wherever it is shown. */
export const MAX_TEXT = 600;
/** Source code longer than this is cut in a preview. */
export const MAX_CODE = 20_000;

function digits(value: number): string {
  const size = Math.abs(value);
  if (!Number.isFinite(value)) {
    return '–';
  }
  if (size >= 100 || Number.isInteger(value)) {
    return COUNT.format(value);
  }
  const text = value.toFixed(size >= 10 ? 0 : size >= 1 ? 1 : 2);
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
}

/** 2040109465 → "1.9 GiB". */
export function bytes(value: number): string {
  let size = value;
  let unit = 0;
  while (Math.abs(size) >= 1000 && unit < BYTE_UNITS.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${digits(unit === 0 ? Math.round(size) : size)} ${BYTE_UNITS[unit]}`;
}

/** 0.0312 → "31 ms", 52.4 → "52 s", 200 → "3 min 20 s", 7500 → "2 h 5 min". */
export function seconds(value: number): string {
  if (!Number.isFinite(value)) {
    return '–';
  }
  if (value < 0) {
    return `-${seconds(-value)}`;
  }
  if (value < 0.9995) {
    return `${digits(Math.round(value * 1000))} ms`;
  }
  if (value < 119.5) {
    return `${digits(value)} s`;
  }
  const whole = Math.round(value);
  const [big, small, words] =
    whole < 7200
      ? [Math.floor(whole / 60), whole % 60, ['min', 's']]
      : [
          Math.floor(whole / 3600),
          Math.floor((whole % 3600) / 60),
          ['h', 'min']
        ];
  const head = `${COUNT.format(big)} ${words[0]}`;
  return small ? `${head} ${small} ${words[1]}` : head;
}

/** 12345 → "12,345". */
export function count(value: number): string {
  return digits(Math.round(value));
}

/** A value with its unit in words. A share of 0.45 is "45 %", a ratio of 23 is "23×". */
export function quantity(value: number | string, unit: Unit): string {
  if (typeof value === 'string') {
    return cut(value);
  }
  switch (unit) {
    case 'bytes':
      return bytes(value);
    case 'seconds':
      return seconds(value);
    case 'share':
      return `${digits(value * 100)} %`;
    case 'ratio':
      return `${digits(value)}×`;
    case 'count':
      return count(value);
    default:
      return digits(value);
  }
}

/** An estimate looks like one. */
export function estimated(text: string, isEstimated: boolean): string {
  return isEstimated ? `≈ ${text}` : text;
}

/** At most `length` UTF-16 units of a text, with an ellipsis, never half a character. */
export function cut(text: string, length = MAX_TEXT): string {
  if (text.length <= length) {
    return text;
  }
  const last = text.charCodeAt(length - 1);
  const end = last >= 0xd800 && last <= 0xdbff ? length - 1 : length;
  return `${text.slice(0, end)}…`;
}

/** The pieces of a text of which every second one stood between backticks. */
export function codeSpans(text: string): { text: string; isCode: boolean }[] {
  const parts = cut(text).split('`');
  if (parts.length % 2 === 0) {
    // An odd backtick is just a character.
    const tail = parts.pop() as string;
    parts[parts.length - 1] += `\`${tail}`;
  }
  return parts
    .map((part, i) => ({ text: part, isCode: i % 2 === 1 }))
    .filter(part => part.text !== '');
}

/** Of a number of findings: how many of each severity that counts, and the time they cost together. */
export interface ITally {
  critical: number;
  warning: number;
  info: number;
  /** Estimated seconds lost, of so many that the ailing cells took; null when no finding tells. */
  lost: number | null;
  of: number | null;
}

export function tally(findings: readonly Finding[]): ITally {
  const result: ITally = {
    critical: 0,
    warning: 0,
    info: 0,
    lost: null,
    of: null
  };
  // Several findings of one cell share its time: together they cannot cost more than it took.
  const cells = new Map<string, { lost: number; of: number }>();
  for (const finding of findings) {
    result[finding.severity] += 1;
    if (
      finding.severity === 'info' ||
      finding.loss_seconds === null ||
      finding.of_seconds === null
    ) {
      continue;
    }
    const key = finding.at?.cell_id ?? '';
    const cell = cells.get(key) ?? { lost: 0, of: 0 };
    cell.lost += finding.loss_seconds;
    cell.of = Math.max(cell.of, finding.of_seconds);
    cells.set(key, cell);
  }
  for (const { lost, of } of cells.values()) {
    result.lost = (result.lost ?? 0) + Math.min(lost, of);
    result.of = (result.of ?? 0) + of;
  }
  return result;
}

/** The measures that both sides have, in words. */
export function compared(
  before: readonly Measure[],
  after: readonly Measure[]
): { label: string; before: string; after: string }[] {
  return before.flatMap((old, i) => {
    const now = after[i];
    return now && now.label === old.label
      ? [
          {
            label: cut(old.label, 80),
            before: quantity(old.value, old.unit),
            after: quantity(now.value, now.unit)
          }
        ]
      : [];
  });
}

/** "run time 52 s → 19 s, peak memory 3.8 GiB → 1.2 GiB". */
export function comparison(
  before: readonly Measure[],
  after: readonly Measure[]
): string {
  return compared(before, after)
    .map(each => `${each.label} ${each.before} → ${each.after}`)
    .join(', ');
}
