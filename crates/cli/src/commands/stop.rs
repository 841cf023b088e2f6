//! `ebb stop`.

use serde::Serialize;

use super::Client;
use crate::args;
use crate::error::{Exit, Failure};
use crate::output::{Answer, Look};
use crate::selector::{Selector, task_of};

/// Which jobs and tasks are to end.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Stopped {
    pub(crate) stopping: Vec<String>,
}

impl Answer for Stopped {
    fn text(&self, _look: Look) -> String {
        let lines: Vec<_> = self.stopping.iter().map(|id| format!("stopping {id}")).collect();
        lines.join("\n")
    }
}

pub(crate) async fn stop(client: &Client, args: &args::Stop) -> Result<Exit, Failure> {
    let mut stopped = Stopped::default();
    for selector in &args.selectors {
        match selector {
            Selector::Job(selector) => {
                for id in client.select(selector).await? {
                    client.remote.stop_job(id).await?;
                    stopped.stopping.push(id.to_string());
                }
            }
            Selector::Task(job, group, index) => {
                let id = task_of(client.select_one(job).await?, *group, *index);
                client.remote.stop_task(id).await?;
                stopped.stopping.push(id.to_string());
            }
        }
    }
    client.screen.show(&stopped)?;
    Ok(Exit::Ok)
}
