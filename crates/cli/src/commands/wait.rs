//! `ebb wait`: until jobs are settled, with a bar where somebody watches.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use api::client::EventsQuery;
use api::event::{Event, EventKind};
use api::view::{JobDetail, JobView, Page, TaskCounts};
use futures::{StreamExt, TryStreamExt};
use model::{JobId, JobStatus};

use super::Client;
use crate::args;
use crate::error::{Exit, Failure};
use crate::progress::{Progress, Unit};
use crate::pulse::Pulse;
use crate::render;

/// Jobs that are asked for at once.
const PARALLEL: usize = 8;
/// Longer than anybody waits.
const FOREVER: Duration = Duration::from_secs(3600);

pub(crate) async fn wait(client: &Client, args: &args::Wait) -> Result<Exit, Failure> {
    let ids = client.select_all(&args.jobs).await?;
    let timeout = args.timeout.map(Duration::from_millis);
    let details = until_settled(client, &ids, timeout).await?;
    let jobs: Vec<_> = details.into_iter().map(|detail| detail.job).collect();
    let exit = exit_of(&jobs);
    client.screen.show(&Page { items: jobs, next_cursor: None })?;
    Ok(exit)
}

/// 0 if all jobs succeeded.
pub(crate) fn exit_of(jobs: &[JobView]) -> Exit {
    if jobs.iter().all(|job| job.status == JobStatus::Succeeded) {
        Exit::Ok
    } else {
        Exit::NotSucceeded
    }
}

/// What events are worth while jobs are awaited: one job's own stream, with its progress, or the
/// ends of all.
fn query(ids: &[JobId]) -> EventsQuery {
    match ids {
        [id] => EventsQuery {
            job: Some(*id),
            kinds: vec![EventKind::JobProgress, EventKind::JobSettled],
            ..EventsQuery::default()
        },
        _ => EventsQuery { kinds: vec![EventKind::JobSettled], ..EventsQuery::default() },
    }
}

/// Waits for the jobs; a manager that is away for a moment is asked again.
pub(crate) async fn until_settled(
    client: &Client,
    ids: &[JobId],
    timeout: Option<Duration>,
) -> Result<Vec<JobDetail>, Failure> {
    let start = Instant::now();
    let mut pulse = Pulse::new(&client.remote, query(ids)).await;
    let mut progress = Progress::new(client.screen, Unit::Tasks);
    let mut seen = Seen::new(ids);
    let end = loop {
        seen.look(client).await?;
        seen.show(&mut progress);
        if seen.all_settled() {
            break Ok(());
        }
        let left = timeout.map_or(FOREVER, |timeout| timeout.saturating_sub(start.elapsed()));
        if left.is_zero() {
            break Err(seen.late());
        }
        while let Some(event) = pulse.next(left).await {
            seen.take(&event);
            seen.show(&mut progress);
            if !seen.due.is_empty() || timeout.is_some_and(|limit| start.elapsed() >= limit) {
                break;
            }
        }
        seen.look_again();
    };
    progress.end();
    end.map(|()| seen.in_order(ids))
}

/// The jobs as they were seen last.
struct Seen {
    jobs: BTreeMap<JobId, JobDetail>,
    /// Those that are worth a look.
    due: BTreeSet<JobId>,
}

impl Seen {
    fn new(ids: &[JobId]) -> Self {
        Self { jobs: BTreeMap::new(), due: ids.iter().copied().collect() }
    }

    async fn look(&mut self, client: &Client) -> Result<(), Failure> {
        let remote = client.remote.watching();
        let due = std::mem::take(&mut self.due);
        let looked: Vec<JobDetail> = futures::stream::iter(due)
            .map(|id| remote.job(id))
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await?;
        self.jobs.extend(looked.into_iter().map(|detail| (detail.job.id, detail)));
        Ok(())
    }

    /// When no event says which job it is: all that are not settled.
    fn look_again(&mut self) {
        if self.due.is_empty() {
            let unsettled = |(_, detail): &(&JobId, &JobDetail)| !detail.job.status.is_settled();
            self.due = self.jobs.iter().filter(unsettled).map(|(id, _)| *id).collect();
        }
    }

    fn take(&mut self, event: &Event) {
        let Some((id, detail)) = event.job.and_then(|id| Some((id, self.jobs.get_mut(&id)?)))
        else {
            return;
        };
        match (event.kind, event.tasks) {
            // What it says is as good as a look, but for the end.
            (EventKind::JobProgress, Some(tasks)) if tasks.settled() < tasks.total => {
                detail.job.tasks = tasks;
            }
            _ => {
                self.due.insert(id);
            }
        }
    }

    fn all_settled(&self) -> bool {
        self.due.is_empty() && self.jobs.values().all(|detail| detail.job.status.is_settled())
    }

    fn show(&self, progress: &mut Progress) {
        let sum = sum(self.jobs.values());
        progress.at(sum.settled(), sum.total, &render::counts(&sum));
    }

    fn late(&self) -> Failure {
        let counts = render::counts(&sum(self.jobs.values()));
        Failure::unreachable(format!("not settled in time: {counts}"))
            .next("ebb wait again, or ebb explain JOB")
    }

    fn in_order(mut self, ids: &[JobId]) -> Vec<JobDetail> {
        ids.iter().filter_map(|id| self.jobs.remove(id)).collect()
    }
}

fn sum<'a>(jobs: impl Iterator<Item = &'a JobDetail>) -> TaskCounts {
    let mut sum = TaskCounts::default();
    for tasks in jobs.map(|detail| detail.job.tasks) {
        sum.total += tasks.total;
        sum.waiting += tasks.waiting;
        sum.backoff += tasks.backoff;
        sum.assigned += tasks.assigned;
        sum.running += tasks.running;
        sum.leaving += tasks.leaving;
        sum.succeeded += tasks.succeeded;
        sum.failed += tasks.failed;
        sum.cancelled += tasks.cancelled;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn only_success_of_all_is_zero() {
        let of = |status| JobView { status, ..samples::job(1) };
        assert_eq!(exit_of(&[of(JobStatus::Succeeded)]), Exit::Ok);
        for other in [JobStatus::Failed, JobStatus::Cancelled] {
            assert_eq!(exit_of(&[of(JobStatus::Succeeded), of(other)]), Exit::NotSucceeded);
        }
    }

    #[test]
    fn several_jobs_are_one_bar() {
        let total = sum([samples::detail(), samples::detail()].iter());
        assert_eq!((total.total, total.settled()), (4000, 1500));
        assert_eq!(total.waiting + total.backoff + total.assigned, 2420);
        assert_eq!((total.running, total.leaving), (76, 4));
    }

    #[test]
    fn progress_is_shown_and_only_an_end_is_looked_at() {
        let detail = samples::detail();
        let id = detail.job.id;
        let mut seen = Seen::new(&[id]);
        seen.due.clear();
        seen.jobs.insert(id, detail);
        let mut event = samples::event(EventKind::JobProgress, id);
        event.tasks = Some(TaskCounts { total: 10, succeeded: 4, ..TaskCounts::default() });
        seen.take(&event);
        assert_eq!((seen.jobs[&id].job.tasks.succeeded, seen.due.len()), (4, 0));
        // A foreign job is nothing to us.
        seen.take(&samples::event(EventKind::JobSettled, JobId::from_number(99)));
        assert!(seen.due.is_empty());
        seen.take(&samples::event(EventKind::JobSettled, id));
        assert_eq!(seen.due.len(), 1);
        assert!(!seen.all_settled());
    }
}
