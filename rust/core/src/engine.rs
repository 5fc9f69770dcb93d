//! One invocation: the history, the scopes and the queue put together, and the one pop-or-write primitive that serves
//! replay and first run alike.

use thiserror::Error;

use crate::checkpoint::{Queue, Ticket};
use crate::decision::{Decision, Look};
use crate::history::History;
use crate::id::OperationId;
use crate::operation::{Kind, Millis, Operation, Payload, Status, SubType};
use crate::scope::{Scope, ScopeId};
use crate::update::{Action, Options, Subject, Update};

/// What the handler asks for: an operation as the code has it.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    pub kind: Kind,
    pub sub_type: &'a str,
    pub name: Option<&'a str>,
    /// The index of a branch; other operations take the next position in call order.
    pub index: Option<u64>,
}

/// An operation that has begun and will be written about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    pub scope: ScopeId,
    pub id: OperationId,
    pub kind: Kind,
    pub sub_type: SubType,
    pub name: Option<Box<str>>,
    pub parent: Option<OperationId>,
}

/// One side of a mismatch: what an operation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub kind: Kind,
    pub sub_type: Option<SubType>,
    pub name: Option<Box<str>>,
    pub parent: Option<OperationId>,
}

/// The history holds something else than what the code now asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    pub id: OperationId,
    /// The place of the operation in its context, as the code counts.
    pub place: u64,
    pub recorded: Identity,
    /// What the code asks for; none for a virtual context, which is never recorded.
    pub called: Option<Identity>,
}

/// Why the engine does not go on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("the execution is suspended")]
    Suspended(Option<Millis>),
    #[error("the context around operation {0} has ended")]
    Orphaned(OperationId),
    #[error("operation {} differs from its recorded history", .0.id)]
    NonDeterministic(Box<Mismatch>),
    #[error("the service has revoked the checkpoint token")]
    Revoked,
    #[error("an earlier checkpoint failed")]
    Broken,
    #[error("the invocation is out of time")]
    OutOfTime {
        /// Whether the service will wake the execution by itself.
        pending: bool,
    },
}

/// One invocation of an execution.
#[derive(Debug)]
pub struct Engine<P> {
    history: History<P>,
    scopes: Vec<Scope>,
    queue: Queue<P>,
    /// Set once nothing may go on any more; the first reason stands.
    gate: Option<Refusal>,
    /// Whether this invocation has recorded anything new.
    advanced: bool,
}

/// A transition table: what a recorded operation (or its absence) calls for.
pub type Table<P> = fn(Option<&Operation<P>>, Look) -> Decision<'_, P>;

impl<P: Payload> Engine<P> {
    /// An invocation that knows nothing yet; `token` goes with its first call.
    pub fn new(token: P) -> Self {
        Self {
            history: History::default(),
            scopes: vec![Scope::root()],
            queue: Queue::new(token),
            gate: None,
            advanced: false,
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
    pub fn queue(&self) -> &Queue<P> {
        &self.queue
    }

    /// What waits to be sent, to be sent.
    pub fn queue_mut(&mut self) -> &mut Queue<P> {
        &mut self.queue
    }

    /// Why nothing goes on any more, if so.
    pub fn gate(&self) -> Option<&Refusal> {
        self.gate.as_ref()
    }

    /// Stops every operation for `reason`, unless something stopped them before.
    pub fn close(&mut self, reason: Refusal) {
        self.gate.get_or_insert(reason);
    }

    /// Stops every operation because time is up, but never before the invocation has recorded something new: an
    /// execution always advances.
    pub fn stop_late(&mut self) -> Result<(), Refusal> {
        if self.advanced {
            let pending = self.is_awaited();
            return Err(self.gate.get_or_insert(Refusal::OutOfTime { pending }).clone());
        }
        Ok(())
    }

    /// Whether this invocation has recorded anything new.
    pub fn has_advanced(&self) -> bool {
        self.advanced
    }

    /// Whether the service will wake the execution by itself.
    pub fn is_awaited(&self) -> bool {
        self.history.operations().any(Operation::is_awaited)
    }

    /// Whether the context replays: its next operation is recorded, and none before it was new.
    pub fn is_replaying(&self, scope: ScopeId) -> bool {
        let scope = &self.scopes[scope.0];
        !scope.fresh && self.history.contains(&scope.upcoming())
    }

    /// The suspension that the code of `scope` was told of, if it was.
    pub fn suspension(&self, scope: ScopeId) -> Option<Option<Millis>> {
        self.scopes[scope.0].suspended
    }

    /// The id of the context, and what its operations name as their parent.
    pub fn place(&self, scope: ScopeId) -> (Option<OperationId>, Option<OperationId>) {
        let scope = &self.scopes[scope.0];
        (scope.prefix, scope.parent)
    }

    /// Comes to the next operation of `scope`: takes its position, holds it against the history, and decides.
    ///
    /// A decision to suspend is carried out here: every scope that the suspension unwinds is marked.
    pub fn begin(
        &mut self,
        scope: ScopeId,
        call: Call<'_>,
        table: Table<P>,
    ) -> Result<(OperationId, Decision<'_, P>), Refusal> {
        self.check(scope)?;
        let place = &mut self.scopes[scope.0];
        let position = call.index.unwrap_or_else(|| {
            place.counter += 1;
            place.counter
        });
        let id = OperationId::at(place.prefix.as_ref(), position);
        let parent = place.parent;
        let recorded = self.history.visit(&id);
        if let Some(recorded) = recorded {
            if !matches(recorded, &call, parent) {
                let called = Identity {
                    kind: call.kind,
                    sub_type: Some(SubType::new(call.sub_type)),
                    name: call.name.map(Into::into),
                    parent,
                };
                let mismatch = Mismatch { id, place: position, recorded: identity(recorded), called: Some(called) };
                return Err(self.refuse(mismatch));
            }
        } else {
            place.fresh = true;
        }
        self.decide(scope, id, table, Look::First).map(|decision| (id, decision))
    }

    /// Looks at an operation once more, after its START has become durable.
    pub fn again(&mut self, begun: &Begun, table: Table<P>) -> Result<Decision<'_, P>, Refusal> {
        self.check(begun.scope)?;
        self.history.visit(&begun.id);
        self.decide(begun.scope, begun.id, table, Look::Again)
    }

    /// Looks at the outcome of an operation that began earlier in `scope` (a callback's result).
    pub fn look(&mut self, scope: ScopeId, id: OperationId, table: Table<P>) -> Result<Decision<'_, P>, Refusal> {
        self.check(scope)?;
        self.decide(scope, id, table, Look::First)
    }

    /// Takes the position of a virtual context, which the history must not know.
    pub fn begin_virtual(&mut self, scope: ScopeId, index: Option<u64>) -> Result<OperationId, Refusal> {
        self.check(scope)?;
        let place = &mut self.scopes[scope.0];
        let position = index.unwrap_or_else(|| {
            place.counter += 1;
            place.counter
        });
        let id = OperationId::at(place.prefix.as_ref(), position);
        match self.history.visit(&id) {
            None => Ok(id),
            Some(recorded) => {
                let mismatch = Mismatch { id, place: position, recorded: identity(recorded), called: None };
                Err(self.refuse(mismatch))
            }
        }
    }

    /// An operation that is about to be written about.
    pub fn begun(&self, scope: ScopeId, id: OperationId, call: Call<'_>) -> Begun {
        Begun {
            scope,
            id,
            kind: call.kind,
            sub_type: SubType::new(call.sub_type),
            name: call.name.map(Into::into),
            parent: self.scopes[scope.0].parent,
        }
    }

    /// Opens the scope of a context or branch whose operation is `id`.
    pub fn open(&mut self, outer: ScopeId, id: OperationId, is_virtual: bool, branch: bool) -> ScopeId {
        let parent = if is_virtual { self.scopes[outer.0].parent } else { Some(id) };
        self.scopes.push(Scope { prefix: Some(id), parent, outer: Some(outer), branch, ..Scope::root() });
        ScopeId(self.scopes.len() - 1)
    }

    /// Ends a scope: whatever still runs inside is an orphan from now on.
    pub fn end(&mut self, scope: ScopeId) {
        self.scopes[scope.0].done = true;
    }

    /// Queues an update about an operation, unless its context has ended or the invocation may not go on.
    pub fn write(
        &mut self,
        begun: &Begun,
        action: Action,
        payload: Option<P>,
        error: Option<P>,
        options: Options<P>,
    ) -> Result<Ticket, Refusal> {
        self.check(begun.scope)?;
        self.advanced = true;
        self.scopes[begun.scope.0].fresh = true;
        Ok(self.queue.push(Update {
            subject: Subject::Operation(begun.id),
            kind: begun.kind,
            action,
            sub_type: Some(begun.sub_type.clone()),
            name: begun.name.clone(),
            parent: begun.parent,
            payload,
            error,
            options,
        }))
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
    pub fn suspend(&mut self, scope: ScopeId, until: Option<Millis>) {
        let mut next = Some(scope);
        while let Some(ScopeId(place)) = next {
            let scope = &mut self.scopes[place];
            scope.suspended = Some(until);
            next = if scope.branch { None } else { scope.outer };
        }
    }

    /// Whether the code of `scope` may go on at all.
    pub fn check(&self, scope: ScopeId) -> Result<(), Refusal> {
        if let Some(refusal) = &self.gate {
            return Err(refusal.clone());
        }
        let mut next = Some(scope);
        while let Some(ScopeId(place)) = next {
            let scope = &self.scopes[place];
            if scope.done {
                return Err(Refusal::Orphaned(scope.prefix.unwrap_or_else(|| scope.upcoming())));
            }
            if let Some(until) = scope.suspended {
                return Err(Refusal::Suspended(until));
            }
            next = scope.outer;
        }
        Ok(())
    }

    /// Records that a batch became durable at `now`. What the service then says of the same operations goes over it.
    pub fn apply(&mut self, updates: Vec<Update<P>>, now: Millis) {
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
            let Some(operation) = self.history.get_mut(&id) else { continue };
            match update.action {
                Action::Start => {
                    operation.status = Status::Started;
                    if let Options::Wait { seconds } = update.options {
                        operation.due = Some(now + Millis::from(seconds) * 1_000);
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
                        operation.due = Some(now + Millis::from(delay_seconds) * 1_000);
                    }
                }
            }
        }
    }

    fn decide(
        &mut self,
        scope: ScopeId,
        id: OperationId,
        table: Table<P>,
        look: Look,
    ) -> Result<Decision<'_, P>, Refusal> {
        // Looked up twice, since a suspension must change the scopes while a decision borrows the history.
        if let Decision::Suspend(until) = table(self.history.get(&id), look) {
            self.suspend(scope, until);
            return Err(Refusal::Suspended(until));
        }
        Ok(table(self.history.get(&id), look))
    }

    fn refuse(&mut self, mismatch: Mismatch) -> Refusal {
        let refusal = Refusal::NonDeterministic(Box::new(mismatch));
        self.gate.get_or_insert(refusal).clone()
    }
}

fn matches<P>(recorded: &Operation<P>, call: &Call<'_>, parent: Option<OperationId>) -> bool {
    recorded.kind == call.kind
        && recorded.sub_type.as_ref().is_none_or(|sub_type| sub_type.as_str() == call.sub_type)
        && recorded.name.as_deref() == call.name
        && recorded.parent == parent
}

fn identity<P>(operation: &Operation<P>) -> Identity {
    Identity {
        kind: operation.kind,
        sub_type: operation.sub_type.clone(),
        name: operation.name.clone(),
        parent: operation.parent,
    }
}
