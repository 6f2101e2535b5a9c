//! An allocator that counts, on the thread that asks it to and only then.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static ARMED: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    // Const and without drop, so looking at them allocates nothing itself.
    if ARMED.get() {
        COUNT.set(COUNT.get() + 1);
    }
}

// SAFETY: every call goes to the system's allocator with what it was given, and counting touches
// no memory but two thread-locals that are never destroyed.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises about the layout are passed on as they are.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above; the memory came from the same allocator.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

fn with<T>(armed: bool, work: impl FnOnce() -> T) -> T {
    let before = ARMED.replace(armed);
    let result = work();
    ARMED.set(before);
    result
}

/// Does this, and says how often this thread allocated meanwhile.
pub(super) fn allocations_of<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = COUNT.get();
    let result = with(true, work);
    (result, COUNT.get() - before)
}

/// Does this without counting.
pub(super) fn uncounted<T>(work: impl FnOnce() -> T) -> T {
    with(false, work)
}

/// Does this, counting: for what is called from within [`uncounted`].
pub(super) fn counted<T>(work: impl FnOnce() -> T) -> T {
    with(true, work)
}
