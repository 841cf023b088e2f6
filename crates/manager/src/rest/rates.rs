//! How often somebody may ask: each token, and each address that guesses tokens.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::config::Limits;
use crate::secret::TokenHash;

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Addresses that have been quiet are forgotten each time that so many guesses were made.
const TIDY_EVERY: u32 = 1_024;

/// What each may still do.
#[derive(Debug)]
pub(crate) struct Rates {
    requests: DefaultKeyedRateLimiter<TokenHash>,
    failures: DefaultKeyedRateLimiter<IpAddr>,
    counted: AtomicU32,
    clock: DefaultClock,
}

/// Asked too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait {
    /// Whole seconds until the next one is let through.
    pub(super) seconds: u64,
}

impl Rates {
    pub(crate) fn new(limits: &Limits) -> Self {
        let quota = |per_second: u32, burst: u32| {
            let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
            Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(burst))
        };
        Self {
            requests: RateLimiter::keyed(quota(limits.token_per_s, limits.token_burst)),
            failures: RateLimiter::keyed(quota(limits.guesses_per_s, limits.guesses_burst)),
            counted: AtomicU32::new(0),
            clock: DefaultClock::default(),
        }
    }

    /// A request with a token that we know: there are as many keys as tokens.
    pub(super) fn request(&self, token: &TokenHash) -> Result<(), Wait> {
        self.requests.check_key(token).map_err(|until| self.wait(&until))
    }

    /// A request with a token that we do not know.
    pub(super) fn guess(&self, peer: IpAddr) -> Result<(), Wait> {
        if self.counted.fetch_add(1, Ordering::Relaxed) % TIDY_EVERY == TIDY_EVERY - 1 {
            self.failures.retain_recent();
        }
        self.failures.check_key(&network(peer)).map_err(|until| self.wait(&until))
    }

    fn wait(&self, until: &governor::NotUntil<<DefaultClock as Clock>::Instant>) -> Wait {
        let wait = until.wait_time_from(self.clock.now());
        Wait { seconds: wait.as_secs() + u64::from(wait.subsec_nanos() > 0) }
    }
}

/// Whoever has one IPv6 address has the 2^64 of its network.
fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => mapped.into(),
            None => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_rate_of_its_own() {
        let limits = Limits { guesses_per_s: 1, guesses_burst: 2, ..Limits::default() };
        let rates = Rates::new(&limits);
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert!(rates.guess(ip("10.0.0.1")).is_ok());
        assert!(rates.guess(ip("10.0.0.1")).is_ok());
        assert_eq!(rates.guess(ip("10.0.0.1")), Err(Wait { seconds: 1 }));
        assert!(rates.guess(ip("10.0.0.2")).is_ok());
        assert!(rates.guess(ip("2001:db8::1")).is_ok());
        assert!(rates.guess(ip("2001:db8::2")).is_ok());
        assert!(rates.guess(ip("2001:db8::3")).is_err());
        assert!(rates.guess(ip("2001:db8:0:1::3")).is_ok());
        assert!(rates.guess(ip("::ffff:10.0.0.1")).is_err());
    }
}
