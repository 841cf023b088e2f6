//! What the leader says: work, cancels, retracts, drains, notices.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use api::sync::{Assignment, GroupWork, SyncAnswer};
use model::{AttemptId, Clamp, GroupId, NodeNotice, NoticeKind, Outcome, Timestamp, Transition};
use node::{Record, Runner, Work};

use crate::config::DigesterError;
use crate::service::{Digester, Going};
use crate::table::Stage;

impl Digester {
    pub(crate) fn on_answer(&mut self, answer: SyncAnswer) -> Result<(), DigesterError> {
        self.acknowledged(answer.acked_offset)?;
        self.draining = answer.drain;
        for assignment in answer.assign {
            let group = assignment.attempt.task.group_id();
            self.assign(assignment, answer.groups.get(&group));
        }
        self.cancel(&answer.cancel);
        for attempt in answer.retract {
            if matches!(self.stage(attempt), Some(Stage::Waiting { .. })) {
                self.give_back(attempt);
            }
        }
        if self.draining {
            for attempt in self.table.waiting() {
                self.give_back(attempt);
            }
        }
        for notice in answer.notices {
            self.on_notice(notice, false);
        }
        if let Some(post) = self.uplink.tail_post() {
            for request in answer.tail {
                let active = matches!(self.stage(request.attempt), Some(Stage::Active(_)));
                if let Some(folder) = self.folder(request.attempt).filter(|_| active) {
                    self.tails.follow(request, &folder, &post);
                }
            }
        }
        Ok(())
    }

    fn stage(&self, attempt: AttemptId) -> Option<&Stage> {
        self.table.get(attempt).map(|attempt| &attempt.stage)
    }

    pub(crate) fn folder(&self, attempt: AttemptId) -> Option<PathBuf> {
        Some(self.folders.path(self.table.get(attempt)?.folder?))
    }

    fn acknowledged(&mut self, offset: u64) -> Result<(), DigesterError> {
        if offset <= self.spool.state().acked() {
            return Ok(());
        }
        // What is pending may be the last mention of a group that the acknowledged leave behind.
        self.spool_pending()?;
        let over = self.spool.acknowledge(offset).map_err(DigesterError::machine("the spool"))?;
        for attempt in over {
            self.table.forget(attempt);
            self.recent.add(attempt);
        }
        Ok(())
    }

    fn assign(&mut self, assignment: Assignment, given: Option<&GroupWork>) {
        let Assignment { attempt, held, item } = assignment;
        if self.recent.has(attempt) {
            return;
        }
        if self.table.get(attempt).is_some() {
            if !held {
                self.table.admit_held(attempt);
            }
            return;
        }
        let group = attempt.task.group_id();
        let Some(work) = self.work_of(group, given) else {
            tracing::error!(%attempt, "an assignment whose group nobody told");
            return;
        };
        tracing::debug!(
            job = %attempt.task.job, task = %attempt.task, %attempt, held, "assigned"
        );
        self.records.push(Record::Assigned { attempt, held, item: item.clone() });
        self.table.insert_waiting(attempt, work, item, held);
        if self.going.is_some() || self.draining {
            self.give_back(attempt);
        }
    }

    fn work_of(&mut self, group: GroupId, given: Option<&GroupWork>) -> Option<Work> {
        if let Some(known) = self.spool.state().work(group) {
            return Some(known.clone());
        }
        let given = given?;
        let work = Work { namespace: given.namespace.clone(), spec: given.spec.clone() };
        self.records.push(Record::Group { group, work: work.clone() });
        Some(work)
    }

    fn cancel(&mut self, attempts: &[AttemptId]) {
        let mut running = Vec::new();
        for attempt in attempts {
            match self.stage(*attempt) {
                Some(Stage::Waiting { .. }) => self.give_back(*attempt),
                Some(Stage::Active(_)) => running.push(*attempt),
                Some(Stage::Finishing | Stage::Ended) | None => {}
            }
        }
        self.stop(running, Outcome::Stopped, self.config.grace);
    }

    /// A waiting attempt goes back unstarted.
    pub(crate) fn give_back(&mut self, attempt: AttemptId) {
        tracing::debug!(%attempt, "given back");
        let transition = Transition::ended_without_trace(attempt, Outcome::Returned);
        if let Transition::Ended { attempt, result } = transition {
            self.end(attempt, result);
        }
    }

    /// The machine will be taken. `own`: the manager does not know yet.
    pub(crate) fn on_notice(&mut self, notice: NodeNotice, own: bool) {
        let told = own.then_some(notice);
        if notice.kind == NoticeKind::Rebalance {
            // A risk and no deadline: what to do about it is the manager's to decide.
            tracing::warn!("this machine is at elevated risk");
            return;
        }
        self.go_within(Duration::from_millis(notice.remaining_ms), told);
    }

    /// Carries the notice policy out: from now on nothing starts.
    pub(crate) fn go_within(&mut self, remaining: Duration, notice: Option<NodeNotice>) {
        let now = Instant::now();
        let deadline = now + remaining;
        if let Some(going) = &mut self.going
            && going.deadline <= deadline
        {
            if going.notice.is_none() && notice.is_some() {
                going.notice = notice;
                self.uplink.notice_is_new();
            }
            return;
        }
        let runners: Vec<Runner> = self
            .table
            .active()
            .map(|(attempt, entry, active)| Runner {
                attempt,
                elapsed_ms: now.saturating_duration_since(active.since).as_millis().clamped(),
                expect_ms: entry.work.spec.expect_ms,
            })
            .collect();
        let grace_ms = self.config.grace.as_millis().clamped();
        let waiting = self.table.waiting();
        let plan = node::on_notice(remaining.as_millis().clamped(), grace_ms, &runners, &waiting);
        tracing::warn!(
            ?remaining, kind = ?notice.map(|notice| notice.kind), finish = plan.finish.len(),
            stop = plan.stop_now.len(), give_back = plan.give_back.len(), "this node has to go"
        );
        let grace = Duration::from_millis(plan.grace_ms);
        let earlier = self.going.take().and_then(|going| going.notice);
        let going = Going {
            notice: notice.or(earlier),
            deadline,
            stop_at: now + Duration::from_millis(plan.stop_in_ms),
            grace,
            text: wall_clock(remaining),
            stopped: false,
        };
        for runner in &runners {
            self.tell_deadline(runner.attempt, &going.text);
        }
        self.going = Some(going);
        self.uplink.notice_is_new();
        for attempt in plan.give_back {
            self.give_back(attempt);
        }
        self.stop(plan.stop_now, Outcome::Evicted, grace);
    }

    /// The deadline file appears whole or not at all.
    pub(crate) fn tell_deadline(&self, attempt: AttemptId, text: &str) {
        let Some(folder) = self.folder(attempt) else { return };
        let file = folder.join("deadline");
        let next = file.with_extension("next");
        let written = std::fs::write(&next, text).and_then(|()| std::fs::rename(&next, &file));
        if let Err(error) = written {
            tracing::warn!(%attempt, %error, "the deadline file could not be written");
        }
    }
}

/// When that is by this machine's clock, as RFC 3339.
fn wall_clock(remaining: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms((now + remaining).as_millis().clamped()).to_string()
}
