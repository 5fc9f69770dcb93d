//! `Scope`: the position of one context. Each method comes to the next operation: one crossing, and on replay the only
//! one. With a codec of ours the recorded value itself is returned; anything else is an `Operation`.

use std::sync::Arc;

use perdure_core::call::Call;
use perdure_core::custody::{Caller, Spot};
use perdure_core::decision::Decision;
use perdure_core::engine::Engine;
use perdure_core::id::OperationId;
use perdure_core::limits;
use perdure_core::operation::Millis;
use perdure_core::refusal::Refusal;
use perdure_core::scope::ScopeId;
use perdure_core::step::Semantics;
use perdure_core::values::Moment;
use pyo3::exceptions::PyRecursionError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::custody::{self, Mark};
use crate::errors::{self, Error};
use crate::object::Object;
use crate::operation::Operation;
use crate::ready::Ready;
use crate::shared::{Shared, State};
use crate::teller::Teller;
use crate::text::{Decode, Text, Value};
use crate::typed;

#[pyclass(frozen, module = "perdure._core")]
pub struct Scope {
    shared: Arc<Shared>,
    id: ScopeId,
    mark: Mark,
    /// Called where a branch that is tried comes to a new operation: tells, in time, whether that may begin now.
    gate: Option<Py<PyAny>>,
}

pub type Name<'a, 'py> = Option<&'a Bound<'py, PyAny>>;
/// The function that an operation is to run, or what else tells the type of its result.
pub type Of<'a, 'py> = Option<&'a Bound<'py, PyAny>>;
pub type Found<'py> = Result<Bound<'py, PyAny>, Error>;

impl Scope {
    pub fn new(shared: Arc<Shared>, id: ScopeId) -> Self {
        Self::with_gate(shared, id, None)
    }

    pub fn with_gate(shared: Arc<Shared>, id: ScopeId, gate: Option<Py<PyAny>>) -> Self {
        Self { shared, id, mark: Mark::default(), gate }
    }

    /// The id of the operation that its code has come to last.
    pub fn latest(&self) -> OperationId {
        self.shared.lock().engine.latest(self.id)
    }

    pub fn parts(&self) -> (&Arc<Shared>, ScopeId) {
        (&self.shared, self.id)
    }

    /// Where a thread of control stands that carries this as its mark, if it is one of the invocation's.
    pub fn spot(&self, shared: &Arc<Shared>) -> Option<Spot> {
        Arc::ptr_eq(&self.shared, shared).then_some(Spot::Inside(self.id))
    }

    /// Asks the engine something on behalf of the caller.
    fn ask<T>(
        &self,
        py: Python<'_>,
        ask: impl FnOnce(&mut Engine<Text, Object>, Caller) -> Result<T, Refusal>,
    ) -> Result<T, Error> {
        let asked = custody::caller(py, &self.shared)
            .map_err(Error::from)
            .and_then(|caller| Ok(ask(&mut self.shared.lock().engine, caller)?));
        asked.map_err(|error| custody::located(py, &self.shared, error))
    }

    /// Comes to an operation. Without `decode`, reading a recorded value is left to the caller; one that is read becomes
    /// what the results of `of` are.
    pub fn come<'py>(&self, py: Python<'py>, call: &Call<'_>, decode: Option<Decode>, of: Of<'_, 'py>) -> Found<'py> {
        self.find(py, call, decode, of).map_err(|error| custody::located(py, &self.shared, error))
    }

    #[inline]
    fn find<'py>(&self, py: Python<'py>, call: &Call<'_>, decode: Option<Decode>, of: Of<'_, 'py>) -> Found<'py> {
        let mut state = self.shared.lock();
        if state.engine.is_contested(self.id, call, custody::thread_number()) {
            drop(state);
            let caller = custody::caller(py, &self.shared)?;
            state = self.shared.lock();
            state.engine.admit(self.id, call, caller)?;
        }
        let State { engine, clock, .. } = &mut *state;
        let arrival = match (engine.begin(self.id, call, || clock.now()), &self.gate) {
            (Err(Refusal::Held), Some(gate)) => {
                drop(state);
                if !gate.call0(py)?.is_truthy(py)? {
                    self.suspend(None)?;
                }
                return self.find(py, call, decode, of);
            }
            (arrival, _) => arrival?,
        };
        if let (Decision::Value(value), Some(decode)) = (&arrival.decision, decode) {
            let id = arrival.place.id;
            let payload = value.map(|value| value.share(py));
            let is_awaited = engine.is_of_tasks() && !matches!(call, Call::Branch { .. });
            drop(state);
            let read = payload.map_or_else(
                || Ok(py.None().into_bound(py)),
                |payload| read(py, &payload, decode, of, |problem| unreadable(py, &id, call, problem)),
            )?;
            return if is_awaited { Ok(Bound::new(py, Ready::of(read.unbind()))?.into_any()) } else { Ok(read) };
        }
        let (begun, ticket, is_new) = (arrival.begun(call), arrival.ticket(), arrival.is_new);
        let operation = Operation::new(py, &self.shared, begun, ticket, arrival.decision);
        let observer = state.observer.as_ref().map(|observer| observer.get(py));
        drop(state);
        shown(Bound::new(py, operation)?, observer, is_new).map(Bound::into_any)
    }
}

/// The value of a payload, as what the results of `of` are.
#[inline]
fn read<'py>(
    py: Python<'py>,
    payload: &Value<Bound<'py, PyAny>>,
    decode: Decode,
    of: Of<'_, 'py>,
    unreadable: impl Fn(PyErr) -> Error,
) -> Found<'py> {
    let decoded = payload.decode(py, decode).map_err(&unreadable)?;
    match of.map_or(Ok(None), typed::of) {
        Ok(None) => Ok(decoded),
        Ok(Some(typed)) => typed.call_method1(intern!(py, "read"), (decoded,)),
        Err(problem) => Err(problem),
    }
    .map_err(|problem| if is_of_the_stack(py, &problem) { Error::Python(problem) } else { unreadable(problem) })
}

/// An operation, once the invocation's observer has seen it.
fn shown<'py>(
    operation: Bound<'py, Operation>,
    observer: Option<Bound<'py, PyAny>>,
    is_new: bool,
) -> Result<Bound<'py, Operation>, Error> {
    if let Some(observer) = observer {
        match observer.cast::<Teller>() {
            Ok(teller) => Teller::come(teller, &operation, is_new)?,
            Err(_) => drop(observer.call1((&operation,))?),
        }
    }
    Ok(operation)
}

#[pymethods]
impl Scope {
    #[pyo3(signature = (name, of = None, sub_type = "Step", at_most_once = false, raw = false, /))]
    fn step<'py>(
        &self,
        py: Python<'py>,
        name: Name<'_, 'py>,
        of: Of<'_, 'py>,
        sub_type: &str,
        at_most_once: bool,
        raw: bool,
    ) -> Found<'py> {
        let semantics = if at_most_once { Semantics::AtMostOnce } else { Semantics::AtLeastOnce };
        let call = Call::Step { name: text(name)?, sub_type, semantics };
        self.come(py, &call, extended_unless(raw), of)
    }

    #[pyo3(signature = (name, raw, of = None, /))]
    fn condition<'py>(&self, py: Python<'py>, name: Name<'_, 'py>, raw: bool, of: Of<'_, 'py>) -> Found<'py> {
        self.come(py, &Call::Condition { name: text(name)? }, extended_unless(raw), of)
    }

    fn wait<'py>(&self, py: Python<'py>, name: Name<'_, 'py>, seconds: i64) -> Found<'py> {
        self.come(py, &Call::Wait { name: text(name)?, seconds }, extended_unless(false), None)
    }

    fn callback<'py>(
        &self,
        py: Python<'py>,
        name: Name<'_, 'py>,
        sub_type: &str,
        timeout: i64,
        heartbeat: i64,
    ) -> Found<'py> {
        self.come(py, &Call::Callback { name: text(name)?, sub_type, timeout, heartbeat }, None, None)
    }

    #[pyo3(signature = (id, /, counts = true))]
    fn callback_result<'py>(&self, py: Python<'py>, id: &str, counts: bool) -> Result<Bound<'py, Operation>, Error> {
        let caller = custody::caller(py, &self.shared)?;
        let callback = OperationId::parse(id);
        let mut state = self.shared.lock();
        let (begun, decision) = state.engine.callback_result(self.id, callback)?;
        let is_over = !matches!(decision, Decision::Pending(_));
        let operation = Operation::new(py, &self.shared, begun, None, decision);
        if is_over && counts {
            state.engine.answered(self.id, callback, caller);
        }
        let observer = state.observer.as_ref().filter(|_| is_over).map(|observer| observer.get(py));
        drop(state);
        shown(Bound::new(py, operation)?, observer, false)
    }

    fn answered(&self, py: Python<'_>, id: &str) -> Result<(), Error> {
        let caller = custody::caller(py, &self.shared)?;
        self.shared.lock().engine.answered(self.id, OperationId::parse(id), caller);
        Ok(())
    }

    #[pyo3(signature = (name, raw, of = None, /))]
    fn invoke<'py>(&self, py: Python<'py>, name: Name<'_, 'py>, raw: bool, of: Of<'_, 'py>) -> Found<'py> {
        let decode: Option<Decode> = if raw { None } else { Some(perdure_codec::decode_json) };
        self.come(py, &Call::Invoke { name: text(name)? }, decode, of)
    }

    #[pyo3(signature = (name, sub_type, raw, of = None, /))]
    fn child<'py>(
        &self,
        py: Python<'py>,
        name: Name<'_, 'py>,
        sub_type: &str,
        raw: bool,
        of: Of<'_, 'py>,
    ) -> Found<'py> {
        self.come(py, &Call::Child { name: text(name)?, sub_type }, extended_unless(raw), of)
    }

    #[pyo3(signature = (name, sub_type, raw, of = None, /))]
    fn batch<'py>(
        &self,
        py: Python<'py>,
        name: Name<'_, 'py>,
        sub_type: &str,
        raw: bool,
        of: Of<'_, 'py>,
    ) -> Found<'py> {
        self.come(py, &Call::Batch { name: text(name)?, sub_type }, extended_unless(raw), of)
    }

    fn open_virtual(&self, py: Python<'_>) -> Result<Self, Error> {
        let opened = self.ask(py, |engine, caller| {
            engine.admit_virtual(self.id, caller)?;
            engine.open_virtual(self.id, None, false)
        });
        let scope = match (opened, &self.gate) {
            (Err(Error::Refused(Refusal::Held)), Some(gate)) => {
                if !gate.call0(py)?.is_truthy(py)? {
                    self.suspend(None)?;
                }
                return self.open_virtual(py);
            }
            (opened, _) => opened?,
        };
        let gate = self.gate.as_ref().map(|gate| gate.clone_ref(py));
        Ok(Self::with_gate(Arc::clone(&self.shared), scope, gate))
    }

    fn draw<'py>(&self, py: Python<'py>, execution: &str) -> Result<Bound<'py, PyBytes>, Error> {
        let drawn = self.ask(py, |engine, caller| engine.draw(self.id, caller, execution))?;
        Ok(PyBytes::new(py, &drawn))
    }

    fn now(&self, py: Python<'_>) -> Result<(&'static str, Option<String>, Option<String>), Error> {
        let now = self.ask(py, |engine, caller| engine.now(self.id, caller))?;
        let (member, id) = match now.moment {
            Moment::End(id) => ("EndTimestamp", Some(id)),
            Moment::Start(id) => ("StartTimestamp", id),
        };
        Ok((member, id.map(|id| id.to_string()), now.answered.map(|id| id.to_string())))
    }

    fn enter(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        let caller = custody::caller(slf.py(), &this.shared)?;
        this.shared.lock().engine.enter_context(this.id, caller);
        this.mark.set(slf)
    }

    fn leave(&self, py: Python<'_>) -> PyResult<()> {
        self.shared.lock().engine.leave_context(self.id);
        self.mark.reset(py)
    }

    fn is_replaying(&self) -> bool {
        self.shared.lock().engine.is_replaying(self.id)
    }

    fn expects_next(&self) -> bool {
        self.shared.lock().engine.expects_next(self.id)
    }

    fn settle(&self) -> Result<(), Error> {
        Ok(self.shared.lock().engine.settle(self.id)?)
    }

    fn suspend(&self, until: Option<Millis>) -> Result<(), Error> {
        let mut state = self.shared.lock();
        state.engine.suspend(self.id, None, until);
        Ok(state.engine.check(self.id)?)
    }

    fn due_before_suspending(&self) -> u64 {
        self.shared.lock().engine.due_before_suspending(self.id).map_or(0, |ticket| ticket.0)
    }

    fn check(&self) -> Result<(), Error> {
        Ok(self.shared.lock().engine.check(self.id)?)
    }

    fn is_alive(&self) -> bool {
        self.shared.lock().engine.check(self.id).is_ok()
    }

    fn end(&self) {
        self.shared.lock().engine.end(self.id);
    }

    #[pyo3(signature = (last, /))]
    fn pass_by(&self, last: Option<&str>) {
        let mut shared = self.shared.lock();
        match last {
            Some(last) => shared.engine.pass_by(self.id, OperationId::parse(last)),
            None => shared.engine.pass_by_latest(self.id),
        }
    }

    fn break_off(&self) {
        self.shared.lock().engine.break_off(self.id);
    }

    #[getter]
    fn is_exhausted(&self) -> bool {
        self.shared.lock().engine.is_exhausted()
    }

    #[setter]
    fn set_is_exhausted(&self, exhausted: bool) {
        if exhausted {
            self.shared.lock().engine.exhaust();
        }
    }

    #[getter]
    fn latest_id(&self) -> String {
        self.latest().to_string()
    }

    #[getter]
    fn position(&self) -> u64 {
        self.shared.lock().engine.position(self.id)
    }

    #[getter]
    fn parent_id(&self) -> Option<String> {
        self.shared.lock().engine.parent(self.id).map(|id| id.to_string())
    }

    #[getter]
    fn operation_id(&self) -> Option<String> {
        self.shared.lock().engine.prefix(self.id).map(|id| id.to_string())
    }
}

pub fn text<'a>(name: Name<'a, '_>) -> Result<Option<&'a str>, Error> {
    let Some(name) = name else { return Ok(None) };
    let name = name.cast::<PyString>().map_err(|_| limits::Invalid::NameKind(name.to_string()))?;
    let text = name.to_str().map_err(|_| limits::Invalid::NameCharacters(name.to_string_lossy().into_owned()))?;
    Ok(Some(text))
}

#[cold]
#[inline(never)]
fn unreadable(py: Python<'_>, id: &OperationId, call: &Call<'_>, problem: PyErr) -> Error {
    let name = call.name().map_or_else(|| id.to_string(), ToOwned::to_owned);
    Error::Python(errors::undecodable(py, &name, problem))
}

/// Whether what makes a value of plain data failed for want of room, which says nothing of the data.
fn is_of_the_stack(py: Python<'_>, problem: &PyErr) -> bool {
    problem.is_instance_of::<PyRecursionError>(py)
}

pub fn extended_unless(raw: bool) -> Option<Decode> {
    if raw { None } else { Some(perdure_codec::decode_extended) }
}
