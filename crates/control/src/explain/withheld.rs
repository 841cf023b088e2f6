//! What is not bought for a while, because the cloud refused it.

use std::fmt;

use model::{Offer, Pool, PurchaseOption, Timestamp, World};

use super::until;

/// What is not asked of the cloud, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    /// What.
    pub scope: Scope,
    /// Asked again from then on.
    pub until: Timestamp,
    /// Why, as a clause.
    pub why: String,
    now: Timestamp,
}

/// What a refusal concerns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Every launch.
    All,
    /// All machines that are bought this way.
    Option(PurchaseOption),
    /// One pool.
    Pool(Pool),
}

/// All that is withheld now, the widest first.
pub fn withheld(world: &World, now: Timestamp) -> Vec<Withheld> {
    let observed = &world.observed;
    let item = |scope, until, why| Withheld { scope, until, why, now };
    let paused = observed.launches_paused.iter();
    let paused = paused.map(|(until, why)| item(Scope::All, *until, why.to_string()));
    let held = observed.held_options.iter().map(|(option, until)| {
        item(Scope::Option(*option), *until, "the account's quota for it is used up".to_owned())
    });
    let hidden = observed.hidden_pools.iter().map(|(pool, hidden)| {
        let why = match hidden.refusals {
            0 | 1 => "the cloud refused it".to_owned(),
            times => format!("the cloud refused it {times} times in a row"),
        };
        item(Scope::Pool(pool.clone()), hidden.until, why)
    });
    paused.chain(held).chain(hidden).filter(|item| item.until > now).collect()
}

impl Withheld {
    /// Whether it keeps this offer from being bought.
    pub fn concerns(&self, offer: &Offer) -> bool {
        match &self.scope {
            Scope::All => true,
            Scope::Option(option) => *option == offer.pool.option,
            Scope::Pool(pool) => *pool == offer.pool,
        }
    }
}

impl Withheld {
    /// Without the pool that it is about.
    pub(super) fn clause(&self) -> String {
        format!("that is not asked {}: {}", until(self.until, self.now), self.why)
    }
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            Scope::All => f.write_str("nothing is bought ")?,
            Scope::Option(option) => write!(f, "no {option} machine is bought ")?,
            Scope::Pool(pool) => write!(f, "{pool} is not asked ")?,
        }
        write!(f, "{}: {}", until(self.until, self.now), self.why)
    }
}
