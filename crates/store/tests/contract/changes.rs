//! What a user may do to a job after its submission, and what jobs and groups come after.

use std::sync::Arc;

use model::{
    After, AttemptEnd, Cause, Change, Counters, GroupSpec, IntervalSet, JobId, JobPatch, JobSpec,
    JobStatus, Phase, RetriedGroup, Task, TaskState, TaskStatus,
};
use sqlx::Connection as _;
use store::{Batch, Committed, Explanation, JobFilter, RetryOf, Store};

use crate::commits::{ended, page, place, placed, settled, submitted};
use crate::on_both;
use crate::support::{Database, Leading, at, job, job_id, labelled, run, task_id};

on_both!(
    patches_change_rows_wherever_the_job_is,
    a_patch_in_the_commit_of_its_submit,
    a_settled_job_comes_back,
    a_job_settles_and_comes_back_in_one_commit,
    what_may_be_retried_of_a_settled_job,
    a_job_that_is_forgotten_does_not_come_back,
    an_entry_that_does_not_come_back_is_gone,
    a_patch_that_came_too_late_is_undone_by_the_retry,
    a_failed_task_comes_back,
    jobs_know_what_they_come_after,
    cancelled_tasks_tell_why,
    explanations_are_kept_by_subject,
    an_overview_counts_all,
);

/// A job that comes after others.
pub(crate) fn after(counts: &[u32], deps: &[u64]) -> Arc<JobSpec> {
    let mut spec = JobSpec::clone(&job("after", counts));
    spec.after = deps.iter().map(|number| job_id(*number)).collect();
    Arc::new(spec)
}

pub(crate) fn submit(number: u64, spec: Arc<JobSpec>, taken_in: bool) -> Change {
    Change::JobSubmitted { job: job_id(number), spec, at: at(5), taken_in }
}

fn patch(number: u64, patch: JobPatch, before: &JobSpec) -> Change {
    let spec = Some(Arc::new(before.patched(&patch)));
    Change::JobPatched { job: job_id(number), patch: Box::new(patch), spec }
}

async fn labelled_so(store: &Store, name: &str, value: &str) -> Vec<u64> {
    let labels = vec![(name.to_owned(), value.to_owned())];
    let filter = JobFilter { labels, limit: 10, ..JobFilter::default() };
    store.jobs(&filter).await.unwrap().iter().map(|job| job.id.number()).collect()
}

async fn patches_change_rows_wherever_the_job_is(database: &Database) {
    let mut leading = database.lead().await;
    let spec = labelled("before", &[2], &[("team", "red"), ("tier", "x")]);
    let waits = [submit(2, spec.clone(), false), submit(3, spec.clone(), false)];
    leading.commit(&[submit(1, spec.clone(), true)]).await;
    leading.commit(&waits).await;
    let changed = JobPatch {
        name: Some("after".into()),
        labels: Some([("team".to_owned(), "blue".to_owned())].into()),
        priority: Some(7),
        max_running: Some(Some(3)),
        after: Some([job_id(1)].into()),
        ..JobPatch::default()
    };
    let renamed = JobPatch { name: Some("again".into()), ..JobPatch::default() };
    leading.commit(&[patch(1, renamed.clone(), &spec)]).await;
    let twice = Arc::new(spec.patched(&changed));
    leading.commit(&[patch(3, changed.clone(), &spec), patch(3, renamed, &twice)]).await;
    for (number, name, revision, priority) in [(1, "again", 1, 0), (3, "again", 2, 7)] {
        let detail = leading.store.job(job_id(number)).await.unwrap().unwrap();
        assert_eq!((detail.job.name.as_str(), detail.job.revision), (name, revision));
        assert_eq!((&*detail.spec.name, detail.spec.priority), (name, priority));
        assert_eq!((detail.job.priority, &detail.job.labels), (priority, &detail.spec.labels));
    }
    let store = leading.store;
    assert_eq!(labelled_so(store, "team", "blue").await, [3]);
    assert_eq!(labelled_so(store, "team", "red").await, [2, 1]);
    assert_eq!(labelled_so(store, "tier", "x").await, [2, 1]);
    assert_eq!(store.reaches(&[job_id(3)], job_id(1)).await.unwrap(), [job_id(3)]);
    // It waits for the first one now: only the second may be taken in.
    let backlog = store.backlog(10).await.unwrap();
    assert_eq!(backlog.iter().map(|row| row.id).collect::<Vec<_>>(), [job_id(2)]);
    let free = JobPatch { after: Some([].into()), ..JobPatch::default() };
    let spec = leading.store.job(job_id(3)).await.unwrap().unwrap().spec;
    leading.commit(&[patch(3, free, &spec)]).await;
    let backlog = leading.store.backlog(10).await.unwrap();
    assert_eq!(backlog.iter().map(|row| row.id).collect::<Vec<_>>(), [job_id(3), job_id(2)]);
    assert_eq!((backlog[0].spec.priority, backlog[0].spec.max_running), (7, Some(3)));
    leading.expect_replayed().await;
}

async fn a_patch_in_the_commit_of_its_submit(database: &Database) {
    let mut leading = database.lead().await;
    let spec = labelled("before", &[1], &[("team", "red")]);
    let labels = Some([("team".to_owned(), "blue".to_owned())].into());
    let change = patch(1, JobPatch { labels, ..JobPatch::default() }, &spec);
    leading.commit(&[submit(1, spec, true), change]).await;
    assert_eq!(labelled_so(leading.store, "team", "red").await, [0; 0]);
    assert_eq!(labelled_so(leading.store, "team", "blue").await, [1]);
    // A replay has no spec to give: of a job that World does not have, that cannot be written.
    let lost =
        Change::JobPatched { job: job_id(9), patch: Box::new(JobPatch::default()), spec: None };
    let batch = leading.batch(&[lost]);
    assert!(matches!(leading.store.commit(&batch).await, Committed::Failed(_)));
}

/// Of four tasks: succeeded, failed at the second attempt, cancelled after one, never placed.
async fn settle_as_failed(leading: &mut Leading<'_>) {
    leading.commit(&[submitted(1, &[4])]).await;
    let task = |attempt, state| Task { state, attempt, ..placed(1, attempt, Phase::Admitted) };
    let first = placed(1, 1, Phase::Admitted);
    let second = placed(1, 2, Phase::Admitted);
    let failed = task(2, TaskState::Failed(Cause::Failed));
    leading
        .commit(&[
            place(1, 0, 0, first),
            place(1, 0, 1, first),
            place(1, 0, 2, first),
            ended(1, 0, 0, &first, AttemptEnd::Succeeded, After::Succeeded),
            ended(1, 0, 1, &first, AttemptEnd::Failed, After::Keep(task(1, TaskState::Ready))),
            ended(1, 0, 2, &first, AttemptEnd::Interrupted, After::Keep(task(1, TaskState::Ready))),
        ])
        .await;
    leading
        .commit(&[
            place(1, 0, 1, second),
            ended(1, 0, 1, &second, AttemptEnd::Failed, After::Keep(failed)),
            Change::JobStopping { job: job_id(1), cause: Cause::SiblingFailed },
            Change::RetryCancelled { task: task_id(1, 0, 2) },
        ])
        .await;
    let rest = Change::FreshCancelled { group: task_id(1, 0, 0).group_id(), from: 3, to: 4 };
    leading.world.apply(&rest);
    let end = settled(leading, 1, JobStatus::Failed);
    leading.commit(&[rest, end]).await;
}

async fn retry(store: &Store, which: RetryOf) -> (Change, u64) {
    let found = store.settled_job(job_id(1), which).await.unwrap().unwrap();
    let store::SettledJob { spec, submitted, groups, tasks } = found;
    (Change::JobRetried { job: job_id(1), spec, submitted, groups }, tasks)
}

async fn a_settled_job_comes_back(database: &Database) {
    let mut leading = database.lead().await;
    settle_as_failed(&mut leading).await;
    let (change, tasks) = retry(leading.store, RetryOf::Unsuccessful).await;
    assert_eq!(tasks, 3);
    leading.commit(&[change]).await;
    leading.expect_replayed().await;
    let job = leading.store.job(job_id(1)).await.unwrap().unwrap().job;
    assert_eq!((job.status, job.settled, job.stopping), (JobStatus::Waiting, None, None));
    assert_eq!((job.tasks.succeeded, job.tasks.waiting), (1, 3));
    let result = leading.store.result(task_id(1, 0, 1)).await.unwrap().unwrap();
    assert_eq!((result.id.attempt, result.settles), (2, false));
    // All in one commit with attempts of before and of after.
    let third = placed(1, 3, Phase::Admitted);
    let second = placed(1, 2, Phase::Admitted);
    let changes = vec![
        place(1, 0, 1, third),
        place(1, 0, 2, second),
        ended(1, 0, 1, &third, AttemptEnd::Succeeded, After::Succeeded),
        ended(1, 0, 2, &second, AttemptEnd::Succeeded, After::Succeeded),
        place(1, 0, 3, placed(1, 1, Phase::Admitted)),
    ];
    leading.commit(&changes).await;
    let last =
        ended(1, 0, 3, &placed(1, 1, Phase::Admitted), AttemptEnd::Succeeded, After::Succeeded);
    leading.world.apply(&last);
    let end = settled(&leading, 1, JobStatus::Succeeded);
    leading.commit(&[last, end]).await;
    let results = leading.store.results(job_id(1), None, 100).await.unwrap();
    let settling: Vec<_> = results.iter().map(|one| (one.id.task.index, one.id.attempt)).collect();
    assert_eq!(settling, [(0, 1), (1, 3), (2, 2), (3, 1)]);
    let job = leading.store.job(job_id(1)).await.unwrap().unwrap().job;
    assert_eq!((job.status, job.tasks.succeeded), (JobStatus::Succeeded, 4));
    let (_, tasks) = retry(leading.store, RetryOf::Unsuccessful).await;
    assert_eq!(tasks, 0);
}

/// The last of what happens to it is what counts.
async fn a_job_settles_and_comes_back_in_one_commit(database: &Database) {
    let mut leading = database.lead().await;
    let first = placed(1, 1, Phase::Admitted);
    let failed = Task { state: TaskState::Failed(Cause::Failed), ..first };
    leading.commit(&[submitted(1, &[2]), place(1, 0, 0, first)]).await;
    let spec = leading.world.durable.jobs[&job_id(1)].spec.clone();
    let comes_back = |task: Task| Change::JobRetried {
        job: job_id(1),
        spec: spec.clone(),
        submitted: at(5),
        groups: vec![RetriedGroup { tasks: [(0, task)].into(), ..RetriedGroup::default() }],
    };
    let ends = |leading: &Leading<'_>, before: &[Change], status| {
        let mut world = leading.world.clone();
        before.iter().for_each(|change| world.apply(change));
        let groups = world.durable.jobs[&job_id(1)].settled_groups();
        Change::JobSettled { job: job_id(1), status, at: at(400), groups }
    };
    let stop = Change::JobStopping { job: job_id(1), cause: Cause::SiblingFailed };
    let rest = Change::FreshCancelled { group: task_id(1, 0, 0).group_id(), from: 1, to: 2 };
    let fails = ended(1, 0, 0, &first, AttemptEnd::Failed, After::Keep(failed));
    let mut changes = vec![fails, stop.clone(), rest.clone()];
    changes.push(ends(&leading, &changes, JobStatus::Failed));
    changes.push(comes_back(Task { state: TaskState::Ready, ..first }));
    leading.commit(&changes).await;
    let job = leading.store.job(job_id(1)).await.unwrap().unwrap().job;
    assert_eq!((job.status, job.settled, job.stopping), (JobStatus::Waiting, None, None));
    assert_eq!((job.tasks.waiting, job.tasks.cancelled), (2, 0));

    // It ends, comes back with a task that stays failed, and ends again.
    let mut changes = vec![Change::RetryCancelled { task: task_id(1, 0, 0) }, rest.clone()];
    changes.push(ends(&leading, &changes, JobStatus::Cancelled));
    changes.extend([comes_back(failed), stop, rest]);
    changes.push(ends(&leading, &changes, JobStatus::Failed));
    leading.commit(&changes).await;
    let job = leading.store.job(job_id(1)).await.unwrap().unwrap().job;
    assert_eq!((job.status, job.stopping), (JobStatus::Failed, Some(Cause::SiblingFailed)));
    assert_eq!((job.tasks.failed, job.tasks.cancelled, job.tasks.waiting), (1, 1, 0));
    leading.expect_replayed().await;
}

async fn what_may_be_retried_of_a_settled_job(database: &Database) {
    let mut leading = database.lead().await;
    settle_as_failed(&mut leading).await;
    let find = |which| async move {
        let found = leading.store.settled_job(job_id(1), which).await.unwrap().unwrap();
        (found.groups.into_iter().next().unwrap(), found.tasks)
    };
    let of = |group: &RetriedGroup, index: u32| group.tasks.get(&index).copied();
    let counters =
        |interrupted, node_lost| Counters { interrupted, node_lost, ..Counters::default() };
    let again = |attempt, counters| Some(Task { state: TaskState::Ready, attempt, counters });
    let (failed, tasks) = find(RetryOf::Failed).await;
    assert_eq!((tasks, failed.cancelled.len(), failed.succeeded.len()), (1, 2, 1));
    assert_eq!(of(&failed, 1), again(2, counters(1, 2)), "its budget is whole");
    let (cancelled, tasks) = find(RetryOf::Cancelled).await;
    assert_eq!((tasks, cancelled.cancelled.len(), cancelled.tasks.len()), (2, 0, 2));
    assert!(matches!(of(&cancelled, 1).unwrap().state, TaskState::Failed(Cause::Failed)));
    assert_eq!(of(&cancelled, 2), again(1, counters(1, 0)), "numbers never repeat");
    let (both, tasks) = find(RetryOf::Unsuccessful).await;
    assert_eq!((tasks, of(&both, 1), of(&both, 2)), (3, of(&failed, 1), of(&cancelled, 2)));
    let store = &database.store;
    assert_eq!(store.settled_job(job_id(2), RetryOf::Failed).await.unwrap(), None);
    let mut leading = database.lead().await;
    leading.commit(&[submitted(2, &[1])]).await;
    assert_eq!(store.settled_job(job_id(2), RetryOf::Failed).await.unwrap(), None, "unsettled");
}

async fn a_job_that_is_forgotten_does_not_come_back(database: &Database) {
    let mut leading = database.lead().await;
    settle_as_failed(&mut leading).await;
    let (change, _) = retry(leading.store, RetryOf::Failed).await;
    leading.store.delete_jobs(&[job_id(1)]).await.unwrap();
    let batch = leading.batch(&[change]);
    let committed = leading.store.commit(&batch).await;
    assert!(matches!(committed, Committed::Failed(_)), "{committed:?}");
}

async fn an_entry_that_does_not_come_back_is_gone(database: &Database) {
    let mut leading = database.lead().await;
    settle_as_failed(&mut leading).await;
    let span = IntervalSet::span;
    let group =
        RetriedGroup { succeeded: span(0, 1), cancelled: span(1, 3), ..RetriedGroup::default() };
    let spec = leading.store.job(job_id(1)).await.unwrap().unwrap().spec;
    let (job, submitted, groups) = (job_id(1), at(5), vec![group]);
    leading.commit(&[Change::JobRetried { job, spec, submitted, groups }]).await;
}

/// What World has of a job that comes back is what its row says.
async fn a_patch_that_came_too_late_is_undone_by_the_retry(database: &Database) {
    let mut leading = database.lead().await;
    settle_as_failed(&mut leading).await;
    let (change, _) = retry(leading.store, RetryOf::Failed).await;
    let spec = leading.store.job(job_id(1)).await.unwrap().unwrap().spec;
    let late = JobPatch {
        labels: Some([("late".to_owned(), "x".to_owned())].into()),
        after: Some([job_id(7)].into()),
        ..JobPatch::default()
    };
    leading.commit(&[patch(1, late, &spec)]).await;
    assert_eq!(labelled_so(leading.store, "late", "x").await, [1]);
    leading.commit(&[change]).await;
    assert_eq!(labelled_so(leading.store, "late", "x").await, [0; 0]);
    let job = leading.store.job(job_id(1)).await.unwrap().unwrap().job;
    assert_eq!((job.labels.len(), job.revision), (0, 1));
    assert_eq!(database.number("SELECT COUNT(*) FROM job_after").await, 0);
}

async fn a_failed_task_comes_back(database: &Database) {
    let mut leading = database.lead().await;
    leading.commit(&[submitted(1, &[2])]).await;
    let first = placed(1, 1, Phase::Admitted);
    let failed = Task { state: TaskState::Failed(Cause::NoRetry), ..first };
    let again = Task { state: TaskState::Ready, counters: Counters::default(), ..first };
    let second = placed(1, 2, Phase::Admitted);
    leading.commit(&[place(1, 0, 0, first)]).await;
    // Settled, unsettled and settled again, all at once.
    leading
        .commit(&[
            ended(1, 0, 0, &first, AttemptEnd::Failed, After::Keep(failed)),
            Change::TaskRetried { task: task_id(1, 0, 0), entry: again },
            place(1, 0, 0, second),
            ended(1, 0, 0, &second, AttemptEnd::Succeeded, After::Succeeded),
        ])
        .await;
    let attempts = leading.store.attempts(task_id(1, 0, 0)).await.unwrap();
    let settles: Vec<bool> = attempts.iter().map(|attempt| attempt.settles).collect();
    assert_eq!(settles, [false, true]);
}

async fn jobs_know_what_they_come_after(database: &Database) {
    let mut leading = database.lead().await;
    let chain = [(2, vec![1]), (3, vec![2]), (4, vec![1, 3]), (5, vec![77])];
    leading.commit(&[submitted(1, &[1])]).await;
    for (number, deps) in chain {
        leading.commit(&[submit(number, after(&[1], &deps), number == 2)]).await;
    }
    let posted = store::InboxMessage::Submit { job: job_id(6), spec: after(&[1], &[4]), at: at(7) };
    leading.store.post(&[posted], None).await.unwrap();
    let store = leading.store;
    let ids = |numbers: &[u64]| numbers.iter().copied().map(job_id).collect::<Vec<JobId>>();
    assert_eq!(store.unknown_jobs(&ids(&[6, 9, 1, 8])).await.unwrap(), ids(&[9, 8]));
    assert_eq!(store.unknown_jobs(&[]).await.unwrap(), []);
    assert_eq!(store.reaches(&ids(&[1, 2, 3, 6, 5]), job_id(2)).await.unwrap(), ids(&[2, 3, 6]));
    assert_eq!(store.reaches(&ids(&[1, 5, 99]), job_id(2)).await.unwrap(), []);
    assert_eq!(store.reaches(&[], job_id(2)).await.unwrap(), []);
    assert_eq!(store.backlog(10).await.unwrap(), []);
    assert_eq!(store.statuses(&ids(&[1, 2])).await.unwrap(), []);
    let end = |leading: &Leading<'_>, number, status| {
        let rest = task_id(number, 0, 0).group_id();
        (Change::FreshCancelled { group: rest, from: 0, to: 1 }, settled(leading, number, status))
    };
    let (_, done) = end(&leading, 1, JobStatus::Succeeded);
    leading.commit(&[done]).await;
    let (rest, done) = end(&leading, 2, JobStatus::Cancelled);
    leading.commit(&[rest, done]).await;
    let store = leading.store;
    let settled = store.statuses(&ids(&[2, 3, 1])).await.unwrap();
    assert_eq!(settled, [(job_id(1), JobStatus::Succeeded), (job_id(2), JobStatus::Cancelled)]);
    // One whose dependency failed is handed over, to be cancelled.
    let backlog = store.backlog(10).await.unwrap();
    assert_eq!(backlog.iter().map(|row| row.id).collect::<Vec<_>>(), ids(&[3]));
    assert_eq!(store.statuses(&[]).await.unwrap(), []);
}

/// Groups of two tasks, the second after the first.
fn in_order() -> Arc<JobSpec> {
    let mut spec = JobSpec::clone(&job("ordered", &[2, 2, 2]));
    spec.groups[1] = Arc::new(GroupSpec { after: [0].into(), ..GroupSpec::clone(&spec.groups[1]) });
    Arc::new(spec)
}

async fn cancelled_tasks_tell_why(database: &Database) {
    let mut leading = database.lead().await;
    leading.commit(&[submit(1, in_order(), true), submit(2, in_order(), true)]).await;
    let cancel = |job, group, from, to| Change::FreshCancelled {
        group: task_id(job, group, 0).group_id(),
        from,
        to,
    };
    let task = placed(1, 1, Phase::Admitted);
    let failed = Task { state: TaskState::Failed(Cause::Failed), ..task };
    let fail = |job, index| {
        let fails = After::Keep(failed);
        [place(job, 0, index, task), ended(job, 0, index, &task, AttemptEnd::Failed, fails)]
    };
    // A user stops one task of the second group while the first is not settled yet.
    leading.commit(&fail(1, 0)).await;
    leading.commit(&[cancel(1, 1, 0, 1)]).await;
    let causes = |job, group| {
        let store = leading.store;
        async move {
            let tasks = store.tasks(job_id(job), &page()).await.unwrap().unwrap();
            let of_group = tasks.into_iter().filter(|task| task.id.group == group);
            of_group.map(|task| (task.status, task.cause)).collect::<Vec<_>>()
        }
    };
    let stopped = (TaskStatus::Cancelled, Some(Cause::Stopped));
    assert_eq!(causes(1, 1).await, [stopped, (TaskStatus::Waiting, None)]);
    // Its second task is stopped, too: it is settled, and the group after it goes.
    leading.commit(&[cancel(1, 0, 1, 2), cancel(1, 1, 1, 2), cancel(1, 2, 0, 1)]).await;
    let causes = |job, group| {
        let store = leading.store;
        async move {
            let tasks = store.tasks(job_id(job), &page()).await.unwrap().unwrap();
            let of_group = tasks.into_iter().filter(|task| task.id.group == group);
            of_group.map(|task| (task.status, task.cause)).collect::<Vec<_>>()
        }
    };
    let dependency = (TaskStatus::Cancelled, Some(Cause::Dependency));
    assert_eq!(causes(1, 0).await, [(TaskStatus::Failed, Some(Cause::Failed)), stopped]);
    assert_eq!(causes(1, 1).await, [dependency, dependency]);
    assert_eq!(causes(1, 2).await, [stopped, (TaskStatus::Waiting, None)]);
    // A job that is stopped as a whole says why it was.
    let stopping = Change::JobStopping { job: job_id(2), cause: Cause::Dependency };
    leading.commit(&[stopping, cancel(2, 0, 0, 2), cancel(2, 1, 0, 2)]).await;
    let tasks = leading.store.tasks(job_id(2), &page()).await.unwrap().unwrap();
    assert!(tasks[..4].iter().all(|task| task.cause == Some(Cause::Dependency)), "{tasks:?}");
}

async fn explanations_are_kept_by_subject(database: &Database) {
    let mut leading = database.lead().await;
    let explanation = |subject: &str, words: &str| Explanation {
        subject: subject.to_owned(),
        words: words.to_owned(),
    };
    for number in 1..=3_u64 {
        let words = format!("commit {number}");
        let batch = leading.batch(&[submitted(number, &[1])]).with_explanations(&[
            explanation("node_1", &words),
            explanation("node_2", "other"),
            explanation("node_1", &format!("{words}, \0 too")),
        ]);
        assert!(matches!(leading.store.commit(&batch).await, Committed::Committed));
    }
    let found = leading.store.explanations("node_1", 3).await.unwrap();
    let words: Vec<(u64, &str)> = found.iter().map(|one| (one.seq, one.words.as_str())).collect();
    assert_eq!(
        words,
        [(3, "commit 3, \u{fffd} too"), (3, "commit 3"), (2, "commit 2, \u{fffd} too")]
    );
    assert_eq!(found[0].at, leading.world.durable.head.now);
    assert_eq!(leading.store.explanations("node_9", 3).await.unwrap(), []);
    leading.expect_loaded().await;
}

async fn an_overview_counts_all(database: &Database) {
    let mut leading = database.lead().await;
    let empty = leading.store.overview().await.unwrap();
    assert_eq!(empty, store::Overview::default());
    settle_as_failed(&mut leading).await;
    leading.commit(&[submitted(2, &[5]), submitted(3, &[7])]).await;
    leading.commit(&[submit(4, job("waits", &[11]), false)]).await;
    let task = placed(1, 1, Phase::Admitted);
    leading
        .commit(&[
            place(2, 0, 0, task),
            place(2, 0, 1, placed(1, 1, Phase::Held)),
            place(2, 0, 2, task),
            ended(2, 0, 2, &task, AttemptEnd::Succeeded, After::Succeeded),
            Change::FreshCancelled { group: task_id(2, 0, 0).group_id(), from: 3, to: 4 },
        ])
        .await;
    let message =
        store::InboxMessage::Submit { job: job_id(5), spec: job("new", &[13]), at: at(7) };
    let stop = store::InboxMessage::StopJob { job: job_id(2) };
    leading.store.post(&[message, stop], None).await.unwrap();
    let found = leading.store.overview().await.unwrap();
    let jobs: Vec<(String, u64)> =
        found.jobs.iter().map(|(status, jobs)| (status.to_string(), *jobs)).collect();
    let expected = [("submitted", 2), ("waiting", 1), ("running", 1), ("failed", 1)];
    assert_eq!(jobs, expected.map(|(status, jobs)| (status.to_owned(), jobs)));
    let tasks = found.tasks;
    assert_eq!((tasks.total, tasks.waiting), (5 + 7 + 11 + 13, 1 + 7 + 11 + 13));
    assert_eq!((tasks.running, tasks.assigned, tasks.succeeded, tasks.cancelled), (1, 1, 1, 1));
    assert_eq!(found.inbox, 2);
    let seen = |number| async move {
        database.store.job(job_id(number)).await.unwrap().unwrap().job.in_inbox
    };
    assert!(seen(5).await && !seen(4).await && !seen(1).await);
}

/// A replica of the version before may still lead: its function is there, and what it writes is
/// what this version reads.
#[tokio::test]
async fn the_version_before_commits_too_on_postgres() {
    let database = Database::postgres().await;
    let mut leading = database.lead().await;
    leading.commit(&[submitted(1, &[1])]).await;
    let batch: Batch = leading.batch(&[]);
    let head = leading.world.durable.head;
    let (arrays, json) = (67, 8);
    let mut values = vec![
        format!("{}", head.term),
        format!("{}", head.seq - 1),
        format!("{}", head.seq),
        format!("{}", head.now.as_ms()),
        "'[]'::bytea".to_owned(),
    ];
    values.extend((0..arrays).map(|_| "'{}'".to_owned()));
    values.extend((0..json).map(|_| "NULL".to_owned()));
    values.push("'{}'".to_owned());
    run(&database.url, &format!("SELECT ebb_commit({})", values.join(", "))).await;
    leading.expect_loaded().await;
    assert!(matches!(leading.store.commit(&batch).await, Committed::Fenced));
    leading.commit(&[submitted(2, &[1])]).await;
    leading.expect_replayed().await;
    database.drop().await;
}

/// A newer version has been here: what it added does not keep this one out.
#[tokio::test]
async fn tables_of_a_newer_version_are_left_alone() {
    let database = Database::sqlite().await;
    let path = database.url.strip_prefix("sqlite:").unwrap();
    let raw = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut raw = sqlx::SqliteConnection::connect_with(&raw).await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, \
         execution_time) VALUES (999, 'newer', 1, x'00', 0)";
    sqlx::query(newer).execute(&mut raw).await.unwrap();
    database.store.close().await;
    let url = database.url.clone();
    let folder = database.into_folder();
    Store::open(&url).await.unwrap().close().await;
    drop(folder);
}
