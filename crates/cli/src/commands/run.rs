//! `ebb run`: one command as a job, as if it ran here.

use std::time::Duration;

use api::sync::Stream;
use api::view::{AttemptView, TaskView};
use model::{AttemptEnd, JobId, TaskStatus};
use serde::Serialize;
use tracing::info;

use super::logs::Follow;
use super::{Client, wait};
use crate::args;
use crate::error::{Exit, Failure};
use crate::jobfile::OneCommand;
use crate::output::{Format, Screen};
use crate::progress::{Progress, Unit};
use crate::signals::Signals;

/// How long a stopped job may take to settle: the tasks' grace and a little more.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// The last line of `--output json`, after the pieces of output.
#[derive(Debug, Serialize)]
pub(crate) struct Ran {
    pub(crate) job: JobId,
    pub(crate) status: model::JobStatus,
    pub(crate) exit_code: u8,
}

/// Never fails: what goes wrong here is exit code 125.
pub(crate) async fn run(url: Option<&str>, screen: Screen, args: &args::Run) -> Exit {
    match attempt(url, screen, args).await {
        Ok(exit) => exit,
        Err(failure) => {
            screen.fail(&failure);
            Exit::RunItself
        }
    }
}

async fn attempt(url: Option<&str>, screen: Screen, args: &args::Run) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let client = Client::connect(url, screen)?;
    let draft = command(args)?.draft()?;
    let submitting = async {
        let document = draft.document(&client.remote, screen).await?;
        client.remote.submit(&document, None).await
    };
    let submitted = tokio::select! {
        submitted = submitting => submitted?,
        signal = signals.next() => return Ok(Exit::Signal(signal)),
    };
    let job = submitted.id;
    info!(%job, tasks = submitted.tasks, "submitted");
    tokio::select! {
        done = watch(&client, job, submitted.tasks) => done,
        signal = signals.next() => {
            tokio::select! {
                stopped = stop(&client, job) => stopped?,
                _ = signals.next() => {}
            }
            Ok(Exit::Signal(signal))
        }
    }
}

fn command(args: &args::Run) -> Result<OneCommand, Failure> {
    let workdir = std::env::current_dir()
        .map_err(|fault| Failure::usage(format!("the current folder is gone: {fault}")))?;
    let program = args.command.first().map(String::as_str).unwrap_or_default();
    let short = program.rsplit('/').next().unwrap_or(program);
    Ok(OneCommand {
        name: args.name.clone().unwrap_or_else(|| short.chars().take(60).collect()),
        command: args.command.clone(),
        labels: args.labels.clone(),
        cpu: args.cpu.clone(),
        memory: args.memory.clone(),
        items: args.each_line.clone(),
        workdir,
        path: std::env::var("PATH").ok(),
    })
}

/// Copies the output of each task by index, then gives the code of the first that failed.
async fn watch(client: &Client, job: JobId, tasks: u64) -> Result<Exit, Failure> {
    let streams = [Stream::Stdout, Stream::Stderr];
    let follow = Follow { job, group: 0, tasks: u32::try_from(tasks).unwrap_or(u32::MAX) };
    if tasks > 1 {
        let mut progress = Progress::new(client.screen, Unit::Tasks);
        let printed = follow.print(client, &streams, Some(&mut progress)).await;
        progress.end();
        printed?;
    } else {
        follow.print(client, &streams, None).await?;
    }
    let details = wait::until_settled(client, &[job], None).await?;
    let status = details.first().map(|detail| detail.job.status);
    let exit = match status {
        Some(model::JobStatus::Succeeded) => Exit::Ok,
        _ => first_failure(client, job).await?,
    };
    if let (Format::Json, Some(status)) = (client.screen.format, status) {
        let ran = Ran { job, status, exit_code: exit.code() };
        client.screen.print_json(&ran)?;
    }
    Ok(exit)
}

async fn first_failure(client: &Client, job: JobId) -> Result<Exit, Failure> {
    let tasks = client.remote.tasks(job).await?;
    let Some(task) = tasks.iter().find(|task| task.status != TaskStatus::Succeeded) else {
        return Ok(Exit::RunItself);
    };
    let attempts = client.remote.attempts(task.id).await?;
    let exit = exit_of(task, attempts.last());
    if exit == Exit::RunItself {
        client.screen.say(&format!("ebb: {}", why(task, attempts.last())));
    }
    Ok(exit)
}

/// The task's own code; 128 and the signal's number when one ended it; 125 when it has neither.
fn exit_of(task: &TaskView, last: Option<&AttemptView>) -> Exit {
    let failed = last.filter(|last| last.end == AttemptEnd::Failed);
    if let Some(Ok(signal)) = failed.and_then(|last| last.signal).map(u8::try_from) {
        return Exit::Signal(signal);
    }
    let own = failed.and_then(|last| last.exit_code);
    match own.or(task.exit_code).map(u8::try_from) {
        Some(Ok(code @ 1..)) => Exit::Task(code),
        _ => Exit::RunItself,
    }
}

fn why(task: &TaskView, last: Option<&AttemptView>) -> String {
    match last.and_then(|last| last.message.as_ref()) {
        Some(message) => message.clone(),
        None => format!("{} did not run to its end; ebb explain {0}", task.id),
    }
}

async fn stop(client: &Client, job: JobId) -> Result<(), Failure> {
    client.screen.say(&format!("ebb: stopping {job}; again to leave at once"));
    client.remote.stop_job(job).await?;
    wait::until_settled(client, &[job], Some(STOP_LIMIT)).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn the_tasks_code_is_ours() {
        let of = |exit_code| exit_of(&TaskView { exit_code, ..samples::task(0) }, None);
        assert_eq!(of(Some(3)), Exit::Task(3));
        assert_eq!(of(Some(143)), Exit::Task(143));
        assert_eq!(of(Some(0)), Exit::RunItself);
        assert_eq!(of(Some(256)), Exit::RunItself);
        assert_eq!(of(None), Exit::RunItself);
        let task = TaskView { exit_code: None, ..samples::task(0) };
        let killed = AttemptView { signal: Some(15), exit_code: None, ..samples::attempt(task.id) };
        assert_eq!(exit_of(&task, Some(&killed)), Exit::Signal(15));
        // A signal of ours is no code of the task's.
        let stopped = AttemptView { end: AttemptEnd::Cancelled, ..killed };
        assert_eq!(exit_of(&task, Some(&stopped)), Exit::RunItself);
    }
}
