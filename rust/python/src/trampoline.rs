//! What runs the flow of an operation in a thread that may block: it waits where it stands, calls functions as they are,
//! and has code unwind that is to wait for the world.
//!
//! Python code may be interrupted between any two of its bytecodes. In here nothing is: whatever a request comes to,
//! an interrupt that strikes meanwhile included, the flow hears of it where it stands.

use std::cell::Cell;

use perdure_core::checkpoint::{Due, Ticket};
use perdure_core::limits::MAX_DEPTH;
use pyo3::exceptions::{PyRecursionError, PyRuntimeError, PyStopIteration};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::iterator::PySendResult;
use pyo3::types::{PyInt, PyIterator, PyTuple};

use crate::errors::Error;
use crate::followed::Followed;
use crate::line::{Caller, Stood};
use crate::operation::{Need, Operation};
use crate::shared::Shared;
use crate::teller::Function;

const TOO_DEEP: &str = "maximum recursion depth exceeded: operations are at work inside of one another without end";

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// That this thread drives one flow more.
pub struct Level;

impl Level {
    pub fn enter() -> PyResult<Self> {
        let depth = DEPTH.get();
        if depth >= MAX_DEPTH {
            return Err(PyRecursionError::new_err(TOO_DEEP));
        }
        DEPTH.set(depth + 1);
        Ok(Self)
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// A driver that blocks.
pub struct Trampoline<'a, 'py> {
    pub shared: &'a Shared,
    /// Sends what is queued: as for [`Caller`], and `watch`.
    pub driver: &'a Bound<'py, PyAny>,
}

impl<'py> Trampoline<'_, 'py> {
    /// Runs a flow to its end; gives what it returns.
    pub fn run(&self, flow: &Bound<'py, PyIterator>) -> PyResult<Bound<'py, PyAny>> {
        let _level = Level::enter()?;
        match flow.cast_exact::<Followed>() {
            Ok(followed) => followed.get().ended(flow.py(), self.go(followed.get().flow.bind(flow.py()))),
            Err(_) => self.go(flow),
        }
    }

    fn go(&self, flow: &Bound<'py, PyIterator>) -> PyResult<Bound<'py, PyAny>> {
        let py = self.driver.py();
        let mut answer = Ok(py.None().into_bound(py));
        loop {
            let next = match answer {
                Ok(value) => flow.send(&value)?,
                Err(error) => throw(flow, error)?,
            };
            let request = match next {
                PySendResult::Next(request) => request,
                PySendResult::Return(value) => return Ok(value),
            };
            answer = match request.cast_into_exact::<Operation>() {
                Err(other) => self.answer(&other.into_inner()),
                Ok(operation) => match self.able(operation) {
                    Ok(Ok(operation)) => Ok(operation.into_any()),
                    Ok(Err(suspended)) => {
                        // Its code is to unwind, and comes to it anew: nothing is left to the flow but to clean up.
                        flow.call_method0(intern!(py, "close"))?;
                        return Err(suspended.into());
                    }
                    Err(error) => Err(error.into()),
                },
            };
        }
    }

    /// An operation when it can go on, or what its code is to unwind by.
    fn able(&self, mut operation: Bound<'py, Operation>) -> Result<Result<Bound<'py, Operation>, Error>, Error> {
        let py = operation.py();
        loop {
            let next = match operation.get().needs() {
                Need::Nothing => return Ok(Ok(operation)),
                Need::Durable(ticket) => {
                    self.wait(ticket)?;
                    operation.get().again(py)?
                }
                Need::News => {
                    if let Some(ticket) = operation.get().due_before_suspending() {
                        self.wait(ticket)?;
                    } else if let Err(suspended) = operation.get().suspend() {
                        return Ok(Err(suspended));
                    }
                    operation.get().resume(py)?
                }
            };
            operation = Bound::new(py, next)?;
        }
    }

    fn wait(&self, ticket: Ticket) -> Result<(), Error> {
        let caller = Caller { shared: self.shared, driver: self.driver };
        while caller.stand(Some(ticket))? != Stood::Done {}
        Ok(())
    }

    /// Sees to it that what is queued leaves, if that is due.
    fn let_nothing_lie(&self) -> PyResult<()> {
        let due = self.shared.lock().engine.queue().due();
        match due {
            Due::Nothing => {}
            Due::Watch => drop(self.driver.call_method0(intern!(self.driver.py(), "watch"))?),
            Due::Send(ticket) => self.wait(ticket)?,
        }
        Ok(())
    }

    fn answer(&self, request: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = request.py();
        if let Ok(request) = request.cast_exact::<PyTuple>() {
            // What is queued now is to leave, though the function may take long.
            self.let_nothing_lie()?;
            let (function, given) = (request.get_item(0)?, request.get_item(1)?);
            let given = given.cast::<PyTuple>()?;
            return match function.cast_exact::<Function>() {
                Ok(function) => function.get().call(given),
                Err(_) => function.call1(given),
            };
        }
        match request.cast_exact::<PyInt>()?.extract()? {
            // Nobody waits for what is queued, and nobody knows what the code does next.
            0 => self.let_nothing_lie()?,
            ticket => self.wait(Ticket(ticket))?,
        }
        Ok(py.None().into_bound(py))
    }
}

/// Raises an error in a flow, where it stands.
#[cold]
pub fn throw<'py>(flow: &Bound<'py, PyAny>, error: PyErr) -> PyResult<PySendResult<'py>> {
    let py = flow.py();
    let error = error.into_value(py).into_bound(py);
    match flow.call_method1(intern!(py, "throw"), (&error,)) {
        Ok(request) => Ok(PySendResult::Next(request)),
        Err(returned) if returned.is_instance_of::<PyStopIteration>(py) => {
            Ok(PySendResult::Return(returned.value(py).getattr(intern!(py, "value"))?))
        }
        // The user's own StopIteration, in place of which generators raise a RuntimeError.
        Err(instead) if instead.is_instance_of::<PyRuntimeError>(py) && error.is_instance_of::<PyStopIteration>() => {
            let is_it = instead.cause(py).is_some_and(|cause| cause.value(py).is(&error));
            Err(if is_it { PyErr::from_value(error.into_any()) } else { instead })
        }
        Err(raised) => Err(raised),
    }
}
