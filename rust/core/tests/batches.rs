//! Maps and parallels against a model of their rule: any interleaving of hands, ends, suspensions, resumptions and
//! crashes admits the same branches, records their STARTs in order, and counts all that is recorded.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use perdure_core::batch::{Branch, Hold, Next};
use perdure_core::branches::{BatchId, Branches, End};
use perdure_core::call::{Begun, Call};
use perdure_core::checkpoint::{Role, Ticket};
use perdure_core::completion::{Policy, Reason, Verdict};
use perdure_core::decision::Decision;
use perdure_core::engine::Engine;
use perdure_core::id::OperationId;
use perdure_core::operation::{Operation, Status, SubType};
use perdure_core::refusal::Refusal;
use perdure_core::scope::ScopeId;
use perdure_core::update::{Action, Options, Subject, Update};
use proptest::prelude::*;

// ---- the model

/// The rule, and nothing else.
#[derive(Debug, Clone)]
struct Model {
    policy: Policy,
    limit: usize,
    /// When the user's predicate ends the batch, if there is one.
    predicate: Option<(usize, usize)>,
    verdict: Verdict,
    admitted: usize,
    ended: BTreeMap<usize, bool>,
    done: Option<Reason>,
}

impl Model {
    fn counts(&self) -> (usize, usize) {
        let succeeded = self.ended.values().filter(|well| **well).count();
        (succeeded, self.ended.len() - succeeded)
    }

    fn judge(&mut self) -> Option<Reason> {
        let (succeeded, failed) = self.counts();
        if self.verdict == Verdict::Continue {
            self.verdict = says(self.predicate, succeeded, failed);
        }
        self.policy.reason(succeeded, failed, self.verdict)
    }

    fn admit(&mut self) {
        if self.judge().is_none() {
            self.admitted = self.admitted.max(self.policy.total.min(self.limit.saturating_add(self.ended.len())));
        }
    }

    fn begin(&mut self, recorded: &BTreeMap<usize, bool>, known: usize) {
        (self.admitted, self.verdict) = (0, Verdict::Continue);
        self.ended.clear();
        self.admit();
        for (index, well) in recorded {
            self.ended.insert(*index, *well);
            self.admit();
        }
        self.admitted = self.admitted.max(known);
        self.done = self.judge();
    }

    fn end(&mut self, index: usize, well: bool) {
        self.ended.insert(index, well);
        if self.done.is_none() {
            self.admit();
        }
        self.done = self.judge();
    }
}

fn says(predicate: Option<(usize, usize)>, succeeded: usize, failed: usize) -> Verdict {
    match predicate {
        Some((enough, _)) if succeeded >= enough => Verdict::Succeeded,
        Some((_, too_many)) if failed >= too_many => Verdict::Failed,
        _ => Verdict::Continue,
    }
}

// ---- a driver of the engine, with a service that forgets nothing it has acknowledged

const BATCH: Call<'static> = Call::Batch { name: None, sub_type: "Map" };
/// What a branch does that is no operation: something of which the driver queues the START.
const WORK: Call<'static> = Call::Batch { name: None, sub_type: "RunInChildContext" };
const NOW: Duration = Duration::ZERO;

/// How far a hand is with its branch.
#[derive(Debug)]
enum Work {
    /// At its first operation (that of the branch itself, if it has one).
    Arriving(Option<ScopeId>),
    Held(ScopeId),
    /// At work on what it will end with.
    Busy(Arc<Begun>, Option<ScopeId>),
    /// The outcome is queued.
    Writing(Ticket, bool),
}

/// One invocation.
struct Driver {
    engine: Engine<String, ()>,
    branches: Branches,
    batch: BatchId,
    scope: ScopeId,
    hands: BTreeMap<usize, Work>,
    predicate: Option<(usize, usize)>,
    /// How often the predicate was asked, and how often there was something to ask about.
    asked: usize,
    changed: usize,
}

impl Driver {
    fn new(setting: &Setting, durable: &[Update<String>]) -> Self {
        let mut engine = Engine::new("token".to_owned());
        for operation in operations(durable) {
            engine.history_mut().record(operation);
        }
        let arrival = engine.begin(ScopeId::ROOT, &BATCH, || NOW).unwrap();
        let Decision::Run(run) = &arrival.decision else { panic!("the batch is over") };
        let (begun, starts) = (arrival.begun(&BATCH), run.start);
        if starts {
            engine.write(&begun, Action::Start, None, None, Options::None).unwrap();
        }
        let scope = engine.open_context(begun.place, false);
        let batch = engine.new_batch(scope, setting.policy, setting.limit);
        let (branches, predicate, hands) = (setting.branches(), setting.predicate, BTreeMap::new());
        let mut driver = Self { engine, branches, batch, scope, hands, predicate, asked: 0, changed: 1 };
        driver.engine.open_batch(batch, &driver.branches, !starts);
        driver.answer();
        driver
    }

    fn change(&mut self, change: impl FnOnce(&mut perdure_core::batch::Batch)) {
        self.changed += 1;
        self.engine.change_batch(self.batch, &self.branches, change);
        self.answer();
    }

    /// Whether what has ended, with what is on its way to the record, is enough.
    fn is_decided(&self, model: &Model) -> bool {
        let mut model = model.clone();
        for (index, work) in &self.hands {
            if let Work::Writing(_, well) = work {
                model.ended.insert(*index, *well);
            }
        }
        model.done.is_some() || model.predicate.is_none() && model.judge().is_some()
    }

    fn schedule(&self) -> &perdure_core::batch::Batch {
        self.engine.schedule(self.batch)
    }

    fn answer(&mut self) {
        while self.schedule().is_asking() {
            self.asked += 1;
            let (succeeded, failed) = self.schedule().counts();
            let verdict = says(self.predicate, succeeded, failed);
            self.engine.change_batch(self.batch, &self.branches, |batch| batch.decide(verdict));
        }
    }

    /// A hand asks what to do.
    fn ask(&mut self, now: i64, durable: &mut Vec<Update<String>>) -> Next {
        let next = self.engine.schedule_mut(self.batch).next(now);
        if let Next::Run { index, since } = next {
            if since.is_some() {
                self.send(durable); // the service is asked for news
            }
            let scope = match self.branches {
                Branches::Flat => Some(self.engine.open_virtual(self.scope, Some(index as u64), true).unwrap()),
                Branches::Nested { .. } => None,
            };
            assert!(self.hands.insert(index, Work::Arriving(scope)).is_none(), "two hands at one branch");
        }
        next
    }

    /// The hand of a branch goes on by one step; `fate` says what its code does.
    fn go_on(&mut self, index: usize, fate: Fate, model: &mut Model, now: i64) {
        match self.hands.remove(&index).unwrap() {
            Work::Arriving(None) => {
                let name = self.branches.name(index).into_owned();
                let call = Call::Branch { name: Some(&name), sub_type: "MapIteration", index: index as u64 };
                self.come(index, self.scope, &call, fate, model, now);
            }
            Work::Arriving(Some(scope)) => self.come(index, scope, &WORK, fate, model, now),
            Work::Held(scope) => match self.engine.schedule_mut(self.batch).held(index) {
                Hold::Pass => _ = self.hands.insert(index, Work::Arriving(Some(scope))),
                Hold::Wait if matches!(fate, Fate::Suspend(_)) => {
                    // Its hand is needed elsewhere.
                    assert_eq!(self.engine.schedule_mut(self.batch).give_way(index), Hold::Yield);
                    self.change(|batch| batch.suspend(index, None, now).unwrap());
                }
                Hold::Wait => _ = self.hands.insert(index, Work::Held(scope)),
                Hold::Yield => unreachable!("nothing aborts"),
            },
            Work::Busy(begun, inner) => match fate {
                Fate::Suspend(until) => self.change(|batch| batch.suspend(index, until, now).unwrap()),
                Fate::End(well) => {
                    let action = if well { Action::Succeed } else { Action::Fail };
                    let end = || {
                        if well {
                            End::Succeed { payload: None, replay_children: false }
                        } else {
                            End::Fail { error: String::new() }
                        }
                    };
                    let written = match inner {
                        Some(inner) => self.engine.end_context(inner, &begun, false, end()),
                        None => self.engine.write(&begun, action, None, None, Options::None),
                    };
                    match written {
                        Ok(_) if inner.is_some() => assert!(!self.is_decided(model)),
                        _ => {}
                    }
                    match written {
                        Ok(ticket) => _ = self.hands.insert(index, Work::Writing(ticket, well)),
                        Err(Refusal::Orphaned(_)) => {
                            assert!(self.is_decided(model));
                            self.change(|batch| batch.suspend(index, None, now).unwrap());
                        }
                        Err(refusal) => panic!("{refusal:?}"),
                    }
                }
            },
            Work::Writing(ticket, well) => {
                let waits = self.engine.queue().oldest().is_some_and(|oldest| oldest <= ticket);
                if waits {
                    self.hands.insert(index, Work::Writing(ticket, well));
                    return;
                }
                self.change(|batch| batch.finish(index, well).unwrap());
                // Of branches that leave no record, who ends after the batch counts no more.
                if model.done.is_none() || matches!(self.branches, Branches::Nested { .. }) {
                    model.end(index, well);
                }
            }
        }
    }

    fn come(&mut self, index: usize, scope: ScopeId, call: &Call<'_>, fate: Fate, model: &mut Model, now: i64) {
        let is_flat = matches!(self.branches, Branches::Flat);
        let arrived = self.engine.begin(scope, call, || NOW).map(|arrival| match &arrival.decision {
            Decision::Value(_) => Err(true),
            Decision::Failure { .. } => Err(false),
            Decision::Run(run) => Ok((arrival.begun(call), run.start)),
            other => panic!("{other:?}"),
        });
        let (begun, starts) = match arrived {
            Ok(Err(well)) => return self.change(|batch| batch.finish(index, well).unwrap()),
            Ok(Ok(begun)) => begun,
            Err(Refusal::Held) => {
                self.hands.insert(index, Work::Held(scope));
                return self.change(|batch| batch.hold(index));
            }
            Err(Refusal::Orphaned(_)) => {
                assert!(model.done.is_some());
                return self.change(|batch| batch.suspend(index, None, now).unwrap());
            }
            Err(refusal) => panic!("{refusal:?}"),
        };
        assert!(!self.schedule().is_settling(), "branch {index} goes on before all are counted");
        if let (true, Fate::Suspend(until)) = (is_flat, fate) {
            return self.change(|batch| batch.suspend(index, until, now).unwrap());
        }
        let inner = if is_flat {
            if starts {
                self.engine.write(&begun, Action::Start, None, None, Options::None).unwrap();
            }
            None
        } else {
            Some(self.engine.open_context(begun.place, true))
        };
        self.hands.insert(index, Work::Busy(begun, inner));
    }

    /// Makes everything durable that is queued.
    fn send(&mut self, durable: &mut Vec<Update<String>>) {
        while !self.engine.queue().is_empty() {
            let latest = self.engine.queue().latest();
            assert_ne!(self.engine.lead(Some(latest), ()).unwrap().0, Role::Follow);
            let turn = self.engine.take_turn().unwrap();
            durable.extend(turn.batch.iter().cloned());
            self.engine.acknowledge(turn, Some("token".to_owned()), Vec::new(), 0);
        }
    }

    /// What is queued, in order, without sending it.
    fn queued(self) -> Vec<Update<String>> {
        let (mut queued, mut driver) = (Vec::new(), self);
        driver.send(&mut queued);
        queued
    }
}

fn operations(updates: &[Update<String>]) -> Vec<Operation<String>> {
    let mut found: Vec<Operation<String>> = Vec::new();
    for update in updates {
        let Subject::Operation(id) = update.subject else { continue };
        let status = match update.action {
            Action::Succeed => Status::Succeeded,
            Action::Fail => Status::Failed,
            Action::Start | Action::Retry => Status::Started,
        };
        match found.iter_mut().find(|operation| operation.id == id) {
            Some(operation) => operation.status = status,
            None => found.push(Operation {
                sub_type: update.sub_type.clone(),
                name: update.name.clone(),
                parent: update.parent,
                ..Operation::new(id, update.kind, status)
            }),
        }
    }
    found
}

/// What is recorded of the branches: outcomes, and up to where anything is.
fn recorded(updates: &[Update<String>], setting: &Setting) -> (BTreeMap<usize, bool>, usize) {
    let (mut outcomes, mut known) = (BTreeMap::new(), 0);
    for operation in operations(updates) {
        let Some(index) = (0..setting.policy.total).find(|index| operation.id == setting.operation(*index)) else {
            continue;
        };
        known = known.max(index + 1);
        if operation.status.is_terminal() {
            outcomes.insert(index, operation.status == Status::Succeeded);
        }
    }
    (outcomes, known)
}

// ---- any interleaving

#[derive(Debug, Clone)]
struct Setting {
    policy: Policy,
    limit: Option<usize>,
    predicate: Option<(usize, usize)>,
    flat: bool,
}

impl Setting {
    fn branches(&self) -> Branches {
        if self.flat {
            return Branches::Flat;
        }
        Branches::Nested { sub_type: SubType::new("MapIteration"), names: Vec::new(), prefix: "map-item-".into() }
    }

    /// The operation that stands for a branch: its own, or the step inside.
    fn operation(&self, index: usize) -> OperationId {
        let batch = OperationId::at(None, 1);
        let branch = OperationId::at(Some(&batch), index as u64);
        if self.flat { OperationId::at(Some(&branch), 1) } else { branch }
    }

    fn model(&self) -> Model {
        Model {
            policy: self.policy,
            limit: self.limit.unwrap_or(usize::MAX),
            predicate: self.predicate,
            verdict: Verdict::Continue,
            admitted: 0,
            ended: BTreeMap::new(),
            done: None,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    End(bool),
    Suspend(Option<i64>),
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Ask,
    Go(usize, Fate),
    Send,
    /// The sandbox dies; so much of what was queued has become durable.
    Crash(usize),
}

fn setting() -> impl Strategy<Value = Setting> {
    let bound = || proptest::option::of(0..8_usize);
    let predicate = proptest::option::weighted(0.3, (1..6_usize, 1..4_usize));
    (0..12_usize, proptest::option::of(1..5_usize), bound(), bound(), predicate, any::<bool>()).prop_map(
        |(total, limit, min_successful, tolerated_failures, predicate, flat)| {
            let custom = predicate.is_some();
            let policy = Policy { total, min_successful, tolerated_failures, tolerated_percentage: None, custom };
            Setting { policy, limit, predicate, flat }
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let until = proptest::option::of(0..500_i64);
    let fate = prop_oneof![5 => Just(Fate::End(true)), 2 => Just(Fate::End(false)), 2 => until.prop_map(Fate::Suspend)];
    prop_oneof![
        6 => Just(Event::Ask),
        12 => (any::<usize>(), fate).prop_map(|(pick, fate)| Event::Go(pick, fate)),
        3 => Just(Event::Send),
        2 => any::<usize>().prop_map(Event::Crash),
    ]
}

/// Holds the batch against the model, and the updates against the rule.
fn check(driver: &Driver, model: &Model, setting: &Setting) {
    let schedule = driver.schedule();
    if schedule.is_settling() {
        return; // the model knows no middle of the count
    }
    assert_eq!(schedule.reason(), model.done);
    assert_eq!(schedule.admitted(), model.admitted);
    for (index, branch) in schedule.branches().iter().enumerate() {
        let outcome = match branch {
            Branch::Succeeded => Some(true),
            Branch::Failed => Some(false),
            _ => None,
        };
        assert_eq!(outcome, model.ended.get(&index).copied(), "branch {index}");
        assert_eq!(*branch == Branch::Waiting, index >= model.admitted, "branch {index}");
    }
    let in_flight = schedule.admitted() - model.ended.len();
    assert!(model.done.is_some() || in_flight <= model.limit);
    if setting.policy.custom {
        assert!((1..=driver.changed).contains(&driver.asked), "asked {} times", driver.asked);
    }
}

/// STARTs of branches stand in the record in index order, once each, and nothing of a branch before its own.
fn check_starts(updates: &[Update<String>], setting: &Setting) {
    let mut started = BTreeSet::new();
    for update in updates {
        let Subject::Operation(id) = update.subject else { continue };
        let Some(index) = (0..setting.policy.total).find(|index| id == setting.operation(*index)) else { continue };
        if update.action == Action::Start {
            assert!(started.insert(index), "branch {index} starts twice");
            assert!(setting.flat || started.len() == index + 1, "branch {index} starts out of turn");
        } else {
            assert!(started.contains(&index), "branch {index} ends before it starts");
        }
    }
}

/// Gives what the items of the result came to.
fn run(setting: &Setting, events: Vec<Event>) -> Vec<Option<bool>> {
    let (mut durable, mut now) = (Vec::new(), 0);
    let mut model = setting.model();
    model.begin(&BTreeMap::new(), 0);
    let mut driver = Driver::new(setting, &durable);
    // When the given events are over, everybody is let to the end.
    let rest = (0..4_000).map(|n: usize| match n % 3 {
        0 => Event::Ask,
        1 => Event::Send,
        _ => Event::Go(n / 3, Fate::End(true)),
    });
    for event in events.into_iter().chain(rest) {
        now += 10;
        let mut is_over = None;
        match event {
            Event::Ask => {
                let next = driver.ask(now, &mut durable);
                is_over = Some(next).filter(|next| !matches!(next, Next::Run { .. }));
            }
            Event::Send => driver.send(&mut durable),
            Event::Go(_, _) if driver.hands.is_empty() => {}
            Event::Go(pick, fate) => {
                let index = *driver.hands.keys().nth(pick % driver.hands.len()).unwrap();
                driver.go_on(index, fate, &mut model, now);
            }
            Event::Crash(_) => {}
        }
        check(&driver, &model, setting);
        match (event, is_over) {
            (_, Some(Next::Done(reason))) => {
                assert_eq!(Some(reason), model.done);
                driver.send(&mut durable);
                check_starts(&durable, setting);
                let (outcomes, _) = recorded(&durable, setting);
                if !setting.flat {
                    // What is recorded is in the result, and the other way round.
                    assert_eq!(outcomes, model.ended);
                    let starts = durable.iter().filter(|update| update.action == Action::Start).count();
                    assert_eq!(starts, model.admitted + 1);
                }
                return (0..model.admitted).map(|index| model.ended.get(&index).copied()).collect();
            }
            (_, Some(Next::Suspend(_))) => {
                assert!(driver.hands.is_empty() && model.done.is_none());
                driver.send(&mut durable);
            }
            (Event::Crash(pick), _) => {
                let queued = std::mem::replace(&mut driver, Driver::new(setting, &[])).queued();
                let kept = pick % (queued.len() + 1);
                durable.extend(queued.into_iter().take(kept));
            }
            _ => continue,
        }
        // The next invocation.
        check_starts(&durable, setting);
        let (outcomes, known) = recorded(&durable, setting);
        model.begin(&outcomes, known);
        driver = Driver::new(setting, &durable);
    }
    panic!("the batch does not end");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn a_batch_keeps_to_the_rule_whatever_happens(
        setting in setting(), events in proptest::collection::vec(event(), 0..120)
    ) {
        run(&setting, events);
    }
}

/// Whom the record knows is in, also where the policy would have been content earlier with others.
#[test]
fn a_branch_without_a_record_of_its_own_is_found_by_what_it_left() {
    let enough = Policy {
        total: 5,
        min_successful: Some(1),
        tolerated_failures: Some(5),
        tolerated_percentage: None,
        custom: false,
    };
    for flat in [false, true] {
        let setting = Setting { policy: enough, limit: Some(2), predicate: None, flat };
        let (well, badly) = (Fate::End(true), Fate::End(false));
        // 1 and 2 fail, so that 3 begins; 0 succeeds; the sandbox dies before anybody hears of it.
        let mut events = vec![Event::Ask, Event::Ask, Event::Go(0, well), Event::Go(1, badly)];
        for fate in [badly; 2] {
            events.extend([Event::Go(1, fate), Event::Send, Event::Go(1, fate), Event::Ask, Event::Go(1, fate)]);
        }
        events.extend([Event::Go(0, well), Event::Send, Event::Crash(0)]);
        let items = run(&setting, events);
        assert_eq!(items, [Some(true), Some(false), Some(false), None], "{flat}");
    }
}
