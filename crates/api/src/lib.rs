//! The wire: versioned types of REST and sync, problem+json, the typed client.

pub mod client;
pub mod document;
pub mod event;
pub mod job_document;
pub mod problem;
pub mod sync;
pub mod view;
