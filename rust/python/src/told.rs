//! `Told`: what the service has told of an execution's operations, as it was at any moment of the invocation.
//!
//! Answers are kept by reference as they came, each is read once, and what an operation was after so many of them is
//! found by their number.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use perdure_core::id::{IdState, OperationId};
use perdure_core::operation::{Kind, Status};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};
use smallvec::{SmallVec, smallvec};

use crate::info::{Class, Infos, word};

#[pyclass(frozen, module = "perdure._core")]
pub struct Told {
    parts: Py<PyList>,
    /// Gives a part as dicts.
    as_dicts: Py<PyAny>,
    #[pyo3(get)]
    at_first: usize,
    known: Mutex<Known>,
}

/// What was read. While it is locked no Python code runs, and no Python object is made or dropped.
struct Known {
    places: HashMap<OperationId, usize, IdState>,
    /// In the order in which they were first told of.
    operations: Vec<Operation>,
    /// How many operations are known after each part.
    counts: Vec<usize>,
    /// Which operations the parts since the first ones tell of, one part after the other.
    news: Vec<usize>,
    /// Where each of these parts ends among them.
    news_ends: Vec<usize>,
    /// Operations that have ended since, until somebody takes them out, in that order.
    ended: BTreeMap<usize, usize>,
    endings: usize,
    /// How many had ended before, and are new, until somebody takes them out.
    unread: usize,
}

struct Operation {
    id: Py<PyString>,
    /// Mostly one: a batch tells of a step once it is done.
    states: SmallVec<[State; 1]>,
    end: End,
}

struct State {
    part: usize,
    status: Status,
    kind: Kind,
    raw: Py<PyDict>,
}

/// Whether anybody has to be told of its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    None,
    /// With its number among those that have ended.
    News(usize),
    Unread,
}

/// An end of which nobody was told yet.
pub struct Ended<'py> {
    pub kind: Kind,
    pub status: Status,
    pub raw: Bound<'py, PyDict>,
    /// Whether it is the only one that came in this invocation.
    pub is_only: bool,
}

impl Operation {
    fn at(&self, parts: usize) -> Option<&State> {
        self.states.iter().rev().find(|state| state.part < parts)
    }
}

/// An operation of a part.
struct Named<'py> {
    id: OperationId,
    text: Bound<'py, PyString>,
    state: State,
}

fn parse(id: &Bound<'_, PyString>) -> OperationId {
    OperationId::parse(&id.to_string_lossy())
}

/// An operation that there are names for; what is odd about others is for the engine to say.
fn named<'py>(raw: &Bound<'py, PyAny>, part: usize) -> PyResult<Option<Named<'py>>> {
    let py = raw.py();
    let Ok(raw) = raw.cast::<PyDict>() else { return Ok(None) };
    let kind = word(raw, intern!(py, "Type"), Kind::parse)?;
    let status = word(raw, intern!(py, "Status"), Status::parse)?;
    let id = raw.get_item(intern!(py, "Id"))?.and_then(|id| id.cast_into::<PyString>().ok());
    let (Some(kind), Some(status), Some(text)) = (kind, status, id) else { return Ok(None) };
    let id = parse(&text);
    Ok(Some(Named { id, text, state: State { part, status, kind, raw: raw.clone().unbind() } }))
}

impl Known {
    /// Notes what a part tells. One that has ended stays so. Gives what was not taken.
    fn take(&mut self, operations: Vec<Named<'_>>, is_news: bool) -> Vec<State> {
        let mut left = Vec::new();
        for Named { id, text, state } in operations {
            let next = self.operations.len();
            let place = *self.places.entry(id).or_insert(next);
            if is_news {
                self.news.push(place);
            }
            let is_end = is_news && state.status.is_terminal();
            if place == next {
                self.operations.push(Operation { id: text.unbind(), states: smallvec![state], end: End::None });
            } else if self.operations[place].states.last().is_some_and(|last| last.status.is_terminal()) {
                left.push(state);
                continue;
            } else {
                self.operations[place].states.push(state);
            }
            if is_end {
                self.endings += 1;
                self.ended.insert(self.endings, place);
                self.operations[place].end = End::News(self.endings);
            }
        }
        if is_news {
            self.news_ends.push(self.news.len());
        }
        self.counts.push(self.operations.len());
        left
    }

    /// How many news so many parts since the first ones tell.
    fn news_of(&self, parts: usize) -> usize {
        parts.checked_sub(1).map_or(0, |last| self.news_ends.get(last).copied().unwrap_or(self.news.len()))
    }

    fn find(&self, id: &OperationId) -> Option<&Operation> {
        self.places.get(id).map(|place| &self.operations[*place])
    }

    /// Takes out the end of an operation.
    fn take_end(&mut self, id: &OperationId) -> Option<&State> {
        let place = *self.places.get(id)?;
        match self.operations[place].end {
            End::None => return None,
            End::Unread => self.unread -= 1,
            End::News(number) => drop(self.ended.remove(&number)),
        }
        self.operations[place].end = End::None;
        self.operations[place].states.last()
    }
}

impl Told {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The operations of a part.
    fn dicts<'py>(&self, part: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        match part.cast_exact::<PyList>() {
            Ok(part) => Ok(part.clone()),
            Err(_) => Ok(self.as_dicts.bind(part.py()).call1((part,))?.cast_into()?),
        }
    }

    /// Whether anything has ended that nobody was told of.
    pub fn has_ends(&self) -> bool {
        let known = self.lock();
        known.unread > 0 || !known.ended.is_empty()
    }

    /// The end of an operation of which nobody was told yet.
    pub fn end<'py>(&self, py: Python<'py>, id: &OperationId) -> Option<Ended<'py>> {
        let known = self.lock();
        let operation = known.find(id).filter(|operation| operation.end != End::None)?;
        let (state, is_news) = (operation.states.last()?, operation.end != End::Unread);
        let is_only = is_news && known.ended.len() == 1;
        Some(Ended { kind: state.kind, status: state.status, raw: state.raw.bind(py).clone(), is_only })
    }

    /// Takes that out.
    pub fn take_end<'py>(&self, py: Python<'py>, id: &OperationId) -> Option<Bound<'py, PyDict>> {
        self.lock().take_end(id).map(|state| state.raw.bind(py).clone())
    }
}

#[pymethods] // documented in _core.pyi
impl Told {
    #[new]
    fn new(parts: Bound<'_, PyList>, as_dicts: Py<PyAny>) -> Self {
        let known = Known {
            places: HashMap::default(),
            operations: Vec::new(),
            counts: vec![0],
            news: Vec::new(),
            news_ends: Vec::new(),
            ended: BTreeMap::new(),
            endings: 0,
            unread: 0,
        };
        Self { at_first: parts.len(), parts: parts.unbind(), as_dicts, known: Mutex::new(known) }
    }

    fn size(&self, py: Python<'_>) -> usize {
        self.parts.bind(py).len()
    }

    pub fn read(&self, py: Python<'_>) -> PyResult<usize> {
        let parts = self.parts.bind(py);
        loop {
            let part = self.lock().counts.len() - 1;
            if part >= parts.len() {
                return Ok(part);
            }
            let mut operations = Vec::new();
            for raw in self.dicts(&parts.get_item(part)?)? {
                operations.extend(named(&raw, part)?);
            }
            // Another thread may have read it meanwhile.
            let mut known = self.lock();
            let left = if known.counts.len() == part + 1 {
                known.take(operations, part >= self.at_first)
            } else {
                operations.into_iter().map(|named| named.state).collect()
            };
            drop(known);
            drop(left);
        }
    }

    fn execution<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let parts = self.parts.bind(py);
        for part in parts.iter().take(self.at_first) {
            for raw in self.dicts(&part)? {
                if let Some(Named { state: State { kind: Kind::Execution, raw, .. }, .. }) = named(&raw, 0)? {
                    return Ok(Some(raw.into_bound(py)));
                }
            }
        }
        Ok(None)
    }

    fn latest<'py>(&self, py: Python<'py>, key: &Bound<'py, PyString>) -> Option<Bound<'py, PyDict>> {
        self.at(py, key, usize::MAX)
    }

    fn at<'py>(&self, py: Python<'py>, key: &Bound<'py, PyString>, parts: usize) -> Option<Bound<'py, PyDict>> {
        let known = self.lock();
        known.find(&parse(key))?.at(parts).map(|state| state.raw.bind(py).clone())
    }

    fn info<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyString>,
        parts: usize,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let infos = Infos::get(py)?;
        let make = |raw| infos.make(py, Class::Operation, infos.recorded(&raw)?);
        self.at(py, key, parts).map(make).transpose()
    }

    fn count(&self, parts: usize) -> usize {
        let known = self.lock();
        known.counts.get(parts).or(known.counts.last()).copied().unwrap_or_default()
    }

    fn ids<'py>(&self, py: Python<'py>, parts: usize) -> Vec<Bound<'py, PyString>> {
        let count = self.count(parts);
        self.lock().operations.iter().take(count).map(|operation| operation.id.bind(py).clone()).collect()
    }

    fn changed<'py>(&self, py: Python<'py>, since: usize, parts: usize) -> PyResult<Bound<'py, PyDict>> {
        let changed: Vec<_> = {
            let known = self.lock();
            let of = |parts: usize| known.news_of(parts.saturating_sub(self.at_first));
            let places = known.news.get(of(since)..of(parts)).unwrap_or_default();
            let operations = places.iter().map(|place| &known.operations[*place]);
            let status = |operation: &Operation, parts| operation.at(parts).map(|state| state.status);
            operations
                .filter(|operation| status(operation, since) != status(operation, parts))
                .map(|operation| operation.id.bind(py).clone())
                .collect()
        };
        let found = PyDict::new(py);
        changed.into_iter().try_for_each(|id| found.set_item(id, py.None()))?;
        Ok(found)
    }

    fn expect(&self, py: Python<'_>, keys: Vec<Bound<'_, PyString>>) -> PyResult<()> {
        self.read(py)?;
        let mut known = self.lock();
        for key in keys {
            let Some(place) = known.places.get(&parse(&key)).copied() else { continue };
            let operation = &mut known.operations[place];
            let has_ended = operation.states.last().is_some_and(|state| state.status.is_terminal());
            if has_ended && operation.end == End::None {
                operation.end = End::Unread;
                known.unread += 1;
            }
        }
        Ok(())
    }

    fn ended<'py>(&self, py: Python<'py>) -> Vec<(Bound<'py, PyString>, Bound<'py, PyDict>)> {
        let known = self.lock();
        let operations = known.ended.values().map(|place| &known.operations[*place]);
        let pair = |operation: &Operation| {
            let state = operation.states.last()?;
            Some((operation.id.bind(py).clone(), state.raw.bind(py).clone()))
        };
        operations.filter_map(pair).collect()
    }

    #[getter]
    fn has_unread(&self) -> bool {
        self.lock().unread > 0
    }

    fn take<'py>(&self, py: Python<'py>, key: &Bound<'py, PyString>) -> Option<Bound<'py, PyDict>> {
        self.take_end(py, &parse(key))
    }
}
