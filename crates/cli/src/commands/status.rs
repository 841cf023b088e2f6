//! `ebb status`.

use std::io::IsTerminal;
use std::time::Duration;

use api::client::EventsQuery;
use api::view::{AttemptView, JobDetail, JobView, Page, TaskView};
use model::{JobId, JobStatus, TaskId};
use serde::Serialize;

use super::Client;
use crate::args;
use crate::error::{Exit, Failure};
use crate::health::{Facts, Overview, Unsettled};
use crate::output::{Answer, Format, Look, Screen, now};
use crate::pulse::Pulse;
use crate::remote::{PAGE, Remote};
use crate::render;
use crate::selector::{Selector, task_of};

/// Jobs without `--all`: more than a screen of them helps nobody.
const LATEST: u32 = 100;
/// What happens together is shown together.
const TOGETHER: Duration = Duration::from_millis(250);
/// Ages on a terminal are kept young.
const REDRAW: Duration = Duration::from_secs(2);
/// Longer than anybody watches without a look.
const LONG: Duration = Duration::from_secs(3600);

/// A task with its history.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct TaskDetail {
    #[serde(flatten)]
    pub(crate) task: TaskView,
    pub(crate) attempts: Vec<AttemptView>,
}

impl Answer for TaskDetail {
    fn text(&self, look: Look) -> String {
        let mut text = render::task(&self.task, look);
        if !self.attempts.is_empty() {
            text = format!("{text}\n\n{}", render::attempts(&self.attempts, look));
        }
        text
    }
}

/// A job with its tasks (`--all`).
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct JobTasks {
    #[serde(flatten)]
    pub(crate) job: JobDetail,
    pub(crate) task_list: Vec<TaskView>,
}

impl Answer for JobTasks {
    fn text(&self, look: Look) -> String {
        format!("{}\n\n{}", self.job.text(look), render::tasks(&self.task_list, look))
    }
}

/// What is looked at.
enum Subject {
    All { all: bool },
    Job { id: JobId, all: bool },
    Jobs(Vec<JobId>),
    Task(TaskId),
}

/// What was seen of it.
enum Seen {
    Overview(Box<Overview>),
    Job(Box<JobDetail>),
    JobTasks(Box<JobTasks>),
    Jobs(Page<JobView>),
    Task(Box<TaskDetail>),
}

pub(crate) async fn status(client: &Client, args: &args::Status) -> Result<Exit, Failure> {
    let subject = subject(client, args).await?;
    if args.watch {
        watch(client, &subject).await?;
    } else {
        subject.look(&client.remote).await?.show(client.screen)?;
    }
    Ok(Exit::Ok)
}

async fn subject(client: &Client, args: &args::Status) -> Result<Subject, Failure> {
    Ok(match &args.selector {
        None => Subject::All { all: args.all },
        Some(Selector::Task(job, group, index)) => {
            Subject::Task(task_of(client.select_one(job).await?, *group, *index))
        }
        Some(Selector::Job(selector)) => {
            let ids = client.select(selector).await?;
            match ids[..] {
                [id] => Subject::Job { id, all: args.all },
                _ => Subject::Jobs(ids),
            }
        }
    })
}

impl Subject {
    async fn look(&self, remote: &Remote) -> Result<Seen, Failure> {
        Ok(match self {
            Self::All { all } => Seen::Overview(Box::new(Box::pin(overview(remote, *all)).await?)),
            Self::Job { id, all: false } => Seen::Job(Box::new(remote.job(*id).await?)),
            Self::Job { id, all: true } => {
                let (job, task_list) = tokio::try_join!(remote.job(*id), remote.tasks(*id))?;
                Seen::JobTasks(Box::new(JobTasks { job, task_list }))
            }
            Self::Jobs(ids) => {
                let mut items = Vec::with_capacity(ids.len());
                for id in ids {
                    items.push(remote.job(*id).await?.job);
                }
                Seen::Jobs(Page { items, next_cursor: None })
            }
            Self::Task(id) => {
                let (task, attempts) = tokio::try_join!(remote.task(*id), remote.attempts(*id))?;
                Seen::Task(Box::new(TaskDetail { task, attempts }))
            }
        })
    }

    /// What events concern it.
    fn query(&self) -> EventsQuery {
        let job = match self {
            Self::All { .. } | Self::Jobs(_) => None,
            Self::Job { id, .. } => Some(*id),
            Self::Task(id) => Some(id.job),
        };
        EventsQuery { job, ..EventsQuery::default() }
    }
}

impl Seen {
    fn text(&self, look: Look) -> String {
        match self {
            Self::Overview(seen) => seen.text(look),
            Self::Job(seen) => seen.text(look),
            Self::JobTasks(seen) => seen.text(look),
            Self::Jobs(seen) => seen.text(look),
            Self::Task(seen) => seen.text(look),
        }
    }

    fn show(&self, screen: Screen) -> Result<(), Failure> {
        match self {
            Self::Overview(seen) => screen.show(&**seen),
            Self::Job(seen) => screen.show(&**seen),
            Self::JobTasks(seen) => screen.show(&**seen),
            Self::Jobs(seen) => screen.show(seen),
            Self::Task(seen) => screen.show(&**seen),
        }
    }

    /// Whether nothing will change any more.
    fn is_settled(&self) -> bool {
        match self {
            Self::Overview(_) => false,
            Self::Job(job) => job.job.status.is_settled(),
            Self::JobTasks(job) => job.job.job.status.is_settled(),
            Self::Jobs(page) => page.items.iter().all(|job| job.status.is_settled()),
            Self::Task(task) => {
                use model::TaskStatus::{Cancelled, Failed, Succeeded};
                matches!(task.task.status, Succeeded | Failed | Cancelled)
            }
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Overview(one), Self::Overview(other)) => one.is_like(other),
            (Self::Job(one), Self::Job(other)) => one == other,
            (Self::JobTasks(one), Self::JobTasks(other)) => one == other,
            (Self::Jobs(one), Self::Jobs(other)) => one.items == other.items,
            (Self::Task(one), Self::Task(other)) => one == other,
            _ => false,
        }
    }
}

/// Shows it at each change; ends when nothing can change any more.
async fn watch(client: &Client, subject: &Subject) -> Result<(), Failure> {
    let (screen, remote) = (client.screen, client.remote.watching());
    let terminal = screen.format == Format::Table && std::io::stdout().is_terminal();
    let mut pulse = Pulse::new(&client.remote, subject.query()).await;
    let mut last: Option<Seen> = None;
    loop {
        let seen = subject.look(&remote).await?;
        let changed = last.as_ref().is_none_or(|last| !seen.is_like(last));
        if terminal {
            // Home, the text, and nothing of the text before below and beside it.
            let text = seen.text(screen.look()).replace('\n', "\x1b[K\n");
            let clear = if last.is_none() { "\x1b[2J" } else { "" };
            let shown = format!("{clear}\x1b[H{text}\x1b[K\n\x1b[J");
            crate::output::write_all(&mut std::io::stdout().lock(), shown.as_bytes())?;
        } else if changed {
            if last.is_some() && screen.format == Format::Table {
                screen.print("\n")?;
            }
            seen.show(screen)?;
        }
        if seen.is_settled() {
            return Ok(());
        }
        last = Some(seen);
        pulse.next(if terminal { REDRAW } else { LONG }).await;
        tokio::time::sleep(TOGETHER).await;
        while pulse.next(Duration::ZERO).await.is_some() {}
    }
}

async fn overview(remote: &Remote, all: bool) -> Result<Overview, Failure> {
    let latest =
        async { if all { remote.jobs(None).await } else { remote.latest_jobs(LATEST).await } };
    let ready = async { Ok(remote.ready().await.err().map(|failure| failure.cause)) };
    let (not_ready, running, stopping, waiting, submitted, latest, nodes, cost) = tokio::try_join!(
        ready,
        remote.jobs_that_are(JobStatus::Running),
        remote.jobs_that_are(JobStatus::Stopping),
        remote.jobs_that_are(JobStatus::Waiting),
        remote.jobs_that_are(JobStatus::Submitted),
        latest,
        remote.nodes(false),
        remote.cost(),
    )?;
    let most = usize::try_from(PAGE).unwrap_or(usize::MAX);
    let count = |lists: &[&Vec<JobView>]| {
        u64::try_from(lists.iter().map(|list| list.len()).sum::<usize>()).unwrap_or(u64::MAX)
    };
    let unsettled = Unsettled {
        running: count(&[&running, &stopping]),
        waiting: count(&[&waiting, &submitted]),
        more: [&running, &stopping, &waiting, &submitted].iter().any(|list| list.len() == most),
    };
    let mut jobs: Vec<_> = [running, stopping, waiting, submitted, latest].concat();
    jobs.sort_by_key(|job| (job.status.is_settled(), std::cmp::Reverse(job.id)));
    jobs.dedup_by_key(|job| job.id);
    if !all {
        jobs.truncate(usize::try_from(LATEST).unwrap_or(usize::MAX));
    }
    let mut facts = Facts { not_ready, unsettled, jobs, nodes, cost, why: Vec::new() };
    if let Some(id) = facts.puzzle(now()) {
        // Only the leader can say; that there is none is told already.
        facts.why = remote.explain_job(id).await.map(|told| told.details).unwrap_or_default();
    }
    Ok(Overview::new(facts, all, now()))
}
