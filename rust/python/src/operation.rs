//! `Operation`: one operation that is not simply replayed, until its outcome is queued.

use std::sync::Arc;

use perdure_core::decision::Decision;
use perdure_core::engine::{Begun, Table};
use perdure_core::operation::Status;
use perdure_core::update::{Action, Options};
use perdure_core::limits;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::errors::Error;
use crate::scope::{self, Scope};
use crate::shared::Shared;
use crate::text::Text;

/// How a recorded result becomes a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Not here: a serdes of the user's does it.
    Raw,
    Extended,
    Json,
}

impl Codec {
    pub fn extended_unless(raw: bool) -> Self {
        if raw { Self::Raw } else { Self::Extended }
    }

    pub fn decode<'py>(self, py: Python<'py>, payload: Option<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let Some(payload) = payload else { return Ok(py.None().into_bound(py)) };
        match self {
            Self::Raw => Ok(payload),
            Self::Extended => perdure_codec::decode_extended(payload.cast::<PyString>()?),
            Self::Json => perdure_codec::decode_json(payload.cast::<PyString>()?),
        }
    }
}

type Object<'py> = Option<Bound<'py, PyAny>>;

/// A decision whose references into the history have become references to the Python objects.
pub enum Outcome<'py> {
    Value(Object<'py>),
    Failure(Status, Object<'py>),
    Run { attempt: u32, start: bool, state: Object<'py>, write: bool },
    Start,
    Interrupted { attempt: u32 },
}

pub fn outcome<'py>(py: Python<'py>, decision: Decision<'_, Text>) -> Outcome<'py> {
    let object = |text: Option<&Text>| text.map(|text| text.get(py));
    match decision {
        Decision::Value(value) => Outcome::Value(object(value)),
        Decision::Failure { status, error } => Outcome::Failure(status, object(error)),
        Decision::Run(run) => {
            Outcome::Run { attempt: run.attempt, start: run.start, state: object(run.state), write: run.write }
        }
        // The engine turns a suspension into a refusal; seen as a start it would be asked about again.
        Decision::Start | Decision::Suspend(_) => Outcome::Start,
        Decision::Interrupted { attempt } => Outcome::Interrupted { attempt },
    }
}

impl Outcome<'_> {
    /// Whether there is work to do that an invocation short of time should leave to the next.
    pub fn is_work(&self) -> bool {
        match self {
            Self::Run { write, .. } => *write,
            Self::Start | Self::Interrupted { .. } => true,
            Self::Value(_) | Self::Failure(..) => false,
        }
    }

    /// Whether a START is due.
    pub fn is_start(&self) -> bool {
        matches!(self, Self::Start | Self::Run { start: true, .. })
    }
}

/// What is known of an operation once the lock is released.
pub struct Handle<'py> {
    pub begun: Begun,
    pub ticket: u64,
    pub found: Outcome<'py>,
}

impl<'py> Handle<'py> {
    pub fn into_operation(
        self,
        py: Python<'py>,
        shared: Arc<Shared>,
        table: Table<Text>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut operation = Operation {
            shared,
            table,
            begun: self.begun,
            ticket: self.ticket,
            decision: RUN,
            attempt: 0,
            write: true,
            status: None,
            payload: None,
            error: None,
        };
        match self.found {
            Outcome::Value(payload) => {
                operation.decision = RECORDED;
                operation.payload = payload.map(Bound::unbind);
            }
            Outcome::Failure(status, error) => {
                operation.decision = FAILED;
                operation.status = Some(status);
                operation.error = error.map(Bound::unbind);
            }
            Outcome::Run { attempt, state, write, .. } => {
                operation.attempt = attempt;
                operation.payload = state.map(Bound::unbind);
                operation.write = write;
            }
            Outcome::Start => operation.decision = START,
            Outcome::Interrupted { attempt } => {
                operation.decision = INTERRUPTED;
                operation.attempt = attempt;
            }
        }
        Ok(Bound::new(py, operation)?.into_any())
    }
}

const RUN: u8 = 0;
const START: u8 = 1;
const INTERRUPTED: u8 = 2;
const RECORDED: u8 = 3;
const FAILED: u8 = 4;

/// Adds the decisions' names to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("RUN", RUN)?;
    module.add("START", START)?;
    module.add("INTERRUPTED", INTERRUPTED)?;
    module.add("RECORDED", RECORDED)?;
    module.add("FAILED", FAILED)?;
    module.add_class::<Operation>()
}

#[pyclass(frozen, module = "perdure._core")]
pub struct Operation {
    shared: Arc<Shared>,
    table: Table<Text>,
    begun: Begun,
    /// What to do: one of the constants above.
    #[pyo3(get)]
    decision: u8,
    /// Which attempt this is, from 1.
    #[pyo3(get)]
    attempt: u32,
    /// The ticket of the START that was queued; 0 if none was.
    #[pyo3(get)]
    ticket: u64,
    /// Whether the outcome is recorded.
    #[pyo3(get)]
    write: bool,
    status: Option<Status>,
    /// The recorded result, a condition's state, a callback's id, the summary of a context that is run again.
    #[pyo3(get)]
    payload: Option<Py<PyAny>>,
    /// The recorded error object.
    #[pyo3(get)]
    error: Option<Py<PyAny>>,
}

impl Operation {
    fn write_update(
        &self,
        action: Action,
        payload: Option<&Bound<'_, PyString>>,
        error: Option<&Bound<'_, PyDict>>,
        options: Options<Text>,
    ) -> Result<u64, Error> {
        let payload = payload.map(Text::outgoing);
        let error = error.map(Text::error).transpose()?;
        Ok(self.shared.lock().engine.write(&self.begun, action, payload, error, options)?.0)
    }
}

#[pymethods]
impl Operation {
    /// The operation's id, in hexadecimal.
    #[getter]
    fn id(&self) -> String {
        self.begun.id.to_string()
    }

    /// The operation's name.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.begun.name.as_deref()
    }

    /// The id of the context around it.
    #[getter]
    fn parent_id(&self) -> Option<String> {
        self.begun.parent.map(|parent| parent.to_string())
    }

    /// The terminal status of an operation that failed.
    #[getter]
    fn status(&self) -> Option<&'static str> {
        self.status.map(Status::as_str)
    }

    /// Looks once more, now that the START is durable.
    fn again<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>, Error> {
        let handle = {
            let mut state = self.shared.lock();
            let decision = state.engine.again(&self.begun, self.table)?;
            Handle { found: outcome(py, decision), begun: self.begun.clone(), ticket: 0 }
        };
        Ok(handle.into_operation(py, Arc::clone(&self.shared), self.table)?)
    }

    /// Opens the scope of a context.
    #[pyo3(signature = (branch, /))]
    fn open(&self, branch: bool) -> Scope {
        scope::open(&self.shared, &self.begun, branch)
    }

    /// Queues the START of an invoke.
    #[pyo3(signature = (payload, function, tenant, trace, /))]
    fn start_invoke(
        &self,
        payload: Option<&Bound<'_, PyString>>,
        function: &Bound<'_, PyString>,
        tenant: Option<&Bound<'_, PyString>>,
        trace: Option<&Bound<'_, PyString>>,
    ) -> Result<u64, Error> {
        let (tenant, trace) = (tenant.map(Text::outgoing), trace.map(Text::outgoing));
        let options = Options::Invoke { function: Text::outgoing(function), tenant, trace };
        self.write_update(Action::Start, payload, None, options)
    }

    /// Serialises `value` by the default codec and queues the success; gives the ticket and the value as replay will.
    #[pyo3(signature = (value, /))]
    fn succeed_value<'py>(&self, value: &Bound<'py, PyAny>) -> Result<(u64, Bound<'py, PyAny>), Error> {
        let payload = perdure_codec::encode_extended(value)?;
        let value = perdure_codec::decode_extended(&payload)?;
        Ok((self.write_update(Action::Succeed, Some(&payload), None, Options::None)?, value))
    }

    #[pyo3(signature = (payload, /))]
    fn succeed(&self, payload: Option<&Bound<'_, PyString>>) -> Result<u64, Error> {
        self.write_update(Action::Succeed, payload, None, Options::None)
    }

    #[pyo3(signature = (inner, payload, replay_children, /))]
    fn succeed_context(
        &self,
        inner: &Scope,
        payload: Option<&Bound<'_, PyString>>,
        replay_children: bool,
    ) -> Result<u64, Error> {
        inner.finish();
        self.write_update(Action::Succeed, payload, None, Options::Context { replay_children })
    }

    #[pyo3(signature = (inner, error, /))]
    fn fail_context(&self, inner: &Scope, error: &Bound<'_, PyDict>) -> Result<u64, Error> {
        inner.finish();
        self.write_update(Action::Fail, None, Some(error), Options::None)
    }

    #[pyo3(signature = (error, /))]
    fn fail(&self, error: &Bound<'_, PyDict>) -> Result<u64, Error> {
        self.write_update(Action::Fail, None, Some(error), Options::None)
    }

    /// Queues another attempt after `delay` seconds, with the error or the state of this one.
    #[pyo3(signature = (delay, error, payload, /))]
    fn retry(
        &self,
        delay: i64,
        error: Option<&Bound<'_, PyDict>>,
        payload: Option<&Bound<'_, PyString>>,
    ) -> Result<u64, Error> {
        let delay_seconds = limits::wait(delay.clamp(1, limits::MAX_WAIT))?;
        self.write_update(Action::Retry, payload, error, Options::Step { delay_seconds })
    }
}
