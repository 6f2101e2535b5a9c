//! When endpoints are asked, and what becomes of their answers.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use fanfare_identity::keys::{ASK_AGAIN_S, EndpointId, JwkSet, KeySet, KeySources};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinSet, LocalSet};

use super::asks::{ENDPOINTS_MAX, KeyAsks};
use super::fetch::{Published, fetch};
use super::freshness::pause_after;
use super::plan::{KeyEndpoint, KeyPlan};
use crate::clock::{self, Clock};
use crate::diagnostics::line_limit::LineLimit;
use crate::metrics::Metrics;
use crate::vigil::Guard;

/// The thread's name.
pub const THREAD: &str = "fanfare-keys";
/// Fetches at a time: each holds 256 KiB at most.
const FETCHES_MAX: usize = 8;
/// Between lines of the log about one endpoint that fails.
const LINE_PAUSE_MS: u64 = 60_000;

/// The running thread. Dropping it without [`KeyRenewal::stop`] ends the thread too, unwaited for.
#[derive(Debug)]
pub struct KeyRenewal {
    asks: KeyAsks,
    plans: mpsc::UnboundedSender<KeyPlan>,
    thread: JoinHandle<()>,
}

/// What is told: which endpoint was asked, if it is that, and all keys as they are now.
type Tell = dyn Fn(Option<EndpointId>, Arc<KeySet>) + Send;

impl KeyRenewal {
    /// Asks every endpoint at once, and from then on whenever its answer has grown old or somebody
    /// wants its keys. `tell` is called on the thread that does so: before the first is asked (and
    /// by each [`KeyRenewal::reload`]) without an endpoint, and whenever one was asked with that
    /// one, whatever it answered; both times with the keys of all as they are then.
    ///
    /// # Errors
    /// The machine's: no thread, no descriptors. And more endpoints than [`ENDPOINTS_MAX`].
    pub fn start(
        plan: KeyPlan,
        metrics: Arc<Metrics>,
        clock: Clock,
        guard: Guard,
        tell: impl Fn(Option<EndpointId>, Arc<KeySet>) + Send + 'static,
    ) -> io::Result<Self> {
        check(&plan)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let asks = KeyAsks::new();
        let (plans, new_plans) = mpsc::unbounded_channel();
        let (own_asks, tell): (_, Box<Tell>) = (asks.clone(), Box::new(tell));
        let thread = std::thread::Builder::new().name(THREAD.into()).spawn(move || {
            guard.watch(|| {
                let desk =
                    Desk { asks: own_asks, metrics, clock, tell, sources: RefCell::default() };
                LocalSet::new().block_on(&runtime, run(desk, plan, new_plans));
            });
        })?;
        Ok(Self { asks, plans, thread })
    }

    /// How others say that they wait for keys.
    pub fn asks(&self) -> KeyAsks {
        self.asks.clone()
    }

    /// How another configuration is told, by whoever does not keep the thread alive.
    pub fn plans(&self) -> KeyPlans {
        KeyPlans(self.plans.downgrade())
    }

    /// Goes on by another configuration. An endpoint that is in both keeps its keys until it has
    /// answered anew.
    ///
    /// # Errors
    /// More endpoints than [`ENDPOINTS_MAX`]: nothing changes then.
    pub fn reload(&self, plan: KeyPlan) -> io::Result<()> {
        check(&plan)?;
        let _ = self.plans.send(plan); // a thread that has panicked was told of by its guard
        Ok(())
    }

    /// Ends the thread, in the middle of whatever it does, and waits for it.
    pub fn stop(self) {
        drop(self.plans);
        if self.thread.join().is_err() {
            tracing::error!("the thread that fetches keys panicked: this is a bug in Fanfare");
        }
    }
}

/// Where another configuration's keys are put.
#[derive(Clone, Debug)]
pub struct KeyPlans(mpsc::WeakUnboundedSender<KeyPlan>);

impl KeyPlans {
    /// As [`KeyRenewal::reload`]; a thread that has ended takes nothing on.
    ///
    /// # Errors
    /// More endpoints than [`ENDPOINTS_MAX`]: nothing changes then.
    pub fn take_on(&self, plan: KeyPlan) -> io::Result<()> {
        check(&plan)?;
        if let Some(plans) = self.0.upgrade() {
            let _ = plans.send(plan); // as above
        }
        Ok(())
    }
}

fn check(plan: &KeyPlan) -> io::Result<()> {
    if plan.endpoints.len() > ENDPOINTS_MAX {
        let what = format!("a node asks at most {ENDPOINTS_MAX} endpoints for keys");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    Ok(())
}

/// What the tasks of all endpoints share.
struct Desk {
    asks: KeyAsks,
    metrics: Arc<Metrics>,
    clock: Clock,
    tell: Box<Tell>,
    sources: RefCell<KeySources>,
}

/// Runs one configuration after the other, until nobody can send another.
async fn run(desk: Desk, plan: KeyPlan, mut plans: mpsc::UnboundedReceiver<KeyPlan>) {
    let desk = Rc::new(desk);
    let (mut next, mut known) = (Some(plan), Vec::new());
    while let Some(KeyPlan { mut sources, endpoints }) = next {
        keep_known(&mut sources, &endpoints, &desk.sources.borrow(), &known);
        desk.sources.replace(sources);
        desk.tell_keys(None);
        let turns = Rc::new(Semaphore::new(FETCHES_MAX));
        let mut tasks = JoinSet::new();
        for endpoint in &endpoints {
            desk.asks.lower(endpoint.id);
            let (desk, endpoint) = (Rc::clone(&desk), endpoint.clone());
            tasks.spawn_local(keep_fresh(desk, endpoint, Rc::clone(&turns)));
        }
        known = endpoints;
        tokio::select! {
            plan = plans.recv() => next = plan,
            // An endpoint's task ends by a panic alone, which is one of this thread.
            Some(Err(error)) = tasks.join_next() => std::panic::resume_unwind(error.into_panic()),
        }
        tasks.shutdown().await;
    }
}

/// Gives new sources what the old ones know of endpoints that are in both.
fn keep_known(
    sources: &mut KeySources,
    endpoints: &[KeyEndpoint],
    old: &KeySources,
    known: &[KeyEndpoint],
) {
    for endpoint in endpoints {
        for before in known.iter().filter(|before| before.address == endpoint.address) {
            sources.keep(endpoint.id, old, before.id);
        }
    }
}

/// Asks one endpoint, for ever.
async fn keep_fresh(desk: Rc<Desk>, endpoint: KeyEndpoint, turns: Rc<Semaphore>) {
    let (mut failures, mut lines) = (0u32, LineLimit::<LINE_PAUSE_MS>::default());
    loop {
        let answer = {
            let _turn = turns.acquire().await;
            fetch(&endpoint.address, &endpoint.authorities).await
        };
        let pause = match answer.and_then(|published| desk.take(&endpoint, &published)) {
            Ok((keys, pause)) => {
                if failures > 0 {
                    tracing::info!(endpoint = %endpoint.address, keys, "keys are fetched again");
                }
                failures = 0;
                pause
            }
            Err(what) => {
                failures = failures.saturating_add(1);
                desk.fail(&endpoint, &what, failures, &mut lines);
                pause_after(failures)
            }
        };
        desk.asks.lower(endpoint.id);
        desk.tell_keys(Some(endpoint.id));
        let soonest = Duration::from_secs(ASK_AGAIN_S);
        tokio::time::sleep(soonest).await;
        tokio::select! {
            () = tokio::time::sleep(pause.saturating_sub(soonest)) => {}
            () = desk.asks.raised(endpoint.id) => {}
        }
    }
}

impl Desk {
    /// Takes an answer in: how many keys it has, and until when it is good.
    fn take(
        &self,
        endpoint: &KeyEndpoint,
        published: &Published,
    ) -> Result<(usize, Duration), String> {
        let mut sources = self.sources.borrow_mut();
        let set = JwkSet::read(&published.json, sources.only_algorithm(endpoint.id))?;
        let keys = set.len();
        sources.answered(endpoint.id, set, clock::unix_seconds());
        self.metrics.keys.fetched.add(1);
        Ok((keys, published.pause))
    }

    /// Keeps what there is, and says so now and then.
    fn fail(
        &self,
        endpoint: &KeyEndpoint,
        what: &str,
        failures: u32,
        lines: &mut LineLimit<LINE_PAUSE_MS>,
    ) {
        self.sources.borrow_mut().failed(endpoint.id, clock::unix_seconds());
        self.metrics.keys.failed.add(1);
        if lines.take(self.clock.now()).is_some() {
            tracing::warn!(
                endpoint = %endpoint.address,
                failures,
                "keys cannot be fetched: {what}; those that it gave before are kept"
            );
        }
    }

    /// Tells the keys as they are.
    fn tell_keys(&self, asked: Option<EndpointId>) {
        (self.tell)(asked, Arc::new(self.sources.borrow().snapshot()));
    }
}
