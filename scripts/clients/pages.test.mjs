// Pages of an application in Chromium, on a node that asks clients who they are: each way that a
// page has to bring a token, from origins that are listed and that are not, and what a page is told
// when a token ends, is exchanged or is taken back. The lines that docs/CLIENTS.md gives to pages
// are run from there.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import test, { after, before } from 'node:test';
import { launch } from './chromium.mjs';
import { endOf, nameOf, signed, startAsking } from './identity.mjs';
import { LIMIT, PATIENCE_MS, TOP, atEnd, range, sleep, until, within } from './node.mjs';
import { startProxy } from './proxy.mjs';

let browser;
before(async () => { browser = await launch(); }, { timeout: 60_000 });
after(() => browser?.close());

/** A node, and an application whose pages come from the origins of `elsewhere`. The one called
 * `app` is listed. A name of the same site is what lets a browser send a cookie along. */
async function startSite(t, options) {
  const server = http.createServer((request, answer) => {
    const token = new URL(request.url, 'http://any').searchParams.get('signedIn');
    if (token) {
      answer.setHeader('Set-Cookie',
        `fan=${token}; Domain=site.example; Path=/; HttpOnly; SameSite=Lax`);
    }
    answer.setHeader('Content-Type', 'text/html').end('<!doctype html><title>a page</title>');
  });
  await new Promise((listening) => { server.listen(0, '127.0.0.1', listening); });
  atEnd(t, () => { server.closeAllConnections(); server.close(); });
  const elsewhere = (name) => `http://${name}:${server.address().port}`;
  const app = elsewhere('app.site.example');
  const node = await startAsking(t, { origins: [app], ...options });
  const at = (port) => `live.site.example:${port}`;
  return {
    node, app, elsewhere, at, http: `http://${at(node.listen)}`, ws: `ws://${at(node.listen)}`,
  };
}

async function open(t, target) {
  const context = await browser.newContext();
  context.setDefaultTimeout(PATIENCE_MS);
  atEnd(t, () => context.close());
  const page = await context.newPage();
  await page.goto(target);
  return page;
}

/** What something in a page has heard. */
class Heard {
  constructor(handle) { this.handle = handle; }
  all() { return this.handle.evaluate(({ log }) => log); }
  /** The first of it that fits, when it is there. */
  async first(what, fits) {
    return until(what, async () => (await this.all()).find(fits)).catch(async (error) => {
      throw new Error(`${error.message}: ${JSON.stringify(await this.all())}`);
    });
  }
  event(name) { return this.first(name, ({ event }) => event === name); }
  /** The messages with these offsets, in their order, each once. */
  async exactly(offsets) {
    await this.first(`offset ${offsets.at(-1)}`, ({ offset }) => offset === offsets.at(-1));
    const all = await this.all();
    assert.deepEqual(all.map(({ offset }) => offset).filter(Boolean), offsets);
    assert.deepEqual(all.filter(({ event }) => event === 'fanfare.gap'), []);
  }
}

/** A WebSocket of a page. What it sends first is `first`. */
const socketOf = async (page, url, { protocols = [], first } = {}) => new Heard(
  await page.evaluateHandle(([target, pair, words]) => {
    const log = [];
    const socket = new WebSocket(target, pair);
    socket.onopen = () => {
      log.push({ event: 'opened', protocol: socket.protocol });
      if (words !== null) socket.send(words);
    };
    socket.onmessage = ({ data }) => log.push(JSON.parse(data));
    socket.onclose = ({ code, reason }) => log.push({ event: 'closed', code, reason });
    return { log, socket };
  }, [url, protocols, first ?? null]));

/** An EventSource of a page, as the page sees it. */
const streamOf = async (page, url, options = {}) => new Heard(
  await page.evaluateHandle(([target, init]) => {
    const log = [];
    const source = new EventSource(`${target}&format=json&names=data`, init);
    source.onmessage = ({ data }) => log.push(JSON.parse(data));
    source.onerror = () => log.push({ event: 'failed', final: source.readyState === 2 });
    return { log, source };
  }, [url, options]));

/** What a page's `fetch` gives it to read: a status and what JSON says, or the error. */
const post = (page, url, token) => page.evaluate(([target, bearer]) => fetch(target, {
  method: 'POST', headers: { Authorization: `Bearer ${bearer}` },
}).then(async (answer) => {
  const text = await answer.text();
  return { status: answer.status, ...text.startsWith('{') && JSON.parse(text) };
}, String), [url, token]);

const pairOf = (token) => ['fanfare', `fanfare.bearer.${token}`];
const firstOf = (token) => JSON.stringify({ token });

/** The function `follow` of docs/CLIENTS.md, run in a page. The tokens are what `next` gives, one
 * each time. */
async function documented(page, kind, { base, channel, next }) {
  const text = readFileSync(path.join(TOP, 'docs/CLIENTS.md'), 'utf8');
  const [, block] = text.match(
    new RegExp(`<!-- run by scripts/clients/pages.test.mjs: ${kind} -->\n\n((?: {4}.*\n)+)`));
  const name = `token${documented.count += 1}`;
  await page.exposeFunction(name, next);
  return new Heard(await page.evaluateHandle(([lines, from, followed, token]) => {
    const log = [];
    const follow = new Function(`${lines}; return follow;`)();
    follow(from, followed, () => globalThis[token](), (message) => log.push(message));
    return { log };
  }, [block, base, channel, name]));
}
documented.count = 0;

/** Both of docs/CLIENTS.md, each with its base at `site` or behind `port`. */
const kinds = (site, port = site.node.listen) => [
  ['socket', `ws://${site.at(port)}`], ['stream', `http://${site.at(port)}`]];

test('a cookie speaks for its user from a listed page, and from no other', LIMIT, async (t) => {
  const site = await startSite(t);
  const token = await signed();
  const page = await open(t, `${site.app}/?signedIn=${token}`);
  const heard = [
    await socketOf(page, `${site.ws}/ws?channels=room:1&format=json`),
    await streamOf(page, `${site.http}/sse?channels=room:1`, { withCredentials: true }),
  ];
  for (const each of heard) await each.event('fanfare.open');
  await site.node.publish('room:1', 'to ann');
  for (const each of heard) await each.exactly([1]);

  // The browser sends it from there too, and it is another that must not be believed.
  const other = await page.context().newPage();
  await other.goto(site.elsewhere('evil.site.example'));
  const proxy = await startProxy(t, site.node.listen);
  const behind = site.at(new URL(proxy.origin).port);
  const socket = await socketOf(other, `ws://${behind}/ws?channels=room:1&format=json`);
  assert.equal((await socket.event('closed')).code, 1006);
  const stream = await streamOf(other, `http://${behind}/sse?channels=room:1`,
    { withCredentials: true });
  assert.deepEqual(await stream.event('failed'), { event: 'failed', final: true });
  for (const name of ['ws', 'sse']) {
    const [, head] = proxy.asked.match(new RegExp(`GET /${name}[?]([^]*?)\r\n\r\n`));
    assert.ok(head.includes(`fan=${token}`), head);
  }
  assert.equal((await socket.all()).length + (await stream.all()).length, 2);
});

test("a cookie on the node's own page, and behind a picture of another's", LIMIT, async (t) => {
  const site = await startSite(t);
  const token = await signed();
  const page = await open(t, `${site.node.http}/healthz`);
  const cookie = { name: 'fan', value: token, httpOnly: true, sameSite: 'Lax' };
  await page.context().addCookies([
    { ...cookie, url: site.node.http }, { ...cookie, domain: '.site.example', path: '/' }]);
  const heard = [
    await socketOf(page, `${site.node.ws}/ws?channels=room:1&format=json`),
    await streamOf(page, '/sse?channels=room:1'), // a browser sends no Origin with it
  ];
  for (const each of heard) await each.event('fanfare.open');
  await site.node.publish('room:1', 'to ann');
  for (const each of heard) await each.exactly([1]);

  // Over plain HTTP to another name it says nothing of the page at all.
  const plain = await page.context().newPage();
  await plain.goto(`${site.http}/healthz`);
  await (await socketOf(plain, `${site.ws}/ws?channels=room:1&format=json`)).event('fanfare.open');
  const refused = await (await streamOf(plain, '/sse?channels=room:1')).event('failed');
  assert.deepEqual(refused, { event: 'failed', final: true });

  // Nor does it of what a page only shows, which is not to be taken for the node's own.
  const other = await page.context().newPage();
  await other.goto(site.elsewhere('evil.site.example'));
  const proxy = await startProxy(t, site.node.listen);
  const target = `http://${site.at(new URL(proxy.origin).port)}/poll?channels=room:1&wait=0`;
  await other.evaluate((src) => { new Image().src = src; }, target);
  await until('an answer', () => proxy.answered.includes('cookie_needs_origin'))
    .catch((error) => assert.fail(`${error.message}: ${proxy.answered}`));
  assert.match(proxy.answered, /^HTTP\/1\.1 403 /);
  assert.ok(proxy.asked.includes(`fan=${token}`) && !/^Origin:/im.test(proxy.asked), proxy.asked);
});

test('a pair of subprotocols, and the token of another tenant', LIMIT, async (t) => {
  const site = await startSite(t);
  const page = await open(t, site.app);
  const target = `${site.ws}/ws?channels=room:1&format=json`;
  const ours = await socketOf(page, target, { protocols: pairOf(await signed()) });
  const theirs = await socketOf(page, target, { protocols: pairOf(await signed({ acme: true })) });
  for (const each of [ours, theirs]) {
    assert.equal((await each.event('opened')).protocol, 'fanfare');
    await each.event('fanfare.open');
  }
  await site.node.publish('room:1', 'ours');
  await site.node.publish('room:1', 'theirs', { key: site.node.acmeKey });
  for (const [each, word] of [[ours, 'ours'], [theirs, 'theirs']]) {
    await each.exactly([1]);
    assert.equal((await each.all()).at(-1).data, word);
  }
});

test('a token as the first message; what is wrong with one is told', LIMIT, async (t) => {
  const site = await startSite(t);
  const page = await open(t, site.app);
  const target = `${site.ws}/ws?channels=room:1&format=json`;
  const good = await socketOf(page, target, { first: firstOf(await signed()) });
  await good.event('fanfare.open');
  await site.node.publish('room:1', 'heard');
  await good.exactly([1]);

  const forged = `${(await signed()).slice(0, -9)}forged-it`;
  for (const options of [{ first: firstOf(forged) }, { protocols: pairOf(forged) }]) {
    const bad = await socketOf(page, target, options);
    assert.deepEqual(await bad.event('closed'),
      { event: 'closed', code: 4401, reason: 'invalid_token' });
  }
  for (const [options, code, reason] of [
    [{ first: firstOf(await signed({ channels: [] })) }, 4403, 'forbidden'],
    [{ protocols: pairOf(await signed({ life: -60 })) }, 4505, 'token_expired'],
    [{ first: 'hello' }, 4400, undefined],
  ]) {
    const closed = await (await socketOf(page, target, options)).event('closed');
    assert.equal(closed.code, code);
    if (reason) assert.equal(closed.reason, reason);
  }
});

test('without a token in time it is 4408', LIMIT, async (t) => {
  const site = await startSite(t, { limits: 'auth_time = "300ms"' });
  const page = await open(t, site.app);
  const late = await socketOf(page, `${site.ws}/ws?channels=room:1&format=json`);
  assert.equal((await late.event('closed')).code, 4408);
  assert.deepEqual((await late.all()).map(({ event }) => event), ['opened', 'closed']);
});

test('a ticket for an EventSource, once', LIMIT, async (t) => {
  const site = await startSite(t);
  const page = await open(t, site.app);
  const asked = [];
  const spy = await page.context().newCDPSession(page);
  spy.on('Network.requestWillBeSent', ({ request }) => asked.push(request.method));
  await spy.send('Network.enable');
  const made = await post(page, `${site.http}/v1/tickets?channels=room:1`, await signed());
  assert.equal(made.status, 200);
  await until('the browser asked before', () => asked.includes('OPTIONS'));
  assert.match(made.ticket, /^fft_/);
  assert.ok(made.expires_in > 0);

  const target = `${site.http}/sse?channels=room:1&ticket=${made.ticket}`;
  const stream = await streamOf(page, target);
  await stream.event('fanfare.open');
  await site.node.publish('room:1', 'by a ticket');
  await stream.exactly([1]);

  const again = await streamOf(page, target);
  assert.deepEqual(await again.event('failed'), { event: 'failed', final: true });
  const why = await page.evaluate(async (url) => {
    const answer = await fetch(url);
    return [answer.status, (await answer.json()).error];
  }, target);
  assert.deepEqual(why, [401, 'invalid_ticket']);

  // It is for what it was asked for, and a bad token gets none; a page can read why.
  const { ticket } = await post(page, `${site.http}/v1/tickets?channels=room:1`, await signed());
  const wider = await streamOf(page, `${site.http}/sse?channels=room:2&ticket=${ticket}`);
  assert.deepEqual(await wider.event('failed'), { event: 'failed', final: true });
  const refused = await post(page, `${site.http}/v1/tickets`, 'a.b.c');
  assert.deepEqual([refused.status, refused.error], [401, 'invalid_token']);
});

/** An answer to a page of this origin, without a browser between. */
async function answerTo(origin, method, target, fields = {}) {
  const answer = await within(new Promise((resolve, reject) => {
    http.request(target, { method, headers: { Origin: origin, ...fields } }, resolve)
      .on('error', reject).end();
  }), `${method} ${target}`);
  answer.resume();
  const cors = Object.fromEntries(Object.entries(answer.headers)
    .filter(([name]) => name.startsWith('access-control-')));
  return { status: answer.statusCode, cors };
}

test('a page of an unlisted origin gets no ticket and refreshes nothing', LIMIT, async (t) => {
  const site = await startSite(t);
  const [ours, foreign] = [site.app, site.elsewhere('evil.site.example')];
  const token = await signed();
  const page = await open(t, `${ours}/?signedIn=${token}`);
  const socket = await socketOf(page, `${site.ws}/ws?channels=room:1&format=json`);
  const { origin } = await socket.event('fanfare.open');
  const paths = ['/v1/tickets', `/v1/connections/${origin}/refresh`];
  const other = await page.context().newPage();
  await other.goto(foreign);
  for (const name of paths) {
    assert.match(await post(other, site.http + name, token), /TypeError/);
    assert.equal((await post(page, site.http + name, token)).status, 200);
    const preflight = {
      'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'authorization',
    };
    const bearer = { Authorization: `Bearer ${token}`, 'Content-Length': 0 };
    // By address: Node.js does not know the names that the browser was told.
    const target = site.node.http + name;
    for (const who of [foreign, 'null', `${ours}.evil.example`, ours.replace('http', 'https')]) {
      for (const [method, fields] of [['OPTIONS', preflight], ['POST', bearer]]) {
        assert.deepEqual(await answerTo(who, method, target, fields), { status: 403, cors: {} },
          `${method} ${name} from ${who}`);
      }
    }
    const credentials = {
      'access-control-allow-origin': ours, 'access-control-allow-credentials': 'true',
    };
    assert.deepEqual(await answerTo(ours, 'POST', target, bearer),
      { status: 200, cors: credentials });
    const { status, cors } = await answerTo(ours, 'OPTIONS', target, preflight);
    assert.equal(status, 204);
    assert.match(cors['access-control-allow-headers'], /Authorization/);
    assert.match(cors['access-control-allow-methods'], /POST/);
  }
});

test('the lines of CLIENTS.md come back after cuts and lose nothing', LIMIT, async (t) => {
  const site = await startSite(t);
  const proxy = await startProxy(t, site.node.listen);
  const page = await open(t, site.app);
  let tokens = 0;
  const next = () => { tokens += 1; return signed(); };
  const heard = [];
  for (const [kind, base] of kinds(site, new URL(proxy.origin).port)) {
    heard.push(await documented(page, kind, { base, channel: 'room:1', next }));
  }
  for (const each of heard) await each.event('fanfare.open');
  let offset = 0;
  const publish = async () => { ({ offset } = await site.node.publish('room:1', 'word')); };
  for (const reset of [true, false, true]) {
    for (const _ of range(1, 5)) await publish();
    assert.ok(proxy.cut({ reset }) >= heard.length);
    for (const _ of range(1, 5)) await publish(); // while they are away, or just back
    for (const each of heard) await each.exactly(range(1, offset));
  }
  // For each of the two at first and after each of three cuts; a fetch may have to try again.
  assert.ok(tokens >= 8, `${tokens} tokens`);
});

test('a new token in flight: both go on, past the end of the old one', LIMIT, async (t) => {
  const site = await startSite(t);
  const page = await open(t, site.app);
  const LIFE_S = 12;
  const heard = [];
  const begun = Date.now();
  for (const [kind, base] of kinds(site)) {
    const lives = [LIFE_S, 3_600];
    const next = () => signed({ life: lives.shift() ?? 3_600 });
    heard.push(await documented(page, kind, { base, channel: 'room:1', next }));
  }
  for (const each of heard) await each.event('fanfare.open');
  let offset = 0;
  while (Date.now() < begun + (LIFE_S + 3) * 1_000) {
    ({ offset } = await site.node.publish('room:1', 'word'));
    await sleep(100);
  }
  for (const each of heard) {
    await each.exactly(range(1, offset));
    const told = (await each.all()).filter((message) => message.event);
    assert.deepEqual([...new Set(told.map(({ event }) => event))],
      ['fanfare.open', 'fanfare.expiring', 'fanfare.refreshed']);
    assert.equal(told.filter(({ event }) => event === 'fanfare.open').length, 1, 'it stayed');
    assert.ok(told[1].in > 0 && told[1].in <= LIFE_S, JSON.stringify(told[1]));
    assert.ok(told.at(-1).in > 3_000 && told.at(-1).in <= 3_600, JSON.stringify(told.at(-1)));
  }
});

test('a refresh is for the same user: another is refused', LIMIT, async (t) => {
  const site = await startSite(t);
  const page = await open(t, site.app);
  const socket = await socketOf(page, `${site.ws}/ws?channels=room:1&format=json`,
    { protocols: pairOf(await signed()) });
  const { origin } = await socket.event('fanfare.open');
  const refresh = `${site.http}/v1/connections/${origin}/refresh`;
  for (const [whose, status] of [[{ user: 'bob' }, 403], [{ acme: true }, 403]]) {
    assert.equal((await post(page, refresh, await signed(whose))).status, status);
  }
  assert.equal((await post(page, refresh, await signed())).status, 200);
  await socket.event('fanfare.refreshed');
  await site.node.publish('room:1', 'it goes on');
  await socket.exactly([1]);
});

test('who is taken back is cut off, and does not come back', LIMIT, async (t) => {
  const site = await startSite(t);
  const page = await open(t, site.app);
  const token = await signed();
  const heard = [];
  for (const [kind, base] of kinds(site)) {
    heard.push(await documented(page, kind, { base, channel: 'room:1', next: () => token }));
  }
  const { ticket } = await post(page, `${site.http}/v1/tickets`, token);
  const stream = await streamOf(page, `${site.http}/sse?channels=room:1&ticket=${ticket}`);
  const other = await socketOf(page, `${site.ws}/ws?channels=room:1&format=json`,
    { protocols: pairOf(await signed()) });
  for (const each of [...heard, stream, other]) await each.event('fanfare.open');
  await site.node.publish('room:1', 'before');
  for (const each of [...heard, stream]) await each.exactly([1]);

  await site.node.ask('/v1/revocations', { token_id: nameOf(token) });
  for (const each of heard) {
    assert.deepEqual(await each.event('refused'),
      { event: 'refused', code: 4401, reason: 'token_revoked' });
  }
  assert.deepEqual(await stream.event('fanfare.close'),
    { event: 'fanfare.close', code: 4401, reason: 'token_revoked' });
  // Left to itself a browser comes back once, to be refused for good.
  await stream.first('the end', ({ event, final }) => event === 'failed' && final);
  const refused = await post(page, `${site.http}/v1/tickets`, token);
  assert.deepEqual([refused.status, refused.error], [401, 'token_revoked']);

  await site.node.publish('room:1', 'after');
  await other.exactly([1, 2]);
  for (const each of [...heard, stream]) await each.exactly([1]);
});

test('a token ends with 4505; with a new one it goes on where it was', LIMIT, async (t) => {
  const site = await startSite(t);
  const page = await open(t, site.app);
  const LIFE_S = 10;
  const heard = [];
  const short = await signed({ life: LIFE_S });
  // An application that goes on giving out the old one, well past its end: what is told that it
  // expires must not have a new one at the last moment.
  let renewed = false;
  const next = () => (renewed ? signed() : short);
  for (const [kind, base] of kinds(site)) {
    heard.push(await documented(page, kind, { base, channel: 'room:1', next }));
  }
  const socket = await socketOf(page, `${site.ws}/ws?channels=room:1&format=json`,
    { protocols: pairOf(short) });
  const { ticket } = await post(page, `${site.http}/v1/tickets`, short);
  const stream = await streamOf(page, `${site.http}/sse?channels=room:1&ticket=${ticket}`);
  for (const each of [...heard, socket, stream]) await each.event('fanfare.open');

  let offset = 0;
  let over = false;
  const witnesses = Promise.all([socket.event('closed'), stream.event('fanfare.close')]);
  const ends = Promise.all([
    witnesses.then(() => sleep(1_000)).then(() => { renewed = true; }),
    ...heard.map((each) => until('it is back', async () => (await each.all())
      .filter(({ event }) => event === 'fanfare.open').length === 2)),
  ]).finally(() => { over = true; });
  while (!over) {
    ({ offset } = await site.node.publish('room:1', 'word'));
    await sleep(50);
  }
  await ends;
  const [closed, farewell] = await witnesses;
  assert.deepEqual(closed, { event: 'closed', code: 4505, reason: 'token_expired' });
  assert.deepEqual(farewell, { event: 'fanfare.close', code: 4505, reason: 'token_expired' });
  for (const each of [socket, stream]) await each.event('fanfare.expiring');
  for (const each of heard) await each.exactly(range(1, offset));
});
