// Chromium without a window, for tests that are pages.
//
//   FANFARE_CHROMIUM   the browser (else /usr/bin/chromium)

import { chromium } from 'playwright-core';

/** A browser that talks to nobody but this machine. Whoever launches it closes it. */
export function launch() {
  return chromium.launch({
    executablePath: process.env.FANFARE_CHROMIUM ?? '/usr/bin/chromium',
    timeout: 30_000,
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync',
      '--no-proxy-server',
      // Names of pages that are not ours: they are served by the tests.
      '--host-resolver-rules=MAP *.example 127.0.0.1'],
  });
}
