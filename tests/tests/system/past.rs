//! A cluster's own past, exported and run again under other policies; and plans before it.

use serde_json::{Value, json};
use system_tests::{Database, Finished, Scratch};

/// Three tasks of a job on the market's machines, to their end.
fn document() -> Value {
    json!({"name": "naps", "deadline": "1h", "group": [{
        "name": "nap", "count": 3, "command": ["sleep", "0.5"], "expect": "1s",
        "resources": {"cpu": 1, "memory": "64MiB"},
    }]})
}

fn right(finished: Finished) -> Finished {
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    finished
}

fn micro_usd(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("no money: {value}"))
}

#[tokio::test]
async fn the_past_of_a_market_is_run_again_and_is_of_one_kind() {
    let scratch = Scratch::new(Database::Sqlite);
    let manager = scratch.server(&["manager", "--cloud", "market"]).await;
    let url = manager.rest().url().to_owned();
    let file = |name: &str| scratch.path().join(name).display().to_string();
    let job = file("job.json");
    std::fs::write(&job, document().to_string()).expect("written");

    let plan = right(scratch.run(&["plan", &job, "--url", &url, "--output", "json"]).await).json();
    assert_eq!((&plan["tasks"], &plan["why_not"]), (&json!(3), &json!([])), "{plan}");
    assert_eq!(plan["deadline_chance_ppm"], json!(1_000_000), "{plan}");
    let planned = micro_usd(&plan["cost_micro_usd"]["median"]);

    let id = manager.rest().submit(&document()).await;
    let detail = manager.rest().settled(&id).await;
    assert_eq!(detail.deadline_met, Some(true), "{detail:?}");

    let export = file("export.json");
    right(scratch.run(&["export", "--url", &url, "--to-file", &export]).await);
    let text = std::fs::read_to_string(&export).expect("the export");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let seen = &document["seen"];
    assert_eq!(seen["jobs"][0]["status"], "succeeded", "{seen}");
    let paid = micro_usd(&seen["cost_micro_usd"]) + micro_usd(&seen["open_micro_usd"]);
    assert!(paid > 0, "{seen}");

    let policies = ["--policy", "ebbtide,no-packing", "--output", "json"];
    let simulate = [&["simulate", "--from-export", &export][..], &policies].concat();
    let told = right(scratch.run(&simulate).await);
    assert!(told.stderr.contains("seen: "), "{told:#?}");
    let results = told.json();
    assert_eq!(results.as_array().map(Vec::len), Some(2), "{results}");
    for result in results.as_array().expect("two") {
        for job in result["jobs"].as_array().expect("jobs") {
            assert!(job["finished_s"].is_number(), "{result}");
            assert_eq!(job["deadline_met"], true, "{result}");
        }
        // Seconds of work, and minutes that are billed: of one kind is what can be said.
        let cost = micro_usd(&result["cost_micro_usd"]);
        assert!(cost > 0 && cost < 10 * paid && paid < 10 * cost, "{cost}, {paid} seen: {result}");
        assert!(planned < 10 * paid && paid < 10 * planned, "{planned} planned, {paid} seen");
    }
    manager.kill();
}

#[tokio::test]
async fn the_past_of_static_nodes_costs_nothing_again() {
    let scratch = Scratch::new(Database::Sqlite);
    let up = scratch.server(&["up"]).await;
    let id = up.rest().submit(&document()).await;
    up.rest().settled(&id).await;
    let url = up.rest().url().to_owned();
    let export = scratch.path().join("export.json").display().to_string();
    let told = right(scratch.run(&["export", "--url", &url, "--from", "1h"]).await);
    std::fs::write(&export, told.stdout).expect("written");
    let simulate =
        ["simulate", "--from-export", &export, "--policy", "ebbtide", "--output", "json"];
    let result = right(scratch.run(&simulate).await).json();
    assert_eq!(result["cost_micro_usd"], json!(0), "{result}");
    assert!(result["jobs"][0]["finished_s"].is_number(), "{result}");
    up.kill();
}
