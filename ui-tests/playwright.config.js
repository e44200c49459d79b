/** Browser tests: JupyterLab as `make test` installs it, in the Chromium of the machine. */
import { existsSync } from 'node:fs';

import base from '@jupyterlab/galata/lib/playwright-config.js';

const CHROMIUM = [
  process.env.CHROMIUM_PATH,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'
].find(path => path && existsSync(path));

const PORT = process.env.UI_TEST_PORT ?? '8998';
const baseURL = `http://127.0.0.1:${PORT}`;

export default {
  ...base,
  // Benchmarks print and assert no speed; `make bench` runs them.
  testDir: process.env.UI_BENCH ? './bench' : './tests',
  outputDir: '../test-results',
  reporter: process.env.CI
    ? [['list']]
    : [
        ['list'],
        ['html', { open: 'never', outputFolder: '../playwright-report' }]
      ],
  // A real cluster and two cores: one test at a time.
  workers: 1,
  // One more try where nobody watches; what needed it is told as flaky.
  retries: process.env.CI ? 1 : 0,
  timeout: 120_000,
  expect: { timeout: 20_000 },
  use: {
    ...base.use,
    baseURL,
    // A recording needs a download of ffmpeg.
    video: 'off',
    trace: 'retain-on-failure',
    launchOptions: {
      executablePath: CHROMIUM,
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync'
      ]
    }
  },
  webServer: {
    command:
      'mkdir -p .make/logs && jupyter lab --config ui-tests/jupyter_server_test_config.py > .make/logs/ui-server.log 2>&1',
    cwd: '..',
    url: `${baseURL}/lab`,
    env: { UI_TEST_PORT: PORT },
    timeout: 120_000,
    reuseExistingServer: !process.env.CI
  }
};
