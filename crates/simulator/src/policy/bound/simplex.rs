//! The one-shot packing's linear program, by the revised simplex method.
//!
//! Rows: each class is placed; for each kind and resource what is used is bought. A feasible basis is
//! at hand (every class on the kind where it is cheapest alone), so there is no first phase. Right
//! hand sides are moved by some billionths, so that no vertex is degenerate. The arithmetic is in
//! floating point; see the module's parent for why that is safe.

/// A packing problem, scaled: amounts add up to about 1, prices are about 1.
#[derive(Debug)]
pub(super) struct Program {
    /// Of each class, how much there is.
    pub amounts: Vec<f64>,
    /// Of each kind, the price.
    pub prices: Vec<f64>,
    /// Resources that matter.
    pub resources: usize,
    /// By class and kind: the share of each resource that one task takes; `None` where it does not
    /// fit.
    pub shares: Vec<Vec<Option<Vec<f64>>>>,
}

/// What came out.
#[derive(Debug)]
pub(super) struct Solution {
    /// By kind: how its price is split over resources. Not negative; adds up to the price at most,
    /// if it is optimal.
    pub splits: Vec<Vec<f64>>,
    /// By class: how much of it goes to which kind.
    pub placed: Vec<Vec<(usize, f64)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Placed { class: usize, kind: usize },
    Bought(usize),
    Spare { kind: usize, resource: usize },
}

const TOLERANCE: f64 = 1e-10;
/// Pivots between two fresh inverses.
const FRESH: usize = 120;
/// Multiplications that one solution may take.
const MOST_WORK: usize = 4_000_000_000;

struct Simplex<'p> {
    program: &'p Program,
    rows: usize,
    basis: Vec<Column>,
    values: Vec<f64>,
    /// Of the basis, by rows.
    inverse: Vec<f64>,
    sides: Vec<f64>,
}

/// Solves it. Every class fits a kind.
pub(super) fn solve(program: &Program) -> Solution {
    let mut simplex = Simplex::new(program);
    let pivots = MOST_WORK / (simplex.rows * simplex.rows).max(1);
    for pivot in 1..=pivots {
        let duals = simplex.duals();
        let Some(entering) = simplex.entering(&duals) else { break };
        if !simplex.pivot(entering) {
            break;
        }
        if pivot % FRESH.max(simplex.rows) == 0 {
            simplex.refresh();
        }
    }
    simplex.solution()
}

impl<'p> Simplex<'p> {
    fn new(program: &'p Program) -> Self {
        let (classes, kinds) = (program.amounts.len(), program.prices.len());
        let rows = classes + kinds * program.resources;
        let mut sides = program.amounts.clone();
        // Spread by the golden ratio, so that no two are alike.
        sides.extend((classes..rows).map(|row| 1e-9 * (1.0 + (row as f64 * 0.618_034).fract())));
        let mut simplex = Self {
            program,
            rows,
            basis: Vec::new(),
            values: Vec::new(),
            inverse: Vec::new(),
            sides,
        };
        simplex.begin();
        simplex.refresh();
        simplex
    }

    /// Every class on the kind where it is cheapest alone; of each kind as much as its most used
    /// resource needs.
    fn begin(&mut self) {
        let program = self.program;
        let kinds = program.prices.len();
        let mut used = vec![vec![0.0; program.resources]; kinds];
        for (class, shares) in program.shares.iter().enumerate() {
            let alone = shares.iter().enumerate().filter_map(|(kind, shares)| {
                let most = shares.as_ref()?.iter().copied().fold(0.0, f64::max);
                Some((kind, most * program.prices[kind]))
            });
            let kind = alone.min_by(|one, other| one.1.total_cmp(&other.1)).map_or(0, |it| it.0);
            for (used, share) in used[kind].iter_mut().zip(shares[kind].iter().flatten()) {
                *used += share * program.amounts[class];
            }
            self.basis.push(Column::Placed { class, kind });
        }
        for (kind, used) in used.iter().enumerate() {
            let need = |resource: usize| used[resource] + self.sides[self.row(kind, resource)];
            let most = (0..program.resources).max_by(|a, b| need(*a).total_cmp(&need(*b)));
            let column = |resource| {
                if Some(resource) == most {
                    Column::Bought(kind)
                } else {
                    Column::Spare { kind, resource }
                }
            };
            let columns: Vec<Column> = (0..program.resources).map(column).collect();
            self.basis.extend(columns);
        }
    }

    fn row(&self, kind: usize, resource: usize) -> usize {
        self.program.amounts.len() + kind * self.program.resources + resource
    }

    /// A column's entries by row.
    fn entries(&self, column: Column) -> Vec<(usize, f64)> {
        let resources = 0..self.program.resources;
        match column {
            Column::Placed { class, kind } => {
                let shares = self.program.shares[class][kind].iter().flatten();
                let used = shares.enumerate().map(|(at, share)| (self.row(kind, at), -share));
                std::iter::once((class, 1.0)).chain(used).collect()
            }
            Column::Bought(kind) => resources.map(|at| (self.row(kind, at), 1.0)).collect(),
            Column::Spare { kind, resource } => vec![(self.row(kind, resource), -1.0)],
        }
    }

    /// The inverse and the values, from scratch.
    fn refresh(&mut self) {
        let rows = self.rows;
        let mut matrix = vec![0.0; rows * rows];
        for (at, column) in self.basis.iter().enumerate() {
            for (row, value) in self.entries(*column) {
                matrix[row * rows + at] = value;
            }
        }
        let Some(inverse) = inverted(matrix, rows) else { return };
        self.inverse = inverse;
        let value = |row: &[f64]| -> f64 { row.iter().zip(&self.sides).map(|(a, b)| a * b).sum() };
        self.values = self.inverse.chunks(rows).map(|row| value(row).max(0.0)).collect();
    }

    /// By row, what one more of it costs.
    fn duals(&self) -> Vec<f64> {
        let mut duals = vec![0.0; self.rows];
        for (column, row) in self.basis.iter().zip(self.inverse.chunks(self.rows)) {
            if let Column::Bought(kind) = column {
                let price = self.program.prices[*kind];
                for (dual, value) in duals.iter_mut().zip(row) {
                    *dual += price * value;
                }
            }
        }
        duals
    }

    /// The column that lowers the cost most.
    fn entering(&self, duals: &[f64]) -> Option<Column> {
        let program = self.program;
        let mut best = (-TOLERANCE, None);
        let mut offer = |gain: f64, column: Column| {
            if gain < best.0 {
                best = (gain, Some(column));
            }
        };
        for kind in 0..program.prices.len() {
            let split = &duals[self.row(kind, 0)..self.row(kind, 0) + program.resources];
            offer(program.prices[kind] - split.iter().sum::<f64>(), Column::Bought(kind));
            for (resource, dual) in split.iter().enumerate() {
                offer(*dual, Column::Spare { kind, resource });
            }
            for (class, shares) in program.shares.iter().enumerate() {
                let Some(shares) = &shares[kind] else { continue };
                let cost: f64 = shares.iter().zip(split).map(|(share, dual)| share * dual).sum();
                offer(cost - duals[class], Column::Placed { class, kind });
            }
        }
        best.1
    }

    /// Brings a column in; false when nothing stops it.
    fn pivot(&mut self, entering: Column) -> bool {
        let (rows, entries) = (self.rows, self.entries(entering));
        let change = |row: &[f64]| entries.iter().map(|(at, value)| row[*at] * value).sum();
        let changes: Vec<f64> = self.inverse.chunks(rows).map(change).collect();
        let ratios = changes.iter().zip(&self.values).enumerate();
        let ratios = ratios.filter(|(_, (change, _))| **change > TOLERANCE);
        let leaving = ratios
            .map(|(at, (change, value))| (at, value / change))
            .min_by(|one, other| one.1.total_cmp(&other.1));
        let Some((leaving, amount)) = leaving else { return false };
        let scale = 1.0 / changes[leaving];
        let pivot_row: Vec<f64> = self.inverse[leaving * rows..(leaving + 1) * rows]
            .iter()
            .map(|value| value * scale)
            .collect();
        for (at, (row, change)) in self.inverse.chunks_mut(rows).zip(&changes).enumerate() {
            if at == leaving {
                row.copy_from_slice(&pivot_row);
                self.values[at] = amount;
            } else if change.abs() > 1e-14 {
                for (value, pivot) in row.iter_mut().zip(&pivot_row) {
                    *value -= change * pivot;
                }
                self.values[at] = (self.values[at] - change * amount).max(0.0);
            }
        }
        self.basis[leaving] = entering;
        true
    }

    fn solution(&self) -> Solution {
        let duals = self.duals();
        let kinds = 0..self.program.prices.len();
        let split = |kind: usize| {
            let first = self.row(kind, 0);
            let split = &duals[first..first + self.program.resources];
            split.iter().map(|dual| dual.max(0.0)).collect()
        };
        let mut placed = vec![Vec::new(); self.program.amounts.len()];
        for (column, value) in self.basis.iter().zip(&self.values) {
            if let Column::Placed { class, kind } = column {
                placed[*class].push((*kind, *value));
            }
        }
        Solution { splits: kinds.map(split).collect(), placed }
    }
}

/// Gauss and Jordan, with the largest pivot of each column.
fn inverted(mut matrix: Vec<f64>, rows: usize) -> Option<Vec<f64>> {
    let mut inverse = vec![0.0; rows * rows];
    for at in 0..rows {
        inverse[at * rows + at] = 1.0;
    }
    for at in 0..rows {
        let size = |row: &usize| matrix[*row * rows + at].abs();
        let pivot = (at..rows).max_by(|one, other| size(one).total_cmp(&size(other)))?;
        if size(&pivot) < 1e-13 {
            return None;
        }
        swap(&mut matrix, rows, at, pivot);
        swap(&mut inverse, rows, at, pivot);
        let scale = 1.0 / matrix[at * rows + at];
        for value in &mut matrix[at * rows..(at + 1) * rows] {
            *value *= scale;
        }
        for value in &mut inverse[at * rows..(at + 1) * rows] {
            *value *= scale;
        }
        let pivots: [Vec<f64>; 2] =
            [&matrix, &inverse].map(|of| of[at * rows..(at + 1) * rows].to_vec());
        for row in (0..rows).filter(|row| *row != at) {
            let factor = matrix[row * rows + at];
            if factor.abs() < 1e-300 {
                continue;
            }
            for (of, pivots) in [&mut matrix, &mut inverse].into_iter().zip(&pivots) {
                let row = &mut of[row * rows..(row + 1) * rows];
                for (value, pivot) in row.iter_mut().zip(pivots) {
                    *value -= factor * pivot;
                }
            }
        }
    }
    Some(inverse)
}

fn swap(matrix: &mut [f64], rows: usize, one: usize, other: usize) {
    if one == other {
        return;
    }
    let (low, high) = (one.min(other), one.max(other));
    let (head, tail) = matrix.split_at_mut(high * rows);
    head[low * rows..(low + 1) * rows].swap_with_slice(&mut tail[..rows]);
}
