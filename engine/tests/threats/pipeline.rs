//! Clients that send requests without waiting for answers: amounts, on both drivers.

use std::io::{ErrorKind, Read, Write};

use crate::site::on_both;
use crate::support::{publish, wait_until};
use crate::wire::{Answer, connect, get, upgrade};

/// What the kernels of both sides may hold of one connection, and more.
const KERNEL_BYTES: usize = 16 << 20;

/// Sends `block` over and over and reads what comes, until `answers` of them have begun or nothing
/// moves any more; returns bytes that were sent.
fn flood(client: &mut crate::support::Client, block: &[u8], answers: usize) -> usize {
    let (mut sent, mut place, mut begun, mut still) = (0, 0, 0, 0);
    let mut chunk = vec![0; 256 << 10];
    let mut tail = Vec::new();
    client.socket.set_nonblocking(true).unwrap();
    while begun < answers && still < 100 {
        let mut moved = false;
        loop {
            match client.socket.write(&block[place..]) {
                Ok(count) => {
                    (sent, place, moved) = (sent + count, (place + count) % block.len(), true);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error} after {sent}"),
            }
            assert!(sent < 20 * KERNEL_BYTES, "the node takes whatever is sent");
        }
        match client.socket.read(&mut chunk) {
            Ok(0) => panic!("the node ended it after {begun} answers"),
            Ok(count) => {
                tail.extend_from_slice(&chunk[..count]);
                begun += tail.windows(9).filter(|nine| nine == b"HTTP/1.1 ").count();
                tail.drain(..tail.len().saturating_sub(8));
                moved = true;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error} after {begun} answers"),
        }
        still = if moved { 0 } else { still + 1 };
        if !moved {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
    client.socket.set_nonblocking(false).unwrap();
    sent
}

#[test]
fn requests_without_end_are_read_as_they_are_answered() {
    on_both(
        |_| {},
        |site| {
            site.case("a client that reads its answers", |node| {
                let mut client = connect(node);
                let one = get("/healthz", "");
                let sent = flood(&mut client, one.repeat(1_800).as_bytes(), 5_000);
                let ahead = sent.saturating_sub(5_000 * one.len());
                assert!(ahead <= KERNEL_BYTES, "{ahead} bytes were read ahead");
            });
            site.case("behind a poll that waits", |node| {
                let mut client = connect(node);
                client.send(get("/poll?channels=waits", "").as_bytes());
                let polls = &node.metrics().shards[0].polls;
                wait_until("the poll waits", || polls.read() == 1);
                let one = get("/healthz", "");
                let sent = flood(&mut client, one.repeat(1_800).as_bytes(), 1);
                assert!(sent <= KERNEL_BYTES, "{sent} bytes were read ahead");
                publish(node, "waits", "now");
                assert!(Answer::read(&mut client).body.contains("\"data\":\"now\""));
                assert_eq!(Answer::read(&mut client).body, "ok\n", "and what came behind it");
            });
            site.case("H16: frames without end behind an upgrade", |node| {
                let mut client = connect(node);
                let frame = crate::wire::frame(0x82, &[7; 10_000]);
                let first = [upgrade("/ws?channels=a", "").into_bytes(), frame.clone()].concat();
                client.send(&first);
                assert_eq!(crate::wire::status(&client.head()), 101);
                let heard = &node.metrics().shards[0].client_messages;
                let before = heard.read();
                (0..500).for_each(|_| client.send(&frame));
                wait_until("all are heard", || heard.read() >= before + 500);
            });
        },
    );
}
