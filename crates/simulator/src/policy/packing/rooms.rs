//! Free room of machines, by the order of their purchase.

use std::collections::BTreeMap;

use market::recorded::MachineNo;
use model::Resources;

/// Finds the first machine with room in about the logarithm of their number: a tree whose nodes hold
/// the most that is free below them, resource by resource.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    /// The tree, its root at 1; the second half are the leaves.
    most: Vec<Resources>,
    /// By leaf.
    machines: Vec<Option<MachineNo>>,
    leaf_of: BTreeMap<MachineNo, usize>,
    next_leaf: usize,
}

const LEAST_LEAVES: usize = 8;

impl Rooms {
    /// Puts a machine in, or says what is free on it now. One that comes later is later in order.
    pub(crate) fn set(&mut self, machine: MachineNo, free: Resources) {
        let leaf = match self.leaf_of.get(&machine) {
            Some(leaf) => *leaf,
            None => {
                if self.next_leaf == self.machines.len() {
                    self.rebuild();
                }
                let leaf = self.next_leaf;
                self.next_leaf += 1;
                self.leaf_of.insert(machine, leaf);
                leaf
            }
        };
        self.write(leaf, Some(machine), free);
    }

    /// Takes a machine out; tells what was free on it.
    pub(crate) fn remove(&mut self, machine: MachineNo) -> Option<Resources> {
        let leaf = self.leaf_of.remove(&machine)?;
        let free = self.most.get(self.machines.len() + leaf).copied();
        self.write(leaf, None, Resources::default());
        free
    }

    /// What is free on a machine that is in.
    pub(crate) fn free(&self, machine: MachineNo) -> Option<Resources> {
        let leaf = self.leaf_of.get(&machine)?;
        self.most.get(self.machines.len() + leaf).copied()
    }

    /// The first machine that holds an ask.
    pub(crate) fn first(&self, ask: &Resources) -> Option<MachineNo> {
        self.first_below(1, ask)
    }

    fn first_below(&self, node: usize, ask: &Resources) -> Option<MachineNo> {
        if !self.most.get(node)?.holds(ask) {
            return None;
        }
        match node.checked_sub(self.machines.len()) {
            Some(leaf) => self.machines.get(leaf).copied().flatten(),
            None => self.first_below(2 * node, ask).or_else(|| self.first_below(2 * node + 1, ask)),
        }
    }

    fn write(&mut self, leaf: usize, machine: Option<MachineNo>, free: Resources) {
        if let Some(at) = self.machines.get_mut(leaf) {
            *at = machine;
        }
        let mut node = self.machines.len() + leaf;
        let mut most = free;
        while let Some(at) = self.most.get_mut(node) {
            *at = most;
            if node <= 1 {
                break;
            }
            let sibling = self.most.get(node ^ 1).copied().unwrap_or_default();
            most = larger(most, sibling);
            node /= 2;
        }
    }

    /// Makes place for as many again as are in.
    fn rebuild(&mut self) {
        let live = self.machines.iter().flatten();
        let live: Vec<(MachineNo, Resources)> =
            live.map(|machine| (*machine, self.free(*machine).unwrap_or_default())).collect();
        let leaves = (2 * live.len()).next_power_of_two().max(LEAST_LEAVES);
        self.most = vec![Resources::default(); 2 * leaves];
        self.machines = vec![None; leaves];
        self.leaf_of.clear();
        self.next_leaf = 0;
        for (machine, free) in live {
            self.set(machine, free);
        }
    }
}

fn larger(one: Resources, other: Resources) -> Resources {
    Resources {
        cpu_millis: one.cpu_millis.max(other.cpu_millis),
        memory_mib: one.memory_mib.max(other.memory_mib),
        disk_mib: one.disk_mib.max(other.disk_mib),
        gpus: one.gpus.max(other.gpus),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn amount(cpu_millis: u32, memory_mib: u32) -> Resources {
        Resources { cpu_millis, memory_mib, disk_mib: 0, gpus: 0 }
    }

    proptest! {
        #[test]
        fn the_first_is_the_first(
            moves in prop::collection::vec((0_u64..40, 0_u32..10, 0_u32..10, 0..4), 1..200),
            ask in (0_u32..10, 0_u32..10),
        ) {
            let mut rooms = Rooms::default();
            let mut plain = BTreeMap::new();
            let mut seen = 0;
            for (no, cpu, memory, kind) in moves {
                // A machine that is in, or the next one: numbers only ever grow.
                let no = if kind == 0 { seen += 1; seen } else { no.min(seen) };
                if kind == 1 {
                    prop_assert_eq!(rooms.remove(MachineNo(no)), plain.remove(&MachineNo(no)));
                } else if kind == 0 || plain.contains_key(&MachineNo(no)) {
                    rooms.set(MachineNo(no), amount(cpu, memory));
                    plain.insert(MachineNo(no), amount(cpu, memory));
                }
                let ask = amount(ask.0, ask.1);
                let first = plain.iter().find(|(_, free)| free.holds(&ask)).map(|(no, _)| *no);
                prop_assert_eq!(rooms.first(&ask), first);
            }
        }
    }
}
