// Tokens of npm's jose, by `fanfare token check`: each algorithm is believed, and classic forgeries
// are not. Keys come as PEM, as a key set, and from an address.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import test from 'node:test';
import * as jose from 'jose';
import { BINARY, LIMIT, PATIENCE_MS, folder, start, within } from './node.mjs';

const SECRET = Buffer.from('0123456789abcdef0123456789abcdef');
const ASYMMETRIC = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'EdDSA',
  'Ed25519'];

/** What `fanfare token check` says of a token, and its exit code. */
async function check(t, token, ...flags) {
  const child = start(t, BINARY, ['token', 'check', ...flags, token]);
  const code = await within(child.ended, 'fanfare token check', PATIENCE_MS);
  return { code, said: child.said };
}

async function believes(t, token, ...flags) {
  const { code, said } = await check(t, token, ...flags);
  assert.equal(code, 0, said);
  assert.match(said, /It is good\. Its bearer is the user "ada"/);
}

async function refuses(t, token, ...flags) {
  const { code, said } = await check(t, token, ...flags);
  assert.equal(code, 65, said);
}

const claims = () => new jose.SignJWT({ channels: { 'room:*': ['subscribe', 'publish'] } })
  .setSubject('ada').setIssuedAt().setIssuer('https://id.example').setAudience(['live', 'x'])
  .setExpirationTime('1h').setNotBefore('0s');

/** A key pair of jose, its public half in a file, and a token. */
async function made(t, alg) {
  const { publicKey, privateKey } = await jose.generateKeyPair(alg, { extractable: true });
  const pem = path.join(folder(t), 'public.pem');
  writeFileSync(pem, await jose.exportSPKI(publicKey));
  const token = await claims().setProtectedHeader({ alg, typ: 'JWT' }).sign(privateKey);
  return { publicKey, privateKey, pem, token };
}

const base64url = (json) => Buffer.from(JSON.stringify(json)).toString('base64url');

test('tokens by secrets', LIMIT, async (t) => {
  const file = path.join(folder(t), 'secret');
  writeFileSync(file, SECRET);
  for (const alg of ['HS256', 'HS384', 'HS512']) {
    const token = await claims().setProtectedHeader({ alg }).sign(SECRET);
    const flags = ['--secret-file', file, '--alg', alg];
    await believes(t, token, ...flags, '--issuer', 'https://id.example', '--audience', 'live');
    await refuses(t, token, ...flags, '--issuer', 'https://other.example');
    await refuses(t, token, ...flags, '--audience', 'nobody');
    await refuses(t, token, '--secret-file', file, '--alg', alg === 'HS256' ? 'HS512' : 'HS256');
    const old = await new jose.SignJWT({}).setSubject('ada').setProtectedHeader({ alg })
      .setExpirationTime(Math.floor(Date.now() / 1000) - 60).sign(SECRET);
    const { code, said } = await check(t, old, ...flags);
    assert.equal(code, 65);
    assert.match(said, /token_expired/);
  }
});

for (const alg of ASYMMETRIC) {
  test(`tokens by ${alg}, and forgeries of them`, LIMIT, async (t) => {
    const { publicKey, pem, token } = await made(t, alg);
    const flags = ['--public-key-file', pem, '--alg', alg];
    await believes(t, token, ...flags);

    const [header, body, signature] = token.split('.');
    const other = (await made(t, alg)).token;
    const root = base64url({ sub: 'root', exp: Math.floor(Date.now() / 1000) + 60 });
    const hs256 = base64url({ alg: 'HS256' });
    const spki = await jose.exportSPKI(publicKey);
    const confused = createHmac('sha256', spki).update(`${hs256}.${body}`).digest('base64url');
    const jwk = base64url({ alg, jwk: await jose.exportJWK(publicKey) });
    for (const forged of [
      other,
      `${header}.${root}.${signature}`,
      `${header}.${body}.`,
      `${base64url({ alg: 'none' })}.${body}.`,
      `${base64url({ alg: 'none' })}.${body}.${signature}`,
      `${hs256}.${body}.${confused}`,
      `${jwk}.${body}.${signature}`,
      `${header}.${body}.${Buffer.alloc(Buffer.from(signature, 'base64url').length)
        .toString('base64url')}`,
    ]) await refuses(t, forged, ...flags);
  });
}

test('an encrypted token is refused', LIMIT, async (t) => {
  const { pem } = await made(t, 'RS256');
  const { publicKey } = await jose.generateKeyPair('RSA-OAEP');
  const token = await new jose.EncryptJWT({}).setSubject('ada').setExpirationTime('1h')
    .setProtectedHeader({ alg: 'RSA-OAEP', enc: 'A256GCM' }).encrypt(publicKey);
  const { code, said } = await check(t, token, '--public-key-file', pem, '--alg', 'RS256');
  assert.equal(code, 65);
  assert.match(said, /JWE/);
});

test('a key set, in a file and at an address', LIMIT, async (t) => {
  const pairs = await Promise.all(['RS256', 'ES256', 'ES384', 'EdDSA'].map(async (alg) => {
    const pair = await jose.generateKeyPair(alg, { extractable: true });
    return { alg, ...pair, jwk: await jose.exportJWK(pair.publicKey) };
  }));
  const encryption = await jose.generateKeyPair('RSA-OAEP', { extractable: true });
  const keys = [
    { ...await jose.exportJWK(encryption.publicKey), use: 'enc', alg: 'RSA-OAEP', kid: 'RS256' },
    ...pairs.map(({ alg, jwk }) => ({ ...jwk, kid: alg, use: 'sig', alg })),
  ];
  const file = path.join(folder(t), 'jwks.json');
  writeFileSync(file, JSON.stringify({ keys }));
  const server = http.createServer((request, response) => {
    response.setHeader('content-type', 'application/jwk-set+json');
    response.end(JSON.stringify({ keys }));
  });
  t.after(() => server.close());
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const url = `http://127.0.0.1:${server.address().port}/jwks.json`;
  for (const flags of [['--public-key-file', file], ['--jwks-url', url]]) {
    for (const { alg, privateKey } of pairs) {
      const named = (kid) => claims().setProtectedHeader({ alg, kid }).sign(privateKey);
      await believes(t, await named(alg), ...flags);
      await refuses(t, await named('unknown'), ...flags);
      await refuses(t, await named(alg === 'RS256' ? 'ES256' : 'RS256'), ...flags);
    }
  }
});
