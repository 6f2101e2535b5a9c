// The npm package `ws`, which most servers and tools in Node.js are clients with, as it comes.

import assert from 'node:assert/strict';
import test from 'node:test';
import WebSocket from 'ws';
import { Arrivals, LIMIT, PATIENCE_MS, atEnd, range, startNode, within } from './node.mjs';

const CLIENT_MESSAGE_BYTES_MAX = 64 * 1024;

/** A client that is open. Frames wait in `frames`: text as a string, binary as a Buffer. */
async function follow(t, node, query, options = {}, protocols = []) {
  const socket = new WebSocket(`${node.ws}/ws?${query}`, protocols,
    { handshakeTimeout: PATIENCE_MS, ...options });
  atEnd(t, () => socket.terminate());
  socket.frames = new Arrivals(`frames of ${query}`);
  socket.on('message', (payload, isBinary) => {
    socket.frames.push(isBinary ? payload : payload.toString('utf8'));
  });
  socket.closed = new Promise((resolve) => {
    socket.on('close', (code, reason) => resolve({ code, reason: String(reason) }));
  });
  await within(new Promise((resolve, reject) => {
    socket.on('open', resolve);
    socket.on('error', reject);
  }), `the WebSocket opens: ${query}`);
  return socket;
}

const closeOf = (socket) => within(socket.closed, 'the close');

/** The next frame of the json format. */
const frame = async (socket) => JSON.parse(await socket.frames.next());

test('raw gives text as text and binary as binary, byte for byte', LIMIT, async (t) => {
  const node = await startNode(t);
  const socket = await follow(t, node, 'channels=raw');
  const text = 'Grüße, 世界 🎺\r\n"quoted"';
  const binary = Buffer.from(range(0, 255));
  const long = 'x'.repeat(70_000); // a frame with a length of 64 bits
  assert.equal((await node.publish('raw', text)).subscribers, 1);
  await node.publish('raw', binary, { type: 'application/octet-stream' });
  await node.publish('raw', long);
  assert.equal(await socket.frames.next(), text);
  assert.deepEqual(await socket.frames.next(), binary);
  assert.equal(await socket.frames.next(), long);
});

test('json says channel, id, offset, event and data', LIMIT, async (t) => {
  const node = await startNode(t);
  const socket = await follow(t, node, 'channels=j&format=json');
  const open = await frame(socket);
  assert.deepEqual(Object.keys(open), ['event', 'id', 'origin']);
  assert.equal(open.event, 'fanfare.open');
  assert.match(open.origin, /^[0-9a-f]{16}$/);
  const json = await node.publish('j', '{"hello":["world",1e2]}', { event: 'greeting' });
  const text = await node.publish('j', 'not "json"');
  const binary = await node.publish('j', Buffer.from([0xff, 0, 1]),
    { type: 'application/octet-stream' });
  const place = ({ id, offset }) => ({ channel: 'j', id, offset });
  assert.deepEqual(await frame(socket),
    { ...place(json), event: 'greeting', data: { hello: ['world', 100] } });
  assert.deepEqual(await frame(socket), { ...place(text), data: 'not "json"' });
  assert.deepEqual(await frame(socket), { ...place(binary), base64: '/wAB' });
  assert.deepEqual([json.offset, text.offset, binary.offset], [1, 2, 3]);
});

test('several channels come in one order, each with its own offsets', LIMIT, async (t) => {
  const node = await startNode(t);
  // A name with a comma stands alone, a name given twice is one subscription.
  const query = new URLSearchParams([['channels', 'a,ä,a'], ['channel', 'b,c']]);
  const socket = await follow(t, node, query);
  assert.equal((await frame(socket)).event, 'fanfare.open');
  const sent = [];
  for (const number of range(1, 300)) {
    sent.push({ channel: ['a', 'b,c', 'ä', 'unheard'][number % 4], data: number });
  }
  const results = await node.publishAll(sent);
  const due = sent.map((message, at) => ({ ...message, ...results[at] }))
    .filter(({ channel }) => channel !== 'unheard');
  for (const { channel, id, offset, data, subscribers } of due) {
    assert.equal(subscribers, 1);
    assert.deepEqual(await frame(socket), { channel, id, offset, data });
  }
  await socket.frames.silence();
});

test('since gives what was missed once, in order, then what is new', LIMIT, async (t) => {
  const node = await startNode(t);
  const first = await follow(t, node, 'channels=r&format=json');
  await frame(first);
  await node.publishAll(range(1, 5).map((data) => ({ channel: 'r', data })));
  const seen = [];
  for (const _ of range(1, 5)) seen.push(await frame(first));
  first.close();
  await closeOf(first);
  await node.publishAll(range(6, 500).map((data) => ({ channel: 'r', data })));
  const again = await follow(t, node, `channels=r&format=json&since=${seen[2].id}`);
  const { event, id, origin } = await frame(again);
  assert.deepEqual({ event, id }, { event: 'fanfare.open', id: seen[2].id });
  assert.match(origin, /^[0-9a-f]{16}$/, 'what the connection is called');
  await node.publishAll(range(501, 600).map((data) => ({ channel: 'r', data })));
  for (const number of range(4, 600)) {
    const { data, offset } = await frame(again);
    assert.deepEqual([data, offset], [number, number]);
  }
  await again.frames.silence();
});

test('what is no longer kept is announced first', LIMIT, async (t) => {
  const node = await startNode(t, { toml: 'history = { count = 10 }' });
  const results = await node.publishAll(range(1, 30).map((data) => ({ channel: 'g', data })));
  const socket = await follow(t, node, `channels=g&format=json&since=${results[4].id}`);
  const frames = (await socket.frames.take(12)).map((text) => JSON.parse(text));
  const gap = frames.find(({ event }) => event === 'fanfare.gap');
  assert.deepEqual(gap, { event: 'fanfare.gap', channel: 'g', from: 6, to: 20, missed: 15,
    reason: 'trimmed' });
  assert.ok(frames.indexOf(gap) < 2, 'before every message');
  assert.deepEqual(frames.slice(2).map(({ data }) => data), range(21, 30));
});

test('the server pings, and a client that answers stays', LIMIT, async (t) => {
  const node = await startNode(t, { toml: '[limits]\nping = "3s"\npong = "3s"\n' });
  const lively = await follow(t, node, 'channels=p');
  const pings = new Arrivals('pings');
  lively.on('ping', (payload) => pings.push(payload));
  const mute = await follow(t, node, 'channels=p', { autoPong: false });
  await pings.take(2);
  assert.equal((await closeOf(mute)).code, 4512, 'the one that answers no ping is ended');
  assert.equal((await node.publish('p', 'still here')).subscribers, 1);
  assert.equal(await lively.frames.next(), 'still here');
});

test('a ping of the client is answered with its payload', LIMIT, async (t) => {
  const node = await startNode(t);
  const socket = await follow(t, node, 'channels=p');
  const pongs = new Arrivals('pongs');
  socket.on('pong', (payload) => pongs.push(String(payload)));
  for (const payload of ['', 'one', 'x'.repeat(125)]) {
    socket.ping(payload);
    assert.equal(await pongs.next(), payload);
  }
});

test('a graceful shutdown closes with 1012', LIMIT, async (t) => {
  const node = await startNode(t);
  const raw = await follow(t, node, 'channels=s');
  const json = await follow(t, node, 'channels=s,t');
  assert.equal((await frame(json)).event, 'fanfare.open');
  const stopping = node.stop();
  assert.equal((await closeOf(raw)).code, 1012);
  assert.equal((await closeOf(json)).code, 1012);
  await stopping;
});

test('a message of the client up to the limit is dropped, above it 1009', LIMIT, async (t) => {
  const node = await startNode(t);
  const fits = await follow(t, node, 'channels=big');
  fits.send(Buffer.alloc(CLIENT_MESSAGE_BYTES_MAX));
  fits.send('text');
  fits.send('in ', { fin: false });
  fits.send('fragments', { fin: true });
  const pongs = new Arrivals('pong');
  fits.on('pong', () => pongs.push(true));
  fits.ping(); // answered after all of the above was read
  await pongs.next();
  const whole = await follow(t, node, 'channels=big');
  whole.send(Buffer.alloc(CLIENT_MESSAGE_BYTES_MAX + 1));
  assert.equal((await closeOf(whole)).code, 1009);
  const parts = await follow(t, node, 'channels=big');
  parts.send(Buffer.alloc(CLIENT_MESSAGE_BYTES_MAX), { fin: false });
  parts.send(Buffer.alloc(1), { fin: true });
  assert.equal((await closeOf(parts)).code, 1009);
  assert.equal((await node.publish('big', 'on')).subscribers, 1);
  assert.equal(await fits.frames.next(), 'on', 'and nothing of a client was published');
});

test('offered subprotocols and extensions are not selected', LIMIT, async (t) => {
  const node = await startNode(t);
  // permessage-deflate is what ws offers by default.
  const socket = await follow(t, node, 'channels=x');
  assert.equal(socket.extensions, '');
  assert.equal(socket.protocol, '');
  // A server that takes none of the subprotocols answers without the field (RFC 6455, 4.2.2),
  // and then it is the client that fails the connection, as ws does. A refusal of ours would
  // read otherwise.
  await assert.rejects(follow(t, node, 'channels=x', {}, ['graphql-ws', 'mqtt']),
    /Server sent no subprotocol/);
});

test('a refusal can be read where the client can read it', LIMIT, async (t) => {
  const node = await startNode(t);
  for (const [query, status] of [
    ['', 400], ['channels=', 400], ['channels=a,,b', 400], ['channels=a*', 400],
    ['channels=a&since=nonsense', 400], ['channels=a&format=xml', 400],
  ]) {
    await assert.rejects(follow(t, node, query), new RegExp(`response: ${status}`), query);
  }
});
