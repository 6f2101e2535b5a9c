//! The lines of the log on their way to standard error.
//!
//! Whoever logs only leaves a line here: a pipe that nobody reads, a terminal that was stopped or a
//! full disk must make neither a shard nor the end of the node wait. One thread writes what was
//! left. What finds no room or cannot be written is dropped and counted, and the log says so when
//! it is written again.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

/// Lines that may wait.
const LINES_MAX: usize = 4_096;
/// Bytes that may wait in them.
const BYTES_MAX: usize = 1 << 20;
/// Until the next try where the stream has no room and does not let us wait for some.
const FULL_PAUSE: Duration = Duration::from_millis(10);

enum Left {
    Line(Box<[u8]>),
    /// Asks to hear when all before it is done.
    Mark(Sender<()>),
}

/// Where lines are left. Clones are of one queue.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    queue: Sender<Left>,
    count: Arc<Count>,
}

#[derive(Debug, Default)]
struct Count {
    waiting_bytes: AtomicUsize,
    dropped: AtomicU64,
}

impl Lines {
    /// Starts the thread that writes to `stream`, each line with one call if that takes it. After
    /// dropped lines it calls `tell` with their number, which may leave a line here.
    pub(super) fn start<W: Write + Send + 'static>(
        stream: W,
        tell: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, left) = bounded(LINES_MAX);
        let count = Arc::new(Count::default());
        let shared = Arc::clone(&count);
        thread::Builder::new()
            .name("fanfare-log".into())
            .spawn(move || write_all_that_is_left(stream, &left, &shared, tell))?;
        Ok(Self { queue, count })
    }

    /// Leaves a line, with its end.
    pub(super) fn leave(&self, line: &[u8]) {
        let waiting = self.count.waiting_bytes.fetch_add(line.len(), Relaxed);
        let fits = waiting + line.len() <= BYTES_MAX;
        if !fits || self.queue.try_send(Left::Line(line.into())).is_err() {
            self.count.waiting_bytes.fetch_sub(line.len(), Relaxed);
            self.count.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Lines that were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.count.dropped.load(Relaxed)
    }

    /// Waits until what was left before is written or dropped, but not longer than `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        let (mark, heard) = bounded(1);
        // Where not even the mark finds room, waiting for it would be waiting for the stream.
        if self.queue.try_send(Left::Mark(mark)).is_ok() {
            let _ = heard.recv_timeout(patience);
        }
    }
}

/// For the subscriber, which writes each event with one call.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.leave(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all_that_is_left(
    mut stream: impl Write,
    left: &Receiver<Left>,
    count: &Count,
    tell: impl Fn(u64),
) {
    let mut told = 0;
    for left in left {
        match left {
            Left::Line(line) => {
                let written = write_line(&mut stream, &line);
                count.waiting_bytes.fetch_sub(line.len(), Relaxed);
                if written.is_err() {
                    count.dropped.fetch_add(1, Relaxed);
                    continue;
                }
                let dropped = count.dropped.load(Relaxed);
                if dropped > told {
                    tell(dropped - told);
                    told = dropped;
                }
            }
            Left::Mark(mark) => drop(mark.try_send(())),
        }
    }
}

/// As `write_all`, but it waits where a stream says that it would block: standard error is shared,
/// and another process may have told it to say so.
fn write_line(stream: &mut impl Write, mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match stream.write(line) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => line = &line[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(FULL_PAUSE),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A stream that blocks, fails, or takes a little at a time, as it is told.
    #[derive(Clone, Default)]
    struct Stream {
        taken: Arc<Mutex<Vec<u8>>>,
        fails: Arc<Mutex<Option<ErrorKind>>>,
        blocked: Arc<Mutex<()>>,
    }

    impl Write for Stream {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _waits = self.blocked.lock().unwrap();
            let mut fails = self.fails.lock().unwrap();
            match *fails {
                Some(ErrorKind::WouldBlock) => *fails = None,
                Some(_) => {}
                None => {
                    let some = bytes.len().min(7);
                    self.taken.lock().unwrap().extend_from_slice(&bytes[..some]);
                    return Ok(some);
                }
            }
            Err(fails.unwrap_or(ErrorKind::WouldBlock).into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start(stream: &Stream) -> (Lines, Arc<Mutex<Vec<u64>>>) {
        let told: Arc<Mutex<Vec<u64>>> = Arc::default();
        let tell = Arc::clone(&told);
        let lines = Lines::start(stream.clone(), move |lost| tell.lock().unwrap().push(lost));
        (lines.unwrap(), told)
    }

    #[test]
    fn lines_are_written_whole_and_in_order() {
        let stream = Stream::default();
        *stream.fails.lock().unwrap() = Some(ErrorKind::WouldBlock);
        let (lines, told) = start(&stream);
        lines.leave(b"one is longer than a piece\n");
        lines.leave(b"two\n");
        lines.flush(PATIENCE);
        assert_eq!(*stream.taken.lock().unwrap(), b"one is longer than a piece\ntwo\n");
        assert_eq!((lines.dropped(), told.lock().unwrap().len()), (0, 0));
    }

    #[test]
    fn a_stream_that_blocks_makes_nobody_wait_and_costs_a_bounded_memory() {
        let stream = Stream::default();
        let (lines, told) = start(&stream);
        let blocked = stream.blocked.lock().unwrap();
        // By count, and by bytes.
        for _ in 0..LINES_MAX + 10 {
            lines.leave(b"short\n");
        }
        let by_count = lines.dropped();
        assert!((9..=10).contains(&by_count), "{by_count}");
        lines.flush(PATIENCE); // returns, because there is no room for the mark
        drop(blocked);
        lines.flush(PATIENCE);
        while lines.count.waiting_bytes.load(Relaxed) > 0 {
            thread::yield_now();
        }
        let blocked = stream.blocked.lock().unwrap();
        for _ in 0..20 {
            lines.leave(&[b'x'; BYTES_MAX / 10]);
        }
        assert_eq!(lines.dropped(), by_count + 10);
        lines.flush(Duration::from_millis(10)); // waits no longer
        drop(blocked);
        lines.flush(PATIENCE);
        assert_eq!(*told.lock().unwrap(), [by_count, 10], "told once the stream goes on");
    }

    #[test]
    fn what_a_stream_does_not_take_is_counted_and_the_next_line_tried() {
        let stream = Stream::default();
        let (lines, told) = start(&stream);
        for kind in [ErrorKind::BrokenPipe, ErrorKind::StorageFull] {
            *stream.fails.lock().unwrap() = Some(kind);
            lines.leave(b"lost\n");
            lines.flush(PATIENCE);
        }
        *stream.fails.lock().unwrap() = None;
        lines.leave(b"kept\n");
        lines.flush(PATIENCE);
        assert_eq!(*stream.taken.lock().unwrap(), b"kept\n");
        assert_eq!((lines.dropped(), told.lock().unwrap().clone()), (2, vec![2]));
    }
}
