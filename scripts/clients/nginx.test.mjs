// nginx in front, with its default buffering: what most people will run. Every message must come
// through before the next one is published, so a batch anywhere on the way fails.

import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { EventSource } from 'eventsource';
import WebSocket from 'ws';
import { Arrivals, LIMIT, PATIENCE_MS, atEnd, folder, freePorts, range, start, startNode, until,
  within } from './node.mjs';

const EACH_MS = PATIENCE_MS;

/** nginx on a free port, in front of `node`; gives its authority. */
async function startNginx(t, node) {
  const place = folder(t);
  const [port] = await freePorts(1);
  mkdirSync(path.join(place, 'temp'));
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${place}/temp/${name};`).join('\n  ');
  writeFileSync(path.join(place, 'nginx.conf'), `
daemon off;
master_process off;
pid ${place}/nginx.pid;
error_log stderr warn;
events { worker_connections 64; }
http {
  access_log off;
  ${temporary}
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://127.0.0.1:${node.listen};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
    }
  }
}
`);
  const nginx = start(t, process.env.FANFARE_NGINX ?? 'nginx',
    ['-p', place, '-c', path.join(place, 'nginx.conf'), '-e', 'stderr'],
    { env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` } });
  let over = null;
  nginx.ended.then((code) => { over = `ended with ${code}: ${nginx.said}`; },
    (error) => { over = `does not run (apt-get install nginx-light): ${error.message}`; });
  await until('nginx takes clients', async () => {
    if (over) throw new Error(`nginx ${over}`);
    return fetch(`http://127.0.0.1:${port}/readyz`).then((answer) => answer.ok, () => false);
  });
  return `127.0.0.1:${port}`;
}

/** Publishes five messages; each must be `next()` before the following one is published. */
async function oneByOne(node, channel, next) {
  const tookMs = [];
  for (const number of range(1, 5)) {
    const begun = performance.now();
    await node.publish(channel, JSON.stringify({ number }));
    assert.deepEqual(await next(), { number }, `message ${number}`);
    tookMs.push(performance.now() - begun);
  }
  return Math.max(...tookMs).toFixed(1);
}

test('SSE is not held back', LIMIT, async (t) => {
  const node = await startNode(t, { toml: '[limits]\nretry = "100ms"' });
  const source = new EventSource(`http://${await startNginx(t, node)}/sse?channels=n`);
  atEnd(t, () => source.close());
  const heard = new Arrivals('events through nginx');
  source.onmessage = ({ data }) => heard.push(JSON.parse(data));
  await within(new Promise((resolve) => { source.onopen = resolve; }), 'the stream opens');
  t.diagnostic(`slowest: ${await oneByOne(node, 'n', () => heard.next(EACH_MS))} ms`);

  // Behind nginx a node that begins again is a 502, which is final to an EventSource: what comes
  // before it is the end of the stream.
  const ended = new Promise((resolve) => { source.onerror = resolve; });
  await node.stop();
  await within(ended, 'the end of the stream through nginx');
});

test('the heartbeat of a silent stream comes through', LIMIT, async (t) => {
  const node = await startNode(t, { toml: '[limits]\nheartbeat = "200ms"' });
  const target = `http://${await startNginx(t, node)}/sse?channels=silent`;
  const answer = await within(fetch(target), 'the stream opens');
  const reader = answer.body.getReader();
  atEnd(t, () => reader.cancel());
  let text = '';
  while ((text.match(/^:/gm) ?? []).length < 3) {
    const { value, done } = await within(reader.read(), 'a comment through nginx', EACH_MS);
    assert.ok(!done);
    text += Buffer.from(value).toString();
  }
});

test('a WebSocket is upgraded and not held back', LIMIT, async (t) => {
  const node = await startNode(t);
  const socket = new WebSocket(`ws://${await startNginx(t, node)}/ws?channels=n`);
  atEnd(t, () => socket.terminate());
  const frames = new Arrivals('frames through nginx');
  socket.on('message', (text) => frames.push(JSON.parse(text)));
  const closed = new Promise((resolve) => { socket.on('close', resolve); });
  await within(new Promise((resolve, reject) => {
    socket.on('open', resolve);
    socket.on('error', reject);
  }), 'the WebSocket opens');
  t.diagnostic(`slowest: ${await oneByOne(node, 'n', () => frames.next(EACH_MS))} ms`);
  const stopping = node.stop();
  assert.equal(await within(closed, 'the close'), 1012);
  await stopping;
});

test('a poll is answered as soon as there is a message', LIMIT, async (t) => {
  const node = await startNode(t);
  const proxy = await startNginx(t, node);
  const poll = async (query) => (await fetch(`http://${proxy}/poll?channels=n${query}`)).json();
  let { id: since } = await poll('&wait=0');
  const next = async () => {
    const { id, messages } = await within(poll(`&since=${since}&wait=25`), 'the answer', EACH_MS);
    since = id;
    assert.equal(messages.length, 1);
    return messages[0].data;
  };
  t.diagnostic(`slowest, published before the poll: ${await oneByOne(node, 'n', next)} ms`);
  for (const number of range(1, 5)) {
    const waiting = next();
    await until('the poll waits', async () => (await node.channel('n')).subscribers === 1);
    await node.publish('n', `{"waited":${number}}`);
    assert.deepEqual(await waiting, { waited: number });
  }
});
