use std::collections::BTreeMap;

use market::recorded::{Billing, DecideAt, Depth, PoolTrace, Prices, Recording};
use model::{MicroUsd, PurchaseOption, Resources};

use super::*;
use crate::result::{JobResult, RunResult, Seconds};
use crate::series::{MachinesRow, Series, Waste};
use crate::work::{Checkpoint, Work};

const HOSTILE: &str = "</title><script>alert(1)</script>\"'&";

fn recording() -> Recording {
    let pool = PoolTrace {
        zone: HOSTILE.into(),
        instance_type: HOSTILE.into(),
        capacity: Resources { cpu_millis: 2_000, memory_mib: 8_000, disk_mib: 0, gpus: 0 },
        on_demand: MicroUsd(96_000),
        spot: Prices::PerTick(vec![MicroUsd(30_000), MicroUsd(40_000)]),
        machines: Depth::PerTick(vec![2, 0]),
        gap_ms: 1_800_000,
        hazard_ppm_hour: 0,
    };
    let egress = BTreeMap::from([("a".into(), BTreeMap::new())]);
    let (billing, decide_at) = (Billing::Second, DecideAt::Event);
    let pools = vec![pool];
    Recording {
        gap_ms: 1_800_000,
        notice_ms: 120_000,
        boot_ms: 60_000,
        billing,
        decide_at,
        egress,
        pools,
    }
}

fn job(id: &str) -> Arc<JobWork> {
    let checkpoint = Checkpoint::Periodic { period_ms: 60_000, cost_ms: 1_000 };
    Arc::new(JobWork {
        id: id.into(),
        arrival_ms: 0,
        deadline_ms: Some(7_200_000),
        count: 2,
        ask: Resources { cpu_millis: 2_000, memory_mib: 4_000, disk_mib: 0, gpus: 0 },
        work: Work { work_ms: 3_600_000, changeover_ms: 60_000, checkpoint },
        checkpoint_milligib: 0,
    })
}

fn outcome(policy: &str, jobs: &[Arc<JobWork>], done: bool) -> Outcome {
    let jobs = jobs.iter().map(|job| JobResult {
        id: job.id.clone(),
        finished_s: done.then_some(Seconds { ms: 5_000_000 }),
        deadline_met: done,
        cost_micro_usd: MicroUsd(90_000),
        starts: 3,
    });
    let row = |option| MachinesRow { pool: 0, option, held_ms: vec![2_500_000, 1_000_000] };
    let cost = vec![MicroUsd(70_000), MicroUsd(100_000)];
    let waste = Waste { lost: MicroUsd(9_000), idle: MicroUsd(10_000), ..Waste::default() };
    Outcome {
        result: RunResult {
            policy: policy.into(),
            seed: 1,
            cost_micro_usd: MicroUsd(100_000),
            on_demand_micro_usd: MicroUsd(200_000),
            wasted_micro_usd: MicroUsd(9_000),
            idle_micro_usd: MicroUsd(10_000),
            interruptions: 1_234,
            jobs: jobs.collect(),
        },
        series: Series {
            width_ms: 2_500_000,
            end_ms: 5_000_000,
            cost,
            machines: vec![row(PurchaseOption::Spot), row(PurchaseOption::OnDemand)],
            done_ms: vec![3_000_000, 7_200_000],
            done_by_job_ms: vec![vec![3_000_000, 7_200_000]],
            waste,
        },
    }
}

fn page(jobs: &[Arc<JobWork>], policies: &[(&str, bool)]) -> String {
    let outcomes: Vec<_> = policies.iter().map(|(name, done)| outcome(name, jobs, *done)).collect();
    html(&Page {
        title: HOSTILE,
        market_name: HOSTILE,
        jobs_name: HOSTILE,
        command: HOSTILE,
        market: &recording(),
        jobs,
        outcomes: &outcomes,
    })
}

/// Every element that is opened is closed, in order; answers how many there were.
fn balanced(text: &str) -> usize {
    const VOID: [&str; 2] = ["meta", "!DOCTYPE"];
    let (mut open, mut seen) = (Vec::new(), 0);
    let text = text.replace(STYLE, "");
    for tag in text.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("a tag ends");
        let name = tag.split([' ', '/']).find(|part| !part.is_empty()).expect("a name");
        seen += 1;
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name.to_owned()), "at {tag}");
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name.to_owned());
        }
    }
    assert_eq!(open, Vec::<String>::new());
    seen
}

#[test]
fn it_needs_nothing_and_runs_nothing() {
    let jobs = [job(HOSTILE), job("b")];
    let text = page(&jobs, &[("ebbtide", true), (HOSTILE, false), ("omniscient", true)]);
    assert!(balanced(&text) > 100);
    for word in ["<script", "http:", "https:", "url(", "src=\"", "@import", "<link", "javascript"] {
        assert!(!text.contains(word), "{word}");
    }
    assert!(text.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    let mut ids: Vec<_> =
        text.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), count > 10), (count, true), "ids are unique");
    for plot in text.split("<svg viewBox").skip(1) {
        let head = plot.split('>').next().unwrap_or_default();
        assert!(head.contains("aria-hidden") || head.contains("aria-labelledby"), "{head}");
    }
}

#[test]
fn its_first_lines_say_what_came_of_it() {
    let jobs = [job("a")];
    let first = |policies: &[(&str, bool)]| {
        let text = page(&jobs, policies);
        let (_, rest) = text.split_once("</h1>").expect("a headline");
        let (head, _) = rest.split_once("</header>").expect("its end");
        head.replace("</li><li>", "\n").replace("</p>", "\n").replace('\u{a0}', " ")
    };
    insta::assert_snapshot!(first(&[("ebbtide", true), ("omniscient", true)]), @r#"
    <p class="lead"><b>ebbtide</b>, the cheapest of the policies that did all of the work in time, paid <b>$0.1000</b>, 50.0 % of what it costs on demand.
    <ul class="tiles"><li><span>On demand</span><b>$0.2000</b><span>the same work on the cheapest machines that fit, no packing</span>
    <span>Ebbtide</span><b>$0.1000</b><span>50.0 % of on-demand; 1 of 1 deadlines met</span>
    <span>With all known beforehand</span><b>$0.1000</b><span>omniscient: nobody can do it for less</span></li></ul>
    "#);
    insta::assert_snapshot!(first(&[("greedy", false)]), @r#"
    <p class="lead">No policy did all of the work in time.
    <ul class="tiles"><li><span>On demand</span><b>$0.2000</b><span>the same work on the cheapest machines that fit, no packing</span></li></ul>
    "#);
}

#[test]
fn no_run_and_no_work_are_no_fault() {
    for (jobs, policies) in [(vec![], vec![("eva", true)]), (vec![job("a")], vec![])] {
        balanced(&page(&jobs, &policies));
    }
}

/// The figures of the plots' tables are those of the rows.
#[test]
fn plots_have_their_figures_beside_them() {
    let text = page(&[job("a")], &[("ebbtide", true)]);
    let (_, cost) = text.split_once("<h3>Cost over time</h3>").expect("a plot");
    let (_, table) = cost.split_once("<summary>In figures</summary>").expect("its figures");
    let (table, _) = table.split_once("</table>").expect("its end");
    insta::assert_snapshot!(table.replace("</tr>", "\n"), @r#"
    <div class="scroll"><table><thead><tr><th scope="col">At</th><th scope="col">ebbtide</th>
    </thead><tbody><tr><th scope="row">30m</th><td>$0.0504</td>
    <tr><th scope="row">1h</th><td>$0.0832</td>
    <tr><th scope="row">1h 23m</th><td>$0.1000</td>
    </tbody>
    "#);
}
