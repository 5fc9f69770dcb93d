//! Where the schedule of a batch meets the record: whoever is admitted has a START queued, what has ended is known from
//! the history, and a batch that is done has ended its context.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::iter;
use std::sync::Arc;

use crate::batch::{Batch, Next, NotAtWork, Record};
use crate::call::{Begun, Call, Place};
use crate::checkpoint::Ticket;
use crate::completion::Policy;
use crate::engine::Engine;
use crate::id::OperationId;
use crate::operation::{Millis, Payload, SubType};
use crate::refusal::Refusal;
use crate::scope::ScopeId;
use crate::update::{Action, Options};

/// Which batch; batches are never removed during an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchId(usize);

/// What a scope is to a batch: the context of this branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat {
    batch: BatchId,
    index: usize,
}

/// What the branches of a batch are in the record.
#[derive(Debug)]
pub enum Branches {
    /// Nothing: what happens in them stands in the batch's own context.
    Flat,
    /// A context each.
    Nested {
        sub_type: SubType,
        /// Names of their own; empty if none has one.
        names: Vec<Option<Box<str>>>,
        /// What the others are called: this, and the index.
        prefix: Box<str>,
    },
}

impl Branches {
    /// The name of a branch.
    pub fn name(&self, index: usize) -> Cow<'_, str> {
        match self {
            Self::Flat => Cow::Borrowed(""),
            Self::Nested { names, prefix, .. } => names
                .get(index)
                .and_then(Option::as_deref)
                .map_or_else(|| Cow::Owned(format!("{prefix}{index}")), Cow::Borrowed),
        }
    }

    /// The subtype of the branches; none where they are no operations.
    pub fn sub_type(&self) -> &str {
        match self {
            Self::Flat => "",
            Self::Nested { sub_type, .. } => sub_type.as_str(),
        }
    }

    const fn is_flat(&self) -> bool {
        matches!(self, Self::Flat)
    }
}

/// What became of a context.
#[derive(Debug)]
pub enum End<P> {
    /// Its result; with `replay_children` only a summary of it, so that replay runs the context again.
    Succeed {
        payload: Option<P>,
        replay_children: bool,
    },
    Fail {
        error: P,
    },
}

/// What a change of a schedule calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calls {
    /// The predicate is to be asked about the state as it is now.
    pub asks: bool,
    /// STARTs were queued.
    pub started: bool,
    /// All are counted: those who wait at the gate go on.
    pub opens: bool,
}

/// A batch at work.
#[derive(Debug)]
pub(crate) struct AtWork {
    schedule: Batch,
    scope: ScopeId,
    /// How many branches the record knows to be admitted.
    recorded: usize,
    /// What branches that are tried came to that the outside completes, by index.
    outside: HashMap<usize, Outside>,
    /// What suspended branches wait for, by index.
    awaited: BTreeMap<usize, Vec<Arc<Begun>>>,
}

/// What a branch came to that the outside completes.
#[derive(Debug, Default)]
struct Outside {
    /// When the last of it was completed, as far as is known.
    latest: Option<Millis>,
    /// Whether the branch came to nothing else after it.
    is_last: bool,
}

impl<P: Payload, W> Engine<P, W> {
    /// A batch whose own context is `scope`, not begun yet.
    pub fn new_batch(&mut self, scope: ScopeId, policy: Policy, limit: Option<usize>) -> BatchId {
        let id = BatchId(self.batches.len());
        let (schedule, outside, awaited) = (Batch::new(policy, limit), HashMap::new(), BTreeMap::new());
        self.batches.push(AtWork { schedule, scope, recorded: 0, outside, awaited });
        self.scopes[scope.0].batch = Some(id);
        id
    }

    /// Begins a batch; with `resumed`, what is recorded of it counts first. Tells whether a START was queued.
    pub fn open_batch(&mut self, id: BatchId, branches: &Branches, resumed: bool) -> bool {
        let record = if resumed { self.record_of(id, branches) } else { Record::Fresh };
        self.change_batch(id, branches, |batch| batch.open(record)).1
    }

    /// The schedule of a batch.
    pub fn schedule(&self, id: BatchId) -> &Batch {
        &self.batches[id.0].schedule
    }

    /// What a change of a batch calls for that queued STARTs, or did not.
    pub fn calls(&self, id: BatchId, started: bool) -> Calls {
        let schedule = self.schedule(id);
        Calls { asks: schedule.is_asking(), started, opens: !schedule.is_settling() }
    }

    /// Reports a branch that returned or raised; tells whether a START was queued.
    pub fn finish_branch(
        &mut self,
        id: BatchId,
        branches: &Branches,
        index: usize,
        succeeded: bool,
    ) -> Result<bool, NotAtWork> {
        let outside = self.batches[id.0].outside.get(&index).filter(|outside| outside.is_last);
        let moment = outside.map(|outside| outside.latest.unwrap_or(Millis::MAX));
        let (result, started) = self.change_batch(id, branches, |batch| match moment {
            Some(moment) => batch.finish_late(index, succeeded, moment),
            None => batch.finish(index, succeeded),
        });
        result.map(|()| started)
    }

    /// Lets no branch of a batch begin any more, unless it is done.
    pub fn stop_batch(&mut self, id: BatchId, at_once: bool) {
        self.schedule_mut(id).stop(at_once);
    }

    /// The same, of all batches.
    pub fn stop_batches(&mut self) {
        for batch in 0..self.batches.len() {
            self.stop_batch(BatchId(batch), false);
        }
    }

    /// Whether what runs in its branches may go on: the batch has not ended, and no outcome of theirs comes too late.
    pub fn is_open(&self, id: BatchId) -> bool {
        let AtWork { scope, schedule, .. } = &self.batches[id.0];
        self.check(*scope).is_ok() && !schedule.is_decided()
    }

    /// What a hand of a batch is to do next. No batch suspends while there is news of what a branch waits for: it came with
    /// an answer of the service's, which does not tell it again, nor invoke the execution for it.
    pub fn next(&mut self, id: BatchId, now: Millis) -> Next {
        let mut next = self.schedule_mut(id).next(now);
        if matches!(next, Next::Suspend(_)) && self.resume_branches(id) {
            next = self.schedule_mut(id).next(now);
        }
        if let Next::Run { index, .. } = next {
            self.batches[id.0].awaited.remove(&index);
        }
        next
    }

    /// Has those branches run again of whose operations there is news; tells whether there are any.
    fn resume_branches(&mut self, id: BatchId) -> bool {
        let has_news = |awaited: &[Arc<Begun>]| awaited.iter().any(|begun| !self.is_pending(begun));
        let awaited = self.batches[id.0].awaited.iter();
        let found: Vec<_> = awaited.filter(|(_, awaited)| has_news(awaited)).map(|(&index, _)| index).collect();
        for &index in &found {
            self.schedule_mut(id).resume(index);
        }
        !found.is_empty()
    }

    /// The code of `scope` is told to suspend: notes for which operations, if it is in a branch. A batch waits for those of
    /// its branches.
    pub(crate) fn note_awaited(&mut self, scope: ScopeId, begun: Option<&Arc<Begun>>) {
        let mut awaited: Vec<_> = begun.cloned().into_iter().collect();
        if let Some(batch) = self.scopes[scope.0].batch {
            awaited.extend(self.batches[batch.0].awaited.values().flatten().cloned());
        }
        let mut next = Some(scope);
        while let Some(inside) = next.map(|scope| &self.scopes[scope.0]) {
            if let Some(Seat { batch, index }) = inside.seat {
                self.batches[batch.0].awaited.entry(index).or_default().append(&mut awaited);
                return;
            }
            next = inside.outer;
        }
    }

    /// Whether the code of `scope` is in a branch, whose batch has others go on where it suspends.
    pub fn is_in_branch(&self, scope: ScopeId) -> bool {
        let inside = |scope: &ScopeId| self.scopes[scope.0].outer;
        iter::successors(Some(scope), inside).any(|scope| self.scopes[scope.0].branch)
    }

    /// The schedule of a batch, for what admits nobody.
    pub fn schedule_mut(&mut self, id: BatchId) -> &mut Batch {
        &mut self.batches[id.0].schedule
    }

    /// Changes a batch, and lets it go on from there: who is admitted by that has a START queued, and when it is done,
    /// what still runs inside is an orphan. Tells whether a START was queued.
    pub fn change_batch<R>(
        &mut self,
        id: BatchId,
        branches: &Branches,
        change: impl FnOnce(&mut Batch) -> R,
    ) -> (R, bool) {
        let AtWork { schedule, scope, .. } = &mut self.batches[id.0];
        let scope = *scope;
        let (admitted, was_settling) = (schedule.admitted(), schedule.is_settling());
        let result = change(schedule);
        while self.schedule(id).is_counted() {
            if self.knows_of_more(id, branches) {
                self.schedule_mut(id).admit_more();
            } else {
                self.schedule_mut(id).settle();
            }
        }
        let mut started = false;
        for index in admitted..self.schedule(id).admitted() {
            started |= self.start_branch(scope, branches, index);
        }
        if branches.is_flat() {
            let is_settling = self.schedule(id).is_settling();
            self.trials = self.trials + usize::from(is_settling) - usize::from(was_settling);
        }
        if self.schedule(id).reason().is_some() {
            self.end(scope);
        }
        (result, started)
    }

    /// Ends the context of an operation and queues its outcome, unless its function has missed something that is recorded,
    /// or it is that of a branch whose batch is decided. Of one that is new nothing is recorded inside.
    pub fn end_context(&mut self, inner: ScopeId, begun: &Begun, is_new: bool, end: End<P>) -> Result<Ticket, Refusal> {
        if !is_new {
            self.conclude_context(inner, begun)?;
        }
        self.end(inner);
        let (action, payload, error, options) = match end {
            End::Succeed { payload, replay_children } => {
                (Action::Succeed, payload, None, Options::Context { replay_children })
            }
            End::Fail { error } => (Action::Fail, None, Some(error), Options::None),
        };
        let seat = self.scopes[inner.0].seat;
        if seat.is_some_and(|seat| self.schedule(seat.batch).is_decided()) {
            return Err(Refusal::Orphaned(begun.place.id));
        }
        let ticket = self.write(begun, action, payload, error, options)?;
        if let Some(seat) = seat {
            self.schedule_mut(seat.batch).ending(seat.index, action == Action::Succeed);
        }
        Ok(ticket)
    }

    /// The seat of the branch in whose context `scope` is.
    pub(crate) fn seat_of(&self, scope: ScopeId, index: Option<u64>) -> Option<Seat> {
        let batch = self.scopes[scope.0].batch?;
        Some(Seat { batch, index: usize::try_from(index?).ok()? })
    }

    /// The branch that is tried in which `scope` is, with no recorded context between.
    pub(crate) fn tried(&self, scope: ScopeId) -> Option<Seat> {
        let mut next = Some(scope);
        while let Some(inside) = next.map(|scope| &self.scopes[scope.0]).filter(|inside| inside.is_virtual()) {
            if let Some(seat) = inside.seat {
                return Some(seat).filter(|seat| self.schedule(seat.batch).is_settling());
            }
            next = inside.outer;
        }
        None
    }

    /// Notes which operation a branch that is tried came to last, and whether it went on from there once the outside had
    /// completed it.
    pub(crate) fn note(&mut self, seat: Seat, entry: usize, is_outside: bool) {
        let known = &mut self.batches[seat.batch.0].outside;
        if is_outside {
            let outside = known.entry(seat.index).or_default();
            // What was completed earlier may be asked for later.
            outside.latest = outside.latest.max(self.history.at(entry).due);
            outside.is_last = true;
        } else if let Some(outside) = known.get_mut(&seat.index) {
            outside.is_last = false;
        }
    }

    fn record_of(&mut self, id: BatchId, branches: &Branches) -> Record {
        let AtWork { scope, ref schedule, .. } = self.batches[id.0];
        let (total, context) = (schedule.branches().len(), self.scopes[scope.0].prefix);
        // Code that comes to the same batch again in one invocation has left it suspended.
        let same = |earlier: &&AtWork| self.scopes[earlier.scope.0].prefix == context;
        let earlier = self.batches[..id.0].iter().rev().find(same);
        let mut recorded = earlier.map_or(0, |earlier| earlier.schedule.admitted());
        let record = if branches.is_flat() {
            Record::Silent
        } else {
            let mut ended = vec![false; total];
            let mut left = self.history.operations().filter(|operation| operation.parent == context).count();
            for (index, ended) in ended.iter_mut().enumerate() {
                if left == 0 {
                    break;
                }
                if let Some(operation) = self.history.get(&OperationId::at(context.as_ref(), index as u64)) {
                    *ended = operation.status.is_terminal();
                    recorded = recorded.max(index + 1);
                    left -= 1;
                }
            }
            Record::Ended(ended)
        };
        self.batches[id.0].recorded = recorded;
        record
    }

    /// Whether the record shows that more branches were admitted than are now.
    fn knows_of_more(&self, id: BatchId, branches: &Branches) -> bool {
        let AtWork { schedule, scope, recorded, .. } = &self.batches[id.0];
        let admitted = schedule.admitted();
        admitted < schedule.branches().len()
            && (admitted < *recorded || branches.is_flat() && self.history.expects(self.scopes[scope.0].parent))
    }

    fn start_branch(&mut self, scope: ScopeId, branches: &Branches, index: usize) -> bool {
        let Branches::Nested { sub_type, .. } = branches else { return false };
        let around = &self.scopes[scope.0];
        let place = Place::branch(scope, around, index as u64);
        if self.history.contains(&place.id) {
            return false;
        }
        let name = branches.name(index);
        let call = Call::Branch { name: Some(&name), sub_type: sub_type.as_str(), index: index as u64 };
        let begun = Begun::new(place, &call);
        // Where nothing can be recorded any more, the branch itself will hear of it.
        self.write(&begun, Action::Start, None, None, Options::None).is_ok()
    }
}
