//! The cheapest way through a [`Model`], by dynamic programming over steps and lost time.
//!
//! A state is where the task is after a step (on one of the machines, or on none with its checkpoint
//! in some zone) and how much time has been lost so far: a changeover a start, and every moment without
//! a machine. Lost time comes in multiples of a quantum, the greatest common divisor of a step and a
//! changeover, so nothing is rounded. What has been lost never exceeds what may be, which
//! bounds the table by the slack and not by the work.
//!
//! **Steps in part.** Where time is billed by the second, costs are linear in every moment at which a
//! machine is bought or ended between two changes of the market, and the work to be done is the only
//! thing that ties these moments together. So there is an optimum with at most one of them inside a
//! step. Before it lost time is a multiple of the quantum; after it, it is what may be lost less such a
//! multiple: a second layer of the same table.

use std::collections::VecDeque;

use model::{Clamp, PurchaseOption};

use super::model::{Cost, Model, NEVER, Partial};

/// Rows of that many cells in all are kept; beyond that, parts are computed twice.
const KEPT_CELLS: usize = 8 << 20;

/// A machine for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Which of the recording's pools.
    pub(super) pool: usize,
    /// How it is paid for.
    pub(super) option: PurchaseOption,
    /// Bought.
    pub(super) from_ms: u64,
    /// Ended.
    pub(super) to_ms: u64,
}

/// Some steps of a model, and how they are to be spent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// The first.
    pub(super) first: usize,
    /// Behind the last.
    pub(super) end: usize,
    /// The first is shorter than others, and not spent on nothing.
    pub(super) holds_first: bool,
    /// So is the last.
    pub(super) holds_last: bool,
    /// What may be lost.
    pub(super) spare_ms: u64,
    /// Lost time is counted in multiples of that.
    pub(super) quantum_ms: u64,
}

/// A state's place in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    On(usize),
    Off(usize),
}

/// A cell of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    layer: usize,
    place: Place,
    lost: usize,
}

/// What a step was spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spent {
    Nothing,
    /// So much of it on a machine; `is_new` if bought in it.
    On {
        machine: usize,
        is_new: bool,
        from_ms: u64,
        to_ms: u64,
    },
}

/// All cells after a step.
type Row = Vec<Cost>;

struct Table<'m> {
    model: &'m Model,
    part: Part,
    /// Amounts of lost time.
    width: usize,
    /// What a step of nothing loses, in quanta.
    idle: usize,
    /// What a start loses.
    delay: usize,
    /// What the second layer's amounts are above those of the first.
    rest_ms: u64,
    layers: usize,
    /// Places without a machine: a zone each, and one for a task that never had one.
    offs: usize,
}

/// The least cost of a part, and how; nothing when it cannot be done.
pub(super) fn solve(model: &Model, part: Part) -> Option<(Cost, Vec<Stretch>)> {
    let table = Table::new(model, part);
    let stride = table.stride();
    let mut kept = vec![table.first_row()];
    let mut row = table.first_row();
    for step in part.first..part.end {
        row = table.next(step, &row);
        if (step + 1 - part.first).is_multiple_of(stride) {
            kept.push(row.clone());
        }
    }
    let (mut cell, cost) = table.least(&row)?;
    let mut spent = vec![Spent::Nothing; part.end - part.first];
    let mut end = part.end;
    for (segment, begin) in (part.first..part.end).step_by(stride).enumerate().rev() {
        let mut rows = vec![kept.get(segment)?.clone()];
        for step in begin..end - 1 {
            let next = table.next(step, rows.last()?);
            rows.push(next);
        }
        let mut after = row;
        for step in (begin..end).rev() {
            let before = rows.pop()?;
            let (came, how) = table.back(step, &before, cell, table.get(&after, cell))?;
            *spent.get_mut(step - part.first)? = how;
            cell = came;
            after = before;
        }
        row = after;
        kept.truncate(segment);
        end = begin;
    }
    Some((cost, table.stretches(&spent)))
}

impl<'m> Table<'m> {
    fn new(model: &'m Model, part: Part) -> Self {
        let quantum = part.quantum_ms.max(1);
        let quanta = |ms: u64| usize::try_from(ms / quantum).unwrap_or(usize::MAX);
        Self {
            model,
            part,
            width: quanta(part.spare_ms).saturating_add(1),
            idle: quanta(model.step_ms),
            delay: quanta(model.delay_ms),
            rest_ms: part.spare_ms % quantum,
            layers: if model.partial == Partial::No { 1 } else { 2 },
            offs: if model.zones > 1 { model.zones + 1 } else { 1 },
        }
    }

    fn stride(&self) -> usize {
        let steps = (self.part.end - self.part.first).max(1);
        if self.cells().saturating_mul(steps) <= KEPT_CELLS { 1 } else { steps.isqrt() }
    }

    fn states(&self) -> usize {
        self.model.machines.len() + self.offs
    }

    fn cells(&self) -> usize {
        self.states().saturating_mul(self.layers).saturating_mul(self.width)
    }

    fn begin(&self, layer: usize, place: Place) -> usize {
        let state = match place {
            Place::On(machine) => machine,
            Place::Off(zone) => self.model.machines.len() + zone,
        };
        (layer * self.states() + state) * self.width
    }

    fn line<'r>(&self, row: &'r [Cost], layer: usize, place: Place) -> &'r [Cost] {
        let begin = self.begin(layer, place);
        row.get(begin..begin + self.width).unwrap_or_default()
    }

    fn line_mut<'r>(&self, row: &'r mut [Cost], layer: usize, place: Place) -> &'r mut [Cost] {
        let begin = self.begin(layer, place);
        row.get_mut(begin..begin + self.width).unwrap_or_default()
    }

    fn get(&self, row: &[Cost], cell: Cell) -> Cost {
        row.get(self.begin(cell.layer, cell.place) + cell.lost).copied().unwrap_or(NEVER)
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        (0..self.offs).map(Place::Off).chain((0..self.model.machines.len()).map(Place::On))
    }

    /// Where the checkpoint of a task in a place lies; the last zone is nowhere.
    fn zone_of(&self, place: Place) -> usize {
        match place {
            Place::Off(zone) => zone,
            Place::On(machine) => self.model.machines.get(machine).map_or(0, |it| it.zone),
        }
    }

    fn egress(&self, from: usize, to: usize) -> Cost {
        let row = self.model.egress.get(from);
        row.and_then(|row| row.get(to)).copied().unwrap_or(0)
    }

    /// Nothing lost, and on no machine yet.
    fn first_row(&self) -> Row {
        let mut row = vec![NEVER; self.cells()];
        let nowhere = self.begin(0, Place::Off(self.offs - 1));
        if let Some(cell) = row.get_mut(nowhere) {
            *cell = 0;
        }
        row
    }

    fn least(&self, row: &[Cost]) -> Option<(Cell, Cost)> {
        let cells = (0..self.layers).flat_map(|layer| {
            self.places()
                .flat_map(move |place| (0..self.width).map(move |lost| Cell { layer, place, lost }))
        });
        let costs = cells.map(|cell| (cell, self.get(row, cell)));
        costs.min_by_key(|(_, cost)| *cost).filter(|(_, cost)| *cost < NEVER)
    }

    fn is_there(&self, machine: usize, step: usize) -> bool {
        let step = self.model.machines.get(machine).and_then(|it| it.steps.get(step));
        step.is_some_and(|step| step.is_there)
    }

    fn decides(&self, step: usize) -> bool {
        self.model.decides.get(step).copied().unwrap_or(false)
    }

    /// Whether a task that was in a place may be without a machine in a step.
    fn may_leave(&self, place: Place, step: usize) -> bool {
        match place {
            Place::Off(_) => true,
            Place::On(machine) => self.decides(step) || !self.is_there(machine, step),
        }
    }

    /// Whether a step is spent on nothing because the task was done before it, between decisions.
    fn may_leave_done(&self, step: usize) -> bool {
        self.model.partial == Partial::Leaves && !self.decides(step) && self.may_idle(step)
    }

    /// Whether machines are held in a layer: not after a part that can only come at the end.
    fn may_hold(&self, layer: usize) -> bool {
        layer == 0 || self.model.partial == Partial::Anywhere
    }

    fn may_idle(&self, step: usize) -> bool {
        let holds_first = self.part.holds_first && step == self.part.first;
        let holds_last = self.part.holds_last && step + 1 == self.part.end;
        !holds_first && !holds_last
    }

    /// Costs of being free at a step's begin, by the zone of the checkpoint.
    fn free(&self, step: usize, row: &[Cost], layer: usize) -> Vec<Row> {
        let mut free = vec![vec![NEVER; self.width]; self.offs];
        for place in self.places().filter(|place| self.may_leave(*place, step)) {
            let Some(best) = free.get_mut(self.zone_of(place)) else { continue };
            lower(best, self.line(row, layer, place), 0, 0);
        }
        free
    }

    /// Costs of having a checkpoint in a zone at a step's begin, moved there if need be.
    fn moved(&self, free: &[Row], to: usize) -> Row {
        let mut moved = vec![NEVER; self.width];
        for (from, row) in free.iter().enumerate() {
            lower(&mut moved, row, 0, self.egress(from, to));
        }
        moved
    }

    fn next(&self, step: usize, row: &[Cost]) -> Row {
        let mut next = vec![NEVER; self.cells()];
        for layer in 0..self.layers {
            let free = self.free(step, row, layer);
            if self.may_idle(step) {
                for (zone, free) in free.iter().enumerate() {
                    lower(self.line_mut(&mut next, layer, Place::Off(zone)), free, self.idle, 0);
                }
            }
            if !self.may_hold(layer) {
                continue;
            }
            let moved: Vec<Row> = match self.decides(step) {
                true => (0..self.model.zones).map(|zone| self.moved(&free, zone)).collect(),
                false => Vec::new(),
            };
            for (at, machine) in self.model.machines.iter().enumerate() {
                let Some(it) = machine.steps.get(step).filter(|it| it.is_there) else { continue };
                let held = self.line(row, layer, Place::On(at));
                lower(self.line_mut(&mut next, layer, Place::On(at)), held, 0, it.hold);
                let moved = moved.get(machine.zone);
                if let Some(moved) = moved {
                    let on = self.line_mut(&mut next, layer, Place::On(at));
                    lower(on, moved, self.delay, it.start);
                }
                if layer == 0 && self.layers == 2 {
                    self.in_part(step, at, held, moved, &mut next);
                }
            }
        }
        next
    }

    /// From the first layer to the second: a machine for part of a step, or for the last time.
    fn in_part(
        &self,
        step: usize,
        at: usize,
        held: &[Cost],
        moved: Option<&Row>,
        next: &mut [Cost],
    ) {
        let Some(machine) = self.model.machines.get(at) else { return };
        if self.may_leave_done(step) {
            lower(self.line_mut(next, 1, Place::Off(machine.zone)), held, self.idle, 0);
        }
        let Some(rate) = machine.steps.get(step).map(|it| it.rate) else { return };
        let slide = self.slide(step, rate);
        let off = self.line_mut(next, 1, Place::Off(machine.zone));
        slide.lower(off, held, 0);
        if let Some(moved) = moved {
            slide.lower(off, moved, self.delay);
            if self.may_hold(1) {
                slide.lower(self.line_mut(next, 1, Place::On(at)), moved, self.delay);
            }
        }
    }

    fn slide(&self, step: usize, rate: Cost) -> Slide {
        let quantum = self.part.quantum_ms.max(1);
        let whole = self.model.len_ms(step).checked_sub(self.rest_ms);
        let whole = whole.filter(|_| self.model.partial != Partial::Leaves);
        Slide {
            window: whole.map(|ms| usize::try_from(ms / quantum).unwrap_or(usize::MAX)),
            most: rate.saturating_mul(whole.unwrap_or(0).clamped()),
            quantum: rate.saturating_mul(quantum.clamped()),
        }
    }

    /// How a cell of the row after a step came about.
    fn back(&self, step: usize, before: &[Cost], cell: Cell, cost: Cost) -> Option<(Cell, Spent)> {
        let whole = self.back_whole(step, before, cell, cost);
        whole.or_else(|| {
            if cell.layer == 1 { self.back_in_part(step, before, cell, cost) } else { None }
        })
    }

    fn back_whole(
        &self,
        step: usize,
        before: &[Cost],
        cell: Cell,
        cost: Cost,
    ) -> Option<(Cell, Spent)> {
        let Place::On(at) = cell.place else {
            let lost = cell.lost.checked_sub(self.idle).filter(|_| self.may_idle(step))?;
            let came = self.places().map(|place| Cell { place, lost, ..cell }).find(|came| {
                self.zone_of(came.place) == self.zone_of(cell.place)
                    && self.may_leave(came.place, step)
                    && self.get(before, *came) == cost
            });
            return Some((came?, Spent::Nothing));
        };
        let machine = self.model.machines.get(at).filter(|_| self.may_hold(cell.layer))?;
        let it = machine.steps.get(step).filter(|it| it.is_there)?;
        let (from_ms, to_ms) = (self.at(step), self.at(step + 1));
        if self.get(before, cell).saturating_add(it.hold) == cost {
            return Some((cell, Spent::On { machine: at, is_new: false, from_ms, to_ms }));
        }
        let lost = cell.lost.checked_sub(self.delay).filter(|_| self.decides(step))?;
        let came = self.came_free(before, Cell { lost, ..cell }, step, cost - it.start)?;
        Some((came, Spent::On { machine: at, is_new: true, from_ms, to_ms }))
    }

    /// The cell from which a task was free at a step's begin, for the zone of a cell's place, at a cost.
    fn came_free(&self, before: &[Cost], to: Cell, step: usize, cost: Cost) -> Option<Cell> {
        let zone = self.zone_of(to.place);
        let mut cells = self.places().map(|place| Cell { place, ..to });
        cells.find(|came| {
            let egress = self.egress(self.zone_of(came.place), zone);
            self.may_leave(came.place, step)
                && self.get(before, *came).saturating_add(egress) == cost
        })
    }

    fn back_in_part(
        &self,
        step: usize,
        before: &[Cost],
        cell: Cell,
        cost: Cost,
    ) -> Option<(Cell, Spent)> {
        let (begin, end) = (self.at(step), self.at(step + 1));
        for at in (0..self.model.machines.len()).filter(|at| self.is_there(*at, step)) {
            let machine = self.model.machines.get(at)?;
            let ends = cell.place == Place::Off(machine.zone);
            let stays = cell.place == Place::On(at) && self.may_hold(1);
            if !ends && !stays {
                continue;
            }
            if ends && self.may_leave_done(step) {
                let left = cell.lost.checked_sub(self.idle);
                let came = left.map(|lost| Cell { layer: 0, place: Place::On(at), lost });
                if let Some(came) = came.filter(|came| self.get(before, *came) == cost) {
                    return Some((came, Spent::Nothing));
                }
            }
            let slide = self.slide(step, machine.steps.get(step)?.rate);
            let Some(window) = slide.window else { continue };
            for quanta in 0..=window {
                let held_ms = self.part.quantum_ms * u64::try_from(quanta).unwrap_or(u64::MAX);
                let held_ms = (end - begin).saturating_sub(self.rest_ms + held_ms);
                let paid = cost - slide.paid(quanta);
                let place = Place::On(at);
                let came = |lost: usize| Cell { layer: 0, place, lost };
                let Some(lost) = cell.lost.checked_sub(quanta) else { break };
                let to_ms = begin + held_ms;
                if ends && self.get(before, came(lost)) == paid {
                    let is_new = false;
                    let how = Spent::On { machine: at, is_new, from_ms: begin, to_ms };
                    return Some((came(lost), how));
                }
                let fresh = lost.checked_sub(self.delay).filter(|_| self.decides(step));
                let fresh = fresh.and_then(|lost| self.came_free(before, came(lost), step, paid));
                if let Some(came) = fresh {
                    let (from_ms, to_ms) = if ends { (begin, to_ms) } else { (end - held_ms, end) };
                    return Some((came, Spent::On { machine: at, is_new: true, from_ms, to_ms }));
                }
            }
        }
        None
    }

    fn at(&self, step: usize) -> u64 {
        self.model.bounds.get(step).copied().unwrap_or_default()
    }

    fn stretches(&self, spent: &[Spent]) -> Vec<Stretch> {
        let mut stretches: Vec<Stretch> = Vec::new();
        for how in spent {
            let Spent::On { machine, is_new, from_ms, to_ms } = *how else { continue };
            let Some(machine) = self.model.machines.get(machine) else { continue };
            match stretches.last_mut() {
                Some(last) if !is_new => last.to_ms = to_ms,
                Some(_) | None => {
                    let (pool, option) = (machine.pool, machine.option);
                    stretches.push(Stretch { pool, option, from_ms, to_ms });
                }
            }
        }
        stretches.retain(|stretch| stretch.from_ms < stretch.to_ms);
        stretches
    }
}

/// `to[i + shift]` becomes at most `from[i] + cost`.
fn lower(to: &mut [Cost], from: &[Cost], shift: usize, cost: Cost) {
    let to = to.get_mut(shift..).unwrap_or_default();
    for (to, from) in to.iter_mut().zip(from) {
        *to = (*to).min(*from + cost);
    }
}

/// A machine for part of a step: the less of it, the more is lost.
struct Slide {
    /// Quanta that may be lost beyond the rest; nothing when the step is shorter than that.
    window: Option<usize>,
    /// What it costs when only the rest is lost.
    most: Cost,
    /// What each quantum saves.
    quantum: Cost,
}

impl Slide {
    fn paid(&self, quanta: usize) -> Cost {
        self.most - self.quantum * i64::try_from(quanta).unwrap_or(i64::MAX)
    }

    /// `to[i + shift + quanta]` becomes at most `from[i]` and what is paid, for all quanta of the window.
    fn lower(&self, to: &mut [Cost], from: &[Cost], shift: usize) {
        let Some(window) = self.window else { return };
        let to = to.get_mut(shift..).unwrap_or_default();
        // From each place costs fall by the same for every quantum, so that they are compared once.
        let saved = |at: usize| self.quantum * i64::try_from(at).unwrap_or(i64::MAX);
        let mut best: VecDeque<(usize, Cost)> = VecDeque::new();
        for (at, (to, from)) in to.iter_mut().zip(from).enumerate() {
            if *from < NEVER {
                let level = *from + saved(at);
                while best.pop_back_if(|(_, other)| *other >= level).is_some() {}
                best.push_back((at, level));
            }
            while best.pop_front_if(|(begin, _)| *begin + window < at).is_some() {}
            if let Some((_, level)) = best.front() {
                *to = (*to).min(*level - saved(at) + self.most);
            }
        }
    }
}
