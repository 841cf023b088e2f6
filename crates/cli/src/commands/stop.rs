//! `ebb stop`.

use serde::Serialize;

use super::Client;
use crate::args;
use crate::error::{Exit, Failure};
use crate::selector::{Selector, task_of};

#[derive(Debug, Serialize)]
struct Stopped {
    stopping: Vec<String>,
}

pub(crate) async fn stop(client: &Client, args: &args::Stop) -> Result<Exit, Failure> {
    let mut stopped = Stopped { stopping: Vec::new() };
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
    client.screen.show(&stopped, |_| {
        let lines: Vec<_> = stopped.stopping.iter().map(|id| format!("stopping {id}")).collect();
        lines.join("\n")
    })?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_lists_what_is_stopping() {
        let stopped = Stopped { stopping: vec!["job_0000000000007.0.17".into()] };
        let text = serde_json::to_string(&stopped).expect("JSON");
        assert_eq!(text, r#"{"stopping":["job_0000000000007.0.17"]}"#);
    }
}
