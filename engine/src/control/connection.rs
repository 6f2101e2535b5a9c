//! Accepts backends and speaks HTTP with each: a bounded number of them, each step in bounded time.
//!
//! hyper keeps one time for a head and for the silence between two requests, so that is the idle
//! time; the head of the first request has its own, shorter one, which is kept here. A peer that
//! takes no byte of an answer is ended by the kernel (`TCP_USER_TIMEOUT`).
//!
//! A request that is sent in the moment in which a silent connection is ended is lost without an
//! answer. So the silence is longer than that of the proxies and clients that we know (60 s), each
//! answer says how long it will be, a second less, and a client that heeds that never sends into a
//! connection that is being ended; and from the signal to stop on every answer says that it is the
//! last one.

use std::convert::Infallible;
use std::io::Error;
use std::net::TcpListener as StdListener;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{CONNECTION, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Version};
use axum::response::Response;
use fanfare_protocol::http::HttpDate;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::api::Api;
use super::routes;
use super::stream::ApiStream;
use crate::clock;

/// Tells every task to end, and within what time.
type Stop = watch::Receiver<Option<Duration>>;

/// Connections over the limit that are told so at once; more are dropped without a word.
const REFUSALS_MAX: usize = 32;
/// What is said to them. The body is short and the connection is over.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n\
    Content-Length: 115\r\nRetry-After: 1\r\nConnection: close\r\n\r\n\
    {\"error\":\"busy\",\"message\":\"as many backends are connected as may be: reuse connections, \
    or try again in a second\"}\n";
/// What is over its time has this much more, once: a timer fires before what came while the thread
/// stood still was read, and whoever sent it was in time.
pub(super) const UNREAD_GRACE: Duration = Duration::from_millis(100);
/// TLS handshakes at once, each within the time of a head; one more is dropped without a word. A
/// handshake costs more than all else that a stranger can ask for.
const GREETINGS_MAX: usize = 64;
/// After an accept that failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until told to stop, then waits for the requests that have begun, within the patience.
pub(super) async fn accept(listener: StdListener, api: Arc<Api>, mut stop: Stop) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the API does not listen: no event queue"),
    };
    let router = routes::router(&api);
    let room = Arc::new(Semaphore::new(api.config.bounds.connections));
    let room_for_refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let greetings = Arc::new(Semaphore::new(GREETINGS_MAX));
    let mut tasks = JoinSet::new();
    if let Some(tls) = api.config.tls.clone() {
        let metrics = Arc::clone(&api.metrics);
        tokio::spawn(async move { tls.watch(&metrics.tls).await });
    }
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if let Ok(place) = Arc::clone(&room).try_acquire_owned() {
                        let (api, router, stop) = (Arc::clone(&api), router.clone(), stop.clone());
                        let greetings = Arc::clone(&greetings);
                        tasks.spawn(async move {
                            if let Some(stream) = greet(stream, &api, &greetings).await {
                                converse(stream, &api, router, stop).await;
                            }
                            drop(place);
                        });
                    } else if api.config.tls.is_none()
                        && let Ok(place) = Arc::clone(&room_for_refusals).try_acquire_owned() {
                        tasks.spawn(async move {
                            ApiStream::Plain(stream).say_last(BUSY).await;
                            drop(place);
                        });
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the API cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = tasks.join_next() => {}
            _ = stop.changed() => break,
        }
    }
    drop(listener);
    let patience = stop.borrow().unwrap_or_default();
    let all_end = async { while tasks.join_next().await.is_some() {} };
    if timeout(patience, all_end).await.is_err() {
        tracing::warn!("requests to the API were cut off by the shutdown");
    }
}

/// A connection as it is spoken with; `None` where no TLS came of it in time.
async fn greet(stream: TcpStream, api: &Api, room: &Semaphore) -> Option<ApiStream> {
    let Some(tls) = &api.config.tls else { return Some(ApiStream::Plain(stream)) };
    let patience = Duration::from_millis(api.config.limits.head_ms);
    let greeted = match room.try_acquire() {
        Ok(_place) => timeout(patience, ApiStream::greet(stream, tls.acceptor())).await.ok(),
        Err(_) => None,
    };
    let greeted = greeted.flatten();
    if greeted.is_none() {
        api.metrics.tls.handshakes_failed.add(1);
    }
    greeted
}

/// One connection, from its first byte to its end.
async fn converse(stream: ApiStream, api: &Api, router: Router, mut stop: Stop) {
    let limits = &api.config.limits;
    set_options(stream.socket(), limits.stall_ms);
    let heard = Arc::new(AtomicBool::new(false));
    let service = service(router, Arc::clone(&heard), KeepAlive::new(api));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .half_close(true) // a client that has ended its side still waits for its answer
        .header_read_timeout(Duration::from_millis(limits.idle_ms))
        .max_headers(limits.http.fields)
        .max_buf_size(limits.http.head_bytes.max(8 << 10)) // hyper's own least
        .serve_connection(TokioIo::new(stream), service);
    let mut first_head = pin!(sleep(Duration::from_millis(limits.head_ms)));
    let mut waits_for_head = true;
    let mut grace = Some(UNREAD_GRACE);
    let late = loop {
        tokio::select! {
            // What came is read before its time is judged: a process that stood still for longer
            // than a head may take finds both at once.
            biased;
            ended = std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection to the API failed");
                }
                break false;
            }
            () = &mut first_head, if waits_for_head => {
                // What came while this thread stood still is here and not read yet.
                waits_for_head = !heard.load(Relaxed);
                match grace.take() {
                    Some(grace) => first_head.set(sleep(grace)),
                    None if waits_for_head => break true,
                    None => {}
                }
            }
            _ = stop.changed() => std::pin::Pin::new(&mut connection).graceful_shutdown(),
        }
    };
    let stream = connection.into_parts().io.into_inner();
    let last = if late { too_late() } else { String::new() };
    stream.say_last(last.as_bytes()).await;
}

/// The answer to a head that did not come in time. hyper dates its answers; this one is ours (RFC
/// 9110, section 6.6.1).
fn too_late() -> String {
    let date = HttpDate::from_unix_seconds(clock::unix_seconds());
    format!(
        "HTTP/1.1 408 Request Timeout\r\nDate: {}\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n",
        date.as_str()
    )
}

/// What answers say of their connection's future.
#[derive(Clone)]
struct KeepAlive {
    ready: Arc<AtomicBool>,
    /// `None` where the silence that is allowed is too short to be told in seconds.
    idle: Option<HeaderValue>,
}

impl KeepAlive {
    fn new(api: &Api) -> Self {
        // A second less than the truth, for the way here.
        let seconds = (api.config.limits.idle_ms / 1_000).saturating_sub(1);
        let text = (seconds > 0).then(|| format!("timeout={seconds}"));
        let idle = text.map(|text| HeaderValue::try_from(text).expect("digits"));
        Self { ready: Arc::clone(&api.config.ready), idle }
    }

    fn tell(&self, is_kept: bool, fields: &mut HeaderMap) {
        if !self.ready.load(Relaxed) {
            fields.insert(CONNECTION, HeaderValue::from_static("close"));
        } else if let Some(idle) = &self.idle
            && is_kept
            && !fields.contains_key(CONNECTION)
        {
            // Without a Connection field that lists it: hyper would put its own "close" beside
            // that, and RFC 9110, section 7.6.1, has intermediaries drop this one all the same.
            fields.insert(HeaderName::from_static("keep-alive"), idle.clone());
        }
    }
}

/// Whether a client of HTTP/1.1 leaves it to us how long the connection is kept.
fn is_kept(request: &Request<Incoming>) -> bool {
    let mut values = request.headers().get_all(CONNECTION).iter();
    let says_close = values.any(|value| {
        let mut tokens = value.as_bytes().split(|byte| *byte == b',');
        tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"))
    });
    request.version() == Version::HTTP_11 && !says_close
}

/// The router as hyper calls it; notes that a head was read.
fn service(
    router: Router,
    heard: Arc<AtomicBool>,
    kept: KeepAlive,
) -> impl Service<
    Request<Incoming>,
    Response = Response,
    Error = Infallible,
    Future = std::pin::Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>,
> + Unpin {
    let router = TowerToHyperService::new(router);
    hyper::service::service_fn(move |request: Request<Incoming>| {
        heard.store(true, Relaxed);
        let (kept, is_kept) = (kept.clone(), is_kept(&request));
        let answer = router.call(request);
        Box::pin(async move {
            let mut answer = answer.await?;
            kept.tell(is_kept, answer.headers_mut());
            Ok(answer)
        }) as _
    })
}

fn set_options(stream: &TcpStream, stall_ms: u64) {
    let stall_ms = u32::try_from(stall_ms).unwrap_or(u32::MAX);
    let set = stream.set_nodelay(true).and_then(|()| {
        rustix::net::sockopt::set_tcp_user_timeout(stream, stall_ms).map_err(Error::from)
    });
    if let Err(error) = set {
        tracing::debug!(%error, "a connection to the API keeps the kernel's defaults");
    }
}

#[cfg(test)]
mod tests {
    use super::BUSY;

    #[test]
    fn the_length_of_the_refusal_is_right() {
        let text = std::str::from_utf8(BUSY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
        assert_eq!(length.parse::<usize>().unwrap(), body.len());
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
    }
}
