//! `Operation`: one operation that is not simply replayed, until its outcome is queued.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use perdure_core::custody::Spot;
use perdure_core::decision::Decision;
use perdure_core::engine::{Begun, Table};
use perdure_core::limits;
use perdure_core::operation::Status;
use perdure_core::scope::ScopeId;
use perdure_core::update::{Action, Options};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::custody::{self, Mark};
use crate::errors::Error;
use crate::scope::Scope;
use crate::shared::Shared;
use crate::text::Text;

const RUN: u8 = 0;
const START: u8 = 1;
const INTERRUPTED: u8 = 2;
const RECORDED: u8 = 3;
const FAILED: u8 = 4;

/// The decisions by name.
pub const DECISIONS: [(&str, u8); 5] =
    [("RUN", RUN), ("START", START), ("INTERRUPTED", INTERRUPTED), ("RECORDED", RECORDED), ("FAILED", FAILED)];

#[pyclass(frozen, module = "perdure._core")]
pub struct Operation {
    shared: Arc<Shared>,
    table: Table<Text>,
    pub begun: Arc<Begun>,
    #[pyo3(get)]
    decision: u8,
    #[pyo3(get)]
    attempt: u32,
    #[pyo3(get)]
    pub ticket: u64,
    #[pyo3(get)]
    write: bool,
    /// Whether a START is due that was not written yet.
    #[pyo3(get)]
    pub starts: bool,
    status: Option<Status>,
    #[pyo3(get)]
    payload: Option<Py<PyAny>>,
    #[pyo3(get)]
    error: Option<Py<PyAny>>,
    /// The number of its functions at work; 0 if they are not.
    at_work: AtomicU64,
    /// Its context, once that is open.
    inner: OnceLock<ScopeId>,
    mark: Mark,
}

impl Operation {
    /// What was decided, with references to the Python objects in place of those into the history.
    pub fn new(
        py: Python<'_>,
        shared: &Arc<Shared>,
        table: Table<Text>,
        begun: Arc<Begun>,
        decision: Decision<'_, Text>,
    ) -> Self {
        let object = |text: Option<&Text>| text.map(|text| text.get(py).unbind());
        let (shared, attempt, ticket, write, starts) = (Arc::clone(shared), 0, 0, true, false);
        let (status, payload, error) = (None, None, None);
        let (at_work, inner, mark) = (AtomicU64::new(0), OnceLock::new(), Mark::default());
        let blank = Self {
            shared,
            table,
            begun,
            decision: RUN,
            attempt,
            ticket,
            write,
            starts,
            status,
            payload,
            error,
            at_work,
            inner,
            mark,
        };
        match decision {
            Decision::Value(value) => Self { decision: RECORDED, payload: object(value), ..blank },
            Decision::Failure { status, error } => {
                Self { decision: FAILED, status: Some(status), error: object(error), ..blank }
            }
            Decision::Run(run) => {
                let (write, starts) = (run.write, run.start);
                Self { attempt: run.attempt, payload: object(run.state), write, starts, ..blank }
            }
            // The engine has turned a suspension into a refusal before it comes to this.
            Decision::Start | Decision::Suspend(_) => Self { decision: START, starts: true, ..blank },
            Decision::Interrupted { attempt } => Self { decision: INTERRUPTED, attempt, ..blank },
        }
    }

    /// Whether there is work to do that an invocation short of time should leave to the next.
    pub fn is_work(&self) -> bool {
        matches!(self.decision, RUN | START | INTERRUPTED) && self.write
    }

    /// Where a thread of control stands that carries this as its mark, if it is one of the invocation's.
    pub fn spot(&self, shared: &Arc<Shared>) -> Option<Spot> {
        let number = self.at_work.load(Ordering::Relaxed);
        Arc::ptr_eq(&self.shared, shared).then_some(Spot::Beside(self.begun.place.scope, number))
    }

    fn update(
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

    /// Ends the context `inner`, which is this operation's, with its outcome.
    fn end(
        &self,
        inner: &Scope,
        action: Action,
        payload: Option<Text>,
        error: Option<Text>,
        options: Options<Text>,
    ) -> Result<u64, Error> {
        let (_, inner) = inner.parts();
        let mut state = self.shared.lock();
        // Nothing is recorded inside one that is new.
        if !self.starts {
            state.engine.conclude_context(&self.begun)?;
        }
        Ok(state.engine.write_end(inner, &self.begun, action, payload, error, options)?.0)
    }
}

/// A payload, and the value that it holds.
type Pair<'py> = (Bound<'py, PyString>, Bound<'py, PyAny>);

#[pymethods]
impl Operation {
    #[getter]
    fn id(&self) -> String {
        self.begun.place.id.to_string()
    }

    #[getter]
    fn name(&self) -> Option<&str> {
        self.begun.name.as_deref()
    }

    #[getter]
    fn status(&self) -> Option<&'static str> {
        self.status.map(Status::as_str)
    }

    fn enter(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        let caller = custody::caller(slf.py(), &this.shared)?;
        let number = this.shared.lock().engine.enter(&this.begun, caller);
        this.at_work.store(number, Ordering::Relaxed);
        this.mark.set(slf)
    }

    fn leave(&self, py: Python<'_>) -> PyResult<()> {
        let number = self.at_work.swap(0, Ordering::Relaxed);
        if number != 0 {
            let mut state = self.shared.lock();
            state.engine.leave(self.begun.place.scope, number);
            self.inner.get().into_iter().for_each(|inner| state.engine.leave_context(*inner));
        }
        self.mark.reset(py)
    }

    fn again(&self, py: Python<'_>) -> Result<Self, Error> {
        let mut state = self.shared.lock();
        let decision = state.engine.again(&self.begun, self.table)?;
        Ok(Self::new(py, &self.shared, self.table, Arc::clone(&self.begun), decision))
    }

    fn open<'py>(slf: &Bound<'py, Self>, branch: bool) -> PyResult<Bound<'py, Scope>> {
        let (py, this) = (slf.py(), slf.get());
        let caller = custody::caller(py, &this.shared)?;
        let scope = {
            let mut state = this.shared.lock();
            let engine = &mut state.engine;
            this.at_work.store(engine.enter(&this.begun, caller), Ordering::Relaxed);
            let scope = engine.open_context(this.begun.place, branch);
            engine.enter_context(scope, caller);
            *this.inner.get_or_init(|| scope)
        };
        let scope = Bound::new(py, Scope::new(Arc::clone(&this.shared), scope))?;
        this.mark.set(scope.as_any())?;
        Ok(scope)
    }

    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        if let Some(inner) = this.inner.get() {
            this.shared.lock().engine.leave_context(*inner);
        }
        custody::pass_on(slf)
    }

    fn returned<'py>(&self, value: &Bound<'py, PyAny>) -> Result<Option<Pair<'py>>, Error> {
        if let Some(inner) = self.inner.get() {
            let mut state = self.shared.lock();
            state.engine.leave_context(*inner);
            state.engine.settle(*inner)?;
        }
        let there = |value| -> PyResult<_> {
            let payload = perdure_codec::encode_extended(value)?;
            let value = perdure_codec::decode_extended(&payload)?;
            Ok((payload, value))
        };
        match there(value) {
            Err(problem) if problem.is_instance_of::<PyException>(value.py()) => Ok(None),
            there => Ok(Some(there?)),
        }
    }

    fn start(&self) -> Result<u64, Error> {
        self.update(Action::Start, None, None, Options::None)
    }

    fn start_invoke(
        &self,
        payload: Option<&Bound<'_, PyString>>,
        function: &Bound<'_, PyString>,
        tenant: Option<&Bound<'_, PyString>>,
        trace: Option<&Bound<'_, PyString>>,
    ) -> Result<u64, Error> {
        let (tenant, trace) = (tenant.map(Text::outgoing), trace.map(Text::outgoing));
        let options = Options::Invoke { function: Text::outgoing(function), tenant, trace };
        self.update(Action::Start, payload, None, options)
    }

    fn succeed_value<'py>(&self, value: &Bound<'py, PyAny>) -> Result<(u64, Bound<'py, PyAny>), Error> {
        let payload = perdure_codec::encode_extended(value)?;
        let value = perdure_codec::decode_extended(&payload)?;
        Ok((self.succeed(Some(&payload))?, value))
    }

    fn succeed(&self, payload: Option<&Bound<'_, PyString>>) -> Result<u64, Error> {
        self.update(Action::Succeed, payload, None, Options::None)
    }

    fn succeed_context(
        &self,
        inner: &Scope,
        payload: Option<&Bound<'_, PyString>>,
        replay_children: bool,
    ) -> Result<u64, Error> {
        let payload = payload.map(Text::outgoing);
        self.end(inner, Action::Succeed, payload, None, Options::Context { replay_children })
    }

    fn fail_context(&self, inner: &Scope, error: &Bound<'_, PyDict>) -> Result<u64, Error> {
        let error = Some(Text::error(error)?);
        self.end(inner, Action::Fail, None, error, Options::None)
    }

    fn fail(&self, error: &Bound<'_, PyDict>) -> Result<u64, Error> {
        self.update(Action::Fail, None, Some(error), Options::None)
    }

    fn retry(
        &self,
        delay: i64,
        error: Option<&Bound<'_, PyDict>>,
        payload: Option<&Bound<'_, PyString>>,
    ) -> Result<u64, Error> {
        let delay_seconds = limits::wait(delay.clamp(1, limits::MAX_WAIT))?;
        self.update(Action::Retry, payload, error, Options::Step { delay_seconds })
    }
}
