//! What only a ring can get wrong: overflow of its completion queue, and rings that are too small
//! for a batch.

use std::io::Write;
use std::time::Duration;

use crate::driver::contract::{Make, Rig};
use crate::driver::{Driver, DriverConfig, Received};

use super::Uring;

/// A ring whose completion queue holds fewer events than the test has sockets.
struct Tiny;

impl Make for Tiny {
    type Made = Uring;
    fn make(config: DriverConfig) -> Option<Uring> {
        crate::driver::contract::uring_works().then(|| Uring::sized(config, &[(32, 32)]).unwrap())
    }
}

/// The watches of `SOCKETS` sockets fire while accepts fill the completion queue in the same enter:
/// the kernel cannot post what the watches saw, ends them, and keeps the completions aside.
#[test]
fn an_overflowing_completion_queue_loses_no_event_no_watch_and_nobody() {
    const SOCKETS: usize = 100;
    const BACKLOG: usize = 300;
    let Some(mut rig) = Rig::new::<Tiny>(SOCKETS + BACKLOG) else { return };
    let mut pairs = rig.accept_many(SOCKETS);
    rig.driver.set_accepting(false);
    rig.poll_for(Duration::from_millis(20));
    let _crowd: Vec<_> = (0..BACKLOG).map(|_| rig.connect()).collect();
    for round in 0..3u8 {
        for (client, _) in &mut pairs {
            client.write_all(&[round]).unwrap();
        }
        // All watches have fired before the driver looks.
        std::thread::sleep(Duration::from_millis(20));
        rig.driver.set_accepting(true);
        for (_, token) in &pairs {
            rig.until_readable(*token);
        }
        let tokens: Vec<_> = pairs.iter().map(|pair| pair.1).collect();
        let mut came = 0;
        rig.driver.recv_batch(&tokens, &mut |_, received| {
            assert!(matches!(received, Received::Bytes { bytes: [byte], .. } if *byte == round));
            came += 1;
        });
        assert_eq!(came, SOCKETS);
    }
    for _ in 0..BACKLOG {
        rig.until_accepted();
    }
    assert!(rig.driver.ring.overflows() > 0, "nothing overflowed: nothing was proved");
}
