// curl, which is what a person has at hand: the commands of the README as it prints them, streams
// without buffering, HEAD, and HTTP/1.0.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { LIMIT, PATIENCE_MS, TOP, folder, range, start, startNode, until, within } from './node.mjs';

const STREAM = 'text/event-stream; charset=utf-8';
const OPENING = '\nevent: fanfare.open\n';

/** Runs curl to its end; gives what it wrote. Exit code 0 is asked for. */
async function curl(t, ...args) {
  const child = start(t, 'curl', ['--silent', '--show-error', '--max-time', '60', ...args]);
  const code = await within(child.ended, `curl ${args.join(' ')}`, 2 * PATIENCE_MS);
  assert.equal(code, 0, child.said);
  return child.said;
}

/** Splits what `--include` wrote. */
function parts(said) {
  const end = said.indexOf('\r\n\r\n');
  const [status, ...lines] = said.slice(0, end).split('\r\n');
  const fields = Object.fromEntries(lines.map((line) => {
    const [name, value] = line.split(/: */, 2);
    return [name.toLowerCase(), value];
  }));
  return { status, fields, body: said.slice(end + 4) };
}

test('curl -N shows the head at once and each message when it is published', LIMIT, async (t) => {
  const node = await startNode(t, { toml: '[limits]\nheartbeat = "1h"\n' }); // which helps nobody
  const stream = start(t, 'curl', ['-sSN', '--include', `${node.http}/sse?channels=demo`]);
  await until('the first bytes', () => stream.said.includes(OPENING));
  const { status, fields } = parts(stream.said);
  assert.equal(status, 'HTTP/1.1 200 OK');
  assert.equal(fields['content-type'], STREAM);
  assert.equal(fields['cache-control'], 'no-store, no-transform');
  assert.equal(fields['x-accel-buffering'], 'no');
  assert.equal(fields['transfer-encoding'], 'chunked');
  for (const number of range(1, 5)) {
    const { id } = await node.publish('demo', `message ${number}`);
    await until(`message ${number}`, () => stream.said.endsWith(
      `data: message ${number}\nid: ${id}\n\n`));
  }
  await node.stop();
  assert.equal(await within(stream.ended, 'curl sees the end'), 0, 'the end is an orderly one');
});

test('the README works as it is printed', LIMIT, async (t) => {
  const node = await startNode(t);
  const readme = readFileSync(path.join(TOP, 'README.md'), 'utf8').replaceAll('\\\n', ' ');
  const lines = readme.matchAll(/^ {4}(?:.*or: )?(curl .*)$/gm);
  const commands = [...lines].map(([, command]) => command);
  assert.ok(commands.length >= 4, `only ${commands.length} commands were found`);
  const run = (command) => start(t, 'sh', ['-c', `exec ${command}`.replace('curl ', 'curl -sS ')
    .replaceAll('localhost:7070', `localhost:${node.listen}`)
    .replaceAll('localhost:7071', `localhost:${node.api}`)]);

  const follow = commands.find((command) => command.includes('/sse?'));
  const stream = run(follow);
  await until(`${follow}: it opens`, () => stream.said.includes(OPENING));
  const publish = commands.filter((command) => command.includes(' -d '));
  assert.equal(publish.length, commands.length - 1);
  for (const command of publish) {
    const child = run(command);
    assert.equal(await within(child.ended, command), 0, child.said);
    const answer = JSON.parse(child.said);
    for (const result of answer.results ?? [answer]) {
      assert.deepEqual(Object.keys(result), ['id', 'offset', 'subscribers'], child.said);
    }
  }
  await until('what was published to demo', () => stream.said.includes(
    'data: {"hello":"world"}\n'));
  const kept = async (channel) => (await node.poll(
    `channels=${channel}&since=zzzzzzzz-0&wait=0`)).messages.map(({ data }) => data);
  assert.deepEqual(await kept('demo'), [{ hello: 'world' }]);
  assert.deepEqual(await kept('orders:42'), ['any bytes', { state: 'paid' }]);
  assert.deepEqual(await kept('audit'), ['paid']);
});

test('HEAD gives the head of GET and no body', LIMIT, async (t) => {
  const node = await startNode(t);
  for (const [target, type] of [
    ['/', 'text/html; charset=utf-8'], ['/healthz', undefined], ['/readyz', undefined],
    ['/sse?channels=h', STREAM], ['/poll?channels=h&wait=0', 'application/json'],
  ]) {
    const { status, fields, body } = parts(await curl(t, '--head', node.http + target));
    assert.equal(status, 'HTTP/1.1 200 OK', target);
    if (type) assert.equal(fields['content-type'], type, target);
    assert.equal(body, '', target);
  }
  assert.equal((await node.channel('h')).subscribers, 0);
  // The connection is good for the next request: curl sends both over one.
  const both = await curl(t, '--head', '--verbose', `${node.http}/healthz`, `${node.http}/readyz`);
  assert.match(both, /Re-using existing connection/);
});

test('HTTP/1.0 has streams and answers that end with the connection', LIMIT, async (t) => {
  const node = await startNode(t);
  const stream = start(t, 'curl', ['-sSN', '-0', '--include', `${node.http}/sse?channels=old`]);
  await until('the stream opens', () => stream.said.includes(OPENING));
  const { id } = await node.publish('old', 'to an old client');
  await until('the message', () => stream.said.endsWith(
    `data: to an old client\nid: ${id}\n\n`));
  const poll = parts(await curl(t, '-0', '--include',
    `${node.http}/poll?channels=old&since=${id}&wait=0`));
  assert.equal(poll.fields.connection, 'close');
  assert.equal(Number(poll.fields['content-length']), poll.body.length);
  assert.deepEqual(JSON.parse(poll.body), { id, messages: [] });
  const page = parts(await curl(t, '-0', '--include', `${node.http}/`));
  assert.equal(page.fields.connection, 'close');
  assert.match(page.body, /<\/html>\s*$/);
});

test('a long body is published, and arrives as it was', LIMIT, async (t) => {
  const node = await startNode(t);
  const long = 'x'.repeat(500_000);
  const file = path.join(folder(t), 'body');
  writeFileSync(file, long);
  for (const expect of ['Expect: 100-continue', 'Expect:']) {
    const stream = start(t, 'curl', ['-sSN', `${node.http}/sse?channels=long`]);
    await until('the stream opens', () => stream.said.includes(OPENING));
    const answer = await curl(t, '-H', expect, '--data-binary', `@${file}`,
      `${node.apiHttp}/v1/channels/long`);
    assert.equal(JSON.parse(answer).subscribers, 1, expect);
    await until('the whole message', () => stream.said.includes(`data: ${long}\n`));
    stream.kill();
    await until('it is gone', async () => (await node.channel('long')).subscribers === 0);
  }
});
