//! What a digester keeps on disk: an append-only file of records, JSON a line, from which the
//! state after a `kill -9` follows.
//!
//! Offsets number the transitions of a session. A transition is forgotten once the leader has
//! acknowledged a higher offset, and not before.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use model::{AttemptId, GroupId, GroupSpec, Namespace, TaskResult, Transition};
use serde::{Deserialize, Serialize};

/// The format that this build writes; it reads this one and the one before.
pub const FORMAT: u32 = 1;

/// What all attempts of a group share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Whose job it is.
    pub namespace: Namespace,
    /// What to run.
    pub spec: Arc<GroupSpec>,
}

/// A process, so that its pid is never mistaken for a later one's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Which start of the machine (`/proc/sys/kernel/random/boot_id`).
    pub boot: Arc<str>,
    /// Its pid.
    pub pid: u32,
    /// When it started, in clock ticks since then (`/proc/PID/stat`, field 22).
    pub start_ticks: u64,
}

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Record {
    /// The first line.
    Base {
        /// [`FORMAT`].
        format: u32,
        /// The session that the offsets belong to.
        session: u64,
        /// The offset of the first transition in the file.
        offset: u64,
    },
    /// What the group's attempts below run.
    Group {
        /// The group.
        group: GroupId,
        /// Its work.
        work: Work,
    },
    /// The leader gave us this.
    Assigned {
        /// The fence.
        attempt: AttemptId,
        /// Whether it is a prefetch.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        held: bool,
        /// Its `$EBB_ITEM`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        item: Option<Arc<str>>,
    },
    /// It is about to start: from here on it may have run.
    Starting {
        /// The fence.
        attempt: AttemptId,
        /// The number of its folder, until its end is spooled.
        folder: u32,
    },
    /// It runs, as this process. Takes no offset.
    Running {
        /// The fence.
        attempt: AttemptId,
        /// Its process, once it is known.
        process: Option<Process>,
    },
    /// It has started. Takes an offset.
    Started {
        /// The fence.
        attempt: AttemptId,
    },
    /// It is over. Takes an offset.
    Ended {
        /// The fence.
        attempt: AttemptId,
        /// What it left behind.
        result: Box<TaskResult>,
    },
    /// Transitions below this offset are durable at the leader.
    Acked {
        /// The offset.
        offset: u64,
    },
}

impl Record {
    /// Appends the record's line.
    ///
    /// # Errors
    /// Never for records that [`Spool::replay`] gave; serde's word for it otherwise.
    pub fn write_line(&self, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        serde_json::to_writer(&mut *out, self)?;
        out.push(b'\n');
        Ok(())
    }
}

/// Where an attempt stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// It has not been started.
    Waiting,
    /// It may have been started.
    Starting,
    /// It has started.
    Started {
        /// Its process, once it is known.
        process: Option<Process>,
    },
    /// Its end is in the spool and not acknowledged.
    Ended,
}

/// An attempt that is not acknowledged as ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whether it is a prefetch.
    pub held: bool,
    /// Its `$EBB_ITEM`.
    pub item: Option<Arc<str>>,
    /// The number of its folder, from its start to its end.
    pub folder: Option<u32>,
    /// Where it stands.
    pub stage: Stage,
}

/// The state that follows from the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spool {
    session: u64,
    acked: u64,
    unacked: VecDeque<Transition>,
    groups: BTreeMap<GroupId, Work>,
    attempts: BTreeMap<AttemptId, Entry>,
}

/// A file, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// The state.
    pub spool: Spool,
    /// How much of the file is good; what follows is a line that was not written to its end.
    pub good_bytes: usize,
}

/// A file that gives no state: begin anew, under another session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpoolFault {
    /// Nothing in it.
    #[error("the spool is empty")]
    Empty,
    /// Written by a build that we know nothing of.
    #[error("the spool has format {0}; this build reads {FORMAT}")]
    Format(u32),
    /// A line that is no record.
    #[error("line {line} of the spool is not understood: {why}")]
    Corrupt {
        /// From 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
}

impl Spool {
    /// The spool of a new session.
    pub fn new(session: u64) -> Self {
        Self {
            session,
            acked: 0,
            unacked: VecDeque::new(),
            groups: BTreeMap::new(),
            attempts: BTreeMap::new(),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it gives no state. A last line without its end is no fault.
    pub fn replay(bytes: &[u8]) -> Result<Replayed, SpoolFault> {
        let good_bytes = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut spool = None;
        let lines = bytes[..good_bytes].split_inclusive(|byte| *byte == b'\n');
        for (line, text) in (1..).zip(lines) {
            let corrupt = |why: String| SpoolFault::Corrupt { line, why };
            let record = serde_json::from_slice(text).map_err(|why| corrupt(why.to_string()))?;
            match (&mut spool, record) {
                (None, Record::Base { format, .. }) if format != FORMAT => {
                    return Err(SpoolFault::Format(format));
                }
                (None, Record::Base { session, offset, .. }) => {
                    spool = Some(Self { acked: offset, ..Self::new(session) });
                }
                (None, _) => return Err(corrupt("the first line names no format".into())),
                (Some(spool), record) => spool.apply(&record),
            }
        }
        spool.map(|spool| Replayed { spool, good_bytes }).ok_or(SpoolFault::Empty)
    }

    /// Takes one record in. Records of attempts that it does not know change no stage.
    pub fn apply(&mut self, record: &Record) {
        match record {
            // Only the first line is one, and that has been read.
            Record::Base { .. } => {}
            Record::Group { group, work } => {
                self.groups.insert(*group, work.clone());
            }
            Record::Assigned { attempt, held, item } => {
                let (held, item) = (*held, item.clone());
                let entry = Entry { held, item, folder: None, stage: Stage::Waiting };
                self.attempts.entry(*attempt).or_insert(entry);
            }
            Record::Starting { attempt, folder } => {
                if let Some(entry) = self.attempts.get_mut(attempt) {
                    entry.stage = Stage::Starting;
                    entry.folder = Some(*folder);
                }
            }
            Record::Running { attempt, process } => {
                self.stage(*attempt, Stage::Started { process: process.clone() });
            }
            Record::Started { attempt } => {
                let stage = self.attempts.get(attempt).map(|entry| &entry.stage);
                if matches!(stage, Some(Stage::Waiting | Stage::Starting)) {
                    self.stage(*attempt, Stage::Started { process: None });
                }
                self.unacked.push_back(Transition::Started { attempt: *attempt });
            }
            Record::Ended { attempt, result } => {
                if let Some(entry) = self.attempts.get_mut(attempt) {
                    entry.stage = Stage::Ended;
                    entry.folder = None;
                }
                let result = result.clone();
                self.unacked.push_back(Transition::Ended { attempt: *attempt, result });
            }
            Record::Acked { offset } => {
                self.acknowledge(*offset);
            }
        }
    }

    fn stage(&mut self, attempt: AttemptId, stage: Stage) {
        if let Some(entry) = self.attempts.get_mut(&attempt) {
            entry.stage = stage;
        }
    }

    /// Forgets transitions below `offset`; answers the attempts that are over with them.
    pub fn acknowledge(&mut self, offset: u64) -> Vec<AttemptId> {
        let mut over = Vec::new();
        while self.acked < offset {
            let Some(transition) = self.unacked.pop_front() else { break };
            self.acked += 1;
            if let Transition::Ended { attempt, .. } = transition {
                self.attempts.remove(&attempt);
                self.drop_group_without_attempts(attempt);
                over.push(attempt);
            }
        }
        over
    }

    fn drop_group_without_attempts(&mut self, gone: AttemptId) {
        let group = gone.task.group_id();
        let end = |index, attempt| {
            model::TaskId { job: group.job, group: group.group, index }.attempt(attempt)
        };
        if self.attempts.range(end(0, 0)..=end(u32::MAX, u32::MAX)).next().is_none() {
            self.groups.remove(&group);
        }
    }

    /// The fewest records that give this state again.
    pub fn records(&self) -> Vec<Record> {
        let mut records =
            vec![Record::Base { format: FORMAT, session: self.session, offset: self.acked }];
        records.extend(
            self.groups
                .iter()
                .map(|(group, work)| Record::Group { group: *group, work: work.clone() }),
        );
        for (attempt, entry) in &self.attempts {
            let (attempt, item) = (*attempt, entry.item.clone());
            records.push(Record::Assigned { attempt, held: entry.held, item });
            records.extend(entry.folder.map(|folder| Record::Starting { attempt, folder }));
            if let Stage::Started { process } = &entry.stage {
                records.push(Record::Running { attempt, process: process.clone() });
            }
        }
        records.extend(self.unacked.iter().map(|transition| match transition {
            Transition::Started { attempt } => Record::Started { attempt: *attempt },
            Transition::Ended { attempt, result } => {
                Record::Ended { attempt: *attempt, result: result.clone() }
            }
        }));
        records
    }

    /// The session that the offsets belong to.
    pub fn session(&self) -> u64 {
        self.session
    }
    /// The offset of the first transition that is not acknowledged.
    pub fn acked(&self) -> u64 {
        self.acked
    }
    /// The offset that the next transition takes.
    pub fn next_offset(&self) -> u64 {
        self.acked.saturating_add(model::Clamp::<u64>::clamped(self.unacked.len()))
    }
    /// Transitions that are not acknowledged, in order, from [`Spool::acked`].
    pub fn unacked(&self) -> &VecDeque<Transition> {
        &self.unacked
    }
    /// Attempts that are not acknowledged as ended.
    pub fn attempts(&self) -> &BTreeMap<AttemptId, Entry> {
        &self.attempts
    }
    /// What attempts of a group run.
    pub fn work(&self, group: GroupId) -> Option<&Work> {
        self.groups.get(&group)
    }
}

#[cfg(test)]
mod tests {
    use model::{JobId, JobSpec, Outcome, TaskId};
    use proptest::prelude::*;

    use super::*;

    fn attempt(group: u16, index: u32) -> AttemptId {
        TaskId { job: JobId::from_number(1), group, index }.attempt(1)
    }

    fn work() -> Work {
        let document = serde_json::json!({"group": [{"command": ["true"]}]});
        let spec = JobSpec::parse(&document).unwrap();
        Work { namespace: Namespace::default(), spec: spec.groups[0].clone() }
    }

    fn ended(attempt: AttemptId) -> Record {
        match Transition::ended_without_trace(attempt, Outcome::Exited { code: 0 }) {
            Transition::Ended { attempt, result } => Record::Ended { attempt, result },
            Transition::Started { attempt } => Record::Started { attempt },
        }
    }

    fn file(records: &[Record]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for record in records {
            record.write_line(&mut bytes).unwrap();
        }
        bytes
    }

    #[test]
    fn lines_stay_as_they_are() {
        let at = attempt(0, 17);
        let process = Process { boot: "b".into(), pid: 7, start_ticks: 99 };
        let lines = file(&[
            Record::Base { format: 1, session: 5, offset: 40 },
            Record::Assigned { attempt: at, held: true, item: Some("a\nb".into()) },
            Record::Starting { attempt: at, folder: 4 },
            Record::Started { attempt: at },
            Record::Running { attempt: at, process: Some(process) },
            ended(at),
            Record::Acked { offset: 42 },
        ]);
        insta::assert_snapshot!(String::from_utf8(lines).unwrap(), @r#"
        {"base":{"format":1,"session":5,"offset":40}}
        {"assigned":{"attempt":"job_0000000000001.0.17.1","held":true,"item":"a\nb"}}
        {"starting":{"attempt":"job_0000000000001.0.17.1","folder":4}}
        {"started":{"attempt":"job_0000000000001.0.17.1"}}
        {"running":{"attempt":"job_0000000000001.0.17.1","process":{"boot":"b","pid":7,"start_ticks":99}}}
        {"ended":{"attempt":"job_0000000000001.0.17.1","result":{"outcome":{"kind":"exited","code":0},"run_ms":0,"stdout":{"size_bytes":0},"stderr":{"size_bytes":0}}}}
        {"acked":{"offset":42}}
        "#);
    }

    #[test]
    fn faults_are_told_apart() {
        let fault = |bytes: &[u8]| Spool::replay(bytes).unwrap_err().to_string();
        let lines = [
            fault(b""),
            fault(b"{\"base\":{\"format\":1,\"ses"),
            fault(b"{\"base\":{\"format\":2,\"session\":1,\"offset\":0}}\n"),
            fault(b"{\"acked\":{\"offset\":1}}\n"),
            fault(b"{\"base\":{\"format\":1,\"session\":1,\"offset\":0}}\n{}\n"),
        ];
        insta::assert_snapshot!(lines.join("\n"), @"
        the spool is empty
        the spool is empty
        the spool has format 2; this build reads 1
        line 1 of the spool is not understood: the first line names no format
        line 2 of the spool is not understood: expected value at line 1 column 2
        ");
    }

    /// What may be written: the digester's own order of records, picked by random numbers.
    fn history(choices: &[(u8, u32)]) -> Vec<Record> {
        let mut spool = Spool::new(9);
        let mut records = spool.records();
        for (kind, number) in choices {
            let group = u16::try_from(number % 3).unwrap();
            let at = attempt(group, number % 7);
            let stage = spool.attempts().get(&at).map(|entry| entry.stage.clone());
            let record = match (kind % 6, stage) {
                (0, _) => Record::Group { group: at.task.group_id(), work: work() },
                (1, None) => Record::Assigned { attempt: at, held: number % 2 == 0, item: None },
                (1, Some(Stage::Waiting)) => Record::Starting { attempt: at, folder: *number },
                (2, Some(Stage::Starting)) => Record::Started { attempt: at },
                (3, Some(Stage::Waiting | Stage::Starting | Stage::Started { .. })) => ended(at),
                (4, Some(Stage::Started { .. })) => {
                    let process = Process { boot: "b".into(), pid: *number, start_ticks: 1 };
                    Record::Running { attempt: at, process: Some(process) }
                }
                (5, _) => Record::Acked { offset: spool.acked() + u64::from(number % 4) },
                _ => continue,
            };
            spool.apply(&record);
            records.push(record);
        }
        records
    }

    proptest! {
        #[test]
        fn a_rewritten_file_means_the_same(choices in prop::collection::vec(any::<(u8, u32)>(), 0..80)) {
            let bytes = file(&history(&choices));
            let before = Spool::replay(&bytes).unwrap();
            prop_assert_eq!(before.good_bytes, bytes.len());
            let after = Spool::replay(&file(&before.spool.records())).unwrap();
            prop_assert_eq!(&after.spool, &before.spool);
            prop_assert_eq!(after.spool.next_offset(), before.spool.next_offset());
        }

        #[test]
        fn a_torn_end_loses_the_last_line_only(
            choices in prop::collection::vec(any::<(u8, u32)>(), 1..40), cut in 0usize..200,
        ) {
            let records = history(&choices);
            let bytes = file(&records);
            let kept = bytes.len().saturating_sub(cut).max(file(&records[..1]).len());
            let torn = Spool::replay(&bytes[..kept]).unwrap();
            let whole = bytes[..kept].iter().filter(|byte| **byte == b'\n').count();
            let expected = Spool::replay(&file(&records[..whole])).unwrap();
            prop_assert_eq!(torn.spool, expected.spool);
            prop_assert!(torn.good_bytes <= kept);
        }

        #[test]
        fn nothing_is_forgotten_before_its_ack(choices in prop::collection::vec(any::<(u8, u32)>(), 0..80)) {
            let (mut spool, mut all) = (Spool::new(9), Vec::new());
            for record in &history(&choices)[1..] {
                let before = spool.acked();
                spool.apply(record);
                if let Record::Started { attempt } | Record::Ended { attempt, .. } = record {
                    all.push(*attempt);
                }
                prop_assert!(spool.acked() >= before);
                let left: Vec<AttemptId> = spool.unacked().iter().map(Transition::attempt).collect();
                prop_assert_eq!(&all[usize::try_from(spool.acked()).unwrap()..], &left[..]);
            }
        }
    }
}
