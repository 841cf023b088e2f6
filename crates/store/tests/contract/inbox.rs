//! What replicas hand to the leader, and tokens.

use model::{Change, JobStatus, NodeId};
use store::{
    Committed, IdempotencyKey, InboxMessage, JobFilter, Keep, Posted, StoreError, Token, TokenKind,
};

use crate::on_both;
use crate::support::{Database, at, job, job_id, labelled, task_id};

on_both!(
    a_post_is_seen_at_once_and_becomes_a_change,
    a_repeated_post_is_answered_alike,
    answers_of_the_leader_are_kept,
    a_taken_job_id_is_told,
    tokens_are_kept_and_used_up,
    what_is_old_is_trimmed,
);

const DAY_MS: i64 = 24 * 3_600_000;

fn submit(number: u64) -> InboxMessage {
    let spec = labelled("posted", &[2], &[("team", "blue")]);
    InboxMessage::Submit { job: job_id(number), spec, at: at(50) }
}

fn key(body: u8, answer: &str) -> IdempotencyKey {
    IdempotencyKey {
        namespace: "default".parse().unwrap(),
        key: "k".into(),
        body_hash: [body; 32],
        answer: answer.into(),
    }
}

async fn a_post_is_seen_at_once_and_becomes_a_change(database: &Database) {
    let mut leading = database.lead().await;
    let messages = [
        submit(7),
        InboxMessage::StopJob { job: job_id(8) },
        InboxMessage::StopTask { task: task_id(9, 1, 2) },
    ];
    assert_eq!(database.store.post(&messages, None).await.unwrap(), Posted::Accepted);
    let jobs = database.store.jobs(&JobFilter { limit: 10, ..JobFilter::default() }).await.unwrap();
    assert_eq!(jobs.iter().map(|job| job.status).collect::<Vec<_>>(), [JobStatus::Submitted]);
    leading.expect_loaded().await;
    let rows = database.store.inbox(10).await.unwrap();
    let found: Vec<InboxMessage> = rows.iter().map(|row| row.message.clone()).collect();
    assert_eq!(found, messages);
    assert_eq!(database.store.inbox(2).await.unwrap().len(), 2);
    let InboxMessage::Submit { job, spec, at } = found[0].clone() else { panic!("{found:?}") };
    let done = Change::InboxDone { rows: rows.iter().map(|row| row.row).collect() };
    leading.commit(&[Change::JobSubmitted { job, spec, at, taken_in: false }, done]).await;
    assert_eq!(database.store.inbox(10).await.unwrap(), []);
    let labels = vec![("team".to_owned(), "blue".to_owned())];
    let filter = JobFilter { labels, limit: 10, ..JobFilter::default() };
    assert_eq!(database.store.jobs(&filter).await.unwrap().len(), 1);
}

async fn a_repeated_post_is_answered_alike(database: &Database) {
    let store = &database.store;
    let post = |number, key| async move {
        store.post_at(&[submit(number)], Some(&key), at(1_000)).await.unwrap()
    };
    assert_eq!(post(1, key(1, "first")).await, Posted::Accepted);
    assert_eq!(post(2, key(1, "second")).await, Posted::Replayed("first".into()));
    assert_eq!(post(3, key(2, "third")).await, Posted::KeyReused);
    assert_eq!(store.inbox(10).await.unwrap().len(), 1);
    let other = IdempotencyKey { namespace: "other".parse().unwrap(), ..key(2, "fourth") };
    assert_eq!(post(4, other).await, Posted::Accepted);
    let later = at(1_001 + DAY_MS);
    let next_day = store.post_at(&[submit(5)], Some(&key(2, "fifth")), later).await.unwrap();
    assert_eq!(next_day, Posted::Accepted);
}

async fn answers_of_the_leader_are_kept(database: &Database) {
    let mut leading = database.lead().await;
    let spec = job("direct", &[1]);
    let change = Change::JobSubmitted { job: job_id(1), spec, at: at(5), taken_in: true };
    let mut now = key(1, "created");
    now.key = "direct".into();
    assert_eq!(database.store.replayed(&now).await.unwrap(), None);
    let at_ms = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let when = at(i64::try_from(at_ms).unwrap());
    let batch = leading.batch(&[change]).with_answers(&[now.clone()], when);
    assert!(matches!(database.store.commit(&batch).await, Committed::Committed));
    let replayed = database.store.replayed(&now).await.unwrap();
    assert_eq!(replayed, Some(Posted::Replayed("created".into())));
    now.body_hash = [9; 32];
    assert_eq!(database.store.replayed(&now).await.unwrap(), Some(Posted::KeyReused));
}

async fn a_taken_job_id_is_told(database: &Database) {
    let store = &database.store;
    assert_eq!(store.post(&[submit(1)], None).await.unwrap(), Posted::Accepted);
    let taken = store.post(&[submit(2), submit(1)], Some(&key(1, ""))).await;
    assert!(matches!(taken, Err(StoreError::JobIdTaken(_))), "{taken:?}");
    assert_eq!(store.inbox(10).await.unwrap().len(), 1);
    assert_eq!(store.post(&[submit(2)], Some(&key(1, ""))).await.unwrap(), Posted::Accepted);
}

async fn tokens_are_kept_and_used_up(database: &Database) {
    let store = &database.store;
    let token = |number: u8, kind, uses_left, expires| Token {
        hash: [number; 32],
        kind,
        name: format!("token {number}"),
        uses_left,
        expires,
        created: at(i64::from(number)),
    };
    let tokens = [
        token(1, TokenKind::User, None, None),
        token(2, TokenKind::WorkerJoin, Some(2), Some(at(500))),
        token(3, TokenKind::Node(NodeId::from_number(77)), None, Some(at(500))),
        token(4, TokenKind::WorkerJoin, None, None),
    ];
    for token in &tokens {
        store.put_token(token).await.unwrap();
    }
    assert_eq!(store.tokens().await.unwrap(), tokens);
    assert!(!store.use_join_token(&[1; 32], at(0)).await.unwrap(), "not for joining");
    assert!(!store.use_join_token(&[2; 32], at(500)).await.unwrap(), "expired");
    assert!(!store.use_join_token(&[9; 32], at(0)).await.unwrap(), "unknown");
    for left in [true, true, false] {
        assert_eq!(store.use_join_token(&[2; 32], at(0)).await.unwrap(), left);
    }
    for _ in 0..3 {
        assert!(store.use_join_token(&[4; 32], at(i64::MAX)).await.unwrap());
    }
    assert!(store.delete_token(&[1; 32]).await.unwrap());
    assert!(!store.delete_token(&[1; 32]).await.unwrap());
}

async fn what_is_old_is_trimmed(database: &Database) {
    let mut leading = database.lead().await;
    for number in 1..=5 {
        let spec = job("trimmed", &[1]);
        let change = Change::JobSubmitted { job: job_id(number), spec, at: at(5), taken_in: true };
        let batch = leading.batch(&[change]).with_answers(&[key(1, "")], at(0));
        assert!(matches!(database.store.commit(&batch).await, Committed::Committed));
    }
    let now = leading.world.durable.head.now;
    // The third of them, and the answer, by the clock of a day later.
    let later = now.plus_ms(DAY_MS - 20);
    let trimmed = database.store.trim(&Keep::default(), later).await.unwrap();
    assert_eq!((trimmed.log, trimmed.answers, trimmed.more), (2, 1, false));
    let left: Vec<u64> =
        database.store.log(0, 10).await.unwrap().iter().map(|entry| entry.seq).collect();
    assert_eq!(left, [3, 4, 5]);
    database.store.trim(&Keep::default(), now.plus_ms(DAY_MS + 1)).await.unwrap();
    assert_eq!(database.store.log(0, 10).await.unwrap().len(), 1, "the newest is kept");
    leading.expect_loaded().await;
}

#[tokio::test]
async fn a_full_inbox_refuses_on_sqlite() {
    let mut database = Database::sqlite().await;
    database.store = database.store.with_inbox_rows(3);
    a_full_inbox_refuses(&database).await;
}

#[tokio::test]
async fn a_full_inbox_refuses_on_postgres() {
    let mut database = Database::postgres().await;
    database.store = database.store.with_inbox_rows(3);
    a_full_inbox_refuses(&database).await;
    database.drop().await;
}

async fn a_full_inbox_refuses(database: &Database) {
    let mut leading = database.lead().await;
    let store = &database.store;
    let stop = |number| InboxMessage::StopJob { job: job_id(number) };
    let first = key(1, "first");
    assert_eq!(store.post(&[stop(1), stop(2)], Some(&first)).await.unwrap(), Posted::Accepted);
    // A burst may go above it: what is there already counts.
    store.post(&[submit(3), stop(4)], None).await.unwrap();
    let refused = store.post(&[submit(5)], Some(&key(1, "other"))).await.unwrap();
    assert_eq!(refused, Posted::Replayed("first".into()), "what was accepted is said again");
    let mut new = key(2, "new");
    new.key = "k2".into();
    let refused = store.post(&[submit(5)], Some(&new)).await;
    assert!(matches!(refused, Err(StoreError::InboxFull { rows: 3 })), "{refused:?}");
    let rows: Vec<i64> = store.inbox(10).await.unwrap().iter().map(|row| row.row).collect();
    assert_eq!(rows.len(), 4);
    // The span of numbers is still long when there is room again.
    leading.commit(&[Change::InboxDone { rows: rows[1..3].to_vec() }]).await;
    assert_eq!(store.post(&[submit(5)], Some(&new)).await.unwrap(), Posted::Accepted);
    assert!(matches!(store.post(&[stop(6)], None).await, Err(StoreError::InboxFull { .. })));
}
