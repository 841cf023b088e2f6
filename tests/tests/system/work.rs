//! Jobs whose tasks can be counted and held back from outside.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};
use system_tests::{Scratch, until};

/// Two files: tasks write into the one when they start and wait until the other exists.
pub(crate) struct Work {
    starts: PathBuf,
    gate: PathBuf,
}

impl Work {
    pub(crate) fn new(scratch: &Scratch) -> Self {
        Self { starts: scratch.path().join("starts"), gate: scratch.path().join("gate") }
    }

    /// `count` tasks that note their start; each `every`th then waits for the gate.
    pub(crate) fn group(&self, count: u32, every: u32) -> Value {
        let script = format!(
            "echo $EBB_TASK_INDEX >>{starts}\n\
             [ $((EBB_TASK_INDEX % {every})) -ne 0 ] || until [ -e {gate} ]; do sleep 0.02; done\n\
             echo done $EBB_TASK_INDEX",
            starts = self.starts.display(),
            gate = self.gate.display(),
        );
        json!({
            "count": count,
            "command": ["sh", "-c", script],
            "resources": { "cpu": "100m", "memory": "8MiB" },
        })
    }

    /// Lets the waiting tasks go on.
    pub(crate) fn open(&self) {
        std::fs::write(&self.gate, "").expect("a file");
    }

    /// How often each task has started.
    pub(crate) fn starts(&self) -> BTreeMap<u32, u32> {
        let mut out = BTreeMap::new();
        for line in std::fs::read_to_string(&self.starts).unwrap_or_default().lines() {
            *out.entry(line.parse().expect("an index")).or_default() += 1;
        }
        out
    }

    /// Waits until so many tasks have started.
    pub(crate) async fn started(&self, count: usize) {
        until(&format!("{count} tasks start"), async || {
            (self.starts().len() >= count).then_some(())
        })
        .await;
    }
}
