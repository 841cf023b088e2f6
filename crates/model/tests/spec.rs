//! Job documents: what is understood, and every fault at once where it is not.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Deadline, Fault, ItemsKey, JobSpec, Resources, Timestamp, items_keys, limits, past_deadline,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn faults(document: &Value) -> String {
    told(&JobSpec::parse(document).expect_err("a faulty document"))
}

fn told(faults: &[Fault]) -> String {
    faults.iter().map(|fault| format!("{} {}\n", fault.pointer, fault.detail)).collect()
}

#[test]
fn the_smallest_job() {
    let spec = JobSpec::parse(&json!({"group": [{"command": ["true"]}]})).unwrap();
    assert_eq!(spec.tasks(), 1);
    assert!(spec.after.is_empty() && spec.groups[0].after.is_empty());
    assert_eq!(&*spec.name, "job");
    let group = &spec.groups[0];
    assert_eq!(&*group.name, "group-0");
    let default = Resources { cpu_millis: 1000, memory_mib: 256, disk_mib: 0, gpus: 0 };
    assert_eq!(group.resources, default);
    assert_eq!((group.restart.max_failures, group.restart.backoff_ms), (3, 5_000));
}

#[test]
fn a_full_job_survives_storage() {
    let spec = JobSpec::parse(&json!({
        "name": "digest-corpus", "kind": "batch", "namespace": "lab-1", "priority": 5,
        "labels": {"team": "x"}, "on_task_failure": "stop", "max_running": 10,
        "deadline": "60h",
        "group": [{
            "name": "digest", "items": ["a", "b"], "command": ["sh", "-c", "cat \"$EBB_ITEM\""],
            "env": {"LEVEL": "9"}, "workdir": "/tmp", "outputs": ["out/*"],
            "resources": {"cpu": 0.5, "memory": "256MiB", "disk": "1GiB", "gpus": 0},
            "restart": {"max_failures": 0, "backoff": "0s", "no_retry_exit_codes": [2]},
            "timeout": "10m", "expect": "2m", "purchase": "spot-then-on-demand",
            "zones": ["us-east-1a"], "instance_types": ["m5.large"],
        }],
    }))
    .unwrap();
    assert_eq!(spec.groups[0].count, 2);
    assert_eq!(spec.groups[0].resources.cpu_millis, 500);
    let stored = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<JobSpec>(&stored).unwrap(), spec);
}

#[test]
fn every_fault_at_once() {
    insta::assert_snapshot!(faults(&json!({
        "name": "", "kind": "service", "namespace": "Not Good", "priority": 5000, "colour": "red",
        "after": ["job_0000000000000", "job_1", 7], "deadline": "soon", "labels": {"a": 1},
        "group": [
            {"name": "x", "count": 0, "resources": {"cpu": "-1", "memory": "lots", "gpus": -1}},
            {"name": "x", "command": [], "items": ["a"], "count": 3, "image": "alpine"},
            {"name": "x", "command": ["true"], "env": {"EBB_ITEM": "mine", "A=B": "c"},
             "workdir": "here", "outputs": ["../up", "/abs"], "timeout": "soon",
             "restart": {"backoff": "5", "no_retry_exit_codes": [0, 300]}, "purchase": "cheap"},
        ],
    })), @r#"
    /colour unknown field; known are name, kind, namespace, priority, labels, on_task_failure, max_running, deadline, after, group
    /name must be 1 to 128 printable bytes
    /kind services are not built yet: write "batch"
    /namespace `Not Good` is not a namespace: 1-63 of a-z, 0-9 and -, not at its ends
    /priority must be a whole number from -1000 to 1000, is 5000
    /labels/a must be text, is 1
    /deadline `soon` is not a deadline: write how long after submission ("60h", "90m") or a time like "2031-05-01T18:00:00Z"
    /after/1 `job_1` is not a job id like job_0c8wqm3k4t001
    /after/2 must be text, is 7
    /group/0/count must be a whole number from 1 to 100000000, is 0
    /group/0 `command` is missing: the program and its arguments, as a list
    /group/0/resources/cpu `-1` is not an amount of cpu: write "500m" or cores (0.5, 4)
    /group/0/resources/memory `lots` is not a size: write "256MiB", "1.5GiB" or "2GB"
    /group/0/resources/gpus must be a whole number from 0 to 1024, is -1
    /group/1/image `image` is not built yet; leave it out
    /group/1 `count`, `items` and `items_key` exclude each other: items make one task each
    /group/1/command must have 1 to 4096 entries, has 0
    /group/2/env/A=B a name has no `=` and does not begin with EBB_, which is ours
    /group/2/env/EBB_ITEM a name has no `=` and does not begin with EBB_, which is ours
    /group/2/workdir must be absolute
    /group/2/outputs/0 must be a relative pattern without `..`, like "out/*"
    /group/2/outputs/1 must be a relative pattern without `..`, like "out/*"
    /group/2/restart/backoff `5` is not a duration: write "250ms", "5s", "10m", "1h30m"
    /group/2/restart/no_retry_exit_codes/0 must be a whole number from 1 to 255, is 0
    /group/2/restart/no_retry_exit_codes/1 must be a whole number from 1 to 255, is 300
    /group/2/timeout `soon` is not a duration: write "250ms", "5s", "10m", "1h30m"
    /group/2/purchase must be "spot" or "on-demand" or "spot-then-on-demand", is `cheap`
    "#);
}

fn deadline(text: &str) -> Result<Option<Deadline>, String> {
    let document = json!({"deadline": text, "group": [{"command": ["true"]}]});
    JobSpec::parse(&document).map(|spec| spec.deadline).map_err(|faults| told(&faults))
}

#[test]
fn deadlines_are_spans_or_times() {
    let at = |text: &str| Ok(Some(Deadline::At(text.parse().unwrap())));
    assert_eq!(deadline("60h"), Ok(Some(Deadline::AfterMs(216_000_000))));
    assert_eq!(deadline("2031-05-01T18:00:00Z"), at("2031-05-01T18:00:00Z"));
    assert_eq!(deadline("2031-05-01T18:00:00.5+02:00"), at("2031-05-01T16:00:00.5Z"));
    assert_eq!(deadline("2031-05-01T18:00:00-00:30"), at("2031-05-01T18:30:00Z"));
    for bad in ["2031-05-01", "2031-02-30T00:00:00Z", "2031-05-01T18:00:00+2:00", "18:00", "é", ""]
    {
        let told = deadline(bad).expect_err("no deadline");
        assert!(told.starts_with("/deadline "), "{told}");
    }
    insta::assert_snapshot!(deadline("0s").unwrap_err(), @"/deadline `0s` is outside 1 ms to ten years");
    insta::assert_snapshot!(deadline("2031-05-01T18:00").unwrap_err(), @r#"/deadline `2031-05-01T18:00` is not a deadline: write how long after submission ("60h", "90m") or a time like "2031-05-01T18:00:00Z""#);
}

#[test]
fn a_deadline_that_is_past_is_told_by_who_has_a_clock() {
    let now = Timestamp::from_ms(1_790_000_000_000);
    let past = |text: &str| past_deadline(&json!({"deadline": text}), now);
    let fault = past("2020-01-01T00:00:00Z").expect("a fault");
    insta::assert_snapshot!(told(&[fault]), @"/deadline `2020-01-01T00:00:00Z` is past: it is 2026-09-21T14:13:20.000Z");
    assert!(past("2026-09-21T14:13:20Z").is_some());
    assert_eq!(past("2026-09-21T14:13:20.001Z"), None);
    assert_eq!((past("1ms"), past("nonsense"), past_deadline(&json!(7), now)), (None, None, None));
    assert_eq!(Deadline::AfterMs(5).of(now), now.plus_ms(5));
}

#[test]
fn wrong_shapes() {
    insta::assert_snapshot!(faults(&json!([1, 2])), @" must be an object, is a list");
    insta::assert_snapshot!(faults(&json!({"group": {}})), @"/group must be a list, is an object");
    insta::assert_snapshot!(faults(&json!({"group": [7]})), @"/group/0 must be an object, is 7");
    insta::assert_snapshot!(faults(&json!({})), @" a job needs at least one `group`");
    insta::assert_snapshot!(
        faults(&json!({"group": [{"command": ["a\u{0}b"], "count": 1_000_000_000_000_000_i64}]})),
        @"
    /group/0/count must be a whole number from 1 to 100000000, is 1000000000000000
    /group/0/command/0 must not contain a NUL character
    "
    );
}

#[test]
fn too_many_tasks() {
    let group = |name: &str| json!({"name": name, "command": ["true"], "count": 100_000_000});
    insta::assert_snapshot!(faults(&json!({"group": [group("a"), group("b")]})), @"/group 200000000 tasks are more than the 100000000 that a job may have");
}

fn group(name: &str, after: &[&str]) -> Value {
    json!({"name": name, "after": after, "command": ["true"]})
}

#[test]
fn groups_come_after_groups_by_name() {
    let spec = JobSpec::parse(&json!({
        "after": ["job_0000000000007", "job_0000000000007"],
        "group": [
            group("end", &["left", "right", "group-3"]), group("left", &["start"]),
            group("right", &["start"]), {"command": ["true"]}, group("start", &[]),
        ],
    }))
    .unwrap();
    let after: Vec<Vec<u16>> =
        spec.groups.iter().map(|group| group.after.iter().copied().collect()).collect();
    assert_eq!(after, [vec![1, 2, 3], vec![4], vec![4], vec![], vec![]]);
    assert_eq!(spec.after, BTreeSet::from([model::JobId::from_number(7)]));
    let stored = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<JobSpec>(&stored).unwrap(), spec);
}

#[test]
fn cycles_are_faults_beside_others() {
    insta::assert_snapshot!(faults(&json!({
        "group": [
            group("a", &["b"]), group("b", &["c", "nobody"]), group("c", &["a", "c"]),
            group("d", &["a"]), {"name": "e", "after": ["f"]}, group("f", &["e"]),
            {"name": "g", "command": ["true"], "after": "a"}, group("h", &[]),
        ],
    })), @"
    /group/1/after/1 no group of this job is named `nobody`
    /group/2/after/1 a group cannot come after itself
    /group/4 `command` is missing: the program and its arguments, as a list
    /group/6/after must be a list, is `a`
    /group/2/after/0 makes a cycle: `a` after `b` after `c` after `a`
    /group/5/after/0 makes a cycle: `e` after `f` after `e`
    ");
}

#[test]
fn a_thousand_groups_in_a_ring() {
    let groups: Vec<Value> = (0..limits::GROUPS)
        .map(|at| {
            let next = format!("group-{}", (at + 1) % limits::GROUPS);
            json!({"after": [next], "command": ["true"]})
        })
        .collect();
    insta::assert_snapshot!(faults(&json!({"group": groups})), @"/group/999/after/0 makes a cycle: `group-0` after `group-1` after `group-2` after `group-3` after `group-4` after `group-5` after `group-6` after `group-7` after 992 more after `group-0`");
}

#[test]
fn items_may_be_uploaded_before() {
    let (known, unknown): (ItemsKey, ItemsKey) =
        (ItemsKey::from_number(5), ItemsKey::from_number(6));
    let document = json!({"group": [
        {"command": ["true"], "items_key": known.to_string()},
        {"command": ["true"], "items_key": unknown.to_string()},
        {"command": ["true"], "items_key": "items"}, {"command": ["true"], "items_key": 7},
        {"command": ["true"], "items_key": known.to_string(), "count": 2},
    ]});
    assert_eq!(items_keys(&document), BTreeSet::from([known, unknown]));
    let stored = BTreeMap::from([(known, 3)]);
    let faults = JobSpec::parse_with(&document, &stored).expect_err("a faulty document");
    insta::assert_snapshot!(told(&faults), @"
    /group/1/items_key nothing is stored under this key: send the items to `/v1/items` first
    /group/2/items_key `items` is not an items key like items_0c8wqm3k4t001
    /group/3/items_key must be text, is 7
    /group/4 `count`, `items` and `items_key` exclude each other: items make one task each
    ");
    let good = json!({"group": [{"command": ["true"], "items_key": known.to_string()}]});
    let spec = JobSpec::parse_with(&good, &stored).unwrap();
    assert_eq!((spec.groups[0].count, spec.groups[0].items_key), (3, Some(known)));
    assert!(spec.groups[0].items.is_empty());
    insta::assert_snapshot!(self::faults(&good), @"/group/0/items_key nothing is stored under this key: send the items to `/v1/items` first");
}

fn job() -> JobSpec {
    JobSpec::parse(&json!({
        "name": "digest", "priority": 5, "max_running": 10, "labels": {"team": "x", "tier": "1"},
        "on_task_failure": "stop", "after": ["job_0000000000007"],
        "group": [{"command": ["true"]}],
    }))
    .expect("a right document")
}

#[test]
fn a_patch_changes_what_it_names() {
    let patched = |patch: Value| {
        let (before, patch) = (job(), job().merge_patch(&patch).unwrap());
        let after = before.patched(&patch);
        assert_eq!(patch.is_idle(&before), after == before);
        let read: model::JobPatch =
            serde_json::from_str(&serde_json::to_string(&patch).unwrap()).unwrap();
        assert_eq!(read, patch, "it survives the log");
        let mut document = serde_json::to_value(&after).unwrap();
        document.as_object_mut().unwrap().retain(|key, _| key != "groups" && key != "namespace");
        document.to_string()
    };
    insta::assert_snapshot!(patched(json!({})), @r#"{"after":["job_0000000000007"],"labels":{"team":"x","tier":"1"},"max_running":10,"name":"digest","on_task_failure":"stop","priority":5}"#);
    insta::assert_snapshot!(patched(json!({"priority": -3, "labels": {"tier": null, "new": "y"}})), @r#"{"after":["job_0000000000007"],"labels":{"new":"y","team":"x"},"max_running":10,"name":"digest","on_task_failure":"stop","priority":-3}"#);
    insta::assert_snapshot!(patched(json!({
        "name": null, "priority": null, "max_running": null, "labels": null,
        "on_task_failure": null, "after": null, "deadline": null,
    })), @r#"{"name":"job","on_task_failure":"continue","priority":0}"#);
    insta::assert_snapshot!(patched(json!({"deadline": "2h", "labels": null})), @r#"{"after":["job_0000000000007"],"deadline":{"after_ms":7200000},"max_running":10,"name":"digest","on_task_failure":"stop","priority":5}"#);
    insta::assert_snapshot!(patched(json!({"name": "other", "max_running": 1, "after": []})), @r#"{"labels":{"team":"x","tier":"1"},"max_running":1,"name":"other","on_task_failure":"stop","priority":5}"#);
}

#[test]
fn every_fault_of_a_patch_at_once() {
    let faults = |patch: Value| told(&job().merge_patch(&patch).expect_err("a faulty patch"));
    insta::assert_snapshot!(faults(json!(null)), @" must be an object, is null");
    insta::assert_snapshot!(faults(json!({
        "name": "", "labels": {"a": 1, "": "x"}, "priority": 5000, "max_running": 0,
        "on_task_failure": "panic", "after": ["job_7"], "group": [], "namespace": null,
        "colour": "red", "kind": "batch",
    })), @r#"
    /colour unknown field; known are name, labels, priority, max_running, on_task_failure, deadline, after
    /group `group` cannot be changed after submission
    /kind `kind` cannot be changed after submission
    /namespace `namespace` cannot be changed after submission
    /name must be 1 to 128 printable bytes
    /labels/ the key must be 1 to 256 bytes, without NUL
    /labels/a must be text, is 1
    /priority must be a whole number from -1000 to 1000, is 5000
    /max_running must be a whole number from 1 to 4294967295, is 0
    /on_task_failure must be "continue" or "stop", is `panic`
    /after/0 `job_7` is not a job id like job_0c8wqm3k4t001
    "#);
    let many: serde_json::Map<_, _> =
        (0..63).map(|number| (format!("l{number}"), json!("x"))).collect();
    insta::assert_snapshot!(faults(json!({"labels": many})), @"/labels makes 65 labels; at most 64 are allowed");
}

#[test]
fn hostile_documents_end_in_faults() {
    let deep = (0..100).fold(json!(1), |value, _| json!([value]));
    let table = [
        json!(null),
        json!({"group": null}),
        json!({"group": []}),
        json!({"group": deep}),
        json!({"group": [deep]}),
        json!({"group": [{"command": deep}]}),
        json!({"group": [{"command": [""]}]}),
        json!({"group": [{"command": ["true"], "count": -1}]}),
        json!({"group": [{"command": ["true"], "count": 1e15}]}),
        json!({"group": [{"command": ["true"], "count": u64::MAX}]}),
        json!({"group": [{"command": ["true"], "count": 1.5}]}),
        json!({"group": [{"command": ["true"], "items": []}]}),
        json!({"group": [{"command": ["true"], "name": " "}]}),
        json!({"group": [{"command": ["true"], "zones": [""], "instance_types": []}]}),
        json!({"group": [{"command": ["true"], "env": {"": "x"}}]}),
        json!({"group": [{"command": ["true"], "env": {"a": null}}]}),
        json!({"group": [{"command": ["true"], "timeout": "99999999999999999999y"}]}),
        json!({"group": [{"command": ["true"], "timeout": "11y", "expect": "0s"}]}),
        json!({"group": [{"command": ["true"], "restart": {"max_failures": 1e9, "backoff": "-5s"}}]}),
        json!({"group": [{"command": ["true"], "resources": {"cpu": 1e308}}]}),
        json!({"group": [{"command": ["true"], "resources": {"cpu": "99999999999"}}]}),
        json!({"group": [{"command": ["true"], "resources": {"memory": "99999999999TiB"}}]}),
        json!({"group": [{"command": ["true"], "resources": {"memory": 5, "disk": "-1GiB"}}]}),
        json!({"group": [{"command": ["true"], "resources": {"gpus": u64::MAX}}]}),
        json!({"group": [{"command": ["true"]}], "priority": 5e300, "max_running": 0}),
        json!({"group": [{"command": ["true"]}], "namespace": "x".repeat(100_000)}),
        json!({"group": [{"command": ["true"]}], "name": "x".repeat(100_000), "labels": {"": ""}}),
    ];
    let told: String = table.iter().map(|document| faults(document) + "\n").collect();
    insta::assert_snapshot!(told, @r#"
     must be an object, is null

    /group must be a list, is null

    /group must have 1 to 1000 entries, has 0

    /group/0 must be an object, is a list

    /group/0 must be an object, is a list

    /group/0/command/0 must be text, is a list

    /group/0/command/0 the program's name is empty

    /group/0/count must be a whole number from 1 to 100000000, is -1

    /group/0/count must be a whole number from 1 to 100000000, is 1000000000000000.0

    /group/0/count must be a whole number from 1 to 100000000, is 18446744073709551615

    /group/0/count must be a whole number from 1 to 100000000, is 1.5

    /group/0/items must have 1 to 100000000 entries, has 0

    /group/0/name must be 1 to 128 printable bytes

    /group/0/zones/0 must not be empty
    /group/0/instance_types must have 1 to 1000 entries, has 0

    /group/0/env/ the key must be 1 to 131072 bytes, without NUL

    /group/0/env/a must be text, is null

    /group/0/timeout `99999999999999999999y` is not a duration: write "250ms", "5s", "10m", "1h30m"

    /group/0/timeout `11y` is outside 1 ms to ten years
    /group/0/expect `0s` is outside 1 ms to ten years

    /group/0/restart/max_failures must be a whole number from 0 to 10000, is 1000000000.0
    /group/0/restart/backoff `-5s` is not a duration: write "250ms", "5s", "10m", "1h30m"

    /group/0/resources/cpu `1e+308` is not an amount of cpu: write "500m" or cores (0.5, 4)

    /group/0/resources/cpu `99999999999` is not an amount of cpu: write "500m" or cores (0.5, 4)

    /group/0/resources/memory `99999999999TiB` is not a size: write "256MiB", "1.5GiB" or "2GB"

    /group/0/resources/memory must be text, is 5
    /group/0/resources/disk `-1GiB` is not a size: write "256MiB", "1.5GiB" or "2GB"

    /group/0/resources/gpus must be a whole number from 0 to 1024, is 18446744073709551615

    /priority must be a whole number from -1000 to 1000, is 5e+300
    /max_running must be a whole number from 1 to 4294967295, is 0

    /namespace `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx` is not a namespace: 1-63 of a-z, 0-9 and -, not at its ends

    /name must be 1 to 128 printable bytes
    /labels/ the key must be 1 to 256 bytes, without NUL
    "#);
}

#[test]
fn a_hundred_thousand_faults_are_told_briefly() {
    let unknown: serde_json::Map<_, _> =
        (0..100_000).map(|number| (format!("f{number}"), json!(1))).collect();
    let faults = JobSpec::parse(&Value::Object(unknown)).expect_err("a faulty document");
    assert_eq!(faults.len(), limits::FAULTS + 1);
    let last = &faults[limits::FAULTS];
    assert_eq!(last.detail, "more than 100 faults; the rest is not listed");
}

/// Any JSON, more often than not with the names of fields in it.
fn document() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[a-z0-9./%\u{0}-]{0,12}",
        "-?[0-9]{1,30}(ms|s|m|h|y|MiB|TiB|m)?",
        Just("job_0000000000001".to_owned()),
        Just("group-1".to_owned()),
        "(20[0-9]{2}-[0-9]{2}-[0-9]{2}T)?[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{1,2}:[0-9é]{1,2})",
        Just("items_0000000000001".to_owned()),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    let names: Vec<&'static str> = [
        model::DocumentPart::Job,
        model::DocumentPart::Group,
        model::DocumentPart::Resources,
        model::DocumentPart::Restart,
    ]
    .iter()
    .flat_map(|part| part.fields())
    .chain(["other", "a/b~c"])
    .collect();
    leaf.prop_recursive(6, 60, 6, move |inner| {
        let key = prop::sample::select(names.clone()).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_document_panics(document in document()) {
        let stored = BTreeMap::from([(ItemsKey::from_number(1), 3)]);
        for document in [document.clone(), json!({"group": document}), json!({"group": [document]})] {
            if let Err(faults) = JobSpec::parse_with(&document, &stored) {
                prop_assert!(!faults.is_empty());
            }
            items_keys(&document);
            past_deadline(&document, Timestamp::from_ms(1));
        }
        if let Err(faults) = job().merge_patch(&document) {
            prop_assert!(!faults.is_empty());
        }
    }
}
