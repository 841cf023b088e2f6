//! The document of `POST /v1/jobs` as JSON Schema, written by hand: stricter and plainer than what
//! a derive would make of types. What these schemas allow, `model`'s reader takes, but for what no
//! schema can say: lengths are bytes, groups' names differ, `after` names what there is, and the
//! tasks of all groups are counted together.

use model::limits;
use serde_json::{Map, Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema};
use utoipa::{PartialSchema, ToSchema};

/// The document of `POST /v1/jobs`.
#[derive(Debug)]
pub struct JobDocument;

/// The document of `PATCH /v1/jobs/{id}`.
#[derive(Debug)]
pub struct JobPatchDocument;

/// Many documents of `POST /v1/jobs`, one a line.
#[derive(Debug)]
pub struct JobsDocument;

/// The texts of `POST /v1/items`, one a line.
#[derive(Debug)]
pub struct ItemsDocument;

/// Stands in the generated document until [`schemas`] take its place.
macro_rules! by_hand {
    ($($name:ident),*) => {$(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new().into()
            }
        }
        impl ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
        }
    )*};
}
by_hand!(JobDocument, JobPatchDocument, JobsDocument, ItemsDocument);

/// All of it without NUL, which neither a process nor Postgres takes.
const TEXT: &str = r"^[^\x00]*$";
/// Printable, and not only spaces.
const NAME: &str = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\x00-\x1f\x7f-\x9f]*$";
const CPU: &str = r"^([0-9]{1,9}m|[0-9]{1,6}(\.[0-9]{1,3})?)$";
const SIZE: &str =
    r"^([0-9]{1,6}(\.[0-9]{1,3})?(KiB|MiB|GiB|kB|MB|GB)|[0-9]{1,3}(\.[0-9]{1,3})?(TiB|TB))$";
/// At least a millisecond, at most ten years.
const DURATION: &str = r"^(([1-9][0-9]{0,2}d)([1-9][0-9]{0,3}h)?([1-9][0-9]{0,5}m)?([1-9][0-9]{0,6}s)?([1-9][0-9]{0,9}ms)?|([1-9][0-9]{0,3}h)([1-9][0-9]{0,5}m)?([1-9][0-9]{0,6}s)?([1-9][0-9]{0,9}ms)?|([1-9][0-9]{0,5}m)([1-9][0-9]{0,6}s)?([1-9][0-9]{0,9}ms)?|([1-9][0-9]{0,6}s)([1-9][0-9]{0,9}ms)?|[1-9][0-9]{0,9}ms)$";
/// RFC 3339, in this century and on a day that there is.
const MOMENT: &str = r"^(20[0-9]{2}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|20([02468][048]|[13579][26])-02-29)T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";
/// A variable's name that is not one of ours.
const VARIABLE: &str = r"^(E|EB|EBB|([^E=\x00]|E[^B=\x00]|EB[^B=\x00]|EBB[^_=\x00])[^=\x00]*)$";
/// Relative, and no part is `..`.
const OUTPUT: &str = r"^([^/.\x00][^/\x00]*|\.([^/.\x00][^/\x00]*)?|\.\.[^/\x00]+)(/([^/.\x00][^/\x00]*|\.([^/.\x00][^/\x00]*)?|\.\.[^/\x00]+)?)*$";
const JOB_ID: &str = "^job_[0-7][0-9a-hjkmnp-tv-z]{12}$";
const ITEMS_KEY: &str = "^items_[0-7][0-9a-hjkmnp-tv-z]{12}$";
const NAMESPACE: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";

/// The hand-written schemas by their names in `components`.
pub fn schemas() -> Map<String, Value> {
    let all = [
        ("JobDocument", job()),
        ("JobPatchDocument", patch()),
        ("JobsDocument", lines("Documents, one a line.", &reference("JobDocument"))),
        ("ItemsDocument", lines("JSON strings, one a line.", &text(limits::TEXT_BYTES))),
        ("GroupDocument", group()),
        ("ResourcesDocument", resources()),
        ("RestartDocument", restart()),
    ];
    all.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

fn described(text: &str, mut schema: Value) -> Value {
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("description".to_owned(), text.into());
    }
    schema
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// A body of lines is described as the list of them.
fn lines(what: &str, line: &Value) -> Value {
    described(what, json!({"type": "array", "minItems": 1, "items": line}))
}

fn name() -> Value {
    let schema = json!({
        "type": "string", "minLength": 1, "maxLength": limits::NAME_BYTES, "pattern": NAME,
    });
    described("1 to 128 printable bytes.", schema)
}

fn text(most_bytes: usize) -> Value {
    json!({"type": "string", "maxLength": most_bytes, "pattern": TEXT})
}

fn duration(text: &str) -> Value {
    described(text, json!({"type": "string", "pattern": DURATION, "examples": ["90s", "1h30m"]}))
}

fn priority() -> Value {
    described(
        "Higher goes first; 0 by default.",
        json!({"type": "integer", "minimum": -1000, "maximum": 1000}),
    )
}

fn max_running() -> Value {
    described(
        "At most so many tasks of the job are on nodes at once.",
        json!({"type": "integer", "minimum": 1, "maximum": u32::MAX}),
    )
}

/// How long after submission, or when.
fn deadline() -> Value {
    described(
        "When it should be done: how long after its submission, or a time (RFC 3339) that is not \
         past. Spot machines are waited for only while there is time to spare; nothing is stopped \
         when it is missed.",
        json!({"oneOf": [
            {"type": "string", "pattern": DURATION, "examples": ["60h"]},
            {"type": "string", "pattern": MOMENT, "examples": ["2031-05-01T18:00:00Z"]},
        ]}),
    )
}

fn on_task_failure() -> Value {
    described(
        "Whether a failed task stops its siblings; `continue` by default.",
        json!({"type": "string", "enum": ["continue", "stop"]}),
    )
}

fn job_after() -> Value {
    let id = json!({"type": "string", "pattern": JOB_ID});
    described(
        "Jobs that must have succeeded first; should one end otherwise, this one is cancelled.",
        json!({"type": "array", "maxItems": limits::AFTER_JOBS, "uniqueItems": true, "items": id}),
    )
}

fn label() -> Value {
    json!({"type": "string", "maxLength": limits::LABEL_BYTES, "pattern": TEXT})
}

fn labels(value: &Value) -> Value {
    let key = json!({
        "minLength": 1, "maxLength": limits::LABEL_BYTES, "pattern": r"^[^\x00]+$",
    });
    described(
        "For selectors.",
        json!({
            "type": "object", "maxProperties": limits::LABELS, "propertyNames": key,
            "additionalProperties": value,
        }),
    )
}

fn job() -> Value {
    json!({
        "type": "object",
        "description": "A job. Fields that are not listed are refused.",
        "required": ["group"],
        "additionalProperties": false,
        "properties": {
            "name": name(),
            "kind": described("What kind of job; `batch` by default.",
                json!({"type": "string", "enum": ["batch"]})),
            "namespace": described("Whom it belongs to; `default` by default.",
                json!({"type": "string", "pattern": NAMESPACE})),
            "priority": priority(),
            "labels": labels(&label()),
            "on_task_failure": on_task_failure(),
            "max_running": max_running(),
            "deadline": deadline(),
            "after": job_after(),
            "group": {
                "type": "array", "minItems": 1, "maxItems": limits::GROUPS,
                "items": reference("GroupDocument"),
                "description": "Tasks of one kind each.",
            },
        },
        "examples": [{
            "name": "digest",
            "group": [{
                "name": "digest", "items": ["a.txt", "b.txt"],
                "command": ["sh", "-c", "sha256sum \"$EBB_ITEM\""],
                "resources": {"cpu": "500m", "memory": "256MiB"}, "timeout": "10m",
            }],
        }],
    })
}

/// One of three: so many tasks, one task an item, one task an uploaded item.
fn group() -> Value {
    let count = described(
        "How many tasks; 1 by default. All groups of a job together have at most 100,000,000.",
        json!({"type": "integer", "minimum": 1, "maximum": limits::TASKS}),
    );
    let items = described(
        "One task each, in `$EBB_ITEM`.",
        json!({"type": "array", "minItems": 1, "items": text(limits::TEXT_BYTES)}),
    );
    let key = described(
        "The same, uploaded by `POST /v1/items` before.",
        json!({"type": "string", "pattern": ITEMS_KEY}),
    );
    json!({
        "description": "Tasks of one kind: by number, by items, or by the key of uploaded items.",
        "oneOf": [
            one_group("count", count, false),
            one_group("items", items, true),
            one_group("items_key", key, true),
        ],
    })
}

fn one_group(key: &str, tasks: Value, is_required: bool) -> Value {
    let mut properties = group_properties();
    properties.insert(key.to_owned(), tasks);
    let required: Vec<&str> =
        std::iter::once("command").chain(is_required.then_some(key)).collect();
    json!({
        "type": "object", "title": format!("by {key}"), "required": required,
        "additionalProperties": false, "properties": properties,
    })
}

fn group_properties() -> Map<String, Value> {
    let command = json!({
        "type": "array", "minItems": 1, "maxItems": limits::COMMAND_WORDS,
        "prefixItems": [
            {"type": "string", "minLength": 1, "maxLength": limits::TEXT_BYTES, "pattern": r"^[^\x00]+$"},
        ],
        "items": text(limits::TEXT_BYTES),
    });
    let env = json!({
        "type": "object", "maxProperties": limits::ENV,
        "propertyNames": {"minLength": 1, "pattern": VARIABLE},
        "additionalProperties": text(limits::TEXT_BYTES),
    });
    let outputs = json!({
        "type": "array", "maxItems": limits::OUTPUTS,
        "items": {"type": "string", "minLength": 1, "maxLength": 1024, "pattern": OUTPUT},
    });
    let names = |what: &str| {
        let name = json!({
            "type": "string", "minLength": 1, "maxLength": limits::LABEL_BYTES, "pattern": TEXT,
        });
        described(what, json!({"type": "array", "minItems": 1, "maxItems": 1_000, "items": name}))
    };
    let after = json!({"type": "array", "maxItems": limits::GROUPS, "items": name()});
    let workdir = json!({
        "type": "string", "maxLength": limits::TEXT_BYTES, "pattern": r"^/[^\x00]*$",
    });
    let purchase = json!({"type": "string", "enum": ["spot", "on-demand", "spot-then-on-demand"]});
    let properties = json!({
        "name": name(),
        "after": described("Groups of this job that must have succeeded first.", after),
        "command": described("Program and arguments.", command),
        "env": described("Environment; names that begin with EBB_ are ours.", env),
        "workdir": described("Absolute folder to start in; by default the attempt's own.", workdir),
        "outputs": described("Files to keep: patterns below the attempt's own folder, without `..`.", outputs),
        "resources": reference("ResourcesDocument"),
        "restart": reference("RestartDocument"),
        "timeout": duration("A task that runs longer is ended, and has failed on its own."),
        "expect": duration("What a task usually takes, until history knows."),
        "purchase": described("How machines may be paid for; `spot` by default.", purchase),
        "zones": names("Availability zones that are allowed."),
        "instance_types": names("Instance types that are allowed."),
    });
    match properties {
        Value::Object(properties) => properties,
        _ => Map::new(),
    }
}

fn resources() -> Value {
    let cpu = json!({"oneOf": [
        {"type": "number", "minimum": 0, "maximum": 4_294_967, "multipleOf": 0.001},
        {"type": "string", "pattern": CPU},
    ]});
    let size = |what: &str| described(what, json!({"type": "string", "pattern": SIZE}));
    json!({
        "type": "object",
        "description": "What one task needs. More than any machine has is accepted, and explained.",
        "additionalProperties": false,
        "properties": {
            "cpu": described("\"500m\", or cores: 0.5, 4; 1 by default.", cpu),
            "memory": size("\"256MiB\", \"1.5GiB\", \"2GB\"; 256MiB by default."),
            "disk": size("Alike; none by default."),
            "gpus": described("Whole GPUs; 0 by default.",
                json!({"type": "integer", "minimum": 0, "maximum": 1024})),
        },
    })
}

fn restart() -> Value {
    let codes = json!({
        "type": "array", "maxItems": 256,
        "items": {"type": "integer", "minimum": 1, "maximum": 255},
    });
    let backoff = json!({"oneOf": [
        {"type": "string", "pattern": DURATION}, {"type": "string", "enum": ["0s"]},
    ]});
    json!({
        "type": "object",
        "description": "What happens when a task fails on its own; interruptions are not counted.",
        "additionalProperties": false,
        "properties": {
            "max_failures": described("The failure after these fails the task; 3 by default.",
                json!({"type": "integer", "minimum": 0, "maximum": 10_000})),
            "backoff": described("Wait before the second attempt, doubled by each failure; 5s by default.", backoff),
            "no_retry_exit_codes": described("Codes that fail the task at once.", codes),
        },
    })
}

/// RFC 7396 over the fields that may change; null sets a field back to its default.
fn patch() -> Value {
    let or_null = |schema: Value| json!({"oneOf": [schema, {"type": "null"}]});
    json!({
        "type": "object",
        "description": "A merge patch (RFC 7396): only the fields present change, null sets one \
                        back to its default, labels merge key by key.",
        "additionalProperties": false,
        "properties": {
            "name": or_null(name()),
            "labels": or_null(labels(&or_null(label()))),
            "priority": or_null(priority()),
            "max_running": or_null(max_running()),
            "deadline": or_null(deadline()),
            "on_task_failure": or_null(on_task_failure()),
            "after": or_null(job_after()),
        },
    })
}
