//! The JSON files of DESIGN §6: read with all faults at once, written as they are read.
