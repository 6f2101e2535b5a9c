//! A server that follows the contract (who connects is in the channel, a publish reaches all) but
//! for the messages that it is told to spoil.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

/// What is done to a message, by its sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not sent.
    Drop,
    /// It is sent twice.
    Double,
    /// It is sent after the next one.
    Delay,
    /// It is sent with another run's number before it is sent.
    Stray,
}

struct Client {
    socket: TcpStream,
    is_websocket: bool,
}

/// The server.
pub struct StandIn {
    pub address: SocketAddr,
    /// Pongs that clients sent.
    pub pongs: Arc<AtomicU64>,
}

struct State {
    clients: Mutex<Vec<Client>>,
    held: Mutex<Vec<u8>>,
    faults: Vec<(u32, Fault)>,
    pongs: Arc<AtomicU64>,
}

/// The text that a WebSocket client must send before it is in the channel.
pub const JOIN: &str = "join:bench";

impl StandIn {
    /// Starts one; its threads end with the process.
    pub fn start(faults: &[(u32, Fault)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let pongs = Arc::new(AtomicU64::new(0));
        let state = Arc::new(State {
            clients: Mutex::default(),
            held: Mutex::default(),
            faults: faults.to_vec(),
            pongs: Arc::clone(&pongs),
        });
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                thread::spawn(move || serve(socket, &state));
            }
        });
        Self { address, pongs }
    }
}

/// Reads heads and answers them; who upgrades or streams stays.
fn serve(mut socket: TcpStream, state: &State) -> Option<()> {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            more(&mut socket, &mut buffer)?;
        };
        let head = String::from_utf8(buffer.drain(..end).collect()).ok()?;
        if head.starts_with("POST /publish ") {
            let length = head.split("Content-Length: ").nth(1)?;
            let length: usize = length.split("\r\n").next()?.parse().ok()?;
            while buffer.len() < length {
                more(&mut socket, &mut buffer)?;
            }
            let body: Vec<u8> = buffer.drain(..length).collect();
            socket.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok").ok()?;
            state.publish(body);
        } else if head.contains("Upgrade: websocket") {
            // The right answer to the key that RFC 6455 has as its example.
            let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
            let head = format!("HTTP/1.1 101 Switching Protocols\r\n{accept}\r\n\r\n");
            socket.write_all(head.as_bytes()).ok()?;
            return state.read_frames(socket, buffer);
        } else {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            socket.write_all(head.as_bytes()).ok()?;
            state.clients.lock().unwrap().push(Client { socket, is_websocket: false });
            return None;
        }
    }
}

fn more(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 4_096];
    let count = socket.read(&mut chunk).ok().filter(|count| *count > 0)?;
    buffer.extend_from_slice(&chunk[..count]);
    Some(())
}

impl State {
    /// Lets a client in when it has joined; counts its pongs.
    fn read_frames(&self, mut socket: TcpStream, mut buffer: Vec<u8>) -> Option<()> {
        loop {
            while buffer.len() < 6 || buffer.len() < 6 + usize::from(buffer[1] & 0x7f) {
                more(&mut socket, &mut buffer)?;
            }
            let length = usize::from(buffer[1] & 0x7f);
            assert!(buffer[1] & 0x80 != 0, "a client's frame is masked");
            let frame: Vec<u8> = buffer.drain(..6 + length).collect();
            let payload = frame[6..].iter().zip(frame[2..6].iter().cycle());
            let payload: Vec<u8> = payload.map(|(byte, mask)| byte ^ mask).collect();
            if frame[0] == 0x81 && payload == JOIN.as_bytes() {
                let mut inside = socket.try_clone().ok()?;
                inside.write_all(&[0x89, 2, b'h', b'i']).ok()?;
                self.clients.lock().unwrap().push(Client { socket: inside, is_websocket: true });
            } else if frame[0] == 0x8a && payload == b"hi" {
                self.pongs.fetch_add(1, SeqCst);
            }
        }
    }

    fn publish(&self, payload: Vec<u8>) {
        let sequence = std::str::from_utf8(&payload[12..20]).unwrap();
        let sequence = u32::from_str_radix(sequence, 16).unwrap();
        let fault =
            self.faults.iter().find(|(which, _)| *which == sequence).map(|(_, fault)| *fault);
        let held = std::mem::take(&mut *self.held.lock().unwrap());
        match fault {
            Some(Fault::Drop) => {}
            Some(Fault::Delay) => *self.held.lock().unwrap() = payload,
            Some(Fault::Double) => {
                self.broadcast(&payload);
                self.broadcast(&payload);
            }
            Some(Fault::Stray) => {
                let mut stray = payload.clone();
                stray[3..11].reverse();
                stray[3] = if stray[3] == b'0' { b'1' } else { b'0' };
                self.broadcast(&stray);
                self.broadcast(&payload);
            }
            None => self.broadcast(&payload),
        }
        if !held.is_empty() {
            self.broadcast(&held);
        }
    }

    fn broadcast(&self, payload: &[u8]) {
        let length = payload.len();
        for client in self.clients.lock().unwrap().iter_mut() {
            let bytes = if client.is_websocket {
                // Two fragments: a probe may be cut by more than receives.
                let (first, second) = payload.split_at(20);
                let mut out = vec![0x01, first.len() as u8];
                out.extend_from_slice(first);
                out.extend_from_slice(&[0x80, second.len() as u8]);
                out.extend_from_slice(second);
                out
            } else {
                let event = [b"data: ", payload, b"\n\n"].concat();
                let head = format!("{:x}\r\n", length + 8);
                [head.as_bytes(), &event, b"\r\n"].concat()
            };
            let _ = client.socket.write_all(&bytes);
        }
    }
}
