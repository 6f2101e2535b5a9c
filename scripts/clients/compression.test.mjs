// A proxy that compresses what passes: express with `compression` and `http-proxy-middleware`, as
// development servers and backends for frontends are. It gathers a stream until there is enough to
// compress, unless the answer forbids it to be changed.

import assert from 'node:assert/strict';
import test from 'node:test';
import compression from 'compression';
import express from 'express';
import { createProxyMiddleware } from 'http-proxy-middleware';
import { LIMIT, atEnd, range, startNode, within } from './node.mjs';


/** Where such a proxy listens, in front of `target`. */
async function startCompressing(t, target) {
  const app = express();
  app.use(compression({ threshold: 0 }));
  app.use(createProxyMiddleware({ target }));
  const server = await new Promise((resolve) => {
    const listening = app.listen(0, '127.0.0.1', () => resolve(listening));
  });
  atEnd(t, () => { server.closeAllConnections(); server.close(); });
  return `http://127.0.0.1:${server.address().port}`;
}

/** Reads a body until it has `text`. */
async function readUntil(reader, decoder, text) {
  for (let read = ''; !read.includes(text);) {
    const { done, value } = await within(reader.read(), `"${text}" after "${read}"`);
    assert.ok(!done, `the stream ended after "${read}"`);
    read += decoder.decode(value, { stream: true });
  }
}

test('a compressing proxy does not hold an event stream back', LIMIT, async (t) => {
  const node = await startNode(t);
  const origin = await startCompressing(t, node.http);
  const answer = await within(fetch(`${origin}/sse?channels=c`,
    { headers: { 'Accept-Encoding': 'gzip, deflate, br' } }), 'the head of the answer');
  assert.equal(answer.headers.get('content-encoding'), null);
  const reader = answer.body.getReader();
  atEnd(t, () => reader.cancel());
  const decoder = new TextDecoder();
  await readUntil(reader, decoder, '\n\n');
  for (const number of range(1, 5)) { // each before the next, or something gathers them
    await node.publish('c', `message ${number} ✅`);
    await readUntil(reader, decoder, `message ${number} ✅`);
  }
});

test('what such a proxy compresses is still right', LIMIT, async (t) => {
  const node = await startNode(t);
  const origin = await startCompressing(t, node.http);
  const { id } = await node.poll('channels=p&wait=0');
  const data = 'a long text '.repeat(1000);
  await node.publish('p', data);
  const answer = await within(fetch(`${origin}/poll?channels=p&wait=0&since=${id}`), 'the poll');
  const { messages } = await answer.json();
  assert.deepEqual(messages.map((message) => message.data), [data]);
});
