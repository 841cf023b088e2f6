//! SkyNomad's V100 zones: `{"metadata", "preempted": "0110..", "prices": [..]}`, one file a zone
//! (andylizf/skynomad-artifact; [`spot_traces`] has the shape), and its table of
//! egress prices.
//!
//! Sold are p3.2xlarge; an environment of the artifact begins `env_start_hours` into the record
//! ([`starting_at`](super::starting_at)).

use std::collections::BTreeMap;
use std::sync::Arc;

use ::market::recorded::PoolTrace;
use model::{Clamp, MicroUsd};

use crate::files::number::Number;

use super::csv::Table;
use super::error::Complaints;
use super::{ImportError, Machine, Polarity, spot_traces};

/// A zone's record, of p3.2xlarge.
pub fn pool(text: &str, zone: &str, polarity: Polarity) -> Result<PoolTrace, ImportError> {
    spot_traces::pool(text, zone, &Machine::p3_2xlarge(), polarity)
}

/// Price of moving a GB, from and to.
pub type Egress = BTreeMap<Arc<str>, BTreeMap<Arc<str>, MicroUsd>>;

/// USD per GB by region, from and to: `from_region,to_region,price_usd_per_gb`.
pub fn egress(text: &str) -> Result<Egress, ImportError> {
    let mut complaints = Complaints::default();
    let read = read_egress(text, &mut complaints);
    complaints.or(read)
}

fn read_egress(text: &str, complaints: &mut Complaints) -> Option<Egress> {
    let table = Table::begin(text, complaints)?;
    let from = table.column("from_region", complaints);
    let to = table.column("to_region", complaints);
    let price = table.column("price_usd_per_gb", complaints);
    let (from, to, price) = (from?, to?, price?);
    let mut out = Egress::new();
    table.rows(complaints, |row, complaints| {
        let micro = MicroUsd(row.number(price, Number::USD, complaints)?.clamped());
        let prices = out.entry(row.text(from).into()).or_default();
        match prices.insert(row.text(to).into(), micro) {
            Some(other) if other != micro => {
                let detail = "the pair is there with another price, too";
                complaints.note(row.place(price), detail);
                None
            }
            _ => Some(()),
        }
    })?;
    Some(out)
}
