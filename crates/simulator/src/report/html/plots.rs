//! The four plots, each with its figures in a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use model::{Clamp, MicroUsd, PurchaseOption};

use super::svg::{self, Axis, Plot};
use super::{Page, cells};
use crate::report::words::{Span, dollars, escape, hours, many, per_mille, percent};
use crate::series::Series;

/// Points of a line at most.
const COLUMNS: usize = 160;
/// Colours.
const COLOURS: usize = 8;
/// Pools that have a colour of their own; the last colour is all others'.
const POOLS: usize = COLOURS - 1;
/// Jobs with a plot of their own.
const JOBS: usize = 20;

/// Colour and dashes of a policy.
fn stroke(policy: usize) -> String {
    format!("line s{} d{}", policy % COLOURS, policy / COLOURS)
}

pub(super) fn all(page: &Page<'_>) -> String {
    let end_ms = page.outcomes.iter().map(|outcome| outcome.series.end_ms).max().unwrap_or(0);
    let end_ms = end_ms.max(1);
    let mut out = legend(page);
    out.push_str("<div class=\"plots\">");
    out.push_str(&cost(page, end_ms));
    out.push_str(&progress(page, end_ms));
    out.push_str(&waste(page));
    out.push_str("</div>");
    out.push_str(&machines(page, end_ms));
    if (2..=JOBS).contains(&page.jobs.len()) {
        out.push_str(&by_job(page, end_ms));
    }
    out
}

/// A swatch and a name for each.
fn swatches(list: &[(String, String)]) -> String {
    let mut out = "<ul class=\"legend\">".to_owned();
    for (mark, name) in list {
        let _ = write!(
            out,
            "<li><svg viewBox=\"0 0 26 12\" aria-hidden=\"true\">{mark}</svg>{}</li>",
            escape(name)
        );
    }
    out + "</ul>"
}

fn legend(page: &Page<'_>) -> String {
    let policies = page.outcomes.iter().enumerate().map(|(at, outcome)| {
        let mark = format!("<path class=\"{}\" d=\"M0 6H26\"/>", stroke(at));
        (mark, outcome.result.policy.to_string())
    });
    swatches(&policies.collect::<Vec<_>>())
}

fn filled(colour: usize) -> String {
    format!("<rect class=\"f{colour}\" width=\"26\" height=\"12\" rx=\"2\"/>")
}

/// A figure with its caption, plot and table.
fn figure(title: &str, told: &str, plot: &str, table: &str) -> String {
    format!(
        "<figure><figcaption><h3>{}</h3><p>{}</p></figcaption>{plot}<details><summary>In figures</summary>{table}</details></figure>",
        escape(title),
        escape(told),
    )
}

fn time_axis(end_ms: u64) -> Axis {
    let marks = svg::time_marks(end_ms);
    let text = |ms: u64| if ms == 0 { "0".to_owned() } else { Span { ms }.to_string() };
    let marks = marks.into_iter().map(|ms| (u128::from(ms), text(ms)));
    Axis { max: end_ms.into(), marks: marks.collect(), name: "since the begin of the run" }
}

fn money_axis(max: MicroUsd) -> Axis {
    let (max, marks) = svg::round_marks(micro(max));
    let text = |value: u128| match value {
        0 => "$0".to_owned(),
        // Whole dollars without cents, where all are whole.
        value if max.is_multiple_of(1_000_000) && value.is_multiple_of(1_000_000) => {
            let dollars = dollars(MicroUsd(value.clamped()));
            dollars.strip_suffix(".00").unwrap_or(&dollars).to_owned()
        }
        value => dollars(MicroUsd(value.clamped())),
    };
    let marks = marks.into_iter().map(|value| (value, text(value)));
    Axis { max, marks: marks.collect(), name: "" }
}

fn percent_axis() -> Axis {
    let marks = [0_u128, 250, 500, 750, 1_000].map(|value| (value, format!("{} %", value / 10)));
    Axis { max: 1_000, marks: marks.to_vec(), name: "" }
}

fn micro(amount: MicroUsd) -> u128 {
    u128::try_from(amount.0).unwrap_or(0)
}

/// A row of sums until the ends of buckets, as points of a line from nothing at the begin to its last
/// value at `end_ms`.
fn points(row: &[u128], width_ms: u64, end_ms: u64) -> Vec<(u128, u128)> {
    let step = row.len().div_ceil(COLUMNS).max(1);
    let mut points = vec![(0, 0)];
    let ends = (0..row.len()).filter(|at| (at + 1) % step == 0 || at + 1 == row.len());
    points.extend(ends.filter_map(|at| {
        let end = u128::try_from(at + 1).ok()? * u128::from(width_ms);
        Some((end.min(end_ms.into()), *row.get(at)?))
    }));
    points
}

/// The value of such a row at a moment.
fn value_at(row: &[u128], width_ms: u64, at_ms: u64) -> u128 {
    let (Some(last), width) = (row.last(), width_ms.max(1)) else { return 0 };
    let bucket = usize::try_from(at_ms / width).unwrap_or(usize::MAX);
    let before = |bucket: usize| match bucket.checked_sub(1) {
        None => 0,
        Some(at) => row.get(at).copied().unwrap_or(*last),
    };
    let (low, high) = (before(bucket), before(bucket.saturating_add(1)));
    low + high.saturating_sub(low) * u128::from(at_ms % width) / u128::from(width)
}

/// A table of such rows at a few moments.
fn at_moments(page: &Page<'_>, end_ms: u64, value: impl Fn(&Series, u64) -> String) -> String {
    let mut heads = vec!["At"];
    heads.extend(page.outcomes.iter().map(|outcome| &*outcome.result.policy));
    let mut moments: Vec<u64> = svg::time_marks(end_ms).into_iter().skip(1).collect();
    if moments.last() != Some(&end_ms) {
        moments.push(end_ms);
    }
    let rows: Vec<Vec<String>> = moments
        .into_iter()
        .map(|ms| {
            let mut row = vec![Span { ms }.to_string()];
            row.extend(page.outcomes.iter().map(|outcome| match outcome.series.cost[..] {
                [] => "–".to_owned(),
                _ => value(&outcome.series, ms),
            }));
            row
        })
        .collect();
    cells(&heads, &rows)
}

fn cost_row(series: &Series) -> Vec<u128> {
    series.cost.iter().copied().map(micro).collect()
}

fn cost(page: &Page<'_>, end_ms: u64) -> String {
    let on_demand = page.outcomes.first().map_or(MicroUsd(0), |it| it.result.on_demand_micro_usd);
    let paid = page.outcomes.iter().map(|it| it.result.cost_micro_usd).max().unwrap_or_default();
    let mut plot = Plot::new(time_axis(end_ms), money_axis(paid.max(on_demand)));
    if on_demand.0 > 0 {
        let name = format!("on demand {}", dollars(on_demand));
        plot.level("aim", micro(on_demand), &name);
    }
    let mut told = Vec::new();
    for (at, outcome) in page.outcomes.iter().enumerate() {
        let (result, series) = (&outcome.result, &outcome.series);
        let row = cost_row(series);
        if row.is_empty() && result.cost_micro_usd.0 > 0 {
            // A bound, which is no run.
            let name = format!("{} {}", result.policy, dollars(result.cost_micro_usd));
            plot.level(&stroke(at), micro(result.cost_micro_usd), &name);
        } else {
            plot.line(&stroke(at), &points(&row, series.width_ms, end_ms));
        }
        told.push(format!("{} {}", result.policy, dollars(result.cost_micro_usd)));
    }
    let description = format!("What was paid until each moment. At the end: {}.", told.join(", "));
    let plot = plot.end("cost", "Cost over time", &description);
    let table = at_moments(page, end_ms, |series, ms| {
        dollars(MicroUsd(value_at(&cost_row(series), series.width_ms, ms).clamped()))
    });
    let told = "All that was paid until then. A line ends where its run did; flatter is cheaper.";
    figure("Cost over time", told, &plot, &table)
}

/// All work of some jobs, in milliseconds.
fn whole(page: &Page<'_>) -> u128 {
    page.jobs.iter().map(|job| u128::from(job.work.work_ms) * u128::from(job.count)).sum()
}

/// Thousandths of all work.
fn done_row(row: &[u64], whole: u128) -> Vec<u128> {
    row.iter().map(|ms| (u128::from(*ms) * 1_000).checked_div(whole).unwrap_or(0)).collect()
}

/// How much of all work had arrived, or should have been done, by the end of each column.
fn staircase(page: &Page<'_>, end_ms: u64, is_due: bool) -> Vec<(u128, u128)> {
    let mut steps: BTreeMap<u64, u128> = BTreeMap::new();
    for job in page.jobs {
        let at = if is_due { job.due_ms() } else { Some(job.arrival_ms) };
        let Some(at) = at.filter(|at| *at <= end_ms) else { continue };
        let column = at / (end_ms / 256).max(1) * (end_ms / 256).max(1);
        let at = if page.jobs.len() > 256 { column } else { at };
        *steps.entry(at).or_default() += u128::from(job.work.work_ms) * u128::from(job.count);
    }
    let (whole, mut sum, mut height) = (whole(page).max(1), 0, 0);
    let mut points = vec![(0, 0)];
    for (at, work) in steps {
        points.push((at.into(), height));
        sum += work;
        height = sum * 1_000 / whole;
        points.push((at.into(), height));
    }
    points.push((end_ms.into(), height));
    points
}

fn progress(page: &Page<'_>, end_ms: u64) -> String {
    let due = page.jobs.iter().filter_map(|job| job.due_ms()).max();
    // A deadline that nobody needed is shown all the same, if that does not squeeze the rest.
    let end_ms =
        due.filter(|due| *due < end_ms.saturating_mul(2)).map_or(end_ms, |due| due.max(end_ms));
    let mut plot = Plot::new(time_axis(end_ms), percent_axis());
    if let [job] = page.jobs {
        if let Some(due) = job.due_ms() {
            plot.line("aim", &[(job.arrival_ms.into(), 0), (due.into(), 1_000)]);
            if due <= end_ms {
                plot.upright("aim", due.into(), "deadline");
            }
        }
    } else {
        let arrived = staircase(page, end_ms, false);
        plot.area("back", &arrived, &[(0, 0), (end_ms.into(), 0)]);
        if due.is_some() {
            plot.line("aim", &staircase(page, end_ms, true));
        }
    }
    let whole = whole(page);
    for (at, outcome) in page.outcomes.iter().enumerate() {
        let series = &outcome.series;
        let row = done_row(&series.done_ms, whole);
        if row.is_empty() {
            continue;
        }
        plot.line(&stroke(at), &points(&row, series.width_ms, end_ms));
    }
    let description =
        "How much of all work was done for good at each moment, against what was due.";
    let plot = plot.end("progress", "Progress against deadline", description);
    let table = at_moments(page, end_ms, |series, ms| {
        let row = done_row(&series.done_ms, whole);
        percent(value_at(&row, series.width_ms, ms).clamped())
    });
    let told = match (page.jobs, due.is_some()) {
        ([_], true) => "Work done for good. The dashed line is an even pace to the deadline.",
        (_, true) => {
            "Work done for good, of all work. The shade is what had arrived; who is below the dashed line is late with something."
        }
        (_, false) => "Work done for good, of all work. The shade is what had arrived.",
    };
    figure("Progress against deadline", told, &plot, &table)
}

/// A small plot for each job.
fn by_job(page: &Page<'_>, end_ms: u64) -> String {
    let mut out = "<h3>Progress by job</h3><div class=\"plots small\">".to_owned();
    for (at, job) in page.jobs.iter().enumerate() {
        let mut plot = Plot::new(time_axis(end_ms), percent_axis());
        if let Some(due) = job.due_ms().filter(|due| *due <= end_ms) {
            plot.upright("aim", due.into(), "deadline");
        }
        let whole = u128::from(job.work.work_ms) * u128::from(job.count);
        for (policy, outcome) in page.outcomes.iter().enumerate() {
            let series = &outcome.series;
            let Some(row) = series.done_by_job_ms.get(at) else { continue };
            let row = done_row(row, whole);
            plot.line(&stroke(policy), &points(&row, series.width_ms, end_ms));
        }
        let title = format!("Progress of {}", job.id);
        let plot = plot.end(&format!("job-{at}"), &title, "Work done for good, by policy.");
        let told = match job.due_ms() {
            Some(due) => format!("{}, due at {}", many(job.count.into(), "task"), Span { ms: due }),
            None => many(job.count.into(), "task"),
        };
        let _ = write!(
            out,
            "<figure><figcaption><h3>{}</h3><p>{}</p></figcaption>{plot}</figure>",
            escape(&job.id),
            escape(&told)
        );
    }
    out + "</div>"
}

/// A pool and purchase option.
type Kind = (usize, PurchaseOption);

/// Machines' time by kind, over all policies, the most first.
fn kinds(page: &Page<'_>) -> Vec<Kind> {
    let mut held: BTreeMap<Kind, u128> = BTreeMap::new();
    for row in page.outcomes.iter().flat_map(|outcome| &outcome.series.machines) {
        let sum: u128 = row.held_ms.iter().map(|ms| u128::from(*ms)).sum();
        *held.entry((row.pool, row.option)).or_default() += sum;
    }
    let mut kinds: Vec<_> = held.into_iter().collect();
    kinds.sort_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(&other.0)));
    kinds.into_iter().map(|(kind, _)| kind).collect()
}

fn kind_name(page: &Page<'_>, (pool, option): Kind) -> String {
    let option = match option {
        PurchaseOption::Spot => "spot",
        PurchaseOption::OnDemand => "on-demand",
    };
    match page.market.pools.get(pool) {
        Some(pool) => format!("{} {} {option}", pool.zone, pool.instance_type),
        None => option.to_owned(),
    }
}

/// The layers of a stack, by colour: thousandths of machines in each column, and a column's width.
struct Stack {
    layers: Vec<Vec<u128>>,
    width_ms: u128,
}

impl Stack {
    fn of(series: &Series, colours: &BTreeMap<Kind, usize>) -> Self {
        let rows = series.cost.len();
        let step = rows.div_ceil(COLUMNS).max(1);
        let width_ms = u128::from(series.width_ms) * u128::try_from(step).unwrap_or(1);
        let mut layers = vec![vec![0_u128; rows.div_ceil(step)]; COLOURS];
        for row in &series.machines {
            let colour = colours.get(&(row.pool, row.option)).copied().unwrap_or(POOLS);
            let Some(layer) = layers.get_mut(colour) else { continue };
            for (sum, held) in layer.iter_mut().zip(row.held_ms.chunks(step)) {
                *sum += held.iter().map(|ms| u128::from(*ms)).sum::<u128>();
            }
        }
        for value in layers.iter_mut().flatten() {
            *value = (*value * 1_000).checked_div(width_ms).unwrap_or(0);
        }
        Self { layers, width_ms }
    }

    fn highest(&self) -> u128 {
        let columns = self.layers.first().map_or(0, Vec::len);
        let sum = |at: usize| self.layers.iter().filter_map(|layer| layer.get(at)).sum::<u128>();
        (0..columns).map(sum).max().unwrap_or(0)
    }

    fn draw(&self, plot: &mut Plot, end_ms: u64) {
        let stairs = |heights: &[u128]| -> Vec<(u128, u128)> {
            let column = |(at, height): (usize, &u128)| {
                let from = u128::try_from(at).unwrap_or(0) * self.width_ms;
                [from, from + self.width_ms].map(|x| (x.min(end_ms.into()), *height))
            };
            heights.iter().enumerate().flat_map(column).collect()
        };
        let mut below = vec![0; self.layers.first().map_or(0, Vec::len)];
        for (colour, layer) in self.layers.iter().enumerate() {
            if layer.iter().all(|value| *value == 0) {
                continue;
            }
            let above: Vec<u128> =
                below.iter().zip(layer).map(|(one, other)| one + other).collect();
            plot.area(&format!("f{colour}"), &stairs(&above), &stairs(&below));
            below = above;
        }
    }
}

fn machines(page: &Page<'_>, end_ms: u64) -> String {
    let kinds = kinds(page);
    let colours: BTreeMap<Kind, usize> = kinds.iter().copied().take(POOLS).zip(0..).collect();
    let stacks: Vec<_> =
        page.outcomes.iter().map(|outcome| Stack::of(&outcome.series, &colours)).collect();
    let highest = stacks.iter().map(Stack::highest).max().unwrap_or(0);
    let (most, marks) = svg::round_marks(highest.div_ceil(1_000));
    let marks: Vec<_> = marks.into_iter().map(|at| (at * 1_000, at.to_string())).collect();
    let mut out =
        "<h3>Machines by pool</h3><p class=\"soft\">How many were held, on the mean of each \
                   stretch; all plots have one scale.</p>"
            .to_owned();
    let named = kinds.iter().take(POOLS).enumerate();
    let mut list: Vec<_> =
        named.map(|(colour, kind)| (filled(colour), kind_name(page, *kind))).collect();
    if kinds.len() > POOLS {
        let others = many((kinds.len() - POOLS).clamped(), "other pool");
        list.push((filled(POOLS), others));
    }
    out.push_str(&swatches(&list));
    out.push_str("<div class=\"plots small\">");
    for (at, (outcome, stack)) in page.outcomes.iter().zip(&stacks).enumerate() {
        if stack.highest() == 0 {
            continue;
        }
        let y = Axis { max: most * 1_000, marks: marks.clone(), name: "" };
        let mut plot = Plot::new(time_axis(end_ms), y);
        stack.draw(&mut plot, end_ms);
        let policy = &outcome.result.policy;
        let title = format!("Machines of {policy} by pool");
        let description = "Machines held at each moment, stacked by pool and purchase option.";
        let plot = plot.end(&format!("machines-{at}"), &title, description);
        let _ = write!(
            out,
            "<figure><figcaption><h3>{}</h3></figcaption>{plot}</figure>",
            escape(policy)
        );
    }
    out.push_str("</div>");
    let _ = write!(
        out,
        "<details><summary>In figures</summary>{}</details>",
        machine_hours(page, &kinds)
    );
    out
}

/// Machines' hours by kind and policy.
fn machine_hours(page: &Page<'_>, kinds: &[Kind]) -> String {
    const ROWS: usize = 40;
    let mut heads = vec!["Pool"];
    heads.extend(page.outcomes.iter().map(|outcome| &*outcome.result.policy));
    let held = |series: &Series, is: &dyn Fn(Kind) -> bool| {
        let rows = series.machines.iter().filter(|row| is((row.pool, row.option)));
        hours(rows.flat_map(|row| &row.held_ms).map(|ms| u128::from(*ms)).sum())
    };
    let row = |name: String, is: &dyn Fn(Kind) -> bool| {
        let mut row = vec![name];
        row.extend(page.outcomes.iter().map(|outcome| held(&outcome.series, is)));
        row
    };
    let mut rows: Vec<_> = kinds
        .iter()
        .take(ROWS)
        .map(|kind| row(escape(&kind_name(page, *kind)), &|it| it == *kind))
        .collect();
    if let Some(rest) = kinds.get(ROWS..).filter(|rest| !rest.is_empty()) {
        let name = many(rest.len().clamped(), "other pool");
        rows.push(row(name, &|it| rest.contains(&it)));
    }
    rows.push(row("all".to_owned(), &|_| true));
    cells(&heads, &rows)
}

fn waste(page: &Page<'_>) -> String {
    let totals: Vec<u128> = page
        .outcomes
        .iter()
        .map(|outcome| outcome.series.waste.causes().iter().map(|(_, cost)| micro(*cost)).sum())
        .collect();
    let most = totals.iter().copied().max().unwrap_or(0).max(1);
    let mut body = String::new();
    for (at, (outcome, total)) in page.outcomes.iter().zip(&totals).enumerate() {
        let y = 14 + 26 * u64::try_from(at).unwrap_or(0);
        body.push_str(&svg::text(150, y + 13, "end", &outcome.result.policy));
        let (mut from, mut sum) = (1_580, 0);
        let parts =
            outcome.series.waste.causes().into_iter().enumerate().map(|(at, (name, cost))| {
                sum += micro(cost);
                let to = 1_580 + u64::try_from(sum * 2_300 / most).unwrap_or(0);
                let part = (from, to - from, format!("f{at}"), format!("{name} {}", dollars(cost)));
                from = to;
                part
            });
        body.push_str(&svg::bar(y, &parts.collect::<Vec<_>>()));
        let share = per_mille(MicroUsd((*total).clamped()), outcome.result.cost_micro_usd);
        let share = share.map(percent).unwrap_or_default();
        body.push_str(&svg::text(from / 10 + 6, y + 13, "start", &share));
    }
    let height = 26 * u64::try_from(page.outcomes.len()).unwrap_or(0) + 20;
    let title = "Waste by cause";
    let description = "What was paid without progress, by policy and cause, as bars.";
    let plot = svg::svg((svg::WIDTH, height), "waste", (title, description), &body);
    let causes = crate::series::Waste::default().causes();
    let names: Vec<_> =
        causes.iter().enumerate().map(|(at, (name, _))| (filled(at), (*name).to_owned())).collect();
    let mut heads = vec!["Policy"];
    heads.extend(causes.iter().map(|(name, _)| *name));
    let rows = page.outcomes.iter().map(|outcome| {
        let mut row = vec![escape(&outcome.result.policy)];
        row.extend(outcome.series.waste.causes().iter().map(|(_, cost)| dollars(*cost)));
        row
    });
    let table = cells(&heads, &rows.collect::<Vec<_>>());
    let told = "What was paid without progress, and its share of all cost. Idle machines had no task, unreserved parts of machines lay beside one. Egress moves checkpoints: a price, not a loss.";
    format!(
        "<figure class=\"wide\"><figcaption><h3>{title}</h3><p>{told}</p>{}</figcaption><div>{plot}</div>{table}</figure>",
        swatches(&names),
    )
}
