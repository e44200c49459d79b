/** How it looks, for a person to judge, and whether everybody can use it. With `DOCTOR_IMAGES=1` (see
 * `make images`) the pictures are kept in docs/images. */
import { join } from 'node:path';

import AxeBuilder from '@axe-core/playwright';

import { expect, PANEL, test } from './doctor';

test.setTimeout(240_000);

const KEPT = process.env.DOCTOR_IMAGES ? join(__dirname, '..', '..', 'docs', 'images') : null;

test('both themes, a narrow panel, no violation of accessibility', async ({ doctor, page }, info) => {
  const keep = async (name: string, whole = false) => {
    const path = KEPT ? join(KEPT, `${name}.png`) : info.outputPath(`${name}.png`);
    await (whole ? page.screenshot({ path }) : doctor.panel.screenshot({ path }));
  };
  const check = async () => {
    const { violations } = await new AxeBuilder({ page }).include(`#${PANEL}`).analyze();
    expect(violations.map(v => `${v.id}: ${v.nodes.map(n => n.html).join(' | ')}`)).toEqual([]);
  };
  await page.setViewportSize({ width: 1440, height: 1000 });
  await page.sidebar.close('left');
  await doctor.openDemo();
  await page.sidebar.setWidth(280, 'right');
  await keep('nothing-yet');
  await check();

  await doctor.run('cluster', 'orders', 'score', 'events', 'powers');
  const card = doctor.card('Partition 17 of orders');
  await doctor.unfold(card);
  await expect(card.locator('.bk-Figure').first()).toBeVisible();
  await expect(doctor.card(/events was computed/)).toBeVisible();
  await keep('panel-280');
  await check();

  await page.sidebar.setWidth(420, 'right');
  await page.waitForTimeout(1_000);
  await keep('lab-light', true);
  await keep('panel-light');
  for (const name of ['Data', 'Graph', 'Memory']) {
    await doctor.section(name).click();
  }
  const top = (name: string) =>
    doctor.section(name).evaluate(node => node.scrollIntoView({ block: 'start' }));
  await doctor.body('Data').getByRole('button', { name: 'orders', exact: true }).click();
  await doctor.body('Graph').getByRole('button', { name: /^events.*compute/ }).click();
  await expect(doctor.body('Data').locator('.bk-Figure').first()).toBeVisible();
  await page.waitForTimeout(4_000);
  await top('Data');
  await keep('sections-light');
  await check();
  await top('Graph');
  await keep('graph-light');

  await page.theme.setDarkTheme();
  await page.waitForTimeout(3_000);
  await top('Data');
  await keep('sections-dark');
  await top('Graph');
  await keep('graph-dark');
  await card.scrollIntoViewIfNeeded();
  await keep('panel-dark');
  await keep('lab-dark', true);
  await check();
});
