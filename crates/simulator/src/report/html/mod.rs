//! A page about a few runs over one market and workload. It needs nothing but itself: no script, no
//! font and no picture from elsewhere; and it has no script at all.

mod facts;
mod plots;
mod svg;

use std::fmt::Write as _;
use std::sync::Arc;

use market::recorded::Recording;

use super::table::{Row, table};
use super::words::{Span, dollars, escape, percent, thousands};
use crate::jobs::JobWork;
use crate::policy::PolicyName;
use crate::result::Outcome;

const STYLE: &str = include_str!("style.css");

/// What the page is about.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// Its headline.
    pub title: &'a str,
    /// What the market is called: a file's name.
    pub market_name: &'a str,
    /// What the workload is called.
    pub jobs_name: &'a str,
    /// The command that makes the page again.
    pub command: &'a str,
    /// The market.
    pub market: &'a Recording,
    /// The workload.
    pub jobs: &'a [Arc<JobWork>],
    /// What each policy came to.
    pub outcomes: &'a [Outcome],
}

/// Renders it.
pub fn html(page: &Page<'_>) -> String {
    let rows = table(page.outcomes.iter().map(|outcome| &outcome.result), page.jobs);
    let mut out = String::new();
    let title = escape(page.title);
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <title>{title}</title><style>{STYLE}</style></head><body>\n\
         <header><h1>{title}</h1>{}{}</header>\n<main>\n",
        lead(&rows),
        tiles(&rows),
    );
    section(&mut out, "The figures", &figures(&rows));
    section(&mut out, "Over time", &plots::all(page));
    if page.jobs.len() <= JOBS {
        section(&mut out, "The jobs", &jobs(page));
    }
    section(&mut out, "The market", &facts::market(page));
    section(&mut out, "The work", &facts::work(page, &rows));
    section(&mut out, "What was assumed", &facts::assumed(page));
    let command = format!("<pre>{}</pre>", escape(page.command));
    section(&mut out, "How to make this page again", &command);
    out.push_str("</main></body></html>\n");
    out
}

/// More jobs than these are in the JSON only.
const JOBS: usize = 20;

fn section(out: &mut String, title: &str, body: &str) {
    let _ = writeln!(out, "<section><h2>{}</h2>{body}</section>", escape(title));
}

fn is(row: &Row, policy: PolicyName) -> bool {
    &*row.policy == policy.as_str()
}

/// The cheapest that did all in time, without knowing what is to come.
fn best(rows: &[Row]) -> Option<&Row> {
    let fair = |row: &&Row| row.is_whole() && !is(row, PolicyName::Omniscient);
    rows.iter().filter(fair).min_by_key(|row| row.cost)
}

fn lead(rows: &[Row]) -> String {
    let Some(best) = best(rows) else {
        return "<p class=\"lead\">No policy did all of the work in time.</p>".to_owned();
    };
    let share = best.share_per_mille.map_or_else(String::new, |share| {
        format!(", {} of what it costs on demand", percent(share))
    });
    let others = if rows.len() > 1 { "the cheapest of the policies that did" } else { "which did" };
    let in_time = if best.deadlines > 0 { "all of the work in time" } else { "all of the work" };
    format!(
        "<p class=\"lead\"><b>{}</b>, {others} {in_time}, paid <b>{}</b>{share}.</p>",
        escape(&best.policy),
        dollars(best.cost),
    )
}

fn tiles(rows: &[Row]) -> String {
    let mut tiles: Vec<(String, String, String)> = Vec::new();
    if let Some(row) = rows.first().filter(|row| row.on_demand.0 > 0) {
        let what = "the same work on the cheapest machines that fit, no packing";
        tiles.push(("On demand".to_owned(), dollars(row.on_demand), what.to_owned()));
    }
    let of = |row: &Row| {
        let share = row.share_per_mille.map(|share| format!("{} of on-demand; ", percent(share)));
        format!("{}{}", share.unwrap_or_default(), kept(row))
    };
    let ours = rows.iter().find(|row| is(row, PolicyName::Ebbtide));
    let best = best(rows).filter(|best| ours.is_none_or(|ours| ours.policy != best.policy));
    for (row, name) in [(ours, "Ebbtide"), (best, "The cheapest that did all")] {
        if let Some(row) = row {
            let name = match name {
                "Ebbtide" => name.to_owned(),
                _ => format!("{name}: {}", row.policy),
            };
            tiles.push((name, dollars(row.cost), of(row)));
        }
    }
    let omniscient = rows.iter().find(|row| is(row, PolicyName::Omniscient) && row.is_whole());
    if let Some(row) = omniscient {
        let name = "With all known beforehand".to_owned();
        tiles.push((name, dollars(row.cost), "omniscient: nobody can do it for less".to_owned()));
    }
    let mut out = "<ul class=\"tiles\">".to_owned();
    for (name, value, what) in tiles {
        let (name, what) = (escape(&name), escape(&what));
        let _ = write!(out, "<li><span>{name}</span><b>{value}</b><span>{what}</span></li>");
    }
    out + "</ul>"
}

/// What came of the work, in a few words.
fn kept(row: &Row) -> String {
    if row.finished < row.jobs {
        return format!("{} of {} jobs done", thousands(row.finished), thousands(row.jobs));
    }
    match row.deadlines {
        0 => "all jobs done".to_owned(),
        all => format!("{} of {} deadlines met", thousands(row.met), thousands(all)),
    }
}

/// A table in HTML: heads, and rows whose first cell is a head, too. Cells are HTML already.
fn cells(heads: &[&str], rows: &[Vec<String>]) -> String {
    let mut out = "<div class=\"scroll\"><table><thead><tr>".to_owned();
    for head in heads {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escape(head));
    }
    out.push_str("</tr></thead><tbody>");
    for row in rows {
        out.push_str("<tr>");
        for (at, cell) in row.iter().enumerate() {
            let _ = match at {
                0 => write!(out, "<th scope=\"row\">{cell}</th>"),
                _ => write!(out, "<td>{cell}</td>"),
            };
        }
        out.push_str("</tr>");
    }
    out + "</tbody></table></div>"
}

/// A part of a whole, marked when something is missing.
fn part(some: u64, all: u64) -> String {
    let class = if some == all { "good" } else { "bad" };
    format!("<span class=\"{class}\">{}/{}</span>", thousands(some), thousands(all))
}

fn figures(rows: &[Row]) -> String {
    const HEADS: [&str; 10] = [
        "Policy",
        "Cost",
        "Of on-demand",
        "Wasted",
        "Idle",
        "Interruptions",
        "Starts",
        "Deadlines met",
        "Jobs done",
        "Mean time",
    ];
    let body: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                escape(&row.policy),
                dollars(row.cost),
                row.share_per_mille.map_or_else(|| "–".to_owned(), percent),
                dollars(row.wasted),
                dollars(row.idle),
                thousands(row.interruptions),
                thousands(row.starts),
                if row.deadlines == 0 { "–".to_owned() } else { part(row.met, row.deadlines) },
                part(row.finished, row.jobs),
                row.mean_completion_ms.map_or_else(|| "–".to_owned(), |ms| Span { ms }.to_string()),
            ]
        })
        .collect();
    let told = "<p class=\"soft\">Cost is every machine second or tick that was bought, moving checkpoints \
                included. Wasted was paid for starts, checkpoints and work that had to be done again; \
                idle for machines, or parts of them, that no task used. A job's time runs from its \
                arrival to the end of its last task.</p>";
    cells(&HEADS, &body) + told
}

/// What became of each job under each policy.
fn jobs(page: &Page<'_>) -> String {
    let mut heads = vec!["Job", "Deadline"];
    heads.extend(page.outcomes.iter().map(|outcome| &*outcome.result.policy));
    let rows: Vec<Vec<String>> = page
        .jobs
        .iter()
        .enumerate()
        .map(|(at, job)| {
            let due = job.due_ms().map_or_else(|| "–".to_owned(), |ms| Span { ms }.to_string());
            let mut row = vec![escape(&job.id), due];
            row.extend(page.outcomes.iter().map(|outcome| {
                let Some(done) = outcome.result.jobs.get(at) else { return "–".to_owned() };
                let class = if done.deadline_met { "good" } else { "bad" };
                let end = done.finished_s.map_or_else(
                    || "not done".to_owned(),
                    |at| format!("done at {}", Span { ms: at.ms }),
                );
                format!("<span class=\"{class}\">{end}</span>, {}", dollars(done.cost_micro_usd))
            }));
            row
        })
        .collect();
    cells(&heads, &rows)
}

#[cfg(test)]
mod tests;
