//! The document is what is kept in `docs/`, and says what it must.

use serde_json::{Map, Value};

const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");

#[test]
fn the_kept_document_is_the_routes_own() {
    let document = manager::openapi();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(KEPT, &document).expect("written");
    }
    let kept = std::fs::read_to_string(KEPT).unwrap_or_default();
    let line = kept.lines().zip(document.lines()).position(|(kept, made)| kept != made);
    assert!(
        kept == document,
        "docs/openapi.json is not what the routes say, from line {:?} on; `UPDATE=1 cargo nextest run \
         -p manager openapi` writes it anew",
        line.map(|line| line + 1)
    );
}

fn operations(document: &Value) -> Vec<(String, &Map<String, Value>)> {
    let paths = document["paths"].as_object().expect("paths");
    let methods = |(path, item): (&String, &'static str)| format!("{item} {path}");
    let mut all = Vec::new();
    for (path, item) in paths {
        for method in ["get", "post", "put", "patch", "delete"] {
            if let Some(operation) = item.get(method).and_then(Value::as_object) {
                all.push((methods((path, method)), operation));
            }
        }
    }
    all
}

#[test]
fn every_operation_says_what_it_may_answer() {
    let document: Value = serde_json::from_str(&manager::openapi()).expect("JSON");
    let operations = operations(&document);
    assert!(operations.len() > 30, "{}", operations.len());
    let mut ids = std::collections::BTreeSet::new();
    for (name, operation) in operations {
        let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{name} has no id"));
        assert!(ids.insert(id.to_owned()), "{id} twice");
        assert!(operation["tags"].as_array().is_some_and(|tags| tags.len() == 1), "{name}");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
        let responses = operation["responses"].as_object().expect("responses");
        let is_open = operation.contains_key("security");
        let always = ["400", "403", "429", "500", "503"].into_iter();
        for status in always.chain((!is_open).then_some("401")) {
            assert!(responses.contains_key(status), "{name} without {status}");
        }
        for (status, response) in responses {
            let is_problem = response["content"].get("application/problem+json").is_some();
            assert_eq!(is_problem, status.as_str() >= "400", "{name} {status}");
            let description = response["description"].as_str();
            assert!(description.is_some_and(|text| !text.is_empty()), "{name} {status}");
        }
        if operation.contains_key("requestBody") {
            assert!(responses.contains_key("413") && responses.contains_key("408"), "{name}");
        }
    }
}

/// Each `$ref` leads somewhere, and nothing is kept that nobody refers to.
#[test]
fn every_reference_leads_somewhere() {
    fn walk(value: &Value, found: &mut std::collections::BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(target)) = map.get("$ref") {
                    found.insert(target.clone());
                }
                map.values().for_each(|value| walk(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| walk(value, found)),
            _ => {}
        }
    }
    let document: Value = serde_json::from_str(&manager::openapi()).expect("JSON");
    let mut found = std::collections::BTreeSet::new();
    walk(&document, &mut found);
    for target in &found {
        let pointer = target.strip_prefix('#').expect("a place in this document");
        assert!(document.pointer(pointer).is_some(), "{target}");
    }
}

#[tokio::test]
async fn it_is_served_to_whoever_has_a_token() {
    let scene = crate::scene::Scene::new().await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let url = format!("{}/openapi.json", scene.manager.url());
    assert_eq!(client.get(&url).send().await.expect("sent").status(), 401);
    let answer = client.get(&url).bearer_auth(scene.manager.token()).send().await.expect("sent");
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(answer.text().await.expect("text"), manager::openapi());
    scene.manager.shutdown().await;
}
