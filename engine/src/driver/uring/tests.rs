//! What only a ring can get wrong: overflow of its completion queue, and rings that are too small
//! for a batch.

use crate::driver::contract::{Make, Rig};
use crate::driver::{Config, Driver, Event, Received};

use super::Uring;

/// A ring whose completion queue holds fewer events than the test has sockets.
struct Tiny;

impl Make for Tiny {
    type Made = Uring;
    fn make(config: Config) -> Option<Uring> {
        crate::driver::contract::uring_works().then(|| Uring::sized(config, &[(64, 128)]).unwrap())
    }
}

#[test]
fn an_overflowing_completion_queue_loses_no_event_and_no_watch() {
    const SOCKETS: usize = 400;
    let Some(mut rig) = Rig::new::<Tiny>(SOCKETS) else { return };
    let mut pairs = rig.accept_many(SOCKETS);
    for round in 0..3u8 {
        for (client, _) in &mut pairs {
            std::io::Write::write_all(client, &[round]).unwrap();
        }
        // All watches fire before the driver looks, so that one enter has to tell of all of them.
        std::thread::sleep(std::time::Duration::from_millis(20));
        for (_, token) in &pairs {
            rig.until_event(|e| matches!(e, Event::Readable { token: t, .. } if t == token));
        }
        let tokens: Vec<_> = pairs.iter().map(|pair| pair.1).collect();
        let mut came = 0;
        rig.driver.recv_batch(&tokens, &mut |_, received| {
            assert!(matches!(received, Received::Bytes { bytes: [byte], .. } if *byte == round));
            came += 1;
        });
        assert_eq!(came, SOCKETS);
    }
}
