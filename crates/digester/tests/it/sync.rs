//! The sync loop against a manager that does what it is told.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::fake::{self, Manager, Node, attempt, gated};
use api::problem::{Problem, ProblemKind};
use api::sync::{Stream, TailRequest};
use model::{NodeNotice, NoticeKind, Outcome, Transition};
use serde_json::json;

fn quick() -> serde_json::Value {
    json!({"command": ["true"], "resources": {"memory": "1MiB"}})
}

fn ends(book: &fake::Book) -> usize {
    book.transitions.iter().filter(|one| matches!(one, Transition::Ended { .. })).count()
}

#[tokio::test]
async fn repeated_commands_do_nothing_twice() {
    let manager = Manager::start().await;
    let _node = Node::start(&manager, &[]);
    let gates = tempfile::tempdir().unwrap();
    // The book repeats all assignments in each answer, whatever was answered.
    for index in 0..5 {
        manager.assign(0, index..index + 1, gated(gates.path(), "exit 0"));
        manager.started(attempt(0, index)).await;
    }
    std::fs::write(gates.path().join("go"), "").unwrap();
    manager.until("five ends", |book| (ends(book) == 5).then_some(())).await;
    manager.set(|_| ());
    manager.assign(1, 0..1, quick());
    manager.ended(attempt(1, 0)).await;
    let begun = std::fs::read_to_string(gates.path().join("begun")).unwrap();
    assert_eq!(begun.lines().count(), 5);
    assert_eq!(ends(&manager.book()), 6);
}

#[tokio::test]
async fn polls_are_numbered_and_say_which_answers_were_read() {
    let manager = Manager::start().await;
    let _node = Node::start(&manager, &[]);
    manager.assign(0, 0..50, quick());
    manager.until("fifty ends", |book| (ends(book) == 50).then_some(())).await;
    let book = manager.book();
    let numbers: BTreeSet<u64> = book.polls.iter().map(|poll| poll.poll).collect();
    assert_eq!(numbers.len(), book.polls.len(), "no number is used twice");
    assert!(book.polls.iter().all(|poll| poll.answered < poll.poll));
    let inventories = book.polls.iter().filter(|poll| poll.inventory.is_some()).count();
    assert!(inventories <= 2, "once the first answer was read there is no more inventory");
    assert_eq!(book.polls[0].poll, 1);
    assert!(book.polls[0].inventory.is_some());
}

#[tokio::test]
async fn lower_terms_are_ignored_and_a_higher_one_gets_the_inventory() {
    let manager = Manager::start().await;
    manager.set(|book| book.term = 5);
    let _node = Node::start(&manager, &[]);
    let gates = tempfile::tempdir().unwrap();
    manager.assign(0, 0..1, gated(gates.path(), "exit 0"));
    manager.started(attempt(0, 0)).await;
    manager
        .until("a poll after the start", |book| {
            book.polls.last().is_some_and(|poll| poll.transitions.is_empty()).then_some(())
        })
        .await;
    // A leader of the past wants it stopped, and gives work.
    manager.set(|book| {
        book.term = 4;
        book.cancel.push(attempt(0, 0));
    });
    manager.assign(1, 0..1, quick());
    let polls = manager.book().polls.len();
    manager.until("three more polls", |book| (book.polls.len() > polls + 3).then_some(())).await;
    assert_eq!(ends(&manager.book()), 0);
    manager.set(|book| {
        book.term = 6;
        book.cancel.clear();
    });
    manager.ended(attempt(1, 0)).await;
    let inventory = manager
        .until("the inventory", |book| {
            let poll = book.polls.iter().find(|poll| poll.term_seen == 6)?;
            Some(poll.inventory.clone())
        })
        .await;
    assert!(inventory.unwrap().iter().any(|item| item.attempt == attempt(0, 0) && item.started));
    std::fs::write(gates.path().join("go"), "").unwrap();
    assert_eq!(manager.outcome(attempt(0, 0)).await, Outcome::Exited { code: 0 });
}

#[tokio::test]
async fn what_is_not_acknowledged_is_said_again() {
    let manager = Manager::start().await;
    manager.set(|book| book.forgetful = true);
    let mut node = Node::start(&manager, &[]);
    manager.assign(0, 0..3, quick());
    manager.until("three ends", |book| (ends(book) == 3).then_some(())).await;
    node.kill_digester();
    let polls = manager.book().polls.len();
    node.start_digester();
    let again = manager
        .until("all is said again", |book| {
            let poll = book.polls[polls..].iter().find(|poll| !poll.transitions.is_empty())?;
            Some((poll.spool_offset, poll.transitions.clone()))
        })
        .await;
    assert_eq!(again.0, 0);
    assert_eq!(again.1[..], manager.book().transitions[..again.1.len()]);
    manager.set(|book| book.forgetful = false);
    let total = u64::try_from(manager.book().transitions.len()).unwrap();
    manager
        .until("a poll past all", |book| (book.polls.last()?.spool_offset == total).then_some(()))
        .await;
    assert_eq!(ends(&manager.book()), 3);
}

#[tokio::test]
async fn it_follows_the_leader_and_waits_for_one() {
    let (follower, leader) = (Manager::start().await, Manager::start().await);
    follower.set(|book| book.problem = Some(fake::not_leader(&leader.url)));
    let _node = Node::start(&follower, &[]);
    leader.assign(0, 0..1, quick());
    leader.ended(attempt(0, 0)).await;
    // The leader knows it no longer: it joins again.
    leader.set(|book| book.problem = Some(Problem::new(ProblemKind::Unauthorized, "who?")));
    leader.until("a second join", |book| (book.joins.len() > 1).then_some(())).await;
    leader.set(|book| book.problem = None);
    leader.assign(0, 1..2, quick());
    leader.ended(attempt(0, 1)).await;
}

#[tokio::test]
async fn a_refused_join_is_final() {
    let manager = Manager::start().await;
    manager.set(|book| book.problem = Some(Problem::new(ProblemKind::Forbidden, "used up")));
    let mut node = Node::start(&manager, &[]);
    let status = tokio::task::spawn_blocking(move || node.wait()).await.unwrap();
    assert!(!status.success());
}

#[tokio::test]
async fn a_notice_is_told_and_carried_out_at_once() {
    let manager = Manager::start().await;
    let files = tempfile::tempdir().unwrap();
    let notice = files.path().join("notice");
    let flags = ["--regulator", "slots:2", "--notice-file", notice.to_str().unwrap()];
    let node = Node::start(&manager, &flags);
    let gates = tempfile::tempdir().unwrap();
    // One can finish once it has seen the deadline, one cannot, one has not begun.
    let until_told =
        "while [ ! -e $EBB_DEADLINE_FILE ]; do sleep 0.02; done; cat $EBB_DEADLINE_FILE";
    manager.assign(0, 0..1, json!({"command": ["sh", "-c", until_told]}));
    manager.assign(1, 0..1, gated(gates.path(), "exit 0"));
    manager.started(attempt(0, 0)).await;
    manager.started(attempt(1, 0)).await;
    manager.assign_as(2, 0..1, quick(), true);
    let next = files.path().join("next");
    std::fs::write(&next, r#"{"kind":"interruption","remaining_ms":1200}"#).unwrap();
    std::fs::rename(&next, &notice).unwrap();
    let told =
        manager.until("the notice", |book| book.polls.iter().find_map(|poll| poll.notice)).await;
    assert_eq!(told.kind, NoticeKind::Interruption);
    assert!((800..=1200).contains(&told.remaining_ms), "{told:?}");
    assert_eq!(manager.outcome(attempt(2, 0)).await, Outcome::Returned);
    let finished = manager.ended(attempt(0, 0)).await;
    assert_eq!(finished.outcome, Outcome::Exited { code: 0 });
    let deadline: model::Timestamp = finished.stdout.text.unwrap().parse().unwrap();
    assert!(deadline.as_ms() > 1_700_000_000_000);
    assert_eq!(manager.outcome(attempt(1, 0)).await, Outcome::Evicted);
    // Nothing starts any more.
    manager.assign(3, 0..1, quick());
    assert_eq!(manager.outcome(attempt(3, 0)).await, Outcome::Returned);
    assert!(node.task_pids().is_empty());
}

#[tokio::test]
async fn a_notice_of_the_manager_and_a_drain() {
    let manager = Manager::start().await;
    let _node = Node::start(&manager, &["--regulator", "slots:1"]);
    let gates = tempfile::tempdir().unwrap();
    manager.assign(0, 0..1, gated(gates.path(), "exit 0"));
    manager.started(attempt(0, 0)).await;
    manager.assign_as(1, 0..2, quick(), true);
    manager.set(|book| book.retract.push(attempt(1, 0)));
    assert_eq!(manager.outcome(attempt(1, 0)).await, Outcome::Returned);
    manager.set(|book| book.drain = true);
    assert_eq!(manager.outcome(attempt(1, 1)).await, Outcome::Returned);
    manager.set(|book| book.drain = false);
    let notice = NodeNotice { kind: NoticeKind::Interruption, remaining_ms: 400 };
    manager.set(|book| book.notices.push(notice));
    assert_eq!(manager.outcome(attempt(0, 0)).await, Outcome::Evicted);
    assert!(manager.book().polls.iter().all(|poll| poll.notice.is_none()));
}

#[tokio::test]
async fn a_reader_gets_the_output_while_it_is_written() {
    let manager = Manager::start().await;
    let _node = Node::start(&manager, &[]);
    let gates = tempfile::tempdir().unwrap();
    let mut spec = gated(gates.path(), "echo last");
    spec["command"][2] = json!(format!("echo first; {}", spec["command"][2].as_str().unwrap()));
    manager.assign(0, 0..1, spec);
    manager.started(attempt(0, 0)).await;
    let request = TailRequest { attempt: attempt(0, 0), stream: Stream::Stdout, offset: 2 };
    manager.set(|book| book.tail.push(request));
    let chunk =
        |offset: u64| move |book: &fake::Book| book.tailed.get(&("stdout".into(), offset)).cloned();
    assert_eq!(manager.until("the first chunk", chunk(2)).await, b"rst\n");
    std::fs::write(gates.path().join("go"), "").unwrap();
    assert_eq!(manager.until("the last chunk", chunk(6)).await, b"last\n");
}

#[tokio::test]
async fn a_manager_that_comes_back_hears_what_happened() {
    let manager = Manager::start().await;
    let _node = Node::start(&manager, &[]);
    let gates = tempfile::tempdir().unwrap();
    manager.assign(0, 0..1, gated(gates.path(), "exit 4"));
    manager.started(attempt(0, 0)).await;
    let away = Problem::new(ProblemKind::Overloaded, "later");
    manager.set(|book| book.problem = Some(away));
    std::fs::write(gates.path().join("go"), "").unwrap();
    // Even a report that was refused was heard; the digester only knows that it was not acknowledged.
    manager.until("polls go on", |book| (book.polls.len() > 4).then_some(())).await;
    manager.set(|book| book.problem = None);
    assert_eq!(manager.outcome(attempt(0, 0)).await, Outcome::Exited { code: 4 });
    tokio::time::timeout(
        Duration::from_secs(5),
        manager
            .until("an idle poll", |book| book.polls.last()?.transitions.is_empty().then_some(())),
    )
    .await
    .unwrap();
}
