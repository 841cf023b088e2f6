//! The labels of metrics: few values each, none that a user chooses.

use prometheus_client::encoding::EncodeLabelSet;

/// Of `ebb_http_requests_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    /// As the router has it, `/v1/jobs/{id}`; `other` for what nobody serves.
    pub(crate) route: String,
    /// The HTTP method; `OTHER` for one that is none of ours.
    pub(crate) method: &'static str,
    /// The status code.
    pub(crate) status: u16,
}

/// Of `ebb_http_request_duration_seconds`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RouteLabels {
    /// As in [`RequestLabels`].
    pub(crate) route: String,
}

/// Of tasks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct StatusLabels {
    /// As the API writes it.
    pub(crate) status: &'static str,
}

/// Of jobs and nodes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct StateLabels {
    /// As the API writes it.
    pub(crate) state: &'static str,
}

/// Of attempts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct EndLabels {
    /// How it ended.
    pub(crate) end: &'static str,
}

/// Of promises that a step broke.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct InvariantLabels {
    /// Its id.
    pub(crate) invariant: &'static str,
}

/// Of what was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct DeletedLabels {
    /// `commits`, `jobs`, `objects`, …
    pub(crate) kind: &'static str,
}

/// Of money.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CostLabels {
    /// `task`, `waste`, `boot`, `idle`, `open`.
    pub(crate) kind: &'static str,
}
