//! Small records written here, and the real ones of `../shared/data` where those are.

mod jobs;
mod markets;
mod recorded;

use std::fmt::Debug;

use super::*;

/// What is wrong with it, a line each.
fn wrong<T: Debug>(read: Result<T, ImportError>) -> String {
    read.expect_err("must be refused").to_string()
}
