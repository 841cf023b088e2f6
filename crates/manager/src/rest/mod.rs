//! REST, as DESIGN §6 lists it.

mod body;
mod failure;
mod guard;
mod health;
mod jobs;
mod logs;
mod measure;
mod nodes;
mod outputs;
mod rows;
mod submit;
mod sync;
mod tasks;
mod tokens;

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, post};
use model::IdMaker;
use object_store::ObjectStore;
use store::Store;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::failure::{Failure, method_not_allowed, no_such_place};
use crate::config::Config;
use crate::leader::{Lead, NoAnswer, Seat};
use crate::metrics::Metrics;
use crate::nodes::Connections;
use crate::tokens::Tokens;

pub(crate) use self::guard::Hosts;

/// What the handlers share.
pub(crate) struct App {
    /// What the manager was started with.
    pub(crate) config: Arc<Config>,
    /// The database.
    pub(crate) store: Arc<Store>,
    /// Where the leader is, if it is this replica.
    pub(crate) seat: Arc<Seat>,
    /// Who may what.
    pub(crate) tokens: Tokens,
    /// Which connection carries whose polls.
    pub(crate) connections: Arc<Connections>,
    /// Counters.
    pub(crate) metrics: Arc<Metrics>,
    /// Logs and outputs.
    pub(crate) objects: Arc<dyn ObjectStore>,
    /// Who sells machines: it proves who joins.
    pub(crate) cloud: Arc<dyn cloud::Cloud>,
    /// Where this replica answers.
    pub(crate) url: String,
    /// Names by which a client may call this manager.
    pub(crate) hosts: Hosts,
    /// Requests that may still come in.
    pub(crate) slots: Semaphore,
    /// Ids of jobs that are submitted here.
    pub(crate) ids: Mutex<IdMaker>,
    /// Says that long answers are to end.
    pub(crate) stop: CancellationToken,
}

/// The handlers' state.
pub(crate) type Shared = axum::extract::State<Arc<App>>;

impl App {
    /// The leader, if it is here; otherwise where it is.
    async fn lead(&self) -> Result<Arc<Lead>, Failure> {
        match self.seat.lead() {
            Some(lead) => Ok(lead),
            None => Err(self.not_leader().await),
        }
    }

    /// What to tell somebody whom the leader did not answer.
    async fn unanswered(&self, why: NoAnswer) -> Failure {
        match why {
            NoAnswer::Full => Failure::overloaded("the leader's queue is full; nothing was taken"),
            NoAnswer::Deposed => self.not_leader().await,
        }
    }

    async fn not_leader(&self) -> Failure {
        let leader = self.store.leader().await.ok().flatten();
        let here = self.seat.lead().is_some();
        Failure::not_leader(leader.filter(|_| !here).map(|leader| leader.url))
    }
}

/// All routes, guarded.
pub(crate) fn router(app: Arc<App>) -> Router {
    let jobs = Router::new()
        .route("/v1/jobs", post(submit::submit).get(jobs::list))
        .route("/v1/jobs/{id}", get(jobs::one).delete(jobs::stop))
        .route("/v1/jobs/{id}/tasks", get(jobs::tasks))
        .route("/v1/jobs/{id}/outputs", get(jobs::outputs))
        .route("/v1/jobs/{id}/results", get(jobs::results))
        .route("/v1/jobs/{id}/explain", get(jobs::explain))
        .route("/v1/tasks/{id}", get(tasks::one).delete(tasks::stop))
        .route("/v1/tasks/{id}/attempts", get(tasks::attempts))
        .route("/v1/tasks/{id}/explain", get(tasks::explain))
        .route("/v1/tasks/{id}/logs", get(logs::logs))
        .route("/v1/tasks/{id}/outputs/{*path}", get(outputs::download));
    let nodes = Router::new()
        .route("/v1/nodes", get(nodes::list))
        .route("/v1/nodes/join", post(sync::join))
        .route("/v1/nodes/{id}", get(nodes::one))
        .route("/v1/nodes/{id}/explain", get(nodes::explain))
        .route("/v1/nodes/{id}/sync", post(sync::sync))
        .route("/v1/nodes/{id}/tail", post(sync::tail))
        .route("/v1/nodes/{id}/drain", post(nodes::drain))
        .route("/v1/nodes/{id}/undrain", post(nodes::undrain));
    let rest = Router::new()
        .route("/v1/cost", get(health::cost))
        .route("/v1/offers", get(health::offers))
        .route("/v1/tokens", get(tokens::list).post(tokens::create))
        .route("/v1/tokens/{id}", delete(tokens::remove))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics));
    jobs.merge(nodes)
        .merge(rest)
        .fallback(no_such_place)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(Arc::clone(&app), guard::guard))
        .layer(from_fn(guard::harden))
        .layer(from_fn_with_state(Arc::clone(&app), measure::measure))
        .with_state(app)
}
