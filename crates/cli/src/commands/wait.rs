//! `ebb wait`: until jobs are settled, with a bar where somebody watches.

use std::time::{Duration, Instant};

use api::view::{JobDetail, JobView, TaskCounts};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use model::{JobId, JobStatus};

use super::{Client, now};
use crate::args;
use crate::error::{Exit, Failure};
use crate::output::Screen;
use crate::render;

/// The first pause: a short job's end is seen at once.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest: what a person takes for live.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

pub(crate) async fn wait(client: &Client, args: &args::Wait) -> Result<Exit, Failure> {
    let mut ids = Vec::new();
    for selector in &args.jobs {
        for id in client.select(selector).await? {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
    }
    let timeout = args.timeout.map(Duration::from_millis);
    let details = until_settled(client, &ids, timeout).await?;
    let jobs: Vec<_> = details.into_iter().map(|detail| detail.job).collect();
    let exit = exit_of(&jobs);
    let page = api::view::Page { items: jobs, next_cursor: None };
    client.screen.show(&page, |paint| render::jobs(&page.items, now(), paint))?;
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

/// Waits for the jobs; a manager that is away for a moment is asked again.
pub(crate) async fn until_settled(
    client: &Client,
    ids: &[JobId],
    timeout: Option<Duration>,
) -> Result<Vec<JobDetail>, Failure> {
    let start = Instant::now();
    let remote = client.remote.watching();
    let bar = bar(client.screen);
    let mut pause = FIRST_PAUSE;
    loop {
        let mut jobs = Vec::with_capacity(ids.len());
        for id in ids {
            jobs.push(remote.job(*id).await?);
        }
        show(&bar, &jobs);
        if jobs.iter().all(|detail| detail.job.status.is_settled()) {
            bar.finish_and_clear();
            return Ok(jobs);
        }
        if timeout.is_some_and(|timeout| start.elapsed() >= timeout) {
            bar.finish_and_clear();
            let counts = render::counts(&sum(&jobs));
            return Err(Failure::unreachable(format!("not settled in time: {counts}"))
                .next("ebb wait again, or ebb explain JOB"));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn sum(jobs: &[JobDetail]) -> TaskCounts {
    let mut sum = TaskCounts::default();
    for tasks in jobs.iter().map(|detail| detail.job.tasks) {
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

fn show(bar: &ProgressBar, jobs: &[JobDetail]) {
    let sum = sum(jobs);
    bar.set_length(sum.total);
    bar.set_position(sum.settled());
    bar.set_message(render::counts(&sum));
}

/// A bar on stderr; nothing where stderr is no terminal.
pub(crate) fn bar(screen: Screen) -> ProgressBar {
    let target =
        if screen.live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(0), target);
    let template = "{bar:20.cyan/blue} {pos}/{len}  {rate}, {eta} left  {wide_msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.with_key("rate", rate));
    }
    bar
}

/// Tasks a second, to a tenth.
fn rate(state: &ProgressState, to: &mut dyn std::fmt::Write) {
    // A bar that cannot be written is not seen either.
    let _ = write!(to, "{:.1}/s", state.per_sec());
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
        let total = sum(&[samples::detail(), samples::detail()]);
        assert_eq!((total.total, total.settled()), (4000, 1500));
        assert_eq!(total.waiting + total.backoff + total.assigned, 2420);
        assert_eq!((total.running, total.leaving), (76, 4));
    }
}
