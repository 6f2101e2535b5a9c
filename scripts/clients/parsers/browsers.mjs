// Three browser engines, each with the EventSource that it was built with: Chromium by Playwright,
// Firefox by its own WebDriver BiDi, and WebKitGTK by WebKitWebDriver on a display of its own.
// Whatever drives it, a page is a function that runs a script there and gives what it returns.

import { existsSync, mkdtempSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { chromium } from 'playwright-core';
import WebSocket from 'ws';
import { atEnd, folder, freePorts, start, until, within } from '../node.mjs';

const PATIENCE_MS = 60_000;

/** Chromium's page at `url`. */
async function chromiumPage(t, url) {
  const browser = await chromium.launch({
    executablePath: process.env.FANFARE_CHROMIUM ?? '/usr/bin/chromium',
    args: process.getuid() === 0 ? ['--no-sandbox'] : [],
  });
  atEnd(t, () => browser.close());
  const page = await browser.newPage();
  await page.goto(url);
  return (script) => page.evaluate(script);
}

/** Firefox's page at `url`. */
async function firefoxPage(t, url) {
  const [port] = await freePorts(1);
  const profile = mkdtempSync(path.join(folder(t), 'profile-'));
  const child = start(t, process.env.FANFARE_FIREFOX ?? 'firefox-esr', ['--headless', '--no-remote',
    '--profile', profile, '--remote-debugging-port', String(port), 'about:blank'],
  { env: { ...process.env, HOME: profile, MOZ_CRASHREPORTER_DISABLE: '1' } });
  await until('Firefox listens', () => child.said.includes('WebDriver BiDi listening'),
    PATIENCE_MS);
  const socket = new WebSocket(`ws://127.0.0.1:${port}/session`);
  await within(new Promise((resolve, reject) => {
    socket.on('open', resolve).on('error', reject);
  }), 'Firefox takes a session', PATIENCE_MS);
  const waiting = new Map();
  socket.on('message', (text) => {
    const { id, type, result, message } = JSON.parse(text);
    const { resolve, reject } = waiting.get(id) ?? { resolve() {}, reject() {} };
    if (type === 'error') reject(new Error(message)); else resolve(result);
  });
  let last = 0;
  const ask = (method, params) => within(new Promise((resolve, reject) => {
    last += 1;
    waiting.set(last, { resolve, reject });
    socket.send(JSON.stringify({ id: last, method, params }));
  }), `Firefox answers ${method}`, PATIENCE_MS);
  await ask('session.new', { capabilities: {} });
  const { contexts: [{ context }] } = await ask('browsingContext.getTree', {});
  await ask('browsingContext.navigate', { context, url, wait: 'complete' });
  return async (expression) => {
    const { result, exceptionDetails } = await ask('script.evaluate',
      { expression, target: { context }, awaitPromise: true });
    if (exceptionDetails) throw new Error(exceptionDetails.text);
    return result.value; // texts alone are asked for
  };
}

/** Debian lays it into a folder that is named after the machine. */
function miniBrowser() {
  const found = readdirSync('/usr/lib').map((name) => (
    `/usr/lib/${name}/webkit2gtk-4.1/MiniBrowser`)).find((file) => existsSync(file));
  if (!found) throw new Error('no MiniBrowser: apt-get install webkit2gtk-driver');
  return found;
}

/** WebKitGTK's page at `url`. */
async function webkitPage(t, url) {
  const [port] = await freePorts(1);
  // Without a display GTK does not start. -displayfd lets it choose a number that is free.
  const screen = start(t, 'Xvfb', ['-displayfd', '1', '-screen', '0', '800x600x24', '-nolisten',
    'tcp']);
  const display = () => screen.said.match(/^(\d+)\n/m)?.[1]; // between its warnings
  await until('Xvfb gives a display', display, PATIENCE_MS);
  const home = folder(t);
  const driver = start(t, 'WebKitWebDriver', [`--port=${port}`], {
    env: { ...process.env, DISPLAY: `:${display()}`, HOME: home, GDK_BACKEND: 'x11',
      XDG_RUNTIME_DIR: home, WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: '1', NO_AT_BRIDGE: '1',
      WEBKIT_DISABLE_COMPOSITING_MODE: '1' },
  });
  const ask = async (way, body, method = 'POST') => {
    const answer = await within(fetch(`http://127.0.0.1:${port}${way}`,
      { method, body: body && JSON.stringify(body) }), `WebKitWebDriver: ${way}`, PATIENCE_MS);
    const { value } = await answer.json();
    if (!answer.ok) throw new Error(`${way}: ${JSON.stringify(value)}\n${driver.said}`);
    return value;
  };
  await until('WebKitWebDriver listens', () => ask('/status', undefined, 'GET').then(() => true,
    () => false), PATIENCE_MS);
  const { sessionId } = await ask('/session', { capabilities: { alwaysMatch: {
    'webkitgtk:browserOptions': {
      binary: process.env.FANFARE_MINIBROWSER ?? miniBrowser(), args: ['--automation'],
    },
  } } });
  atEnd(t, () => ask(`/session/${sessionId}`, undefined, 'DELETE'));
  await ask(`/session/${sessionId}/url`, { url });
  return (script) => ask(`/session/${sessionId}/execute/sync`,
    { script: `return (${script});`, args: [] });
}

export const ENGINES = { Chromium: chromiumPage, Firefox: firefoxPage, WebKitGTK: webkitPage };
