//! A record from some moment on.

use ::market::recorded::{Depth, PoolTrace, Prices, Recording};

/// The record from the tick on in which `start_ms` falls, by each pool's own ticks; that tick's
/// start is the new begin. Constant prices and depths go on as they are.
#[must_use]
pub fn starting_at(mut recording: Recording, start_ms: u64) -> Recording {
    for pool in &mut recording.pools {
        cut(pool, start_ms);
    }
    recording
}

fn cut(pool: &mut PoolTrace, start_ms: u64) {
    let ticks = usize::try_from(pool.tick(start_ms)).unwrap_or(usize::MAX);
    if let Depth::PerTick(machines) = &mut pool.machines {
        machines.drain(..ticks.min(machines.len()));
    }
    if let Prices::PerTick(prices) = &mut pool.spot {
        // The last price goes on past the end.
        prices.drain(..ticks.min(prices.len().saturating_sub(1)));
    }
}
