//! Items that were uploaded.

use std::sync::Arc;

use model::{Change, GroupSpec, ItemsKey, JobSpec, JobStatus};
use store::{ItemBlock, Keep};

use crate::changes::submit;
use crate::commits::settled;
use crate::on_both;
use crate::support::{Database, at, job, job_id};

on_both!(
    items_come_back_by_index,
    items_exist_once_they_are_finished,
    large_uploads_are_written_in_parts,
    unused_items_are_trimmed,
    items_of_a_job_stay_as_long_as_it,
);

const HOUR_MS: i64 = 3_600_000;

fn key(number: u64) -> ItemsKey {
    ItemsKey::from_number(number)
}

fn namespace() -> model::Namespace {
    "default".parse().unwrap()
}

async fn upload(database: &Database, number: u64, texts: &[String], now: i64) {
    let mut writer = database.store.write_items(key(number), at(now));
    for text in texts {
        writer.push(text.as_str().into()).await.unwrap();
    }
    writer.finish(&namespace()).await.unwrap();
}

/// Text that does not compress.
fn noise(number: u64, bytes: usize) -> String {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::with_capacity(bytes);
    while text.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push(char::from(b'!' + u8::try_from(state % 90).unwrap()));
    }
    text
}

async fn items_come_back_by_index(database: &Database) {
    let texts: Vec<String> = (0..20_000).map(|number| format!("item {number} ü\"\n\0")).collect();
    let mut writer = database.store.write_items(key(1), at(50));
    for text in &texts {
        writer.push(text.as_str().into()).await.unwrap();
    }
    let bytes: usize = texts.iter().map(String::len).sum();
    assert_eq!((writer.count(), writer.size_bytes()), (20_000, bytes as u64));
    let record = writer.finish(&namespace()).await.unwrap();
    assert_eq!((record.count, record.size_bytes), (20_000, bytes as u64));
    let found = database.store.items(&[key(1), key(2)], at(60)).await.unwrap();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [(key(1), record)]);
    let block = database.store.item_block(key(1), 12_345).await.unwrap().unwrap();
    assert!(block.first <= 12_345 && block.texts.len() > 1_000 && block.texts.len() < 5_000);
    for index in [0, 1, 4_097, 12_345, 19_999] {
        let text = database.store.item(key(1), index).await.unwrap();
        assert_eq!(text.as_deref(), texts.get(index as usize).map(String::as_str));
    }
    for (number, index) in [(1, 20_000), (1, u32::MAX), (2, 0)] {
        assert_eq!(database.store.item(key(number), index).await.unwrap(), None);
    }
}

async fn items_exist_once_they_are_finished(database: &Database) {
    let store = &database.store;
    let large = noise(1, 3 * 1024 * 1024);
    for number in [1, 2] {
        let mut writer = store.write_items(key(number), at(0));
        for part in [&large, &large, "end"] {
            writer.push(part.into()).await.unwrap();
        }
        // Its first blocks are in the table.
        assert_eq!(store.item(key(number), 0).await.unwrap(), None);
        assert!(store.items(&[key(number)], at(0)).await.unwrap().is_empty());
        if number == 2 {
            writer.abandon().await.unwrap();
        }
    }
    // The one that broke is removed a day later; nothing is left of the other one.
    let trimmed = store.trim(&Keep::default(), at(24 * HOUR_MS)).await.unwrap();
    assert_eq!((trimmed.blocks, trimmed.more), (0, false));
    let trimmed = store.trim(&Keep::default(), at(24 * HOUR_MS + 1)).await.unwrap();
    assert!((1..=2).contains(&trimmed.blocks) && !trimmed.more, "{trimmed:?}");
    let trimmed = store.trim(&Keep::default(), at(48 * HOUR_MS)).await.unwrap();
    assert_eq!(trimmed.blocks, 0);
    // Its key is free again.
    upload(database, 1, &["again".to_owned()], 0).await;
    assert_eq!(store.item(key(1), 0).await.unwrap().as_deref(), Some("again"));
}

async fn large_uploads_are_written_in_parts(database: &Database) {
    let texts: Vec<String> = (0..40).map(|number| noise(number, 100_000)).collect();
    let trips = database.store.round_trips();
    upload(database, 1, &texts, 0).await;
    assert!((4..10).contains(&(database.store.round_trips() - trips)));
    for index in [0, 17, 39] {
        let text = database.store.item(key(1), index).await.unwrap().unwrap();
        assert_eq!(&*text, texts[index as usize].as_str());
    }
    let one = ItemBlock { first: 3, texts: vec!["a".into()] };
    assert_eq!((one.get(2), one.get(3).map(|text| &**text), one.get(4)), (None, Some("a"), None));
}

async fn unused_items_are_trimmed(database: &Database) {
    let store = &database.store;
    let keep = Keep { items_ms: 24 * HOUR_MS.unsigned_abs(), ..Keep::default() };
    let texts: Vec<String> = (0..150).map(|number| noise(number, 70_000)).collect();
    upload(database, 1, &texts, 0).await;
    upload(database, 2, &["b".to_owned()], 0).await;
    // A use is noted to the hour.
    let used = 2 * HOUR_MS;
    assert_eq!(store.items(&[key(2)], at(used)).await.unwrap().len(), 1);
    let trimmed = store.trim(&keep, at(25 * HOUR_MS)).await.unwrap();
    assert_eq!(trimmed.items, 0);
    let trimmed = store.trim(&keep, at(25 * HOUR_MS + 1)).await.unwrap();
    assert_eq!((trimmed.items, trimmed.blocks, trimmed.more), (1, 100, true));
    assert_eq!(store.items(&[key(1)], at(used)).await.unwrap().len(), 0);
    assert_eq!(store.item(key(1), 149).await.unwrap(), None, "all of it is gone at once");
    let trimmed = store.trim(&keep, at(25 * HOUR_MS + 1)).await.unwrap();
    assert_eq!((trimmed.items, trimmed.blocks, trimmed.more), (0, 50, false));
    assert_eq!(store.item(key(2), 0).await.unwrap().as_deref(), Some("b"));
    let trimmed = store.trim(&keep, at(27 * HOUR_MS + 1)).await.unwrap();
    assert_eq!((trimmed.items, trimmed.blocks), (1, 1));
}

async fn items_of_a_job_stay_as_long_as_it(database: &Database) {
    let mut leading = database.lead().await;
    let mut spec = JobSpec::clone(&job("reads", &[1, 1, 1]));
    for group in &mut spec.groups[..2] {
        *group = Arc::new(GroupSpec { items_key: Some(key(1)), ..GroupSpec::clone(group) });
    }
    upload(database, 1, &["a".to_owned()], 0).await;
    upload(database, 2, &["b".to_owned()], 0).await;
    spec.groups[2] =
        Arc::new(GroupSpec { items_key: Some(key(2)), ..GroupSpec::clone(&spec.groups[2]) });
    let spec = Arc::new(spec);
    leading.commit(&[submit(1, spec.clone(), false)]).await;
    let posted = store::InboxMessage::Submit { job: job_id(2), spec: spec.clone(), at: at(7) };
    leading.store.post(&[posted], None).await.unwrap();
    let late = at(1_000 * HOUR_MS);
    let trim = || async { database.store.trim(&Keep::default(), late).await.unwrap().items };
    assert_eq!(trim().await, 0);
    let taken_in = Change::JobTakenIn { job: job_id(1), spec, submitted: at(5) };
    leading.commit(&[taken_in]).await;
    let done = settled(&leading, 1, JobStatus::Succeeded);
    leading.commit(&[done]).await;
    assert_eq!(trim().await, 0, "it may be retried");
    while leading.store.delete_jobs(&[job_id(1)]).await.unwrap().more {}
    assert_eq!(trim().await, 0, "the other one reads them");
    assert_eq!(leading.store.delete_jobs(&[job_id(2)]).await.unwrap().jobs, 0, "unsettled");
    assert_eq!(leading.store.item(key(1), 0).await.unwrap().as_deref(), Some("a"));
}
