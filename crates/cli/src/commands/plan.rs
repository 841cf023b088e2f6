//! `ebb plan`.

use api::plan::{PlanView, RunTimeSource};

use super::Client;
use crate::args;
use crate::error::{Exit, Failure};
use crate::jobfile;
use crate::output::{Answer, Look, Tone};
use crate::render::{dollars, many, short};
use crate::table::{Column, col, table, wrapped};

pub(crate) async fn plan(client: &Client, args: &args::Plan) -> Result<Exit, Failure> {
    let draft = jobfile::read(&args.file)?;
    let view = client.remote.plan(&draft.counted()).await?;
    client.screen.show(&view)?;
    Ok(Exit::Ok)
}

/// A line below the head.
fn fact(name: &str, text: &str, look: Look) -> String {
    wrapped(&format!("  {name:<8} {text}"), look.width, 11)
}

/// To a tenth of a percent.
fn percent(permille: u32) -> String {
    match permille % 10 {
        0 => format!("{} %", permille / 10),
        tenth => format!("{}.{tenth} %", permille / 10),
    }
}

fn permille(ppm: u32) -> u32 {
    ppm.saturating_add(500) / 1_000
}

impl Answer for PlanView {
    fn text(&self, look: Look) -> String {
        let tasks = many(self.tasks, "task");
        let mut lines = vec![format!("{} with {tasks}; nothing was submitted", self.name)];
        if !self.why_not.is_empty() {
            let lines_of = self.why_not.iter().map(|not| {
                let told = format!("group {} cannot run: {}", not.group, not.why);
                look.paint.paint(&fact("never", &told, look), Tone::Bad)
            });
            lines.extend(lines_of);
            return lines.join("\n");
        }
        lines.push(String::new());
        lines.push(ranges(self, look));
        lines.push(String::new());
        if let Some(at) = self.deadline_at {
            let chance =
                self.deadline_chance_ppm.map(|ppm| percent(permille(ppm))).unwrap_or_default();
            lines.push(fact("deadline", &format!("{at}: met in {chance} of the runs"), look));
        }
        if self.done < self.runs {
            let told =
                format!("{} of {} runs did not come to its end", self.runs - self.done, self.runs);
            lines.push(look.paint.paint(&fact("unsure", &told, look), Tone::Bad));
        }
        if let Some(spot) = self.spot_share_ppm {
            let spot = permille(spot);
            let rest = percent(1_000_u32.saturating_sub(spot));
            let taken = many(self.interruptions, "machine");
            let told =
                format!("{} of machine time, {rest} on demand; {taken} taken back", percent(spot));
            lines.push(fact("spot", &told, look));
        }
        for launch in &self.launches {
            let pool = launch.pools.first().map(ToString::to_string).unwrap_or_default();
            let more = match launch.pools.len() {
                0 | 1 => String::new(),
                pools => format!(" or {} more", many(pools as u64 - 1, "pool")),
            };
            let price = dollars(launch.price_micro_usd_hour);
            let machines = many(launch.machines.into(), "machine");
            let told = format!("{machines} of {pool}{more}, at {price} an hour");
            lines.push(fact("first", &told, look));
        }
        for time in &self.run_times {
            let why = match (time.source, time.tasks) {
                (RunTimeSource::Expect, _) => "its `expect`".to_owned(),
                (RunTimeSource::History, tasks) => {
                    format!("the mean of {} of this name", many(tasks.unwrap_or(0), "task"))
                }
            };
            let told = format!("a task of {} runs {}: {why}", time.group, short(time.run_ms));
            lines.push(fact("runs", &told, look));
        }
        let runs = format!(
            "{} into markets drawn from today's offers",
            many(self.runs.into(), "simulated run")
        );
        lines.push(fact("by", &runs, look));
        lines.extend(self.assumed.iter().map(|words| fact("assumed", words, look)));
        lines.join("\n")
    }
}

fn ranges(view: &PlanView, look: Look) -> String {
    const COLUMNS: [Column; 4] = [
        col(""),
        col("1 IN 10 BELOW").right(),
        col("MEDIAN").right(),
        col("1 IN 10 ABOVE").right(),
    ];
    let row = |name: &str, of: Option<[String; 3]>| {
        let [low, median, high] = of.unwrap_or_else(|| ["-", "-", "-"].map(str::to_owned));
        vec![name.to_owned(), low, median, high]
    };
    let cost = view.cost_micro_usd.map(|cost| [cost.low, cost.median, cost.high].map(dollars));
    let time = view.time_ms.map(|time| [time.low, time.median, time.high].map(short));
    table(&COLUMNS, look.width, vec![row("cost", cost), row("time", time)])
}
