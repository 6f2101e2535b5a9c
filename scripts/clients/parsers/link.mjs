// The network between one client and its node: it keeps the heads of the client's requests, counts
// the heartbeats, holds new requests back, and breaks a stream at once or in the middle of an event.

import net from 'node:net';
import { Arrivals, atEnd } from '../node.mjs';

const TAIL_MAX = 4096; // what is kept of the stream, to find a place in it

/** Forwards to `port`; `origin` is where it listens. */
export async function startLink(t, port) {
  const pairs = new Set();
  const link = { heads: new Arrivals('requests'), heartbeats: 0 };
  let gate = null; // while it stands, streams wait for it
  let place = null; // where to break the stream
  const server = net.createServer((client) => {
    const pair = { client, upstream: null, tail: '', streams: false };
    pairs.add(pair);
    const end = () => {
      pairs.delete(pair);
      client.destroy();
      pair.upstream?.destroy();
    };
    client.on('error', end).on('close', end);
    client.on('data', async (bytes) => {
      const text = bytes.toString('latin1'); // a head comes in one piece from this machine
      if (text.startsWith('GET /sse')) {
        pair.streams = true;
        link.heads.push(text);
        await gate?.opened;
      }
      if (client.destroyed) return;
      pair.upstream ??= net.connect(port, '127.0.0.1').on('error', end)
        .on('data', (down) => forward(pair, down))
        .on('end', () => client.end());
      pair.upstream.write(bytes);
    });
  });

  function forward(pair, bytes) {
    if (!pair.streams) {
      pair.client.write(bytes);
      return;
    }
    const before = pair.tail.length;
    const text = pair.tail + bytes.toString('latin1');
    link.heartbeats += text.slice(before).match(/\n:\n/g)?.length ?? 0;
    const at = place ? text.indexOf(place.marker) : -1;
    pair.tail = text.slice(-TAIL_MAX);
    pair.client.write(at < 0 ? bytes : bytes.subarray(0, at + place.marker.length - before));
    if (at >= 0) {
      const { broken } = place;
      place = null;
      broken(link.cut());
    }
  }

  /** New streams wait until `release`. */
  link.hold = () => {
    gate = {};
    gate.opened = new Promise((open) => { gate.open = open; });
  };
  link.release = () => {
    gate?.open();
    gate = null;
  };
  /** Breaks the streams of now, with an end (a FIN) or with a reset; gives how many. */
  link.cut = ({ reset = false } = {}) => {
    const streams = [...pairs].filter((pair) => pair.streams);
    for (const { client, upstream } of streams) {
      upstream?.destroy();
      if (reset) client.resetAndDestroy(); else client.end();
    }
    return streams.length;
  };
  /** Breaks the stream right behind `marker`, when that comes. */
  link.cutAfter = (marker) => new Promise((broken) => { place = { marker, broken }; });

  await new Promise((listening) => { server.listen(0, '127.0.0.1', listening); });
  link.origin = `http://127.0.0.1:${server.address().port}`;
  atEnd(t, () => {
    link.release();
    for (const { client, upstream } of pairs) { client.destroy(); upstream?.destroy(); }
    server.close();
  });
  return link;
}
