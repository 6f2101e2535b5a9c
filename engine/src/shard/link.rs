//! The lists of the wheel run through the connections: what each has of them.

/// No connection.
pub(super) const NOBODY: u32 = u32::MAX;
/// No bucket.
pub(super) const NOWHERE: u16 = u16::MAX;

/// Where a connection stands in the wheel. Packed to ten bytes, since two more would make every
/// `Connection` eight bytes longer.
#[derive(Clone, Copy, Debug)]
#[repr(Rust, packed(2))]
pub(super) struct Link {
    pub(super) previous: u32,
    pub(super) next: u32,
    pub(super) bucket: u16,
}

impl Link {
    /// In no bucket.
    pub(super) const NONE: Self = Self { previous: NOBODY, next: NOBODY, bucket: NOWHERE };
}
