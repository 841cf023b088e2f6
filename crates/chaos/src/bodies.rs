//! Machines in the run, and the network between them and the managers.

use std::collections::BTreeSet;

use control::Joiner;
use market::Action;
use model::{InstanceId, NodeNotice, NoticeKind, Resources};
use rand::RngExt;

use crate::machine::{Effect, Happening, Machine, Said, Told};
use crate::run::{Event, Run};
use crate::sky::New;
use crate::{Fault, millis};

/// A machine and its way to the managers.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) machine: Machine,
    pub(crate) instance: Option<InstanceId>,
    /// Which manager it asks.
    route: usize,
    /// What it says is not heard before.
    pub(crate) mute_until_ms: u64,
    /// What it is told is not heard before.
    pub(crate) deaf_until_ms: u64,
    /// Calls that were heard: the first answer to each is the only one.
    asked: BTreeSet<u64>,
    /// The join whose token it bears; one that it was given is heard of with the answer.
    token: u64,
    given: u64,
    /// When it is woken next.
    wakes: BTreeSet<u64>,
}

/// A digester gives a call up after so long: what comes later is not heard.
const CALL_MS: u64 = 30_000;
const STATIC: Resources =
    Resources { cpu_millis: 4_000, memory_mib: 8_192, disk_mib: 32_768, gpus: 0 };

impl Run {
    /// A machine of somebody's own.
    pub(crate) fn static_body(&mut self) {
        let name = format!("static-{}", self.bodies.len());
        self.enter(Joiner::Static { name: name.into() }, STATIC, None);
    }

    /// The cloud has started a machine, whether anybody hears of it or not.
    pub(crate) fn machine_begins(&mut self, new: &New) {
        let instance = new.machine.instance.clone();
        // What it bears as a tag, read from the cloud.
        let Some(intent) = self.sky.intent_of(&instance) else {
            let words = format!("{instance} of {} bears no tag", new.intent);
            return self.breach(control::Invariant::IntentBeforeMachine, words);
        };
        if intent != new.intent {
            let words = format!("{instance} of {} bears the tag {intent}", new.intent);
            return self.breach(control::Invariant::IntentBeforeMachine, words);
        }
        let offers = self.sky.offers(self.now_ms);
        let offer = offers.iter().find(|offer| offer.pool == new.machine.pool);
        let capacity = offer.map_or(STATIC, |offer| offer.capacity);
        let identity = cloud::Identity { instance: instance.clone(), intent };
        self.enter(Joiner::Machine(identity), capacity, Some(instance));
    }

    fn enter(&mut self, joiner: Joiner, capacity: Resources, instance: Option<InstanceId>) {
        let index = self.bodies.len();
        let seed = self.seed ^ (u64::try_from(index).unwrap_or(0) << 32);
        let route = self.dice.plain().random_range(0..self.managers.len());
        if let Some(instance) = &instance {
            self.sky.embody(instance.clone(), index);
        }
        self.bodies.push(Body {
            machine: Machine::new(joiner, capacity, seed),
            instance,
            route,
            mute_until_ms: 0,
            deaf_until_ms: 0,
            asked: BTreeSet::new(),
            token: 0,
            given: 0,
            wakes: BTreeSet::new(),
        });
        let boots_ms = self.between(5_000, 90_000);
        self.heap.push(boots_ms, Event::Body(index, Happening::Boots));
    }

    /// Something happens to a machine.
    pub(crate) fn body_happens(&mut self, index: usize, happening: Happening) {
        let Some(body) = self.bodies.get_mut(index) else { return };
        if let Happening::Wakes = happening
            && !body.wakes.remove(&self.now_ms)
        {
            return;
        }
        if let Happening::Boots = happening
            && body.instance.as_ref().is_some_and(|id| self.sky.intent_of(id).is_none())
        {
            // It was ended before it had booted.
            return;
        }
        if let Happening::Heard { told: Told::Joined { .. }, .. } = &happening {
            body.token = body.given;
        }
        let effects = body.machine.happen(happening, self.now_ms, &mut self.dice);
        for effect in effects {
            self.carry_out(index, effect);
        }
    }

    fn carry_out(&mut self, index: usize, effect: Effect) {
        match effect {
            Effect::Calls { call, said } => self.call(index, call, said),
            Effect::WakeAt(at_ms) => {
                let at_ms = at_ms.max(self.now_ms);
                let Some(body) = self.bodies.get_mut(index) else { return };
                if body.wakes.insert(at_ms) {
                    self.heap.push(at_ms, Event::Body(index, Happening::Wakes));
                }
            }
            Effect::Started(attempt) => {
                self.note(|| format!("{attempt} starts on {index}"));
                if let Some((invariant, words)) = self.witness.starts(attempt, index) {
                    self.breach(invariant, words);
                }
            }
            Effect::Over(attempt) => {
                self.note(|| format!("{attempt} is over on {index}"));
                self.witness.over(attempt, index);
            }
            Effect::Closed { session, node } => self.connection_closes(index, session, node),
            Effect::PowersOff => self.powers_off(index),
        }
    }

    /// A digester's connection closes; that is seen, unless it is cut off.
    fn connection_closes(&mut self, index: usize, session: u64, node: model::NodeId) {
        let Some(body) = self.bodies.get(index) else { return };
        if body.mute_until_ms <= self.now_ms {
            let manager = body.route;
            self.heap.push(self.now_ms + 1, Event::Closed { manager, session, node });
        }
    }

    pub(crate) fn closed(&mut self, manager: usize, session: u64, node: model::NodeId) {
        let leads = self.managers.get(manager).is_some_and(|it| it.is_alive && it.reign.is_some());
        if leads {
            let input = control::Input::Closed { node, session };
            self.later(manager, 0, crate::run::Task::Input(Box::new(input)));
        }
    }

    /// Each join gets a token, and makes those before it void, as `manager::tokens` has it.
    pub(crate) fn gives_token(&mut self, node: model::NodeId, index: usize) {
        let Some(body) = self.bodies.get_mut(index) else { return };
        body.given += 1;
        self.tokens.insert(node, (index, body.given));
    }

    /// A call leaves a machine.
    fn call(&mut self, index: usize, call: u64, said: Said) {
        let now_ms = self.now_ms;
        let Some(body) = self.bodies.get_mut(index) else { return };
        let state = body.machine.state();
        let manager = body.route;
        if body.mute_until_ms > now_ms || self.dice.happens(Fault::ReportLost, state, now_ms) {
            return;
        }
        body.asked.insert(call);
        let token = body.token;
        let mut in_ms = 1 + now_ms % 3;
        if self.dice.happens(Fault::ReportLate, state, now_ms) {
            in_ms += self.dice.how_much(Fault::ReportLate, 10, CALL_MS);
        }
        if self.dice.happens(Fault::ReportDoubled, state, now_ms) {
            let again_ms = in_ms + self.dice.how_much(Fault::ReportDoubled, 1, 60_000);
            let said = said.clone();
            self.heap
                .push(now_ms + again_ms, Event::Call { body: index, token, call, manager, said });
        }
        self.heap.push(now_ms + in_ms, Event::Call { body: index, token, call, manager, said });
    }

    /// A call arrives at a manager.
    pub(crate) fn call_arrives(
        &mut self,
        (body, token): (usize, u64),
        call: u64,
        manager: usize,
        said: Said,
    ) {
        let now_ms = self.now_ms;
        let Some(it) = self.managers.get(manager) else { return };
        if !it.is_alive {
            // The connection is refused: another one is asked the next time.
            let other = self.dice.plain().random_range(0..self.managers.len());
            self.route(body, other);
            return self.answer(body, call, Told::Later);
        }
        if it.hung_until_ms > now_ms {
            let at_ms = it.hung_until_ms;
            return self.heap.push(at_ms, Event::Call { body, token, call, manager, said });
        }
        if let Said::Poll(poll) = &said
            && self.tokens.get(&poll.node).is_some_and(|it| *it != (body, token))
        {
            return self.answer(body, call, Told::Unknown);
        }
        if it.reign.is_none() {
            if let Some(leader) = self.disk.leader(now_ms) {
                self.route(body, leader);
            }
            return self.answer(body, call, Told::Later);
        }
        self.take_call(manager, body, call, said);
    }

    fn route(&mut self, body: usize, manager: usize) {
        if let Some(body) = self.bodies.get_mut(body) {
            body.route = manager;
        }
    }

    /// An answer leaves a manager.
    pub(crate) fn answer(&mut self, index: usize, call: u64, told: Told) {
        let now_ms = self.now_ms;
        let Some(body) = self.bodies.get_mut(index) else { return };
        let state = body.machine.state();
        let lost = self.dice.happens(Fault::AnswerLost, state, now_ms);
        if lost || body.deaf_until_ms > now_ms || !body.asked.remove(&call) {
            return;
        }
        let late = self.dice.happens(Fault::AnswerLate, state, now_ms);
        let in_ms = if late { self.dice.how_much(Fault::AnswerLate, 10, CALL_MS) } else { 1 };
        self.heap.push(now_ms + in_ms, Event::Body(index, Happening::Heard { call, told }));
    }

    /// The market does what is due.
    pub(crate) fn sky_moves(&mut self) {
        self.sky_ms = None;
        for action in self.sky.due(self.now_ms) {
            match action {
                Action::Notify { instance, deadline } => {
                    let remaining_ms = millis(deadline).saturating_sub(self.now_ms);
                    self.show_notice(&instance, remaining_ms);
                    self.end_early(&instance, remaining_ms);
                }
                Action::Cut { instance } => self.machine_ends(&instance),
            }
        }
        self.expect_sky();
    }

    pub(crate) fn expect_sky(&mut self) {
        let Some(due_ms) = self.sky.next_due_ms().map(|at_ms| at_ms.max(self.now_ms)) else {
            return;
        };
        if self.sky_ms.is_none_or(|set| due_ms < set) {
            self.sky_ms = Some(due_ms);
            self.heap.push(due_ms, Event::Sky);
        }
    }

    /// A machine shows its notice, unless that is lost.
    pub(crate) fn show_notice(&mut self, instance: &InstanceId, remaining_ms: u64) {
        let Some(index) = self.sky.body(instance) else { return };
        let state = self.bodies.get(index).map_or("off", |body| body.machine.state());
        if self.dice.happens(Fault::NoticeLost, state, self.now_ms) {
            return;
        }
        let late = self.dice.happens(Fault::NoticeLate, state, self.now_ms);
        let late_ms = if late { self.dice.how_much(Fault::NoticeLate, 1_000, 150_000) } else { 0 };
        let remaining_ms = remaining_ms.saturating_sub(late_ms);
        let notice = NodeNotice { kind: NoticeKind::Interruption, remaining_ms };
        let at_ms = self.now_ms + late_ms;
        self.heap.push(at_ms, Event::Body(index, Happening::Metadata(notice)));
    }

    /// The cloud does not keep to the time that it named.
    fn end_early(&mut self, instance: &InstanceId, remaining_ms: u64) {
        let body = self.sky.body(instance).and_then(|index| self.bodies.get(index));
        let state = body.map_or("off", |body| body.machine.state());
        if self.dice.happens(Fault::KilledEarly, state, self.now_ms) {
            let in_ms = self.dice.how_much(Fault::KilledEarly, 0, remaining_ms);
            self.heap.push(self.now_ms + in_ms, Event::Ended(instance.clone()));
        }
    }

    /// A machine of the cloud is no more.
    pub(crate) fn machine_ends(&mut self, instance: &InstanceId) {
        let Some(index) = self.sky.body(instance) else { return };
        if !self.sky.gone(instance, self.now_ms) {
            return;
        }
        self.note(|| format!("{instance} (machine {index}) ends"));
        self.body_happens(index, Happening::PowerCut);
        self.expect_sky();
    }

    /// A worker that nobody wants ends itself.
    fn powers_off(&mut self, index: usize) {
        let instance = self.bodies.get(index).and_then(|body| body.instance.clone());
        match instance {
            Some(instance) => self.machine_ends(&instance),
            None => {
                // Somebody's own: its people start it again.
                let at_ms = self.between(10_000, 60_000);
                self.heap.push(at_ms, Event::Body(index, Happening::Boots));
            }
        }
    }
}
