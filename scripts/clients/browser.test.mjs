// Chromium, as a person uses the playground: on each transport, through a restart of the node, on a
// phone, in the dark, where publishing is off, and from pages of other origins.
//
// Screenshots are left in target/screenshots, to be looked at.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import test, { after, before } from 'node:test';
import { promisify } from 'node:util';
import { launch } from './chromium.mjs';
import { DRIVER, LIMIT, PATIENCE_MS, TOP, atEnd, startNode, until, within } from './node.mjs';
import { startProxy } from './proxy.mjs';

const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 360, height: 740 };
const SHOTS = path.join(TOP, 'target/screenshots');
const GAUGES = { ws: 'fanfare_websockets', sse: 'fanfare_event_streams', poll: 'fanfare_polls' };
const TRANSPORTS = { ws: 'WebSocket', sse: 'EventSource', poll: 'Long-poll' };

let browser;
before(async () => {
  mkdirSync(SHOTS, { recursive: true });
  browser = await launch();
}, { timeout: 60_000 });
after(() => browser?.close());

/** A page that must not fail: an error in its script or of its policy fails the test. */
async function open(t, target, options = {}) {
  const context = await browser.newContext({ viewport: DESKTOP, ...options });
  context.setDefaultTimeout(PATIENCE_MS);
  atEnd(t, () => context.close());
  const page = await context.newPage();
  page.faults = [];
  page.on('pageerror', (error) => page.faults.push(String(error)));
  page.on('console', (message) => {
    // That a server is away is what these tests are about; Chromium logs it as an error.
    const expected = /ERR_CONNECTION_|ERR_EMPTY|ERR_INCOMPLETE|status of (403|502)|WebSocket conn/;
    if (message.type() === 'error' && !expected.test(message.text())) {
      page.faults.push(message.text());
    }
  });
  await page.goto(target);
  return page;
}

const state = (page, wanted) => page.waitForSelector(`#state[data-state=${wanted}]`);
const row = (page, offset) => page.waitForSelector(
  `#log li[data-kind=message][data-offset="${offset}"]`);
const text = (page, selector) => page.locator(selector).innerText();
const screenshot = (page, name) => page.screenshot({
  path: path.join(SHOTS, `${name}-${DRIVER}.png`), fullPage: true });

/** Publishes from the page and waits for the message on it. */
async function publish(page, data, offset, seen = data) {
  const before = await text(page, '#publish-answer');
  await page.fill('#pub-data', data);
  await page.click('#publish');
  const said = await until('an answer', async () => {
    const now = await text(page, '#publish-answer');
    return now !== before && now;
  });
  const answer = new RegExp(`^Published as #${offset}, id (\\S+), to \\d+ subscribers?\\.$`);
  assert.match(said, answer);
  const [, id] = said.match(answer);
  const shown = page.locator(`#log li[data-kind=message][data-id="${id}"]`);
  await shown.locator('.latency').waitFor();
  assert.equal(await shown.getAttribute('data-offset'), String(offset));
  assert.equal(await shown.locator('pre').innerText(), seen);
  const latency = await shown.locator('.latency').innerText();
  assert.match(latency, /^\d+\.\d ms$/);
  assert.ok(parseFloat(latency) < 2_000, latency);
}

/** Nothing sticks out to the side. */
async function fits(page) {
  const wide = await page.evaluate(() => ({
    page: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    parts: [...document.querySelectorAll('body *')]
      .filter((part) => part.getBoundingClientRect().right > innerWidth + 1
        && getComputedStyle(part).clipPath === 'none')
      .map((part) => part.id || part.tagName),
  }));
  assert.deepEqual(wide, { page: 0, parts: [] });
}

for (const [transport, title] of Object.entries(TRANSPORTS)) {
  test(`${title}: publish, see, restart, resume`, LIMIT, async (t) => {
    const node = await startNode(t);
    const page = await open(t, `${node.http}/`);
    await state(page, 'live');
    await page.getByLabel(title, { exact: true }).check();
    await page.waitForFunction((name) => location.hash.includes(`transport=${name}`), transport);
    await state(page, 'live');
    // What the page says it uses is what the node sees.
    await until(`the node has one ${transport}`, async () => {
      const metrics = await (await fetch(`${node.apiHttp}/metrics`)).text();
      return new RegExp(`^${GAUGES[transport]}\\{.*\\} 1$`, 'm').test(metrics);
    });
    await publish(page, 'first words', 1);
    await publish(page, '{"second":true}', 2, '{\n  "second": true\n}');
    const { id } = await node.publish('demo', 'of a backend');
    await row(page, 3);
    assert.equal(await text(page, '#count'), '3');
    assert.equal(await page.locator('#log li[data-kind=gap]').count(), 0);
    const lastId = await text(page, '#last-id');
    assert.equal(lastId, id);

    await node.stop();
    await state(page, 'reconnecting');
    await screenshot(page, `away-${transport}`);
    await node.begin();
    await state(page, 'live');
    // It says from which id it went on, and that this id is of another life of the node.
    await page.waitForSelector(`#log li[data-resumed="${lastId}"]`);
    assert.equal(await text(page, '#resumed-from'), lastId);
    await page.waitForSelector('#log li[data-kind=gap][data-channel=demo][data-reason=epoch]');
    assert.ok(Number(await text(page, '#reconnects')) >= 1);
    await publish(page, 'after the restart', 1);
    assert.notEqual((await text(page, '#last-id')).split('-')[0], lastId.split('-')[0]);
    assert.equal(await page.locator('#log li[data-kind=message]').count(), 4, 'nothing twice');
    await fits(page);
    await screenshot(page, `desktop-${transport}`);

    await page.click('#connect');
    await state(page, 'idle');
    await until('the node has seen it leave', async () => (
      (await node.channel('demo')).subscribers === 0));
    assert.deepEqual(page.faults, []);
  });
}

test('when only the network breaks, nothing is missed', LIMIT, async (t) => {
  const node = await startNode(t);
  const proxy = await startProxy(t, node.listen);
  for (const transport of Object.keys(TRANSPORTS)) {
    const channel = `net-${transport}`;
    const page = await open(t, `${proxy.origin}/#transport=${transport}&channels=${channel}`);
    await state(page, 'live');
    const { id } = await node.publish(channel, 'before');
    await row(page, 1);
    const following = async () => (await node.channel(channel)).subscribers;
    await until('it follows', async () => await following() === 1); // a poll is back
    assert.ok(proxy.cut({ reset: true }) > 0);
    await until('the node has seen the end', async () => await following() === 0, 2_000)
      .catch(() => {}); // or the page is back already
    for (const word of ['missed', 'missed too']) await node.publish(channel, word);
    await row(page, 3);
    await node.publish(channel, 'after');
    await row(page, 4);
    await state(page, 'live');
    // Chromium sends a poll again by itself when a connection that was kept is found to be broken.
    if (transport !== 'poll') await page.waitForSelector(`#log li[data-resumed="${id}"]`);
    assert.equal(await page.locator('#log li[data-kind=message]').count(), 4, 'nothing twice');
    assert.equal(await page.locator('#log li[data-kind=gap]').count(), 0);
    assert.deepEqual(page.faults, []);
    await page.context().close();
  }
});

test('named events, several channels, and payloads that look like markup', LIMIT, async (t) => {
  const node = await startNode(t);
  for (const transport of Object.keys(TRANSPORTS)) {
    const page = await open(t,
      `${node.http}/#transport=${transport}&channels=one-${transport},two-${transport}&names=paid`);
    await state(page, 'live');
    const markup = '<img src=x onerror="document.title=1"><b>bold</b>';
    await node.publish(`one-${transport}`, markup, { event: 'paid' });
    await node.publish(`two-${transport}`, 'plain');
    const shown = await page.waitForSelector(`#log li[data-channel=one-${transport}]`);
    assert.equal(await (await shown.$('pre')).innerText(), markup);
    assert.equal(await (await shown.$('.event')).innerText(), 'paid');
    await page.waitForSelector(`#log li[data-channel=two-${transport}]`);
    assert.equal(await page.locator('#log img, #log b').count(), 0);
    assert.equal(await page.title(), 'Fanfare playground');
    assert.deepEqual(page.faults, []);
    await page.context().close();
  }
});

test('a refused event name is not kept, and its refusal until the next word', LIMIT, async (t) => {
  const node = await startNode(t);
  const page = await open(t, `${node.http}/#transport=sse`);
  await state(page, 'live');
  await page.fill('#pub-event', 'fanfare.mine');
  await page.click('#publish');
  await page.waitForSelector('#publish-answer.bad');
  assert.equal(await page.inputValue('#names'), '');
  await page.fill('#pub-event', 'paid');
  assert.equal(await text(page, '#publish-answer'), '');
  await publish(page, 'under a name', 1);
  assert.equal(await page.inputValue('#names'), 'paid');
  await page.waitForSelector('#log li[data-kind=message] .event');
});

test('the line of a backend is right with a key and any address', LIMIT, async (t) => {
  const key = 'a-key-of-16-or-more';
  const node = await startNode(t, { toml: `api_key = "${key}"` });
  const page = await open(t, `${node.http}/#pub-channel=it's`);
  await state(page, 'live');
  const line = await text(page, '#curl-api');
  const env = { ...process.env, FANFARE_API: `127.0.0.1:${node.api}`, FANFARE_API_KEY: key };
  const { stdout } = await promisify(execFile)('sh', ['-c', line], { env });
  assert.equal(JSON.parse(stdout).offset, 1, stdout);
});

test('a phone: nothing sticks out, and everything is within reach', LIMIT, async (t) => {
  const node = await startNode(t);
  const page = await open(t, `${node.http}/`,
    { viewport: PHONE, deviceScaleFactor: 2, isMobile: true, hasTouch: true });
  await state(page, 'live');
  await fits(page);
  await publish(page, 'hello, phone', 1);
  await node.publish('demo', `a-long-word-${'x'.repeat(400)}`);
  await node.publish('demo', JSON.stringify({ nested: { deep: ['y'.repeat(200)] } }));
  await row(page, 3);
  await fits(page);
  const small = await page.evaluate(() => [...document.querySelectorAll('button, .choice label')]
    .filter((part) => part.checkVisibility() && part.getBoundingClientRect().height < 28)
    .map((part) => part.textContent));
  assert.deepEqual(small, [], 'too small for a finger');
  await screenshot(page, 'phone');
  await node.stop();
  await state(page, 'reconnecting');
  await fits(page);
  await node.begin();
  await page.waitForSelector('#log li[data-kind=gap]');
  await fits(page);
  await screenshot(page, 'phone-resumed');
  assert.deepEqual(page.faults, []);
});

test('the dark', LIMIT, async (t) => {
  const node = await startNode(t);
  const page = await open(t, `${node.http}/`, { colorScheme: 'dark' });
  await state(page, 'live');
  await publish(page, 'good night', 1);
  await node.publish('demo', 'a word', { event: 'greeting' });
  await row(page, 2);
  await node.stop();
  await node.begin();
  await page.waitForSelector('#log li[data-kind=gap]');
  await screenshot(page, 'dark');
  const [ink, ground] = await page.evaluate(() => [getComputedStyle(document.body).color,
    getComputedStyle(document.body).backgroundColor]);
  const light = (color) => color.match(/\d+/g).slice(0, 3).reduce((sum, part) => sum + +part, 0);
  assert.ok(light(ink) > 500 && light(ground) < 150, `${ink} on ${ground}`);
});

test('without development mode the page explains how to publish', LIMIT, async (t) => {
  const node = await startNode(t, { flags: ['--no-dev'] });
  const page = await open(t, `${node.http}/`);
  await state(page, 'live');
  // A form that nobody would take is not shown.
  assert.ok(await page.locator('#publish-form').isHidden());
  assert.ok(await page.locator('#shell-publish').isHidden());
  assert.match(await text(page, '#no-publish'), /development mode/);
  assert.ok(await page.locator('#curl-api').isVisible());
  await node.publish('demo', 'over the API');
  await row(page, 1);
  await screenshot(page, 'no-dev');
  assert.deepEqual(page.faults, []);
});

test('a page of a foreign origin is refused, of a listed one served', LIMIT, async (t) => {
  const server = http.createServer((_, answer) => {
    answer.setHeader('Content-Type', 'text/html').end('<!doctype html><title>elsewhere</title>');
  });
  await new Promise((listening) => { server.listen(0, '127.0.0.1', listening); });
  atEnd(t, () => { server.closeAllConnections(); server.close(); });
  const { port } = server.address();
  const listed = `http://listed.example:${port}`;
  const node = await startNode(t, { toml: `origins = ["${listed}"]` });
  const urls = { http: node.http, ws: node.ws };

  for (const origin of [`http://foreign.example:${port}`, listed]) {
    const page = await open(t, origin);
    // A page cannot see why it was refused, so that is asked of the browser itself.
    // Its two notices of a request may come in either order.
    const [paths, codes, socket] = [new Map(), new Map(), []];
    const statuses = () => Object.fromEntries([...paths].filter(([request]) => codes.has(request))
      .map(([request, name]) => [name, codes.get(request)]).concat(socket));
    const browserSays = await page.context().newCDPSession(page);
    browserSays.on('Network.requestWillBeSent', ({ requestId, request }) => {
      if (request.url.startsWith(node.http)) paths.set(requestId, new URL(request.url).pathname);
    });
    const phrases = new Set();
    browserSays.on('Network.responseReceivedExtraInfo', ({ requestId, statusCode, headersText }) => {
      codes.set(requestId, statusCode);
      const phrase = headersText?.match(/^HTTP\/1\.1 403 (.*)\r\n/)?.[1];
      if (phrase) phrases.add(phrase);
    });
    await browserSays.send('Network.enable');
    page.on('console', (message) => { // of a WebSocket it only writes it down
      const code = message.text().match(/\/ws\?.*Unexpected response code: (\d+)/)?.[1];
      if (code) socket.push(['/ws', Number(code)]);
    });
    await page.exposeFunction('publishNow', (word) => node.publish('c', word));
    const outcome = page.evaluate(async ({ http: base, ws }) => {
      const answers = {};
      answers.sse = await new Promise((resolve) => {
        const source = new EventSource(`${base}/sse?channels=c`);
        source.onopen = () => publishNow('to the stream');
        source.onmessage = (event) => { resolve(event.data); source.close(); };
        source.onerror = () => resolve(source.readyState === 2 ? 'refused' : 'retries');
      });
      answers.poll = await fetch(`${base}/poll?channels=c&wait=0`)
        .then(async (answer) => (await answer.json()).messages.length, () => 'refused');
      answers.ws = await new Promise((resolve) => {
        const socket = new WebSocket(`${ws}/ws?channels=c`);
        socket.onopen = () => publishNow('to the socket');
        socket.onmessage = (event) => { resolve(event.data); socket.close(); };
        socket.onclose = () => resolve('refused');
      });
      return answers;
    }, urls);
    if (origin === listed) {
      assert.deepEqual(await within(outcome, 'the page'),
        { sse: 'to the stream', poll: 0, ws: 'to the socket' });
    } else {
      assert.deepEqual(await within(outcome, 'the page'),
        { sse: 'refused', poll: 'refused', ws: 'refused' });
      await until('three refusals', () => Object.keys(statuses()).length === 3)
        .catch((error) => assert.fail(`${error.message}: ${JSON.stringify(statuses())}`));
      assert.deepEqual(statuses(), { '/sse': 403, '/poll': 403, '/ws': 403 });
      // What the console says, where the body is kept from the page, is what to do.
      assert.deepEqual([...phrases], ['Forbidden: list this origin in origins']);
    }
  }
});
