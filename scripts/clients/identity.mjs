// A node that asks clients who they are, and tokens of npm's jose for it: for the tests that are
// pages, and for those that are packages.

import { randomBytes, randomUUID } from 'node:crypto';
import * as jose from 'jose';
import { BINARY, start, startNode, within } from './node.mjs';

const SECRET = randomBytes(48).toString('base64url');
const ACME_SECRET = randomBytes(48).toString('base64url');
const KEY = randomBytes(24).toString('base64url');

/** How long a token is believed after its `exp`. */
const LEEWAY_S = 30;

/** A token of `user` that is good for so many seconds, leeway included. `acme` is the tenant. */
export async function signed({ user = 'ann', life = 3_600, acme = false, ...claims } = {}) {
  const now = Date.now() / 1000;
  const end = Math.round(now) + life - LEEWAY_S;
  return new jose.SignJWT({ channels: ['room:*'], jti: randomUUID(), ...claims })
    .setProtectedHeader({ alg: 'HS256', ...(acme && { kid: 'acme' }) })
    .setSubject(user).setIssuedAt(Math.round(now) - LEEWAY_S).setExpirationTime(end)
    .sign(new TextEncoder().encode(acme ? ACME_SECRET : SECRET));
}

/** When a token is believed no longer, in milliseconds since 1970. */
export const endOf = (token) => (jose.decodeJwt(token).exp + LEEWAY_S) * 1_000;

/** The name of a token, by which it can be revoked. */
export const nameOf = (token) => jose.decodeJwt(token).jti;

/** A node with two tenants: `room:*` is for those whose token grants it, `news` for everybody.
 * `node.acmeKey` is what the tenant `acme` publishes with. */
export async function startAsking(t, { origins = [], limits = '' } = {}) {
  const made = start(t, BINARY, ['api-key', '--actions', 'publish,read']);
  await within(made.ended, 'fanfare api-key');
  const [acmeKey] = made.said.match(/^ff_\S+$/m);
  const [hash] = made.said.match(/sha256:[^"]+/);
  const history = 'history = { count = 1_000, age = "1h" }';
  const node = await startNode(t, { key: KEY, toml: `
api_key = "${KEY}"
origins = ${JSON.stringify(origins)}
[limits]
retry = "100ms"
${limits}
[auth]
secret = "${SECRET}"
cookie = { name = "fan" }
[[tenants]]
name = "acme"
[[tenants.keys]]
kid = "acme"
secret = "${ACME_SECRET}"
[[tenants.api_keys]]
hash = "${hash}"
actions = ["publish", "read"]
[[channels]]
match = "news"
${history}
allow = { anonymous = ["subscribe"] }
[[channels]]
match = "**"
${history}
` });
  return Object.assign(node, { acmeKey });
}
