//! What has to be done now and then and hurries nobody.

use std::sync::Arc;
use std::time::Duration;

use store::{StoreError, TokenKind};

use crate::rest::App;
use crate::{clock, retention};

/// A node's token is made after its birth is durable, and must not be taken for one of a node
/// that is gone meanwhile.
const YOUNG_TOKEN_MS: u64 = 60_000;

/// Runs until the manager stops.
pub(crate) async fn run(app: Arc<App>) {
    let work = async {
        tokio::join!(app.tokens.keep_fresh(), rounds(&app));
    };
    tokio::select! {
        () = app.stop.cancelled() => {}
        () = work => {}
    }
}

async fn rounds(app: &App) {
    let period = Duration::from_millis(app.config.retention.round_ms);
    loop {
        tokio::time::sleep(period).await;
        if app.seat.lead().is_none() {
            continue;
        }
        if let Err(fault) = retention::forget(app).await {
            tracing::warn!(%fault, "what is too old could not be deleted");
        }
        if let Err(fault) = forget_gone_nodes(app).await {
            tracing::warn!(%fault, "tokens of nodes that are gone could not be removed");
        }
    }
}

async fn forget_gone_nodes(app: &App) -> Result<(), StoreError> {
    let Some(lead) = app.seat.lead() else { return Ok(()) };
    let now = clock::now();
    let of_nodes: Vec<_> = app
        .tokens
        .list()
        .await?
        .into_iter()
        .filter(|token| now.since(token.created) > YOUNG_TOKEN_MS)
        .filter_map(|token| match token.kind {
            TokenKind::Node(node) => Some((node, token.hash)),
            TokenKind::User | TokenKind::WorkerJoin => None,
        })
        .collect();
    let gone = lead.look(move |world, _, _| {
        let is_gone = |(node, _): &(model::NodeId, _)| !world.durable.nodes.contains_key(node);
        of_nodes.into_iter().filter(is_gone).collect::<Vec<_>>()
    });
    for (_, hash) in gone.await.unwrap_or_default() {
        app.tokens.remove(&hash).await?;
    }
    Ok(())
}
