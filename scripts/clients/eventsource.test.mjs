// Two EventSources that we did not write: the npm package `eventsource` and that of undici. Both
// reconnect by themselves and bring the id that they had, as a browser does.

import assert from 'node:assert/strict';
import test from 'node:test';
import { EventSource as PackageEventSource } from 'eventsource';
import { EventSource as UndiciEventSource } from 'undici';
import { Arrivals, LIMIT, atEnd, range, startNode, until, within } from './node.mjs';
import { startProxy } from './proxy.mjs';

const QUICK = '[limits]\nretry = "100ms"\n'; // how soon a client comes back

// What each of them does otherwise than the HTML standard says, so that a test can go round it:
const CLIENTS = [
  // The gap notice, which has no id, is given none, where the standard gives the last one.
  { name: 'eventsource', EventSource: PackageEventSource,
    cuts: [{ reset: true }, { reset: false }] },
  // After a reset in mid-stream it hangs, and a connection that is refused is the last that it
  // tries. So it is cut with a FIN, and a node that begins again does so behind a proxy.
  { name: 'undici', EventSource: UndiciEventSource, cuts: [{ reset: false }], givesUp: true },
];

/** An EventSource that is open. What it hears waits in `heard`; gaps wait in `gaps`. */
async function follow(t, EventSource, target, { events = [] } = {}) {
  const source = new EventSource(target);
  atEnd(t, () => source.close());
  source.heard = new Arrivals(`messages of ${target}`);
  source.gaps = new Arrivals(`gaps of ${target}`);
  for (const name of ['message', ...events]) {
    source.addEventListener(name, ({ type, data, lastEventId }) => {
      source.heard.push({ type, data, lastEventId });
    });
  }
  source.addEventListener('fanfare.gap', ({ data }) => source.gaps.push(JSON.parse(data)));
  source.opens = 0;
  await within(new Promise((resolve) => {
    source.addEventListener('open', () => {
      source.opens += 1;
      resolve();
    });
  }), `${target} opens`);
  return source;
}

for (const { name, EventSource, cuts, givesUp } of CLIENTS) {
  test(`${name}: raw data arrives in order, as it was sent`, LIMIT, async (t) => {
    const node = await startNode(t);
    const source = await follow(t, EventSource, `${node.http}/sse?channels=o`);
    const texts = ['one line', 'Grüße, 世界 🎺', ' leading space', 'a\nb', '\n', 'a\n\nb\n',
      ':comment', 'data: x', 'id: 7', '{"json": 1}'];
    for (const [at, text] of texts.entries()) {
      const { id } = await node.publish('o', text);
      assert.deepEqual(await source.heard.next(), { type: 'message', data: text, lastEventId: id },
        `text ${at}`);
    }
    // The three line ends of the format are one to its reader.
    await node.publish('o', 'a\r\nb\rc');
    assert.equal((await source.heard.next()).data, 'a\nb\nc');
    await node.publish('o', Buffer.from([0, 255]), { type: 'application/octet-stream' });
    assert.equal((await source.heard.next()).data, 'AP8=');
    await node.publishAll(range(1, 900).map((data) => ({ channel: 'o', data })));
    for (const number of range(1, 900)) {
      assert.equal((await source.heard.next()).data, String(number));
    }
    await source.heard.silence();
  });

  test(`${name}: an event has the name that it was published with`, LIMIT, async (t) => {
    const node = await startNode(t);
    const source = await follow(t, EventSource, `${node.http}/sse?channels=e&format=json`,
      { events: ['greeting', 'größer'] });
    for (const event of ['greeting', undefined, 'größer', 'not listened for', 'greeting']) {
      const { id, offset } = await node.publish('e', '"hi"', { event });
      if (event === 'not listened for') continue;
      const { type, data, lastEventId } = await source.heard.next();
      assert.deepEqual([type, lastEventId], [event ?? 'message', id]);
      assert.deepEqual(JSON.parse(data),
        { channel: 'e', id, offset, ...(event ? { event } : {}), data: 'hi' });
    }
  });

  for (const cut of cuts) {
    const how = cut.reset ? 'a reset' : 'an end';
    test(`${name}: after ${how} it resumes by itself, nothing lost or twice`, LIMIT, async (t) => {
      const node = await startNode(t, { toml: QUICK });
      const proxy = await startProxy(t, node.listen);
      const source = await follow(t, EventSource, `${proxy.origin}/sse?channels=a,b&format=json`);
      let sent = 0; // it is cut before the first: the id that opens the stream is all that it has
      for (const round of range(1, 4)) {
        assert.equal(proxy.cut(cut), 1, `round ${round}: one connection to cut`);
        await node.publishAll(range(sent + 1, sent + 100).map((data) => (
          { channel: data % 3 ? 'a' : 'b', data })));
        sent += 100;
        for (const number of range(sent - 99, sent)) {
          assert.equal(JSON.parse((await source.heard.next()).data).data, number);
        }
      }
      assert.equal(source.opens, 5, 'it was cut four times');
      await source.heard.silence();
      await source.gaps.silence(1);
    });
  }

  test(`${name}: what is no longer kept is announced first`, LIMIT, async (t) => {
    const node = await startNode(t, { toml: `history = { count = 5 }\n${QUICK}` });
    const proxy = await startProxy(t, node.listen);
    const source = await follow(t, EventSource, `${proxy.origin}/sse?channels=g`);
    await node.publish('g', '1');
    await source.heard.next();
    let before = null;
    source.addEventListener('fanfare.gap', () => { before = source.heard.next(); });
    proxy.cut({ reset: false });
    await node.publishAll(range(2, 20).map((data) => ({ channel: 'g', data })));
    assert.deepEqual(await source.gaps.next(), { event: 'fanfare.gap', channel: 'g', from: 2,
      to: 15, missed: 14, reason: 'trimmed' });
    assert.equal((await before).data, '16', 'the gap came before what is kept');
    assert.deepEqual((await source.heard.take(4)).map(({ data }) => data),
      ['17', '18', '19', '20']);
  });

  test(`${name}: a node that begins again announces the epoch`, LIMIT, async (t) => {
    const node = await startNode(t, { toml: QUICK });
    const origin = givesUp ? (await startProxy(t, node.listen)).origin : node.http;
    const source = await follow(t, EventSource, `${origin}/sse?channels=a,b&format=json`);
    const last = await node.publish('a', '"before"');
    assert.equal((await source.heard.next()).lastEventId, last.id);
    const error = new Promise((resolve) => { source.addEventListener('error', resolve); });
    const stopping = node.stop();
    await within(error, 'the end of the stream');
    await stopping;
    await node.begin();
    const gaps = await source.gaps.take(2);
    const nulls = { from: null, to: null, missed: null, reason: 'epoch' };
    assert.deepEqual(gaps.sort((one, other) => (one.channel < other.channel ? -1 : 1)), [
      { event: 'fanfare.gap', channel: 'a', ...nulls },
      { event: 'fanfare.gap', channel: 'b', ...nulls },
    ]);
    const { id } = await node.publish('b', '"after"');
    assert.notEqual(id.split('-')[0], last.id.split('-')[0], 'another epoch');
    const heard = await source.heard.next();
    assert.deepEqual([JSON.parse(heard.data).data, heard.lastEventId], ['after', id]);
    assert.equal(source.opens, 2);
  });

  test(`${name}: where there is no room it comes back until there is`, LIMIT, async (t) => {
    const node = await startNode(t, { toml: '[limits]\nfollowed_channels = 1\nretry = "100ms"\n' });
    const first = await follow(t, EventSource, `${node.http}/sse?channels=one`);
    const second = await follow(t, EventSource, `${node.http}/sse?channels=two`);
    const refusals = new Arrivals('refusals');
    second.addEventListener('error', () => refusals.push(second.readyState));
    assert.deepEqual(await refusals.take(3), [0, 0, 0], 'each time it says that it comes back');
    first.close();
    await until('there is room', async () => (await node.channel('two')).subscribers === 1);
    await node.publish('two', 'welcome');
    assert.equal((await second.heard.next()).data, 'welcome');
  });

  test(`${name}: a refusal ends it for good`, LIMIT, async (t) => {
    const node = await startNode(t);
    const source = new EventSource(`${node.http}/sse?channels=a*`);
    atEnd(t, () => source.close());
    await within(new Promise((resolve) => { source.addEventListener('error', resolve); }), 'error');
    assert.equal(source.readyState, 2);
  });
}
