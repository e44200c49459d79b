import { safeLink } from '../commands';
import { reportMarkdown } from '../markdown';
import { evidence, finding, fix, report } from './healthy';

describe('reportMarkdown', () => {
  it('tells finding, loss, evidence and fix', () => {
    const text = reportMarkdown(report({ findings: [finding()] }), []);
    expect(text).toContain(
      '## warning: Partition 17 of `orders` holds 23× the median.'
    );
    expect(text).toContain('≈ 31 s of 52 s lost');
    expect(text).toContain('| largest partition | 1.9 GiB | 500 MiB |');
    expect(text).toContain(`\`\`\`python\n${fix().code}\n\`\`\``);
  });

  it('leaves out what is ignored', () => {
    const text = reportMarkdown(report({ findings: [finding()] }), [
      finding().id
    ]);
    expect(text).toBe('# Dask Doctor\n\nNothing wrong: 2 checks ran.\n');
  });

  it('lets no text become markup', () => {
    const evil = '<img src=x> [a](javascript:1)\n# head | cell';
    const text = reportMarkdown(
      report({
        findings: [
          finding({
            message: evil,
            why: evil,
            evidence: [evidence({ label: evil, value: evil, unit: 'text' })],
            fixes: [fix({ code: '```\n<script>', title: evil })]
          })
        ]
      }),
      []
    );
    expect(text).not.toContain('<img');
    expect(text).not.toMatch(/^# head/m);
    expect(text).not.toContain('](javascript');
    expect(text).toContain('````python\n```\n<script>\n````');
  });
});

describe('safeLink', () => {
  it.each(['http://127.0.0.1:8787/status', 'https://hub/user/a/status'])(
    'opens %s',
    link => {
      expect(safeLink(link)).toBe(link);
    }
  );

  it.each([
    'javascript:alert(1)',
    'data:text/html,x',
    'file:///x',
    'x',
    '',
    null
  ])('does not open %p', link => {
    expect(safeLink(link)).toBeNull();
  });
});
