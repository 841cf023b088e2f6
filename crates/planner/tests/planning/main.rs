//! The planner by scenes and by properties.

mod build;
mod linter;
mod properties;
mod scenes;
