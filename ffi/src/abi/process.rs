//! Which process this is, asked at every call and answered without a system call.
//!
//! A page that the kernel wipes in a child (`MADV_WIPEONFORK`, Linux 4.14; madvise(2)) keeps the
//! number. A child finds 0 there, however it was made, and asks once. Where there is no such page
//! the kernel is asked each time.

use std::ptr::{null_mut, without_provenance_mut};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// Bytes of the mapping: the kernel rounds up to a page.
const BYTES: usize = size_of::<AtomicU32>();

/// The page: null before it is made, never unmapped once it is here. No lock: one that was held in
/// the moment of a fork would be held for ever in the child.
static PAGE: AtomicPtr<AtomicU32> = AtomicPtr::new(null_mut());
/// In the place of a page that could not be made: an address that no mapping has.
const NONE: *mut AtomicU32 = without_provenance_mut(usize::MAX);

/// The number of this process.
pub(super) fn id() -> u32 {
    let page = match PAGE.load(Ordering::Acquire) {
        page if page.is_null() => first(),
        page => page,
    };
    if page == NONE {
        return std::process::id();
    }
    // SAFETY: PAGE holds nothing else but a mapping of ours, readable, writable, aligned, zero at
    // first (which is a value), and never unmapped.
    let kept = unsafe { &*page };
    match kept.load(Ordering::Relaxed) {
        0 => {
            let id = std::process::id();
            kept.store(id, Ordering::Relaxed);
            id
        }
        id => id,
    }
}

/// Makes the page; of several threads that do, one wins.
#[cold]
fn first() -> *mut AtomicU32 {
    let made = map().unwrap_or(NONE);
    match PAGE.compare_exchange(null_mut(), made, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => made,
        Err(other) => {
            if made != NONE {
                // SAFETY: mapped by us just now, and nobody else has seen it.
                unsafe { libc::munmap(made.cast(), BYTES) };
            }
            other
        }
    }
}

fn map() -> Option<*mut AtomicU32> {
    let (access, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, at a place that the kernel chooses, touches no memory of ours.
    let page = unsafe { libc::mmap(null_mut(), BYTES, access, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: of the mapping that was just made; nothing is in it yet.
    if unsafe { libc::madvise(page, BYTES, libc::MADV_WIPEONFORK) } != 0 {
        // SAFETY: mapped above, and nobody has seen it.
        unsafe { libc::munmap(page, BYTES) };
        return None;
    }
    Some(page.cast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_the_kernel_says() {
        assert_eq!(id(), std::process::id());
        assert_eq!(id(), std::process::id(), "kept, too");
        assert_ne!(PAGE.load(Ordering::Acquire), NONE, "this kernel wipes pages");
    }
}
