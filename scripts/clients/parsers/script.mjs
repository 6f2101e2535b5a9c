// What every parser of the matrix goes through, and the row that this gives. What may differ from
// parser to parser is in the row, which is compared with docs/CLIENTS.md; what may not is asserted.

import assert from 'node:assert/strict';
import { range, sleep, until } from '../node.mjs';
import { PATIENCE_MS, follow, shown } from './follower.mjs';
import { startLink } from './link.mjs';

/** A node with room for one channel, which is taken: whoever asks for another is to come back. */
export const FULL = `
[limits]
followed_channels = 1
retry = "100ms"
`;

export const CONFIG = `
history = { count = 10 }
[[channels]]
match = "large:*"
history = { count = 10, bytes = "4MB" }
window = { count = 100, bytes = "4MB" }
[limits]
heartbeat = "100ms"
retry = "100ms"
`;

// What is published, and what every parser should give: the three line ends of the format are one.
const LINES = { 'LF': ['a\nb', 'a\nb'], 'CRLF, CR': ['a\r\nb\rc', 'a\nb\nc'],
  'empty lines': ['a\n\nb\n', 'a\n\nb\n'], 'a lone LF': ['\n', '\n'],
  'a leading space': [' a', ' a'], 'colons': [':a: b', ':a: b'] };
const UNICODE = { 'UTF-8': ['Grüße, 世界 🎺', 'Grüße, 世界 🎺'], 'U+2028': ['a\u2028b', 'a\u2028b'],
  'U+2029': ['a\u2029b', 'a\u2029b'], 'U+0085': ['a\u0085b', 'a\u0085b'],
  'VT, FF': ['a\u000bb\u000cc', 'a\u000bb\u000cc'], 'U+FEFF': ['\ufeffa', '\ufeffa'] };
const SIZES = [60_000, 120_000, 250_000, 1_000_000];

/** The whole script for one parser; gives its row. `full` is the node that refuses. */
export async function observe(t, { node, full }, parser, channel) {
  const link = await startLink(t, node.listen);
  const target = `${link.origin}/sse?channels=${channel}`;
  const walk = { t, node, full, parser, channel, link, target, row: {} };
  walk.follower = await follow(t, parser, target);
  for (const step of [opening, heartbeat, texts, named, fromOpening, half, gap, refused, large]) {
    await step(walk);
  }
  return walk.row;
}

async function opening({ link, follower, row }) {
  const head = await link.heads.next(PATIENCE_MS); // a browser or a JVM begins
  assert.doesNotMatch(head, /last-event-id/i, 'the first request knows no id');
  const [{ event, data, id }] = await follower.until('the opening', 0, (heard) => (
    heard.length && heard));
  assert.equal(event, 'fanfare.open');
  assert.deepEqual(Object.keys(JSON.parse(data)), ['id', 'origin']);
  if (id) assert.equal(id, JSON.parse(data).id);
  row.opening = 'named event';
}

async function heartbeat({ link, follower, row }) {
  const before = link.heartbeats;
  await until('three heartbeats', () => link.heartbeats >= before + 3, PATIENCE_MS);
  await sleep(100);
  assert.deepEqual(follower.heard.slice(1), [], 'a heartbeat is nothing that a program hears');
  row.heartbeat = 'not heard';
}

async function texts({ node, channel, follower, row }) {
  const place = follower.heard.length;
  const sent = [];
  for (const [name, [text, right]] of Object.entries({ ...LINES, ...UNICODE })) {
    sent.push({ name, right, ...await node.publish(channel, text) });
  }
  await node.publish(channel, 'end of texts');
  const heard = await follower.until('the texts', place, (all) => (
    all.some(({ data }) => data === 'end of texts') && all));
  const wrong = (names) => {
    const failed = sent.filter(({ name, right, id }) => name in names
      && heard.find((one) => one.id === id)?.data !== right);
    return failed.length ? `not: ${failed.map(({ name }) => name).join(', ')}` : 'exact';
  };
  row.lines = wrong(LINES);
  row.unicode = wrong(UNICODE);
  assert.ok(heard.length <= sent.length + 1, `more than was published: ${shown(heard)}`);
}

async function named({ node, channel, follower, row }) {
  const place = follower.heard.length;
  const { id } = await node.publish(channel, 'hello', { event: 'greeting' });
  const [one] = await follower.until('the named event', place, (heard) => heard.length && heard);
  assert.deepEqual(one, { event: 'greeting', data: 'hello', id });
  row.named = 'by its name';
}

/** Breaks the stream, or sees it break, and lets the parser come back while new streams wait:
 * whatever is published now was missed. Gives the id that it resumes from. */
async function breaks(walk, broken, how) {
  const { t, parser, link, target, row } = walk;
  link.hold();
  assert.equal(await broken(), 1, 'one stream to break');
  let head = null;
  const came = link.heads.next(PATIENCE_MS).then((text) => { head = text; });
  came.catch(() => {}); // it is awaited below
  let itself = true;
  await until(`${parser.name} comes back`, () => head || walk.follower.end !== null, PATIENCE_MS)
    .catch((error) => { throw new Error(`${error.message}: ${shown(walk.follower.errors)}`); });
  if (!head) {
    itself = false;
    const { end, heard } = walk.follower;
    walk.follower.child.kill();
    walk.follower = await follow(t, parser, target, end);
    walk.follower.heard = heard;
    await came;
  }
  const [, field] = head.match(/\r\nlast-event-id: *([^\r]*)/i) ?? [];
  const [, query] = head.match(/[?&]lastEventId=([^& ]*)/) ?? [];
  row.with = field ? '`Last-Event-ID`' : query ? '`lastEventId=`' : 'nothing';
  row.back ??= {};
  row.back[how] ??= itself;
  assert.equal(row.back[how], itself, `after ${how} it once comes back by itself, once not`);
  return field ?? query;
}

/** Lets the stream through and waits for the text `last`; gives all texts that came by then. An
 * empty one is a failure. */
async function resumes({ link, follower }, place, last) {
  link.release();
  const heard = await follower.until('what was missed', place, (all) => (
    all.some(({ data }) => data === last) && all));
  return heard.filter(({ event }) => event !== 'fanfare.open').map(({ data }) => data);
}

const lastIdOf = ({ heard }) => heard.findLast(({ id }) => id).id;

/** A parser that has received nothing but the opening: one of its own, begun anew. */
async function fromOpening({ t, node, parser, channel, row }) {
  const link = await startLink(t, node.listen);
  const target = `${link.origin}/sse?channels=${channel}-fresh`;
  const fresh = { t, parser, link, target, row, follower: await follow(t, parser, target) };
  await link.heads.next(PATIENCE_MS);
  await fresh.follower.until('the opening', 0, (heard) => heard.length > 0);
  const lastId = lastIdOf(fresh.follower);
  assert.equal(await breaks(fresh, () => link.cut(), 'an end'), lastId);
  const place = fresh.follower.heard.length;
  await node.publish(`${channel}-fresh`, 'the first ever');
  assert.deepEqual(await resumes(fresh, place, 'the first ever'), ['the first ever']);
  fresh.follower.child.kill();
}

/** A cut in the middle of an event, which the standard drops: it is to come whole afterwards. */
async function half(walk) {
  const { node, channel, link, row } = walk;
  const lastId = lastIdOf(walk.follower);
  const place = walk.follower.heard.length;
  const broken = link.cutAfter('one half');
  const { id } = await node.publish(channel, 'one half and the other');
  const from = await breaks(walk, () => broken, 'an end');
  assert.ok([lastId, id].includes(from), `it resumes from ${from}`);
  await node.publish(channel, 'missed 1');
  await node.publish(channel, 'missed 2', { event: 'greeting' });
  await node.publish(channel, 'missed 3');
  const texts = await resumes(walk, place, 'missed 3');
  const given = texts[0] === 'one half' && texts.shift();
  const whole = texts[0] === 'one half and the other' && texts.shift();
  assert.deepEqual(texts, range(1, 3).map((number) => `missed ${number}`));
  row.half = [given && 'given as if whole', whole ? 'comes whole' : 'LOST'].filter(Boolean)
    .join(', then ');
}

async function gap(walk) {
  const { node, parser, channel, link, row } = walk;
  const lastId = lastIdOf(walk.follower);
  const reset = parser.resets !== false;
  assert.equal(await breaks(walk, () => link.cut({ reset }), reset ? 'a reset' : 'an end'), lastId);
  const place = walk.follower.heard.length;
  const sent = [];
  for (const number of range(1, 15)) {
    sent.push(await node.publish(channel, `past the history ${number}`));
  }
  link.release();
  const heard = await walk.follower.until('what is kept', place, (all) => (
    all.some(({ data }) => data === 'past the history 15') && all));
  const [notice] = heard.filter(({ event }) => event === 'fanfare.gap');
  assert.ok(notice, `no gap notice: ${shown(heard)}`);
  const { from, to, missed, reason } = JSON.parse(notice.data);
  assert.deepEqual({ from, to, missed, reason },
    { from: sent[0].offset, to: sent[4].offset, missed: 5, reason: 'trimmed' });
  assert.deepEqual(heard.filter(({ event }) => event === 'message')
    .map(({ data }) => data), range(6, 15).map((number) => `past the history ${number}`));
  row.gap = 'told, then the rest';
}

/** What cannot be served now is a stream that says so and ends. */
async function refused({ t, full, parser, row, follower: before }) {
  before.child.kill();
  const link = await startLink(t, full.listen);
  const follower = await follow(t, parser, `${link.origin}/sse?channels=no-room`);
  await link.heads.next(PATIENCE_MS);
  let again = false;
  link.heads.next(PATIENCE_MS).then(() => { again = true; }, () => {});
  await until('it comes back, or ends', () => again || follower.end !== null, PATIENCE_MS);
  const [{ event, data }] = await follower.until('the reason', 0, (heard) => heard.length && heard);
  assert.equal(event, 'fanfare.close');
  assert.ok(JSON.parse(data));
  const empty = follower.heard.filter((one) => !one.data);
  assert.ok(parser.endsEmpty || !empty.length, `an empty message: ${shown(follower.heard)}`);
  row.back['a refusal'] = again;
  follower.child.kill();
}

async function large(walk) {
  const { t, node, parser, channel, row } = walk;
  row.large = '0';
  const target = `${walk.link.origin}/sse?channels=large:${channel}`;
  const follower = await follow(t, parser, target);
  await follower.until('the opening', 0, (heard) => heard.length > 0);
  for (const size of SIZES) {
    const text = 'x'.repeat(size);
    await node.publish(`large:${channel}`, text);
    const whole = await until(`${size} bytes`, () => (
      follower.errors.length || follower.heard.some(({ data }) => data === text)), PATIENCE_MS)
      .then(() => follower.heard.some(({ data }) => data === text), () => false);
    if (!whole) break;
    row.large = size.toLocaleString('en');
  }
  follower.child.kill();
}
