//! Who leads.

use store::{Store, StoreError};

use crate::on_both;
use crate::support::{Database, at};

const LEASE_MS: u64 = 60_000;

on_both!(
    a_lease_is_one_replicas,
    a_lease_that_ran_out_is_anybodys,
    a_lease_is_renewed_by_its_term_only,
    a_released_lease_is_free,
    the_first_leader_makes_the_head,
);

async fn a_lease_is_one_replicas(database: &Database) {
    let store = &database.store;
    assert_eq!(store.leader().await.unwrap(), None);
    assert_eq!(store.acquire("a", "http://a", LEASE_MS, at(0)).await.unwrap(), Some(1));
    assert_eq!(store.acquire("b", "http://b", LEASE_MS, at(0)).await.unwrap(), None);
    let leader = store.leader().await.unwrap().unwrap();
    assert_eq!((leader.term, leader.url.as_str()), (1, "http://a"));
    assert_eq!(store.acquire("a", "http://a", LEASE_MS, at(0)).await.unwrap(), Some(2));
}

async fn a_lease_that_ran_out_is_anybodys(database: &Database) {
    let store = &database.store;
    assert_eq!(store.acquire("a", "http://a", 0, at(0)).await.unwrap(), Some(1));
    assert_eq!(store.leader().await.unwrap(), None);
    assert_eq!(store.acquire("b", "http://b", LEASE_MS, at(0)).await.unwrap(), Some(2));
    assert!(!store.renew("a", 1, LEASE_MS).await.unwrap());
}

async fn a_lease_is_renewed_by_its_term_only(database: &Database) {
    let store = &database.store;
    assert_eq!(store.acquire("a", "http://a", 0, at(0)).await.unwrap(), Some(1));
    assert!(!store.renew("a", 2, LEASE_MS).await.unwrap());
    assert!(!store.renew("b", 1, LEASE_MS).await.unwrap());
    assert!(store.renew("a", 1, LEASE_MS).await.unwrap());
    assert_eq!(store.acquire("b", "http://b", LEASE_MS, at(0)).await.unwrap(), None);
}

async fn a_released_lease_is_free(database: &Database) {
    let store = &database.store;
    assert_eq!(store.acquire("a", "http://a", LEASE_MS, at(0)).await.unwrap(), Some(1));
    store.release("a", 2).await.unwrap();
    assert_eq!(store.acquire("b", "http://b", LEASE_MS, at(0)).await.unwrap(), None);
    store.release("a", 1).await.unwrap();
    assert_eq!(store.acquire("b", "http://b", LEASE_MS, at(0)).await.unwrap(), Some(2));
}

async fn the_first_leader_makes_the_head(database: &Database) {
    let store = &database.store;
    assert!(matches!(store.load().await, Err(StoreError::Corrupt(_))));
    store.acquire("a", "http://a", LEASE_MS, at(77)).await.unwrap();
    let first = store.load().await.unwrap().head;
    assert_eq!((first.term, first.seq, first.now, first.format), (1, 0, at(77), model::FORMAT));
    store.acquire("a", "http://a", LEASE_MS, at(99)).await.unwrap();
    assert_eq!(store.load().await.unwrap().head, model::Head { term: 2, ..first });
}

#[tokio::test]
async fn a_second_process_is_refused_the_file() {
    let database = Database::sqlite().await;
    let refused = Store::open(&database.url).await.unwrap_err();
    assert!(matches!(refused, StoreError::InUse { .. }));
    assert!(refused.to_string().contains("is in use by another process"), "{refused}");
    database.store.close().await;
    let Database { url, store, .. } = &database;
    assert!(Store::open(url).await.is_err(), "closing connections gives the file up too early");
    assert!(store.is_single());
}

#[tokio::test]
async fn a_file_is_opened_again_after_its_process() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("ebb.db").display());
    let store = Store::open(&url).await.unwrap();
    store.acquire("a", "http://a", LEASE_MS, at(0)).await.unwrap();
    store.close().await;
    drop(store);
    let store = Store::open(&url).await.unwrap();
    assert_eq!(store.leader().await.unwrap().map(|leader| leader.term), Some(1));
}

#[tokio::test]
async fn other_urls_are_refused() {
    for url in ["", "ebb.db", "sqlite:", "sqlite::memory:", "mysql://x/y", "postgres://x:port/y"] {
        assert!(matches!(Store::open(url).await, Err(StoreError::Url(_))), "{url}");
    }
}
