//! The demo's job: two groups of shell scripts over coreutils, and how their results read.

use std::path::Path;

use model::JobSpec;
use serde_json::{Value, json};

use super::corpus::Corpus;
use super::sums::Sum;
use crate::error::Failure;

/// Tasks of the second group.
pub(crate) const HEAVY: u32 = 20;
/// The output of each light task.
pub(crate) const OUTPUT: &str = "out/packed.gz";
/// The ordinal of the group with one task a file.
pub(crate) const DIGEST: u16 = 0;
/// The ordinal of the group with one task a bundle of folders.
pub(crate) const PACK: u16 = 1;

/// Notes a run in a file of the task's own, as `api::history` reads it: by the host's clock since
/// its boot, which needs no further process.
const NOTE: &str = r#"set -eu
note() { read -r up rest < /proc/uptime; echo "$1 $EBB_ATTEMPT $up" >> "$RUNS/$EBB_TASK_ID"; }
note start
"#;

/// Prints `HASH - LINES BYTES` of a file and keeps it, packed.
const DIGEST_SCRIPT: &str = r#"
exec < "$CORPUS/$EBB_ITEM"
sum=$(sha256sum < "$CORPUS/$EBB_ITEM")
size=$(wc -l -c < "$CORPUS/$EBB_ITEM")
gzip -n -c > "$EBB_OUTPUT_DIR/packed.gz"
echo "$sum $size"
note end
"#;

/// Packs the files of some folders as hard as gzip can, unpacks that again and prints
/// `HASH - LINES BYTES` of what came out.
const PACK_SCRIPT: &str = r#"
packed=$PWD/bundle.gz
cd "$CORPUS"
printf '%s\n' "$EBB_ITEM" | while IFS= read -r folder; do
  find "./$folder" -type f -print0 | LC_ALL=C sort -z | xargs -0 -r cat --
done | gzip -n -9 > "$packed"
sum=$(gzip -dc "$packed" | sha256sum)
size=$(gzip -dc "$packed" | wc -l -c)
rm "$packed"
echo "$sum $size"
note end
"#;

/// The document for `POST /v1/jobs`; tasks note their runs in a folder that is there.
pub(crate) fn document(corpus: &Corpus, runs: &Path) -> Result<Value, Failure> {
    let text = |folder: &Path| {
        let name = folder.to_str().map(str::to_owned);
        name.ok_or_else(|| {
            Failure::usage(format!("the folder {} has no UTF-8 name", folder.display()))
        })
    };
    let (root, runs) = (text(&corpus.root)?, text(runs)?);
    let script = |script: &str| format!("{NOTE}{script}");
    let bundles: Vec<_> = corpus.bundles.iter().map(|folders| folders.join("\n")).collect();
    let env = json!({"CORPUS": root, "RUNS": runs, "PATH": "/usr/local/bin:/usr/bin:/bin"});
    let document = json!({
        "name": "demo",
        "labels": {"origin": "demo"},
        "group": [
            {
                "name": "digest",
                "items": corpus.files,
                "command": ["sh", "-c", script(DIGEST_SCRIPT)],
                "env": env,
                "outputs": [OUTPUT],
                "resources": {"cpu": "250m", "memory": "32MiB"},
                "expect": "50ms",
            },
            {
                "name": "pack",
                "items": bundles,
                "command": ["sh", "-c", script(PACK_SCRIPT)],
                "env": env,
                "resources": {"cpu": "1", "memory": "64MiB"},
                "expect": "10s",
            },
        ],
    });
    JobSpec::parse(&document)
        .map_err(|faults| Failure::usage("the corpus cannot be a job").with_errors(faults))?;
    Ok(document)
}

/// Reads what a task printed.
pub(crate) fn result(stdout: &str) -> Option<Sum> {
    let words: Vec<_> = stdout.split_whitespace().collect();
    match words[..] {
        [sha256, "-", lines, bytes] => Some(Sum {
            sha256: sha256.to_owned(),
            lines: lines.parse().ok()?,
            bytes: bytes.parse().ok()?,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::corpus::{Size, gather};
    use super::super::sums;
    use super::*;

    #[test]
    fn the_scripts_say_what_the_sums_say() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join("corpus").join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, text).expect("written");
        };
        write("a b/x", "one\ntwo\n");
        write("a b/x.d/y", "no end of line");
        write("a b/x-z", "between by bytes, not by parts\n");
        write("c/.hidden", "3\n");
        let size = Size { light: 4, heavy: 2, seed: 1 };
        let corpus = gather(Some(&folder.path().join("corpus")), size, folder.path());
        let corpus = corpus.expect("a corpus");
        let sums = sums::of_corpus(&corpus).expect("read");
        let document = document(&corpus, folder.path()).expect("right");
        for (group, sums) in [(0, &sums.files), (1, &sums.bundles)] {
            let group = &document["group"][group];
            for (item, sum) in group["items"].as_array().expect("items").iter().zip(sums) {
                let output = Command::new("sh")
                    .args(["-c", group["command"][2].as_str().expect("a script")])
                    .env("CORPUS", group["env"]["CORPUS"].as_str().expect("a folder"))
                    .env("RUNS", folder.path())
                    .env("EBB_ATTEMPT", "job_7.0.0.1")
                    .env("EBB_TASK_ID", "noted")
                    .env("EBB_ITEM", item.as_str().expect("text"))
                    .env("EBB_OUTPUT_DIR", folder.path())
                    .current_dir(folder.path())
                    .output()
                    .expect("run");
                let text = String::from_utf8(output.stdout).expect("UTF-8");
                assert_eq!(result(&text).as_ref(), Some(sum), "{item}");
            }
        }
        let noted = std::fs::read_to_string(folder.path().join("noted")).expect("noted");
        let count = |what: &str| noted.lines().filter(|line| line.starts_with(what)).count();
        assert_eq!((count("start job_7.0.0.1 "), count("end job_7.0.0.1 ")), (6, 6));
    }

    #[test]
    fn other_text_is_no_result() {
        assert!(result("").is_none());
        assert!(result("abc - 1").is_none());
        assert!(result("abc - 1 2 3").is_none());
        assert!(result("abc - x 2").is_none());
    }
}
