// A TCP proxy whose connections a test can cut: the network between a client and its node, where
// it breaks, while both of them live.

import net from 'node:net';
import { atEnd } from './node.mjs';

/** Forwards to `port`; `origin` is where it listens. While nothing listens at `port` its clients
 * wait, as behind a load balancer. */
export async function startProxy(t, port) {
  const pairs = new Set();
  const server = net.createServer((client) => {
    const upstream = net.connect(port, '127.0.0.1');
    const pair = { client, upstream };
    pairs.add(pair);
    const end = () => {
      pairs.delete(pair);
      client.destroy();
      upstream.destroy();
    };
    client.on('error', end).on('close', end);
    upstream.on('error', (error) => {
      const again = error.code === 'ECONNREFUSED' && !client.destroyed;
      if (again) setTimeout(() => upstream.connect(port, '127.0.0.1'), 50); else end();
    });
    upstream.once('connect', () => {
      client.on('data', (bytes) => { proxy.asked += bytes; });
      upstream.on('data', (bytes) => { proxy.answered += bytes; });
      client.pipe(upstream);
      upstream.pipe(client);
      upstream.on('close', end);
    });
  });
  await new Promise((listening) => { server.listen(0, '127.0.0.1', listening); });
  const proxy = {
    origin: `http://127.0.0.1:${server.address().port}`,
    /** What clients sent, all of them, and what they were sent. */
    asked: '',
    answered: '',
    /** Breaks what is connected now: with a reset, or with an orderly end (a FIN). */
    cut({ reset }) {
      const cut = [...pairs];
      for (const { client, upstream } of cut) {
        upstream.destroy();
        if (reset) client.resetAndDestroy(); else client.end();
      }
      return cut.length;
    },
  };
  atEnd(t, () => {
    for (const { client, upstream } of pairs) { client.destroy(); upstream.destroy(); }
    server.close();
  });
  return proxy;
}
