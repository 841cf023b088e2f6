//! The page of limits is what the program does.

use std::collections::BTreeMap;

use manager::Limits;
use model::limits;

const PAGE: &str = include_str!("../../../../docs/guide/limits.md");

/// First and second cell of each row.
fn rows() -> BTreeMap<String, u64> {
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| ")?.split(" |").map(str::trim);
        let name = cells.next()?.trim_matches('`').to_owned();
        Some((name, number(cells.next()?)?))
    };
    PAGE.lines().filter_map(row).collect()
}

/// `64 KiB`, `30 s`, `24,000`.
fn number(text: &str) -> Option<u64> {
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let times = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "s" => 1_000,
        _ => return None,
    };
    Some(number.replace(',', "").parse::<u64>().ok()? * times)
}

/// The fields of a struct, as `Debug` shows them: a new one is on the page, or the test fails.
fn fields() -> BTreeMap<String, u64> {
    let shown = format!("{:?}", Limits::default());
    let inner = shown.strip_prefix("Limits { ").and_then(|it| it.strip_suffix(" }"));
    let field = |text: &str| {
        let (name, value) = text.split_once(": ").expect("a field");
        (name.to_owned(), value.parse().expect("a number"))
    };
    inner.expect("a struct").split(", ").map(field).collect()
}

#[test]
fn the_page_lists_every_limit_with_its_value() {
    let mut expected = fields();
    let as_u64 = |number: usize| u64::try_from(number).expect("fits");
    for (name, value) in [
        ("groups of a job", as_u64(limits::GROUPS)),
        ("tasks of a job", limits::TASKS),
        ("bytes of a name", as_u64(limits::NAME_BYTES)),
        ("labels of a job", as_u64(limits::LABELS)),
        ("bytes of a label's key or value", as_u64(limits::LABEL_BYTES)),
        ("words of a command", as_u64(limits::COMMAND_WORDS)),
        ("bytes of a word, a variable, an item", as_u64(limits::TEXT_BYTES)),
        ("variables of an environment", as_u64(limits::ENV)),
        ("patterns of outputs", as_u64(limits::OUTPUTS)),
        ("jobs that a job may come after", as_u64(limits::AFTER_JOBS)),
        ("milliseconds of a duration", limits::DURATION_MS),
        ("faults that are told of one document", as_u64(limits::FAULTS)),
    ] {
        expected.insert(name.to_owned(), value);
    }
    assert_eq!(rows(), expected);
}
