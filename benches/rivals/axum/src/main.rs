//! Fan-out with axum and tokio's broadcast channel, on a single-threaded runtime.
//!
//! | variant | a client's task |
//! |---|---|
//! | `plain` | as one writes it first: receives a message from the channel, sends it, flushes |
//! | `tuned` | receives one, feeds it and all others that wait to the sink, flushes once |
//!
//! **Tuning.** `tuned` has a read buffer of 4 KiB where the default is 128 KiB (its clients say
//! nothing), and takes publishes where they can be taken while a round over clients runs: on a
//! runtime of its own, in a thread of its own, on PORT+1. A serial publisher would otherwise be
//! served once a round, as one task behind those of all clients, and no round would ever have two
//! messages to coalesce. They are handed to one task of the clients' runtime, which such a
//! hand-over wakes within 31 turns of tasks. Both use one `Utf8Bytes` for all clients: a message's
//! bytes are not copied for each until they are framed.
//!
//! The channel holds 4,096 messages. A client that falls behind further is told nothing and goes
//! on, as the channel's documentation has it; the load generator would count it.

use std::convert::Infallible;
use std::io;
use std::thread;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::Response;
use axum::response::sse::{Event, Sse};
use axum::routing::{any, get, post};
use contender::start::Start;
use futures_util::stream::{SplitSink, SplitStream, unfold};
use futures_util::{SinkExt, Stream, StreamExt};
use tokio::net::TcpListener;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::broadcast::{Receiver, Sender, channel};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

const CHANNEL_MESSAGES: usize = 4096;
const READ_BUFFER_BYTES: usize = 4 << 10;

type Channel = Sender<Utf8Bytes>;

fn main() -> io::Result<()> {
    let start = Start::from_arguments(&["plain", "tuned"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (channel, _) = channel(CHANNEL_MESSAGES);
    let routes = Router::new().route("/sse", get(event_stream));
    let routes = match start.variant.as_str() {
        "plain" => routes.route("/ws", any(plain)).route("/publish", post(publish)),
        _ => {
            let published = take_publishes(start.listen(1))?;
            runtime.spawn(pass_on(published, channel.clone()));
            routes.route("/ws", any(tuned))
        }
    };
    let listener = start.listen(0);
    runtime.block_on(async move {
        start.ready();
        axum::serve(listener_of(listener)?, routes.with_state(channel)).await
    })
}

fn listener_of(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Takes publishes in a thread of its own.
fn take_publishes(listener: std::net::TcpListener) -> io::Result<UnboundedReceiver<Utf8Bytes>> {
    let (sender, receiver) = unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let routes = Router::new().route("/publish", post(hand_over)).with_state(sender);
    thread::Builder::new().name("publish".into()).spawn(move || {
        runtime.block_on(async move { axum::serve(listener_of(listener)?, routes).await })
    })?;
    Ok(receiver)
}

async fn hand_over(State(sender): State<UnboundedSender<Utf8Bytes>>, body: Bytes) -> StatusCode {
    match Utf8Bytes::try_from(body).map(|text| sender.send(text)) {
        Ok(Ok(())) => StatusCode::OK,
        Ok(Err(_)) => StatusCode::SERVICE_UNAVAILABLE,
        Err(_) => StatusCode::BAD_REQUEST,
    }
}

async fn pass_on(mut published: UnboundedReceiver<Utf8Bytes>, channel: Channel) {
    while let Some(text) = published.recv().await {
        // Fails where nobody is there to receive it.
        let _ = channel.send(text);
    }
}

async fn publish(State(channel): State<Channel>, body: Bytes) -> StatusCode {
    let Ok(text) = Utf8Bytes::try_from(body) else { return StatusCode::BAD_REQUEST };
    // Fails where nobody is there to receive it.
    let _ = channel.send(text);
    StatusCode::OK
}

async fn plain(State(channel): State<Channel>, upgrade: WebSocketUpgrade) -> Response {
    let messages = channel.subscribe();
    upgrade.on_upgrade(move |socket| serve(socket, messages, false))
}

async fn tuned(State(channel): State<Channel>, upgrade: WebSocketUpgrade) -> Response {
    let messages = channel.subscribe();
    let upgrade = upgrade.read_buffer_size(READ_BUFFER_BYTES);
    upgrade.on_upgrade(move |socket| serve(socket, messages, true))
}

/// One client, until either side ends.
async fn serve(socket: WebSocket, mut messages: Receiver<Utf8Bytes>, drains: bool) {
    let (mut sink, mut stream) = socket.split();
    loop {
        tokio::select! {
            received = messages.recv() => {
                let text = match received {
                    Ok(text) => text,
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => return,
                };
                if send(&mut sink, text, &mut messages, drains).await.is_err() {
                    return;
                }
            }
            goes_on = hear(&mut stream) => if !goes_on { return },
        }
    }
}

async fn send(
    sink: &mut SplitSink<WebSocket, Message>,
    text: Utf8Bytes,
    messages: &mut Receiver<Utf8Bytes>,
    drains: bool,
) -> Result<(), axum::Error> {
    if !drains {
        return sink.send(Message::Text(text)).await;
    }
    sink.feed(Message::Text(text)).await?;
    loop {
        match messages.try_recv() {
            Ok(text) => sink.feed(Message::Text(text)).await?,
            Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => return sink.flush().await,
        }
    }
}

/// Takes what a client says; whether it goes on. Pings and a close are answered inside.
async fn hear(stream: &mut SplitStream<WebSocket>) -> bool {
    matches!(stream.next().await, Some(Ok(_)))
}

async fn event_stream(
    State(channel): State<Channel>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(unfold(channel.subscribe(), |mut messages| async move {
        loop {
            match messages.recv().await {
                Ok(text) => return Some((Ok(Event::default().data(text.as_str())), messages)),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }))
}
