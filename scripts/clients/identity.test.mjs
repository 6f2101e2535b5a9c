// Packages of npm on a node that asks clients who they are: `ws` and `eventsource` can set header
// fields, which pages cannot, and undici's EventSource comes with a ticket, as a page's does. See
// pages.test.mjs for pages.

import assert from 'node:assert/strict';
import test from 'node:test';
import { EventSource as PackageEventSource } from 'eventsource';
import { EventSource as UndiciEventSource } from 'undici';
import WebSocket from 'ws';
import { endOf, nameOf, signed, startAsking } from './identity.mjs';
import { Arrivals, LIMIT, PATIENCE_MS, atEnd, range, until, within } from './node.mjs';
import { startProxy } from './proxy.mjs';

const ROOM = 'channels=room:1&format=json';

const bearer = (token) => ({ Authorization: `Bearer ${token}` });

const firstOf = (token) => JSON.stringify({ token });

/** A WebSocket of `ws`: what it hears is JSON, and its end is the last of it. */
function socketOf(t, node, { query = ROOM, protocols = [], first, ...options }) {
  const socket = new WebSocket(`${node.ws}/ws?${query}`, protocols,
    { handshakeTimeout: PATIENCE_MS, ...options });
  atEnd(t, () => socket.terminate());
  const heard = new Arrivals('a WebSocket');
  socket.on('open', () => first && socket.send(first));
  socket.on('message', (payload) => heard.push(JSON.parse(payload)));
  socket.on('close', (code, reason) => heard.push({ closed: code, reason: String(reason) }));
  socket.on('error', (error) => heard.push({ error: error.message }));
  return { socket, heard };
}

/** An EventSource: what it hears is JSON, with what it is called and its errors between. */
function streamOf(t, EventSource, target, init) {
  const source = new EventSource(target, init);
  atEnd(t, () => source.close());
  const heard = new Arrivals(`events of ${EventSource.name}`);
  source.addEventListener('message', ({ data, lastEventId }) => {
    heard.push({ ...JSON.parse(data), lastEventId });
  });
  source.addEventListener('error', ({ code }) => heard.push({ failed: source.readyState, code }));
  return { source, heard };
}

test('ws: each way of a token, and what is wrong with one', LIMIT, async (t) => {
  const node = await startAsking(t);
  const token = await signed();
  for (const options of [
    { headers: bearer(token) },
    { protocols: ['fanfare', `fanfare.bearer.${token}`] },
    { first: firstOf(token) },
  ]) {
    const { socket, heard } = socketOf(t, node, options);
    assert.equal((await heard.next()).event, 'fanfare.open', Object.keys(options)[0]);
    assert.equal(socket.protocol, options.protocols ? 'fanfare' : '');
    const { id } = await node.publish('room:1', 'word');
    assert.equal((await heard.next()).id, id);
    socket.close();
  }
  const forged = `${token.slice(0, -9)}forged-it`;
  for (const [options, closed, reason] of [
    [{ headers: bearer(forged) }, 4401, 'invalid_token'],
    [{ first: firstOf(forged) }, 4401, 'invalid_token'],
    [{ headers: bearer(await signed({ life: -60 })) }, 4505, 'token_expired'],
    [{ headers: bearer(token), query: 'channels=hall' }, 4403, 'forbidden'],
  ]) {
    const { heard } = socketOf(t, node, options);
    assert.deepEqual(await heard.next(), { closed, reason });
  }
  // A cookie of another program than a browser says nothing of a page.
  const { heard } = socketOf(t, node, { headers: { Cookie: `fan=${token}` } });
  assert.match((await heard.next()).error, /403/);
  assert.ok(!node.child.said.includes(token) && !node.child.said.includes(forged), 'in the log');
});

test('ws: a new token in flight, the end, and being taken back', LIMIT, async (t) => {
  const node = await startAsking(t);
  const [short, long] = [await signed({ life: 6 }), await signed()];
  const kept = socketOf(t, node, { headers: bearer(short) });
  const left = socketOf(t, node, { headers: bearer(short) });
  for (const { heard } of [kept, left]) {
    assert.equal((await heard.next()).event, 'fanfare.open');
    assert.equal((await heard.next()).event, 'fanfare.expiring');
  }
  kept.socket.send(firstOf(long));
  assert.equal((await kept.heard.next()).event, 'fanfare.refreshed');
  let end;
  do { end = await left.heard.next(); } while (end.event === 'fanfare.expiring');
  assert.deepEqual(end, { closed: 4505, reason: 'token_expired' });
  assert.ok(Date.now() >= endOf(short), 'not before its time');

  const bystander = socketOf(t, node, { headers: bearer(await signed()) });
  assert.equal((await bystander.heard.next()).event, 'fanfare.open');
  await node.publish('room:1', 'before');
  for (const { heard } of [kept, bystander]) assert.equal((await heard.next()).data, 'before');
  await node.ask('/v1/revocations', { token_id: nameOf(long) });
  assert.deepEqual(await kept.heard.next(), { closed: 4401, reason: 'token_revoked' });
  const again = socketOf(t, node, { headers: bearer(long) });
  assert.deepEqual(await again.heard.next(), { closed: 4401, reason: 'token_revoked' });
  await node.publish('room:1', 'after');
  assert.equal((await bystander.heard.next()).data, 'after');
});

test('eventsource: brings its token whenever it comes back', LIMIT, async (t) => {
  const node = await startAsking(t);
  const proxy = await startProxy(t, node.listen);
  const token = await signed();
  const { heard } = streamOf(t, PackageEventSource,
    `${proxy.origin}/sse?${ROOM}&names=data`, {
      fetch: (url, init) => fetch(url,
        { ...init, headers: { ...init.headers, ...bearer(token) } }),
    });
  const next = async () => {
    for (;;) {
      const it = await heard.next();
      if (it.failed === undefined || it.code) return it;
    }
  };
  assert.equal((await next()).event, 'fanfare.open');
  for (const at of range(0, 2)) {
    await node.publish('room:1', 'heard');
    assert.equal((await next()).offset, 2 * at + 1);
    proxy.cut({ reset: at % 2 === 0 });
    await node.publish('room:1', 'missed');
    assert.equal((await next()).event, 'fanfare.open');
    assert.equal((await next()).offset, 2 * at + 2);
  }
  await node.ask('/v1/revocations', { token_id: nameOf(token) });
  const { event, code, reason } = await next();
  assert.deepEqual({ event, code, reason },
    { event: 'fanfare.close', code: 4401, reason: 'token_revoked' });
  assert.deepEqual(await next(), { failed: 2, code: 401 }, 'it came back once, to be refused');
});

test('undici: a ticket is good once', LIMIT, async (t) => {
  const node = await startAsking(t);
  const asked = await within(fetch(`${node.http}/v1/tickets`,
    { method: 'POST', headers: bearer(await signed()) }), 'a ticket');
  const { ticket } = await asked.json();
  const target = `${node.http}/sse?${ROOM}&names=data&ticket=${ticket}`;
  const { heard } = streamOf(t, UndiciEventSource, target);
  assert.equal((await heard.next()).event, 'fanfare.open');
  await node.publish('room:1', 'by a ticket');
  assert.equal((await heard.next()).data, 'by a ticket');
  const again = streamOf(t, UndiciEventSource, target);
  await until('it is refused', () => again.source.readyState === 2);
  assert.equal((await again.heard.next()).failed, 2);
});
