//! `ebb`: the command line.
mod args;
mod demo;
mod discovery;
mod error;
mod jobfile;
mod output;
mod render;
#[cfg(test)]
mod samples;
mod selector;

fn main() {}
