//! Packing without foresight: each task alone, and first-fit decreasing at the lowest price.
//!
//! Neither looks at deadlines, and neither lets a task wait while a machine is to be had: on-demand
//! machines are unlimited, so what waits is only what fits nowhere.

mod alone;
mod ffd;
mod rooms;
mod shelf;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use alone::NoPacking;
pub(crate) use ffd::FfdLowestPrice;
pub(crate) use rooms::Rooms;
pub(crate) use shelf::{Offer, Shelf};
