//! The replay index: id → operation, what has been visited, what was left unvisited.

use std::collections::{HashMap, hash_map};

use crate::id::{IdState, OperationId};
use crate::operation::{Kind, Operation};

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

    /// Records what the service says of an operation, over what was known before.
    pub fn record(&mut self, operation: Operation<P>) {
        match self.places.entry(operation.id) {
            hash_map::Entry::Occupied(place) => self.entries[*place.get()].operation = operation,
            hash_map::Entry::Vacant(place) => {
                place.insert(self.entries.len());
                self.entries.push(Entry { operation, visited: false });
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
            .any(|entry| !entry.visited && entry.operation.kind != Kind::Execution && entry.operation.parent == parent)
    }

    /// Every recorded operation, in the order of its first record.
    pub fn operations(&self) -> impl Iterator<Item = &Operation<P>> {
        self.entries.iter().map(|entry| &entry.operation)
    }

    /// The recorded operations that the handler never came to, outermost only.
    ///
    /// What lies inside a finished context, however deep, is not missed: its result was enough.
    pub fn unvisited(&self) -> impl Iterator<Item = &Operation<P>> {
        self.entries.iter().filter(|entry| !entry.visited && self.was_expected(&entry.operation)).map(|e| &e.operation)
    }

    fn was_expected(&self, operation: &Operation<P>) -> bool {
        if operation.kind == Kind::Execution {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::Status;

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
