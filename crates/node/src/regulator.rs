//! The laws by which a digester admits tasks.

use std::fmt;

use model::Resources;

/// The law by which a digester admits tasks, with the capacity that it guards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Regulator {
    /// At most so many tasks at once, whatever they ask for.
    Slots(u32),
    /// Tasks whose resources add up to at most these.
    Resources(Resources),
}

/// What counts against the capacity already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Tasks.
    pub tasks: u32,
    /// What they asked for together.
    pub reserved: Resources,
}

/// One task that would start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// What it asks for.
    pub resources: Resources,
}

/// A regulator's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// It may start.
    Admitted,
    /// It may not, now.
    Refused(Refusal),
}

/// Why a task may not start now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// All slots are taken.
    NoSlot {
        /// How many there are.
        slots: u32,
    },
    /// There is too little of something.
    Lacks {
        /// Of what: `cpu`, `memory`, `disk` or `gpus`.
        what: &'static str,
        /// What the task asks for.
        asked: u32,
        /// What is left.
        free: u32,
    },
}

impl Load {
    /// With one task more.
    pub fn add(&mut self, want: &Want) {
        self.tasks = self.tasks.saturating_add(1);
        self.reserved += want.resources;
    }

    /// With one task less.
    pub fn remove(&mut self, want: &Want) {
        self.tasks = self.tasks.saturating_sub(1);
        self.reserved -= want.resources;
    }
}

impl Regulator {
    /// Reads `slots:N` or `resources`; the latter guards `capacity`.
    ///
    /// # Errors
    /// Words on what would be right.
    pub fn parse(text: &str, capacity: Resources) -> Result<Self, String> {
        if text == "resources" {
            return Ok(Self::Resources(capacity));
        }
        let slots = text.strip_prefix("slots:").and_then(|number| number.parse().ok());
        match slots {
            Some(slots) if slots > 0 => Ok(Self::Slots(slots)),
            _ => Err(format!("`{text}` is no regulator: write `resources` or `slots:4`")),
        }
    }

    /// Whether a task may start beside this load.
    ///
    /// A task that is larger than the whole machine is admitted when it is alone: the scheduler
    /// sent it here knowing what the node has, and a wait without end helps nobody.
    pub fn admit(&self, load: &Load, want: &Want) -> Admission {
        match self {
            Self::Slots(slots) if load.tasks < *slots => Admission::Admitted,
            Self::Slots(slots) => Admission::Refused(Refusal::NoSlot { slots: *slots }),
            Self::Resources(_) if load.tasks == 0 => Admission::Admitted,
            Self::Resources(capacity) => fit(*capacity - load.reserved, want.resources),
        }
    }
}

fn fit(free: Resources, ask: Resources) -> Admission {
    let dimensions = [
        ("cpu", ask.cpu_millis, free.cpu_millis),
        ("memory", ask.memory_mib, free.memory_mib),
        ("disk", ask.disk_mib, free.disk_mib),
        ("gpus", ask.gpus, free.gpus),
    ];
    dimensions
        .into_iter()
        .find(|(_, asked, free)| asked > free)
        .map_or(Admission::Admitted, |(what, asked, free)| {
            Admission::Refused(Refusal::Lacks { what, asked, free })
        })
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSlot { slots } => write!(f, "all {slots} slots are taken"),
            Self::Lacks { what, asked, free } => {
                write!(f, "{what}: {asked} asked, {free} free")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some(cpu_millis: u32, memory_mib: u32) -> Resources {
        Resources { cpu_millis, memory_mib, disk_mib: 0, gpus: 0 }
    }

    #[test]
    fn refusals_name_what_is_missing() {
        let words = |regulator: Regulator, load: Load, want: Resources| match regulator
            .admit(&load, &Want { resources: want })
        {
            Admission::Admitted => "admitted".to_owned(),
            Admission::Refused(refusal) => refusal.to_string(),
        };
        let machine = Regulator::Resources(some(2000, 1024));
        let busy = Load { tasks: 1, reserved: some(1500, 512) };
        let lines = [
            words(Regulator::Slots(2), busy, some(9000, 1)),
            words(Regulator::Slots(1), busy, some(1, 1)),
            words(machine, busy, some(500, 512)),
            words(machine, busy, some(501, 512)),
            words(machine, busy, some(500, 513)),
            words(machine, busy, Resources { gpus: 1, ..some(1, 1) }),
            words(machine, Load::default(), some(4000, 1)),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r"
        admitted
        all 1 slots are taken
        admitted
        cpu: 501 asked, 500 free
        memory: 513 asked, 512 free
        gpus: 1 asked, 0 free
        admitted
        ");
    }

    #[test]
    fn regulators_are_read() {
        let machine = some(2000, 1024);
        assert_eq!(Regulator::parse("slots:4", machine), Ok(Regulator::Slots(4)));
        assert_eq!(Regulator::parse("resources", machine), Ok(Regulator::Resources(machine)));
        for bad in ["", "slots", "slots:0", "slots:-1", "pressure"] {
            assert!(Regulator::parse(bad, machine).is_err(), "{bad}");
        }
    }

    proptest! {
        /// Whatever comes and goes, what is admitted beside others fits.
        #[test]
        fn the_machine_is_never_overbooked(
            asks in prop::collection::vec((1u32..1500, 1u32..800, any::<bool>()), 1..60),
            slots in 1u32..6,
        ) {
            let machine = some(2000, 1024);
            for regulator in [Regulator::Slots(slots), Regulator::Resources(machine)] {
                let (mut load, mut inside) = (Load::default(), Vec::new());
                for (cpu, memory, leave) in &asks {
                    if *leave && let Some(gone) = inside.pop() {
                        load.remove(&gone);
                    }
                    let want = Want { resources: some(*cpu, *memory) };
                    if regulator.admit(&load, &want) == Admission::Admitted {
                        load.add(&want);
                        inside.push(want);
                    }
                    match regulator {
                        Regulator::Slots(slots) => prop_assert!(load.tasks <= slots),
                        Regulator::Resources(all) => prop_assert!(all.holds(&load.reserved)),
                    }
                    prop_assert_eq!(load.tasks as usize, inside.len());
                }
                for gone in inside {
                    load.remove(&gone);
                }
                prop_assert_eq!(load, Load::default());
            }
        }
    }
}
