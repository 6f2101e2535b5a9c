// Thirty parsers of event streams that we did not write, each through one script: see
// parsers/script.mjs. What they see is a table, and the table is that of docs/CLIENTS.md.
//
//   FANFARE_PARSERS=NAME,…          only these
//   FANFARE_WRITE_TABLE=1           writes the table into the page

import assert from 'node:assert/strict';
import test from 'node:test';
import { startNode } from './node.mjs';
import { PARSERS } from './parsers/list.mjs';
import { CONFIG, FULL, observe } from './parsers/script.mjs';
import { committed, render, write } from './parsers/table.mjs';

const AT_ONCE = 4; // most of their time is begun processes and waits before a new connection

test('every parser sees the same, and the table says how', { timeout: 580_000 }, async (t) => {
  const [node, full] = await Promise.all([CONFIG, FULL].map((toml) => startNode(t, { toml })));
  const taken = await fetch(`${full.http}/sse?channels=taken`);
  await taken.body.getReader().read();
  const wanted = process.env.FANFARE_PARSERS?.split(',');
  const parsers = PARSERS.filter(({ name }) => !wanted || wanted.includes(name));
  assert.ok(parsers.length > 0, 'no such parser');
  const rows = new Map();
  const waiting = parsers.entries();
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (const [at, parser] of waiting) {
      await t.test(`${parser.name} (${parser.from})`, { timeout: 300_000 }, async (step) => {
        const begun = Date.now();
        rows.set(parser, await observe(step, { node, full }, parser, `p${at}`));
        step.diagnostic(`${Date.now() - begun} ms`);
      });
    }
  }));
  if (process.env.FANFARE_WRITE_TABLE) {
    write(rows);
    return;
  }
  const all = committed();
  for (const [parser, row] of rows) {
    const line = render(parser, row);
    assert.ok(all.includes(line), `docs/CLIENTS.md has no such row; FANFARE_WRITE_TABLE=1 writes it:
${line}`);
  }
  if (!wanted) assert.equal(all.length, rows.size, 'docs/CLIENTS.md has rows of others');
});
