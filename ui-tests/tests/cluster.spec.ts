/** A computation that hangs: its call stacks, the Cluster section, the vital signs; and a cluster that is closed. */
import AxeBuilder from '@axe-core/playwright';

import { CLUSTER, expect, PANEL, test } from './doctor';

test.setTimeout(240_000);

test('a stalled computation shows where it stands, and what its cluster is', async ({
  doctor,
  page
}, info) => {
  const check = async (name: string) => {
    await page.waitForTimeout(1_500);
    await doctor.panel.screenshot({ path: info.outputPath(`${name}.png`) });
    const { violations } = await new AxeBuilder({ page }).include(`#${PANEL}`).analyze();
    expect(violations.map(v => `${v.id}: ${v.nodes.map(n => n.html).join(' | ')}`)).toEqual([]);
  };
  await page.setViewportSize({ width: 1440, height: 1400 });
  await page.sidebar.close('left');
  await doctor.openExample('scheduling', 'stalled-computation');
  await doctor.run('cluster');
  await doctor.start('work');

  const card = doctor.panel.locator('[data-finding="stalled-computation:load"]');
  await expect(card).toContainText('Critical', { timeout: 90_000 });
  await doctor.unfold(card);
  const stack = card.locator('details').first();
  await expect(stack.locator('pre')).toBeHidden();
  await stack.locator('summary').click();
  await expect(stack.locator('pre')).toContainText('gather');
  await stack.scrollIntoViewIfNeeded();
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await stack.getByRole('button', { name: 'Copy the text' }).click();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toContain('gather');

  const signs = doctor.panel.locator('.jp-DaskDoctorPanel-vitals details');
  await signs.locator('summary').click();
  await expect(signs).toContainText('Fullest worker');
  await doctor.section('Memory').click();
  await doctor.section('Cluster').click();
  const facts = doctor.panel.locator('dl.jp-mod-wide');
  await expect(facts).toContainText('LocalCluster cluster');
  await expect(facts).toContainText('2 × 1 thread, 500 MiB each');
  await expect(facts).toContainText('target 60 % · spill 70 % · pause 80 % · terminate 95 %');
  await expect(facts).toContainText('worker-');
  await doctor.panel.locator('summary', { hasText: 'Looked for, not found' }).click();

  for (const width of [420, 280]) {
    await page.sidebar.setWidth(width, 'right');
    await check(`cluster-${width}`);
    // Nothing is wider than the panel.
    const over = await doctor.panel
      .locator('.jp-DaskDoctorPanel-scroll')
      .evaluate(node => node.scrollWidth - node.clientWidth);
    expect(over).toBeLessThanOrEqual(0);
  }
  await page.theme.setDarkTheme();
  await check('cluster-dark');
  await doctor
    .section('Memory')
    .evaluate(node => node.scrollIntoView({ block: 'start' }));
  await check('cluster-dark-sections');
});

test('of a cluster that was closed is told what was seen last', async ({ doctor }) => {
  await doctor.openNew('closed.ipynb', {
    cluster: CLUSTER,
    close: 'client.close()\ncluster.close()'
  });
  await doctor.run('cluster');
  const verdict = doctor.findings.locator('.jp-DaskDoctorPanel-verdict');
  await expect(verdict).toContainText('Nothing wrong');
  await doctor.run('close');
  await expect(verdict).toContainText('Seen last', { timeout: 30_000 });
  await expect(verdict).not.toContainText('Nothing wrong');
  await expect(doctor.panel).toContainText('what was seen last');
});
