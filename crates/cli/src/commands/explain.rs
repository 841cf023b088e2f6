//! `ebb explain`.

use super::{Client, nodes};
use crate::error::{Exit, Failure};
use crate::render;
use crate::selector::{Selector, task_of};

pub(crate) async fn explain(client: &Client, text: &str) -> Result<Exit, Failure> {
    let explanation = if text.starts_with("node_") {
        client.remote.explain_node(nodes::find(client, text).await?).await?
    } else {
        match text.parse().map_err(Failure::usage)? {
            Selector::Task(job, group, index) => {
                let id = task_of(client.select_one(&job).await?, group, index);
                client.remote.explain_task(id).await?
            }
            Selector::Job(job) => client.remote.explain_job(client.select_one(&job).await?).await?,
        }
    };
    client.screen.show(&explanation, |_| render::explanation(&explanation))?;
    Ok(Exit::Ok)
}
