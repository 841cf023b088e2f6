//! E-PVM (Amir et al., "An Opportunity Cost Approach for Job Assignment in a Scalable Computing
//! Cluster"): a resource that is x full costs n^x, where n is the number of machines; a task goes
//! where the sum of the costs rises least.
//!
//! Here: the sum over cpu, memory and slots of n^((used + ask) / cap) - n^(used / cap), from
//! *reserved* amounts. (A well-known tutorial cancels its cpu term and samples loads while it
//! scores: neither is repeated here.)
//!
//! Integers only, so that every machine decides alike. Values have 32 binary places
//! ([`PLACES`]). The exponent x * log2(n) is rounded down to 32 places twice, hence n^x is too
//! small by a factor of at most 1 - 2^-30, a cost (six values of at most n) wrong by less than
//! n * 2^-27; a test compares it with floats.

use model::{Clamp, Resources};

use crate::Candidate;

/// Binary places of exponents and costs.
pub(crate) const PLACES: u32 = 32;
/// Binary places of the table of powers.
const TABLE_PLACES: u32 = 62;
/// More machines than this count as this many, so that three costs fit into 64 bits.
const MAX_MACHINES: u64 = 1 << 20;

/// The law for a number of machines.
pub(crate) struct Epvm {
    /// log2(n), with [`PLACES`] binary places.
    log2_n: u64,
}

impl Epvm {
    pub(crate) fn new(machines: usize) -> Self {
        // With one machine every cost would be 1: two is the least that tells loads apart.
        let machines: u64 = machines.clamped();
        Self { log2_n: log2(machines.clamp(2, MAX_MACHINES)) }
    }

    /// By how much the cost of the node rises with this task.
    pub(crate) fn marginal_cost(&self, candidate: &Candidate, ask: &Resources) -> u64 {
        let used = candidate.capacity - candidate.free;
        let slots = slots(candidate);
        self.rise(used.cpu_millis, ask.cpu_millis, candidate.capacity.cpu_millis)
            + self.rise(used.memory_mib, ask.memory_mib, candidate.capacity.memory_mib)
            + self.rise(candidate.tasks, 1, slots)
    }

    fn rise(&self, used: u32, ask: u32, capacity: u32) -> u64 {
        if ask == 0 || capacity == 0 {
            return 0;
        }
        let after = self.power(used.saturating_add(ask).min(capacity), capacity);
        after.saturating_sub(self.power(used, capacity))
    }

    /// n^(part / whole), where part <= whole.
    fn power(&self, part: u32, whole: u32) -> u64 {
        let (part, whole) = (u64::from(part), u64::from(whole));
        let exponent = match self.log2_n.checked_mul(part) {
            Some(product) => product / whole,
            None => (u128::from(self.log2_n) * u128::from(part) / u128::from(whole)).clamped(),
        };
        exp2(exponent)
    }
}

/// How many jobs the node is thought to take: one a core at first, doubled while it has more
/// (the paper's rule). Both sides of the difference use the same number, so that a task never
/// makes a node cheaper.
fn slots(candidate: &Candidate) -> u32 {
    let mut slots = (candidate.capacity.cpu_millis / 1000).max(1);
    while slots <= candidate.tasks && slots < u32::MAX / 2 {
        slots *= 2;
    }
    slots.max(candidate.tasks.saturating_add(1))
}

/// log2 of a whole number from 1, rounded down to [`PLACES`] places: the digits come out of
/// squaring what is left.
fn log2(number: u64) -> u64 {
    let whole = number.ilog2();
    let mut rest = u128::from(number) << (TABLE_PLACES - whole);
    let mut log = u64::from(whole);
    for _ in 0..PLACES {
        rest = (rest * rest) >> TABLE_PLACES;
        log <<= 1;
        if rest >> (TABLE_PLACES + 1) > 0 {
            rest >>= 1;
            log |= 1;
        }
    }
    log
}

/// 2 to the power of an exponent with [`PLACES`] places and below 21; the same places.
fn exp2(exponent: u64) -> u64 {
    let [d, c, b, a, whole, ..] = exponent.to_le_bytes();
    let times = |left: u64, right: u64| -> u64 {
        ((u128::from(left) * u128::from(right)) >> TABLE_PLACES).clamped()
    };
    let digit = |level: usize, byte: u8| POWERS[level][usize::from(byte)];
    let fraction = times(times(digit(0, a), digit(1, b)), times(digit(2, c), digit(3, d)));
    let shift = TABLE_PLACES - PLACES;
    fraction >> shift.saturating_sub(u32::from(whole))
}

/// 2^(i / 256^(level + 1)), with [`TABLE_PLACES`] places.
static POWERS: [[u64; 256]; 4] = powers();

#[expect(clippy::cast_possible_truncation, reason = "roots and products are below 2^63")]
const fn powers() -> [[u64; 256]; 4] {
    let mut table = [[1u64 << TABLE_PLACES; 256]; 4];
    let mut root: u128 = 2 << TABLE_PLACES;
    let mut level = 0;
    while level < 4 {
        let mut bit = 8;
        while bit > 0 {
            bit -= 1;
            // 2^(2^-k) is the square root of 2^(2^-(k-1)).
            root = (root << TABLE_PLACES).isqrt();
            let mut at = 0;
            while at < 256 {
                if at & (1 << bit) != 0 {
                    table[level][at] = ((table[level][at] as u128 * root) >> TABLE_PLACES) as u64;
                }
                at += 1;
            }
        }
        level += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use model::NodeId;
    use proptest::prelude::*;

    use super::*;

    #[expect(clippy::cast_precision_loss, reason = "53 bits are enough to compare with")]
    fn float(value: u64) -> f64 {
        value as f64 / 2f64.powi(32)
    }

    fn node(cpu_millis: u32, memory_mib: u32, used: (u32, u32), tasks: u32) -> Candidate {
        let capacity = Resources { cpu_millis, memory_mib, disk_mib: 0, gpus: 0 };
        let used = Resources { cpu_millis: used.0, memory_mib: used.1, disk_mib: 0, gpus: 0 };
        Candidate {
            node: NodeId::from_number(1),
            free: capacity - used,
            capacity,
            tasks,
            paid: true,
            hazard_ppm_hour: 0,
            life_left_ms: None,
        }
    }

    /// The definition, in floats.
    fn by_definition(n: u32, candidate: &Candidate, ask: &Resources, slots: u32) -> f64 {
        let n = f64::from(n);
        let used = candidate.capacity - candidate.free;
        let rise = |used: u32, ask: u32, cap: u32| {
            n.powf(f64::from(used + ask) / f64::from(cap))
                - n.powf(f64::from(used) / f64::from(cap))
        };
        rise(used.cpu_millis, ask.cpu_millis, candidate.capacity.cpu_millis)
            + rise(used.memory_mib, ask.memory_mib, candidate.capacity.memory_mib)
            + rise(candidate.tasks, 1, slots)
    }

    #[test]
    fn costs_are_those_worked_out_by_hand() {
        // Four machines; 4 cores and 4 GiB, half of the cores, a quarter of the memory and two of
        // four slots used; one core and 1 GiB asked:
        // 4^(3/4) - 4^(2/4) + 4^(2/4) - 4^(1/4) + 4^(3/4) - 4^(2/4) = 2 * 2.828427 - 1.414214 - 2.
        let candidate = node(4000, 4096, (2000, 1024), 2);
        let ask = Resources { cpu_millis: 1000, memory_mib: 1024, disk_mib: 0, gpus: 0 };
        let cost = float(Epvm::new(4).marginal_cost(&candidate, &ask));
        assert!((cost - 2.242_640_687).abs() < 1e-7, "{cost}");
    }

    #[test]
    fn the_number_of_machines_is_the_base() {
        // Half of the cores and of the slots, no memory: (n^(1/2) - 1) twice.
        let candidate = node(2000, 4096, (0, 0), 0);
        let ask = Resources { cpu_millis: 1000, memory_mib: 0, disk_mib: 0, gpus: 0 };
        for (machines, base) in
            [(0, 2.0f64), (1, 2.0), (2, 2.0), (9, 9.0), (2_000_000, 1_048_576.0)]
        {
            let cost = float(Epvm::new(machines).marginal_cost(&candidate, &ask));
            let exact = 2.0 * (base.sqrt() - 1.0);
            assert!((cost - exact).abs() < base * 2f64.powi(-27), "{machines}: {cost}");
        }
    }

    #[test]
    fn cpu_alone_changes_the_cost() {
        let ask = Resources { cpu_millis: 1000, memory_mib: 0, disk_mib: 0, gpus: 0 };
        let law = Epvm::new(10);
        let idle = law.marginal_cost(&node(4000, 4096, (0, 0), 1), &ask);
        let busy = law.marginal_cost(&node(4000, 4096, (3000, 0), 1), &ask);
        assert!(idle < busy);
    }

    #[test]
    fn slots_double_when_they_are_exceeded() {
        let slots_at = |tasks| slots(&node(2000, 4096, (0, 0), tasks));
        assert_eq!([0, 1, 2, 3, 4, 7, 8].map(slots_at), [2, 2, 4, 4, 8, 8, 16]);
        assert_eq!(slots_at(u32::MAX), u32::MAX);
    }

    proptest! {
        #[test]
        fn powers_are_within_the_stated_bound(
            n in 2u32..=1 << 20, part in 0u32..=u32::MAX, whole in 1u32..=u32::MAX,
        ) {
            let part = part % whole;
            let ours = float(Epvm::new(usize::try_from(n).unwrap()).power(part, whole));
            let exact = f64::from(n).powf(f64::from(part) / f64::from(whole));
            prop_assert!(ours <= exact * (1.0 + 1e-14), "{ours} > {exact}");
            prop_assert!(ours >= exact * (1.0 - 2f64.powi(-30)) - 2f64.powi(-32), "{ours} < {exact}");
        }

        #[test]
        fn costs_are_within_the_stated_bound(
            n in 2u32..20_000, cap in 100u32..200_000, used in 0u32..=100, ask in 0u32..=100,
            tasks in 0u32..100,
        ) {
            let used = cap / 100 * used;
            let ask = (cap / 100 * ask).min(cap - used);
            let candidate = node(cap, cap, (used, used), tasks);
            let ask = Resources { cpu_millis: ask, memory_mib: ask, disk_mib: 0, gpus: 0 };
            let ours = float(Epvm::new(usize::try_from(n).unwrap()).marginal_cost(&candidate, &ask));
            let exact = by_definition(n, &candidate, &ask, slots(&candidate));
            prop_assert!((ours - exact).abs() < f64::from(n) * 2f64.powi(-27), "{ours} {exact}");
        }
    }
}
