//! `ebb demo`: a real job through real interruptions, checked by its own summary.

use std::path::PathBuf;
use std::time::Duration;

use api::history::{self, Record};
use nix::sys::signal::Signal;
use serde_json::Value;
use system_tests::{Database, LIMIT, Scratch, until, until_within};

/// A debug build does the heavy tasks' compression slowly.
const DEMO: Duration = Duration::from_secs(150);

#[tokio::test]
async fn the_demo_settles_everything_and_tells_so() {
    let scratch = Scratch::new(Database::Sqlite);
    let demo = scratch.start(&["demo", "--tasks", "60", "--output", "json"]).ended(DEMO).await;
    assert_eq!(demo.code, Some(0), "{demo:#?}");
    let told = demo.json();
    let number = |key: &str| {
        told[key].as_u64().unwrap_or_else(|| panic!("`{key}` is no number in {told:#}"))
    };
    for key in ["tasks", "settled", "succeeded"] {
        assert_eq!(number(key), 60, "{key} in {told:#}");
    }
    for key in ["failed", "duplicate_settlements", "instances_leaked"] {
        assert_eq!(number(key), 0, "{key} in {told:#}");
    }
    assert!(number("interrupted") >= 1 && number("node_lost") >= 1, "{told:#}");
    assert!(number("attempts") >= 62 && number("instances_launched") >= 3, "{told:#}");
    assert!(number("cost_micro_usd") > 0, "{told:#}");
    assert!(number("on_demand_micro_usd") > number("cost_micro_usd"), "{told:#}");
    assert!(number("wall_ms") > 0, "{told:#}");
    assert!(told["verified"] == Value::Bool(true) || number("verified") == 60, "{told:#}");
    nothing_is_left(&scratch).await;
}

#[tokio::test]
async fn the_demo_writes_down_what_it_saw() {
    let scratch = Scratch::new(Database::Sqlite);
    let demo = scratch.start(&["demo", "--tasks", "40", "--keep", "--output", "json"]);
    let folder = until_within(DEMO, "the demo tells that it is done", async || {
        demo.stderr().contains("EBB_DATA_DIR=").then(|| demo_folder(&scratch))
    })
    .await;
    let records = history::read(&folder.join("history.jsonl")).expect("a history");
    assert_eq!(history::check(&records), []);
    let count = |is: fn(&Record) -> bool| records.iter().filter(|record| is(record)).count();
    assert_eq!(count(|record| matches!(record, Record::Accepted(_) | Record::Job(_))), 2);
    assert_eq!(count(|record| matches!(record, Record::Task(_))), 40);
    assert!(count(|record| matches!(record, Record::Ran(_))) >= 40);
    assert!(count(|record| matches!(record, Record::Event(_))) > 120);
    // The same without what one task wrote: the checker is not blind to this history.
    let mut torn = records.clone();
    let last = torn.iter().rposition(|record| matches!(record, Record::Ran(_))).expect("runs");
    torn.remove(last);
    assert_eq!(history::check(&torn).len(), 1);
    demo.signal(Signal::SIGINT);
    let demo = demo.ended(LIMIT).await;
    assert_eq!(demo.code, Some(0), "{demo:#?}");
    nothing_is_left(&scratch).await;
}

fn demo_folder(scratch: &Scratch) -> PathBuf {
    let entries = std::fs::read_dir(scratch.path().join("tmp")).expect("a folder");
    let mut paths = entries.flatten().map(|entry| entry.path());
    paths.find(|path| path.join("history.jsonl").exists()).expect("the demo's folder")
}

#[tokio::test]
async fn an_interrupted_demo_leaves_no_process() {
    let scratch = Scratch::new(Database::Sqlite);
    let mut demo = scratch.start(&["demo", "--tasks", "2000"]);
    until("machines run", async || {
        assert!(demo.runs(), "{}", demo.stderr());
        let workers = scratch.processes().into_iter().filter(|process| process.has_word("worker"));
        (workers.count() >= 2).then_some(())
    })
    .await;
    demo.signal(Signal::SIGINT);
    let demo = demo.ended(LIMIT).await;
    assert_eq!(demo.code, Some(128 + 2), "{demo:#?}");
    nothing_is_left(&scratch).await;
}

/// No process of this place, nor of a machine that its market started: each carries the place's
/// path in its environment or its words.
async fn nothing_is_left(scratch: &Scratch) {
    until("nothing is left", async || scratch.processes().is_empty().then_some(())).await;
}
