//! The real sets: figures that were counted by others (`field/planning.md`, and the sets' own
//! columns). Skipped, with a word, where the data is not there.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use ::market::recorded::{Depth, PoolTrace};

use super::super::csv::Table;
use super::super::error::Complaints;
use super::*;

fn data(path: &str) -> Option<String> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let bytes = match std::fs::read(Path::new(root).join(path)) {
        Ok(bytes) => bytes,
        Err(error) => {
            println!("skipped: {path}: {error}");
            return None;
        }
    };
    let mut text = String::new();
    if path.ends_with(".gz") {
        let mut unpacked = flate2::read::GzDecoder::new(bytes.as_slice());
        unpacked.read_to_string(&mut text).expect("gzip of UTF-8");
    } else {
        text = String::from_utf8(bytes).expect("UTF-8");
    }
    Some(text)
}

/// Ticks with a machine, of the first `ticks`, and how many ticks these are.
fn up(pool: &PoolTrace, ticks: usize) -> (usize, usize) {
    let Depth::PerTick(machines) = &pool.machines else { panic!("a record by tick") };
    let first = &machines[..ticks.min(machines.len())];
    (first.iter().filter(|machines| **machines > 0).count(), first.len())
}

fn permille((up, of): (usize, usize)) -> usize {
    (up * 1_000 + of / 2) / of
}

#[test]
fn the_2400_samples_have_the_availability_that_is_written_beside_them() {
    const PATH: &str = "spot/cant-be-late-samples/";
    let Some(text) = data(&format!("{PATH}samples_300x8_600s.json.gz")) else { return };
    let samples = cant_be_late::samples(&text, Polarity::OneIsPreempted).expect("samples");
    assert_eq!(samples.len(), 2_400);
    let expected = data(&format!("{PATH}expected_C48_R60_d0.2.csv.gz")).expect("its figures");
    let mut complaints = Complaints::default();
    let table = Table::begin(&expected, &mut complaints).expect("a header");
    let zone = table.column("zone", &mut complaints).expect("a column");
    let index = table.column("i", &mut complaints).expect("a column");
    let share = table.column("avail_frac_in_60h", &mut complaints).expect("a column");
    let rows = table.rows(&mut complaints, |row, _| {
        let index: u32 = row.text(index).parse().expect("a number");
        Some(((row.text(zone).to_owned(), index), row.text(share).to_owned()))
    });
    let expected: BTreeMap<_, _> = rows.expect("rows").into_iter().collect();
    for sample in &samples {
        let (up, of) = up(&sample.recording.pools[0], 360);
        assert_eq!(of, 360);
        // The column has four places, or fewer.
        let stated: f64 =
            expected[&(sample.zone.to_string(), sample.index)].parse().expect("share");
        let off = stated - up as f64 / 360.0;
        assert!(off.abs() < 0.000_051, "{} {}: {stated}, {up}", sample.zone, sample.index);
    }
    // planning.md §4.1: means of the zones over those 60 hours, in per cent.
    let mut zones: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for sample in &samples {
        let (more, of) = up(&sample.recording.pools[0], 360);
        let (sum, ticks) = zones.entry(&sample.zone).or_default();
        (*sum, *ticks) = (*sum + more, *ticks + of);
    }
    let shown: Vec<(&str, usize)> =
        zones.into_iter().map(|(zone, sum)| (zone, (permille(sum) + 5) / 10)).collect();
    assert_eq!(
        shown,
        [
            ("us-west-2a_k80_1", 95),
            ("us-west-2a_k80_8", 58),
            ("us-west-2a_v100_1", 69),
            ("us-west-2a_v100_8", 36),
            ("us-west-2b_k80_1", 24),
            ("us-west-2b_k80_8", 59),
            ("us-west-2b_v100_1", 51),
            ("us-west-2b_v100_8", 28),
        ]
    );
}

#[test]
fn the_three_zones_are_45_days_by_195_seconds() {
    let mut inputs = Vec::new();
    for zone in ["us-east-1c", "us-east-2b", "us-west-2a"] {
        let path = format!("spot/skynomad/v100_3zone_195s/{zone}_v100_1.json.gz");
        let Some(text) = data(&path) else { return };
        inputs.push((path, text));
    }
    let inputs: Vec<_> = inputs.iter().map(|(name, text)| Input { name, text }).collect();
    let mut options = MarketOptions {
        polarity: Some(Polarity::OneIsPreempted),
        egress: data("spot/skynomad/aws_egress_pricing.csv"),
        ..MarketOptions::default()
    };
    let markets = market(MarketFormat::Skynomad, &inputs, &options).expect("a market").value;
    let recording = &markets[0].recording;
    let shares: Vec<usize> =
        recording.pools.iter().map(|pool| permille(up(pool, usize::MAX))).collect();
    assert_eq!(shares, [467, 682, 883]);
    assert_eq!(up(&recording.pools[0], usize::MAX).1, 20_158);
    assert_eq!(recording.egress_per_gb("us-east-1c", "us-west-2a"), MicroUsd(20_000));
    assert_eq!(recording.egress_per_gb("us-east-1c", "us-east-2b"), MicroUsd(10_000));
    // The first of the artifact's windows begins after 179.725 hours, which are 3,318 ticks.
    options.start_ms = 179_725 * 3_600;
    let markets = market(MarketFormat::Skynomad, &inputs, &options).expect("a market").value;
    assert_eq!(up(&markets[0].recording.pools[0], usize::MAX).1, 20_158 - 3_318);
    let written = crate::files::market::write(&markets[0].recording);
    let read = crate::files::market::parse(&written);
    assert_eq!(read.as_ref(), Ok(&markets[0].recording));
}

#[test]
fn four_nodes_have_one_price_a_zone() {
    let machine = Machine::p3_2xlarge();
    for (zone, ticks, share, price) in [
        ("us-east-1f", 1_578, 388, 1_264_891),
        ("us-east-2a", 1_578, 622, 930_318),
        ("us-west-2c", 1_578, 776, 942_304),
    ] {
        let path = format!("spot/skynomad/v100_4node_600s/{zone}_v100_1/full.json");
        let Some(text) = data(&path) else { return };
        assert_eq!(spot_traces::zone_of(&path).as_deref(), Some(zone));
        let pool = spot_traces::pool(&text, zone, &machine, Polarity::OneIsPreempted);
        let pool = pool.expect("a pool");
        assert_eq!(pool.spot, ::market::recorded::Prices::Constant(MicroUsd(price)));
        let up = up(&pool, usize::MAX);
        assert_eq!((up.1, permille(up)), (ticks, share), "{zone}");
    }
}

#[test]
fn parcaes_fleet_has_up_to_32_machines_for_11_hours() {
    let Some(text) = data("spot/parcae/p3.csv") else { return };
    let pool = parcae::pool(&text, "z", &Machine::p3_2xlarge(), 60_000).expect("a pool");
    let Depth::PerTick(machines) = &pool.machines else { panic!("by tick") };
    assert_eq!((machines.len(), machines.iter().max()), (683, Some(&32)));
    assert_eq!((machines[0], machines[1], machines[3], machines[682]), (18, 19, 23, 10));
}

#[test]
fn karpenters_and_the_advisors_tables_make_a_market() {
    let paths = [
        "catalog/karpenter_instance_types.csv",
        "catalog/karpenter_on_demand_us-east-1_2026-07-20.csv",
        "spot/advisor/spot-advisor-data-2025-06-28.json.gz",
    ];
    let mut texts = Vec::new();
    for path in paths {
        let Some(text) = data(path) else { return };
        texts.push((path, text));
    }
    let inputs: Vec<_> = texts.iter().map(|(name, text)| Input { name, text }).collect();
    let any = catalog::Options { architecture: String::new(), ..catalog::Options::default() };
    // 1,345 of Karpenter's 1,363 types have a price; 883 of them are in the advisor's data.
    let recording = catalog::read(&inputs, &any).expect("a market").value;
    let spot = recording.pools.iter().filter(|pool| pool.machines != Depth::Constant(0)).count();
    assert_eq!((recording.pools.len(), spot), (1_345, 883));
    let recording = catalog::read(&inputs, &catalog::Options::default()).expect("a market").value;
    let spot = recording.pools.iter().filter(|pool| pool.machines != Depth::Constant(0)).count();
    assert_eq!((recording.pools.len(), spot), (949, 618));
    // The live market has the same figures, from the same day.
    for known in &::market::TYPES {
        let same = recording.pools.iter().find(|pool| *pool.instance_type == *known.name);
        let pool = same.expect(known.name);
        assert_eq!(pool.on_demand, known.on_demand);
        assert_eq!(pool.capacity.memory_mib, known.memory_mib);
        assert_eq!(pool.capacity.cpu_millis, known.vcpu * 1_000);
        assert_eq!(pool.hazard_ppm_hour, known.interruption.hazard_ppm_hour());
        let saved = known.on_demand.0 * i64::from(100 - known.spot_saving_percent);
        assert_eq!(pool.spot, ::market::recorded::Prices::Constant(MicroUsd((saved + 50) / 100)));
    }
    // moto's records say the same of the types that both know.
    let Some(moto) = data("catalog/moto_instance_types.json.gz") else { return };
    let with_moto = [Input { name: "moto", text: &moto }, inputs[1], inputs[2]];
    let other = catalog::read(&with_moto, &any).expect("a market").value;
    let capacities: BTreeMap<_, _> =
        other.pools.iter().map(|pool| (&pool.instance_type, pool.capacity)).collect();
    let differing = recording.pools.iter().filter(|pool| {
        capacities.get(&pool.instance_type).is_some_and(|other| *other != pool.capacity)
    });
    let differing: Vec<&str> = differing.map(|pool| pool.instance_type.as_ref()).collect();
    assert_eq!(differing, Vec::<&str>::new());
}

#[test]
fn openb_has_8152_pods_of_which_897_never_ran() {
    let Some(text) = data("workload/alibaba-gpu-2023/openb_pod_list_default.csv") else { return };
    let kept = |select, unscheduled| {
        let options = openb::Options { select, unscheduled };
        openb::read(&text, &options, &Each::default()).expect("pods").value
    };
    let count = |select, unscheduled| kept(select, unscheduled).len();
    let (dropped, all) = (openb::Unscheduled::Dropped, openb::Unscheduled::Kept);
    // One of the 897 was deleted in the second in which it was created.
    assert_eq!(count(openb::Select::All, all), 8_152 - 1);
    assert_eq!(count(openb::Select::All, dropped), 8_152 - 897);
    assert_eq!(count(openb::Select::CpuOnly, all), 1_088);
    // 7,064 need a GPU, 3,078 of them a share; that one is among the shares.
    assert_eq!(count(openb::Select::WholeGpus, all), 7_064 - 3_078);
    let gpus = kept(openb::Select::All, all).iter().filter(|job| job.ask.gpus > 0).count();
    assert_eq!(gpus, 7_064 - 1);

    // From being scheduled to being deleted: counted by another program (planning.md §3 has the
    // time since the creation of all pods: median 0.15 h, mean 7.2 h).
    let ran = kept(openb::Select::All, dropped);
    let sum: u64 = ran.iter().map(|job| job.work.work_ms).sum();
    assert_eq!(sum / 7_255 / 36_000, 804);
    let mut works: Vec<u64> = ran.iter().map(|job| job.work.work_ms).collect();
    works.sort_unstable();
    assert_eq!((works[0], works[7_255 / 2]), (4_000, 616_000));

    let Some(text) = data("workload/alibaba-gpu-2023/openb_pod_list_cpu250.csv") else { return };
    let options = openb::Options { select: openb::Select::CpuOnly, unscheduled: all };
    let cpu = openb::read(&text, &options, &Each::default()).expect("pods").value;
    assert_eq!(cpu.len(), 2_356);
    assert!(cpu.windows(2).all(|pair| pair[0].arrival_ms <= pair[1].arrival_ms));

    let path = "workload/alibaba-gpu-2023/openb_pod_list_multigpu50.csv";
    let Some(text) = data(path) else { return };
    assert!(wrong(openb::pods(&text, openb::Select::All)).contains("has no times"));
}

#[test]
fn surf_has_68648_jobs_of_one_shape() {
    let Some(text) = data("workload/surf_month_tasks.csv.gz") else { return };
    let jobs = surf::jobs(&text).expect("jobs");
    assert_eq!(jobs.len(), 68_648);
    let shape = Resources { cpu_millis: 16_000, memory_mib: 100_000, disk_mib: 0, gpus: 0 };
    assert!(jobs.iter().all(|job| job.ask == shape && job.deadline_ms.is_none()));
    assert_eq!(jobs[0].arrival_ms, 0);
    assert_eq!(jobs[68_647].arrival_ms / 86_400_000, 30);
    let mut works: Vec<u64> = jobs.iter().map(|job| job.work.work_ms).collect();
    works.sort_unstable();
    // planning.md §3: median 69 s, mean 1.26 h, p99 36 h.
    assert_eq!(works[34_324], 69_000);
    assert_eq!((works.iter().sum::<u64>() / 68_648 + 18_000) / 36_000, 126);
    assert_eq!((works[67_961] + 1_800_000) / 3_600_000, 36);
    let written = crate::files::jobs::write(&jobs);
    assert_eq!(crate::files::jobs::parse(&written), Ok(jobs));
}
