//! How much of the limits is used, and which machine still fits into them.

use std::fmt;

use model::{Clamp, Cores, MicroUsd, Offer};

use crate::{Limits, MAX_PLAN_MACHINES, Problem};

/// What is had and ordered, against the limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    limits: Limits,
    nodes: u64,
    cpu_millis: u64,
    micro_usd_per_hour: u64,
    /// Machines that this plan may still order.
    orders_left: u64,
}

/// What stops a machine from being bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    Nodes(u32),
    Cpu(u64),
    Price(MicroUsd),
    PlanSize,
}

/// An ordered machine at its worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Worst {
    pub(crate) cpu_millis: u32,
    pub(crate) price: u64,
}

impl Worst {
    pub(crate) fn of<'a>(offers: impl IntoIterator<Item = &'a Offer>) -> Self {
        offers.into_iter().fold(Self { cpu_millis: 0, price: 0 }, |worst, offer| Self {
            cpu_millis: worst.cpu_millis.max(offer.capacity.cpu_millis),
            price: worst.price.max(offer.price.0.clamped()),
        })
    }
}

impl Budget {
    /// What the machines and the open orders use already.
    pub(crate) fn of(problem: &Problem) -> Self {
        let mut budget = Self {
            limits: problem.limits,
            nodes: problem.full.bought.into(),
            cpu_millis: problem.full.cpu_millis,
            micro_usd_per_hour: problem.full.price.0.clamped(),
            orders_left: u64::from(MAX_PLAN_MACHINES),
        };
        for offer in problem.nodes.iter().filter_map(|node| node.offer.as_ref()) {
            budget.add(Worst::of([offer]), 1);
        }
        for intent in &problem.intents {
            budget.add(Worst::of(&intent.offers), intent.machines.into());
        }
        budget
    }

    fn add(&mut self, worst: Worst, machines: u64) {
        let times = |each: u64| each.saturating_mul(machines);
        self.nodes = self.nodes.saturating_add(machines);
        self.cpu_millis = self.cpu_millis.saturating_add(times(worst.cpu_millis.into()));
        self.micro_usd_per_hour = self.micro_usd_per_hour.saturating_add(times(worst.price));
    }

    /// Orders machines.
    pub(crate) fn order(&mut self, worst: Worst, machines: u64) {
        self.add(worst, machines);
        self.orders_left = self.orders_left.saturating_sub(machines);
    }

    /// Makes machines that were ordered worse.
    pub(crate) fn widen(&mut self, from: Worst, to: Worst, machines: u64) {
        let more = Worst {
            cpu_millis: to.cpu_millis.saturating_sub(from.cpu_millis),
            price: to.price.saturating_sub(from.price),
        };
        let nodes = self.nodes;
        self.add(more, machines);
        self.nodes = nodes;
    }

    /// Whether that would keep the limits.
    pub(crate) fn can_widen(&self, from: Worst, to: Worst, machines: u64) -> bool {
        let mut after = *self;
        after.widen(from, to, machines);
        (to.cpu_millis <= from.cpu_millis || after.cpu_millis <= self.limits.max_cpu_millis)
            && (to.price <= from.price
                || after.micro_usd_per_hour <= self.limits.max_usd_per_hour.0.clamped())
    }

    /// What is left of each limit, and what one such machine takes of it.
    fn left(&self, offer: &Offer) -> [(Option<u64>, u64, Stop); 4] {
        let worst = Worst::of([offer]);
        let limits = &self.limits;
        let money: u64 = limits.max_usd_per_hour.0.clamped();
        let nodes = u64::from(limits.max_nodes).checked_sub(self.nodes);
        let cpu = limits.max_cpu_millis.checked_sub(self.cpu_millis);
        let money = money.checked_sub(self.micro_usd_per_hour);
        [
            (nodes, 1, Stop::Nodes(limits.max_nodes)),
            (cpu, worst.cpu_millis.into(), Stop::Cpu(limits.max_cpu_millis)),
            (money, worst.price, Stop::Price(limits.max_usd_per_hour)),
            (Some(self.orders_left), 1, Stop::PlanSize),
        ]
    }

    /// How many such machines may still be ordered, and what stops the next one.
    pub(crate) fn headroom(&self, offer: &Offer) -> (u64, Stop) {
        self.left(offer)
            .into_iter()
            .map(|(left, each, stop)| match left {
                Some(left) => (left.checked_div(each).unwrap_or(u64::MAX), stop),
                None => (0, stop),
            })
            .min_by_key(|(machines, _)| *machines)
            .unwrap_or((0, Stop::PlanSize))
    }

    /// How many tasks the limits leave room for, `fits` to such a machine, could a fraction of a
    /// machine be had: what a large machine leaves over, a small one may use.
    pub(crate) fn tasks_left(&self, offer: &Offer, fits: u64) -> u64 {
        self.left(offer)
            .into_iter()
            .map(|(left, each, _)| {
                let tasks = u128::from(left.unwrap_or_default()) * u128::from(fits);
                tasks.checked_div(each.into()).unwrap_or(u128::MAX).clamped()
            })
            .min()
            .unwrap_or_default()
    }

    /// The limits that are exceeded.
    pub(crate) fn exceeded(&self) -> Vec<Stop> {
        let limits = &self.limits;
        let money: u64 = limits.max_usd_per_hour.0.clamped();
        [
            (self.nodes > limits.max_nodes.into(), Stop::Nodes(limits.max_nodes)),
            (self.cpu_millis > limits.max_cpu_millis, Stop::Cpu(limits.max_cpu_millis)),
            (self.micro_usd_per_hour > money, Stop::Price(limits.max_usd_per_hour)),
        ]
        .into_iter()
        .filter_map(|(exceeded, stop)| exceeded.then_some(stop))
        .collect()
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes(nodes) => write!(f, "the limit of {nodes} machines"),
            Self::Cpu(millis) => write!(f, "the limit of {}", Cores((*millis).clamped())),
            Self::Price(price) => write!(f, "the limit of {price} an hour"),
            Self::PlanSize => write!(f, "the {MAX_PLAN_MACHINES} machines that a plan may order"),
        }
    }
}
