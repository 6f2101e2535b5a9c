//! What a publisher's key becomes, so that nodes that read one log agree on what was published
//! before, and a checkpoint holds no key.
//!
//! ```text
//!  of a key:   SipHash-2-4, 128 bits, of   tenant    length u16, name
//!                                          channel   length u16, name
//!                                          key       to the end
//!  of a body:  SipHash-2-4, 64 bits, of    kind      u8
//!                                          delivery  u8
//!                                          except    u64, 0 for nobody
//!                                          event     0 u8, or 1 u8, length u16, name
//!                                          also      count u8, length u16, name ...
//!                                          data      to the end
//! ```
//!
//! Where there are no further channels nothing stands for them; where there are, the u8 of the
//! event is 2 more. Both are under the secret that the order began with, in the form of the
//! reference implementation: the secret's bytes as they are, numbers little-endian, and of the
//! digest the first eight bytes first.

use std::fmt;
use std::hash::Hasher;

use siphasher::sip::SipHasher24;
use siphasher::sip128::{Hasher128, SipHasher24 as SipHasher24Long};

use super::Delivery;
use crate::message::Kind;

/// What only nodes know: the key of the digests. Whoever knew it could look for two messages of one
/// digest, so it is in the log and in checkpoints and is shown to nobody.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(pub [u8; 16]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(untold)")
    }
}

/// Whatever of a message makes it another one under the same key.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a> {
    /// What `data` is.
    pub kind: Kind,
    /// What becomes of it.
    pub delivery: Delivery,
    /// The connection that does not get it.
    pub except: Option<u64>,
    /// The publisher's name for the kind of event.
    pub event: Option<&'a str>,
    /// Its channels beside the first, which the key's digest has.
    pub also: &'a [&'a str],
    /// The payload.
    pub data: &'a [u8],
}

impl Secret {
    /// The digest of a key of this channel.
    pub fn of_key(&self, tenant: &str, channel: &str, key: &[u8]) -> [u64; 2] {
        let mut hasher = SipHasher24Long::new_with_key(&self.0);
        for name in [tenant, channel] {
            hasher.write(&length(name));
            hasher.write(name.as_bytes());
        }
        hasher.write(key);
        let digest = hasher.finish128();
        [digest.h1, digest.h2]
    }

    /// The digest of what is published.
    pub fn of_body(&self, body: &Body<'_>) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(&[body.kind as u8, body.delivery as u8]);
        hasher.write(&body.except.unwrap_or(0).to_le_bytes());
        hasher.write(&[u8::from(body.event.is_some()) | u8::from(!body.also.is_empty()) << 1]);
        if let Some(event) = body.event {
            hasher.write(&length(event));
            hasher.write(event.as_bytes());
        }
        if !body.also.is_empty() {
            hasher.write(&[body.also.len() as u8]);
            for name in body.also {
                hasher.write(&length(name));
                hasher.write(name.as_bytes());
            }
        }
        hasher.write(body.data);
        hasher.finish()
    }
}

/// Names are far shorter than 65,536 bytes.
fn length(name: &str) -> [u8; 2] {
    (name.len() as u16).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of the reference vectors: 00 01 02 and so on.
    fn secret() -> Secret {
        Secret(std::array::from_fn(|nth| nth as u8))
    }

    #[test]
    fn the_hash_is_that_of_the_reference_implementation() {
        // vectors_sip64 and vectors_sip128 of https://github.com/veorq/SipHash, of fifteen bytes
        // and of none.
        let fifteen: [u8; 15] = std::array::from_fn(|nth| nth as u8);
        let mut hasher = SipHasher24::new_with_key(&secret().0);
        hasher.write(&fifteen);
        assert_eq!(hasher.finish(), 0xa129_ca61_49be_45e5);
        let empty = SipHasher24Long::new_with_key(&secret().0).finish128();
        assert_eq!(
            [empty.h1.to_le_bytes(), empty.h2.to_le_bytes()].concat(),
            [
                0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55,
                0x02, 0x93
            ]
        );
    }

    #[test]
    fn a_digest_is_that_of_the_bytes_that_are_specified() {
        let mut hasher = SipHasher24Long::new_with_key(&secret().0);
        hasher.write(b"\x04\x00acme\x01\x00ak1");
        let digest = hasher.finish128();
        assert_eq!(secret().of_key("acme", "a", b"k1"), [digest.h1, digest.h2]);
        let event = Body {
            kind: Kind::Text,
            delivery: Delivery::Ephemeral,
            except: Some(0x0102),
            event: Some("greet"),
            also: &[],
            data: b"hi",
        };
        let mut hasher = SipHasher24::new_with_key(&secret().0);
        hasher.write(b"\x01\x01\x02\x01\0\0\0\0\0\0\x01\x05\x00greethi");
        assert_eq!(secret().of_body(&event), hasher.finish());
        let plain = Body { event: None, except: None, ..event };
        let mut hasher = SipHasher24::new_with_key(&secret().0);
        hasher.write(b"\x01\x01\0\0\0\0\0\0\0\0\x00hi");
        assert_eq!(secret().of_body(&plain), hasher.finish());
    }

    #[test]
    fn further_channels_are_part_of_the_message_and_never_taken_for_its_data() {
        let (kind, delivery) = (Kind::Text, Delivery::Kept);
        let plain = Body { kind, delivery, except: None, event: None, also: &[], data: b"hi" };
        let several = Body { also: &["b", "cd"], ..plain };
        let mut hasher = SipHasher24::new_with_key(&secret().0);
        hasher.write(b"\x01\x00\0\0\0\0\0\0\0\0\x02\x02\x01\x00b\x02\x00cdhi");
        assert_eq!(secret().of_body(&several), hasher.finish());
        let as_data = Body { data: b"\x02\x01\x00b\x02\x00cdhi", ..plain };
        assert_ne!(secret().of_body(&as_data), hasher.finish());
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", secret()), "Secret(untold)");
    }
}
