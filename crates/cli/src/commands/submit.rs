//! `ebb submit`: one job of a file, or many of NDJSON.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use api::view::{Page, Submitted};
use model::{Fault, JobId, JobSpec};
use serde::Serialize;
use serde_json::Value;

use super::{Client, wait};
use crate::args;
use crate::error::{Exit, Failure, Spot};
use crate::jobfile;
use crate::output::{Answer, Format, Look};
use crate::progress::{Progress, Unit};
use crate::render::many;

/// Jobs of one request, far below the manager's limit: a refusal concerns few.
const JOBS: usize = 1_000;
/// And bytes.
const BYTES: usize = 4 << 20;
/// Faults of one file that are told.
const FAULTS: usize = 100;

pub(crate) async fn submit(client: &Client, args: &args::Submit) -> Result<Exit, Failure> {
    let ending = args.file.extension().and_then(std::ffi::OsStr::to_str);
    if matches!(ending, Some("ndjson" | "jsonl")) {
        return submit_lines(client, args).await;
    }
    let draft = jobfile::read(&args.file)?;
    let document = draft.document(&client.remote, client.screen).await?;
    let submitted = client.remote.submit(&document, args.idempotency_key.as_deref()).await?;
    if !args.wait {
        client.screen.show(&submitted)?;
        return Ok(Exit::Ok);
    }
    if client.screen.live {
        client.screen.say(&format!("{} with {}", submitted.id, many(submitted.tasks, "task")));
    }
    let details = wait::until_settled(client, &[submitted.id], None).await?;
    let mut exit = Exit::Ok;
    for detail in details {
        exit = wait::exit_of(std::slice::from_ref(&detail.job));
        client.screen.show(&detail)?;
    }
    Ok(exit)
}

/// What became of a file of jobs; as JSON it is a line for each job instead, as the API answers.
#[derive(Debug, Default, Serialize)]
pub(crate) struct SubmittedMany {
    pub(crate) jobs: u64,
    pub(crate) tasks: u64,
    pub(crate) first: Option<JobId>,
    pub(crate) last: Option<JobId>,
}

impl Answer for SubmittedMany {
    fn text(&self, _look: Look) -> String {
        let (Some(first), Some(last)) = (self.first, self.last) else {
            return "no job".to_owned();
        };
        let (jobs, tasks) = (many(self.jobs, "job"), many(self.tasks, "task"));
        format!("{jobs} with {tasks}: {first} to {last}; ebb status")
    }
}

async fn submit_lines(client: &Client, args: &args::Submit) -> Result<Exit, Failure> {
    let total = check_lines(&args.file)?;
    let mut ids = Vec::new();
    let mut sent = SubmittedMany::default();
    let mut progress = Progress::new(client.screen, Unit::Jobs);
    let mut lines = Lines::open(&args.file)?;
    loop {
        progress.at(sent.jobs, total, "");
        let at = lines.number;
        let documents = lines.batch()?;
        if documents.is_empty() {
            break;
        }
        // A key for each request: the same file again is the same requests.
        let key = args.idempotency_key.as_ref().map(|key| format!("{key}:{at}"));
        let answers = match client.remote.submit_many(&documents, key.as_deref()).await {
            Ok(answers) => answers,
            Err(failure) => return Err(partly(failure, &sent, &args.file, at)),
        };
        for submitted in answers {
            sent.jobs += 1;
            sent.tasks += submitted.tasks;
            sent.first = sent.first.or(Some(submitted.id));
            sent.last = Some(submitted.id);
            ids.push(submitted.id);
            if client.screen.format == Format::Json && !args.wait {
                client.screen.print_json::<Submitted>(&submitted)?;
            }
        }
    }
    progress.end();
    if !args.wait {
        if client.screen.format == Format::Table {
            client.screen.show(&sent)?;
        }
        return Ok(Exit::Ok);
    }
    let details = wait::until_settled(client, &ids, None).await?;
    let jobs: Vec<_> = details.into_iter().map(|detail| detail.job).collect();
    let exit = wait::exit_of(&jobs);
    client.screen.show(&Page { items: jobs, next_cursor: None })?;
    Ok(exit)
}

/// What was submitted before the failure stays submitted.
fn partly(mut failure: Failure, sent: &SubmittedMany, file: &Path, at: u64) -> Failure {
    if let Some(last) = sent.last {
        let jobs = many(sent.jobs, "job");
        failure.cause = format!(
            "{} ({jobs} up to line {at} of {} were submitted, {last} the last)",
            failure.cause,
            file.display()
        );
    }
    failure
}

/// Jobs of a file, a line each.
struct Lines {
    reader: BufReader<File>,
    name: String,
    /// Lines that were read.
    number: u64,
}

impl Lines {
    fn open(file: &Path) -> Result<Self, Failure> {
        let opened = File::open(file).map_err(|fault| jobfile::unreadable(file, &fault))?;
        let name = file.display().to_string();
        Ok(Self { reader: BufReader::new(opened), name, number: 0 })
    }

    /// The next line that is not empty.
    fn next(&mut self) -> Result<Option<String>, Failure> {
        loop {
            let mut line = String::new();
            let read = self.reader.read_line(&mut line).map_err(|fault| {
                Failure::usage(format!("{}:{}: {fault}", self.name, self.number + 1))
            })?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if !line.trim().is_empty() {
                return Ok(Some(line));
            }
        }
    }

    /// The documents of the next request.
    fn batch(&mut self) -> Result<Vec<Value>, Failure> {
        let (mut documents, mut bytes) = (Vec::new(), 0);
        while documents.len() < JOBS && bytes < BYTES {
            let Some(line) = self.next()? else { break };
            bytes += line.len();
            documents.push(serde_json::from_str(&line).map_err(|fault| {
                Failure::usage(format!("{}:{}: {fault}", self.name, self.number))
            })?);
        }
        Ok(documents)
    }
}

/// Reads the file once, so that nothing is sent of one that has faults. Answers how many jobs it
/// has.
fn check_lines(file: &Path) -> Result<u64, Failure> {
    let mut lines = Lines::open(file)?;
    let (mut jobs, mut spots) = (0, Vec::new());
    while let Some(line) = lines.next()? {
        jobs += 1;
        let place = |column: Option<usize>| {
            let column = column.map(|column| format!(":{column}")).unwrap_or_default();
            Some(format!("{}:{}{column}", lines.name, lines.number))
        };
        match serde_json::from_str::<Value>(&line) {
            Ok(document) => {
                let faults = JobSpec::parse(&document).err().unwrap_or_default();
                spots.extend(faults.into_iter().map(|fault| Spot { fault, place: place(None) }));
            }
            Err(wrong) => {
                let detail = format!("not JSON: {wrong}");
                let fault = Fault { pointer: String::new(), detail };
                spots.push(Spot { fault, place: place(Some(wrong.column())) });
            }
        }
        if spots.len() >= FAULTS {
            break;
        }
    }
    if !spots.is_empty() {
        let count = many(u64::try_from(spots.len()).unwrap_or(u64::MAX), "fault");
        let name = &lines.name;
        return Err(Failure::usage(format!("{name} has {count}; nothing was submitted"))
            .with_errors(spots)
            .next(format!("mend them, then: ebb submit {name}")));
    }
    if jobs == 0 {
        return Err(Failure::usage(format!("{} has no job", lines.name)));
    }
    Ok(jobs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("jobs.ndjson");
        std::fs::write(&file, text).expect("written");
        match check_lines(&file) {
            Ok(jobs) => format!("{jobs} jobs"),
            Err(failure) => {
                failure.to_string().replace(&folder.path().display().to_string(), "DIR")
            }
        }
    }

    #[test]
    fn every_line_is_checked_before_one_is_sent() {
        let good = r#"{"group": [{"command": ["true"]}]}"#;
        assert_eq!(told(&format!("{good}\n\n{good}")), "2 jobs");
        insta::assert_snapshot!(told(&format!("{good}\n{{\"group\": 1}}\n{{oops\n")), @"
        error: DIR/jobs.ndjson has 2 faults; nothing was submitted
          DIR/jobs.ndjson:2: /group: must be a list, is 1
          DIR/jobs.ndjson:3:2: /: not JSON: key must be a string at line 1 column 2
          next: mend them, then: ebb submit DIR/jobs.ndjson
        ");
        insta::assert_snapshot!(told("\n"), @"error: DIR/jobs.ndjson has no job");
    }

    #[test]
    fn requests_are_bounded_by_jobs_and_bytes() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("jobs.ndjson");
        std::fs::write(&file, "{}\n".repeat(JOBS + 1)).expect("written");
        let mut lines = Lines::open(&file).expect("open");
        let batches: Vec<_> = (0..3).map(|_| lines.batch().expect("read").len()).collect();
        assert_eq!(batches, [JOBS, 1, 0]);
        let long = format!("\"{}\"\n", "x".repeat(BYTES / 2));
        std::fs::write(&file, long.repeat(3)).expect("written");
        let mut lines = Lines::open(&file).expect("open");
        assert_eq!(lines.batch().expect("read").len(), 2);
    }

    #[test]
    fn a_failure_half_way_tells_what_was_submitted() {
        let sent = SubmittedMany {
            jobs: 2000,
            tasks: 4000,
            first: Some(JobId::from_number(1)),
            last: Some(JobId::from_number(2)),
        };
        let failure = partly(Failure::unreachable("gone"), &sent, Path::new("j"), 2000);
        assert_eq!(
            failure.cause,
            "gone (2000 jobs up to line 2000 of j were submitted, job_0000000000002 the last)"
        );
    }
}
