//! Parcae's step series: lines `milliseconds,nodes` without a header, so many machines from then on.
//!
//! A tick has what there was at its start, the last line of that moment: with ticks that divide the
//! times (all of p3.csv are whole minutes) this is exact. The last line gets one tick.

use ::market::recorded::{Depth, PoolTrace, Prices};
use model::Clamp;

use crate::files::limits;
use crate::files::number::Number;

use super::error::Complaints;
use super::{ImportError, Machine};

/// A fleet's record.
pub fn pool(
    text: &str,
    zone: &str,
    machine: &Machine,
    gap_ms: u64,
) -> Result<PoolTrace, ImportError> {
    let mut complaints = Complaints::default();
    let machines = steps(text, &mut complaints).and_then(|steps| {
        let ticks = steps.last().map_or(0, |(at_ms, _)| at_ms / gap_ms.max(1));
        if gap_ms == 0 || ticks >= limits::TICKS.clamped() {
            let most = limits::TICKS;
            complaints
                .note("", format!("ticks of {gap_ms} ms must make 1 to {most} of the record"));
            return None;
        }
        Some(by_tick(&steps, gap_ms, ticks))
    });
    Ok(PoolTrace {
        zone: zone.into(),
        instance_type: machine.instance_type.clone(),
        capacity: machine.capacity,
        on_demand: machine.on_demand,
        spot: Prices::Constant(machine.spot),
        machines: Depth::PerTick(complaints.or(machines)?),
        gap_ms,
        hazard_ppm_hour: 0,
    })
}

fn steps(text: &str, complaints: &mut Complaints) -> Option<Vec<(u64, u32)>> {
    let mut steps: Vec<(u64, u32)> = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let place = format!("line {}", index + 1);
        let read = line.split_once(',').and_then(|(ms, nodes)| {
            let ms = Number::MILLISECONDS.read(ms.trim()).ok()?;
            let nodes = Number::AMOUNT.read(nodes.trim()).ok()?;
            Some((ms, nodes.clamped()))
        });
        let Some((at_ms, nodes)) = read else {
            let shown: String = line.chars().take(64).collect();
            complaints.note(place, format!("must be `milliseconds,nodes`, is `{shown}`"));
            continue;
        };
        let before = steps.last().map_or(0, |(before_ms, _)| *before_ms);
        if steps.is_empty() && at_ms > 0 {
            complaints.note(place, format!("the first line must be of 0 ms, is of {at_ms}"));
        } else if at_ms < before {
            complaints.note(place, format!("{at_ms} ms must not come before {before} ms"));
        }
        steps.push((at_ms, nodes));
    }
    if steps.is_empty() {
        complaints.note("", "must have one line `milliseconds,nodes` at least; is empty");
        return None;
    }
    Some(steps)
}

fn by_tick(steps: &[(u64, u32)], gap_ms: u64, last: u64) -> Vec<u32> {
    let (mut machines, mut next, mut depth) = (Vec::new(), 0, 0);
    for tick in 0..=last {
        while let Some((at_ms, nodes)) = steps.get(next)
            && *at_ms <= tick * gap_ms
        {
            depth = *nodes;
            next += 1;
        }
        machines.push(depth);
    }
    machines
}
