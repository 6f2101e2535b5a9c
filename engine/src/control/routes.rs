//! Every path of the API. The order of judgement is the same for all: gate, path, method, body.

use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::answer::Fault;
use super::api::Api;
use super::{channels, connections, gate, metrics_page, publish, read, reload, tokens};

/// The router of one API.
pub(super) fn router(api: &Arc<Api>) -> Router {
    Router::new()
        .route("/v1/channels/{channel}", post(publish::raw).get(read::stats))
        .route("/v1/channels/{channel}/history", get(read::history))
        .route("/v1/channels", get(channels::list))
        .route("/v1/publish", post(publish::json_body))
        .route(
            "/v1/connections/{id}",
            get(connections::connection)
                .delete(connections::close_connection)
                .post(connections::send),
        )
        .route("/v1/users/{user}", get(connections::connections_of).delete(connections::close_user))
        .route("/v1/disconnect", post(connections::disconnect))
        .route("/v1/unsubscribe", post(connections::unsubscribe))
        .route("/v1/revocations", post(tokens::revoke))
        .route("/v1/explain", post(tokens::explain))
        .route("/v1/tickets", post(tokens::ticket))
        .route("/v1/reload", post(reload::reload))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(async || unknown_path())
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(api), gate::pass))
        .with_state(Arc::clone(api))
}

async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let page = metrics_page::page(&api.metrics, &api.config.build);
    ([(header::CONTENT_TYPE, metrics_page::CONTENT_TYPE)], page).into_response()
}

/// The process runs and its control thread answers.
async fn healthz() -> &'static str {
    "ok\n"
}

/// The node serves clients.
async fn readyz(State(api): State<Arc<Api>>) -> Result<&'static str, Fault> {
    if api.config.ready.load(Acquire) {
        return Ok("ready\n");
    }
    Err(Fault::unavailable(
        "not_ready",
        "the node is starting or shutting down: ask again in a second",
        1,
    ))
}

/// The body of an unknown path is not read, so the connection ends.
pub(super) fn unknown_path() -> Fault {
    Fault::new(
        StatusCode::NOT_FOUND,
        "unknown_path",
        "there is nothing here: publish with POST /v1/channels/{channel}; clients connect to the \
         other listener",
    )
    .closing()
}

/// axum adds the `Allow` field.
async fn wrong_method() -> Fault {
    Fault::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "wrong_method",
        "this path has other methods: the Allow field names them",
    )
    .closing()
}
