//! `Execution`: one invocation's history and queue.

use std::mem;
use std::sync::{Arc, Weak};
use std::time::Instant;

use perdure_core::checkpoint::{Checkpointing, Due, Ticket, Watch};
use perdure_core::operation::{Millis, Operation};
use perdure_core::outcome::{self, Handler};
use perdure_core::scope::ScopeId;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyList, PyString};

use crate::custody;
use crate::errors::Error;
use crate::line::{Caller, Stood, read, read_parts};
use crate::object::{Object, wake};
use crate::scope::Scope;
use crate::shared::{Shared, duration};
use crate::text::Text;
use crate::trampoline::Trampoline;

#[pyclass(frozen, module = "perdure._core")]
pub struct Execution {
    shared: Arc<Shared>,
}

impl Execution {
    /// What is due before something that may take long.
    pub fn due(&self) -> Due {
        self.shared.lock().engine.queue().due()
    }

    fn record(&self, operations: Vec<Operation<Text>>) {
        let mut state = self.shared.lock();
        let history = state.engine.history_mut();
        history.reserve(operations.len());
        let left: Vec<_> = operations.into_iter().filter_map(|operation| history.record(operation)).collect();
        drop(state);
        drop(left);
    }
}

#[pymethods] // documented in _core.pyi
impl Execution {
    #[new]
    fn new(token: &Bound<'_, PyString>) -> Self {
        Self { shared: Shared::of(Text::outgoing(token)) }
    }

    #[pyo3(signature = (operations, source = "the event"))]
    fn load(&self, operations: &Bound<'_, PyList>, source: &str) -> PyResult<()> {
        self.record(read(operations, source)?);
        Ok(())
    }

    fn load_pages(&self, pages: &Bound<'_, PyList>) -> PyResult<()> {
        self.record(read_parts(pages, "the further pages")?);
        Ok(())
    }

    fn input<'py>(&self, py: Python<'py>) -> PyResult<(bool, Option<Bound<'py, PyAny>>)> {
        let (found, input) = {
            let state = self.shared.lock();
            let execution = state.engine.history().execution();
            let input = execution.and_then(|operation| operation.result.as_ref());
            (execution.is_some(), input.map(|input| input.share(py)))
        };
        Ok((found, input.map(|input| input.object(py)).transpose()?))
    }

    fn root(&self) -> Scope {
        Scope::new(Arc::clone(&self.shared), ScopeId::ROOT)
    }

    fn here(&self, py: Python<'_>) -> PyResult<Scope> {
        let caller = custody::caller(py, &self.shared)?;
        let scope = self.shared.lock().engine.whereabouts(caller).map_err(Error::from)?;
        Ok(Scope::new(Arc::clone(&self.shared), scope))
    }

    fn share_thread(&self, cut: Bound<'_, PyAny>) {
        let cut = Object::new(cut);
        let mut state = self.shared.lock();
        state.engine.share_thread(custody::thread_number());
        state.cut = Some(cut);
    }

    fn is_durable(&self, ticket: u64) -> bool {
        self.shared.lock().engine.queue().is_durable(Ticket(ticket))
    }

    fn observe(&self, observer: Bound<'_, PyAny>) {
        let observer = Object::new(observer);
        self.shared.lock().observer = Some(observer);
    }

    fn set_deadline(&self, seconds: f64) {
        let mut state = self.shared.lock();
        let deadline = state.clock.now().saturating_add(duration(seconds));
        state.engine.set_deadline(deadline);
    }

    fn set_end(&self, seconds: f64) {
        self.shared.lock().end = Instant::now().checked_add(duration(seconds));
    }

    fn wait(&self, ticket: u64, driver: &Bound<'_, PyAny>) -> Result<(), Error> {
        let caller = Caller { shared: &self.shared, driver };
        while caller.stand(Some(Ticket(ticket)))? != Stood::Done {}
        Ok(())
    }

    fn run<'py>(&self, flow: &Bound<'py, PyIterator>, driver: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        Trampoline { shared: &self.shared, driver }.run(flow)
    }

    fn hear(&self, since: f64, driver: &Bound<'_, PyAny>) -> Result<(), Error> {
        let caller = Caller { shared: &self.shared, driver };
        while !self.shared.lock().engine.has_heard_since(since) && caller.stand(None)? != Stood::Led {}
        Ok(())
    }

    fn enter(&self) {
        self.shared.lock().engine.queue_mut().enter();
    }

    fn leave(&self) {
        let woken = self.shared.lock().engine.queue_mut().leave();
        wake(woken);
    }

    fn watch(&self) -> bool {
        self.shared.lock().engine.queue_mut().watch()
    }

    fn unwatch(&self) {
        self.shared.lock().engine.queue_mut().unwatch();
    }

    fn look(&self, driver: &Bound<'_, PyAny>) -> Result<bool, Error> {
        let look = self.shared.lock().engine.queue_mut().look();
        if let Watch::Send(Ticket(ticket)) = look {
            let _hand = Hand::new(self);
            self.wait(ticket, driver)?;
        }
        Ok(look != Watch::End)
    }

    fn close(&self, watcher: Bound<'_, PyAny>) -> PyResult<()> {
        let py = watcher.py();
        let watcher = Object::new(watcher);
        let (bells, _observer, _cut) = {
            let mut state = self.shared.lock();
            state.engine.close();
            (mem::take(&mut state.bells), state.observer.take(), state.cut.take())
        };
        wake([watcher]);
        bells.iter().filter_map(Weak::upgrade).try_for_each(|bells| bells.ring(py, true))
    }

    fn set_checkpointing(&self, name: &str) -> PyResult<()> {
        let checkpointing = Checkpointing::parse(name)
            .ok_or_else(|| PyValueError::new_err(format!("no way to send checkpoints: {name}")))?;
        self.shared.lock().engine.queue_mut().set_checkpointing(checkpointing);
        Ok(())
    }

    #[getter]
    fn is_optimistic(&self) -> bool {
        self.shared.lock().engine.queue().checkpointing() == Checkpointing::Optimistic
    }

    fn before_function(&self) -> u64 {
        match self.due() {
            Due::Send(Ticket(ticket)) => ticket,
            Due::Nothing | Due::Watch => 0,
        }
    }

    fn outstanding(&self) -> u64 {
        self.shared.lock().engine.queue().outstanding().unwrap_or_default().0
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

    #[getter]
    fn is_stopped(&self) -> bool {
        self.shared.lock().engine.stopped_by(0).is_some()
    }

    #[getter]
    fn is_late(&self) -> bool {
        self.shared.lock().engine.is_late()
    }

    fn ending(&self, handler: &str, now: Millis) -> PyResult<(&'static str, bool)> {
        let handler =
            Handler::parse(handler).ok_or_else(|| PyValueError::new_err(format!("no end of a handler: {handler}")))?;
        let state = self.shared.lock();
        let ending = outcome::ending(state.engine.stopped_by(now), handler);
        Ok((ending.as_str(), state.engine.flushes(ending)))
    }

    fn check(&self) -> Result<(), Error> {
        let state = self.shared.lock();
        state.engine.gate().map_or(Ok(()), |refusal| Err(refusal.clone().into()))
    }

    fn excuse(&self, mark: &Bound<'_, PyAny>) {
        self.shared.excuse_by(mark);
    }

    fn leave_at_work(&self, mark: &Bound<'_, PyAny>) {
        if let Some(inner) = custody::context_of(mark, &self.shared) {
            self.shared.lock().engine.leave_at_work(inner);
        }
    }

    fn conclude(&self) -> Result<Vec<String>, Error> {
        Ok(self.shared.lock().engine.conclude()?)
    }
}

/// One more at work, as long as it lives.
struct Hand<'a>(&'a Execution);

impl<'a> Hand<'a> {
    fn new(execution: &'a Execution) -> Self {
        execution.enter();
        Self(execution)
    }
}

impl Drop for Hand<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}
