//! What may go wrong.

/// A kind of fault. Each has an own stream of randomness, so that a run without one of them
/// resembles the run with it as far as that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Fault {
    /// A node's report never arrives.
    ReportLost,
    /// It arrives late.
    ReportLate,
    /// It arrives twice.
    ReportDoubled,
    /// An answer never arrives.
    AnswerLost,
    /// An answer arrives late, perhaps after later ones.
    AnswerLate,
    /// A digester is killed; it comes back with its spool.
    DigesterDies,
    /// A digester stands still for a while.
    DigesterHangs,
    /// A spawner is killed.
    SpawnerDies,
    /// A machine of somebody's own loses power and what was not synced, and boots again.
    PowerFails,
    /// A node is cut off, both ways.
    CutOff,
    /// What a node says is heard, what it is told is not; or the other way round.
    HalfCutOff,
    /// A manager is killed.
    ManagerDies,
    /// A manager stands still, and goes on believing that it leads.
    ManagerHangs,
    /// A commit fails; nothing is written.
    CommitFails,
    /// A commit is written, and its answer is lost.
    CommitUnanswered,
    /// A launch is refused though there is capacity.
    LaunchRefused,
    /// A launch gets a part of what was asked.
    LaunchHalfFilled,
    /// The answer to a launch is lost; so it is sent again.
    LaunchUnanswered,
    /// The answer to a launch comes late.
    LaunchLate,
    /// A listing shows the cloud as it was a while ago.
    ListingStale,
    /// A call to the cloud fails.
    CloudFails,
    /// A notice never comes, neither to the node nor by the queue.
    NoticeLost,
    /// It comes twice.
    NoticeDoubled,
    /// It comes late, or after the kill.
    NoticeLate,
    /// It comes, and nothing follows.
    NoticeFalse,
    /// A machine is killed without any notice.
    KilledUnannounced,
    /// A whole pool is taken back at once.
    BulkReclaim,
    /// Fewer machines may be had than before.
    QuotaCut,
    /// A manager's wall clock jumps.
    ClockJumps,
    /// A plan comes back late.
    PlanLate,
    /// People submit, stop, patch and retry at the worst moment: when something else has just failed.
    PeopleInterfere,
    /// A process ignores that it is told to end.
    ProcessStubborn,
    /// A process fails, hangs until its time-out, or dies by a signal.
    ProcessFails,
    /// A notice comes long before its end.
    NoticeEarly,
    /// A notice comes of a machine that no manager knows: not yet, or never.
    NoticeUnknown,
    /// A machine is gone before the time that its notice named.
    KilledEarly,
    /// The object store takes nothing for a while.
    ObjectsDown,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 37] = [
        Self::ReportLost,
        Self::ReportLate,
        Self::ReportDoubled,
        Self::AnswerLost,
        Self::AnswerLate,
        Self::DigesterDies,
        Self::DigesterHangs,
        Self::SpawnerDies,
        Self::PowerFails,
        Self::CutOff,
        Self::HalfCutOff,
        Self::ManagerDies,
        Self::ManagerHangs,
        Self::CommitFails,
        Self::CommitUnanswered,
        Self::LaunchRefused,
        Self::LaunchHalfFilled,
        Self::LaunchUnanswered,
        Self::LaunchLate,
        Self::ListingStale,
        Self::CloudFails,
        Self::NoticeLost,
        Self::NoticeDoubled,
        Self::NoticeLate,
        Self::NoticeFalse,
        Self::KilledUnannounced,
        Self::BulkReclaim,
        Self::QuotaCut,
        Self::ClockJumps,
        Self::PlanLate,
        Self::PeopleInterfere,
        Self::ProcessStubborn,
        Self::ProcessFails,
        Self::NoticeEarly,
        Self::NoticeUnknown,
        Self::KilledEarly,
        Self::ObjectsDown,
    ];

    /// Its name on the command line.
    pub fn id(self) -> &'static str {
        match self {
            Self::ReportLost => "report-lost",
            Self::ReportLate => "report-late",
            Self::ReportDoubled => "report-doubled",
            Self::AnswerLost => "answer-lost",
            Self::AnswerLate => "answer-late",
            Self::DigesterDies => "digester-dies",
            Self::DigesterHangs => "digester-hangs",
            Self::SpawnerDies => "spawner-dies",
            Self::PowerFails => "power-fails",
            Self::CutOff => "cut-off",
            Self::HalfCutOff => "half-cut-off",
            Self::ManagerDies => "manager-dies",
            Self::ManagerHangs => "manager-hangs",
            Self::CommitFails => "commit-fails",
            Self::CommitUnanswered => "commit-unanswered",
            Self::LaunchRefused => "launch-refused",
            Self::LaunchHalfFilled => "launch-half-filled",
            Self::LaunchUnanswered => "launch-unanswered",
            Self::LaunchLate => "launch-late",
            Self::ListingStale => "listing-stale",
            Self::CloudFails => "cloud-fails",
            Self::NoticeLost => "notice-lost",
            Self::NoticeDoubled => "notice-doubled",
            Self::NoticeLate => "notice-late",
            Self::NoticeFalse => "notice-false",
            Self::KilledUnannounced => "killed-unannounced",
            Self::BulkReclaim => "bulk-reclaim",
            Self::QuotaCut => "quota-cut",
            Self::ClockJumps => "clock-jumps",
            Self::PlanLate => "plan-late",
            Self::PeopleInterfere => "people-interfere",
            Self::ProcessStubborn => "process-stubborn",
            Self::ProcessFails => "process-fails",
            Self::NoticeEarly => "notice-early",
            Self::NoticeUnknown => "notice-unknown",
            Self::KilledEarly => "killed-early",
            Self::ObjectsDown => "objects-down",
        }
    }

    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.id() == name)
    }
}
