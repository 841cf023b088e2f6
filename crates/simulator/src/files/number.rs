//! What numbers a field takes.

use super::decimal::{self, Decimal};
use super::limits;

/// A kind of number: its unit, and between which bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number {
    /// In words, for whoever wrote another one.
    what: &'static str,
    /// Decimal places that are kept.
    places: u32,
    least: u64,
    most: u64,
}

impl Number {
    /// A length of time, in milliseconds.
    pub(crate) const SECONDS: Self =
        Self { what: "a number of seconds", places: 3, least: 0, most: limits::DURATION_MS };
    /// The same, and not nothing.
    pub(crate) const SOME_SECONDS: Self = Self { least: 1, ..Self::SECONDS };
    /// A tick's length, in milliseconds.
    pub(crate) const GAP: Self = Self { most: limits::GAP_MS, ..Self::SOME_SECONDS };
    /// A price, in micro-dollars.
    pub(crate) const USD: Self =
        Self { what: "a number of USD", places: 6, least: 0, most: limits::PRICE_MICRO_USD };
    /// Interruptions, in millionths an hour.
    pub(crate) const HAZARD: Self = Self {
        what: "a number of interruptions an hour",
        places: 6,
        least: 0,
        most: limits::HAZARD_PPM_HOUR,
    };
    /// Size of a checkpoint, in thousandths of a GiB.
    pub(crate) const GIB: Self =
        Self { what: "a number of GiB", places: 3, least: 0, most: limits::CHECKPOINT_MILLIGIB };
    /// Thousandths of cores, MiB or machines.
    pub(crate) const AMOUNT: Self = Self::whole(0, limits::AMOUNT);
    /// The same, and not nothing.
    pub(crate) const SOME: Self = Self::whole(1, limits::AMOUNT);
    /// GPUs.
    pub(crate) const GPUS: Self = Self::whole(0, limits::GPUS);
    /// Tasks of a job.
    pub(crate) const COUNT: Self = Self::whole(1, limits::TASKS);

    /// A length of time, written in milliseconds.
    pub(crate) const MILLISECONDS: Self = Self::whole(0, limits::DURATION_MS);
    /// The same, and not nothing.
    pub(crate) const SOME_MILLISECONDS: Self = Self { least: 1, ..Self::MILLISECONDS };
    /// Whole cores.
    pub(crate) const CORES: Self = Self::whole(1, limits::AMOUNT / 1_000);
    /// A saving in per cent.
    pub(crate) const PERCENT: Self = Self::whole(0, 100);
    /// A number that only names something: as large as a double is sure of.
    pub(crate) const ID: Self = Self::whole(0, 1 << 53);

    const fn whole(least: u64, most: u64) -> Self {
        Self { what: "a whole number", places: 0, least, most }
    }

    /// From its text in the file.
    pub(crate) fn read(self, text: &str) -> Result<u64, String> {
        match decimal::units(text, self.places) {
            Ok((units, is_exact))
                if (self.least..=self.most).contains(&units) && (is_exact || self.places > 0) =>
            {
                Ok(units)
            }
            _ => Err(self.to_string()),
        }
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [least, most] =
            [self.least, self.most].map(|bound| Decimal { units: bound, places: self.places });
        write!(f, "{} from {least} to {most}", self.what)
    }
}
