//! A cluster that is broken on purpose, for so many seeds at each test run.

mod mutants;
mod seeds;
