// One parser at work: a program, or a page in a browser, that says what it hears.

import { readFileSync } from 'node:fs';
import { atEnd, sleep, start, until } from '../node.mjs';
import { ENGINES } from './browsers.mjs';

/** Longest wait for anything: a browser or a JVM begins, or a parser that was cut comes back. */
export const PATIENCE_MS = 60_000;

const EVENTS = ['message', 'greeting', 'fanfare.open', 'fanfare.gap', 'fanfare.close'];

/** What a follower heard and what it met, in order. */
class Follower {
  heard = [];
  errors = [];
  end = null; // the last id, once it has ended and does not come back

  take({ event, data, id, error, end }) {
    if (event !== undefined) this.heard.push({ event, data, id });
    if (error !== undefined) this.errors.push(error);
    if (end !== undefined) this.end = end;
  }

  /** Waits for what `trueNow` says of what was heard from `place` on. */
  async until(what, place, trueNow, ms = PATIENCE_MS) {
    return until(what, () => trueNow(this.heard.slice(place)), ms).catch((error) => {
      throw new Error(`${error.message}; heard: ${shown(this.heard.slice(place))}; `
        + `errors: ${shown(this.errors)}`);
    });
  }
}

export function shown(things) {
  return JSON.stringify(things, (_, text) => (
    typeof text === 'string' && text.length > 200 ? `${text.slice(0, 200)}…` : text));
}

/** Starts `parser` on `target`; `lastId` is for those that are told where to go on. */
export async function follow(t, parser, target, lastId = '') {
  if (parser.engine) return followInPage(t, parser, target);
  const follower = new Follower();
  follower.child = start(t, parser.command, [...parser.args, target, ...(lastId ? [lastId] : [])],
    { env: { ...process.env, PYTHONWARNINGS: 'ignore', NODE_NO_WARNINGS: '1' } });
  let rest = '';
  follower.child.stdout.on('data', (text) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop();
    for (const line of lines) if (line.startsWith('{')) follower.take(JSON.parse(line));
  });
  follower.child.ended.then((code) => {
    if (follower.end === null) follower.errors.push(`ended with ${code}: ${follower.child.said}`);
  });
  return follower;
}

/** The engine's own EventSource, or a class that a script brings. */
async function followInPage(t, parser, target) {
  const follower = new Follower();
  const run = await ENGINES[parser.engine](t, new URL('/healthz', target).href);
  const make = parser.script
    ? `new SSE(${JSON.stringify(target)}, { autoReconnect: true, reconnectDelay: 100 })`
    : `new EventSource(${JSON.stringify(target)})`;
  if (parser.script) {
    await run(`(() => { ${readFileSync(parser.script, 'utf8').replace(/^export .*$/m, '')}
      window.SSE = SSE; return ''; })()`);
  }
  await run(`(() => {
    window.heard = [];
    const source = window.source = ${make};
    for (const name of ${JSON.stringify(EVENTS)}) {
      source.addEventListener(name, ({ type, data, lastEventId }) => {
        heard.push({ event: type, data, id: lastEventId });
      });
    }
    source.addEventListener('error', () => heard.push({ error: '' }));
    if (source.stream) source.stream();
    return '';
  })()`);
  let over = false;
  atEnd(t, () => { over = true; });
  follower.child = { ended: new Promise(() => {}), kill() { over = true; } };
  (async () => {
    while (!over) {
      for (const thing of JSON.parse(await run('JSON.stringify(heard.splice(0))'))) {
        follower.take(thing);
      }
      await sleep(50);
    }
  })().catch((error) => { follower.errors.push(error.message); });
  return follower;
}
