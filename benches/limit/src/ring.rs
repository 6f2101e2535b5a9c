//! One io_uring with a bare contract: what it is given is owned or has ended when the call returns,
//! so that nothing outside of this file has to think of the kernel.
//!
//! **Sends.** `MSG_DONTWAIT` and `MSG_WAITALL`, no completion on success: each has ended when the
//! enter returns, and only those that did not go whole are heard of. With `MSG_DONTWAIT` a request
//! that cannot go on is completed and not armed; `MSG_WAITALL` makes a short send a failure, whose
//! count is posted. One socket is in a batch once at most, as two sends in flight would interleave.
//!
//! **Receives** own their buffer until they complete, and are armed only where somebody is expected
//! to speak: before the upgrade, and on a publisher's connection.

#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::time::Duration;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{CancelBuilder, Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode};

/// Sends that share one enter. From 64 to 1024 the price of each is the same within noise.
pub const SENDS_PER_ENTER: usize = 256;

const SUBMISSIONS: u32 = 1024;
const COMPLETIONS: u32 = 16 << 10;
const SEND_FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
/// Bytes that a drain throws away at most.
const DRAIN_BYTES: u32 = 1 << 20;
/// How often in a row the kernel may refuse to take operations, a millisecond apart.
const REFUSALS_MAX: u32 = 10_000;

/// An operation's kind is in the upper half of its tag, its number in the lower.
const SILENT: u64 = 0;
const ACCEPT: u64 = 1 << 32;
const SEND: u64 = 2 << 32;
const RECEIVE: u64 = 3 << 32;
const DRAIN: u64 = 4 << 32;

/// What is sent to one socket.
#[derive(Clone, Copy, Debug)]
pub struct Sending<'b> {
    /// The socket.
    pub file: u32,
    /// Never empty.
    pub bytes: &'b [u8],
}

/// What came of what was asked for.
#[derive(Debug)]
pub enum Completion {
    /// A client has connected.
    Accepted(u32),
    /// Accepting has ended with this errno.
    AcceptEnded(i32),
    /// Something was received and stands at the buffer's end: so many bytes, or a negative errno.
    Received {
        /// On this socket.
        file: u32,
        /// What the receive was given.
        buffer: Vec<u8>,
        /// As recv(2), with the errno.
        result: i32,
    },
}

/// A ring and the sockets in it: direct descriptors, or open files where `send(2)` is to be used.
pub struct Ring {
    ring: IoUring,
    is_direct: bool,
    wait_flags: EnterFlags,
    /// Of receives that are armed, by number.
    receiving: Vec<Option<(u32, Vec<u8>)>>,
    free: Vec<usize>,
    /// By place in the batch under way: sends that did not go whole, drains.
    failed: Vec<(usize, i32)>,
    drained: Vec<(usize, i32)>,
    done: Vec<Completion>,
}

impl Ring {
    /// A ring for this thread, with room for `files` sockets where they are direct.
    ///
    /// # Errors
    /// io_uring is blocked or too old here, or `files` exceeds `RLIMIT_NOFILE`.
    pub fn new(is_direct: bool, files: u32) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_no_sqarray()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        if is_direct {
            ring.submitter().register_files_sparse(files)?;
        }
        let mut wait_flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if ring.params().is_feature_no_iowait() {
            wait_flags |= EnterFlags::NO_IOWAIT;
        }
        Ok(Self {
            ring,
            is_direct,
            wait_flags,
            receiving: Vec::new(),
            free: Vec::new(),
            failed: Vec::new(),
            drained: Vec::new(),
            done: Vec::new(),
        })
    }

    /// Accepts until [`Self::stop_accepting`]; the listener has to live on.
    pub fn accept(&mut self, listener: &TcpListener) {
        let accept = opcode::AcceptMulti::new(Fd(listener.as_raw_fd()));
        let entry = accept.allocate_file_index(self.is_direct).build().user_data(ACCEPT);
        // SAFETY: a multishot accept points to nothing.
        unsafe { self.push(&entry) };
    }

    /// Ends accepting, which tells its end.
    pub fn stop_accepting(&mut self, listener: &TcpListener) {
        let all = CancelBuilder::fd(Fd(listener.as_raw_fd())).all();
        let entry = opcode::AsyncCancel2::new(all).build().flags(Flags::SKIP_SUCCESS);
        // SAFETY: a cancellation points to nothing.
        unsafe { self.push(&entry.user_data(SILENT)) };
    }

    /// Receives into what is left of the buffer's capacity, as soon as something comes.
    pub fn receive(&mut self, file: u32, mut buffer: Vec<u8>) {
        let room = buffer.spare_capacity_mut();
        assert!(!room.is_empty(), "a receive without room looks like the end of the stream");
        let (start, length) = (room.as_mut_ptr().cast::<u8>(), room.len() as u32);
        let entry = match self.is_direct {
            true => opcode::Recv::new(Fixed(file), start, length).build(),
            false => opcode::Recv::new(Fd(file as i32), start, length).build(),
        };
        let number = self.free.pop().unwrap_or_else(|| {
            self.receiving.push(None);
            self.receiving.len() - 1
        });
        self.receiving[number] = Some((file, buffer));
        // SAFETY: the entry points to the heap memory of a vector that is kept, untouched, until
        // the receive has completed; `drop` leaks those that have not.
        unsafe { self.push(&entry.user_data(RECEIVE | number as u64)) };
    }

    /// Closes a socket on which nothing is armed.
    pub fn close(&mut self, file: u32) {
        let entry = match self.is_direct {
            true => opcode::Close::new(Fixed(file)).build(),
            false => opcode::Close::new(Fd(file as i32)).build(),
        };
        // SAFETY: a close points to nothing.
        unsafe { self.push(&entry.flags(Flags::SKIP_SUCCESS).user_data(SILENT)) };
    }

    /// Sends each of at most [`SENDS_PER_ENTER`], all to different sockets. Appended to `failed`
    /// is, by place, what did not go whole: bytes that went, or a negative errno.
    pub fn send(&mut self, sends: &[Sending<'_>], failed: &mut Vec<(usize, i32)>) {
        assert!(sends.len() <= SENDS_PER_ENTER, "a batch of {}", sends.len());
        self.make_room(sends.len());
        let mut queue = self.ring.submission();
        for (nth, send) in sends.iter().enumerate() {
            let (start, length) = (send.bytes.as_ptr(), send.bytes.len() as u32);
            let send = match self.is_direct {
                true => opcode::Send::new(Fixed(send.file), start, length).flags(SEND_FLAGS),
                false => opcode::Send::new(Fd(send.file as i32), start, length).flags(SEND_FLAGS),
            };
            let entry = send.build().flags(Flags::SKIP_SUCCESS).user_data(SEND | nth as u64);
            // SAFETY: the bytes are borrowed for longer than this call, and each send has ended
            // when `submit` below returns: it carries MSG_DONTWAIT, and all entries were taken.
            let queued = unsafe { queue.push(&entry) };
            assert!(queued.is_ok(), "there is room: it was made above");
        }
        drop(queue);
        self.submit();
        failed.append(&mut self.failed);
    }

    /// `send(2)`, for open files: bytes that went, or a negative errno.
    pub fn send_now(&self, send: Sending<'_>) -> i32 {
        assert!(!self.is_direct, "send(2) knows no direct descriptors");
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let (start, length) = (send.bytes.as_ptr().cast(), send.bytes.len());
        // SAFETY: the bytes are borrowed for longer than the call, which only reads them.
        let sent = unsafe { libc::send(send.file as i32, start, length, flags) };
        if sent >= 0 {
            return i32::try_from(sent).expect("no batch is so long");
        }
        -io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
    }

    /// Throws away what has been received on each of at most [`SENDS_PER_ENTER`] sockets: by place,
    /// 0 where the stream has ended, `-EAGAIN` where it has not.
    pub fn drain(&mut self, files: &[u32]) -> Vec<(usize, i32)> {
        assert!(files.len() <= SENDS_PER_ENTER, "a batch of {}", files.len());
        let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
        for (nth, file) in files.iter().enumerate() {
            let start = std::ptr::null_mut();
            let receive = match self.is_direct {
                true => opcode::Recv::new(Fixed(*file), start, DRAIN_BYTES).flags(flags),
                false => opcode::Recv::new(Fd(*file as i32), start, DRAIN_BYTES).flags(flags),
            };
            // SAFETY: with MSG_TRUNC, TCP drops bytes without writing them anywhere (tcp(7)).
            unsafe { self.push(&receive.build().user_data(DRAIN | nth as u64)) };
        }
        self.submit();
        mem::take(&mut self.drained)
    }

    /// Moves to `done` what has completed; where nothing has, waits for so long until something
    /// does. Returns at once, without a call, where there is nothing to tell and no time.
    pub fn poll(&mut self, timeout: Duration, done: &mut Vec<Completion>) {
        self.submit();
        if self.done.is_empty() {
            let announced = self.ring.submission().taskrun();
            let waits = !self.ring.completion().is_empty();
            match timeout.is_zero() {
                true if announced || waits => self.enter(0, 0, self.wait_flags, None),
                true => {}
                false => self.enter(0, 1, self.wait_flags, Some(timeout)),
            }
            self.reap();
        }
        done.append(&mut self.done);
    }

    /// # Safety
    ///
    /// What the entry points to stays valid, and untouched where it is written to, until it has
    /// completed.
    unsafe fn push(&mut self, entry: &Entry) {
        self.make_room(1);
        // SAFETY: the caller vouches for what the entry points to.
        let queued = unsafe { self.ring.submission().push(entry) };
        assert!(queued.is_ok(), "there is room: it was made above");
    }

    fn make_room(&mut self, count: usize) {
        if self.ring.submission().len() + count > SUBMISSIONS as usize {
            self.submit();
        }
    }

    /// Has the kernel take all that is queued, and takes all that has completed.
    fn submit(&mut self) {
        let mut refusals = 0;
        loop {
            let queued = self.ring.submission().len();
            if queued == 0 {
                return;
            }
            let announced = self.ring.submission().taskrun();
            let flags = if announced { EnterFlags::GETEVENTS } else { EnterFlags::empty() };
            self.enter(queued as u32, 0, flags, None);
            self.reap();
            refusals += u32::from(self.ring.submission().len() == queued);
            assert!(refusals < REFUSALS_MAX, "the kernel takes no operations");
        }
    }

    /// `io_uring_enter`. Passes over what means «later»: reaping and another try are the answer.
    fn enter(&self, submit: u32, want: u32, flags: EnterFlags, timeout: Option<Duration>) {
        let deadline = timeout.map(Timespec::from);
        let mut arguments = SubmitArgs::new();
        if let Some(deadline) = &deadline {
            arguments = arguments.timespec(deadline);
        }
        let extended = flags.contains(EnterFlags::EXT_ARG).then_some(&arguments);
        // SAFETY: `submit` counts entries that are queued. With EXT_ARG the argument is a
        // `io_uring_getevents_arg`, which `SubmitArgs` wraps; it and the timespec it points to
        // outlive the call. Without, it is null.
        let entered = unsafe { self.ring.submitter().enter(submit, want, flags.bits(), extended) };
        let Err(error) = entered else { return };
        match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR) => {}
            Some(libc::EBUSY | libc::EAGAIN | libc::ENOMEM) => {
                std::thread::sleep(Duration::from_millis(1));
            }
            _ => panic!("io_uring_enter: {error}"),
        }
    }

    fn reap(&mut self) {
        loop {
            for entry in self.ring.completion() {
                let (tag, result) = (entry.user_data(), entry.result());
                let number = tag as u32 as usize;
                match tag >> 32 << 32 {
                    SEND => self.failed.push((number, result)),
                    DRAIN => self.drained.push((number, result)),
                    ACCEPT => {
                        self.done.extend(u32::try_from(result).ok().map(Completion::Accepted));
                        if !cqueue::more(entry.flags()) {
                            self.done.push(Completion::AcceptEnded((-result).max(0)));
                        }
                    }
                    RECEIVE => {
                        let armed = self.receiving[number].take();
                        let (file, mut buffer) = armed.expect("it was armed and completes once");
                        self.free.push(number);
                        let length = buffer.len() + usize::try_from(result).unwrap_or(0);
                        // SAFETY: the kernel has written so many bytes behind the buffer's end,
                        // and was told to stay within its capacity.
                        unsafe { buffer.set_len(length) };
                        self.done.push(Completion::Received { file, buffer, result });
                    }
                    _ => {}
                }
            }
            if !self.ring.submission().cq_overflow() {
                return;
            }
            // The kernel keeps what did not fit, and hands it over when it is asked for events.
            self.enter(0, 0, EnterFlags::GETEVENTS, None);
        }
    }
}

impl Drop for Ring {
    /// The kernel takes a ring apart at its leisure: until then it may write into these.
    fn drop(&mut self) {
        mem::forget(mem::take(&mut self.receiving));
    }
}
