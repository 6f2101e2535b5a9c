// The table of docs/CLIENTS.md, between its two marks: written by the run, and compared with it.

import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { TOP } from '../node.mjs';
import { PARSERS } from './list.mjs';

const PAGE = path.join(TOP, 'docs/CLIENTS.md');
const [BEGIN, END] = ['<!-- made by scripts/clients/run -->',
  '<!-- end of what scripts/clients/run made -->'];
const COLUMNS = ['parser', 'from', 'version', 'opening', 'heartbeat', 'line ends and spaces',
  'Unicode', 'named event', 'comes back by itself', 'resumes with', 'half an event at a cut', 'gap',
  'largest message tried', 'remarks'];

export function render(parser, row) {
  return `| ${[parser.name, parser.from, parser.version ?? "Debian's", row.opening, row.heartbeat,
    row.lines, row.unicode, row.named, comesBack(row.back), row.with, row.half, row.gap, row.large, parser.remarks ?? '']
    .join(' | ')} |`;
}

/** After which cuts it came back by itself. */
function comesBack(back) {
  const ways = Object.keys(back);
  const itself = ways.filter((how) => back[how]);
  if (itself.length === ways.length) return 'yes';
  return itself.length ? `after ${itself.join(' and ')} only` : 'no';
}

function parts() {
  const page = readFileSync(PAGE, 'utf8');
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`${PAGE} has no place for the table`);
  return [page.slice(0, begin + BEGIN.length), page.slice(begin + BEGIN.length, end),
    page.slice(end)];
}

/** The page's rows, without the two lines of its head. */
export function committed() {
  return parts()[1].trim().split('\n').slice(2);
}

export function write(rows) {
  const [before, table, after] = parts();
  const old = table.trim().split('\n').slice(2);
  const lines = PARSERS.map((parser) => (rows.has(parser) ? render(parser, rows.get(parser))
    : old.find((line) => line.startsWith(`| ${parser.name} | ${parser.from} | `
      + `${parser.version ?? "Debian's"} |`)))).filter(Boolean);
  const head = [`| ${COLUMNS.join(' | ')} |`, `|${'---|'.repeat(COLUMNS.length)}`];
  writeFileSync(PAGE, `${before}\n${[...head, ...lines].join('\n')}\n${after}`);
}
