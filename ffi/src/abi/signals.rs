//! Threads of the library take no signals: they are the program's, on the program's threads.

use std::mem::MaybeUninit;

/// Calls with all signals blocked; threads that are started inside stay so, and a write to a
/// closed socket raises no SIGPIPE in them.
pub(super) fn blocked<T>(call: impl FnOnce() -> T) -> T {
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset writes the whole set that it is given; pthread_sigmask reads one such and
    // writes the other. Neither can fail with these arguments.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    /// Puts the mask back, also after a panic.
    struct Back(MaybeUninit<libc::sigset_t>);
    impl Drop for Back {
        fn drop(&mut self) {
            // SAFETY: pthread_sigmask has written the set above.
            unsafe {
                libc::pthread_sigmask(libc::SIG_SETMASK, self.0.as_ptr(), std::ptr::null_mut())
            };
        }
    }
    let _back = Back(before);
    call()
}
