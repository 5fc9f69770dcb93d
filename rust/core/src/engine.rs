//! One invocation: the history, the scopes and the queue put together.

use std::iter;
use std::sync::Arc;
use std::time::Duration;

use crate::branches::AtWork;
use crate::call::Begun;
use crate::checkpoint::{Queue, Role, Ticket, Turn};
use crate::custody::Custody;
use crate::history::History;
use crate::id::OperationId;
use crate::operation::{Kind, Millis, Operation, Payload, Status};
use crate::outcome::{Ending, Stop};
use crate::refusal::{Mismatch, Refusal};
use crate::scope::{Scope, ScopeId, Suspension};
use crate::update::{Action, Options, Subject, Update};

/// How far off that may be which is to wake an execution whose invocation was short of time.
const SOON: Millis = 60_000;

/// One invocation of an execution.
#[derive(Debug)]
pub struct Engine<P, W> {
    pub(crate) history: History<P>,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) custody: Custody,
    pub(crate) batches: Vec<AtWork>,
    /// How many batches try their branches.
    pub(crate) trials: usize,
    queue: Queue<P, W>,
    /// Set once no operation may go on any more; the first reason stands.
    pub(crate) gate: Option<Refusal>,
    /// Set once nothing can be sent any more (revoked or broken), whatever stopped the operations.
    severed: Option<Refusal>,
    /// Whether code that ends without having come to what is recorded is not refused ([`Engine::excuse`]).
    pub(crate) is_excused: bool,
    /// The contexts whose code the handler has left at work ([`Engine::leave_at_work`]).
    pub(crate) left_at_work: Vec<ScopeId>,
    /// Whether this invocation has recorded anything new.
    advanced: bool,
    /// What the service was to wake the execution for by itself when time was up.
    awaited_late: Vec<OperationId>,
    /// When no work is begun any more.
    deadline: Option<Duration>,
    /// When the service was last asked that has answered, in Unix seconds.
    informed_at: f64,
}

impl<P: Payload, W> Engine<P, W> {
    /// An invocation that knows nothing yet; `token` goes with its first call.
    pub fn new(token: P) -> Self {
        Self {
            history: History::default(),
            scopes: vec![Scope::root()],
            custody: Custody::default(),
            batches: Vec::new(),
            trials: 0,
            queue: Queue::new(token),
            gate: None,
            severed: None,
            is_excused: false,
            left_at_work: Vec::new(),
            advanced: false,
            awaited_late: Vec::new(),
            deadline: None,
            informed_at: 0.0,
        }
    }

    /// What the service has recorded.
    pub fn history(&self) -> &History<P> {
        &self.history
    }

    /// What the service has recorded, to be added to.
    pub fn history_mut(&mut self) -> &mut History<P> {
        &mut self.history
    }

    /// What waits to be sent.
    pub fn queue(&self) -> &Queue<P, W> {
        &self.queue
    }

    /// What waits to be sent, to be sent.
    pub fn queue_mut(&mut self) -> &mut Queue<P, W> {
        &mut self.queue
    }

    /// Why nothing goes on any more, if so.
    pub fn gate(&self) -> Option<&Refusal> {
        self.gate.as_ref()
    }

    /// What a caller is to do who needs `ticket` durable (any news, without one), and whom it is to wake first. If it
    /// is to wait, `waiter` stays behind.
    pub fn lead(&mut self, ticket: Option<Ticket>, waiter: W) -> Result<(Role, Option<W>), Refusal> {
        if let Some(refusal) = &self.severed
            && !ticket.is_some_and(|ticket| self.queue.is_durable(ticket))
        {
            return Err(refusal.clone());
        }
        let role = self.queue.lead(ticket);
        match role {
            Role::Done | Role::Lead => Ok((role, None)),
            Role::Delay(_) => {
                self.queue.wait(waiter);
                Ok((role, None))
            }
            Role::Follow => {
                // Any answer is news: the zeroth ticket is always durable.
                self.queue.follow(ticket.unwrap_or_default(), waiter);
                Ok((role, self.queue.assembled()))
            }
        }
    }

    /// [`Engine::lead`] for a caller with something to send, if nobody need be waited for; else nothing has changed.
    pub fn lead_at_once(&mut self) -> bool {
        self.severed.is_none() && self.queue.lead_at_once()
    }

    /// The leader's turn with the service, unless nothing can be sent any more.
    pub fn take_turn(&mut self) -> Result<Turn<P>, Refusal> {
        self.severed.as_ref().map_or(Ok(()), |refusal| Err(refusal.clone()))?;
        Ok(self.queue.take_turn())
    }

    /// A call to the service, made at a moment (in Unix seconds), was answered after so long.
    pub fn heard(&mut self, asked_at: f64, took: Duration) {
        self.informed_at = asked_at;
        self.queue.called(took);
    }

    /// Whether the service was asked after a moment (in Unix seconds), and has answered.
    pub fn has_heard_since(&self, since: f64) -> bool {
        self.informed_at > since
    }

    /// The service has answered a leader's turn, at `now`; gives whom to wake.
    ///
    /// An answer without a token, to anything but the execution's own outcome, revokes the invocation.
    pub fn acknowledge(
        &mut self,
        turn: Turn<P>,
        token: Option<P>,
        operations: Vec<Operation<P>>,
        now: Millis,
    ) -> Vec<W> {
        let revoked = token.is_none();
        let updates = self.queue.acknowledge(turn, token);
        let ended = updates.last().is_some_and(|update| update.kind == Kind::Execution);
        self.apply(updates, now);
        for operation in operations {
            self.history.record(operation);
        }
        if revoked && !ended { self.stop(Refusal::Revoked) } else { self.queue.release() }
    }

    /// An operation was cut short by the end of its caller's stack: what its code saw of it need not be what the record
    /// will say. So no operation goes on; what is queued is sent all the same.
    pub fn exhaust(&mut self) {
        self.shut(Refusal::TooDeep);
    }

    /// Whether that has happened, and nothing worse before.
    pub fn is_exhausted(&self) -> bool {
        self.gate == Some(Refusal::TooDeep)
    }

    /// A caller was cut short so while it stood in the line. If it leads, its turn is for somebody else; if it follows, its
    /// place. Gives what it left behind, and whom to wake.
    pub fn step_back(&mut self, role: Role, turn: Option<Turn<P>>, is_it: impl Fn(&W) -> bool) -> (Option<W>, Vec<W>) {
        self.exhaust();
        match role {
            Role::Done => (None, Vec::new()),
            Role::Lead | Role::Delay(_) => (None, self.queue.give_back(turn)),
            Role::Follow => {
                let left = self.queue.unfollow(is_it);
                let woken = if left.is_none() { self.queue.pass_on() } else { Vec::new() };
                (left, woken)
            }
        }
    }

    /// Ends all sending for `reason`, unless something ended it before; gives whom to wake.
    pub fn stop(&mut self, reason: Refusal) -> Vec<W> {
        self.severed.get_or_insert(reason.clone());
        self.gate.get_or_insert(reason);
        self.queue.clear()
    }

    /// Begins no work from this moment on, by a clock of the driver's that does not go back.
    pub fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = Some(deadline);
    }

    /// Stops every operation if time is up, but never before the invocation has recorded something new: an execution
    /// always advances.
    pub(crate) fn check_time(&mut self, clock: impl FnOnce() -> Duration) -> Result<(), Refusal> {
        if self.advanced && self.deadline.is_some_and(|deadline| clock() >= deadline) {
            if self.gate.is_none() {
                self.awaited_late = self.awaited().map(|operation| operation.id).collect();
            }
            return Err(self.shut(Refusal::OutOfTime));
        }
        Ok(())
    }

    /// What the service will wake the execution for by itself, as far as it still matters to it: not what a finished context
    /// has left behind.
    pub fn awaited(&self) -> impl Iterator<Item = &Operation<P>> {
        self.history.operations().filter(|operation| operation.is_awaited() && !self.is_left_behind(operation))
    }

    /// Whether the service will soon wake an execution by itself that was stopped since time was up: not for what has come
    /// since, with the end of a step that was at work. Code waits for that which could go on at once, and may be in a race.
    fn is_woken_soon(&self, now: Millis) -> bool {
        let mut awaited = self.awaited_late.iter().filter_map(|id| self.history.get(id));
        awaited.any(|operation| operation.wakes_by(now.saturating_add(SOON)))
    }

    /// Whether it is inside of a context that has ended, though the record of that end may be on its way.
    fn is_left_behind(&self, operation: &Operation<P>) -> bool {
        let mut around = operation.parent;
        // No chain of parents is longer than the history, unless it goes round; then no handler comes to what is inside.
        for _ in 0..=self.history.len() {
            match around.and_then(|parent| self.history.get(&parent)) {
                None => return false,
                Some(context) if context.status.is_terminal() || self.has_ended(context.id) => return true,
                Some(context) => around = context.parent,
            }
        }
        true
    }

    /// Whether the context of an operation has ended in this invocation.
    fn has_ended(&self, id: OperationId) -> bool {
        self.scopes.iter().any(|scope| scope.done && !scope.is_virtual() && scope.prefix == Some(id))
    }

    /// Whether what is queued is sent before the invocation ends so: where outcomes were handed on, they are not lost
    /// without need.
    pub fn flushes(&self, ending: Ending) -> bool {
        ending.flushes() || self.severed.is_none() && self.queue.owes()
    }

    /// Whether the context replays: none of its operations was new, and it is inside a recorded one or comes to one.
    ///
    /// The next position need not be recorded: a virtual context takes one and leaves no record. Virtual contexts
    /// themselves share their parent with others, so of them only the next position counts.
    ///
    /// Why what code does between two operations is new exactly where this is false: `fresh` is set with the first
    /// operation that was not recorded, and stays. Until then all that the code came to was, so an earlier invocation ran
    /// the same code up to here, with the same values. If something is recorded that comes after this point, that
    /// invocation came past it. If nothing is, none did: whatever comes next was not begun, and nobody ran this code, or
    /// whoever did was cut off in it and recorded nothing, which is as if nobody had.
    pub fn is_replaying(&self, scope: ScopeId) -> bool {
        let scope = &self.scopes[scope.0];
        let is_inside = scope.inner.is_some_and(|inner| !self.scopes[inner.0].done);
        !scope.fresh
            && (scope.ended && scope.counter == 0
                || is_inside
                || self.history.contains(&scope.upcoming())
                || !scope.is_virtual() && self.history.expects(scope.parent))
    }

    /// Whether something is recorded of the context's next position: an earlier invocation came past this one.
    pub fn expects_next(&self, scope: ScopeId) -> bool {
        // A virtual context takes a position and leaves no record, but for what comes first inside.
        const DEEPEST: usize = 16;
        let upcoming = self.scopes[scope.0].upcoming();
        iter::successors(Some(upcoming), |id| Some(OperationId::at(Some(id), 1)))
            .take(DEEPEST)
            .any(|id| self.history.contains(&id))
    }

    /// The ticket that is to be durable before the code of `scope` suspends, if with that the invocation does: the answer
    /// may have the news that it waits for, which the service does not tell twice. None if nothing is on its way.
    pub fn due_before_suspending(&self, scope: ScopeId) -> Option<Ticket> {
        let latest = self.queue.latest();
        Some(latest).filter(|&latest| !self.queue.is_durable(latest) && !self.is_in_branch(scope))
    }

    /// Whether operations were stopped since time is up: what is at work may end.
    pub fn is_late(&self) -> bool {
        self.severed.is_none() && matches!(self.gate, Some(Refusal::OutOfTime))
    }

    /// What has stopped the invocation by `now`, whatever the handler makes of it.
    pub fn stopped_by(&self, now: Millis) -> Option<Stop> {
        let reason = self.severed.as_ref().or(self.gate.as_ref());
        match reason {
            Some(Refusal::Revoked) => Some(Stop::Revoked),
            Some(Refusal::Broken) if self.gate.as_ref().is_some_and(Refusal::is_of_the_code) => Some(Stop::Refused),
            Some(Refusal::Broken) => Some(Stop::Broken),
            Some(refusal) if refusal.is_of_the_code() => Some(Stop::Refused),
            Some(Refusal::TooDeep) => Some(Stop::TooDeep),
            Some(Refusal::OutOfTime) if self.is_woken_soon(now) => Some(Stop::Suspended),
            Some(Refusal::OutOfTime) => Some(Stop::Late),
            _ => self.is_suspended(ScopeId::ROOT).then_some(Stop::Suspended),
        }
    }

    /// Refuses what the code of `inner` must not swallow: a suspension, and whatever stops the one around it.
    pub fn settle(&self, inner: ScopeId) -> Result<(), Refusal> {
        if self.is_suspended(inner) {
            self.check(inner)?;
        }
        self.scopes[inner.0].outer.map_or(Ok(()), |outer| self.check(outer))
    }

    /// Whether the code of `scope` was told to suspend.
    pub fn is_suspended(&self, scope: ScopeId) -> bool {
        self.scopes[scope.0].suspended.is_some()
    }

    /// The id of the operation whose context this is; none for the root.
    pub fn prefix(&self, scope: ScopeId) -> Option<OperationId> {
        self.scopes[scope.0].prefix
    }

    /// The invocation is over: whatever still runs in it is an orphan, no branch begins, and nobody looks after what is
    /// queued.
    pub fn close(&mut self) {
        self.end(ScopeId::ROOT);
        self.stop_batches();
        self.queue.watch_no_more();
    }

    /// Ends a scope: whatever still runs inside is an orphan from now on.
    pub fn end(&mut self, scope: ScopeId) {
        self.scopes[scope.0].done = true;
    }

    /// Ends a scope whose function will not come to its end: nobody waits for it any more.
    pub fn break_off(&mut self, scope: ScopeId) {
        self.end(scope);
        self.scopes[scope.0].broken_off = true;
    }

    /// Queues an update about an operation, unless its context has ended or the invocation may not go on; gives what whoever
    /// goes on from it waits for.
    pub fn write(
        &mut self,
        begun: &Begun,
        action: Action,
        payload: Option<P>,
        error: Option<P>,
        options: Options<P>,
    ) -> Result<Ticket, Refusal> {
        let ends = begun.kind() == Kind::Step && action != Action::Start;
        if ends { self.check_begun(begun.place.scope) } else { self.check(begun.place.scope) }?;
        self.advanced = true;
        self.scopes[begun.place.scope.0].fresh = true;
        let update = Update {
            subject: Subject::Operation(begun.place.id),
            kind: begun.kind(),
            action,
            sub_type: Some(begun.sub_type.clone()),
            name: begun.name.clone(),
            parent: begun.place.parent,
            payload,
            error,
            options,
        };
        let is_repeatable = begun.is_repeatable(action);
        Ok(if is_repeatable { self.queue.push_repeatable(update) } else { self.queue.push(update) })
    }

    /// Queues the outcome of the execution itself, when it is too large for the response.
    pub fn write_outcome(&mut self, now: Millis, payload: Option<P>, error: Option<P>) -> Ticket {
        let action = if error.is_none() { Action::Succeed } else { Action::Fail };
        self.queue.push(Update {
            subject: Subject::Execution(now),
            kind: Kind::Execution,
            action,
            sub_type: None,
            name: None,
            parent: None,
            payload,
            error,
            options: Options::None,
        })
    }

    /// Tells the code of `scope`, and what the suspension unwinds around it, to suspend.
    ///
    /// Why an execution that ends pending is woken: only [`Decision::Pending`] leads here, of a batch that of its branches.
    /// (One that unwinds at the gate is run again before.) Every table says so only of an operation that is recorded and
    /// open: a wait, a retry, a callback or an invoke whose START or RETRY was durable before it was looked at. The service
    /// invokes again when one of these moves, whoever waits for it, unless an answer has told so already: then whoever
    /// waits for it goes on before ([`Engine::next`], [`Engine::due_before_suspending`]). All else that was
    /// recorded is durable, too, when the invocation returns ([`crate::outcome::Ending::flushes`]); so the next one comes
    /// back to the same operation and finds it moved, or another one that the same holds for.
    ///
    /// [`Decision::Pending`]: crate::decision::Decision::Pending
    pub fn suspend(&mut self, scope: ScopeId, awaited: Option<&Arc<Begun>>, until: Option<Millis>) {
        self.note_awaited(scope, awaited);
        let mut next = Some(scope);
        while let Some(ScopeId(place)) = next {
            let scope = &mut self.scopes[place];
            scope.suspended = Some(Suspension(until));
            next = if scope.branch { None } else { scope.outer };
        }
    }

    /// Whether the code of `scope` may go on at all.
    pub fn check(&self, scope: ScopeId) -> Result<(), Refusal> {
        if let Some(refusal) = &self.gate {
            return Err(refusal.clone());
        }
        self.check_scopes(scope)
    }

    /// Whether an operation of `scope` whose function is at work may go on: at the end of the invocation's time, it may end.
    pub(crate) fn check_begun(&self, scope: ScopeId) -> Result<(), Refusal> {
        if self.is_late() { self.check_scopes(scope) } else { self.check(scope) }
    }

    fn check_scopes(&self, scope: ScopeId) -> Result<(), Refusal> {
        let mut next = Some(scope);
        while let Some(ScopeId(place)) = next {
            let scope = &self.scopes[place];
            if scope.done {
                return Err(Refusal::Orphaned(scope.prefix.unwrap_or_else(|| scope.upcoming())));
            }
            if let Some(Suspension(until)) = scope.suspended {
                return Err(Refusal::Suspended(until));
            }
            next = scope.outer;
        }
        Ok(())
    }

    /// Records that a batch became durable at `now`. What the service then says of the same operations goes over it.
    fn apply(&mut self, updates: Vec<Update<P>>, now: Millis) {
        for update in updates {
            let Subject::Operation(id) = update.subject else { continue };
            if self.history.get(&id).is_none() {
                let mut operation = Operation::new(id, update.kind, Status::Started);
                operation.sub_type = update.sub_type;
                operation.name = update.name;
                operation.parent = update.parent;
                self.history.record(operation);
                self.history.visit(&id);
            }
            self.history.note_retry(&id, update.action == Action::Retry);
            let Some(operation) = self.history.get_mut(&id).filter(|known| !known.status.is_terminal()) else {
                continue;
            };
            match update.action {
                Action::Start => {
                    operation.status = Status::Started;
                    if let Options::Wait { seconds } = update.options {
                        operation.due = Some(now.saturating_add(Millis::from(seconds) * 1_000));
                    }
                }
                Action::Succeed => {
                    operation.status = Status::Succeeded;
                    operation.result = update.payload;
                    operation.replay_children = matches!(update.options, Options::Context { replay_children: true });
                }
                Action::Fail => {
                    operation.status = Status::Failed;
                    operation.error = update.error;
                }
                Action::Retry => {
                    operation.status = Status::Pending;
                    operation.attempt += 1;
                    operation.result = update.payload;
                    operation.error = update.error;
                    if let Options::Step { delay_seconds } = update.options {
                        operation.due = Some(now.saturating_add(Millis::from(delay_seconds) * 1_000));
                    }
                }
            }
        }
    }

    /// Notes the user's line that was refused, unless it is known; gives the refusal with it.
    pub fn locate(&mut self, line: Option<&str>) -> Option<Refusal> {
        let refusal = self.gate.as_mut()?;
        if let (Some(place), Some(line)) = (refusal.line_mut(), line) {
            place.get_or_insert_with(|| line.into());
        }
        Some(refusal.clone())
    }

    pub(crate) fn refuse(&mut self, mismatch: Mismatch) -> Refusal {
        self.shut(Refusal::NonDeterministic(Box::new(mismatch)))
    }

    /// Lets no operation go on any more.
    pub(crate) fn shut(&mut self, refusal: Refusal) -> Refusal {
        self.gate.get_or_insert(refusal).clone()
    }
}
