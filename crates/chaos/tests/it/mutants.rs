//! The headers of `tests/mutants/*.patch`; that they apply is tested in `xtask`, which applies them.

use std::path::Path;

use control::Invariant;

#[test]
fn every_mutant_names_a_promise_that_there_is() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/mutants");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("the folder of mutants") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|ending| ending != "patch") {
            continue;
        }
        seen += 1;
        let text = std::fs::read_to_string(&path).expect("a patch is text");
        let name = path.display();
        let breaks = text.lines().find_map(|line| line.strip_prefix("# breaks: "));
        let breaks = breaks.unwrap_or_else(|| panic!("{name} has no line `# breaks: `"));
        for id in breaks.split(',').map(str::trim) {
            let known = Invariant::ALL.into_iter().any(|invariant| invariant.id() == id);
            assert!(known, "{name} breaks `{id}`, which is no promise");
        }
        let needs = text.lines().find_map(|line| line.strip_prefix("# needs: "));
        assert!(needs.is_some_and(|needs| !needs.is_empty()), "{name} does not say what it needs");
    }
    assert!(seen >= 12, "only {seen} mutants");
}
