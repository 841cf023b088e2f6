//! The OpenAPI document. It is made of the routes themselves: a handler joins the router by its
//! `#[utoipa::path]`, so that there is no route without its document.

use std::collections::BTreeMap;
use std::fmt;

use api::job_document;
use api::problem::{Problem, ProblemKind};
use api::sync::Proof;
use api::view::TokenRequest;
use axum::Extension;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use utoipa::openapi::ResponseBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, RefOr,
    SecurityRequirement,
};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

use super::body::NoQuery;
use super::failure::Failure;
use super::tokens;

/// The scheme that every operation needs unless it says otherwise.
const BEARER: &str = "bearer";
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
/// What every operation may answer, whatever it does: the guard stands before all of them.
const ALWAYS: [ProblemKind; 5] = [
    ProblemKind::Malformed,
    ProblemKind::Forbidden,
    ProblemKind::Overloaded,
    ProblemKind::Internal,
    ProblemKind::Unavailable,
];

/// What the routes are added to.
pub(super) fn base() -> OpenApi {
    let tag = |name: &str, description: &str| {
        TagBuilder::new().name(name).description(Some(description)).build()
    };
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A user's token, from the file that the first start writes or `ebb token create`; for syncs the node's own."))
        .build();
    let components = ComponentsBuilder::new()
        .security_scheme(BEARER, SecurityScheme::Http(bearer))
        .schema(Problem::name(), Problem::schema())
        .schema(ProblemKind::name(), ProblemKind::schema())
        .schema("Fault", <model::Fault as PartialSchema>::schema());
    let info = InfoBuilder::new()
        .title("Ebbtide")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Batch jobs on machines that may vanish, each task settled exactly once. Units are \
             canonical: cpu_millis, memory_mib, *_ms, micro_usd; times are RFC 3339 in UTC. Lists \
             are `{items, next_cursor}`; every error is RFC 9457 problem+json with all faults.",
        ))
        .license(Some(
            LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build(),
        ))
        .build();
    OpenApiBuilder::new()
        .info(info)
        .components(Some(components.build()))
        .security(Some([SecurityRequirement::new::<_, [&str; 0], &str>(BEARER, [])]))
        .tags(Some([
            tag("jobs", "What users submit, change, stop, and read."),
            tag("tasks", "One unit of work each: its attempts, its logs, its outputs."),
            tag("nodes", "Machines of the cluster, for people."),
            tag("node", "What digesters send; with a user's token they are refused."),
            tag("cluster", "How it stands, what it costs, and who may."),
        ]))
        .build()
}

/// The document as it is served: what all operations share is added, and the schemas that are
/// written by hand take their places.
pub(super) fn finish(document: &OpenApi) -> Value {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    let paths = paths.map(|paths| {
        // The rest of a path is written otherwise by the router.
        *paths = std::mem::take(paths)
            .into_iter()
            .map(|(path, item)| (path.replace("{*", "{"), item))
            .collect();
        paths
    });
    let items = paths.into_iter().flat_map(|paths| paths.values_mut());
    for operation in items.flat_map(operations) {
        share(operation);
        link(operation);
    }
    if let Some(Value::Object(schemas)) = document.pointer_mut("/components/schemas") {
        schemas.extend(job_document::schemas());
        schemas.values_mut().for_each(one_variant);
        if let Some(proof) = schemas.get_mut(Proof::name().as_ref()) {
            closed_variants(proof);
        }
        schemas.insert(TokenRequest::name().into_owned(), tokens::request_schema());
    }
    document
}

fn operations(item: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    let fields = item.as_object_mut().into_iter().flatten();
    fields
        .filter(|(method, _)| METHODS.contains(&method.as_str()))
        .filter_map(|(_, operation)| operation.as_object_mut())
}

/// What takes no body for an empty one.
const MAY_LACK_A_BODY: [&str; 1] = ["retry_job"];

fn share(operation: &mut Map<String, Value>) {
    let id = operation.get("operationId").and_then(Value::as_str).unwrap_or_default();
    if MAY_LACK_A_BODY.contains(&id) {
        operation["requestBody"]["required"] = false.into();
    }
    let is_open = operation.get("security") == Some(&json!([{}]));
    for parameter in
        operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten()
    {
        without_null(parameter);
    }
    let Some(Value::Object(responses)) = operation.get_mut("responses") else { return };
    let unauthorized = (!is_open).then_some(ProblemKind::Unauthorized);
    for kind in ALWAYS.into_iter().chain(unauthorized) {
        let response = json!({"description": description(kind)});
        responses.entry(kind.status().to_string()).or_insert(response);
    }
    for (status, response) in responses {
        let status = status.parse().unwrap_or(0);
        if let Some(response) = response.as_object_mut().filter(|_| status >= 400) {
            response.insert("headers".to_owned(), headers(status));
            let schema = json!({"allOf": [
                {"$ref": "#/components/schemas/Problem"},
                {"type": "object", "properties": {"status": {"type": "integer", "enum": [status]}}},
            ]});
            let content = json!({"application/problem+json": {"schema": schema}});
            response.insert("content".to_owned(), content);
        }
    }
}

/// A value of an enum with data is an object of the one key that names its variant.
fn one_variant(schema: &mut Value) {
    let Some(Value::Array(variants)) = schema.get_mut("oneOf") else { return };
    for variant in variants.iter_mut().filter_map(Value::as_object_mut) {
        let keys = variant.get("properties").and_then(Value::as_object).map_or(0, Map::len);
        let required = variant.get("required").and_then(Value::as_array).map_or(0, Vec::len);
        if keys == 1 && required == 1 {
            variant.insert("additionalProperties".to_owned(), false.into());
        }
    }
}

/// An enum that denies unknown fields denies them within its variants, too.
fn closed_variants(schema: &mut Value) {
    let variants = schema.get_mut("oneOf").and_then(Value::as_array_mut);
    let properties = variants.into_iter().flatten().filter_map(|it| it.get_mut("properties"));
    for inner in properties.filter_map(Value::as_object_mut).flat_map(Map::values_mut) {
        inner["additionalProperties"] = false.into();
    }
}

/// Where what an answer names can be used: the operation, its status, the name's place, and others
/// that take it as `id`.
const LINKS: [(&str, &str, &str, &[&str]); 5] = [
    (
        "submit_job",
        "201",
        "/id",
        &[
            "get_job",
            "patch_job",
            "stop_job",
            "retry_job",
            "list_tasks",
            "list_results",
            "list_outputs",
            "explain_job",
        ],
    ),
    (
        "list_tasks",
        "200",
        "/items/0/id",
        &["get_task", "stop_task", "list_attempts", "explain_task", "task_logs"],
    ),
    (
        "list_nodes",
        "200",
        "/items/0/id",
        &["get_node", "explain_node", "drain_node", "undrain_node"],
    ),
    ("create_token", "201", "/id", &["remove_token"]),
    ("retry_job", "202", "/id", &["get_job"]),
];

fn link(operation: &mut Map<String, Value>) {
    let id = operation.get("operationId").and_then(Value::as_str).unwrap_or_default();
    let of = LINKS.iter().filter(|(from, ..)| *from == id);
    let links: Vec<_> = of.map(|(_, status, place, to)| (*status, *place, *to)).collect();
    for (status, place, to) in links {
        let response = operation.get_mut("responses").and_then(|all| all.get_mut(status));
        let Some(response) = response.and_then(Value::as_object_mut) else { continue };
        let link = |to: &&str| {
            let id = format!("$response.body#{place}");
            ((*to).to_owned(), json!({"operationId": to, "parameters": {"id": id}}))
        };
        response.insert("links".to_owned(), to.iter().map(link).collect::<Map<_, _>>().into());
    }
}

/// A parameter that need not be given is not one that may be null: no text says so.
fn without_null(parameter: &mut Value) {
    let Some(schema) = parameter.get_mut("schema") else { return };
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            schema["type"] = one;
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("oneOf") {
        choices.retain(|choice| choice.get("type") != Some(&json!("null")));
        if let [one] = choices.as_slice() {
            *schema = one.clone();
        }
    }
}

fn description(kind: ProblemKind) -> String {
    format!("`{}`: {}", kind.as_str(), kind.title())
}

fn headers(status: u16) -> Value {
    let seconds = json!({"type": "integer", "minimum": 1});
    match status {
        429 | 503 => json!({
            "Retry-After": {
                "required": true, "description": "Whole seconds to wait.", "schema": seconds,
            },
        }),
        401 => json!({"WWW-Authenticate": {"required": true, "schema": {"type": "string"}}}),
        _ => json!({}),
    }
}

/// Types that name an answer in `responses(..)` of a handler.
macro_rules! problems {
    ($($name:ident),* $(,)?) => {$(
        #[doc = concat!("May answer [`ProblemKind::", stringify!($name), "`].")]
        pub(super) struct $name;
        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
                let kind = ProblemKind::$name;
                let response = ResponseBuilder::new().description(description(kind)).build();
                BTreeMap::from([(kind.status().to_string(), response.into())])
            }
        }
    )*};
}
problems!(
    Conflict,
    Gone,
    Invalid,
    NotFound,
    NotLeader,
    PreconditionFailed,
    Timeout,
    TooLarge,
    Unauthorized,
    UnsupportedMediaType,
);

/// What any body may run into.
pub(super) struct BadBody;

impl IntoResponses for BadBody {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let mut all = Timeout::responses();
        all.extend(TooLarge::responses());
        all.extend(UnsupportedMediaType::responses());
        all.extend(Invalid::responses());
        all
    }
}

/// A yes or no of a query.
pub(super) fn flag() -> RefOr<Schema> {
    let words = ["", "0", "1", "false", "true"];
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
}

/// The text of the document.
#[derive(Debug, Clone)]
pub(super) struct Document(pub(super) Bytes);

impl Document {
    /// As it is served, and kept in `docs/`.
    pub(super) fn of(document: &Value) -> Self {
        let mut text = serde_json::to_vec_pretty(document).unwrap_or_default();
        text.push(b'\n');
        Self(text.into())
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// This document.
///
/// OpenAPI 3.1, made from the routes that this manager serves.
#[utoipa::path(
    get, path = "/openapi.json", tag = "cluster", operation_id = "openapi",
    responses(
        (
            status = 200,
            description = "The document",
            body = Object,
            content_type = "application/json",
        ),
    ),
)]
pub(super) async fn openapi(
    Extension(document): Extension<Document>,
    _: NoQuery,
) -> Result<Response, Failure> {
    let json = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, json)], document.0).into_response())
}
