//! Markets and workloads from a seed.
