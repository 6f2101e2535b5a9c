//! One key: what checks signatures of one algorithm.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, DecodingKeyKind};
use ring::{hmac, signature};
use simple_asn1::{ASN1Block, BigUint};

use super::algorithm::{Algorithm, Family};

/// Bytes of the shortest secret: as many as the shortest hash has (RFC 7518, section 3.2).
pub const SECRET_BYTES_MIN: usize = 32;
/// Bits of RSA moduli: shorter ones can be factored (RFC 7518, section 3.3), longer ones only cost.
const RSA_BITS: std::ops::RangeInclusive<u64> = 2_048..=8_192;

/// A key and the one algorithm that it is for. It shows nothing of itself.
pub struct Key {
    algorithm: Algorithm,
    material: Material,
}

enum Material {
    Secret(hmac::Key),
    /// Modulus and exponent, big-endian, without zeros before them.
    Rsa {
        modulus: Box<[u8]>,
        exponent: Box<[u8]>,
    },
    /// A point as SEC 1 writes it, or the bytes of an Ed25519 key.
    Point(Box<[u8]>),
}

impl Key {
    /// A secret that who makes tokens shares: for HS256, HS384 or HS512.
    ///
    /// # Errors
    /// A sentence: the secret can be guessed, or the algorithm has none.
    pub fn secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, String> {
        let hash = match algorithm {
            Algorithm::Hs256 => hmac::HMAC_SHA256,
            Algorithm::Hs384 => hmac::HMAC_SHA384,
            Algorithm::Hs512 => hmac::HMAC_SHA512,
            other => {
                return Err(format!(
                    "{other} is checked with a public key, not with a secret: HS256, HS384 and \
                     HS512 have one"
                ));
            }
        };
        if secret.len() < SECRET_BYTES_MIN {
            return Err(format!(
                "the secret has {} bytes and could be guessed: at least {SECRET_BYTES_MIN} random \
                 ones are needed, as from `openssl rand -hex 32`",
                secret.len()
            ));
        }
        Ok(Self { algorithm, material: Material::Secret(hmac::Key::new(hash, secret)) })
    }

    /// A public key in PEM: SPKI (`PUBLIC KEY`), PKCS #1 (`RSA PUBLIC KEY`), or that of a
    /// certificate, which is not checked.
    ///
    /// # Errors
    /// A sentence: it cannot be read, is no public key of this algorithm, or too weak.
    pub fn pem(algorithm: Algorithm, text: &[u8]) -> Result<Self, String> {
        if text.windows(12).any(|bytes| bytes == b"PRIVATE KEY-") {
            return Err(
                "this is a private key: it belongs to who makes tokens, and here its public \
                        half (`openssl pkey -pubout`)"
                    .into(),
            );
        }
        let read = match algorithm.family() {
            Family::Hmac => return Err(format!("{algorithm} has a secret and no public key")),
            Family::Rsa => DecodingKey::from_rsa_pem(text),
            Family::P256 | Family::P384 => DecodingKey::from_ec_pem(text),
            Family::Ed25519 => DecodingKey::from_ed_pem(text),
        };
        let key = read.map_err(|_| format!("this is no public key for {algorithm} in PEM"))?;
        Self::public(algorithm, &key)
    }

    /// A public key as the JWT crate has read it.
    pub(super) fn public(algorithm: Algorithm, key: &DecodingKey) -> Result<Self, String> {
        let material = match (algorithm.family(), key.kind()) {
            (Family::Rsa, DecodingKeyKind::SecretOrDer(der)) => {
                let (modulus, exponent) = rsa_parts(der).ok_or("this is no public key of RSA")?;
                rsa(&modulus, &exponent)?
            }
            (Family::Rsa, DecodingKeyKind::RsaModulusExponent { n, e }) => rsa(n, e)?,
            (family, DecodingKeyKind::SecretOrDer(bytes)) => point(family, bytes)
                .ok_or_else(|| format!("this is no public key for {algorithm}: another curve?"))?,
            _ => return Err(format!("this is no public key for {algorithm}")),
        };
        Ok(Self { algorithm, material })
    }

    /// What it is for.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature` is what the holder of this key made for `message`. Secrets are compared
    /// in constant time.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            Material::Rsa { modulus, exponent } => {
                let Some(parameters) = rsa_parameters(self.algorithm) else { return false };
                let key = signature::RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(parameters, message, signature).is_ok()
            }
            Material::Point(point) => {
                let Some(curve) = curve(self.algorithm) else { return false };
                signature::UnparsedPublicKey::new(curve, point).verify(message, signature).is_ok()
            }
        }
    }

    /// A token with these claims (one JSON object), signed by this secret: for development, and
    /// for tests. `None` where the key only checks.
    pub fn sign(&self, kid: Option<&str>, claims: &str) -> Option<String> {
        let Material::Secret(key) = &self.material else { return None };
        let mut header = serde_json::json!({ "alg": self.algorithm.as_str(), "typ": "JWT" });
        if let Some(kid) = kid {
            header["kid"] = kid.into();
        }
        let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let tag = hmac::sign(key, token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(tag, &mut token);
        Some(token)
    }

    /// Whether a token that one of the two believes is believed by the other.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let same = match (&self.material, &other.material) {
            (Material::Secret(own), Material::Secret(other)) => {
                hmac::verify(own, b"", hmac::sign(other, b"").as_ref()).is_ok()
            }
            (Material::Rsa { modulus, .. }, Material::Rsa { modulus: other, .. }) => {
                modulus == other
            }
            (Material::Point(own), Material::Point(other)) => own == other,
            _ => false,
        };
        same && self.algorithm == other.algorithm
    }
}

/// Names the algorithm and nothing else.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Modulus and exponent of `RSAPublicKey` (RFC 8017, appendix A.1.1).
fn rsa_parts(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let blocks = simple_asn1::from_der(der).ok()?;
    let [ASN1Block::Sequence(_, parts)] = &blocks[..] else { return None };
    match &parts[..] {
        [ASN1Block::Integer(_, modulus), ASN1Block::Integer(_, exponent)] => {
            let unsigned = |number: &simple_asn1::BigInt| Some(number.to_biguint()?.to_bytes_be());
            Some((unsigned(modulus)?, unsigned(exponent)?))
        }
        _ => None,
    }
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Material, String> {
    let [modulus, exponent] = [modulus, exponent].map(|number| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        &number[zeros..]
    });
    let bits = modulus
        .first()
        .map_or(0, |first| modulus.len() as u64 * 8 - u64::from(first.leading_zeros()));
    if !RSA_BITS.contains(&bits) {
        return Err(format!("the RSA key has {bits} bits: 2,048 to 8,192 are taken"));
    }
    // With an exponent of 1 every message is its own signature.
    let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
    if !is_odd(modulus) || !is_odd(exponent) || exponent == [1] || exponent.len() > 4 {
        return Err("the RSA key is none: its modulus is even, or its exponent is not an odd \
                    number from 3 to 2^32"
            .into());
    }
    Ok(Material::Rsa { modulus: modulus.into(), exponent: exponent.into() })
}

/// A point as the family has them. One of another curve of the same size (secp256k1 has P-256's)
/// would check no signature, and nobody would know why.
fn point(family: Family, bytes: &[u8]) -> Option<Material> {
    let fits = match family {
        Family::P256 => is_on(P256, bytes),
        Family::P384 => is_on(P384, bytes),
        Family::Ed25519 => bytes.len() == 32,
        Family::Hmac | Family::Rsa => false,
    };
    fits.then(|| Material::Point(bytes.into()))
}

/// The prime and the `b` of a curve y^2 = x^3 - 3x + b (SP 800-186, section 3.2.1).
type Curve = [&'static str; 2];
const P256: Curve = [
    "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
    "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b",
];
const P384: Curve = [
    "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe\
     ffffffff0000000000000000ffffffff",
    "b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875a\
     c656398d8a2ed19d2a85c8edd3ec2aef",
];

/// Whether this is a point of the curve, uncompressed.
fn is_on(curve: Curve, bytes: &[u8]) -> bool {
    let [prime, b] = curve.map(|hex| BigUint::parse_bytes(hex.as_bytes(), 16).unwrap_or_default());
    let width = curve[0].len() / 2;
    let Some((4, coordinates)) = bytes.split_first() else { return false };
    if coordinates.len() != 2 * width {
        return false;
    }
    let (x, y) = coordinates.split_at(width);
    let [x, y] = [x, y].map(BigUint::from_bytes_be);
    let right = &x * &x * &x + (&prime - 3u8) * &x + b;
    x < prime && y < prime && (&y * &y) % &prime == right % &prime
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static signature::RsaParameters> {
    Some(match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

/// `FIXED` is r and s one after the other, as RFC 7518 has them: ASN.1 is refused.
fn curve(algorithm: Algorithm) -> Option<&'static dyn signature::VerificationAlgorithm> {
    Some(match algorithm {
        Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::EdDsa => &signature::ED25519,
        _ => return None,
    })
}
