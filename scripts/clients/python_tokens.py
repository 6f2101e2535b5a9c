"""Tokens of PyPI's PyJWT and Authlib, by `fanfare token check`.

Run by `scripts/clients/run`, or alone with a Python that has requirements.txt installed:

    target/tools/venv/bin/python scripts/clients/python_tokens.py -v

FANFARE_BIN names another binary than target/release/fanfare. Nothing here waits without a bound.
"""

import json
import os
import pathlib
import subprocess
import tempfile
import time
import unittest
import warnings

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Authlib says that its successor is joserfc
    from authlib.jose import JsonWebKey, JsonWebToken

TOP = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("FANFARE_BIN", str(TOP / "target/release/fanfare"))
PATIENCE_S = 60
SECRET = "0123456789abcdef0123456789abcdef" * 2

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
KEYS = {
    "RS256": RSA, "RS384": RSA, "RS512": RSA, "PS256": RSA, "PS384": RSA, "PS512": RSA,
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def claims(**more):
    now = int(time.time())
    return {"sub": "ada", "iat": now, "exp": now + 3600, "channels": ["room:*"], **more}


def private_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


def public_pem(key):
    return key.public_key().public_bytes(serialization.Encoding.PEM,
                                         serialization.PublicFormat.SubjectPublicKeyInfo)


class Tokens(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="fanfare-tokens-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.file("secret", SECRET.encode())

    def file(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return path

    def check(self, token, code, *flags):
        """What the command says of a token, held to its exit code."""
        run = subprocess.run([BINARY, "token", "check", *map(str, flags), "-"], input=token,
                             capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        self.assertEqual(run.returncode, code, run.stdout + run.stderr)
        return run.stdout

    def believes(self, token, *flags):
        self.assertIn('the user "ada"', self.check(token, 0, *flags))

    def by_key(self, alg):
        return "--public-key-file", self.file("public.pem", public_pem(KEYS[alg])), "--alg", alg

    def by_secret(self, alg):
        return "--secret-file", self.folder / "secret", "--alg", alg

    def test_pyjwt(self):
        for alg in ("HS256", "HS384", "HS512"):
            with self.subTest(alg):
                self.believes(jwt.encode(claims(), SECRET, alg), *self.by_secret(alg))
        for alg, key in KEYS.items():
            with self.subTest(alg):
                token = jwt.encode(claims(), key, alg, headers={"kid": "any"})
                self.believes(token, *self.by_key(alg))
                head, body, signature = token.split(".")
                other = jwt.encode(claims(sub="root"), key, alg).split(".")
                for forged in (f"{head}.{other[1]}.{signature}", f"{other[0]}.{body}.{other[2]}",
                               f"{head}.{body}.", f"{token}.", token[:-4],
                               jwt.encode(claims(), None, "none")):
                    self.check(forged, 65, *self.by_key(alg))

    def test_authlib(self):
        jose = JsonWebToken([*KEYS, "HS256", "HS384", "HS512"])
        for alg in ("HS256", "HS384", "HS512"):
            with self.subTest(alg):
                token = jose.encode({"alg": alg}, claims(), SECRET).decode()
                self.believes(token, *self.by_secret(alg))
        for alg, key in KEYS.items():
            with self.subTest(alg):
                token = jose.encode({"alg": alg, "kid": "any"}, claims(), private_pem(key))
                self.believes(token.decode(), *self.by_key(alg))

    def test_a_key_set_of_authlib(self):
        algs = ("RS256", "ES256", "ES384", "EdDSA")
        keys = [json.loads(JsonWebKey.import_key(public_pem(KEYS[alg]), {"kid": alg}).as_json())
                for alg in algs]
        path = self.file("jwks.json", json.dumps({"keys": keys}).encode())
        for alg in algs:
            token = jwt.encode(claims(), KEYS[alg], alg, headers={"kid": alg})
            self.believes(token, "--public-key-file", path)
            stranger = jwt.encode(claims(), KEYS[alg], alg, headers={"kid": "other"})
            self.check(stranger, 65, "--public-key-file", path)

    def test_times_as_pyjwt_writes_them(self):
        def token(**more):
            return jwt.encode(claims(**more), SECRET, "HS256")
        now = int(time.time())
        said = self.check(token(exp=now - 60), 65, *self.by_secret("HS256"))
        self.assertIn("token_expired", said)
        for bad in ({"nbf": now + 600}, {"iat": now + 600}, {"exp": now + 60.5}, {"exp": None},
                    {"exp": str(now + 60)}, {"aud": 7}, {"channels": ["a*"]}):
            self.check(token(**bad), 65, *self.by_secret("HS256"))


if __name__ == "__main__":
    unittest.main()
