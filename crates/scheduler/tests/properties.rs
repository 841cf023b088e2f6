//! What holds for every placement.

use model::{Clamp, NodeId, Resources};
use proptest::prelude::*;
use scheduler::{Candidate, Pick, Policy, Verdict, Want, explain, place};

fn resources(most: u32) -> impl Strategy<Value = Resources> {
    (0..=most, 0..=most, 0..=most, 0..=2u32).prop_map(|(cpu_millis, memory_mib, disk_mib, gpus)| {
        Resources { cpu_millis, memory_mib, disk_mib, gpus }
    })
}

fn candidate() -> impl Strategy<Value = Candidate> {
    let life = prop::option::of(0u64..20);
    (resources(16), resources(16), 0u32..5, any::<bool>(), 0u32..3, life).prop_map(
        |(capacity, used, tasks, paid, hazard_ppm_hour, life_left_ms)| Candidate {
            node: NodeId::from_number(0),
            free: capacity - used,
            capacity,
            tasks,
            paid,
            hazard_ppm_hour,
            life_left_ms,
        },
    )
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    prop::collection::vec(candidate(), 0..12).prop_map(|mut all| {
        for (at, candidate) in all.iter_mut().enumerate() {
            candidate.node = NodeId::from_number(at.clamped());
        }
        all
    })
}

fn want() -> impl Strategy<Value = Want> {
    (resources(6), 0u32..40, prop::option::of(0u64..20), any::<bool>()).prop_map(
        |(resources, count, expect_ms, alone)| Want { resources, count, expect_ms, alone },
    )
}

fn policy() -> impl Strategy<Value = Policy> {
    prop::sample::select(vec![Policy::BestFit, Policy::RoundRobin, Policy::EPvm])
}

/// The plain form of `place`: one task at a time, each node scored anew.
fn one_by_one(candidates: &mut [Candidate], want: &Want, policy: Policy) -> Vec<Pick> {
    let nodes = candidates.len();
    let mut picks: Vec<Pick> = Vec::new();
    for _ in 0..want.count {
        let best = candidates
            .iter()
            .enumerate()
            .filter_map(|(at, candidate)| match explain(candidate, want, policy, nodes) {
                Verdict::Fits { score, .. } => Some((score, at)),
                Verdict::Lacks { .. }
                | Verdict::Occupied { .. }
                | Verdict::TooShortLived { .. } => None,
            })
            .min();
        let Some((_, at)) = best else { break };
        let candidate = &mut candidates[at];
        candidate.tasks += 1;
        candidate.free =
            if want.alone { Resources::default() } else { candidate.free - want.resources };
        match picks.iter_mut().find(|pick| pick.node == candidate.node) {
            Some(pick) => pick.count += 1,
            None => picks.push(Pick { node: candidate.node, count: 1 }),
        }
    }
    picks
}

proptest! {
    #[test]
    fn nothing_is_overcommitted_and_all_that_fits_is_placed(
        before in candidates(), want in want(), policy in policy(),
    ) {
        let mut after = before.clone();
        let picks = place(&mut after, &want, policy);
        let room: u64 = before.iter().map(|candidate| u64::from(candidate.room(&want))).sum();
        let placed: u64 = picks.iter().map(|pick| u64::from(pick.count)).sum();
        prop_assert_eq!(placed, room.min(u64::from(want.count)));
        for (before, after) in before.iter().zip(&after) {
            let count: u32 =
                picks.iter().filter(|pick| pick.node == before.node).map(|pick| pick.count).sum();
            prop_assert_eq!(after.tasks, before.tasks + count);
            prop_assert!(before.free.holds(&want.resources.scaled(count)));
            if !want.alone {
                prop_assert_eq!(after.free + want.resources.scaled(count), before.free);
            } else if count > 0 {
                prop_assert_eq!((before.tasks, count, after.free), (0, 1, Resources::default()));
            }
        }
    }

    #[test]
    fn it_is_the_same_as_one_task_at_a_time(
        before in candidates(), want in want(), policy in policy(),
    ) {
        let (mut fast, mut plain) = (before.clone(), before);
        prop_assert_eq!(
            place(&mut fast, &want, policy),
            one_by_one(&mut plain, &want, policy)
        );
        prop_assert_eq!(fast, plain);
    }

    #[test]
    fn the_order_of_candidates_changes_nothing(
        (before, shuffled) in candidates().prop_flat_map(|all| {
            (Just(all.clone()), Just(all).prop_shuffle())
        }),
        want in want(), policy in policy(),
    ) {
        let (mut straight, mut shuffled) = (before, shuffled);
        prop_assert_eq!(
            place(&mut straight, &want, policy),
            place(&mut shuffled, &want, policy)
        );
        shuffled.sort_by_key(|candidate| candidate.node);
        prop_assert_eq!(straight, shuffled);
    }

    #[test]
    fn explain_says_what_place_does(candidate in candidate(), want in want(), policy in policy()) {
        let fits = matches!(explain(&candidate, &want, policy, 1), Verdict::Fits { .. });
        prop_assert_eq!(fits, candidate.room(&want) > 0);
    }
}
