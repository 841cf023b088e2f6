//! Work over all cores whose results come in the order of its source, with little in flight.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Results that wait for an earlier one, for each thread: what one thread may be ahead of others.
const AHEAD: u64 = 8;
/// Between two looks of whoever shows how far it is.
const LOOK: Duration = Duration::from_millis(200);

/// Threads for as many pieces of work as there may be.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

struct State<I, R> {
    source: I,
    /// Items that were taken.
    taken: u64,
    /// Results that were given.
    given: u64,
    done: BTreeMap<u64, R>,
    /// The source has no more, or nobody wants more.
    over: bool,
    /// Threads that work.
    working: usize,
}

struct Shared<I, R> {
    state: Mutex<State<I, R>>,
    changed: Condvar,
    window: u64,
}

impl<I, R> Shared<I, R> {
    fn lock(&self) -> MutexGuard<'_, State<I, R>> {
        // A panic of a worker comes to the caller when the threads are joined.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, how: impl FnOnce(&mut State<I, R>)) {
        how(&mut self.lock());
        self.changed.notify_all();
    }
}

/// Ends the others' waiting when a worker ends, however it ends.
struct Leaving<'s, I, R>(&'s Shared<I, R>);

impl<I, R> Drop for Leaving<'_, I, R> {
    fn drop(&mut self) {
        self.0.change(|state| {
            state.over = true;
            state.working -= 1;
        });
    }
}

/// Gives each item of `source` to `work`, on `threads` threads, and each result to `sink` here, in
/// the items' order and as soon as it may be. A few items for each thread are under way at once, so
/// that memory does not grow with the source. In between, `look` is called now and then.
///
/// # Errors
/// That of the sink; no more is begun then.
pub(crate) fn in_order<T, R: Send, E>(
    threads: usize,
    source: impl Iterator<Item = T> + Send,
    work: impl Fn(T) -> R + Sync,
    mut look: impl FnMut(),
    mut sink: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let threads = threads.max(1);
    let (done, over, working) = (BTreeMap::new(), false, threads);
    let shared = Shared {
        state: Mutex::new(State { source, taken: 0, given: 0, done, over, working }),
        changed: Condvar::new(),
        window: AHEAD.saturating_mul(u64::try_from(threads).unwrap_or(u64::MAX)),
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let _leaving = Leaving(&shared);
                while let Some((at, item)) = next(&shared) {
                    let result = work(item);
                    shared.change(|state| {
                        state.done.insert(at, result);
                    });
                }
            });
        }
        loop {
            match take(&shared) {
                Taken::Result(result) => {
                    if let Err(fault) = sink(result) {
                        shared.change(|state| state.over = true);
                        return Err(fault);
                    }
                }
                Taken::Nothing => {}
                Taken::Over => return Ok(()),
            }
            look();
        }
    })
}

fn next<T, R>(shared: &Shared<impl Iterator<Item = T>, R>) -> Option<(u64, T)> {
    let mut state = shared.lock();
    while !state.over && state.taken - state.given >= shared.window {
        state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    if state.over {
        return None;
    }
    let item = state.source.next()?;
    let at = state.taken;
    state.taken += 1;
    Some((at, item))
}

enum Taken<R> {
    Result(R),
    /// Not yet.
    Nothing,
    Over,
}

fn take<I, R>(shared: &Shared<I, R>) -> Taken<R> {
    let mut state = shared.lock();
    let at = state.given;
    if let Some(result) = state.done.remove(&at) {
        state.given += 1;
        drop(state);
        shared.changed.notify_all();
        return Taken::Result(result);
    }
    // A thread that panicked leaves a result out.
    if state.working == 0 {
        return Taken::Over;
    }
    let waited = shared.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner);
    drop(waited);
    Taken::Nothing
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn slowly(item: u64) -> u64 {
        // Some take much longer than others: those after them wait.
        (0..(item * 7_919 % 1_000) * 100).fold(item, |sum, at| std::hint::black_box(sum ^ at ^ at))
    }

    #[test]
    fn results_come_in_order_and_few_are_under_way() {
        let (taken, mut given) = (AtomicU64::new(0), Vec::new());
        let source = (0..2_000_u64).inspect(|_| {
            taken.fetch_add(1, Ordering::Relaxed);
        });
        let ok: Result<(), ()> = in_order(
            4,
            source,
            slowly,
            || (),
            |result| {
                let ahead =
                    taken.load(Ordering::Relaxed) - u64::try_from(given.len()).expect("few");
                assert!(ahead <= 4 * AHEAD + 1, "{ahead}");
                given.push(result);
                Ok(())
            },
        );
        assert_eq!(ok, Ok(()));
        assert_eq!(given, (0..2_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_sink_that_has_enough_ends_it() {
        let mut seen = 0;
        let ended = in_order(
            3,
            0_u64..,
            slowly,
            || (),
            |result| {
                seen += 1;
                if result == 50 { Err("enough") } else { Ok(()) }
            },
        );
        assert_eq!((ended, seen), (Err("enough"), 51));
    }

    #[test]
    fn an_empty_source_is_over_at_once() {
        let ended: Result<(), ()> = in_order(3, std::iter::empty(), slowly, || (), |_| Err(()));
        assert_eq!(ended, Ok(()));
    }

    #[test]
    #[should_panic(expected = "scoped thread panicked")]
    fn a_panic_is_not_waited_for() {
        let work = |item: u64| assert!(item < 5);
        let _: Result<(), ()> = in_order(2, 0..100, work, || (), |()| Ok(()));
    }
}
