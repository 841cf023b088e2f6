//! Which faults struck what. A pair that was never seen says that the promises were not tried there.

use std::collections::{BTreeMap, BTreeSet};

use chaos::Fault;

/// A machine that is up, from its first words to its last. That it has work and none of it runs is over
/// within milliseconds, and no state to wait for.
const MACHINE: &[&str] = &["joining", "idle", "running", "leaving"];
/// One that has joined.
const JOINED: &[&str] = &["idle", "running", "leaving"];

const MANAGER: &[&str] = &["standing-by", "leading", "committing"];
const LEADER: &[&str] = &["leading", "committing"];

/// In which states a fault is expected to strike. Pairs that make no sense are not here: a machine
/// that is off reports nothing, and who stands by commits nothing.
pub(crate) fn expected(fault: Fault) -> &'static [&'static str] {
    match fault {
        Fault::ReportLost | Fault::ReportLate | Fault::ReportDoubled => MACHINE,
        Fault::AnswerLost | Fault::AnswerLate | Fault::CutOff | Fault::HalfCutOff => MACHINE,
        Fault::DigesterDies | Fault::DigesterHangs => JOINED,
        Fault::SpawnerDies => &["idle", "running", "leaving"],
        // Only machines of somebody's own: nobody takes them back, so none is leaving.
        Fault::PowerFails => &["idle", "running"],
        Fault::ManagerDies | Fault::ManagerHangs => MANAGER,
        Fault::CommitFails | Fault::CommitUnanswered => &["committing"],
        Fault::LaunchRefused | Fault::LaunchHalfFilled => &["launch"],
        Fault::LaunchUnanswered | Fault::LaunchLate => &["launch"],
        Fault::ListingStale => &["list"],
        Fault::CloudFails => &["launch", "retire", "list", "offers", "notices"],
        // By the node, and by the queue.
        Fault::NoticeLost | Fault::NoticeLate => &["idle", "running", "notices"],
        Fault::NoticeDoubled => &["notices"],
        Fault::NoticeFalse | Fault::KilledUnannounced | Fault::BulkReclaim => &["idle", "running"],
        Fault::QuotaCut => &["launch"],
        Fault::ClockJumps => LEADER,
        Fault::PlanLate => &["leading"],
        Fault::PeopleInterfere => &["running"],
        Fault::ProcessStubborn => &["running"],
        Fault::ProcessFails => &["starting"],
        Fault::NoticeEarly | Fault::KilledEarly => &["idle", "running"],
        Fault::NoticeUnknown => &["launch", "stranger"],
        // Set down, and met by what an attempt left.
        Fault::ObjectsDown => &["strike", "finishing"],
    }
}

/// What was seen of what was to be seen.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Coverage {
    /// Faults that were allowed and never fired.
    pub(crate) silent: Vec<Fault>,
    /// Pairs of the table that were never seen, of faults that fired elsewhere.
    pub(crate) unseen: Vec<(Fault, &'static str)>,
}

impl Coverage {
    pub(crate) fn of(
        fired: &BTreeMap<(Fault, &'static str), u64>,
        enabled: &BTreeSet<Fault>,
    ) -> Self {
        let fires = |fault: Fault| fired.keys().any(|(other, _)| *other == fault);
        let silent = enabled.iter().copied().filter(|fault| !fires(*fault)).collect();
        let of_fault = |fault: Fault| expected(fault).iter().map(move |state| (fault, *state));
        let fired_ones = enabled.iter().copied().filter(|fault| fires(*fault));
        let unseen =
            fired_ones.flat_map(of_fault).filter(|pair| !fired.contains_key(pair)).collect();
        Self { silent, unseen }
    }
}

/// A line for each fault: how often, and in which states.
pub(crate) fn lines(fired: &BTreeMap<(Fault, &'static str), u64>) -> Vec<String> {
    let of_fault = |fault: Fault| {
        let own = || fired.iter().filter(move |((other, _), _)| *other == fault);
        let total: u64 = own().map(|(_, count)| count).sum();
        let states: Vec<_> = own().map(|((_, state), count)| format!("{state} {count}")).collect();
        (total > 0).then(|| format!("{:<19}{total:>9}  {}", fault.id(), states.join(", ")))
    };
    Fault::ALL.into_iter().filter_map(of_fault).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_fired_and_what_was_never_seen_are_told_apart() {
        let fired = BTreeMap::from([
            ((Fault::CutOff, "idle"), 3),
            ((Fault::CutOff, "running"), 1),
            ((Fault::CutOff, "down"), 1),
            ((Fault::ListingStale, "list"), 2),
        ]);
        let enabled = BTreeSet::from([Fault::CutOff, Fault::ListingStale, Fault::PlanLate]);
        let coverage = Coverage::of(&fired, &enabled);
        assert_eq!(coverage.silent, [Fault::PlanLate]);
        let unseen = ["joining", "leaving"].map(|state| (Fault::CutOff, state));
        assert_eq!(coverage.unseen, unseen);
        assert_eq!(
            lines(&fired),
            [
                "cut-off                    5  down 1, idle 3, running 1",
                "listing-stale              2  list 2",
            ]
        );
    }

    #[test]
    fn every_fault_is_expected_somewhere() {
        assert!(Fault::ALL.into_iter().all(|fault| !expected(fault).is_empty()));
    }
}
