//! `ebb explain`.

use api::view::Explanation;

use super::{Client, nodes};
use crate::error::{Exit, Failure};
use crate::selector::{Selector, task_of};

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
    match text.parse().map_err(Failure::usage)? {
        Selector::Task(job, group, index) => {
            let id = task_of(client.select_one(&job).await?, group, index);
            client.remote.explain_task(id).await
        }
        Selector::Job(job) => client.remote.explain_job(client.select_one(&job).await?).await,
    }
}
