//! The one way to come to an operation, on replay and for the first time alike: take its position, hold it against the
//! record, ask its table, and see to the START that is due.
//!
//! What comes of it is a decision. Carrying it out is the driver's: one that cannot go on ([`Decision::Pending`]) has
//! changed nothing yet, and a driver that unwinds its code says so with [`Engine::suspend`].

use std::sync::Arc;
use std::time::Duration;

use crate::branches::Seat;
use crate::call::{Arrival, Begun, Call, Head, Place, Table};
use crate::checkpoint::Ticket;
use crate::decision::{Decision, Look};
use crate::engine::Engine;
use crate::id::OperationId;
use crate::limits;
use crate::operation::{Kind, Operation, Payload, Status, SubType};
use crate::refusal::{Identity, Mismatch, Odd, Refusal};
use crate::scope::{Scope, ScopeId};
use crate::update::{Action, Options};

/// What a decision calls for before it is carried out.
#[derive(Debug, Clone, Copy)]
struct Due {
    is_work: bool,
    start: bool,
}

impl<P: Payload, W> Engine<P, W> {
    /// Comes to the next operation of `scope`.
    ///
    /// Where a branch is tried and the operation is new, it is as if it had not been come to yet ([`Refusal::Held`]); so it
    /// is with those that the same context comes to after that, recorded or not.
    /// The clock is read only where work is to begin, and there is a deadline.
    pub fn begin(
        &mut self,
        scope: ScopeId,
        call: &Call<'_>,
        clock: impl FnOnce() -> Duration,
    ) -> Result<Arrival<'_, P>, Refusal> {
        call.check()?;
        let head = call.head();
        let seat = self.tried_now(scope);
        if seat.is_some() && self.scopes[scope.0].is_held {
            return Err(Refusal::Held);
        }
        let (place, position) = self.take_position(scope, call.index())?;
        let entry = self.history.visit(&place.id);
        if let Some(entry) = entry {
            self.compare(entry, call, &head, place, position)?;
        }
        if let Some(seat) = seat {
            self.hold(seat, scope, call, head.table, entry)?;
        }
        self.scopes[scope.0].fresh |= entry.is_none();
        let due = self.due(entry, head.table, Look::First)?;
        if due.is_work {
            self.check_time(clock)?;
        }
        let mut started = None;
        if due.start {
            head.name.map_or(Ok(()), limits::name)?;
            if let Some(options) = call.start()? {
                let begun = Arc::new(Begun::new(place, call));
                let ticket = self.write(&begun, Action::Start, None, None, options)?;
                started = Some((begun, ticket));
            }
        }
        let decision = head.table.decide(self.recorded(entry), Look::First);
        Ok(Arrival { place, decision, is_new: entry.is_none(), started })
    }

    /// Looks at an operation once more, after a START or RETRY of this invocation's has become durable.
    pub fn again(&mut self, begun: &Begun) -> Result<Decision<'_, P>, Refusal> {
        self.check_begun(begun.place.scope)?;
        let entry = self.visit(&begun.place.id)?;
        let is_retried = entry.is_some_and(|entry| self.history.is_retried(entry));
        let look = if is_retried { Look::Retried } else { Look::Started };
        self.due(entry, begun.table, look)?;
        Ok(begun.table.decide(self.recorded(entry), look))
    }

    /// Comes to an operation once more that could not go on, as if for the first time: where another attempt is due, its
    /// START is queued. For drivers that keep its code waiting; what has been unwound comes to it with [`Engine::begin`].
    pub fn resume(
        &mut self,
        begun: &Begun,
        clock: impl FnOnce() -> Duration,
    ) -> Result<(Decision<'_, P>, Option<Ticket>), Refusal> {
        self.check(begun.place.scope)?;
        let entry = self.visit(&begun.place.id)?;
        let due = self.due(entry, begun.table, Look::First)?;
        if due.is_work {
            self.check_time(clock)?;
        }
        let starts = due.start && entry.is_some();
        let ticket = starts.then(|| self.write(begun, Action::Start, None, None, Options::None)).transpose()?;
        Ok((begun.table.decide(self.recorded(entry), Look::First), ticket))
    }

    /// Whether an operation that could not go on still cannot: nothing has changed yet that its code would wait for.
    pub fn is_pending(&self, begun: &Begun) -> bool {
        let entry = self.history.get(&begun.place.id);
        matches!(begun.table.decide(entry, Look::First), Decision::Pending(_))
    }

    /// Looks at the outcome of a callback that began earlier, as the code of `scope`.
    pub fn callback_result(
        &mut self,
        scope: ScopeId,
        id: OperationId,
    ) -> Result<(Arc<Begun>, Decision<'_, P>), Refusal> {
        let table = Table::CallbackResult;
        self.check(scope)?;
        let place = Place { scope, id, parent: self.scopes[scope.0].parent, index: None };
        let entry = self.visit(&id)?;
        if let (Some(seat), Some(entry)) = (self.tried_now(scope), entry) {
            self.note(seat, entry, true);
        }
        self.due(entry, table, Look::First)?;
        let begun = Begun { place, table, sub_type: SubType::new("Callback"), name: None };
        Ok((Arc::new(begun), table.decide(self.recorded(entry), Look::First)))
    }

    /// Queues RETRY: another attempt is due after a delay, which is cut to what the service takes.
    pub fn retry(
        &mut self,
        begun: &Begun,
        delay: i64,
        payload: Option<P>,
        error: Option<P>,
    ) -> Result<Ticket, Refusal> {
        let delay_seconds = limits::retry_delay(delay);
        self.write(begun, Action::Retry, payload, error, Options::Step { delay_seconds })
    }

    /// Takes the position of a virtual context, which the history must not know, and opens its scope.
    pub fn open_virtual(&mut self, scope: ScopeId, index: Option<u64>, branch: bool) -> Result<ScopeId, Refusal> {
        if index.is_none() && self.scopes[scope.0].is_held && self.tried_now(scope).is_some() {
            return Err(Refusal::Held);
        }
        let (place, position) = self.take_position(scope, index)?;
        match self.history.visit(&place.id) {
            None => Ok(self.open(place, place.parent, branch)),
            Some(entry) => {
                let recorded = Identity::of(self.history.at(entry));
                Err(self.refuse(Mismatch::new(place.id, position, recorded, None)))
            }
        }
    }

    /// Opens the scope of a context or branch that is recorded at `place`.
    pub fn open_context(&mut self, place: Place, branch: bool) -> ScopeId {
        let inner = self.open(place, Some(place.id), branch);
        self.scopes[place.scope.0].inner = Some(inner);
        inner
    }

    fn open(&mut self, place: Place, parent: Option<OperationId>, branch: bool) -> ScopeId {
        let ended = self.history.get(&place.id).map_or_else(
            || parent == place.parent && self.scopes[place.scope.0].ended,
            |operation| operation.status.is_terminal(),
        );
        let outer = Some(place.scope);
        let seat = if branch { self.seat_of(place.scope, place.index) } else { None };
        self.scopes.push(Scope {
            prefix: Some(place.id),
            parent,
            outer,
            branch,
            seat,
            ended,
            is_at_work: false,
            ..Scope::root()
        });
        ScopeId(self.scopes.len() - 1)
    }

    fn take_position(&mut self, scope: ScopeId, index: Option<u64>) -> Result<(Place, u64), Refusal> {
        self.check(scope)?;
        let inside = &mut self.scopes[scope.0];
        let position = index.unwrap_or_else(|| {
            inside.counter += 1;
            inside.counter
        });
        let id = OperationId::at(inside.prefix.as_ref(), position);
        Ok((Place { scope, id, parent: inside.parent, index }, position))
    }

    /// Refuses what is not recorded as the code has it.
    #[inline]
    fn compare(
        &mut self,
        entry: usize,
        call: &Call<'_>,
        head: &Head<'_>,
        place: Place,
        position: u64,
    ) -> Result<(), Refusal> {
        if head.is_recorded_as(self.history.at(entry), place.parent) {
            return Ok(());
        }
        Err(self.differs(entry, call, place, position))
    }

    #[cold]
    fn differs(&mut self, entry: usize, call: &Call<'_>, place: Place, position: u64) -> Refusal {
        let recorded = self.history.at(entry);
        if let Some(odd) = odd(recorded) {
            return self.shut(odd);
        }
        let called = Identity { parent: place.parent, ..Identity::called(call) };
        let recorded = Identity::of(recorded);
        self.refuse(Mismatch::new(place.id, position, recorded, Some(called)))
    }

    /// The recorded context that the operations of `scope` are in.
    pub fn parent(&self, scope: ScopeId) -> Option<OperationId> {
        self.scopes[scope.0].parent
    }

    /// The id of the operation that `scope` has come to last.
    pub fn latest(&self, scope: ScopeId) -> OperationId {
        let inside = &self.scopes[scope.0];
        OperationId::at(inside.prefix.as_ref(), inside.counter)
    }

    /// How many positions of `scope` are taken.
    pub fn position(&self, scope: ScopeId) -> u64 {
        self.scopes[scope.0].counter
    }

    fn tried_now(&self, scope: ScopeId) -> Option<Seat> {
        if self.trials == 0 { None } else { self.tried(scope) }
    }

    /// Holds a branch that is tried before what is new.
    fn hold(
        &mut self,
        seat: Seat,
        scope: ScopeId,
        call: &Call<'_>,
        table: Table,
        entry: Option<usize>,
    ) -> Result<(), Refusal> {
        if table.decide(self.recorded(entry), Look::First).is_work() {
            let inside = &mut self.scopes[scope.0];
            inside.counter -= u64::from(call.index().is_none());
            inside.is_held = true;
            return Err(Refusal::Held);
        }
        if let Some(entry) = entry {
            self.note(seat, entry, matches!(table.kind(), Kind::Wait | Kind::ChainedInvoke));
        }
        Ok(())
    }

    fn recorded(&self, entry: Option<usize>) -> Option<&Operation<P>> {
        entry.map(|entry| self.history.at(entry))
    }

    /// Where an operation is recorded that the code has come to before, unless it can no longer go on from it.
    fn visit(&mut self, id: &OperationId) -> Result<Option<usize>, Refusal> {
        let entry = self.history.visit(id);
        match entry.and_then(|entry| odd(self.history.at(entry))) {
            Some(odd) => Err(self.shut(odd)),
            None => Ok(entry),
        }
    }

    /// What a table's answer calls for; refuses what no code can go on from.
    fn due(&mut self, entry: Option<usize>, table: Table, look: Look) -> Result<Due, Refusal> {
        let decision = table.decide(self.recorded(entry), look);
        let due = Due { is_work: decision.is_work(), start: decision.starts() };
        if let Decision::Failure { status: Status::Unknown, .. } = decision
            && let Some(odd) = entry.and_then(|entry| odd(self.history.at(entry)))
        {
            return Err(self.shut(odd));
        }
        Ok(due)
    }
}

#[cold]
fn odd<P>(recorded: &Operation<P>) -> Option<Refusal> {
    let oddity = recorded.oddity.as_deref()?.clone();
    Some(Refusal::Odd(Box::new(Odd { id: recorded.id, name: recorded.name.clone(), oddity, line: None })))
}
