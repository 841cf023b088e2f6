//! Time, money and machine resources, as integers in units.

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};

/// Conversion that stops at the ends of the target instead of wrapping.
pub trait Clamp<T> {
    /// The nearest value that the target holds.
    fn clamped(self) -> T;
}
macro_rules! clamp {
    ($($from:ty => $to:ty),*) => {$(
        impl Clamp<$to> for $from {
            fn clamped(self) -> $to {
                <$to>::try_from(self).unwrap_or(if self > 0 { <$to>::MAX } else { <$to>::MIN })
            }
        }
    )*};
}
clamp!(u64 => i64, u64 => u32, usize => u32, u128 => i64, i128 => i64, u128 => u64, i64 => u64, i64 => u32, u32 => u16, usize => u16, usize => i64, usize => u64);

/// A moment: milliseconds since 1970, UTC. Text is RFC 3339.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970.
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }
    /// Milliseconds since 1970.
    pub const fn as_ms(self) -> i64 {
        self.0
    }
    /// Later by `ms`; stops at the end of time.
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }
    /// Later by a length of time; stops at the end of time.
    #[must_use]
    pub fn later_by(self, ms: u64) -> Self {
        self.plus_ms(ms.clamped())
    }
    /// Milliseconds from `earlier` to here; 0 when `earlier` is later.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0).clamped()
    }
}
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = UNIX_EPOCH + Duration::from_millis(self.0.clamped());
        write!(f, "{}", humantime::format_rfc3339_millis(at))
    }
}
impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl std::str::FromStr for Timestamp {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let at = humantime::parse_rfc3339(text).map_err(|fault| fault.to_string())?;
        let since = at.duration_since(UNIX_EPOCH).map_err(|_| "before 1970".to_owned())?;
        Ok(Self(since.as_millis().clamped()))
    }
}
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

impl utoipa::PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String);
        text.format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))).into()
    }
}
impl ToSchema for Timestamp {
    fn name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }
}

/// Millionths of a US dollar.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
pub struct MicroUsd(pub i64);

impl MicroUsd {
    /// What `duration_ms` costs at this price an hour, rounded down, times `share_ppm` millionths.
    #[must_use]
    pub fn per_hour(self, duration_ms: u64, share_ppm: u32) -> Self {
        const PPM_MS_PER_HOUR: i128 = 3_600_000 * 1_000_000;
        let cost = i128::from(self.0) * i128::from(duration_ms) * i128::from(share_ppm);
        Self((cost / PPM_MS_PER_HOUR).clamped())
    }
}
impl Add for MicroUsd {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}
impl Sub for MicroUsd {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}
impl AddAssign for MicroUsd {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}
impl fmt::Display for MicroUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let micro = self.0.unsigned_abs();
        write!(f, "{sign}${}.{:06}", micro / 1_000_000, micro % 1_000_000)
    }
}

/// What a task asks for, or what a machine has.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_millis: u32,
    /// Memory.
    pub memory_mib: u32,
    /// Disk.
    pub disk_mib: u32,
    /// Whole GPUs.
    pub gpus: u32,
}

impl Resources {
    /// Whether `ask` fits into this.
    pub fn holds(&self, ask: &Self) -> bool {
        ask.cpu_millis <= self.cpu_millis
            && ask.memory_mib <= self.memory_mib
            && ask.disk_mib <= self.disk_mib
            && ask.gpus <= self.gpus
    }
    /// How many of `ask` fit; `u32::MAX` for an empty ask.
    pub fn times(&self, ask: &Self) -> u32 {
        let one = |have: u32, want: u32| have.checked_div(want).unwrap_or(u32::MAX);
        one(self.cpu_millis, ask.cpu_millis)
            .min(one(self.memory_mib, ask.memory_mib))
            .min(one(self.disk_mib, ask.disk_mib))
            .min(one(self.gpus, ask.gpus))
    }
    /// The share, in millionths, that `part` takes of this machine: the mean of its cpu and memory
    /// shares, or its GPU share if that is more. Shares of tasks that fit together add up to at
    /// most one million, whatever the order in which they come and go.
    pub fn share_ppm(&self, part: &Self) -> u32 {
        let ppm = |part: u32, whole: u32| {
            (u64::from(part) * 1_000_000).checked_div(u64::from(whole)).unwrap_or(0)
        };
        let machine =
            (ppm(part.cpu_millis, self.cpu_millis) + ppm(part.memory_mib, self.memory_mib)) / 2;
        let share = if self.gpus > 0 { (machine + ppm(part.gpus, self.gpus)) / 2 } else { machine };
        share.min(1_000_000).clamped()
    }
    /// Multiplied by a count; stops at the maximum.
    #[must_use]
    pub fn scaled(&self, count: u32) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_mul(count),
            memory_mib: self.memory_mib.saturating_mul(count),
            disk_mib: self.disk_mib.saturating_mul(count),
            gpus: self.gpus.saturating_mul(count),
        }
    }
}
impl Add for Resources {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_add(other.cpu_millis),
            memory_mib: self.memory_mib.saturating_add(other.memory_mib),
            disk_mib: self.disk_mib.saturating_add(other.disk_mib),
            gpus: self.gpus.saturating_add(other.gpus),
        }
    }
}
impl Sub for Resources {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_sub(other.cpu_millis),
            memory_mib: self.memory_mib.saturating_sub(other.memory_mib),
            disk_mib: self.disk_mib.saturating_sub(other.disk_mib),
            gpus: self.gpus.saturating_sub(other.gpus),
        }
    }
}
impl AddAssign for Resources {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}
impl SubAssign for Resources {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}
impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} memory", Cores(self.cpu_millis), Mebibytes(self.memory_mib))?;
        if self.disk_mib > 0 {
            write!(f, ", {} disk", Mebibytes(self.disk_mib))?;
        }
        if self.gpus > 0 {
            write!(f, ", {}", Gpus(self.gpus))?;
        }
        Ok(())
    }
}

/// Thousandths of a core, for people: `0.5 cores`, `1 core`.
#[derive(Debug, Clone, Copy)]
pub struct Cores(pub u32);

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thousandths = format!("{:03}", self.0 % 1_000);
        match thousandths.trim_end_matches('0') {
            "" if self.0 == 1_000 => f.write_str("1 core"),
            "" => write!(f, "{} cores", self.0 / 1_000),
            rest => write!(f, "{}.{rest} cores", self.0 / 1_000),
        }
    }
}

/// Mebibytes, for people: `1.5 GiB` where that is exact or nearly, else `300 MiB`.
#[derive(Debug, Clone, Copy)]
pub struct Mebibytes(pub u32);

impl fmt::Display for Mebibytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.0;
        match (mib / 1024, mib % 1024) {
            (0, _) => write!(f, "{mib} MiB"),
            (gib, 0) => write!(f, "{gib} GiB"),
            (gib, 256) => write!(f, "{gib}.25 GiB"),
            (gib, 512) => write!(f, "{gib}.5 GiB"),
            (gib, 768) => write!(f, "{gib}.75 GiB"),
            (gib, rest) if gib >= 10 => write!(f, "{gib}.{} GiB", rest * 10 / 1024),
            _ => write!(f, "{mib} MiB"),
        }
    }
}

/// `1 gpu`, `2 gpus`.
#[derive(Debug, Clone, Copy)]
pub struct Gpus(pub u32);

impl fmt::Display for Gpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1 gpu"),
            gpus => write!(f, "{gpus} gpus"),
        }
    }
}

/// `"500m"` or cores (`"0.5"`, `"4"`) to thousandths of a core.
pub fn parse_cpu_millis(text: &str) -> Result<u32, String> {
    let expected = || format!("`{text}` is not an amount of cpu: write \"500m\" or cores (0.5, 4)");
    if let Some(millis) = text.strip_suffix('m') {
        return millis.parse().map_err(|_| expected());
    }
    decimal_millis(text).ok_or_else(expected)
}

/// A decimal with at most three places, times 1,000, exactly.
fn decimal_millis(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 3 {
        return None;
    }
    let fraction: u32 = format!("{fraction:0<3}").parse().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(1000)?.checked_add(fraction)
}

/// `"256MiB"`, `"1GiB"`, `"2TiB"`, or MB, GB, TB (powers of ten) to MiB, rounded up.
pub fn parse_mebibytes(text: &str) -> Result<u32, String> {
    const UNITS: [(&str, u128); 8] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
    ];
    let expected = || format!("`{text}` is not a size: write \"256MiB\", \"1.5GiB\" or \"2GB\"");
    let (number, unit) = UNITS
        .iter()
        .find_map(|(name, bytes)| text.strip_suffix(name).map(|number| (number.trim(), *bytes)))
        .ok_or_else(expected)?;
    let millis = u128::from(decimal_millis(number).ok_or_else(expected)?);
    let mib = (millis * unit).div_ceil(1000 << 20);
    u32::try_from(mib).map_err(|_| format!("`{text}` is more than any machine has"))
}

/// `"5s"`, `"10m"`, `"1h30m"`, `"250ms"` to milliseconds.
pub fn parse_duration_ms(text: &str) -> Result<u64, String> {
    humantime::parse_duration(text).map(|duration| duration.as_millis().clamped()).map_err(|_| {
        format!("`{text}` is not a duration: write \"250ms\", \"5s\", \"10m\", \"1h30m\"")
    })
}

/// Milliseconds as text that [`parse_duration_ms`] reads.
pub fn format_duration(ms: u64) -> String {
    humantime::format_duration(Duration::from_millis(ms)).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_written_for_people() {
        let cores = [0, 1, 250, 500, 1_000, 1_500, 16_000].map(|millis| Cores(millis).to_string());
        assert_eq!(
            cores.join(", "),
            "0 cores, 0.001 cores, 0.25 cores, 0.5 cores, 1 core, 1.5 cores, 16 cores"
        );
        let sizes = [0, 512, 1_024, 1_536, 2_000, 20_000, 65_536];
        let sizes = sizes.map(|mib| Mebibytes(mib).to_string());
        assert_eq!(sizes.join(", "), "0 MiB, 512 MiB, 1 GiB, 1.5 GiB, 2000 MiB, 19.5 GiB, 64 GiB");
    }

    #[test]
    fn amounts_are_parsed_exactly() {
        assert_eq!(parse_cpu_millis("500m"), Ok(500));
        assert_eq!(parse_cpu_millis("0.5"), Ok(500));
        assert_eq!(parse_cpu_millis("4"), Ok(4000));
        for bad in ["", "m", "-1", "0.5555", "1e3", "NaN", " 1", "99999999999"] {
            assert!(parse_cpu_millis(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_mebibytes("256MiB"), Ok(256));
        assert_eq!(parse_mebibytes("1.5GiB"), Ok(1536));
        assert_eq!(parse_mebibytes("1kB"), Ok(1));
        assert_eq!(parse_mebibytes("1GB"), Ok(954));
        for bad in ["", "256", "MiB", "-1MiB", "9999999TiB"] {
            assert!(parse_mebibytes(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_duration_ms("1h30m"), Ok(5_400_000));
        assert!(parse_duration_ms("-5s").is_err());
    }

    #[test]
    fn times_are_rfc3339() {
        let at = Timestamp::from_ms(1_790_000_000_123);
        assert_eq!(at.to_string(), "2026-09-21T14:13:20.123Z");
        assert_eq!(at.to_string().parse(), Ok(at));
    }

    proptest! {
        #[test]
        fn shares_of_what_fits_never_exceed_the_whole(
            parts in prop::collection::vec((0u32..2000, 0u32..2000, 0u32..3), 0..20),
            cpu in 1u32..4000, mem in 1u32..4000, gpus in 0u32..4,
        ) {
            let whole = Resources { cpu_millis: cpu, memory_mib: mem, disk_mib: 0, gpus };
            let (mut free, mut sum) = (whole, 0u64);
            for (cpu_millis, memory_mib, gpus) in parts {
                let part = Resources { cpu_millis, memory_mib, disk_mib: 0, gpus };
                if free.holds(&part) {
                    free -= part;
                    sum += u64::from(whole.share_ppm(&part));
                }
            }
            prop_assert!(sum <= 1_000_000);
        }
    }
}
