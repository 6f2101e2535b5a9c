// The parsers of the matrix: where each comes from, how it is run, and what is known of it. How it
// behaves is not said here but seen, by script.mjs.

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { TOP } from '../node.mjs';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const TOOLS = path.join(TOP, 'target/tools');
const read = (file) => readFileSync(path.join(HERE, file), 'utf8');

// Versions are those of the lock files.
const { packages } = JSON.parse(read('../package-lock.json'));
const pinned = new Map(Object.entries(packages)
  .map(([place, { version }]) => [`npm:${place.replace('node_modules/', '')}`, version]));
for (const [, name, version] of read('../requirements.txt').matchAll(/^([^=\s#]+)==(\S+)/gm)) {
  pinned.set(`PyPI:${name}`, version);
}
for (const [, name, version] of read('go/go.mod').matchAll(/^\tgithub\.com\/(\S+) (\S+)/gm)) {
  pinned.set(`Go:${name.replace(/\/v\d+$/, '')}`, version.replace(/^v(0\.0\.0-)?/, ''));
}
for (const [, name, version] of read('java/pom.xml')
  .matchAll(/<artifactId>([^<]+)<\/artifactId>\s*<version>([^<]+)</g)) {
  pinned.set(`Maven:${name}`, version);
}

const PROGRAMS = {
  npm: ['node', path.join(HERE, 'npm.mjs')],
  PyPI: [path.join(TOOLS, 'venv/bin/python'), path.join(HERE, 'pypi.py')],
  Go: [path.join(TOOLS, 'parsers/go')],
  Maven: ['java', '-Xshare:auto', '-XX:TieredStopAtLevel=1', '-cp',
    `${TOOLS}/parsers/java:${TOOLS}/parsers/java/*`, 'Main'],
};

function program(from, name, traits = {}) {
  const [command, ...args] = PROGRAMS[from];
  const version = pinned.get(`${from}:${name}`);
  if (!version) throw new Error(`no lock file names ${name} of ${from}`);
  return { from, name: traits.shown ?? name, version, command, args: [...args, name], ...traits };
}

// Traits, beside `remarks` for the table:
//   endsEmpty     it may give an empty message at an end that we said
//   resets: false after a reset in mid-stream it hangs, so it is cut with a FIN alone
export const PARSERS = [
  { from: 'Debian', name: 'Chromium', engine: 'Chromium' },
  { from: 'Debian', name: 'Firefox ESR', engine: 'Firefox' },
  { from: 'Debian', name: 'WebKitGTK', engine: 'WebKitGTK' },
  program('npm', 'eventsource'),
  program('npm', 'eventsource2', { shown: 'eventsource' }),
  program('npm', 'undici', { resets: false, remarks: 'hangs after a reset in mid-stream' }),
  program('npm', 'launchdarkly-eventsource'),
  program('npm', 'event-source-polyfill'),
  program('npm', 'extended-eventsource'),
  program('npm', 'reconnecting-eventsource', { remarks: 'over `eventsource` 3' }),
  program('npm', '@microsoft/fetch-event-source', {
    remarks: 'comes back after an end where `onclose` throws' }),
  program('npm', 'eventsource-client'),
  program('npm', 'eventsource-parser', { remarks: 'over `fetch`; what AI SDKs use' }),
  program('npm', 'fetch-event-stream', { remarks: 'over `fetch`' }),
  program('npm', 'openai', { remarks: 'its stream decoder, over `fetch`' }),
  { from: 'npm', name: 'sse.js', version: pinned.get('npm:sse.js'), engine: 'Chromium',
    script: path.join(HERE, '../node_modules/sse.js/lib/sse.js'), remarks: 'in Chromium' },
  program('PyPI', 'httpx-sse', { remarks: "httpx's read timeout of 5 s must be off" }),
  program('PyPI', 'sseclient-py', { remarks: 'over requests' }),
  program('PyPI', 'sseclient', { endsEmpty: true,
    remarks: 'reads past the chunks: at an end that we said it gives an empty message' }),
  program('PyPI', 'requests', { remarks: '`iter_lines()`, and the fields by hand' }),
  program('PyPI', 'requests-sse'),
  program('PyPI', 'launchdarkly-eventsource'),
  program('PyPI', 'openai', { remarks: 'its stream decoder, over httpx' }),
  program('PyPI', 'aiosseclient'),
  program('PyPI', 'aiohttp-sse-client'),
  program('PyPI', 'aiohttp-sse-client2'),
  program('Go', 'r3labs/sse'),
  program('Go', 'donovanhide/eventsource'),
  program('Go', 'launchdarkly/eventsource'),
  program('Go', 'tmaxmax/go-sse'),
  program('Maven', 'okhttp-eventsource', { remarks: "LaunchDarkly's" }),
  program('Maven', 'okhttp-sse', { remarks: "OkHttp's read timeout of 10 s must be off" }),
  program('Maven', 'jersey-media-sse'),
];
