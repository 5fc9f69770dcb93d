//! `Execution`: one invocation's history and queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use perdure_core::checkpoint::{Role, Ticket};
use perdure_core::engine::Refusal;
use perdure_core::operation::{Kind, Millis, Operation};
use perdure_core::scope::ScopeId;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use crate::convert;
use crate::errors::Error;
use crate::scope::Scope;
use crate::shared::{Shared, State};
use crate::text::Text;

#[pyclass(frozen, module = "perdure._core")]
pub struct Execution {
    shared: Arc<Shared>,
}

#[pymethods]
impl Execution {
    #[new]
    fn new(token: &Bound<'_, PyString>) -> Self {
        Self { shared: Arc::new(Shared::new(Text::outgoing(token))) }
    }

    fn load(&self, operations: &Bound<'_, PyList>) -> PyResult<()> {
        let operations = read(operations)?;
        let mut state = self.shared.lock();
        let history = state.engine.history_mut();
        history.reserve(operations.len());
        for operation in operations {
            history.record(operation);
        }
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

    #[pyo3(signature = (seconds, /))]
    fn set_deadline(&self, seconds: f64) {
        let wait = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
        self.shared.lock().deadline = Instant::now().checked_add(wait);
    }

    /// 0: the ticket is durable. 1: lead. 2: wait for `waiter` to be released, then ask again.
    #[pyo3(signature = (ticket, waiter, /))]
    fn lead(&self, ticket: u64, waiter: Py<PyAny>) -> Result<u8, Error> {
        let mut state = self.shared.lock();
        let role = state.engine.queue_mut().lead(Ticket(ticket));
        take_role(&mut state, role, Ticket(ticket), waiter)
    }

    /// Like `lead`, for whoever wants news rather than a ticket; never 0.
    #[pyo3(signature = (waiter, /))]
    fn lead_news(&self, waiter: Py<PyAny>) -> Result<u8, Error> {
        let mut state = self.shared.lock();
        let role = state.engine.queue_mut().take_lead();
        take_role(&mut state, role, Ticket(u64::MAX), waiter)
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

    #[pyo3(signature = (token, operations, now, /))]
    fn acknowledge(
        &self,
        token: Option<&Bound<'_, PyString>>,
        operations: &Bound<'_, PyList>,
        now: Millis,
    ) -> Result<Vec<Py<PyAny>>, Error> {
        let operations = read(operations)?;
        let token = token.map(Text::outgoing);
        let mut state = self.shared.lock();
        let revoked = token.is_none();
        let batch = state.engine.queue_mut().acknowledge(token);
        let updates = batch.and_then(Arc::into_inner).unwrap_or_default();
        let ended = updates.last().is_some_and(|update| update.kind == Kind::Execution);
        state.engine.apply(updates, now);
        for operation in operations {
            state.engine.history_mut().record(operation);
        }
        if revoked && !ended {
            state.engine.close(Refusal::Revoked);
            let unsent = state.engine.queue_mut().clear();
            let waiters = state.release_all();
            drop(state);
            drop(unsent);
            return Ok(waiters);
        }
        Ok(state.release())
    }

    fn fail(&self) -> Vec<Py<PyAny>> {
        let mut state = self.shared.lock();
        state.engine.close(Refusal::Broken);
        let unsent = state.engine.queue_mut().clear();
        let waiters = state.release_all();
        drop(state);
        drop(unsent);
        waiters
    }

    /// The oldest ticket that waits to be sent (0: none), and the latest ticket of all.
    fn backlog(&self) -> (u64, u64) {
        let state = self.shared.lock();
        let queue = state.engine.queue();
        (queue.oldest().map_or(0, |ticket| ticket.0), queue.latest().0)
    }

    #[pyo3(signature = (now, payload, error, /))]
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

    /// How the invocation must end whatever the handler did; None leaves it to the handler.
    fn verdict(&self) -> Option<&'static str> {
        let state = self.shared.lock();
        match state.engine.gate() {
            Some(Refusal::Revoked) => Some("revoked"),
            Some(Refusal::Broken) => Some("broken"),
            Some(Refusal::NonDeterministic(_)) => Some("non-deterministic"),
            Some(Refusal::OutOfTime { pending: true }) => Some("suspended"),
            Some(Refusal::OutOfTime { pending: false }) => Some("late"),
            Some(Refusal::Suspended(_) | Refusal::Orphaned(_)) | None => {
                state.engine.suspension(ScopeId::ROOT).map(|_| "suspended")
            }
        }
    }

    /// Raises what stopped the invocation, if something did.
    fn check(&self) -> Result<(), Error> {
        let state = self.shared.lock();
        state.engine.gate().map_or(Ok(()), |refusal| Err(refusal.clone().into()))
    }

    /// The recorded operations that the handler never came to.
    fn unvisited(&self) -> Vec<String> {
        let state = self.shared.lock();
        state.engine.history().unvisited().map(describe).collect()
    }

    /// How many operations are recorded, the execution itself included.
    fn __len__(&self) -> usize {
        self.shared.lock().engine.history().operations().count()
    }
}

fn read(operations: &Bound<'_, PyList>) -> PyResult<Vec<Operation<Text>>> {
    operations.iter().map(|operation| convert::operation(&operation)).collect()
}

fn take_role(state: &mut State, role: Role, ticket: Ticket, waiter: Py<PyAny>) -> Result<u8, Error> {
    if role == Role::Done {
        return Ok(0);
    }
    if let Some(refusal @ (Refusal::Revoked | Refusal::Broken)) = state.engine.gate() {
        return Err(refusal.clone().into());
    }
    if role == Role::Lead {
        return Ok(1);
    }
    state.waiters.push((ticket, waiter));
    Ok(2)
}

fn describe(operation: &Operation<Text>) -> String {
    let kind = operation.sub_type.as_ref().map_or(operation.kind.as_str(), |sub_type| sub_type.as_str());
    let id = operation.id;
    operation.name.as_deref().map_or_else(|| format!("{kind} {id}"), |name| format!("{kind} {name:?}"))
}
