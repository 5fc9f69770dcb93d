//! The end of the handler's function, or of a context's: whether it has come to what the record holds.
//!
//! An operation that is not over was waited for, or was at work, when an earlier invocation ended. Code that runs the same
//! way each time comes to it before it ends. Code that ends without it is on another way, or has been given the results
//! of other operations: what it says is not to be believed. One that is over may have been left out by a change of the
//! code that does no harm.
//!
//! A task that is cut short, by `asyncio.timeout` or `Task.cancel`, stands elsewhere each time, since real time decides where.
//! So code with such a task is told of what it has not come to, and not refused.
//!
//! What lies inside a context that has ended is not missed, nor what lies inside one whose function was broken off, by an
//! error that is not recorded, since nobody waits for it any more, or since the handler has ended without its task, or has
//! not even begun for one of these reasons: what else it would have come to, nobody knows. What a virtual context has come to lies in the one around it; while one such function
//! has not come to its end there, what is missed may be its own.

use crate::call::Begun;
use crate::engine::Engine;
use crate::id::OperationId;
use crate::operation::{Kind, Operation, Payload};
use crate::refusal::{Identity, Refusal};
use crate::scope::{Scope, ScopeId};
use crate::wrong_context::plain;

/// Operations that are not over, and that a function has ended without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// The first of them.
    pub id: OperationId,
    /// All of them, in words.
    pub operations: Vec<String>,
    /// The context whose function has ended; none for the handler.
    pub context: Option<Identity>,
}

impl Missed {
    fn of<P>(open: &[&Operation<P>], context: Option<&Begun>) -> Option<Self> {
        let id = open.first()?.id;
        let operations = open.iter().map(|operation| operation.in_words()).collect();
        Some(Self { id, operations, context: context.map(Identity::begun) })
    }

    /// Who has ended, and without what.
    pub fn in_words(&self) -> (String, String) {
        const SHOWN: usize = 10;
        let who = self
            .context
            .as_ref()
            .map_or_else(|| "the handler".to_owned(), |context| format!("the function of {}", plain(context)));
        let shown = self.operations[..self.operations.len().min(SHOWN)].join(", ");
        let more = self.operations.len().saturating_sub(SHOWN);
        (who, if more > 0 { format!("{shown} and {more} more") } else { shown })
    }
}

impl<P: Payload, W> Engine<P, W> {
    /// Refuses no code any more for what it has not come to, since a task of the handler's or a context's was cut short: others
    /// may have waited for what that was to do.
    pub fn excuse(&mut self) {
        self.is_excused = true;
    }

    /// The handler has ended while the code of a context was at work, in a task: what that holds is not missed.
    pub fn leave_at_work(&mut self, inner: ScopeId) {
        self.left_at_work.push(inner);
    }

    /// Whether the function of a context that was recorded before would be refused if it ended now.
    pub fn is_missed_inside(&self, inner: ScopeId, begun: &Begun) -> bool {
        !self.is_excused
            && !self.has_left_branches_behind(inner)
            && !self.has_left_virtual_behind(Some(begun.place.id))
            && self.history().open_inside(begun.place.id).next().is_some()
    }

    /// The handler has ended: gives the operations that it has not come to and that do not matter, in words.
    pub fn conclude(&mut self) -> Result<Vec<String>, Refusal> {
        let was_left = |operation: &&Operation<P>| self.was_broken_off(operation) || self.was_left_at_work(operation);
        let missed = self.history().unvisited().filter(|operation| !was_left(operation));
        let (open, over): (Vec<_>, Vec<_>) = missed.partition(|operation| operation.is_open() && !self.is_excused);
        let over = over.into_iter().map(Operation::in_words).collect();
        self.refuse_without(Missed::of(&open, None)).map(|()| over)
    }

    /// The function of a context that was recorded before has ended.
    pub fn conclude_context(&mut self, inner: ScopeId, begun: &Begun) -> Result<(), Refusal> {
        // A batch that has enough leaves branches behind. What those of FLAT ones had come to is directly inside it.
        if !self.is_missed_inside(inner, begun) {
            return Ok(());
        }
        let open: Vec<_> = self.history().open_inside(begun.place.id).collect();
        self.refuse_without(Missed::of(&open, Some(begun)))
    }

    fn has_left_branches_behind(&self, batch: ScopeId) -> bool {
        let Some(id) = self.scopes[batch.0].batch else { return false };
        let schedule = self.schedule(id);
        let mut admitted = schedule.branches().iter().filter_map(|branch| branch.status());
        schedule.reason().is_none() || admitted.any(|status| !status.is_terminal())
    }

    fn refuse_without(&mut self, missed: Option<Missed>) -> Result<(), Refusal> {
        missed.map_or(Ok(()), |missed| Err(self.gate.get_or_insert(Refusal::Missed(Box::new(missed))).clone()))
    }

    /// Whether the function of a context around an operation has ended without an outcome, or has not begun.
    fn was_broken_off(&self, operation: &Operation<P>) -> bool {
        let mut contexts = self.history().around(operation).filter(|around| around.kind == Kind::Context);
        self.has_left_virtual_behind(operation.parent) || contexts.any(|context| !self.is_inside(context.id))
    }

    /// Whether the function of a context is at work.
    fn is_inside(&self, context: OperationId) -> bool {
        let mut scopes = self.scopes.iter().filter(|scope| scope.prefix == Some(context)).peekable();
        scopes.peek().is_some() && scopes.all(|scope| !scope.done)
    }

    /// Whether a context around an operation was left at work.
    fn was_left_at_work(&self, operation: &Operation<P>) -> bool {
        let was_left = |id| self.left_at_work.iter().any(|scope| self.scopes[scope.0].prefix == Some(id));
        self.history().around(operation).any(|around| was_left(around.id))
    }

    /// Whether a virtual context in another has not come to its end.
    fn has_left_virtual_behind(&self, around: Option<OperationId>) -> bool {
        let unended = |scope: &&Scope| scope.broken_off || !scope.done;
        self.scopes.iter().filter(unended).any(|scope| scope.is_virtual() && scope.parent == around)
    }
}
