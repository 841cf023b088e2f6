//! The schemas say what the reader reads: no field more or less, and no text that it refuses.

use std::collections::BTreeSet;

use api::job_document::schemas;
use model::{DocumentPart, JobSpec};
use proptest::prelude::*;
use proptest::string::string_regex;
use serde_json::{Value, json};

fn at(pointer: &str) -> Value {
    let all = Value::Object(schemas());
    all.pointer(pointer).unwrap_or_else(|| panic!("nothing at {pointer}")).clone()
}

/// The properties of a part's objects, all of them closed.
fn properties(schema: &Value) -> BTreeSet<String> {
    let objects = match schema.get("oneOf") {
        Some(Value::Array(variants)) => variants.clone(),
        _ => vec![schema.clone()],
    };
    let names = |object: &Value| {
        assert_eq!(object["additionalProperties"], false, "{object}");
        object["properties"].as_object().expect("properties").keys().cloned().collect::<Vec<_>>()
    };
    objects.iter().flat_map(names).collect()
}

#[test]
fn the_properties_are_the_readers_fields() {
    for (part, name) in [
        (DocumentPart::Job, "/JobDocument"),
        (DocumentPart::Group, "/GroupDocument"),
        (DocumentPart::Resources, "/ResourcesDocument"),
        (DocumentPart::Restart, "/RestartDocument"),
        (DocumentPart::Patch, "/JobPatchDocument"),
    ] {
        let fields: BTreeSet<String> = part.fields().into_iter().map(str::to_owned).collect();
        assert_eq!(properties(&at(name)), fields, "{name}");
    }
}

#[test]
fn the_examples_are_jobs() {
    let examples = at("/JobDocument/examples");
    for example in examples.as_array().expect("a list") {
        JobSpec::parse(example).expect("a job");
    }
}

/// Puts a value into a group; the faults that it has there.
fn faults_of_group(field: &str, value: &Value) -> Vec<String> {
    let mut group = json!({"command": ["true"]});
    let place = field.split('/').fold(&mut group, |at, key| &mut at[key]);
    *place = value.clone();
    faults(&json!({"group": [group]}))
}

fn faults(document: &Value) -> Vec<String> {
    let faults = JobSpec::parse(document).err().unwrap_or_default();
    faults.into_iter().map(|fault| format!("{}: {}", fault.pointer, fault.detail)).collect()
}

/// Texts that a schema's pattern allows.
fn texts(schema: &Value) -> impl Strategy<Value = String> + use<> {
    let pattern = schema["pattern"].as_str().expect("a pattern");
    let inner = pattern.strip_prefix('^').and_then(|it| it.strip_suffix('$'));
    let most = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
    let least = schema["minLength"].as_u64().unwrap_or(0);
    string_regex(inner.expect("anchored")).expect("a regular expression").prop_filter(
        "lengths are told apart from patterns",
        move |text| {
            let length = text.len() as u64;
            (least..=most).contains(&length)
        },
    )
}

/// Fields of a group with a pattern, and where that is.
const IN_GROUP: [(&str, &str); 6] = [
    ("timeout", "/GroupDocument/oneOf/0/properties/timeout"),
    ("expect", "/GroupDocument/oneOf/0/properties/expect"),
    ("workdir", "/GroupDocument/oneOf/0/properties/workdir"),
    ("name", "/GroupDocument/oneOf/0/properties/name"),
    ("resources/cpu", "/ResourcesDocument/properties/cpu/oneOf/1"),
    ("restart/backoff", "/RestartDocument/properties/backoff/oneOf/0"),
];

proptest! {
    #[test]
    fn what_a_pattern_of_a_group_allows_is_read(
        values in IN_GROUP.map(|(_, pointer)| texts(&at(pointer))),
    ) {
        for ((field, _), text) in IN_GROUP.iter().zip(&values) {
            prop_assert_eq!(faults_of_group(field, &json!(text)), Vec::<String>::new());
        }
    }

    #[test]
    fn what_a_pattern_of_a_size_allows_is_read(
        memory in texts(&at("/ResourcesDocument/properties/memory")),
        disk in texts(&at("/ResourcesDocument/properties/disk")),
    ) {
        prop_assert_eq!(faults_of_group("resources/memory", &json!(memory)), Vec::<String>::new());
        prop_assert_eq!(faults_of_group("resources/disk", &json!(disk)), Vec::<String>::new());
    }

    #[test]
    fn what_a_pattern_of_lists_and_maps_allows_is_read(
        output in texts(&at("/GroupDocument/oneOf/0/properties/outputs/items")),
        zone in texts(&at("/GroupDocument/oneOf/0/properties/zones/items")),
        variable in texts(&at("/GroupDocument/oneOf/0/properties/env/propertyNames")),
        word in texts(&at("/GroupDocument/oneOf/0/properties/command/prefixItems/0")),
        item in texts(&at("/GroupDocument/oneOf/1/properties/items/items")),
    ) {
        prop_assert_eq!(faults_of_group("outputs", &json!([output])), Vec::<String>::new());
        prop_assert_eq!(faults_of_group("zones", &json!([zone])), Vec::<String>::new());
        prop_assert_eq!(faults_of_group("env", &json!({variable: ""})), Vec::<String>::new());
        prop_assert_eq!(faults_of_group("command", &json!([word])), Vec::<String>::new());
        prop_assert_eq!(faults_of_group("items", &json!([item])), Vec::<String>::new());
    }

    #[test]
    fn what_a_pattern_of_a_job_allows_is_read(
        name in texts(&at("/JobDocument/properties/name")),
        namespace in texts(&at("/JobDocument/properties/namespace")),
        label in texts(&at("/JobDocument/properties/labels/propertyNames")),
        other in texts(&at("/JobDocument/properties/after/items")),
        span in texts(&at("/JobDocument/properties/deadline/oneOf/0")),
        moment in texts(&at("/JobDocument/properties/deadline/oneOf/1")),
    ) {
        for deadline in [span, moment] {
            let document = json!({"deadline": deadline, "group": [{"command": ["true"]}]});
            prop_assert_eq!(faults(&document), Vec::<String>::new());
        }
        let document = json!({
            "name": name, "namespace": namespace, "labels": {label: ""}, "after": [other],
            "group": [{"command": ["true"]}],
        });
        prop_assert_eq!(faults(&document), Vec::<String>::new());
    }

    #[test]
    fn any_amount_of_cpu_in_thousandths_is_read(millis in 0_u32..=4_294_967_000) {
        let cores = f64::from(millis) / 1000.0;
        prop_assert_eq!(faults_of_group("resources/cpu", &json!(cores)), Vec::<String>::new());
    }
}
