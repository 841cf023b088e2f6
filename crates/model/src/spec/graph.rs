//! Which groups come after which, read from the raw document: cycles are told along with all other
//! faults, even where a group could not be read.

use std::collections::BTreeMap;

use serde_json::Value;

use super::limits;

/// Ordinals of the groups by name; of two with one name the first.
pub(crate) struct Names(BTreeMap<String, u16>);

/// An entry of a group's `after` that closes a cycle.
pub(crate) struct Cycle {
    /// The group.
    pub(crate) group: usize,
    /// The entry's place in its `after`.
    pub(crate) place: usize,
    /// The cycle in words.
    pub(crate) words: String,
}

/// The name of a group that has none.
pub(crate) fn default_name(ordinal: usize) -> String {
    format!("group-{ordinal}")
}

impl Names {
    /// Of these raw groups.
    pub(crate) fn of(groups: &[Value]) -> Self {
        let mut names = BTreeMap::new();
        for (ordinal, group) in groups.iter().take(limits::GROUPS).enumerate() {
            let Ok(number) = u16::try_from(ordinal) else { break };
            let name = match group.get("name") {
                Some(name) => name.as_str().map(str::to_owned),
                None => Some(default_name(ordinal)),
            };
            if let Some(name) = name {
                names.entry(name).or_insert(number);
            }
        }
        Self(names)
    }

    /// The ordinal of the group of this name.
    pub(crate) fn ordinal(&self, name: &str) -> Option<u16> {
        self.0.get(name).copied()
    }

    /// Entries of `after` without which there were no cycle. A group that comes after itself is not
    /// among them.
    pub(crate) fn cycles(&self, groups: &[Value]) -> Vec<Cycle> {
        let edges: Vec<Vec<(usize, usize)>> = groups
            .iter()
            .take(limits::GROUPS)
            .enumerate()
            .map(|(ordinal, group)| self.edges(ordinal, group))
            .collect();
        let mut search =
            Search { edges: &edges, marks: vec![Mark::New; edges.len()], path: Vec::new() };
        let mut cycles = Vec::new();
        for start in 0..edges.len() {
            search.from(start, &mut cycles);
        }
        let name = |ordinal: &usize| {
            let found = self.0.iter().find(|(_, number)| usize::from(**number) == *ordinal);
            found.map_or_else(String::new, |(name, _)| format!("`{name}`"))
        };
        let cycle = |(group, place, path): (usize, usize, Vec<usize>)| {
            let mut names: Vec<String> = path.iter().take(NAMED).map(name).collect();
            if path.len() > NAMED {
                names.push(format!("{} more", path.len() - NAMED));
            }
            names.push(name(&path[0]));
            let words = format!("makes a cycle: {}", names.join(" after "));
            Cycle { group, place, words }
        };
        cycles.into_iter().map(cycle).collect()
    }

    /// Where each known entry of a group's `after` leads: the entry's place, the ordinal.
    fn edges(&self, ordinal: usize, group: &Value) -> Vec<(usize, usize)> {
        let Some(after) = group.get("after").and_then(Value::as_array) else { return Vec::new() };
        let entries = after.iter().take(limits::GROUPS).enumerate();
        let known = entries.filter_map(|(place, entry)| {
            Some((place, usize::from(self.ordinal(entry.as_str()?)?)))
        });
        known.filter(|(_, to)| *to != ordinal).collect()
    }
}

/// Groups that a cycle's words name.
const NAMED: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    OnPath,
    Done,
}

/// A walk in depth, with a path of its own: a thousand groups in a row must not need a deep stack.
struct Search<'e> {
    edges: &'e [Vec<(usize, usize)>],
    marks: Vec<Mark>,
    /// Each group on the way, and how many of its edges are seen.
    path: Vec<(usize, usize)>,
}

impl Search<'_> {
    fn from(&mut self, start: usize, cycles: &mut Vec<(usize, usize, Vec<usize>)>) {
        if self.marks[start] != Mark::New {
            return;
        }
        self.enter(start);
        while let Some((group, seen)) = self.path.last().copied() {
            let Some((place, to)) = self.edges[group].get(seen).copied() else {
                self.marks[group] = Mark::Done;
                self.path.pop();
                continue;
            };
            if let Some(last) = self.path.last_mut() {
                last.1 += 1;
            }
            match self.marks[to] {
                Mark::New => self.enter(to),
                Mark::Done => {}
                Mark::OnPath if cycles.len() >= limits::FAULTS => {}
                Mark::OnPath => {
                    let on_path = self.path.iter().map(|(group, _)| *group);
                    cycles.push((group, place, on_path.skip_while(|on| *on != to).collect()));
                }
            }
        }
    }

    fn enter(&mut self, group: usize) {
        self.marks[group] = Mark::OnPath;
        self.path.push((group, 0));
    }
}
