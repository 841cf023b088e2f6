//! Job documents: what is understood, and every fault at once where it is not.

use model::{JobSpec, Resources};
use serde_json::{Value, json};

fn faults(document: &Value) -> String {
    let faults = JobSpec::parse(document).expect_err("a faulty document");
    faults.iter().map(|fault| format!("{} {}\n", fault.pointer, fault.detail)).collect()
}

#[test]
fn the_smallest_job() {
    let spec = JobSpec::parse(&json!({"group": [{"command": ["true"]}]})).unwrap();
    assert_eq!(spec.tasks(), 1);
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
        "after": ["job_0000000000000"], "labels": {"a": 1},
        "group": [
            {"name": "x", "count": 0, "resources": {"cpu": "-1", "memory": "lots", "gpus": -1}},
            {"name": "x", "command": [], "items": ["a"], "count": 3, "image": "alpine"},
            {"name": "x", "command": ["true"], "env": {"EBB_ITEM": "mine", "A=B": "c"},
             "workdir": "here", "outputs": ["../up", "/abs"], "timeout": "soon",
             "restart": {"backoff": "5", "no_retry_exit_codes": [0, 300]}, "purchase": "cheap"},
        ],
    })), @r#"
    /after `after` is not built yet; leave it out
    /colour unknown field; known are name, kind, namespace, priority, labels, on_task_failure, max_running, group
    /name must be 1 to 128 printable bytes
    /kind services are not built yet: write "batch"
    /namespace `Not Good` is not a namespace: 1-63 of a-z, 0-9 and -, not at its ends
    /priority must be a whole number from -1000 to 1000, is 5000
    /labels/a must be text, is 1
    /group/0/count must be a whole number from 1 to 100000000, is 0
    /group/0 `command` is missing: the program and its arguments, as a list
    /group/0/resources/cpu `-1` is not an amount of cpu: write "500m" or cores (0.5, 4)
    /group/0/resources/memory `lots` is not a size: write "256MiB", "1.5GiB" or "2GB"
    /group/0/resources/gpus must be a whole number from 0 to 1024, is -1
    /group/1/image `image` is not built yet; leave it out
    /group/1 `count` and `items` exclude each other: items make one task each
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
