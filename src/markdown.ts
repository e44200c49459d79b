/** A report as Markdown, to be pasted into an issue or a chat. */
import type { Report } from './_schema';
import { comparison, cut, estimated, quantity, seconds } from './format';

/** Text that must not become markup: what Markdown or HTML would read as such is escaped. Code spans stay. */
function plain(text: string): string {
  return cut(text, 2000)
    .replace(/\s+/g, ' ')
    .replace(/[\\*_{}[\]()#|!~]/g, '\\$&')
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;');
}

/** A fence longer than any in the code. */
function fenced(code: string, language = 'python'): string {
  const longest = Math.max(2, ...(code.match(/`+/g) ?? []).map(x => x.length));
  const fence = '`'.repeat(longest + 1);
  return `${fence}${language}\n${cut(code, 20_000)}\n${fence}`;
}

export function reportMarkdown(
  report: Report,
  ignored: readonly string[]
): string {
  const lines: string[] = ['# Dask Doctor', ''];
  const findings = report.findings.filter(each => !ignored.includes(each.id));
  if (findings.length === 0) {
    const ran = report.checks.filter(
      check => check.outcome === 'passed' || check.outcome === 'found'
    ).length;
    lines.push(
      report.is_past
        ? `Seen last: nothing was found, ${ran} checks had run.`
        : `Nothing wrong: ${ran} checks ran.`,
      ''
    );
  }
  for (const treated of report.treated) {
    lines.push(
      `- treated, ${treated.status}: ${plain(comparison(treated.before, treated.after))} – ${plain(treated.message)}`
    );
  }
  for (const finding of findings) {
    lines.push('', `## ${finding.severity}: ${plain(finding.message)}`, '');
    if (finding.loss_seconds !== null) {
      const of =
        finding.of_seconds === null ? '' : ` of ${seconds(finding.of_seconds)}`;
      lines.push(`≈ ${seconds(finding.loss_seconds)}${of} lost`, '');
    }
    lines.push(plain(finding.why), '');
    if (finding.evidence.length > 0) {
      lines.push('| measured | value | limit |', '| --- | --- | --- |');
      for (const each of finding.evidence) {
        const value = quantity(each.value, each.unit);
        const limit =
          each.limit === null ? '' : quantity(each.limit, each.unit);
        lines.push(
          `| ${plain(each.label)} | ${plain(estimated(value, each.is_estimated))} | ${limit} |`
        );
      }
      lines.push('');
    }
    for (const detail of finding.details) {
      lines.push(`**${plain(detail.title)}**`, '');
      lines.push(fenced(detail.text, 'text'), '');
    }
    for (const fix of finding.fixes) {
      lines.push(`**${plain(fix.title)}** (${fix.applicability})`, '');
      lines.push(fenced(fix.code), '');
    }
  }
  const open = report.checks.filter(check => check.outcome === 'incomplete');
  if (open.length > 0) {
    lines.push('', 'Not checked:', '');
    for (const check of open) {
      lines.push(`- ${plain(check.title)}: ${plain(check.reason)}`);
    }
  }
  return `${lines
    .join('\n')
    .replace(/\n{3,}/g, '\n\n')
    .trim()}\n`;
}
