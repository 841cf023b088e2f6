//! The store's contract without a database: one head row, a lease, a log in which only what was
//! committed stands, and what the tables know of it.

mod tables;

use std::collections::BTreeMap;
use std::sync::Arc;

use control::{BacklogJob, Input};
use model::{
    Change, ClusterId, Durable, FORMAT, Head, JobId, JobSpec, LaunchRequest, Timestamp, World,
};

pub(crate) use self::tables::Tables;
use crate::timestamp;

/// What a commit brings.
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    pub(crate) term: u64,
    /// Its own; the one before must be the last.
    pub(crate) seq: u64,
    pub(crate) now: Timestamp,
    pub(crate) changes: Vec<Change>,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    Durable,
    Fenced,
    Failed,
}

/// Posted by any replica.
#[derive(Debug, Clone)]
pub(crate) enum Row {
    Submit(JobId, Arc<JobSpec>),
    Message(Input),
}

/// Who leads, and until when by the database's clock.
#[derive(Debug, Clone, Copy)]
struct Lease {
    holder: usize,
    until_ms: u64,
}

/// The database.
#[derive(Debug)]
pub(crate) struct Disk {
    /// What the log comes down to.
    pub(crate) world: World,
    pub(crate) tables: Tables,
    term: u64,
    lease: Option<Lease>,
    backlog: BTreeMap<JobId, (Arc<JobSpec>, Timestamp)>,
    inbox: BTreeMap<i64, Row>,
    rows: i64,
    /// Submits by their idempotency keys.
    keys: BTreeMap<u64, JobId>,
    /// All launches that were ever stored.
    launches: BTreeMap<model::IntentId, LaunchRequest>,
}

impl Disk {
    pub(crate) fn new(seed: u64) -> Self {
        let cluster = ClusterId::from_number(seed);
        let head = Head { term: 0, seq: 0, now: timestamp(0), format: FORMAT, cluster, seed };
        Self {
            world: World::new(Durable::new(head)),
            tables: Tables::default(),
            term: 0,
            lease: None,
            backlog: BTreeMap::new(),
            inbox: BTreeMap::new(),
            rows: 0,
            keys: BTreeMap::new(),
            launches: BTreeMap::new(),
        }
    }

    /// Takes the lease when it is free, over, or the replica's own; answers the new term.
    pub(crate) fn acquire(&mut self, replica: usize, lease_ms: u64, now_ms: u64) -> Option<u64> {
        let taken = |lease: &Lease| lease.until_ms > now_ms && lease.holder != replica;
        if self.lease.as_ref().is_some_and(taken) {
            return None;
        }
        self.lease = Some(Lease { holder: replica, until_ms: now_ms + lease_ms });
        self.term += 1;
        self.world.durable.head.term = self.term;
        Some(self.term)
    }

    /// Lengthens the lease of a term.
    pub(crate) fn renew(&mut self, replica: usize, term: u64, lease_ms: u64, now_ms: u64) -> bool {
        let own = self.term == term;
        match &mut self.lease {
            Some(lease) if own && lease.holder == replica => {
                lease.until_ms = now_ms + lease_ms;
                true
            }
            _ => false,
        }
    }

    /// Gives the lease back.
    pub(crate) fn release(&mut self, replica: usize, term: u64) {
        let own = self.term == term && self.lease.is_some_and(|lease| lease.holder == replica);
        if own {
            self.lease = None;
        }
    }

    /// Who leads, as a replica reads it.
    pub(crate) fn leader(&self, now_ms: u64) -> Option<usize> {
        self.lease.filter(|lease| lease.until_ms > now_ms).map(|lease| lease.holder)
    }

    /// A cold start.
    pub(crate) fn load(&self) -> Durable {
        self.world.durable.clone()
    }

    /// Writes a commit, or nothing.
    pub(crate) fn commit(&mut self, commit: &Commit) -> Written {
        if commit.term != self.term || commit.seq != self.world.durable.head.seq + 1 {
            return Written::Fenced;
        }
        for change in &commit.changes {
            self.world.apply(change);
            self.tables.keep(change);
            self.keep(change);
        }
        self.world.durable.head.seq = commit.seq;
        self.world.durable.head.now = commit.now;
        Written::Durable
    }

    fn keep(&mut self, change: &Change) {
        match change {
            Change::JobSubmitted { job, spec, at, taken_in: false } => {
                self.backlog.insert(*job, (spec.clone(), *at));
            }
            Change::JobTakenIn { job, .. } => {
                self.backlog.remove(job);
            }
            Change::JobPatched { job, spec: Some(spec), .. } => {
                if let Some((waiting, _)) = self.backlog.get_mut(job) {
                    *waiting = spec.clone();
                }
            }
            Change::InboxDone { rows } => {
                for row in rows {
                    self.inbox.remove(row);
                }
            }
            Change::Intent(intent) => {
                self.launches.entry(intent.id).or_insert_with(|| intent.request.clone());
            }
            _ => {}
        }
    }

    /// A replica posts a row; a key that is known already answers the job of the first time.
    pub(crate) fn post(&mut self, row: Row, key: Option<u64>) -> Option<JobId> {
        if let (Some(key), Row::Submit(job, _)) = (key, &row) {
            if let Some(known) = self.keys.get(&key) {
                return Some(*known);
            }
            self.keys.insert(key, *job);
        }
        let job = match &row {
            Row::Submit(job, spec) => {
                self.tables.submitted(*job, spec);
                Some(*job)
            }
            Row::Message(_) => None,
        };
        self.rows += 1;
        self.inbox.insert(self.rows, row);
        job
    }

    /// All rows that are there.
    pub(crate) fn inbox(&self) -> &BTreeMap<i64, Row> {
        &self.inbox
    }

    /// Jobs that wait in their table.
    pub(crate) fn backlog(&self, most: u32) -> Vec<BacklogJob> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        self.backlog.keys().take(most).filter_map(|id| self.waiting(*id)).collect()
    }

    /// One of them.
    pub(crate) fn waiting(&self, id: JobId) -> Option<BacklogJob> {
        let (spec, submitted) = self.backlog.get(&id)?;
        Some(BacklogJob { id, spec: spec.clone(), submitted: *submitted })
    }

    /// What a launch was stored as, if it ever was.
    pub(crate) fn stored_launch(&self, id: model::IntentId) -> Option<&LaunchRequest> {
        self.launches.get(&id)
    }

    /// Whether a job is somewhere: in the inbox, in its table, in World, or settled.
    pub(crate) fn has(&self, job: JobId) -> bool {
        self.world.durable.jobs.contains_key(&job)
            || self.backlog.contains_key(&job)
            || self.tables.status(job).is_some()
            || self.inbox.values().any(|row| matches!(row, Row::Submit(id, _) if *id == job))
    }

    /// What is not settled, in words.
    pub(crate) fn unsettled(&self) -> Option<String> {
        let durable = &self.world.durable;
        let first = |what: &str, name: Option<String>| name.map(|name| format!("{what} {name}"));
        first("an inbox row", self.inbox.keys().next().map(ToString::to_string))
            .or_else(|| first("in its table", self.backlog.keys().next().map(ToString::to_string)))
            .or_else(|| first("job", durable.jobs.keys().next().map(ToString::to_string)))
            .or_else(|| first("intent", durable.intents.keys().next().map(ToString::to_string)))
            .or_else(|| {
                let mut nodes = durable.nodes.values();
                let node = nodes.find(|node| node.instance().is_some());
                first("node", node.map(|node| format!("{} ({})", node.id, node.state)))
            })
    }
}
