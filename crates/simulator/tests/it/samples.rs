//! The random starts of Can't Be Late, from the folder of shared data beside the repository.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::GzDecoder;
use market::recorded::{Billing, DecideAt, Depth, PoolTrace, Prices, Recording};
use model::{MicroUsd, Resources};
use simulator::jobs::JobWork;
use simulator::work::{Checkpoint, Work};

const DEVICE: Resources = Resources { cpu_millis: 8_000, memory_mib: 62_464, disk_mib: 0, gpus: 1 };

pub(crate) const HOUR_MS: u64 = 3_600_000;

/// One start in one zone.
pub(crate) struct Sample {
    pub(crate) zone: String,
    pub(crate) index: u64,
    pub(crate) market: Arc<Recording>,
}

fn data() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data"))
        .join("spot/cant-be-late-samples")
}

#[expect(clippy::print_stdout, reason = "whoever runs the tests should know what was left out")]
fn skipped(name: &str) {
    println!("skipped: {name} is not beside the repository");
}

/// A file's text, unpacked; nothing, with a word about it, where the data is not there.
pub(crate) fn unpacked(name: &str) -> Option<String> {
    let path = data().join(name);
    let Ok(file) = std::fs::File::open(&path) else {
        skipped(name);
        return None;
    };
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).expect("gzip of text");
    Some(text)
}

/// All 2,400, in the file's order. In the file a 1 is a tick without a machine.
pub(crate) fn samples() -> Option<Vec<Sample>> {
    let text = unpacked("samples_300x8_600s.json.gz")?;
    let file: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let gap_ms = file["gap_seconds"].as_u64().expect("seconds") * 1_000;
    let mut samples = Vec::new();
    for (zone, starts) in file["zones"].as_object().expect("zones") {
        for start in starts.as_array().expect("starts") {
            let preempted = start["data"].as_str().expect("data");
            let depth = preempted.chars().map(|tick| u32::from(tick == '0')).collect();
            samples.push(Sample {
                zone: zone.clone(),
                index: start["i"].as_u64().expect("a number"),
                market: Arc::new(market(zone, depth, gap_ms)),
            });
        }
    }
    Some(samples)
}

fn market(zone: &str, depth: Vec<u32>, gap_ms: u64) -> Recording {
    let pool = PoolTrace {
        zone: zone.into(),
        instance_type: "p3.2xlarge".into(),
        capacity: DEVICE,
        on_demand: MicroUsd(3_060_000),
        spot: Prices::Constant(MicroUsd(973_100)),
        machines: Depth::PerTick(depth),
        gap_ms,
        hazard_ppm_hour: 0,
    };
    Recording {
        gap_ms,
        notice_ms: 0,
        boot_ms: 0,
        billing: Billing::Tick,
        decide_at: DecideAt::Tick,
        egress: BTreeMap::new(),
        pools: vec![pool],
    }
}

/// One task with continuous checkpoints.
pub(crate) fn job(work_ms: u64, deadline_ms: u64, changeover_ms: u64) -> Arc<JobWork> {
    let checkpoint = Checkpoint::Continuous;
    Arc::new(JobWork {
        id: "a".into(),
        arrival_ms: 0,
        deadline_ms: Some(deadline_ms),
        count: 1,
        ask: DEVICE,
        work: Work { work_ms, changeover_ms, checkpoint },
        checkpoint_milligib: 0,
    })
}
