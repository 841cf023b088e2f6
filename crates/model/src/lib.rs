//! The words of Ebbtide as types: ids, units, specs, lifecycles, the [`World`] that the leader
//! decides over and the [`Change`]s that it commits.
//!
//! Pure: no clock, no ambient randomness, no I/O. Everything that a decision needs is in here as a
//! value, and everything that is kept is a [`Change`]: `load(commit(changes)) == apply(changes)`.

mod after;
mod apply;
mod change;
mod cloud;
mod counts;
mod idle;
mod ids;
mod intervals;
mod node;
mod queue;
mod report;
mod room;
mod spec;
mod task;
mod units;
mod world;

pub use change::{Change, RetriedGroup, SettledGroup, Touched};
pub use cloud::{
    Intent, IntentEnd, IntentState, LaunchRequest, LedgerKind, LedgerRow, Machine, MachineState,
    Notice, NoticeKind, Offer, Pool, PurchaseOption, Refusal, RefusalScope,
};
pub use counts::TaskCounts;
pub use idle::{Due, Idle};
pub use ids::{
    AttemptId, BadId, ClusterId, GroupId, IdMaker, InstanceId, IntentId, ItemsKey, JobId,
    Namespace, NodeId, TaskId,
};
pub use intervals::IntervalSet;
pub use node::{Node, NodeEvent, NodeOrigin, NodeReason, NodeState};
pub use queue::{Queue, Turn};
pub use report::{InventoryItem, NodeNotice, Stats, Transition};
pub use room::{Room, Shape};
pub use spec::{
    Ask, Constraints, Deadline, DocumentPart, Fault, GroupSpec, JobPatch, JobSpec, OnTaskFailure,
    Purchase, Restart, items_keys, limits, past_deadline,
};
pub use task::{
    After, AttemptEnd, Cause, Counters, LogPart, MAX_BACKOFF_MS, Outcome, OutputFile, Phase,
    Placement, Task, TaskEvent, TaskResult, TaskState, TaskStatus, TaskStep,
};
pub use units::{
    Clamp, Cores, Gpus, Mebibytes, MicroUsd, Resources, Timestamp, format_duration,
    parse_cpu_millis, parse_duration_ms, parse_mebibytes,
};
pub use world::{
    Backlog, Durable, FORMAT, Group, Head, Hidden, Index, Job, JobStatus, Link, MIN_BILLED_MS, Net,
    NodeLoad, Observed, RunStats, World, bill,
};
