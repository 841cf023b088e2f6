//! `ebb simulate generate`: markets and workloads from a seed.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use market::recorded::{Billing, DecideAt};
use model::{Fault, Resources, parse_duration_ms};
use simulator::generate::{
    self, Arrivals, JobsParams, Lengths, MarketParams, Size, Slack, TypeParams,
};

use super::import::{BILLING, DECIDE_AT, EachWords, named};
use super::{made, words};
use crate::error::{Exit, Failure};
use crate::examples;
use crate::output::Screen;

#[derive(Debug, Subcommand)]
pub(crate) enum Generate {
    /// Make a market whose pools come and go together.
    #[command(after_help = examples::SIMULATE_GENERATE_MARKET)]
    Market(Market),
    /// Make a workload.
    #[command(after_help = examples::SIMULATE_GENERATE_JOBS)]
    Jobs(Jobs),
}

/// By default a week of three regions as nine recorded zones were.
#[derive(Debug, Args)]
pub(crate) struct Market {
    /// Where it goes; stdout by default.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// It is drawn from that.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Its zones; two are of one region if all but the last letter is the same.
    #[arg(long, value_name = "ZONE[,…]", value_delimiter = ',')]
    zones: Vec<String>,
    /// What is sold in each: NAME=CPU:MEMORY[:GPUS]@USD, or c5.2xlarge, m5.2xlarge, r5.2xlarge,
    /// p3.2xlarge. May be repeated.
    #[arg(long = "type", value_name = "TYPE", value_parser = kind)]
    types: Vec<TypeParams>,
    /// How long it lasts.
    #[arg(long, value_name = "TIME", value_parser = parse_duration_ms, default_value = "7days")]
    length: u64,
    /// A tick's length.
    #[arg(long, value_name = "TIME", value_parser = parse_duration_ms, default_value = "10m")]
    gap: u64,
    /// Machines of a pool that nothing is wrong with.
    #[arg(long, value_name = "N")]
    machines: Option<u32>,
    /// Share of time in which a pool has a machine at all.
    #[arg(long, value_name = "PERCENT", value_parser = words::permille)]
    availability: Option<u32>,
    /// How long a pool has machines on average, before it has none.
    #[arg(long, value_name = "TIME", value_parser = parse_duration_ms)]
    mean_up: Option<u64>,
    /// Share of time in which a pool has only some of its machines: it refuses more.
    #[arg(long, value_name = "PERCENT", value_parser = words::permille)]
    squeezed: Option<u32>,
    /// Correlation of zones of a region.
    #[arg(long, value_name = "PERCENT", value_parser = words::permille)]
    same_region: Option<u32>,
    /// Correlation of zones of different regions.
    #[arg(long, value_name = "PERCENT", value_parser = words::permille)]
    across_regions: Option<u32>,
    /// What spot saves over on-demand.
    #[arg(long, value_name = "PERCENT")]
    saving: Option<u32>,
    /// Price changes of a pool in ten days.
    #[arg(long, value_name = "N")]
    price_moves: Option<u32>,
    /// From a notice to the reclaim.
    #[arg(long, value_name = "TIME", value_parser = parse_duration_ms)]
    notice: Option<u64>,
    /// From a launch until a machine takes work.
    #[arg(long, value_name = "TIME", value_parser = parse_duration_ms)]
    boot: Option<u64>,
    /// `second` or `tick`.
    #[arg(long, value_parser = named(&BILLING), hide_possible_values = true)]
    billing: Option<Billing>,
    /// `event` or `tick`: when machines are bought and ended.
    #[arg(long, value_parser = named(&DECIDE_AT), hide_possible_values = true)]
    decide_at: Option<DecideAt>,
}

/// By default a day of jobs as long as those of a computing centre.
#[derive(Debug, Args)]
pub(crate) struct Jobs {
    /// Where it goes; stdout by default.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// It is drawn from that.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many jobs.
    #[arg(long, value_name = "N")]
    count: Option<u32>,
    /// In which time they come.
    #[arg(long, value_name = "TIME", value_parser = parse_duration_ms)]
    span: Option<u64>,
    /// When in it: at-once, poisson or diurnal.
    #[arg(long, value_parser = named(&ARRIVALS), hide_possible_values = true)]
    arrivals: Option<Arrivals>,
    /// How long a task works on average.
    #[arg(long, value_name = "TIME", value_parser = parse_duration_ms)]
    mean_work: Option<u64>,
    /// Around that: equal, exponential or heavy-tailed.
    #[arg(long, value_parser = named(&LENGTHS), hide_possible_values = true)]
    lengths: Option<Lengths>,
    /// What tasks need, CPU:MEMORY[:GPUS], and how many jobs: 4:16GiB or 8:61GiB:1@5. May be
    /// repeated.
    #[arg(long = "size", value_name = "SIZE[@WEIGHT]", value_parser = size)]
    sizes: Vec<Size>,
    /// Share of jobs that have many tasks.
    #[arg(long, value_name = "PERCENT", value_parser = words::permille)]
    arrays: Option<u32>,
    /// And how many at most.
    #[arg(long, value_name = "N")]
    largest_array: Option<u32>,
    /// Share of jobs that have a deadline.
    #[arg(long, value_name = "PERCENT", value_parser = words::permille)]
    deadlines: Option<u32>,
    /// Deadlines, as times a task's changeover and work, like 1.5-4.
    #[arg(long, value_name = "LEAST-MOST", value_parser = words::slack)]
    slack: Option<(u32, u32)>,
    #[command(flatten)]
    each: EachWords,
}

/// By day four times as many as by night, as the default of a diurnal workload.
const DIURNAL: Arrivals = Arrivals::Diurnal { peak_permille: 4_000 };
const ARRIVALS: [(&str, Arrivals); 3] =
    [("at-once", Arrivals::AtOnce), ("poisson", Arrivals::Poisson), ("diurnal", DIURNAL)];
const LENGTHS: [(&str, Lengths); 3] = [
    ("equal", Lengths::Equal),
    ("exponential", Lengths::Exponential),
    ("heavy-tailed", Lengths::HeavyTailed),
];

fn kind(text: &str) -> Result<TypeParams, String> {
    let Some((name, rest)) = text.split_once('=') else {
        let known = MarketParams::default().types.into_iter().find(|it| *it.instance_type == *text);
        return known.ok_or_else(|| format!("`{text}` is not known; say c5.large=2:4GiB@0.085"));
    };
    let (shape, price) =
        rest.split_once('@').ok_or_else(|| format!("`{text}` has no price: say @0.085"))?;
    let (capacity, on_demand) = (words::resources(shape)?, words::usd(price)?);
    Ok(TypeParams { instance_type: name.into(), capacity, on_demand })
}

fn size(text: &str) -> Result<Size, String> {
    let (shape, weight) = text.split_once('@').unwrap_or((text, "1"));
    let weight = weight.parse().map_err(|_| format!("`{weight}` is not a weight"))?;
    let ask = Resources { disk_mib: 0, ..words::resources(shape)? };
    Ok(Size { weight, ask })
}

pub(super) fn generate(screen: Screen, command: &Generate) -> Result<Exit, Failure> {
    match command {
        Generate::Market(words) => {
            let market = generate::market(&words.params(), words.seed).map_err(absurd)?;
            made::market(screen, words.to.as_deref(), &market, Vec::new())
        }
        Generate::Jobs(words) => {
            let jobs = generate::jobs(&words.params(), words.seed).map_err(absurd)?;
            made::jobs(screen, words.to.as_deref(), &jobs, Vec::new())
        }
    }
}

fn absurd(faults: Vec<Fault>) -> Failure {
    Failure::usage("no such thing can be made").with_errors(faults)
}

/// Puts what was said in the place of what holds otherwise.
fn put<T: Copy>(place: &mut T, said: Option<T>) {
    *place = said.unwrap_or(*place);
}

impl Market {
    fn params(&self) -> MarketParams {
        let mut params = MarketParams::default();
        if !self.zones.is_empty() {
            params.zones = self.zones.iter().map(|zone| zone.as_str().into()).collect();
        }
        if !self.types.is_empty() {
            params.types.clone_from(&self.types);
        }
        params.gap_ms = self.gap;
        // A gap of nothing is refused by the generator.
        let ticks = self.length.div_ceil(self.gap.max(1));
        params.ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
        put(&mut params.machines, self.machines);
        put(&mut params.availability_permille, self.availability);
        // No pool can be had more than always, or less than never.
        let spread = &mut params.availability_spread_permille;
        let room = params.availability_permille.min(1_000 - params.availability_permille);
        *spread = (*spread).min(room.saturating_sub(1));
        put(&mut params.mean_up_ms, self.mean_up);
        put(&mut params.squeezed_permille, self.squeezed);
        put(&mut params.same_region_permille, self.same_region);
        put(&mut params.across_regions_permille, self.across_regions);
        put(&mut params.saving_percent, self.saving);
        put(&mut params.price_moves_per_10_days, self.price_moves);
        put(&mut params.notice_ms, self.notice);
        put(&mut params.boot_ms, self.boot);
        put(&mut params.billing, self.billing);
        put(&mut params.decide_at, self.decide_at);
        params
    }
}

impl Jobs {
    fn params(&self) -> JobsParams {
        let mut params = JobsParams::default();
        put(&mut params.jobs, self.count);
        put(&mut params.span_ms, self.span);
        put(&mut params.arrivals, self.arrivals);
        put(&mut params.mean_work_ms, self.mean_work);
        put(&mut params.lengths, self.lengths);
        if !self.sizes.is_empty() {
            params.sizes.clone_from(&self.sizes);
        }
        put(&mut params.arrays_permille, self.arrays);
        put(&mut params.largest_array, self.largest_array);
        if let Some(slack) = &mut params.slack {
            put(&mut slack.of_jobs_permille, self.deadlines);
            if let Some((least_permille, most_permille)) = self.slack {
                *slack = Slack { least_permille, most_permille, ..*slack };
            }
        }
        params.each = self.each.over(params.each);
        params
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use model::MicroUsd;
    use simulator::work::Checkpoint;

    use super::*;
    use crate::args::{Cli, Command};
    use crate::commands::simulate::args::Other;

    fn parsed(line: &str) -> Generate {
        let words = format!("ebb simulate generate {line}");
        match Cli::parse_from(words.split_whitespace()).command {
            Command::Simulate(args) => match args.other {
                Some(Other::Generate(command)) => command,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn market(line: &str) -> MarketParams {
        match parsed(line) {
            Generate::Market(words) => words.params(),
            Generate::Jobs(_) => panic!("a workload"),
        }
    }

    fn jobs(line: &str) -> JobsParams {
        match parsed(line) {
            Generate::Jobs(words) => words.params(),
            Generate::Market(_) => panic!("a market"),
        }
    }

    #[test]
    fn without_a_word_all_is_as_the_generator_has_it() {
        assert_eq!(market("market"), MarketParams::default());
        assert_eq!(jobs("jobs"), JobsParams::default());
    }

    #[test]
    fn words_change_what_they_name() {
        let made = market(
            "market --zones a1a,a1b --type c5.2xlarge --type x.large=2:4GiB:1@0.5 --length 1day \
             --gap 5m --availability 99.5 --notice 0s --billing tick",
        );
        assert_eq!((made.zones.len(), made.ticks, made.notice_ms), (2, 288, 0));
        let prices: Vec<_> = made.types.iter().map(|kind| kind.on_demand).collect();
        assert_eq!(prices, [MicroUsd(340_000), MicroUsd(500_000)]);
        assert_eq!((made.availability_permille, made.availability_spread_permille), (995, 4));
        assert!(generate::market(&made, 1).is_ok());
        let made = jobs(
            "jobs --count 5 --arrivals at-once --size 4:16GiB@3 --size 8:61GiB:1 --slack 1.25-2 \
             --deadlines 100 --checkpoint none",
        );
        assert_eq!((made.jobs, made.arrivals, made.sizes.len()), (5, Arrivals::AtOnce, 2));
        assert_eq!(made.each.checkpoint, Checkpoint::None);
        let slack = made.slack.expect("deadlines");
        assert_eq!((slack.of_jobs_permille, slack.least_permille), (1_000, 1_250));
        assert!(generate::jobs(&made, 1).is_ok());
    }

    #[test]
    fn what_cannot_be_made_is_refused_with_all_its_faults() {
        let words = market("market --gap 0s --zones a,a");
        let faults = generate::market(&words, 1).expect_err("absurd");
        let told = absurd(faults).to_string();
        assert!(told.contains("/gap_ms") && told.contains("/zones"), "{told}");
    }
}
