//! What is asked for on the command line.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use chaos::{Fault, Plan};
use clap::{Parser, ValueEnum};
use control::Invariant;

/// Simulate the cluster with faults, one run for each seed.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask simulate", bin_name = "cargo xtask simulate")]
pub(crate) struct Options {
    /// How many seeds.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    pub(crate) from: u64,
    /// Faults instead of each seed's own: `cut-off,manager-dies`, or `none`. With `-` before it one
    /// is taken from the seed's own: `--faults=-cut-off`.
    #[arg(long, value_parser = Choice::read, allow_hyphen_values = true)]
    pub(crate) faults: Option<Choice>,
    /// From this millisecond of the run on nothing goes wrong.
    #[arg(long, value_name = "T")]
    pub(crate) until_ms: Option<u64>,
    /// Shrink the faults of the first seed that fails.
    #[arg(long)]
    pub(crate) minimise: bool,
    /// Print what happened: in the first seed that fails, or in the only one.
    #[arg(long)]
    pub(crate) log: bool,
    /// Threads; all cores by default.
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// For people, or one JSON object.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
    /// Start no more seeds after so many failures.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) most_failures: usize,
    /// Start no more seeds after one of these promises was broken, and for no other failure:
    /// `settled-once,one-writer`.
    #[arg(long, value_name = "PROMISES", value_delimiter = ',', value_parser = promise)]
    pub(crate) stop_at: Vec<Invariant>,
    /// Runs that `--minimise` may take.
    #[arg(long, value_name = "N", default_value_t = 400)]
    pub(crate) most_runs: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
}

/// Which faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// These.
    Only(BTreeSet<Fault>),
    /// The seed's own, without these.
    Without(BTreeSet<Fault>),
}

impl Choice {
    fn read(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::Only(BTreeSet::new()));
        }
        let (mut only, mut without) = (BTreeSet::new(), BTreeSet::new());
        for word in text.split(',') {
            let (name, into) = match word.strip_prefix('-') {
                Some(name) => (name, &mut without),
                None => (word, &mut only),
            };
            into.insert(Fault::named(name).ok_or_else(|| no_such_fault(name))?);
        }
        match (only.is_empty(), without.is_empty()) {
            (false, true) => Ok(Self::Only(only)),
            (true, false) => Ok(Self::Without(without)),
            _ => Err("either faults to have, or faults with `-` to take away".to_owned()),
        }
    }
}

fn no_such_fault(name: &str) -> String {
    let known: Vec<_> = Fault::ALL.into_iter().map(Fault::id).collect();
    format!("no fault is called `{name}`; there are {}", known.join(", "))
}

fn promise(name: &str) -> Result<Invariant, String> {
    let known = || Invariant::ALL.into_iter().map(Invariant::id).collect::<Vec<_>>().join(", ");
    let found = Invariant::ALL.into_iter().find(|invariant| invariant.id() == name);
    found.ok_or_else(|| format!("no promise is called `{name}`; there are {}", known()))
}

impl Options {
    /// The plan of a seed.
    pub(crate) fn plan(&self, seed: u64) -> Plan {
        let own = Plan::of_seed(seed);
        let faults = match &self.faults {
            None => own.faults,
            Some(Choice::Only(faults)) => faults.clone(),
            Some(Choice::Without(faults)) => own.faults.difference(faults).copied().collect(),
        };
        let until_ms = self.until_ms.unwrap_or(own.until_ms);
        Plan { seed, faults, until_ms, log: self.log }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_chosen_taken_away_or_none() {
        let cut = BTreeSet::from([Fault::CutOff]);
        assert_eq!(Choice::read("none"), Ok(Choice::Only(BTreeSet::new())));
        assert_eq!(Choice::read("cut-off"), Ok(Choice::Only(cut.clone())));
        assert_eq!(Choice::read("-cut-off"), Ok(Choice::Without(cut)));
        assert!(Choice::read("cut-off,-plan-late").is_err(), "a mixture says nothing clear");
        let wrong = Choice::read("cutoff").expect_err("no such fault");
        assert!(wrong.contains("`cutoff`") && wrong.contains("cut-off"), "{wrong}");
    }

    #[test]
    fn without_choice_a_seed_has_its_own_faults() {
        let options = |words: &[&str]| {
            Options::try_parse_from([&["x"], words].concat()).expect("a right command line")
        };
        let own = Plan::of_seed(7);
        assert_eq!(options(&[]).plan(7), own);
        let one = *own.faults.first().expect("seed 7 has faults");
        let less = options(&[&format!("--faults=-{}", one.id())]).plan(7);
        assert_eq!(less.faults.len() + 1, own.faults.len());
        assert!(!less.faults.contains(&one));
        let few = options(&["--faults", "cut-off", "--until-ms", "9", "--log"]).plan(7);
        let faults = BTreeSet::from([Fault::CutOff]);
        assert_eq!(few, Plan { seed: 7, faults, until_ms: 9, log: true });
        assert!(Options::try_parse_from(["x", "--stop-at", "no-such-promise"]).is_err());
    }
}
