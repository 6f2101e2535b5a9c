// One node for one test: started on free ports, waited for, ended by its own process, and made to
// say by its exit code that it ended well. Also what every test waits with, because nothing in
// these files may wait without a bound.
//
//   FANFARE_DRIVER   uring or epoll (else what the node takes by itself)
//   FANFARE_BIN      the binary (else target/release/fanfare of this workspace)

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const TOP = fileURLToPath(new URL('../..', import.meta.url));
export const BINARY = process.env.FANFARE_BIN ?? path.join(TOP, 'target/release/fanfare');
export const DRIVER = process.env.FANFARE_DRIVER ?? 'auto';

/** Longest wait for anything that should come at once: a failure, not a measure. */
export const PATIENCE_MS = 60_000;

/** What one test may take: a hang, not a measure. */
export const LIMIT = { timeout: 300_000 };

export const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** The promise's value, or an error that says what did not come. */
export function within(promise, what, ms = PATIENCE_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    const error = new Error(`${what}: nothing for ${ms} ms`); // made here, where the stack tells
    timer = setTimeout(() => reject(error), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Waits until `trueNow()` gives something true, and gives that. */
export async function until(what, trueNow, ms = PATIENCE_MS) {
  for (const end = Date.now() + ms; ; await sleep(20)) {
    const value = await trueNow();
    if (value) return value;
    if (Date.now() > end) throw new Error(`${what}: not so after ${ms} ms`);
  }
}

/** What arrived, in its order, to be taken one by one. */
export class Arrivals {
  #arrived = [];
  #wake = null;
  constructor(what) { this.what = what; }
  push(value) {
    this.#arrived.push(value);
    this.#wake?.();
  }
  async next(ms = PATIENCE_MS) {
    if (!this.#arrived.length) {
      await within(new Promise((resolve) => { this.#wake = resolve; }), this.what, ms);
    }
    return this.#arrived.shift();
  }
  async take(count, ms = PATIENCE_MS) {
    const taken = [];
    while (taken.length < count) taken.push(await this.next(ms));
    return taken;
  }
  /** Nothing more may come: says so if something does within `ms`. */
  async silence(ms = 150) {
    await sleep(ms);
    assert.deepEqual(this.#arrived, [], `${this.what}: something came that should not`);
  }
}

/** Ports that are free now, because each was bound a moment ago. */
export async function freePorts(count) {
  const servers = await Promise.all(Array.from({ length: count }, () => new Promise(
    (resolve, reject) => {
      const server = net.createServer().on('error', reject);
      server.listen(0, '127.0.0.1', () => resolve(server));
    })));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((done) => { server.close(done); })));
  return ports;
}

/** Does `work` when the test ends, the last asked for first: clients go before their node. */
export function atEnd(t, work) {
  if (!endings.has(t)) {
    endings.set(t, []);
    t.after(async () => {
      const failures = [];
      for (const end of endings.get(t).reverse()) {
        try { await end(); } catch (error) { failures.push(error); }
      }
      if (failures.length) throw failures[0];
    });
  }
  endings.get(t).push(work);
}
const endings = new WeakMap();

/** A folder that goes when the test ends. */
export function folder(t) {
  const made = mkdtempSync(path.join(os.tmpdir(), 'fanfare-clients-'));
  atEnd(t, () => rmSync(made, { recursive: true, force: true }));
  return made;
}

// What a test that dies could leave behind is ended with this process, by its number.
const alive = new Set();
process.on('exit', () => { for (const child of alive) child.kill('SIGKILL'); });

/** Starts a program that ends with the test at the latest; `ended` is its code, or its signal. */
export function start(t, program, args, options = {}) {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  alive.add(child);
  child.ended = new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve(code ?? signal));
  }).finally(() => alive.delete(child));
  child.ended.catch(() => {}); // whoever waits for it is told
  child.said = '';
  for (const pipe of [child.stdout, child.stderr]) {
    pipe.setEncoding('utf8').on('data', (text) => { child.said += text; });
  }
  atEnd(t, async () => {
    child.kill('SIGKILL');
    await child.ended.catch(() => {});
  });
  return child;
}

/** A node. `toml` is its configuration file; `flags` are added to its command line; `key` is what
 * its API is asked with. */
export async function startNode(t, { toml = '', flags = [], key } = {}) {
  const config = path.join(folder(t), 'fanfare.toml');
  writeFileSync(config, toml);
  chmodSync(config, 0o600);
  const node = new Node(t, [
    '--config', config, '--driver', DRIVER, '--shards', '2', '--socket', 'none', ...flags,
  ], key);
  await node.begin();
  return node;
}

class Node {
  constructor(t, args, key) {
    Object.assign(this, { t, args, key, listen: 0, api: 0 });
  }

  /** Starts it, on free ports that it has each time, and returns when it takes clients. */
  async begin() {
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !name.startsWith('FANFARE_')));
    this.child = start(this.t, BINARY, [...this.args, '--listen', `127.0.0.1:${this.listen}`,
      '--api', `127.0.0.1:${this.api}`], { env });
    this.stopping = null;
    atEnd(this.t, () => this.stop());
    let over = null;
    this.child.ended.then((code) => { over = `it ended with ${code}`; }, (error) => {
      over = `${BINARY} does not run (cargo build --release): ${error.message}`;
    });
    const ready = await until('the node is ready', () => {
      if (over) throw new Error(`${over}\n${this.child.said}`);
      return this.child.said.split('\n').slice(0, -1).map((line) => JSON.parse(line).fields)
        .find((fields) => fields?.message === 'ready');
    });
    [this.listen, this.api] = [ready.listen, ready.api].map((said) => Number(said.split(':')[1]));
    this.http = `http://127.0.0.1:${this.listen}`;
    this.ws = `ws://127.0.0.1:${this.listen}`;
    this.apiHttp = `http://127.0.0.1:${this.api}`;
  }

  /** Asks it to end, as an init system does, and holds it to its exit code. */
  stop() {
    this.stopping ??= (async () => {
      this.child.kill('SIGTERM');
      const code = await within(this.child.ended, 'the node ends').catch((error) => error.message);
      assert.equal(code, 0, `the node's exit code; it said:\n${this.child.said}`);
    })();
    return this.stopping;
  }

  /** Publishes the body as it is. The answer says where it stands. */
  async publish(channel, body, { event, type, key = this.key } = {}) {
    const query = event ? `?event=${encodeURIComponent(event)}` : '';
    return post(`${this.apiHttp}/v1/channels/${encodeURIComponent(channel)}${query}`, body,
      type ?? 'application/x-www-form-urlencoded', key); // the type is what `curl -d` sends
  }

  /** Publishes many with one request: `[{channel, data, event?}]`. */
  async publishAll(messages) {
    const { results } = await this.ask('/v1/publish', { messages });
    assert.equal(results.length, messages.length);
    return results;
  }

  /** Asks the API with JSON, and gives the JSON of its answer. */
  async ask(target, asked) {
    return post(`${this.apiHttp}${target}`, JSON.stringify(asked), 'application/json', this.key);
  }

  /** What the API says of a channel. */
  async channel(name) {
    const answer = await within(fetch(`${this.apiHttp}/v1/channels/${encodeURIComponent(name)}`,
      { headers: bearer(this.key) }), `channel ${name}`);
    return answer.json();
  }

  /** One poll: its JSON. */
  async poll(query) {
    const answer = await within(fetch(`${this.http}/poll?${query}`), `poll ${query}`);
    const text = await answer.text();
    assert.equal(answer.status, 200, text);
    return JSON.parse(text);
  }
}

const bearer = (key) => (key ? { Authorization: `Bearer ${key}` } : {});

async function post(target, body, type, key) {
  const headers = { 'Content-Type': type, ...bearer(key) };
  const answer = await within(fetch(target, { method: 'POST', body, headers }), `POST ${target}`);
  const text = await answer.text();
  assert.equal(answer.status, 200, text);
  return JSON.parse(text);
}

/** The numbers `from` to `to`, both counted in. */
export const range = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => from + at);
