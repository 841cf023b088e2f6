//! Digesters and spawners as real processes, against a manager that does what it is told.

#[cfg(test)]
mod fake;
#[cfg(test)]
mod processes;
#[cfg(test)]
mod sync;
