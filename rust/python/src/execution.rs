//! `Execution`: one invocation's history and queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use perdure_core::checkpoint::Ticket;
use perdure_core::operation::{Kind, Millis, Operation};
use perdure_core::refusal::Refusal;
use perdure_core::scope::ScopeId;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use crate::convert;
use crate::custody;
use crate::errors::{self, Error};
use crate::object::{Object, Wakeful};
use crate::scope::Scope;
use crate::shared::Shared;
use crate::text::Text;

#[pyclass(frozen, module = "perdure._core")]
pub struct Execution {
    shared: Arc<Shared>,
}

#[pymethods] // documented in _core.pyi
impl Execution {
    #[new]
    fn new(token: &Bound<'_, PyString>) -> Self {
        Self { shared: Shared::of(Text::outgoing(token)) }
    }

    #[pyo3(signature = (operations, source = "the event"))]
    fn load(&self, operations: &Bound<'_, PyList>, source: &str) -> PyResult<()> {
        let operations = read(operations, source)?;
        let mut state = self.shared.lock();
        let history = state.engine.history_mut();
        history.reserve(operations.len());
        let left: Vec<_> = operations.into_iter().filter_map(|operation| history.record(operation)).collect();
        drop(state);
        drop(left);
        Ok(())
    }

    fn input<'py>(&self, py: Python<'py>) -> (bool, Option<Bound<'py, PyAny>>) {
        let state = self.shared.lock();
        let mut operations = state.engine.history().operations();
        let execution = operations.find(|operation| operation.kind == Kind::Execution);
        let input = execution.and_then(|operation| operation.result.as_ref());
        (execution.is_some(), input.map(|input| input.get(py)))
    }

    fn root(&self) -> Scope {
        Scope::new(Arc::clone(&self.shared), ScopeId::ROOT)
    }

    fn here(&self, py: Python<'_>) -> PyResult<Scope> {
        let caller = custody::caller(py, &self.shared)?;
        let scope = self.shared.lock().engine.whereabouts(caller);
        Ok(Scope::new(Arc::clone(&self.shared), scope))
    }

    fn set_deadline(&self, seconds: f64) {
        let wait = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
        self.shared.lock().deadline = Instant::now().checked_add(wait);
    }

    fn lead(&self, ticket: Option<u64>, waiter: Bound<'_, PyAny>) -> Result<u8, Error> {
        let waiter = Object::new(waiter);
        let (role, woken) = self.shared.lock().engine.lead(ticket.map(Ticket), waiter)?;
        wake(woken);
        Ok(role as u8)
    }

    fn enter(&self) {
        self.shared.lock().engine.queue_mut().enter();
    }

    fn leave(&self) {
        let woken = self.shared.lock().engine.queue_mut().leave();
        wake(woken);
    }

    fn take_batch<'py>(&self, py: Python<'py>) -> PyResult<(Option<Bound<'py, PyAny>>, Bound<'py, PyList>)> {
        let (token, batch) = {
            let mut state = self.shared.lock();
            let batch = state.engine.queue_mut().take_batch();
            (state.engine.queue().token().map(|token| token.get(py)), batch)
        };
        let updates = PyList::empty(py);
        for update in batch.iter() {
            updates.append(convert::update(py, update)?)?;
        }
        Ok((token, updates))
    }

    fn acknowledge<'py>(
        &self,
        py: Python<'py>,
        token: Option<&Bound<'_, PyString>>,
        operations: &Bound<'_, PyList>,
        now: Millis,
    ) -> Result<Vec<Bound<'py, PyAny>>, Error> {
        let operations = read(operations, "the answer to a checkpoint")?;
        let token = token.map(Text::outgoing);
        let woken = self.shared.lock().engine.acknowledge(token, operations, now);
        Ok(woken.iter().map(|waiter| waiter.get(py)).collect())
    }

    fn fail<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyAny>> {
        let woken = self.shared.lock().engine.stop(Refusal::Broken);
        woken.iter().map(|waiter| waiter.get(py)).collect()
    }

    fn backlog(&self) -> (u64, u64) {
        let state = self.shared.lock();
        let queue = state.engine.queue();
        (queue.oldest().map_or(0, |ticket| ticket.0), queue.latest().0)
    }

    fn write_outcome(
        &self,
        now: Millis,
        payload: Option<&Bound<'_, PyString>>,
        error: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<u64> {
        let error = error.map(Text::error).transpose()?;
        let payload = payload.map(Text::outgoing);
        Ok(self.shared.lock().engine.write_outcome(now, payload, error).0)
    }

    fn verdict(&self) -> Option<&'static str> {
        self.shared.lock().engine.verdict()
    }

    fn check(&self) -> Result<(), Error> {
        let state = self.shared.lock();
        state.engine.gate().map_or(Ok(()), |refusal| Err(refusal.clone().into()))
    }

    fn unvisited(&self) -> Vec<String> {
        let state = self.shared.lock();
        state.engine.history().unvisited().map(Operation::in_words).collect()
    }
}

fn wake(waiters: impl IntoIterator<Item = Object>) {
    drop(Wakeful(waiters.into_iter().collect()));
}

fn read(operations: &Bound<'_, PyList>, source: &str) -> PyResult<Vec<Operation<Text>>> {
    let mut read = Vec::with_capacity(operations.len());
    for (index, raw) in operations.iter().enumerate() {
        match convert::operation(&raw) {
            Ok(operation) => read.push(operation),
            Err(problem) => return Err(errors::unreadable(&raw, index, source, problem)),
        }
    }
    Ok(read)
}
