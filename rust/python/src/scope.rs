//! `Scope`: the position of one context. Each method comes to the next operation: one crossing, and on replay the only
//! one. With a codec of ours the recorded value itself is returned; anything else is an `Operation`.

use std::sync::Arc;

use perdure_core::custody::Spot;
use perdure_core::decision::{Decision, Look};
use perdure_core::engine::{Begun, Call, Table};
use perdure_core::id::OperationId;
use perdure_core::operation::{Kind, Millis, Operation as Recorded};
use perdure_core::refusal::Refusal;
use perdure_core::scope::ScopeId;
use perdure_core::step::Semantics;
use perdure_core::update::{Action, Options};
use perdure_core::{callback, child, condition, invoke, limits, step, wait};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::custody::{self, Mark};
use crate::errors::{self, Error};
use crate::operation::Operation;
use crate::shared::{Shared, State};
use crate::text::Text;

#[pyclass(frozen, module = "perdure._core")]
pub struct Scope {
    shared: Arc<Shared>,
    id: ScopeId,
    mark: Mark,
    /// Called where a branch that is tried comes to a new operation: tells, in time, whether that may begin now.
    gate: Option<Py<PyAny>>,
}

pub type Name<'a, 'py> = Option<&'a Bound<'py, PyString>>;
pub type Found<'py> = Result<Bound<'py, PyAny>, Error>;
pub type Decode = for<'py> fn(&Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>>;

impl Scope {
    pub fn new(shared: Arc<Shared>, id: ScopeId) -> Self {
        Self::with_gate(shared, id, None)
    }

    pub fn with_gate(shared: Arc<Shared>, id: ScopeId, gate: Option<Py<PyAny>>) -> Self {
        Self { shared, id, mark: Mark::default(), gate }
    }

    pub fn parts(&self) -> (&Arc<Shared>, ScopeId) {
        (&self.shared, self.id)
    }

    /// Where a thread of control stands that carries this as its mark, if it is one of the invocation's.
    pub fn spot(&self, shared: &Arc<Shared>) -> Option<Spot> {
        Arc::ptr_eq(&self.shared, shared).then_some(Spot::Inside(self.id))
    }

    /// Comes to an operation.
    ///
    /// Without `options` the START is left to the caller; without `decode` so is reading a recorded value.
    pub fn come<'py>(
        &self,
        py: Python<'py>,
        call: &Call<'_>,
        table: Table<Text>,
        options: Option<Options<Text>>,
        decode: Option<Decode>,
    ) -> Found<'py> {
        self.find(py, call, table, options, decode).map_err(|error| custody::located(py, &self.shared, error))
    }

    #[inline]
    fn find<'py>(
        &self,
        py: Python<'py>,
        call: &Call<'_>,
        table: Table<Text>,
        options: Option<Options<Text>>,
        decode: Option<Decode>,
    ) -> Found<'py> {
        let mut state = self.shared.lock();
        // A map or parallel comes to its branches itself, wherever they run.
        if call.index.is_none() && state.engine.is_contested(self.id) {
            drop(state);
            let caller = custody::caller(py, &self.shared)?;
            state = self.shared.lock();
            state.engine.admit(self.id, call, caller)?;
        }
        let (place, decision) = match (state.engine.begin(self.id, call, table), &self.gate) {
            (Err(Refusal::Held), Some(gate)) => {
                drop(state);
                if !gate.call0(py)?.is_truthy(py)? {
                    self.suspend(None)?;
                }
                return self.find(py, call, table, options, decode);
            }
            (begun, _) => begun?,
        };
        if let (Decision::Value(value), Some(decode)) = (&decision, decode) {
            let Some(payload) = value.map(|value| value.get(py)) else { return Ok(py.None().into_bound(py)) };
            drop(state);
            return match decode(payload.cast::<PyString>().map_err(PyErr::from)?) {
                Ok(decoded) => Ok(decoded),
                Err(problem) => Err(unreadable(py, &place.id, call, problem)),
            };
        }
        let mut operation = Operation::new(py, &self.shared, table, Arc::new(Begun::new(place, call)), decision);
        let started = start(&mut state, &mut operation, call, options);
        drop(state);
        started?;
        Ok(Bound::new(py, operation)?.into_any())
    }
}

#[pymethods]
impl Scope {
    #[pyo3(signature = (name, sub_type = "Step", at_most_once = false, raw = false, /))]
    fn step<'py>(
        &self,
        py: Python<'py>,
        name: Name<'_, 'py>,
        sub_type: &str,
        at_most_once: bool,
        raw: bool,
    ) -> Found<'py> {
        fn at_least_once(recorded: Option<&Recorded<Text>>, look: Look) -> Decision<'_, Text> {
            step::begin(recorded, Semantics::AtLeastOnce, look)
        }
        fn at_most_once_(recorded: Option<&Recorded<Text>>, look: Look) -> Decision<'_, Text> {
            step::begin(recorded, Semantics::AtMostOnce, look)
        }
        let call = Call { kind: Kind::Step, sub_type, name: text(name)?, index: None };
        let table = if at_most_once { at_most_once_ } else { at_least_once };
        self.come(py, &call, table, Some(Options::None), extended_unless(raw))
    }

    fn condition<'py>(&self, py: Python<'py>, name: Name<'_, 'py>, raw: bool) -> Found<'py> {
        let call = Call { kind: Kind::Step, sub_type: "WaitForCondition", name: text(name)?, index: None };
        self.come(py, &call, |recorded, _| condition::begin(recorded), Some(Options::None), extended_unless(raw))
    }

    fn wait<'py>(&self, py: Python<'py>, name: Name<'_, 'py>, seconds: i64) -> Found<'py> {
        let call = Call { kind: Kind::Wait, sub_type: "Wait", name: text(name)?, index: None };
        let options = Options::Wait { seconds: limits::wait(seconds)? };
        self.come(py, &call, |recorded, _| wait::begin(recorded), Some(options), extended_unless(false))
    }

    fn callback<'py>(
        &self,
        py: Python<'py>,
        name: Name<'_, 'py>,
        sub_type: &str,
        timeout: i64,
        heartbeat: i64,
    ) -> Found<'py> {
        let call = Call { kind: Kind::Callback, sub_type, name: text(name)?, index: None };
        let options = Options::Callback {
            timeout_seconds: limits::callback_timeout("timeout", timeout)?,
            heartbeat_seconds: limits::callback_timeout("heartbeat timeout", heartbeat)?,
        };
        self.come(py, &call, |recorded, _| callback::create(recorded), Some(options), None)
    }

    fn callback_result(&self, py: Python<'_>, id: &str) -> Result<Operation, Error> {
        let table: Table<Text> = |recorded, _| callback::result(recorded);
        let call = Call { kind: Kind::Callback, sub_type: "Callback", name: None, index: None };
        let mut state = self.shared.lock();
        let (place, decision) = state.engine.look(self.id, OperationId::parse(id), table)?;
        Ok(Operation::new(py, &self.shared, table, Arc::new(Begun::new(place, &call)), decision))
    }

    fn invoke<'py>(&self, py: Python<'py>, name: Name<'_, 'py>, raw: bool) -> Found<'py> {
        let call = Call { kind: Kind::ChainedInvoke, sub_type: "ChainedInvoke", name: text(name)?, index: None };
        let decode: Option<Decode> = if raw { None } else { Some(perdure_codec::decode_json) };
        self.come(py, &call, |recorded, _| invoke::begin(recorded), None, decode)
    }

    fn child<'py>(&self, py: Python<'py>, name: Name<'_, 'py>, sub_type: &str, raw: bool) -> Found<'py> {
        let call = Call { kind: Kind::Context, sub_type, name: text(name)?, index: None };
        self.come(py, &call, |recorded, _| child::begin(recorded), Some(Options::None), extended_unless(raw))
    }

    fn batch<'py>(&self, py: Python<'py>, name: Name<'_, 'py>, sub_type: &str, raw: bool) -> Found<'py> {
        let call = Call { kind: Kind::Context, sub_type, name: text(name)?, index: None };
        self.come(py, &call, |recorded, _| child::begin(recorded), None, extended_unless(raw))
    }

    fn open_virtual(&self, py: Python<'_>) -> Result<Self, Error> {
        let open = || {
            let caller = custody::caller(py, &self.shared)?;
            let mut state = self.shared.lock();
            state.engine.admit_virtual(self.id, caller)?;
            Ok(state.engine.open_virtual(self.id, None, false)?)
        };
        let scope = open().map_err(|error| custody::located(py, &self.shared, error))?;
        let gate = self.gate.as_ref().map(|gate| gate.clone_ref(py));
        Ok(Self::with_gate(Arc::clone(&self.shared), scope, gate))
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

    fn is_suspended(&self) -> bool {
        self.shared.lock().engine.is_suspended(self.id)
    }

    fn suspend(&self, until: Option<Millis>) -> Result<(), Error> {
        let mut state = self.shared.lock();
        state.engine.suspend(self.id, until);
        Ok(state.engine.check(self.id)?)
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

    #[getter]
    fn is_exhausted(&self) -> bool {
        self.shared.lock().engine.gate() == Some(&Refusal::TooDeep)
    }

    #[setter]
    fn set_is_exhausted(&self, exhausted: bool) {
        if exhausted {
            self.shared.lock().engine.exhaust();
        }
    }

    #[getter]
    fn operation_id(&self) -> Option<String> {
        self.shared.lock().engine.prefix(self.id).map(|id| id.to_string())
    }
}

/// Sees to the START of an operation, if one is due.
fn start(
    state: &mut State,
    operation: &mut Operation,
    call: &Call<'_>,
    options: Option<Options<Text>>,
) -> Result<(), Error> {
    if operation.is_work() {
        state.check_time()?;
    }
    if operation.starts {
        call.name.map_or(Ok(()), limits::name)?;
        if let Some(options) = options {
            operation.ticket = state.engine.write(&operation.begun, Action::Start, None, None, options)?.0;
        }
    }
    Ok(())
}

pub fn text<'a>(name: Name<'a, '_>) -> Result<Option<&'a str>, Error> {
    let Some(name) = name else { return Ok(None) };
    let text = name.to_str().map_err(|_| limits::Invalid::NameCharacters(name.to_string_lossy().into_owned()))?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

#[cold]
#[inline(never)]
fn unreadable(py: Python<'_>, id: &OperationId, call: &Call<'_>, problem: PyErr) -> Error {
    let name = call.name.map_or_else(|| id.to_string(), ToOwned::to_owned);
    Error::Python(errors::undecodable(py, &name, problem))
}

pub fn extended_unless(raw: bool) -> Option<Decode> {
    if raw { None } else { Some(perdure_codec::decode_extended) }
}
