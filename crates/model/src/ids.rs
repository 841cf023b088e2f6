//! Typed ids. Each is a number inside and prefixed text (`job_0c8…`) outside.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};

/// Crockford's base 32: no I, L, O, U, so that an id survives being read aloud.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 13 digits of 5 bits hold the 63 bits that a signed SQL integer can.
const DIGITS: usize = 13;

/// Text that is not an id of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct BadId {
    /// What was given, cut to 64 characters.
    pub text: String,
    /// What it should look like.
    pub expected: &'static str,
}

impl BadId {
    fn new(text: &str, expected: &'static str) -> Self {
        Self { text: text.chars().take(64).collect(), expected }
    }
}

fn encode(mut number: u64) -> [u8; DIGITS] {
    let mut out = [b'0'; DIGITS];
    for digit in out.iter_mut().rev() {
        *digit = ALPHABET[usize::from(number.to_le_bytes()[0] & 31)];
        number >>= 5;
    }
    out
}

fn decode(text: &str) -> Option<u64> {
    if text.len() != DIGITS {
        return None;
    }
    let mut number: u64 = 0;
    for byte in text.bytes() {
        let digit = ALPHABET.iter().position(|known| *known == byte)?;
        number = number.checked_mul(32)?.checked_add(u64::try_from(digit).ok()?)?;
    }
    i64::try_from(number).ok().map(|_| number)
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// From its number; the top bit is dropped, for SQL integers are signed.
            pub fn from_number(number: u64) -> Self {
                Self(number & (u64::MAX >> 1))
            }
            /// The number inside, below 2^63.
            pub fn number(self) -> u64 {
                self.0
            }
            /// The number as SQL keeps it.
            pub fn to_sql(self) -> i64 {
                i64::try_from(self.0).unwrap_or(i64::MAX)
            }
            /// Back from SQL.
            pub fn from_sql(number: i64) -> Self {
                Self::from_number(number.unsigned_abs())
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                f.write_str(std::str::from_utf8(&encode(self.0)).unwrap_or_default())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                text.strip_prefix($prefix)
                    .and_then(decode)
                    .map(Self)
                    .ok_or_else(|| BadId::new(text, $expected))
            }
        }
        text_serde!($name);
        text_schema!($name, concat!("^", $prefix, "[0-7][0-9a-hjkmnp-tv-z]{12}$"));
    };
}

/// Ids in OpenAPI: text of one form.
macro_rules! text_schema {
    ($name:ident, $pattern:expr) => {
        impl utoipa::PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new().schema_type(Type::String).pattern(Some($pattern)).into()
            }
        }
        impl utoipa::ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
        }
    };
}

macro_rules! text_serde {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("the text of a ", stringify!($name)))
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                from.deserialize_str(Visitor)
            }
        }
    };
}

number_id!(
    /// A job. The number grows with the time of submission, so id order is submission order.
    JobId, "job_", "a job id like job_0c8wqm3k4t001"
);
number_id!(
    /// A machine of the cluster.
    NodeId, "node_", "a node id like node_0c8wqm3k4t001"
);
number_id!(
    /// A stored launch; its text is the cloud's client token and the tag of its machines.
    IntentId, "intent_", "an intent id like intent_0c8wqm3k4t001"
);
number_id!(
    /// Items that were uploaded: one text a task.
    ItemsKey, "items_", "an items key like items_0c8wqm3k4t001"
);
number_id!(
    /// One installation; tagged on every machine that it launches.
    ClusterId, "cluster_", "a cluster id like cluster_0c8wqm3k4t001"
);

/// A group of a job: `job_X.0`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId {
    /// The job.
    pub job: JobId,
    /// The group's ordinal in its job's list.
    pub group: u16,
}

/// One unit of work: `job_X.0.17`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The job.
    pub job: JobId,
    /// The group's ordinal.
    pub group: u16,
    /// The index in the group, from 0.
    pub index: u32,
}

impl TaskId {
    /// The group that it belongs to.
    pub fn group_id(self) -> GroupId {
        GroupId { job: self.job, group: self.group }
    }
    /// The fence of its attempt number `attempt`.
    pub fn attempt(self, attempt: u32) -> AttemptId {
        AttemptId { task: self, attempt }
    }
}

/// One placement of a task on a node: `job_X.0.17.3`. The fence: a report that bears an old
/// number changes nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// The task.
    pub task: TaskId,
    /// Counts from 1; strictly greater at every placement.
    pub attempt: u32,
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.job, self.group)
    }
}
impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.job, self.group, self.index)
    }
}
impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.task, self.attempt)
    }
}

/// A number written the one way: no sign, no leading zero. Otherwise one task had two names.
fn plain<N: FromStr>(text: &str) -> Option<N> {
    let canonical = text == "0" || (!text.starts_with('0') && !text.starts_with('+'));
    canonical.then(|| text.parse().ok()).flatten()
}

fn parse_group(text: &str) -> Option<GroupId> {
    let (job, group) = text.split_once('.')?;
    Some(GroupId { job: job.parse().ok()?, group: plain(group)? })
}
fn parse_task(text: &str) -> Option<TaskId> {
    let (group, index) = text.rsplit_once('.')?;
    let group = parse_group(group)?;
    Some(TaskId { job: group.job, group: group.group, index: plain(index)? })
}
fn parse_attempt(text: &str) -> Option<AttemptId> {
    let (task, attempt) = text.rsplit_once('.')?;
    Some(AttemptId { task: parse_task(task)?, attempt: plain(attempt)? })
}

impl FromStr for GroupId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        parse_group(text).ok_or_else(|| BadId::new(text, "a group id like job_0c8wqm3k4t001.0"))
    }
}
impl FromStr for TaskId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        parse_task(text).ok_or_else(|| BadId::new(text, "a task id like job_0c8wqm3k4t001.0.17"))
    }
}
impl FromStr for AttemptId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        parse_attempt(text)
            .ok_or_else(|| BadId::new(text, "an attempt id like job_0c8wqm3k4t001.0.17.1"))
    }
}

macro_rules! debug_as_text {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        text_serde!($name);
    )*};
}
debug_as_text!(GroupId, TaskId, AttemptId);
text_schema!(
    TaskId,
    r"^job_[0-7][0-9a-hjkmnp-tv-z]{12}\.(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,8})$"
);
text_schema!(
    AttemptId,
    r"^job_[0-7][0-9a-hjkmnp-tv-z]{12}\.(0|[1-9][0-9]{0,3})(\.(0|[1-9][0-9]{0,8})){2}$"
);
text_schema!(Namespace, "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$");

/// The cloud's own name for a machine (`i-0abc…`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(Arc<str>);

impl InstanceId {
    /// Takes the cloud's word for it.
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }
    /// As the cloud writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whom a job belongs to: 1-63 of `a-z 0-9 -`, beginning and ending with a letter or digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// The namespace of jobs that name none.
    pub const DEFAULT: &'static str = "default";
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl Default for Namespace {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}
impl FromStr for Namespace {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let good = (1..=63).contains(&text.len())
            && text.bytes().all(inner)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if good {
            Ok(Self(text.into()))
        } else {
            Err(BadId::new(text, "a namespace: 1-63 of a-z, 0-9 and -, not at its ends"))
        }
    }
}
impl<'de> Deserialize<'de> for Namespace {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}
impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes numbers that grow with time: 43 bits of milliseconds, 20 bits that begin anywhere.
///
/// Two replicas may meet in one millisecond; the table's primary key then refuses the second,
/// which draws again.
#[derive(Debug, Default)]
pub struct IdMaker {
    last: u64,
}

impl IdMaker {
    /// The next number, above all that this maker has made. `noise` is any random word.
    pub fn next(&mut self, now: crate::Timestamp, noise: u64) -> u64 {
        let ms = u64::try_from(now.as_ms()).unwrap_or(0);
        // Half of the 20 bits is drawn, half is left for the run that may follow in this ms.
        let fresh = (ms << 20) | (noise & 0x7_ffff);
        self.last = fresh.max(self.last + 1) & (u64::MAX >> 1);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_text() {
        let job = JobId::from_number(0x0123_4567_89ab_cdef);
        let attempt = TaskId { job, group: 3, index: 17 }.attempt(2);
        assert_eq!(attempt.to_string().parse(), Ok(attempt));
        assert_eq!(attempt.task.to_string().parse(), Ok(attempt.task));
        assert_eq!(attempt.task.group_id().to_string().parse(), Ok(attempt.task.group_id()));
        assert!(attempt.to_string().ends_with(".3.17.2"));
    }

    #[test]
    fn other_spellings_are_refused() {
        let job = JobId::from_number(7).to_string();
        for bad in
            ["", "job_", "job_1", "node_0000000000007", "job_zzzzzzzzzzzzz", "job_000000000000U"]
        {
            assert!(bad.parse::<JobId>().is_err(), "{bad}");
        }
        for bad in [format!("{job}.0.07"), format!("{job}.+1.0"), format!("{job}.0.-1")] {
            assert!(bad.parse::<TaskId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn made_ids_grow() {
        let mut maker = IdMaker::default();
        let now = crate::Timestamp::from_ms(1_000);
        let first = maker.next(now, u64::MAX);
        let second = maker.next(now, 0);
        let after_a_jump_back = maker.next(crate::Timestamp::from_ms(1), 5);
        assert!(first < second && second < after_a_jump_back);
    }
}
