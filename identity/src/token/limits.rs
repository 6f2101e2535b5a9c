//! What a token may be, at most.

/// Bytes of a whole token.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// By how many seconds the clocks of who makes tokens and who checks them may differ.
pub const LEEWAY_S: u64 = 30;
/// The latest time that a claim may name: what every JSON reader can tell from its neighbours, and
/// in milliseconds still fits 63 bits.
pub(super) const TIME_S_MAX: u64 = (1 << 53) - 1;
/// Bytes of `kid`, `sub` and `jti`, each.
pub(super) const NAME_BYTES_MAX: usize = 255;
/// Bytes of `info`, as it was written.
pub const INFO_BYTES_MAX: usize = 1024;
/// Patterns in `channels`, and channels in `follow`, each: what a connection keeps of its token.
pub const GRANTS_MAX: usize = 256;

const _: () = assert!(TIME_S_MAX < (i64::MAX / 1_000) as u64, "milliseconds of it fit");
const _: () =
    assert!(INFO_BYTES_MAX < TOKEN_BYTES_MAX, "else it could not be said why it was refused");
