//! `POST /v1/reload`: has the configuration read again, and says what came of it.

use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use fanfare_identity::ApiKeys;
use serde::Serialize;

use super::answer::{Fault, json};
use super::api::Api;
use super::tokens::Judge;

/// What a configuration that was read again has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// What holds from now on.
    pub changed: Vec<&'static str>,
    /// What is another thing now and cannot change while the node runs.
    pub needs_restart: Vec<&'static str>,
}

/// Reads the configuration again. An error says everything that is wrong with it; nothing has
/// changed then.
pub type Reload = Arc<dyn Fn() -> Result<Reloaded, String> + Send + Sync>;

/// What of the API may change while it runs: a handle, of which there may be several.
#[derive(Clone)]
pub struct ApiChanges(Arc<Changing>);

struct Changing {
    api_keys: RwLock<Arc<ApiKeys>>,
    reload: OnceLock<Reload>,
    judge: OnceLock<Judge>,
}

impl ApiChanges {
    /// With these keys of backends, and no way to read the configuration again.
    pub(super) fn new(api_keys: ApiKeys) -> Self {
        let api_keys = RwLock::new(Arc::new(api_keys));
        Self(Arc::new(Changing { api_keys, reload: OnceLock::new(), judge: OnceLock::new() }))
    }

    /// The keys of backends, as they are now.
    pub(super) fn api_keys(&self) -> Arc<ApiKeys> {
        Arc::clone(&self.0.api_keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Other keys of backends, from the next request on.
    pub fn set_api_keys(&self, keys: ApiKeys) {
        *self.0.api_keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// By whom clients are judged; the first that is said stays.
    pub fn set_judge(&self, judge: Judge) {
        self.0.judge.get_or_init(|| judge);
    }

    pub(super) fn judge(&self) -> Option<Judge> {
        self.0.judge.get().cloned()
    }

    /// How the configuration is read again; the first way that is said stays.
    pub fn set_reload(&self, reload: Reload) {
        self.0.reload.get_or_init(|| reload);
    }
}

impl fmt::Debug for ApiChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiChanges")
    }
}

/// Reads it, on this thread: a file of 1 MiB at most, and those that it names.
pub(super) async fn reload(State(api): State<Arc<Api>>) -> Result<Response, Fault> {
    let reload = api.changes.0.reload.get().ok_or_else(|| {
        Fault::new(
            StatusCode::CONFLICT,
            "no_configuration",
            "this node was started without a configuration file, so there is none to be read again",
        )
        .closing()
    })?;
    match reload() {
        Ok(reloaded) => Ok(json(StatusCode::OK, &reloaded)),
        Err(what) => Err(Fault::unprocessable(
            "bad_configuration",
            format!("the configuration is wrong, so that the one before goes on: {what}"),
        )
        .closing()),
    }
}
