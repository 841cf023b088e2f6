//! What was measured, as a table and as one JSON object.

use std::fmt::Write as _;

use serde::Serialize;

/// All figures.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) placements: Vec<Placements>,
    pub(crate) databases: Vec<Figures>,
}

/// What bounds the rest.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) fdatasync_8kib: Spread,
    /// `true` a second, spawned and waited for by one parent.
    pub(crate) bare_spawns_per_s: u64,
    pub(crate) bare_spawn_cpu_us: u64,
    /// When more ran than there are cores, figures are lower bounds.
    pub(crate) load_milli: u64,
}

/// Durations in microseconds.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(crate) struct Spread {
    pub(crate) samples: usize,
    pub(crate) median_us: u64,
    pub(crate) p99_us: u64,
}

/// Decisions a second, without any database.
#[derive(Debug, Serialize)]
pub(crate) struct Placements {
    pub(crate) nodes: u64,
    pub(crate) policy: String,
    pub(crate) many_tasks_a_call_per_s: u64,
    pub(crate) one_task_a_call_per_s: u64,
}

/// Of one database.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Figures {
    pub(crate) database: &'static str,
    pub(crate) tasks_per_s: u64,
    /// Of the bare spawn rate, in percent.
    pub(crate) share_percent: u64,
    pub(crate) cpu_us_per_task: u64,
    pub(crate) single_submits_per_s: u64,
    /// The same beside 1,000 idle connections.
    pub(crate) crowded_submits_per_s: u64,
    pub(crate) bulk_submits_per_s: u64,
    pub(crate) array_of_a_million_us: u64,
    pub(crate) submit_to_start: Spread,
    pub(crate) kill_to_start_elsewhere: Spread,
}

impl Spread {
    pub(crate) fn of(mut samples: Vec<u64>) -> Self {
        samples.sort_unstable();
        let at = |percent: usize| {
            let rank = (samples.len() * percent).div_ceil(100).saturating_sub(1);
            samples.get(rank).copied().unwrap_or(0)
        };
        Self { samples: samples.len(), median_us: at(50), p99_us: at(99) }
    }
}

impl Report {
    pub(crate) fn table(&self) -> String {
        let machine = &self.machine;
        let mut rows = vec![
            ["cores".to_owned(), machine.cores.to_string()],
            ["load at the start".to_owned(), format!("{}", Millis(machine.load_milli))],
            ["fdatasync of 8 KiB, median / p99".to_owned(), machine.fdatasync_8kib.shown()],
            ["bare spawns of `true`, one parent".to_owned(), {
                let cpu = Millis(machine.bare_spawn_cpu_us);
                format!("{}/s, {cpu} CPU-ms each", machine.bare_spawns_per_s)
            }],
        ];
        for figures in &self.placements {
            let name = format!("placements, {} nodes, {}", figures.nodes, figures.policy);
            let value = format!(
                "{}/s (one task a call: {}/s)",
                figures.many_tasks_a_call_per_s, figures.one_task_a_call_per_s
            );
            rows.push([name, value]);
        }
        for figures in &self.databases {
            rows.extend(figures.rows());
        }
        let width = rows.iter().map(|[name, _]| name.chars().count()).max().unwrap_or(0);
        let mut out = String::new();
        for [name, value] in rows {
            let _ = writeln!(out, "{name:width$}  {value}");
        }
        out
    }
}

impl Figures {
    fn rows(&self) -> Vec<[String; 2]> {
        let row = |name: &str, value: String| [format!("{}: {name}", self.database), value];
        let cpu = Millis(self.cpu_us_per_task);
        vec![
            row(
                "no-op process tasks, end to end",
                format!(
                    "{}/s, {} % of the bare spawn rate, {cpu} CPU-ms each",
                    self.tasks_per_s, self.share_percent
                ),
            ),
            row("durable submits, 16 clients", format!("{}/s", self.single_submits_per_s)),
            row(
                "the same among 1,000 idle connections",
                format!("{}/s", self.crowded_submits_per_s),
            ),
            row("durable submits, bulk", format!("{}/s", self.bulk_submits_per_s)),
            row("array of a million", format!("{} ms", Millis(self.array_of_a_million_us))),
            row("submit to start, idle, median / p99", self.submit_to_start.shown()),
            row("worker killed to start elsewhere", self.kill_to_start_elsewhere.shown()),
        ]
    }
}

impl Spread {
    fn shown(self) -> String {
        format!("{} / {} ms (of {})", Millis(self.median_us), Millis(self.p99_us), self.samples)
    }
}

/// Thousandths with two places.
struct Millis(u64);

impl std::fmt::Display for Millis {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}.{:02}", self.0 / 1000, self.0 % 1000 / 10)
    }
}
