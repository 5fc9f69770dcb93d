//! `Drive`: what runs the flow of an operation where it is awaited, as the trampoline does where a thread may block. It is
//! native for what it costs: each branch that waits holds some, for as long as it does.
//!
//! It has one thing in hand at a time: what the flow has asked for last ([`Hand`]). When that has come ([`Leg::after`]) or
//! has failed ([`Leg::hurt`]) the flow goes on, and asks for the next ([`Leg::ask`]). While it is to come, the drive rests:
//! it has given whoever awaits it the future that it comes by, as `yield from` passes on what is yielded further in.
//! Functions of the user's, and a cancellation, are left to the class in Python that is derived from it
//! (`perdure.aio.job.Drive`); what is to become durable, and what is parked, to who leads (`perdure.aio.conductor`).

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use perdure_core::checkpoint::{Due, Ticket};
use pyo3::exceptions::{PyException, PyGeneratorExit, PyRuntimeError, PyStopIteration, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::iterator::PySendResult;
use pyo3::types::{PyInt, PyIterator, PyTuple};

use crate::execution::Execution;
use crate::operation::{Need, Operation};
use crate::trampoline::{Level, throw};

type Came<'py> = PyResult<Bound<'py, PyAny>>;

/// What is to come before the flow goes on.
enum Hand {
    Nothing,
    /// An update is to be durable.
    Ticket,
    /// The START of this operation is.
    Start(Py<Operation>),
    /// Who leads has parked an operation: this is done when there may be news of it.
    Parked(Py<PyAny>),
    /// Something is to be durable before this function is called.
    Before(Py<PyTuple>),
    /// A function of the user's, or of a batch's.
    Function(Py<PyTuple>),
    /// The function of a context, which has this scope.
    Context(Py<PyAny>),
    /// What was called in a context and nobody has awaited; its function has returned.
    Unawaited(Box<Returned>),
    /// Nothing any more: the invocation has ended.
    Stopped,
}

struct Returned {
    scope: Py<PyAny>,
    result: Py<PyAny>,
}

/// How far a flow has come.
struct State {
    flow: Py<PyIterator>,
    hand: Hand,
    /// By what that comes: an iterator, a coroutine, or a future of who leads. None before it has begun.
    awaited: Option<Py<PyAny>>,
    /// What it was cancelled by.
    cancelled: Option<Py<PyAny>>,
    /// For how many seconds it is parked next, if the service's clock is behind.
    pause: f64,
}

enum Place {
    Resting(State),
    Running,
    Over,
}

#[pyclass(frozen, subclass, module = "perdure._core")]
pub struct Drive {
    #[pyo3(get)]
    conductor: Py<PyAny>,
    place: Mutex<Place>,
}

impl Drive {
    fn lock(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts it elsewhere; gives where it was.
    fn put(&self, place: Place) -> Place {
        mem::replace(&mut *self.lock(), place)
    }

    /// Takes the flow along.
    fn take(&self) -> PyResult<Option<State>> {
        match self.put(Place::Running) {
            Place::Resting(state) => Ok(Some(state)),
            Place::Running => Err(PyValueError::new_err("the drive of an operation is already executing")),
            Place::Over => {
                self.put(Place::Over);
                Ok(None)
            }
        }
    }

    fn run<'py>(slf: &Bound<'py, Self>, came: Came<'py>) -> Came<'py> {
        let (py, this) = (slf.py(), slf.get());
        let _level = Level::enter()?;
        let Some(state) = this.take()? else { return came.and_then(|_| Err(stopped(py.None().into_bound(py)))) };
        let mut leg = Leg { drive: slf, state };
        let rest = leg.go(came);
        let Leg { state, .. } = leg;
        match rest {
            Ok(PySendResult::Next(future)) => {
                this.put(Place::Resting(state));
                Ok(future)
            }
            Ok(PySendResult::Return(value)) => {
                this.put(Place::Over);
                Err(stopped(value))
            }
            Err(error) => {
                this.put(Place::Over);
                Err(error)
            }
        }
    }
}

fn stopped(value: Bound<'_, PyAny>) -> PyErr {
    let py = value.py();
    py.get_type::<PyStopIteration>().call1((value,)).map_or_else(|error| error, PyErr::from_value)
}

/// What is to be done next.
enum Step<'py> {
    Await(Bound<'py, PyAny>),
    /// The same, of a future.
    Rest(Bound<'py, PyAny>),
    /// The flow goes on.
    Go(Came<'py>),
    End(Came<'py>),
}

/// A drive at work, from one rest to the next.
struct Leg<'a, 'py> {
    drive: &'a Bound<'py, Drive>,
    state: State,
}

impl<'py> Leg<'_, 'py> {
    fn py(&self) -> Python<'py> {
        self.drive.py()
    }

    fn conductor(&self) -> &Bound<'py, PyAny> {
        self.drive.get().conductor.bind(self.py())
    }

    fn none(&self) -> Bound<'py, PyAny> {
        self.py().None().into_bound(self.py())
    }

    /// Goes on with what is sent or raised where it rests.
    fn go(&mut self, came: Came<'py>) -> PyResult<PySendResult<'py>> {
        let mut step = match (self.state.awaited.take(), came) {
            (None, Ok(value)) => self.after(value),
            (None, Err(error)) if error.is_instance_of::<PyGeneratorExit>(self.py()) => {
                self.close_flow()?; // which has not begun
                return Err(error);
            }
            (None, Err(error)) => Err(error),
            (Some(awaited), came) => {
                let awaited = awaited.into_bound(self.py());
                let still = came.as_ref().err().map(|error| self.still(&awaited, error)).transpose()?.flatten();
                if let Some(still) = still {
                    Ok(Step::Await(still))
                } else {
                    let came = match came {
                        Ok(value) => sent(&awaited, &value),
                        Err(error) => passed_on(&awaited, error),
                    };
                    match self.rest(awaited, came) {
                        Ok(future) => return Ok(PySendResult::Next(future)),
                        Err(step) => step,
                    }
                }
            }
        };
        loop {
            step = match step.or_else(|error| self.hurt(error))? {
                Step::Rest(future) => {
                    // As a future does that is awaited, but that nothing goes around it.
                    future.setattr(intern!(self.py(), "_asyncio_future_blocking"), true)?;
                    self.state.awaited = Some(future.clone().unbind());
                    return Ok(PySendResult::Next(future));
                }
                Step::Await(awaited) => {
                    let came = sent(&awaited, &self.none());
                    match self.rest(awaited, came) {
                        Ok(future) => return Ok(PySendResult::Next(future)),
                        Err(step) => step,
                    }
                }
                Step::Go(given) => {
                    let flow = self.state.flow.bind(self.py());
                    match given.map_or_else(|error| throw(flow, error), |value| flow.send(&value)) {
                        Ok(PySendResult::Next(request)) => self.ask(request),
                        Ok(PySendResult::Return(value)) => Ok(self.returned(value)),
                        Err(error) => self.raised(error),
                    }
                }
                Step::End(end) => return end.map(PySendResult::Return),
            };
        }
    }

    /// Rests, if what is awaited does; else tells what to do next.
    fn rest(
        &mut self,
        awaited: Bound<'py, PyAny>,
        came: PyResult<PySendResult<'py>>,
    ) -> Result<Bound<'py, PyAny>, PyResult<Step<'py>>> {
        match came {
            Ok(PySendResult::Next(future)) => {
                self.state.awaited = Some(awaited.unbind());
                Ok(future)
            }
            Ok(PySendResult::Return(value)) => Err(self.after(value)),
            Err(error) => Err(Err(error)),
        }
    }

    /// What was in hand has come.
    fn after(&mut self, value: Bound<'py, PyAny>) -> PyResult<Step<'py>> {
        let py = self.py();
        if self.is_due() && !value.is_none() {
            return Err(PyErr::from_value(value)); // it has not become durable
        }
        match mem::replace(&mut self.state.hand, Hand::Nothing) {
            Hand::Nothing | Hand::Ticket => Ok(Step::Go(Ok(self.none()))),
            Hand::Start(operation) => self.able(Bound::new(py, operation.get().again(py)?)?),
            Hand::Parked(parked) => {
                let operation = self.unpark(parked.bind(py))?;
                self.able(Bound::new(py, operation.get().resume(py)?)?)
            }
            Hand::Before(request) => self.call(request.into_bound(py)),
            Hand::Function(_) => Ok(Step::Go(Ok(value))),
            Hand::Context(scope) => self.carry_out(scope, value),
            Hand::Unawaited(returned) => Ok(Step::Go(Ok(returned.result.into_bound(py)))),
            Hand::Stopped => Ok(Step::End(Ok(value))),
        }
    }

    /// What is awaited, in the place of what an error is raised in, if that is on its way all the same.
    fn still(&self, awaited: &Bound<'py, PyAny>, error: &PyErr) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = self.py();
        if !self.is_due() || awaited.cast::<PyIterator>().is_ok() || !is_cancelled(py, error)? {
            return Ok(None);
        }
        self.conductor().call_method1(intern!(py, "still"), (awaited, error.value(py))).map(Some)
    }

    /// Whether an update is to become durable.
    fn is_due(&self) -> bool {
        matches!(self.state.hand, Hand::Ticket | Hand::Start(_) | Hand::Before(_))
    }

    // ---- requests

    fn ask(&mut self, request: Bound<'py, PyAny>) -> PyResult<Step<'py>> {
        let request = match request.cast_into_exact::<Operation>() {
            Ok(operation) => return self.able(operation),
            Err(other) => other.into_inner(),
        };
        match request.cast_into_exact::<PyTuple>() {
            Ok(request) => match self.let_nothing_lie()? {
                Some(ticket) => self.durable(ticket, Hand::Before(request.unbind())),
                None => self.call(request),
            },
            Err(other) => match other.into_inner().cast_exact::<PyInt>()?.extract()? {
                0 => match self.let_nothing_lie()? {
                    Some(ticket) => self.durable(ticket, Hand::Ticket),
                    None => Ok(Step::Go(Ok(self.none()))),
                },
                ticket => self.durable(Ticket(ticket), Hand::Ticket),
            },
        }
    }

    /// Sees to it that what is queued leaves, if that is due; gives what is to be durable before anything else.
    fn let_nothing_lie(&self) -> PyResult<Option<Ticket>> {
        let (py, conductor) = (self.py(), self.conductor());
        let core = conductor.getattr(intern!(py, "core"))?;
        Ok(match core.cast::<Execution>()?.get().due() {
            Due::Nothing => None,
            Due::Send(ticket) => Some(ticket),
            Due::Watch => {
                conductor.getattr(intern!(py, "checkpoints"))?.call_method0(intern!(py, "watch"))?;
                None
            }
        })
    }

    fn durable(&mut self, Ticket(ticket): Ticket, hand: Hand) -> PyResult<Step<'py>> {
        self.state.hand = hand;
        let found = self.conductor().call_method1(intern!(self.py(), "durable"), (ticket,))?;
        match found.cast_into::<PyIterator>() {
            Ok(steps) => Ok(Step::Await(steps.into_any())),
            Err(other) => match other.into_inner() {
                none if none.is_none() => self.after(none),
                due => Ok(Step::Rest(due)),
            },
        }
    }

    fn able(&mut self, operation: Bound<'py, Operation>) -> PyResult<Step<'py>> {
        let py = self.py();
        match operation.get().needs() {
            Need::Nothing => Ok(Step::Go(Ok(operation.into_any()))),
            Need::Durable(ticket) => self.durable(ticket, Hand::Start(operation.unbind())),
            Need::News => {
                if let Some(cancelled) = &self.state.cancelled {
                    let cancelled = cancelled.bind(py).clone();
                    self.state.hand = Hand::Start(operation.unbind());
                    return Err(PyErr::from_value(cancelled)); // nobody awaits it any more
                }
                let scope = self.drive.getattr(intern!(py, "scope"))?;
                let parked =
                    self.conductor().call_method1(intern!(py, "park"), (operation, self.state.pause, scope))?;
                self.state.hand = Hand::Parked(parked.clone().unbind());
                Ok(Step::Rest(parked))
            }
        }
    }

    fn unpark(&mut self, parked: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Operation>> {
        let py = self.py();
        self.conductor().call_method1(intern!(py, "unpark"), (parked,))?;
        self.state.pause = parked.getattr(intern!(py, "pause"))?.extract()?;
        Ok(parked.getattr(intern!(py, "operation"))?.cast_into()?)
    }

    fn call(&mut self, request: Bound<'py, PyTuple>) -> PyResult<Step<'py>> {
        let py = self.py();
        let (function, args) = (request.get_item(0)?, request.get_item(1)?.cast_into::<PyTuple>()?);
        if self.conductor().getattr(intern!(py, "is_over"))?.is_truthy()? {
            return self.stop(None); // in this turn of the loop: nothing begins any more
        }
        let last = args.len().checked_sub(1).map(|last| args.get_item(last)).transpose()?;
        let scope = last.map(|last| last.getattr_opt(intern!(py, "scope"))).transpose()?.flatten();
        let Some(scope) = scope else {
            self.state.hand = Hand::Function(request.unbind());
            return Ok(Step::Await(self.drive.call_method1(intern!(py, "call"), (function, args))?));
        };
        self.state.hand = Hand::Context(scope.unbind());
        let found = function.call1(args)?;
        if is_coroutine(&found)? {
            return Ok(Step::Await(found));
        }
        if found.is_none() || !found.get_type().hasattr(intern!(py, "__await__"))? {
            return self.after(found);
        }
        Ok(Step::Await(found.call_method0(intern!(py, "__await__"))?.cast_into::<PyIterator>()?.into_any()))
    }

    /// The function of a context has returned: the context ends after what was called in it.
    fn carry_out(&mut self, scope: Py<PyAny>, result: Bound<'py, PyAny>) -> PyResult<Step<'py>> {
        let unawaited = self.conductor().call_method1(intern!(self.py(), "carry_out"), (&scope,))?;
        if unawaited.is_none() {
            return Ok(Step::Go(Ok(result)));
        }
        self.state.hand = Hand::Unawaited(Box::new(Returned { scope, result: result.unbind() }));
        Ok(Step::Await(unawaited))
    }

    // ---- ends

    /// Ends the invocation: by this error, or as it has been ended.
    fn stop(&mut self, error: Option<PyErr>) -> PyResult<Step<'py>> {
        let py = self.py();
        let error = error.map_or_else(|| py.None(), |error| error.into_value(py).into_any());
        self.state.hand = Hand::Stopped;
        Ok(Step::Await(self.conductor().call_method1(intern!(py, "stop"), (error,))?))
    }

    /// What was in hand has failed.
    fn hurt(&mut self, error: PyErr) -> PyResult<Step<'py>> {
        let py = self.py();
        let hand = mem::replace(&mut self.state.hand, Hand::Nothing);
        if let Hand::Parked(parked) = &hand {
            self.unpark(parked.bind(py))?;
        }
        if error.is_instance_of::<PyGeneratorExit>(py) {
            self.close_flow()?;
            return Ok(self.end(error));
        }
        if matches!(hand, Hand::Stopped) {
            return Ok(Step::End(Err(error)));
        }
        let error = if matches!(hand, Hand::Function(_)) { unwrapped(py, error)? } else { error };
        if is_control(py, &error)? {
            return self.stop(Some(error));
        }
        if is_cancelled(py, &error)? { self.cut(hand, error) } else { Ok(Step::Go(Err(error))) }
    }

    /// Whoever awaits it is cancelled.
    fn cut(&mut self, hand: Hand, error: PyErr) -> PyResult<Step<'py>> {
        let py = self.py();
        let cancelled = error.into_value(py).into_bound(py).into_any();
        self.state.cancelled = Some(cancelled.clone().unbind());
        let at = match hand {
            Hand::Ticket => return Ok(Step::Go(Ok(self.none()))), // durable all the same
            Hand::Start(operation) => operation.into_any(),
            Hand::Parked(parked) => parked.bind(py).getattr(intern!(py, "operation"))?.unbind(),
            Hand::Before(request) | Hand::Function(request) => request.into_any(),
            Hand::Context(scope) => scope,
            Hand::Unawaited(returned) => returned.scope,
            Hand::Nothing | Hand::Stopped => py.None(),
        };
        let instead = self.drive.call_method1(intern!(py, "cut"), (at, &cancelled))?;
        if !instead.is_none() {
            return Ok(Step::Go(Err(PyErr::from_value(instead))));
        }
        self.close_flow()?;
        Ok(self.end(PyErr::from_value(cancelled)))
    }

    fn close_flow(&self) -> PyResult<()> {
        self.state.flow.bind(self.py()).call_method0(intern!(self.py(), "close")).map(drop)
    }

    fn returned(&self, value: Bound<'py, PyAny>) -> Step<'py> {
        match &self.state.cancelled {
            Some(cancelled) => self.end(PyErr::from_value(cancelled.bind(self.py()).clone())),
            None => Step::End(self.tell(Some(&value), None).map(|_| value)),
        }
    }

    fn raised(&mut self, error: PyErr) -> PyResult<Step<'py>> {
        let py = self.py();
        if is_control(py, &error)? {
            return self.stop(Some(error));
        }
        Ok(match &self.state.cancelled {
            Some(cancelled) if error.is_instance_of::<PyException>(py) => {
                self.end(PyErr::from_value(cancelled.bind(py).clone()))
            }
            _ => self.end(error),
        })
    }

    /// It fails; unless whoever is told of that wants it raised by nobody.
    fn end(&self, error: PyErr) -> Step<'py> {
        let raised = error.clone_ref(self.py());
        Step::End(match self.tell(None, Some(error)) {
            Ok(true) => Ok(self.none()),
            Ok(false) => Err(raisable(self.py(), raised)),
            Err(other) => Err(other),
        })
    }

    fn tell(&self, result: Option<&Bound<'py, PyAny>>, error: Option<PyErr>) -> PyResult<bool> {
        let py = self.py();
        let error = error.map(|error| error.into_value(py));
        self.drive.call_method1(intern!(py, "ended"), (result, error))?.is_truthy()
    }
}

/// Has what is awaited go on. A coroutine is awaited without the object that `await` puts around it.
fn sent<'py>(awaited: &Bound<'py, PyAny>, value: &Bound<'py, PyAny>) -> PyResult<PySendResult<'py>> {
    let py = awaited.py();
    if let Ok(iterator) = awaited.cast::<PyIterator>() {
        return iterator.send(value);
    }
    if !is_coroutine(awaited)? {
        return awaited.call_method0(intern!(py, "result")).map(PySendResult::Return);
    }
    match awaited.call_method1(intern!(py, "send"), (value,)) {
        Ok(future) => Ok(PySendResult::Next(future)),
        Err(returned) if returned.is_instance_of::<PyStopIteration>(py) => {
            Ok(PySendResult::Return(returned.value(py).getattr(intern!(py, "value"))?))
        }
        Err(raised) => Err(raised),
    }
}

fn is_coroutine(found: &Bound<'_, PyAny>) -> PyResult<bool> {
    static KIND: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    Ok(found.get_type().is(KIND.import(found.py(), "types", "CoroutineType")?))
}

/// Raises an error in what is awaited, as `yield from` does.
#[cold]
fn passed_on<'py>(awaited: &Bound<'py, PyAny>, error: PyErr) -> PyResult<PySendResult<'py>> {
    let py = awaited.py();
    if error.is_instance_of::<PyGeneratorExit>(py) {
        if let Some(close) = awaited.getattr_opt(intern!(py, "close"))? {
            close.call0()?;
        }
        return Err(error);
    }
    match awaited.getattr_opt(intern!(py, "throw"))? {
        Some(_) => throw(awaited, error),
        None => Err(error),
    }
}

/// A function's own error, which came in the place of a `StopIteration`.
fn unwrapped(py: Python<'_>, error: PyErr) -> PyResult<PyErr> {
    static KIND: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    if error.get_type(py).is(KIND.import(py, "perdure.aio.hands", "Stopped")?) {
        return error.value(py).getattr(intern!(py, "args"))?.get_item(0).map(PyErr::from_value);
    }
    Ok(error)
}

/// What is raised in whoever awaits: a `StopIteration` would be taken for a result there, and so is a `RuntimeError`, as
/// everywhere in Python.
fn raisable(py: Python<'_>, error: PyErr) -> PyErr {
    if !error.is_instance_of::<PyStopIteration>(py) {
        return error;
    }
    let instead = PyRuntimeError::new_err(format!("an operation raised {error}"));
    instead.set_cause(py, Some(error));
    instead
}

/// Whether an error ends the invocation.
fn is_control(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    static KINDS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let kinds =
        KINDS.get_or_try_init(py, || py.import("perdure.aio.endings")?.getattr("CONTROL").map(Bound::unbind))?;
    error.value(py).is_instance(kinds.bind(py))
}

fn is_cancelled(py: Python<'_>, error: &PyErr) -> PyResult<bool> {
    static KIND: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let kind = KIND.import(py, "asyncio", "CancelledError")?;
    error.value(py).is_instance(kind)
}

#[pymethods] // documented in _core.pyi
impl Drive {
    #[new]
    #[pyo3(signature = (conductor, flow, *_rest))]
    fn new(conductor: Py<PyAny>, flow: Py<PyIterator>, _rest: &Bound<'_, PyTuple>) -> Self {
        let state = State { flow, hand: Hand::Nothing, awaited: None, cancelled: None, pause: 0.0 };
        Self { conductor, place: Mutex::new(Place::Resting(state)) }
    }

    #[getter]
    fn cr_await(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        match &*self.lock() {
            Place::Resting(state) => state.awaited.as_ref().map(|awaited| awaited.clone_ref(py)),
            Place::Running | Place::Over => None,
        }
    }

    const fn __await__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    const fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(slf: &Bound<'py, Self>) -> Came<'py> {
        Self::run(slf, Ok(slf.py().None().into_bound(slf.py())))
    }

    fn send<'py>(slf: &Bound<'py, Self>, value: Bound<'py, PyAny>) -> Came<'py> {
        Self::run(slf, Ok(value))
    }

    #[pyo3(signature = (error, *_rest))]
    fn throw<'py>(slf: &Bound<'py, Self>, error: Bound<'py, PyAny>, _rest: &Bound<'py, PyTuple>) -> Came<'py> {
        Self::run(slf, Err(PyErr::from_value(error)))
    }

    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        match Self::run(slf, Err(PyGeneratorExit::new_err(()))) {
            Ok(_) => Err(PyRuntimeError::new_err("the drive of an operation ignored GeneratorExit")),
            Err(end) if end.is_instance_of::<PyGeneratorExit>(py) || end.is_instance_of::<PyStopIteration>(py) => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.conductor)?;
        let Ok(place) = self.place.try_lock() else { return Ok(()) };
        let Place::Resting(state) = &*place else { return Ok(()) };
        visit.call(&state.flow)?;
        state.awaited.as_ref().map_or(Ok(()), |awaited| visit.call(awaited))?;
        state.cancelled.as_ref().map_or(Ok(()), |cancelled| visit.call(cancelled))?;
        match &state.hand {
            Hand::Nothing | Hand::Ticket | Hand::Stopped => Ok(()),
            Hand::Start(operation) => visit.call(operation),
            Hand::Parked(parked) => visit.call(parked),
            Hand::Before(request) | Hand::Function(request) => visit.call(request),
            Hand::Context(scope) => visit.call(scope),
            Hand::Unawaited(returned) => {
                visit.call(&returned.scope)?;
                visit.call(&returned.result)
            }
        }
    }

    fn __clear__(&self) {
        drop(self.put(Place::Over));
    }
}
