//! One request for a key set, and all that its answer may not be.
//!
//! The request goes to the address that the configuration names and nowhere else: no redirect is
//! followed, no proxy asked. What comes is bounded in bytes and all of it in time.

use std::pin::pin;
use std::time::Duration;

use fanfare_identity::keys::SET_BYTES_MAX;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::address::KeyAddress;
use super::authorities::Authorities;
use super::freshness;

/// What the whole of a fetch may take, from the name's resolution to the last byte.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Fields of it.
const FIELDS_MAX: usize = 100;

/// What an endpoint has given.
pub(super) struct Published {
    /// The set, as it came.
    pub json: Vec<u8>,
    /// For how long it is taken for what is published.
    pub pause: Duration,
}

/// Asks once.
///
/// # Errors
/// A sentence about what came instead of a key set.
pub(super) async fn fetch(
    address: &KeyAddress,
    authorities: &Authorities,
) -> Result<Published, String> {
    let late = |_| format!("it did not answer whole within {} s", PATIENCE.as_secs());
    tokio::time::timeout(PATIENCE, connect(address, authorities)).await.map_err(late)?
}

async fn connect(address: &KeyAddress, authorities: &Authorities) -> Result<Published, String> {
    let stream = TcpStream::connect((address.host(), address.port()))
        .await
        .map_err(|error| format!("it cannot be reached: {error}"))?;
    if !address.is_secure() {
        return exchange(stream, address).await;
    }
    let name = ServerName::try_from(address.host().to_owned())
        .map_err(|_| "its host is no name that a certificate can have")?;
    let stream = TlsConnector::from(authorities.0.clone())
        .connect(name, stream)
        .await
        .map_err(|error| format!("TLS with it failed: {error}"))?;
    exchange(stream, address).await
}

/// One request and its answer, on a connection that is used for nothing else.
async fn exchange<S>(stream: S, address: &KeyAddress) -> Result<Published, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let wrong = |error: hyper::Error| format!("HTTP with it failed: {error}");
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(FIELDS_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(wrong)?;
    let request = Request::get(address.target())
        .header(header::HOST, address.authority())
        .header(header::ACCEPT, "application/jwk-set+json, application/json")
        .header(header::USER_AGENT, concat!("fanfare/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| "its URL cannot be asked for")?;
    let answer = async { read(sender.send_request(request).await.map_err(wrong)?).await };
    let (mut answer, mut connection) = (pin!(answer), pin!(connection));
    tokio::select! {
        biased;
        answer = &mut answer => return answer,
        // What it has read before it ended is still to be taken.
        _ = &mut connection => {}
    }
    answer.await
}

async fn read(mut answer: Response<Incoming>) -> Result<Published, String> {
    let status = answer.status();
    if status.is_redirection() {
        return Err(format!("it answers {status}: redirects are not followed"));
    }
    if status != hyper::StatusCode::OK {
        return Err(format!("it answers {status}"));
    }
    if !is_json(answer.headers()) {
        return Err("it answers with something that is not called JSON (Content-Type)".into());
    }
    let too_much = || "it answers with more than 256 KiB".to_owned();
    if answer.body().size_hint().lower() > SET_BYTES_MAX as u64 {
        return Err(too_much());
    }
    let mut json = Vec::new();
    while let Some(frame) = answer.body_mut().frame().await {
        let frame = frame.map_err(|error| format!("its answer broke off: {error}"))?;
        let Ok(bytes) = frame.into_data() else { continue };
        if json.len() + bytes.len() > SET_BYTES_MAX {
            return Err(too_much());
        }
        json.extend_from_slice(&bytes);
    }
    let fields = answer.headers().get_all(header::CACHE_CONTROL);
    let pause = freshness::pause(fields.iter().filter_map(|field| field.to_str().ok()));
    Ok(Published { json, pause })
}

/// `application/json`, `application/jwk-set+json`, and whatever else says that it is JSON.
fn is_json(fields: &HeaderMap) -> bool {
    let kind = fields.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let Some(kind) = kind.and_then(|kind| kind.split(';').next()) else { return false };
    let kind = kind.trim().to_ascii_lowercase();
    kind == "application/json" || kind.starts_with("application/") && kind.ends_with("+json")
}
