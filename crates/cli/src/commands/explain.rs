//! `ebb explain`.

use api::view::Explanation;

use super::{Client, nodes};
use crate::error::{Exit, Failure, Kind};
use crate::selector::{JobSelector, Selector, task_of};

pub(crate) async fn explain(client: &Client, text: &str) -> Result<Exit, Failure> {
    let explanation = match of_node(client, text).await? {
        Some(explanation) => explanation,
        None => of_work(client, text).await?,
    };
    client.screen.show(&explanation)?;
    Ok(Exit::Ok)
}

/// A node by its id or its name; a beginning alone is a job's.
async fn of_node(client: &Client, text: &str) -> Result<Option<Explanation>, Failure> {
    if text.starts_with("node_") {
        let id = nodes::find(client, text).await?;
        return client.remote.explain_node(id).await.map(Some);
    }
    let all = client.remote.nodes(false).await?;
    let named = all.iter().find(|node| node.name.as_deref() == Some(text) && node.state != "gone");
    match named.map(|node| node.id.parse()) {
        Some(Ok(id)) => client.remote.explain_node(id).await.map(Some),
        _ => Ok(None),
    }
}

async fn of_work(client: &Client, text: &str) -> Result<Explanation, Failure> {
    let selector = text.parse().map_err(Failure::usage)?;
    if let Selector::Job(job @ JobSelector::Prefix(_)) = &selector {
        let found = client.select_one(job).await;
        // It may have been meant as either.
        let id = found.map_err(|failure| match failure.kind {
            Kind::NotFound => Failure::not_found(format!("no job, task or node is `{text}`"))
                .next("ebb status, or: ebb nodes"),
            _ => failure,
        })?;
        return client.remote.explain_job(id).await;
    }
    match selector {
        Selector::Task(job, group, index) => {
            let id = task_of(client.select_one(&job).await?, group, index);
            client.remote.explain_task(id).await
        }
        Selector::Job(job) => client.remote.explain_job(client.select_one(&job).await?).await,
    }
}
