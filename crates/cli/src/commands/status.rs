//! `ebb status`.

use api::view::{AttemptView, CostView, JobDetail, JobView, NodeView, TaskView};
use serde::Serialize;

use super::{Client, now};
use crate::args;
use crate::error::{Exit, Failure};
use crate::output::Paint;
use crate::render;
use crate::selector::{Selector, task_of};

/// All at a glance.
#[derive(Debug, Serialize)]
struct Overview {
    jobs: Vec<JobView>,
    nodes: Vec<NodeView>,
    cost: CostView,
}

/// A task with its history.
#[derive(Debug, Serialize)]
struct TaskDetail {
    #[serde(flatten)]
    task: TaskView,
    attempts: Vec<AttemptView>,
}

/// A job with its tasks (`--all`).
#[derive(Debug, Serialize)]
struct JobTasks {
    #[serde(flatten)]
    job: JobDetail,
    task_list: Vec<TaskView>,
}

/// Jobs without `--all`: more than a screen of them helps nobody.
const LATEST: u32 = 100;

pub(crate) async fn status(client: &Client, args: &args::Status) -> Result<Exit, Failure> {
    match &args.selector {
        None => overview(client, args.all).await?,
        Some(Selector::Task(job, group, index)) => {
            let id = task_of(client.select_one(job).await?, *group, *index);
            let (task, attempts) =
                (client.remote.task(id).await?, client.remote.attempts(id).await?);
            client
                .screen
                .show(&TaskDetail { task: task.clone(), attempts: attempts.clone() }, {
                    |paint| task_text(&task, &attempts, paint)
                })?;
        }
        Some(Selector::Job(selector)) => {
            let ids = client.select(selector).await?;
            if let [id] = ids[..] {
                one_job(client, id, args.all).await?;
            } else {
                let mut jobs = Vec::with_capacity(ids.len());
                for id in ids {
                    jobs.push(client.remote.job(id).await?.job);
                }
                let page = api::view::Page { items: jobs, next_cursor: None };
                client.screen.show(&page, |paint| render::jobs(&page.items, now(), paint))?;
            }
        }
    }
    Ok(Exit::Ok)
}

fn task_text(task: &TaskView, attempts: &[AttemptView], paint: Paint) -> String {
    let mut text = render::tasks(std::slice::from_ref(task), paint);
    if !attempts.is_empty() {
        text = format!("{text}\n\n{}", render::attempts(attempts));
    }
    text
}

async fn one_job(client: &Client, id: model::JobId, all: bool) -> Result<(), Failure> {
    let job = client.remote.job(id).await?;
    if !all {
        return client.screen.show(&job, |paint| render::job(&job, now(), paint));
    }
    let with = JobTasks { task_list: client.remote.tasks(id).await?, job };
    client.screen.show(&with, |paint| {
        let job = render::job(&with.job, now(), paint);
        format!("{job}\n\n{}", render::tasks(&with.task_list, paint))
    })
}

async fn overview(client: &Client, all: bool) -> Result<(), Failure> {
    let jobs = if all {
        client.remote.jobs(None).await?
    } else {
        client.remote.latest_jobs(LATEST).await?
    };
    let (nodes, cost) = (client.remote.nodes(false).await?, client.remote.cost().await?);
    let view = Overview { jobs, nodes, cost };
    client.screen.show(&view, |paint| {
        if all {
            render::jobs(&view.jobs, now(), paint)
        } else {
            render::overview(&view.jobs, &view.nodes, &view.cost, now(), paint)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_task_comes_with_its_attempts() {
        let task = samples::task(17);
        let attempts = vec![samples::attempt(task.id)];
        insta::assert_snapshot!(task_text(&task, &attempts, Paint::PLAIN));
        insta::assert_json_snapshot!(TaskDetail { task, attempts });
    }

    #[test]
    fn the_overview_is_one_object_of_three_lists() {
        let view = Overview { jobs: vec![], nodes: vec![], cost: samples::cost() };
        let value = serde_json::to_value(&view).expect("JSON");
        let keys: Vec<_> = value.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["cost", "jobs", "nodes"]);
    }
}
