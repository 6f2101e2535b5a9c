//! Pointers of a C program, checked before they are used: not null, aligned, of a possible size.
//! What cannot be checked (whether memory is really there) is the caller's promise.

use std::ffi::c_char;

use super::extensible::Extensible;
use super::types::{ChannelReceipt, Name, Receipt};
use crate::code::{Code, FANFARE_E_INVAL};

/// Largest structure that is looked at: a size beyond it is garbage.
const SIZE_MAX: usize = 4_096;
/// Most channels of one message that are looked at: no server takes so many.
const NAMES_MAX: usize = 255;
/// Longest URL, with the configuration that it may hold.
const URL_BYTES_MAX: usize = 1 << 20;

/// Bytes that were borrowed for the call. Null is nothing, when it is 0 bytes long.
///
/// # Safety
/// Unless it is null, `pointer` points to `size` bytes that nobody changes for `'a`.
pub(super) unsafe fn bytes<'a, T>(pointer: *const T, size: usize) -> Result<&'a [u8], Code> {
    if pointer.is_null() {
        return if size == 0 { Ok(&[]) } else { Err(FANFARE_E_INVAL) };
    }
    if size > isize::MAX as usize {
        return Err(FANFARE_E_INVAL);
    }
    // SAFETY: not null, not longer than an allocation can be; bytes have no alignment and any value
    // is one; that they are there and stay is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(pointer.cast(), size) })
}

/// As [`bytes`], where null means that there is none.
///
/// # Safety
/// As for [`bytes`].
pub(super) unsafe fn optional<'a, T>(
    pointer: *const T,
    size: usize,
) -> Result<Option<&'a [u8]>, Code> {
    // SAFETY: the caller's promise is passed on.
    let borrowed = unsafe { bytes(pointer, size) }?;
    Ok((!pointer.is_null()).then_some(borrowed))
}

/// Names that lie one after the other; none where there are 0.
///
/// # Safety
/// As for [`bytes`], for the `count` names and for what each points to.
pub(super) unsafe fn names<'a>(pointer: *const Name, count: usize) -> Result<Vec<&'a [u8]>, Code> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if pointer.is_null() || !pointer.is_aligned() || count > NAMES_MAX {
        return Err(FANFARE_E_INVAL);
    }
    // SAFETY: not null, aligned, few; that they are there and stay is the caller's promise.
    let names = unsafe { std::slice::from_raw_parts(pointer, count) };
    // SAFETY: the caller's promise is passed on.
    names.iter().map(|name| unsafe { bytes(name.name, name.size) }).collect()
}

/// A text that ends with a NUL.
///
/// # Safety
/// Unless it is null, `pointer` points to bytes up to a NUL that nobody changes for `'a`.
pub(super) unsafe fn text<'a>(pointer: *const c_char) -> Result<&'a str, Code> {
    if pointer.is_null() {
        return Err(FANFARE_E_INVAL);
    }
    // SAFETY: not null; strnlen reads up to the NUL, which the caller promises, or to the limit.
    let length = unsafe { libc::strnlen(pointer, URL_BYTES_MAX + 1) };
    if length > URL_BYTES_MAX {
        return Err(FANFARE_E_INVAL);
    }
    // SAFETY: strnlen has read these bytes.
    let bytes = unsafe { std::slice::from_raw_parts(pointer.cast(), length) };
    std::str::from_utf8(bytes).map_err(|_| FANFARE_E_INVAL)
}

/// The size that a structure says it has.
///
/// # Safety
/// Unless it is null or misaligned, `pointer` points to a structure of the caller's.
pub(super) unsafe fn size_of_theirs<T: Extensible>(pointer: *const T) -> Result<usize, Code> {
    if pointer.is_null() || !pointer.is_aligned() {
        return Err(FANFARE_E_INVAL);
    }
    // SAFETY: not null, aligned for T and so for u32, which is T's first field.
    let size = unsafe { pointer.cast::<u32>().read() } as usize;
    if (T::SIZE_MIN..=SIZE_MAX).contains(&size) { Ok(size) } else { Err(FANFARE_E_INVAL) }
}

/// Copies a structure: a smaller one is filled up with zeros; of a larger one the rest must be
/// zero, because nobody here knows what it asks for.
///
/// # Safety
/// Unless it is null or misaligned, `pointer` points to as many bytes as its first field says.
pub(super) unsafe fn read<T: Extensible>(pointer: *const T) -> Result<T, Code> {
    // SAFETY: the caller's promise is passed on.
    let size = unsafe { size_of_theirs(pointer) }?;
    // SAFETY: not null; the structure has `size` bytes, as the caller promises.
    let theirs = unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), size) };
    let known = size.min(size_of::<T>());
    if theirs[known..].iter().any(|byte| *byte != 0) {
        return Err(FANFARE_E_INVAL);
    }
    let mut ours = std::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: `known` bytes are in both, and the two do not overlap, one being on our stack.
    unsafe { ours.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(theirs.as_ptr(), known) };
    // SAFETY: zero bytes are a value of T, and so are the fields that the caller has written.
    Ok(unsafe { ours.assume_init() })
}

/// Writes a structure into the caller's, as much as it has room for; its `size` stays.
///
/// # Safety
/// `pointer` was judged by [`size_of_theirs`], which gave `size`, and nobody else uses it now.
pub(super) unsafe fn write<T: Extensible>(pointer: *mut T, size: usize, ours: &T) {
    let (theirs, known) = (pointer.cast::<u8>(), size.min(size_of::<T>()));
    let after_size = std::ptr::from_ref(ours).cast::<u8>().wrapping_add(4);
    // SAFETY: `known` is at least SIZE_MIN, so over 4, and within both structures; ours is on the
    // stack and does not overlap theirs.
    unsafe { theirs.add(4).copy_from_nonoverlapping(after_size, known - 4) };
}

/// Writes a receipt into the caller's, and its `also` in further channels into the array that the
/// caller's brings, where that has room for them.
///
/// # Safety
/// As for [`write`]; and the array has the room that the caller's receipt says.
pub(super) unsafe fn write_receipt(
    theirs: *mut Receipt,
    size: usize,
    mut ours: Receipt,
    also: &[ChannelReceipt],
) {
    if size >= size_of::<Receipt>() {
        // SAFETY: within the `size` bytes; one of a batch may lie anywhere.
        let (array, room) = unsafe {
            (
                (&raw const (*theirs).also).read_unaligned(),
                (&raw const (*theirs).also_room).read_unaligned(),
            )
        };
        (ours.also, ours.also_room) = (array, room);
        // Of a message in one channel the array is not looked at: an older program's may be none.
        if !also.is_empty() && !array.is_null() && array.is_aligned() && also.len() <= room {
            // SAFETY: not null, aligned, and the caller promised the room; ours do not overlap it.
            unsafe { array.copy_from_nonoverlapping(also.as_ptr(), also.len()) };
            ours.also_count = also.len();
        }
    }
    // SAFETY: the caller's promise is passed on.
    unsafe { write(theirs, size, &ours) };
}

/// The n-th of structures that lie one after the other, each of `size` bytes.
pub(super) fn nth<T: Extensible>(first: *const T, size: usize, nth: usize) -> *const T {
    first.cast::<u8>().wrapping_add(size.wrapping_mul(nth)).cast()
}

/// Writes a text with a NUL at its end, cut where there is no room.
///
/// # Safety
/// Unless it is null, `room` has `size` bytes that nobody else uses now.
pub(super) unsafe fn write_text(text: &str, room: *mut c_char, size: usize) {
    if room.is_null() || size == 0 || size > isize::MAX as usize {
        return;
    }
    let text = &text[..text.floor_char_boundary(size - 1)];
    // SAFETY: the text and its NUL fit into `size` bytes; a str of ours does not overlap them.
    unsafe {
        room.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), text.len());
        room.add(text.len()).write(0);
    }
}
