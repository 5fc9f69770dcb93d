//! `Operation`: one operation that is not simply replayed, until its outcome is queued.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use perdure_core::branches::End;
use perdure_core::call::Begun;
use perdure_core::callback;
use perdure_core::checkpoint::Ticket;
use perdure_core::custody::Spot;
use perdure_core::decision::Decision;
use perdure_core::operation::{Kind, Millis, Status};
use perdure_core::scope::ScopeId;
use perdure_core::update::{Action, Invoke, Options};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::codes::{FAILED, INTERRUPTED, PENDING, RECORDED, RUN, START};
use crate::custody::{self, Mark};
use crate::errand::Errand;
use crate::errors::Error;
use crate::fields::Fields;
use crate::scope::Scope;
use crate::shared::{Shared, State};
use crate::text::{Text, Value};

#[pyclass(frozen, module = "perdure._core")]
pub struct Operation {
    shared: Arc<Shared>,
    begun: Arc<Begun>,
    #[pyo3(get)]
    decision: u8,
    #[pyo3(get)]
    attempt: u32,
    #[pyo3(get)]
    ticket: u64,
    #[pyo3(get)]
    write: bool,
    #[pyo3(get)]
    starts: bool,
    #[pyo3(get)]
    until: Option<Millis>,
    status: Option<Status>,
    /// The recorded payload; or of what has failed, the error.
    recorded: Option<Value>,
    /// The number of its functions at work; 0 if they are not.
    at_work: AtomicU64,
    /// Its context, once that is open.
    inner: OnceLock<ScopeId>,
    /// What plugins are told of it, once they are told anything.
    fields: OnceLock<Box<Fields>>,
    mark: Mark,
}

/// What there must be before an operation can go on.
pub enum Need {
    Nothing,
    /// Its START on record.
    Durable(Ticket),
    News,
}

impl Operation {
    /// What was decided, with references to the Python objects in place of those into the history.
    pub fn new(
        py: Python<'_>,
        shared: &Arc<Shared>,
        begun: Arc<Begun>,
        ticket: Option<Ticket>,
        decision: Decision<'_, Text>,
    ) -> Self {
        let object = |text: Option<&Text>| text.map(|text| text.share(py).unbind());
        let mut operation = Self {
            shared: Arc::clone(shared),
            begun,
            decision: RUN,
            attempt: 0,
            ticket: ticket.unwrap_or_default().0,
            write: true,
            starts: decision.starts(),
            until: None,
            status: None,
            recorded: None,
            at_work: AtomicU64::new(0),
            inner: OnceLock::new(),
            fields: OnceLock::new(),
            mark: Mark::default(),
        };
        match decision {
            Decision::Value(value) => (operation.decision, operation.recorded) = (RECORDED, object(value)),
            Decision::Failure { status, error } => {
                (operation.decision, operation.status, operation.recorded) = (FAILED, Some(status), object(error));
            }
            Decision::Run(run) => {
                (operation.attempt, operation.recorded, operation.write) = (run.attempt, object(run.state), run.write);
            }
            Decision::Start => operation.decision = START,
            Decision::Interrupted { attempt } => (operation.decision, operation.attempt) = (INTERRUPTED, attempt),
            Decision::Pending(until) => (operation.decision, operation.until) = (PENDING, until),
        }
        operation
    }

    pub fn begun(&self) -> &Begun {
        &self.begun
    }

    /// What plugins are told of it, made the first time.
    pub fn fields(&self, make: impl FnOnce() -> Fields) -> &Fields {
        if let Some(fields) = self.fields.get() {
            return fields;
        }
        // Not by `get_or_init`: no Python object may be made while others wait for it.
        let fields = Box::new(make());
        self.fields.get_or_init(|| fields)
    }

    pub fn decision(&self) -> u8 {
        self.decision
    }

    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether what comes of it is to be recorded.
    pub fn writes(&self) -> bool {
        self.write
    }

    /// Where a thread of control stands that carries this as its mark, if it is one of the invocation's.
    pub fn spot(&self, shared: &Arc<Shared>) -> Option<Spot> {
        let number = self.at_work.load(Ordering::Relaxed);
        Arc::ptr_eq(&self.shared, shared).then_some(Spot::Beside(self.begun.place.scope, number))
    }

    /// What is recorded of it, if that is what it has failed of, or if not.
    fn recorded<'py>(&self, py: Python<'py>, has_failed: bool) -> PyResult<Option<Bound<'py, PyAny>>> {
        let recorded = self.recorded.as_ref().filter(|_| (self.decision == FAILED) == has_failed);
        recorded.map(|value| value.object(py)).transpose()
    }

    /// What there must be before it can go on.
    pub fn needs(&self) -> Need {
        match self.decision {
            START => Need::Durable(Ticket(self.ticket)),
            PENDING => Need::News,
            _ => Need::Nothing,
        }
    }

    /// Tells its code to suspend until there may be news of it: raises what the code is to unwind by. Not if there is some
    /// by now.
    pub fn suspend(&self) -> Result<(), Error> {
        let scope = self.begun.place.scope;
        let mut state = self.shared.lock();
        if state.engine.is_pending(&self.begun) {
            state.engine.suspend(scope, Some(&self.begun), self.until);
        }
        Ok(state.engine.check(scope)?)
    }

    /// What is to be durable before that.
    pub fn due_before_suspending(&self) -> Option<Ticket> {
        self.shared.lock().engine.due_before_suspending(self.begun.place.scope)
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

    /// Whether it is a child context, or a map or parallel.
    pub fn is_context(&self) -> bool {
        self.begun.kind() == Kind::Context
    }

    /// Ends the context `inner`, which is this operation's, with its outcome.
    fn end(&self, py: Python<'_>, inner: &Scope, end: End<Text>) -> Result<u64, Error> {
        let (_, inner) = inner.parts();
        if !self.starts {
            self.shared.excuse(py, |engine| engine.is_missed_inside(inner, &self.begun))?;
        }
        Ok(self.shared.lock().engine.end_context(inner, &self.begun, self.starts, end)?.0)
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

    fn facts(&self) -> (String, &'static str, &str, Option<&str>, Option<String>) {
        let begun = &self.begun;
        let parent = begun.place.parent.map(|parent| parent.to_string());
        (begun.place.id.to_string(), begun.kind().as_str(), begun.sub_type.as_str(), begun.name.as_deref(), parent)
    }

    #[getter]
    fn kind(&self) -> &'static str {
        self.begun.kind().as_str()
    }

    #[getter]
    fn sub_type(&self) -> &str {
        self.begun.sub_type.as_str()
    }

    #[getter]
    fn parent_id(&self) -> Option<String> {
        self.begun.place.parent.map(|parent| parent.to_string())
    }

    #[getter]
    fn status(&self) -> Option<&'static str> {
        self.status.map(Status::as_str)
    }

    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.recorded(py, false)
    }

    #[getter]
    fn error<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.recorded(py, true)
    }

    #[getter]
    fn timed_out(&self) -> bool {
        self.status.is_some_and(callback::has_timed_out)
    }

    fn enter(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        let caller = custody::caller(slf.py(), &this.shared)?;
        let number = this.shared.lock().engine.enter(&this.begun, caller);
        this.at_work.store(number, Ordering::Relaxed);
        this.mark.set(slf)
    }

    fn errand(&self) -> Errand {
        let place = self.begun.place;
        Errand::new(&self.shared, place.scope, place.id, self.at_work.load(Ordering::Relaxed))
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

    pub fn again(&self, py: Python<'_>) -> Result<Self, Error> {
        let mut state = self.shared.lock();
        let decision = state.engine.again(&self.begun)?;
        Ok(Self::new(py, &self.shared, Arc::clone(&self.begun), None, decision))
    }

    pub fn resume(&self, py: Python<'_>) -> Result<Self, Error> {
        let mut state = self.shared.lock();
        let State { engine, clock, .. } = &mut *state;
        let (decision, ticket) = engine.resume(&self.begun, || clock.now())?;
        Ok(Self::new(py, &self.shared, Arc::clone(&self.begun), ticket, decision))
    }

    fn is_pending(&self) -> bool {
        self.shared.lock().engine.is_pending(&self.begun)
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
            let value = perdure_codec::decode_extended((&payload).into())?;
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
        let options = Options::Invoke(Box::new(Invoke { function: Text::outgoing(function), tenant, trace }));
        self.update(Action::Start, payload, None, options)
    }

    fn succeed_value<'py>(&self, value: &Bound<'py, PyAny>) -> Result<(u64, Bound<'py, PyAny>), Error> {
        let payload = perdure_codec::encode_extended(value)?;
        let value = perdure_codec::decode_extended((&payload).into())?;
        Ok((self.succeed(Some(&payload))?, value))
    }

    fn succeed(&self, payload: Option<&Bound<'_, PyString>>) -> Result<u64, Error> {
        self.update(Action::Succeed, payload, None, Options::None)
    }

    fn succeed_context(
        &self,
        py: Python<'_>,
        inner: &Scope,
        payload: Option<&Bound<'_, PyString>>,
        replay_children: bool,
    ) -> Result<u64, Error> {
        self.end(py, inner, End::Succeed { payload: payload.map(Text::outgoing), replay_children })
    }

    fn fail_context(&self, inner: &Scope, error: &Bound<'_, PyDict>) -> Result<u64, Error> {
        self.end(error.py(), inner, End::Fail { error: Text::error(error)? })
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
        let payload = payload.map(Text::outgoing);
        let error = error.map(Text::error).transpose()?;
        Ok(self.shared.lock().engine.retry(&self.begun, delay, payload, error)?.0)
    }
}
