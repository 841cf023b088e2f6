//! What the simulator gives, held against figures that it did not make.

mod cant_be_late;
mod five_ticks;
mod meta;
mod samples;
mod skynomad;
