//! The replay index: id → operation, what has been visited, what was left unvisited.
//!
//! The record only goes forward: what a page, an event or a response tells again, or late, changes nothing. `=` is the
//! same state told again (what it adds counts), `>` a later one (it counts), `<` an earlier one (it does not):
//!
//! | known ↓ told → | STARTED | PENDING | READY | the same terminal | any other terminal |
//! |---|---|---|---|---|---|
//! | STARTED | = | > | > | | > |
//! | PENDING | > | = | > | | > |
//! | READY | > | > | = | | > |
//! | terminal | < | < | < | = | < |
//!
//! An attempt of a step goes from PENDING by READY to STARTED, and the next one begins with PENDING. So of two steps that
//! have not ended, the one with more attempts behind it is later, and with equally many the one further on this way:
//! STARTED is not followed by PENDING or READY there, nor READY by PENDING.
//!
//! A status that this version does not know is later than any that has not ended, and these than it. An operation that is
//! told of as two kinds is one that no code can go on from.

use std::cmp::Ordering;
use std::collections::{HashMap, hash_map};
use std::iter;
use std::mem;

use crate::id::{IdState, OperationId};
use crate::operation::{Kind, Oddity, Operation, Status};

/// Everything the service has recorded for this execution.
#[derive(Debug)]
pub struct History<P> {
    entries: Vec<Entry<P>>,
    places: HashMap<OperationId, usize, IdState>,
}

#[derive(Debug)]
struct Entry<P> {
    operation: Operation<P>,
    visited: bool,
    /// Whether this invocation has recorded last of it that there is to be another attempt.
    retried: bool,
}

impl<P> Default for History<P> {
    fn default() -> Self {
        Self { entries: Vec::new(), places: HashMap::default() }
    }
}

impl<P> History<P> {
    /// Makes room for `additional` operations.
    pub fn reserve(&mut self, additional: usize) {
        self.entries.reserve(additional);
        self.places.reserve(additional);
    }

    /// Records what the service says of an operation, as far as that goes on from what is known; gives what is of no
    /// more use.
    pub fn record(&mut self, told: Operation<P>) -> Option<Operation<P>> {
        match self.places.entry(told.id) {
            hash_map::Entry::Occupied(place) => Some(merge(&mut self.entries[*place.get()].operation, told)),
            hash_map::Entry::Vacant(place) => {
                place.insert(self.entries.len());
                self.entries.push(Entry { operation: told, visited: false, retried: false });
                None
            }
        }
    }

    /// What is recorded of an operation.
    pub fn get(&self, id: &OperationId) -> Option<&Operation<P>> {
        self.places.get(id).map(|&place| &self.entries[place].operation)
    }

    /// What is recorded of an operation, to be changed.
    pub fn get_mut(&mut self, id: &OperationId) -> Option<&mut Operation<P>> {
        self.places.get(id).map(|&place| &mut self.entries[place].operation)
    }

    /// Where an operation is recorded that the handler has now come to.
    pub fn visit(&mut self, id: &OperationId) -> Option<usize> {
        let place = *self.places.get(id)?;
        self.entries[place].visited = true;
        Some(place)
    }

    /// Notes whether there is to be another attempt at an operation, by what this invocation has recorded last of it.
    pub fn note_retry(&mut self, id: &OperationId, retried: bool) {
        if let Some(&place) = self.places.get(id) {
            self.entries[place].retried = retried;
        }
    }

    /// Whether there is, at a place that [`History::visit`] gave.
    pub fn is_retried(&self, place: usize) -> bool {
        self.entries[place].retried
    }

    /// What is recorded at a place that [`History::visit`] gave.
    pub fn at(&self, place: usize) -> &Operation<P> {
        &self.entries[place].operation
    }

    /// Whether an operation is recorded at all.
    pub fn contains(&self, id: &OperationId) -> bool {
        self.places.contains_key(id)
    }

    /// Whether something is recorded in a context that the handler has not come to.
    pub fn expects(&self, parent: Option<OperationId>) -> bool {
        self.entries
            .iter()
            .any(|entry| !entry.visited && is_of_code(&entry.operation) && entry.operation.parent == parent)
    }

    /// How many operations are recorded.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is recorded.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every recorded operation, in the order of its first record.
    pub fn operations(&self) -> impl Iterator<Item = &Operation<P>> {
        self.entries.iter().map(|entry| &entry.operation)
    }

    /// The execution itself, whose result is what its handler is called with.
    pub fn execution(&self) -> Option<&Operation<P>> {
        self.operations().find(|operation| operation.kind == Kind::Execution)
    }

    /// The recorded operations that the handler never came to, outermost only.
    ///
    /// What lies inside a finished context, however deep, is not missed: its result was enough.
    pub fn unvisited(&self) -> impl Iterator<Item = &Operation<P>> {
        self.entries.iter().filter(|entry| !entry.visited && self.was_expected(&entry.operation)).map(|e| &e.operation)
    }

    /// The operations directly inside a context that are not over, and that its function has not come to.
    pub fn open_inside(&self, context: OperationId) -> impl Iterator<Item = &Operation<P>> {
        let inside = move |entry: &&Entry<P>| entry.operation.parent == Some(context) && !entry.visited;
        self.entries.iter().filter(inside).map(|entry| &entry.operation).filter(|operation| operation.is_open())
    }

    /// The contexts around an operation, from the inside out.
    pub fn around(&self, operation: &Operation<P>) -> impl Iterator<Item = &Operation<P>> {
        let outer = |operation: &Operation<P>| operation.parent.and_then(|parent| self.get(&parent));
        // No chain of parents is longer than the history, unless it goes round.
        iter::successors(outer(operation), move |context| outer(context)).take(self.entries.len())
    }

    fn was_expected(&self, operation: &Operation<P>) -> bool {
        if !is_of_code(operation) {
            return false;
        }
        let mut next = operation.parent;
        // No chain of parents is longer than the history, unless it goes round.
        for _ in 0..self.entries.len() {
            let Some(around) = next.and_then(|parent| self.places.get(&parent)).map(|&place| &self.entries[place])
            else {
                return true;
            };
            if around.operation.kind == Kind::Execution {
                return true;
            }
            if !around.visited || around.operation.status.is_terminal() {
                return false;
            }
            next = around.operation.parent;
        }
        false
    }
}

/// Makes of `known` and `told` what is known from now on, each supplying what the other lacks; gives what is left.
fn merge<P>(known: &mut Operation<P>, mut told: Operation<P>) -> Operation<P> {
    if known.kind != told.kind && !is_torn(known) {
        known.oddity = Some(Box::new(Oddity::TwoKinds(known.kind, told.kind)));
        known.kind = Kind::Unknown;
    }
    if is_torn(known) {
        return told;
    }
    if waits_for_an_attempt(told.status) && told.attempt == 0 {
        told.attempt = known.attempt; // which was not told
    }
    let order = order(known, &told);
    if order == Ordering::Greater || order == Ordering::Equal && !known.status.is_terminal() {
        mem::swap(known, &mut told);
    }
    let (kept, left) = (known, &mut told);
    supply(&mut kept.sub_type, &mut left.sub_type);
    supply(&mut kept.name, &mut left.name);
    supply(&mut kept.parent, &mut left.parent);
    supply(&mut kept.callback_id, &mut left.callback_id);
    let same_attempt = order == Ordering::Greater && !kept.status.is_terminal() && kept.attempt == left.attempt;
    if order == Ordering::Equal || same_attempt {
        if kept.result.is_none() && !kept.replay_children {
            kept.replay_children = left.replay_children;
            supply(&mut kept.result, &mut left.result);
        }
        supply(&mut kept.error, &mut left.error);
    }
    if order == Ordering::Equal {
        supply(&mut kept.due, &mut left.due);
    }
    told
}

/// Whether code must come to it. Of a kind that is not known, that is not known either.
fn is_of_code<P>(operation: &Operation<P>) -> bool {
    !matches!(operation.kind, Kind::Execution | Kind::Unknown)
}

fn is_torn<P>(operation: &Operation<P>) -> bool {
    matches!(operation.oddity.as_deref(), Some(Oddity::TwoKinds(..)))
}

fn supply<T>(kept: &mut Option<T>, left: &mut Option<T>) {
    if kept.is_none() {
        mem::swap(kept, left);
    }
}

/// Where what is told of an operation stands to what is known: the table above.
fn order<P>(known: &Operation<P>, told: &Operation<P>) -> Ordering {
    if known.status.is_terminal() {
        return if told.status == known.status { Ordering::Equal } else { Ordering::Less };
    }
    if told.status.is_terminal() {
        return Ordering::Greater;
    }
    if known.kind == Kind::Step && known.status.is_open() && told.status.is_open() {
        return stage(told).cmp(&stage(known));
    }
    if told.status == known.status { Ordering::Equal } else { Ordering::Greater }
}

/// How far a step has come that has not ended: in attempts, and within one.
fn stage<P>(step: &Operation<P>) -> (u32, u8) {
    match step.status {
        // Whatever the record says, an attempt lies behind it.
        Status::Pending => (step.attempt.max(1), 0),
        Status::Ready => (step.attempt.max(1), 1),
        _ => (step.attempt, 2),
    }
}

fn waits_for_an_attempt(status: Status) -> bool {
    matches!(status, Status::Pending | Status::Ready)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::SubType;

    fn operation(n: u64, kind: Kind, status: Status) -> Operation<String> {
        Operation::new(OperationId::at(None, n), kind, status)
    }

    fn inside(n: u64, parent: u64) -> Operation<String> {
        let parent = OperationId::at(None, parent);
        Operation { parent: Some(parent), ..operation(100 * n, Kind::Step, Status::Succeeded) }
    }

    #[test]
    fn the_latest_record_counts() {
        let mut history = History::default();
        history.record(operation(1, Kind::Step, Status::Pending));
        history.record(operation(1, Kind::Step, Status::Ready));
        assert_eq!(history.get(&OperationId::at(None, 1)).map(|o| o.status), Some(Status::Ready));
        assert_eq!(history.operations().count(), 1);
        assert!(history.get(&OperationId::at(None, 2)).is_none());
    }

    #[test]
    fn a_new_record_of_a_visited_operation_stays_visited() {
        let mut history = History::default();
        history.record(operation(1, Kind::Step, Status::Pending));
        history.visit(&OperationId::at(None, 1));
        history.record(operation(1, Kind::Step, Status::Ready));
        assert_eq!(history.unvisited().count(), 0);
    }

    /// Rows: known; columns: told. In the order of `Status::ALL`, as the table at the head of this file has it.
    const ATTEMPTS: [&str; 8] =
        ["=<<>>>>>", ">=>>>>>>", "><=>>>>>", "<<<=<<<<", "<<<<=<<<", "<<<<<=<<", "<<<<<<=<", "<<<<<<<="];
    const OTHERS: [&str; 8] =
        ["=>>>>>>>", ">=>>>>>>", ">>=>>>>>", "<<<=<<<<", "<<<<=<<<", "<<<<<=<<", "<<<<<<=<", "<<<<<<<="];

    #[test]
    fn what_may_follow_what() {
        for kind in Kind::ALL {
            let table = if kind == Kind::Step { ATTEMPTS } else { OTHERS };
            for (known, row) in Status::ALL.into_iter().zip(table) {
                for (told, sign) in Status::ALL.into_iter().zip(row.chars()) {
                    let result = |text: &str| Some(text.to_owned());
                    let mut history = History::default();
                    history.record(Operation { attempt: 1, result: result("known"), ..operation(1, kind, known) });
                    history.record(Operation { attempt: 1, result: result("told"), ..operation(1, kind, told) });
                    let kept = &history.entries[0].operation;
                    let counts = sign == '>' || sign == '=' && !known.is_terminal();
                    let expected = if counts { (told, result("told")) } else { (known, result("known")) };
                    assert_eq!((kept.status, kept.result.clone()), expected, "{kind:?}: {known:?}, then {told:?}");
                }
            }
        }
    }

    #[test]
    fn an_unknown_status_is_carried_along_until_the_next() {
        use Status::{Pending, Ready, Started, Succeeded, Unknown};
        let table = [(Started, Unknown, Unknown), (Pending, Unknown, Unknown), (Unknown, Ready, Ready)];
        for (known, told, expected) in
            table.into_iter().chain([(Unknown, Succeeded, Succeeded), (Succeeded, Unknown, Succeeded)])
        {
            let odd = |status| Operation {
                oddity: (status == Unknown).then(|| Box::new(Oddity::Status("PAUSED".into()))),
                ..operation(1, Kind::Step, status)
            };
            let mut history = History::default();
            history.record(odd(known));
            history.record(odd(told));
            let kept = &history.entries[0].operation;
            assert_eq!(
                (kept.status, kept.oddity.is_some()),
                (expected, expected == Unknown),
                "{known:?}, then {told:?}"
            );
        }
    }

    #[test]
    fn what_is_told_of_as_two_kinds_is_of_no_use() {
        for kind in [Kind::Step, Kind::Unknown] {
            let mut history = History::default();
            history.record(operation(1, kind, Status::Succeeded));
            for _ in 0..2 {
                history.record(operation(1, Kind::Wait, Status::Succeeded));
                history.record(operation(1, kind, Status::Failed));
            }
            let kept = &history.entries[0].operation;
            assert_eq!(kept.status, Status::Succeeded);
            assert_eq!(kept.oddity.as_deref(), Some(&Oddity::TwoKinds(kind, Kind::Wait)));
        }
    }

    #[test]
    fn what_is_of_an_unknown_kind_is_not_missed_nor_expected() {
        let mut history = History::default();
        history.record(operation(1, Kind::Unknown, Status::Succeeded));
        history.record(inside(1, 1));
        assert_eq!(history.unvisited().count(), 0);
        assert!(!history.expects(None));
    }

    #[test]
    fn of_two_attempts_the_later_counts() {
        use Status::{Failed, Pending, Ready, Started, Succeeded};
        let table = [
            ((Started, 0), (Pending, 1), true),
            ((Started, 0), (Ready, 1), true),
            ((Started, 0), (Pending, 0), true), // an attempt that was not told
            ((Pending, 2), (Ready, 0), true),
            ((Pending, 1), (Started, 0), false),
            ((Ready, 1), (Started, 1), true),
            ((Ready, 1), (Started, 0), false),
            ((Started, 2), (Ready, 1), false),
            ((Started, 2), (Ready, 2), false),
            ((Started, 2), (Ready, 0), false),
            ((Started, 1), (Pending, 2), true),
            ((Pending, 2), (Ready, 1), false),
            ((Pending, 2), (Started, 1), false),
            ((Pending, 1), (Started, 1), true), // of which READY was not heard
            ((Started, 3), (Failed, 1), true),  // an end is an end, however it counts
            ((Succeeded, 1), (Pending, 2), false),
        ];
        for (known, told, counts) in table {
            let step = |(status, attempt)| Operation { attempt, ..operation(1, Kind::Step, status) };
            let mut history = History::default();
            history.record(step(known));
            history.record(step(told));
            let kept = history.entries[0].operation.status;
            assert_eq!(kept, if counts { told.0 } else { known.0 }, "{known:?}, then {told:?}");
        }
    }

    #[test]
    fn an_attempt_that_was_not_told_is_the_one_known() {
        let mut history = History::default();
        history.record(Operation { attempt: 2, ..operation(1, Kind::Step, Status::Pending) });
        history.record(operation(1, Kind::Step, Status::Ready));
        assert_eq!(history.entries[0].operation.attempt, 2);
    }

    fn full(kind: Kind, status: Status) -> Operation<String> {
        let text = |text: &str| Some(text.to_owned());
        Operation {
            sub_type: Some(SubType::new("Custom")),
            name: Some("name".into()),
            parent: Some(OperationId::at(None, 9)),
            attempt: 1,
            due: Some(7),
            result: text("result"),
            error: text("error"),
            callback_id: text("callback"),
            replay_children: true,
            ..operation(1, kind, status)
        }
    }

    #[test]
    fn what_the_same_state_told_again_lacks_stays_and_what_it_adds_counts() {
        for status in Status::ALL {
            for full_first in [true, false] {
                let mut told = [full(Kind::Context, status), operation(1, Kind::Context, status)];
                if !full_first {
                    told.reverse();
                }
                let mut history = History::default();
                for told in told {
                    history.record(told);
                }
                let (kept, whole) = (&history.entries[0].operation, full(Kind::Context, status));
                assert_eq!(format!("{kept:?}"), format!("{:?}", Operation { attempt: kept.attempt, ..whole }));
            }
        }
    }

    #[test]
    fn a_new_moment_of_the_same_state_counts_until_its_end() {
        for (status, due) in [(Status::Pending, Some(9)), (Status::Succeeded, Some(7))] {
            let mut history = History::default();
            history.record(full(Kind::Step, status));
            history.record(Operation { due: Some(9), ..full(Kind::Step, status) });
            assert_eq!(history.entries[0].operation.due, due);
        }
    }

    #[test]
    fn a_later_state_keeps_who_it_is_and_nothing_of_its_outcome() {
        let mut history = History::default();
        history.record(full(Kind::Callback, Status::Started));
        history.record(operation(1, Kind::Callback, Status::Succeeded));
        let kept = &history.entries[0].operation;
        assert_eq!(kept.name.as_deref(), Some("name"));
        assert_eq!(kept.callback_id.as_deref(), Some("callback"));
        assert_eq!((&kept.result, &kept.error, kept.due), (&None, &None, None));
    }

    #[test]
    fn the_state_of_a_condition_lasts_for_the_attempt() {
        for (attempt, state) in [(1, Some("result")), (2, None)] {
            let mut history = History::default();
            history.record(full(Kind::Step, Status::Pending));
            history.record(Operation { attempt, ..operation(1, Kind::Step, Status::Ready) });
            assert_eq!(history.entries[0].operation.result.as_deref(), state);
        }
    }

    #[test]
    fn only_the_outermost_of_what_was_missed_is_named() {
        let mut history = History::default();
        history.record(Operation::new(OperationId::parse("execution"), Kind::Execution, Status::Started));
        history.record(operation(1, Kind::Context, Status::Succeeded));
        history.record(operation(2, Kind::Context, Status::Started));
        history.record(operation(3, Kind::Context, Status::Started));
        for parent in 1..=3 {
            history.record(inside(parent, parent));
        }
        history.visit(&OperationId::at(None, 1));
        history.visit(&OperationId::at(None, 2));
        let missed: Vec<OperationId> = history.unvisited().map(|o| o.id).collect();
        assert_eq!(missed, [OperationId::at(None, 3), OperationId::at(None, 200)]);
    }

    #[test]
    fn what_an_orphaned_branch_did_not_come_to_is_not_missed() {
        let mut history = History::default();
        let branch = OperationId::at(None, 100);
        history.record(operation(1, Kind::Context, Status::Succeeded));
        history.record(Operation { kind: Kind::Context, status: Status::Started, ..inside(1, 1) });
        history.record(Operation { parent: Some(branch), ..operation(7, Kind::Step, Status::Succeeded) });
        history.visit(&OperationId::at(None, 1));
        history.visit(&branch);
        assert_eq!(history.unvisited().count(), 0);
    }
}
