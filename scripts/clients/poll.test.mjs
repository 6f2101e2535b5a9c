// Long-polling with fetch, as a page without anything else does it: a loop that gives the last id
// back. And one id for all: what one transport showed resumes on each of the others.

import assert from 'node:assert/strict';
import test from 'node:test';
import { EventSource } from 'eventsource';
import WebSocket from 'ws';
import { Arrivals, LIMIT, atEnd, range, startNode, until, within } from './node.mjs';


test('the loop loses nothing while messages are published at full speed', LIMIT, async (t) => {
  const node = await startNode(t);
  const count = 3_000;
  const channels = ['a', 'b', 'c'];
  let { id: since } = await node.poll(`channels=${channels}&wait=0`);
  const publishing = (async () => {
    for (let at = 0; at < count; at += 20) { // twenty requests on their way at any time
      await Promise.all(range(at, at + 19).map((number) => (
        node.publish(channels[number % 3], JSON.stringify({ number })))));
    }
  })();
  const got = [];
  let polls = 0;
  while (got.length < count) {
    const answer = await node.poll(`channels=${channels}&since=${since}&wait=25`);
    polls += 1;
    assert.equal(answer.gaps, undefined);
    assert.ok(answer.messages.length > 0, `after ${got.length} of ${count} nothing came for 25 s`);
    assert.equal(answer.id, answer.messages.at(-1).id);
    got.push(...answer.messages);
    since = answer.id;
  }
  await publishing;
  assert.ok(polls > 1, 'the loop went round while messages were published');
  assert.deepEqual(got.map(({ data }) => data.number).sort((a, b) => a - b), range(0, count - 1));
  for (const channel of channels) {
    assert.deepEqual(got.filter((message) => message.channel === channel)
      .map(({ offset }) => offset), range(1, count / 3), `${channel}: dense and in order`);
  }
  const position = ({ id }) => Number(id.split('-')[1]);
  assert.ok(got.every((message, at) => at === 0 || position(got[at - 1]) < position(message)),
    'in the order of positions over all channels');
  assert.deepEqual(await node.poll(`channels=${channels}&since=${since}&wait=0`),
    { id: since, messages: [] });
});

test('an answer holds a thousand at most, and the next goes on from there', LIMIT, async (t) => {
  const node = await startNode(t, { toml: 'history = { count = 3000 }' });
  const { id: begin } = await node.poll('channels=many&wait=0');
  for (const from of [1, 1001, 2001]) {
    await node.publishAll(range(from, from + 999).map((data) => ({ channel: 'many', data })));
  }
  const got = [];
  const sizes = [];
  for (let since = begin; got.length < 3000;) {
    const { id, messages, gaps } = await node.poll(`channels=many&since=${since}&wait=0`);
    assert.equal(gaps, undefined);
    assert.ok(messages.length > 0, `nothing more after ${got.length}`);
    got.push(...messages.map(({ data }) => data));
    sizes.push(messages.length);
    since = id;
  }
  assert.deepEqual(got, range(1, 3000));
  assert.deepEqual(sizes, [1000, 1000, 1000]);
});

test('a poll waits for the first message, and not longer than it said', LIMIT, async (t) => {
  const node = await startNode(t);
  const { id: since } = await node.poll('channels=w&wait=0');
  const begun = Date.now();
  assert.deepEqual((await node.poll(`channels=w&since=${since}&wait=1`)).messages, []);
  assert.ok(Date.now() - begun >= 900, `an empty answer after ${Date.now() - begun} ms`);
  const waiting = node.poll(`channels=w&since=${since}&wait=25`);
  await until('the poll waits', async () => (await node.channel('w')).subscribers === 1);
  const { id } = await node.publish('w', '"now"');
  const answer = await within(waiting, 'the answer, once there is a message');
  assert.deepEqual(answer, { id, messages: [{ channel: 'w', id, offset: 1, data: 'now' }] });
});

test('a poll that waits is answered when the node ends', LIMIT, async (t) => {
  const node = await startNode(t);
  const { id: since } = await node.poll('channels=s&wait=0');
  const waiting = node.poll(`channels=s&since=${since}&wait=25`);
  await until('the poll waits', async () => (await node.channel('s')).subscribers === 1);
  await node.stop();
  const answer = await within(waiting, 'the farewell of the poll');
  assert.deepEqual(answer.messages, []);
  assert.equal(answer.id, since);
});

test('what was missed for good is said in gaps', LIMIT, async (t) => {
  const node = await startNode(t, { toml: 'history = { count = 5 }' });
  const { id: since } = await node.poll('channels=g,quiet&wait=0');
  await node.publishAll(range(1, 20).map((data) => ({ channel: 'g', data })));
  const answer = await node.poll(`channels=g,quiet&since=${since}&wait=0`);
  assert.deepEqual(answer.gaps, [{ event: 'fanfare.gap', channel: 'g', from: 1, to: 15, missed: 15,
    reason: 'trimmed' }]);
  assert.deepEqual(answer.messages.map(({ data }) => data), range(16, 20));
  await node.stop();
  await node.begin();
  const after = await node.poll(`channels=g,quiet&since=${since}&wait=0`);
  assert.deepEqual(after.gaps.map(({ channel, reason }) => [channel, reason]).sort(),
    [['g', 'epoch'], ['quiet', 'epoch']]);
  assert.notEqual(after.id, since);
  assert.equal((await node.poll(`channels=g,quiet&since=${after.id}&wait=0`)).gaps, undefined);
});

test('a burst beyond a small window reaches a poll that waits, or is told', LIMIT, async (t) => {
  const node = await startNode(t, { toml: 'history = { count = 1 }\nwindow = { count = 2 }' });
  let { id: since } = await node.poll('channels=b&wait=0');
  for (const round of range(1, 20)) {
    const waiting = node.poll(`channels=b&since=${since}&wait=25`);
    await until('the poll waits', async () => (await node.channel('b')).subscribers === 1);
    await node.publishAll(range(1, 50).map((data) => ({ channel: 'b', data })));
    let told = 0;
    for (let answer = await waiting; ;) {
      for (const { missed } of answer.gaps ?? []) told += missed;
      told += answer.messages.length;
      since = answer.id;
      if (told >= 50) break;
      answer = await node.poll(`channels=b&since=${since}&wait=25`);
      assert.ok(answer.messages.length, `round ${round}: ${told} of 50, and nothing more`);
    }
    assert.equal(told, 50, `round ${round}`);
  }
});

test('one id resumes three channels on every transport', LIMIT, async (t) => {
  const node = await startNode(t);
  const channels = 'x,y,z';
  const sent = [];
  const publish = async (count) => {
    const messages = range(sent.length + 1, sent.length + count)
      .map((data) => ({ channel: 'xyz'[data % 3], data }));
    const results = await node.publishAll(messages);
    sent.push(...messages.map((message, at) => (
      { ...message, id: results[at].id, offset: results[at].offset })));
  };
  await publish(50);

  // The id is what an EventSource was shown in mid-stream.
  const source = new EventSource(`${node.http}/sse?channels=${channels}&since=${sent[9].id}`);
  atEnd(t, () => source.close());
  const events = new Arrivals('events');
  source.onmessage = (event) => events.push(event);
  const shown = (await events.take(25)).at(-1).lastEventId;
  source.close();
  assert.equal(shown, sent[34].id);
  await publish(50);
  const due = sent.slice(35);

  for (const since of [shown, sent[0].id]) { // and any other id will do
    const missed = sent.slice(sent.findIndex(({ id }) => id === since) + 1);
    const plain = ({ channel, data, id, offset }) => ({ channel, data, id, offset });

    const polled = await node.poll(`channels=${channels}&since=${since}&wait=0`);
    assert.deepEqual(polled.messages.map(plain), missed);

    const socket = new WebSocket(`${node.ws}/ws?channels=${channels}&since=${since}`);
    atEnd(t, () => socket.terminate());
    const frames = new Arrivals('frames');
    socket.on('message', (text) => frames.push(JSON.parse(text)));
    assert.equal((await frames.next()).event, 'fanfare.open');
    assert.deepEqual((await frames.take(missed.length)).map(plain), missed);

    const again = new EventSource(`${node.http}/sse?channels=${channels}`, {
      fetch: (target, init) => fetch(target,
        { ...init, headers: { ...init.headers, 'Last-Event-ID': since } }),
    });
    atEnd(t, () => again.close());
    const heard = new Arrivals('events');
    again.onmessage = ({ data }) => heard.push(JSON.parse(data));
    assert.deepEqual((await heard.take(missed.length)).map(plain), missed);

    // Live after that, and nothing twice.
    const [live] = await node.publishAll([{ channel: 'y', data: 'live' }]);
    for (const arrivals of [frames, heard]) {
      assert.deepEqual(plain(await arrivals.next()), { channel: 'y', data: 'live', id: live.id,
        offset: live.offset });
      await arrivals.silence(50);
    }
    sent.push({ channel: 'y', data: 'live', id: live.id, offset: live.offset });
  }
  assert.equal(due.length, 65);
});
