//! The wire: versioned types of REST and sync, problem+json, the typed client.

pub mod client;
pub mod document;
pub mod event;
pub mod export;
pub mod history;
pub mod job_document;
pub mod plan;
pub mod problem;
pub mod sync;
pub mod view;
