//! REST, as DESIGN §6 lists it.

mod body;
mod doc;
mod events;
mod export;
mod failure;
mod guard;
mod health;
mod items;
mod jobs;
mod json;
mod logs;
mod measure;
mod nodes;
mod outputs;
mod patch;
mod plan;
mod rates;
mod retry;
mod rows;
mod submit;
mod sync;
mod tasks;
mod tokens;

use std::sync::{Arc, Mutex};

use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::{Extension, Router};
use model::IdMaker;
use object_store::ObjectStore;
use store::Store;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::doc::Document;
use self::failure::{Failure, method_not_allowed, no_such_place};
use crate::config::Config;
use crate::feed::Feed;
use crate::items::Items;
use crate::leader::{Lead, NoAnswer, Seat};
use crate::metrics::Metrics;
use crate::nodes::Connections;
use crate::tokens::Tokens;

pub(crate) use self::guard::Hosts;
pub(crate) use self::rates::{Peer, Rates};

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
    /// How often each may ask.
    pub(crate) rates: Rates,
    /// Held while a job is changed: what the change was checked against holds until it is done.
    pub(crate) patching: tokio::sync::Mutex<()>,
    /// Requests that may still come in.
    pub(crate) slots: Semaphore,
    /// Ids of jobs that are submitted here.
    pub(crate) ids: Mutex<IdMaker>,
    /// What happens, for whoever listens.
    pub(crate) feed: Arc<Feed>,
    /// Texts of tasks whose items were uploaded.
    pub(crate) items: Items,
    /// Uploads of items that may still come in.
    pub(crate) uploads: Semaphore,
    /// Plans and exports that may still be asked for.
    pub(crate) plans: Semaphore,
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

/// All routes, each with its document.
fn routes() -> OpenApiRouter<Arc<App>> {
    let jobs = OpenApiRouter::new()
        .routes(routes!(jobs::list, submit::submit))
        .routes(routes!(jobs::one, patch::patch, jobs::stop))
        .routes(routes!(retry::retry))
        .routes(routes!(plan::plan))
        .routes(routes!(items::upload))
        .routes(routes!(jobs::tasks))
        .routes(routes!(jobs::outputs))
        .routes(routes!(jobs::results))
        .routes(routes!(jobs::explain))
        .routes(routes!(tasks::one, tasks::stop))
        .routes(routes!(tasks::attempts))
        .routes(routes!(tasks::explain))
        .routes(routes!(logs::logs))
        .routes(routes!(outputs::download));
    let nodes = OpenApiRouter::new()
        .routes(routes!(nodes::list))
        .routes(routes!(nodes::one))
        .routes(routes!(nodes::explain))
        .routes(routes!(nodes::drain))
        .routes(routes!(nodes::undrain))
        .routes(routes!(sync::join))
        .routes(routes!(sync::sync))
        .routes(routes!(sync::tail));
    let cluster = OpenApiRouter::new()
        .routes(routes!(events::events))
        .routes(routes!(health::cost))
        .routes(routes!(health::offers))
        .routes(routes!(export::export))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::remove))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .routes(routes!(doc::openapi));
    OpenApiRouter::with_openapi(doc::base()).merge(jobs).merge(nodes).merge(cluster)
}

/// The OpenAPI document, as `GET /openapi.json` answers it.
pub fn openapi() -> String {
    let (_, document) = routes().split_for_parts();
    Document::of(&doc::finish(&document)).to_string()
}

/// All routes, guarded.
pub(crate) fn router(app: Arc<App>) -> Router {
    let (router, document) = routes().split_for_parts();
    router
        .fallback(no_such_place)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(Extension(Document::of(&doc::finish(&document))))
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(Arc::clone(&app), guard::guard))
        .layer(from_fn(guard::harden))
        .layer(from_fn_with_state(Arc::clone(&app), measure::measure))
        .with_state(app)
}
