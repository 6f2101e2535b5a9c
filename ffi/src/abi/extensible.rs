//! What a structure of the C ABI promises that grows from version to version.

/// A structure that may grow at its end.
///
/// # Safety
/// `repr(C)`, its first field is the `u32` of its size, it has no padding, and zero bytes are a
/// value of it.
pub(super) unsafe trait Extensible: Copy {
    /// Bytes that every version has.
    const SIZE_MIN: usize;
}
