//! The life of a task, as a table: each state meets each event.

use std::fmt::Write as _;

use model::{
    After, Cause, Counters, NodeId, Outcome, Phase, Placement, Restart, Task, TaskEvent, TaskState,
    Timestamp,
};

fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

fn placed(phase: Phase, started: bool) -> Task {
    let started = started.then_some(at(500));
    let node = NodeId::from_number(1);
    let state = TaskState::Placed(Placement { node, assigned: at(100), started, phase });
    Task { state, attempt: 2, counters: Counters::default() }
}

fn show(task: &Task) -> String {
    let counters = task.counters;
    let counts = [
        ("interrupted", counters.interrupted),
        ("node lost", counters.node_lost),
        ("failed", counters.failed),
        ("timed out", counters.timed_out),
        ("unexplained", counters.unexplained),
    ];
    let mut out = match task.state {
        TaskState::Ready => "ready".to_owned(),
        TaskState::Backoff { until } => format!("backoff until {}", until.as_ms()),
        TaskState::Failed(cause) => format!("failed({cause:?})"),
        TaskState::Placed(at) => {
            let started = if at.started.is_some() { " started" } else { "" };
            match at.phase {
                Phase::Leaving { deadline } => format!("leaving by {}{started}", deadline.as_ms()),
                phase => format!("{phase:?}{started}").to_lowercase(),
            }
        }
    };
    for (name, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        write!(out, ", {name} {count}").expect("a String takes all");
    }
    out
}

#[test]
fn each_state_meets_each_event() {
    let with = |state| Task { state, attempt: 2, counters: Counters::default() };
    let states = [
        with(TaskState::Ready),
        with(TaskState::Backoff { until: at(2_000) }),
        placed(Phase::Held, false),
        placed(Phase::Admitted, false),
        placed(Phase::Admitted, true),
        placed(Phase::Leaving { deadline: at(3_000) }, true),
        placed(Phase::Stopping, true),
        placed(Phase::StoppingHeld, false),
        with(TaskState::Failed(Cause::Failed)),
    ];
    let place = TaskEvent::Place { node: NodeId::from_number(2), held: false };
    let ended = TaskEvent::Ended;
    let events = [
        ("place", place),
        ("started", TaskEvent::Started),
        ("exit 0", ended(Outcome::Exited { code: 0 })),
        ("exit 1", ended(Outcome::Exited { code: 1 })),
        ("exit 2 (no retry)", ended(Outcome::Exited { code: 2 })),
        ("signal", ended(Outcome::Signalled { signal: 9 })),
        ("timed out", ended(Outcome::TimedOut)),
        ("evicted", ended(Outcome::Evicted)),
        ("stopped", ended(Outcome::Stopped)),
        ("returned", ended(Outcome::Returned)),
        ("vanished", ended(Outcome::Vanished)),
        ("notice", TaskEvent::Notice { deadline: at(4_000) }),
        ("node gone", TaskEvent::NodeGone { explained: false }),
        ("stop", TaskEvent::Stop),
        ("due", TaskEvent::Due),
    ];
    let restart = Restart {
        max_failures: 1,
        backoff_ms: 1_000,
        no_retry_exit_codes: [2].into_iter().collect(),
    };
    let mut table = String::new();
    for task in &states {
        writeln!(table, "{}", show(task)).unwrap();
        for (name, event) in events {
            let Some(step) = task.on(event, &restart, at(1_000)) else { continue };
            let after = match step.after {
                After::Keep(task) => show(&task),
                other => format!("{other:?}").to_lowercase(),
            };
            let end = step.ended.map(|end| format!("  [{}]", end.as_str())).unwrap_or_default();
            writeln!(table, "  {name:<18} -> {after}{end}").unwrap();
        }
    }
    insta::assert_snapshot!(table, @"
    ready
      place              -> admitted
      stop               -> cancelled
    backoff until 2000
      stop               -> cancelled
      due                -> ready
    held
      started            -> admitted started
      exit 0             -> succeeded  [succeeded]
      exit 1             -> backoff until 2000, failed 1  [failed]
      exit 2 (no retry)  -> failed(NoRetry), failed 1  [failed]
      signal             -> backoff until 2000, failed 1  [failed]
      timed out          -> backoff until 2000, timed out 1  [timed-out]
      evicted            -> ready, interrupted 1  [interrupted]
      stopped            -> ready, interrupted 1  [interrupted]
      returned           -> ready  [returned]
      vanished           -> ready, node lost 1  [node-lost]
      node gone          -> ready  [returned]
      stop               -> stoppingheld
    admitted
      started            -> admitted started
      exit 0             -> succeeded  [succeeded]
      exit 1             -> backoff until 2000, failed 1  [failed]
      exit 2 (no retry)  -> failed(NoRetry), failed 1  [failed]
      signal             -> backoff until 2000, failed 1  [failed]
      timed out          -> backoff until 2000, timed out 1  [timed-out]
      evicted            -> ready, interrupted 1  [interrupted]
      stopped            -> ready, interrupted 1  [interrupted]
      returned           -> ready  [returned]
      vanished           -> ready, node lost 1  [node-lost]
      notice             -> leaving by 4000
      node gone          -> ready  [returned]
      stop               -> stopping
    admitted started
      exit 0             -> succeeded  [succeeded]
      exit 1             -> backoff until 2000, failed 1  [failed]
      exit 2 (no retry)  -> failed(NoRetry), failed 1  [failed]
      signal             -> backoff until 2000, failed 1  [failed]
      timed out          -> backoff until 2000, timed out 1  [timed-out]
      evicted            -> ready, interrupted 1  [interrupted]
      stopped            -> ready, interrupted 1  [interrupted]
      returned           -> ready  [returned]
      vanished           -> ready, node lost 1  [node-lost]
      notice             -> leaving by 4000 started
      node gone          -> ready, node lost 1, unexplained 1  [node-lost]
      stop               -> stopping started
    leaving by 3000 started
      exit 0             -> succeeded  [succeeded]
      exit 1             -> ready, interrupted 1  [interrupted]
      exit 2 (no retry)  -> failed(NoRetry), failed 1  [failed]
      signal             -> ready, interrupted 1  [interrupted]
      timed out          -> backoff until 2000, timed out 1  [timed-out]
      evicted            -> ready, interrupted 1  [interrupted]
      stopped            -> ready, interrupted 1  [interrupted]
      returned           -> ready  [returned]
      vanished           -> ready, node lost 1  [node-lost]
      node gone          -> ready, interrupted 1  [interrupted]
      stop               -> stopping started
    stopping started
      exit 0             -> succeeded  [succeeded]
      exit 1             -> cancelled  [cancelled]
      exit 2 (no retry)  -> cancelled  [cancelled]
      signal             -> cancelled  [cancelled]
      timed out          -> cancelled  [cancelled]
      evicted            -> cancelled  [cancelled]
      stopped            -> cancelled  [cancelled]
      returned           -> cancelled  [cancelled]
      vanished           -> cancelled  [cancelled]
      node gone          -> cancelled  [cancelled]
    stoppingheld
      started            -> stopping started
      exit 0             -> succeeded  [succeeded]
      exit 1             -> cancelled  [cancelled]
      exit 2 (no retry)  -> cancelled  [cancelled]
      signal             -> cancelled  [cancelled]
      timed out          -> cancelled  [cancelled]
      evicted            -> cancelled  [cancelled]
      stopped            -> cancelled  [cancelled]
      returned           -> cancelled  [cancelled]
      vanished           -> cancelled  [cancelled]
      node gone          -> cancelled  [cancelled]
    failed(Failed)
    ");
}

#[test]
fn the_budget_is_spent_by_own_failures_only() {
    let restart = Restart { max_failures: 3, backoff_ms: 0, ..Restart::default() };
    let mut task = placed(Phase::Admitted, true);
    let again = |state| Task { state, ..placed(Phase::Admitted, true) };
    for round in 1..=4 {
        for event in [TaskEvent::NodeGone { explained: true }, TaskEvent::Ended(Outcome::Evicted)] {
            let step = task.on(event, &restart, at(1_000)).unwrap();
            let After::Keep(next) = step.after else { panic!("settled by an interruption") };
            assert_eq!(next.state, TaskState::Ready);
            task = Task { counters: next.counters, ..again(placed(Phase::Admitted, true).state) };
        }
        let step = task.on(TaskEvent::Ended(Outcome::Exited { code: 1 }), &restart, at(1_000));
        let After::Keep(next) = step.unwrap().after else { panic!("cancelled by a failure") };
        let failed = matches!(next.state, TaskState::Failed(Cause::Failed));
        assert_eq!(failed, round == 4, "the 4th own failure fails the task");
        task = Task { counters: next.counters, ..again(placed(Phase::Admitted, true).state) };
    }
}

#[test]
fn two_unexplained_losses_isolate_and_a_third_is_poison() {
    let restart = Restart::default();
    let lose = |task: Task, explained| {
        let step = task.on(TaskEvent::NodeGone { explained }, &restart, at(1_000)).unwrap();
        let After::Keep(next) = step.after else { panic!() };
        next
    };
    let on_node = |task: Task| Task { state: placed(Phase::Admitted, true).state, ..task };
    let explained = lose(placed(Phase::Admitted, true), true);
    let once = lose(on_node(explained), false);
    assert!(!once.counters.runs_alone());
    let twice = lose(on_node(once), false);
    assert!(twice.counters.runs_alone());
    assert_eq!(lose(on_node(twice), false).state, TaskState::Failed(Cause::Poison));
}
