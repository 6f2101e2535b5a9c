//! Fan-out with fastwebsockets on hyper, and tokio's broadcast channel, on a single-threaded
//! runtime.
//!
//! **The idea.** As its examples have it: hyper answers the upgrade, and a task for each client
//! receives a message from the channel and writes it as one frame, with one write. The package has
//! no way to write several frames at once, so nothing is coalesced. A payload is borrowed, not
//! copied, and header and payload go as one vectored write (its default).
//!
//! **Tuning.** None but `TCP_NODELAY` and a release build: it has hardly a knob. The channel holds
//! 4,096 messages.

use std::io;

use bytes::Bytes;
use contender::start::Start;
use fastwebsockets::upgrade::{UpgradeFut, is_upgrade_request, upgrade};
use fastwebsockets::{Frame, OpCode, Payload, WebSocketError, WebSocketRead, WebSocketWrite};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};

const CHANNEL_MESSAGES: usize = 4096;

type Channel = Sender<Bytes>;
type Answer = Response<Empty<Bytes>>;
type Reading = WebSocketRead<ReadHalf<TokioIo<Upgraded>>>;
type Writing = Mutex<WebSocketWrite<WriteHalf<TokioIo<Upgraded>>>>;

fn main() -> io::Result<()> {
    let start = Start::from_arguments(&["default"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (channel, _) = channel(CHANNEL_MESSAGES);
    let listener = start.listen(0);
    runtime.block_on(async move {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        start.ready();
        loop {
            // What fails is the new connection, or there are no more files: others go on.
            if let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(stream, channel.clone()));
            }
        }
    })
}

async fn connection(stream: TcpStream, channel: Channel) {
    let service = service_fn(|request| answer(request, channel.clone()));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A client that breaks off is no concern of the others.
    let _ = connection.with_upgrades().await;
}

async fn answer(mut request: Request<Incoming>, channel: Channel) -> Result<Answer, hyper::Error> {
    let status = |status| {
        let mut answer = Answer::default();
        *answer.status_mut() = status;
        answer
    };
    if is_upgrade_request(&request) {
        let Ok((answer, socket)) = upgrade(&mut request) else {
            return Ok(status(StatusCode::BAD_REQUEST));
        };
        tokio::spawn(serve(socket, channel.subscribe()));
        return Ok(answer);
    }
    if request.method() != Method::POST {
        return Ok(status(StatusCode::NOT_FOUND));
    }
    let message = request.into_body().collect().await?.to_bytes();
    // Fails where nobody is there to receive it.
    let _ = channel.send(message);
    Ok(status(StatusCode::OK))
}

/// One client, until either side ends.
async fn serve(socket: UpgradeFut, messages: Receiver<Bytes>) {
    // A client that is gone before its upgrade is no concern of the others.
    let Ok(socket) = socket.await else { return };
    let (reading, writing) = socket.split(tokio::io::split);
    let writing = Mutex::new(writing);
    // Side by side and not in turns: a pong that waits for room would wait for a fan-out forever.
    tokio::select! {
        _ = fan_out(messages, &writing) => {}
        _ = hear(reading, &writing) => {}
    }
}

async fn fan_out(mut messages: Receiver<Bytes>, writing: &Writing) -> Result<(), WebSocketError> {
    loop {
        match messages.recv().await {
            Ok(message) => {
                let frame = Frame::text(Payload::Borrowed(&message));
                writing.lock().await.write_frame(frame).await?;
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}

/// Reads until the client closes. Pings and the close are answered.
async fn hear(mut reading: Reading, writing: &Writing) -> Result<(), WebSocketError> {
    let mut answer = async |frame| writing.lock().await.write_frame(frame).await;
    loop {
        let frame = reading.read_frame(&mut answer).await?;
        if frame.opcode == OpCode::Close {
            return Ok(());
        }
    }
}
