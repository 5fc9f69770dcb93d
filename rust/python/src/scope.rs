//! `Scope`: the position of one context. Each method comes to the next operation: one crossing, and on replay the only one.

use std::sync::Arc;

use perdure_core::decision::{Decision, Look};
use perdure_core::engine::{Begun, Call, Table};
use perdure_core::id::OperationId;
use perdure_core::operation::{Kind, Millis, Operation};
use perdure_core::scope::ScopeId;
use perdure_core::step::Semantics;
use perdure_core::update::{Action, Options};
use perdure_core::{callback, child, condition, invoke, limits, step, wait};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::errors::Error;
use crate::operation::{Codec, Handle, Outcome, outcome};
use crate::shared::Shared;
use crate::text::Text;

#[pyclass(frozen, module = "perdure._core")]
pub struct Scope {
    shared: Arc<Shared>,
    id: ScopeId,
}

type Name<'a, 'py> = Option<&'a Bound<'py, PyString>>;

impl Scope {
    pub fn new(shared: Arc<Shared>, id: ScopeId) -> Self {
        Self { shared, id }
    }

    /// Ends the context: what still runs inside is an orphan.
    pub fn finish(&self) {
        self.shared.lock().engine.end(self.id);
    }

    /// Comes to an operation. `options` goes with a START that is written at once; None leaves it to the caller.
    fn come<'py>(
        &self,
        py: Python<'py>,
        call: Call<'_>,
        table: Table<Text>,
        options: Option<Options<Text>>,
        codec: Codec,
    ) -> Result<Bound<'py, PyAny>, Error> {
        let found = {
            let mut state = self.shared.lock();
            let (id, decision) = state.engine.begin(self.id, call, table)?;
            match outcome(py, decision) {
                Outcome::Value(value) if codec != Codec::Raw => Err(value),
                found => {
                    let is_new = found.is_work();
                    if is_new {
                        state.check_time()?;
                    }
                    let begun = state.engine.begun(self.id, id, call);
                    let mut ticket = 0;
                    if found.is_start() {
                        call.name.map_or(Ok(()), limits::name)?;
                        if let Some(options) = options {
                            ticket = state.engine.write(&begun, Action::Start, None, None, options)?.0;
                        }
                    }
                    Ok(Handle { begun, ticket, found })
                }
            }
        };
        match found {
            Err(value) => Ok(codec.decode(py, value)?),
            Ok(handle) => Ok(handle.into_operation(py, Arc::clone(&self.shared), table)?),
        }
    }
}

#[pymethods]
impl Scope {
    #[pyo3(signature = (name, sub_type, at_most_once, raw, /))]
    fn step<'py>(
        &self,
        py: Python<'py>,
        name: Name<'_, 'py>,
        sub_type: &str,
        at_most_once: bool,
        raw: bool,
    ) -> Result<Bound<'py, PyAny>, Error> {
        fn at_least_once(recorded: Option<&Operation<Text>>, look: Look) -> Decision<'_, Text> {
            step::begin(recorded, Semantics::AtLeastOnce, look)
        }
        fn at_most_once_table(recorded: Option<&Operation<Text>>, look: Look) -> Decision<'_, Text> {
            step::begin(recorded, Semantics::AtMostOnce, look)
        }
        let call = Call { kind: Kind::Step, sub_type, name: text(name)?, index: None };
        let table = if at_most_once { at_most_once_table } else { at_least_once };
        self.come(py, call, table, Some(Options::None), Codec::extended_unless(raw))
    }

    #[pyo3(signature = (name, raw, /))]
    fn condition<'py>(&self, py: Python<'py>, name: Name<'_, 'py>, raw: bool) -> Result<Bound<'py, PyAny>, Error> {
        let call = Call { kind: Kind::Step, sub_type: "WaitForCondition", name: text(name)?, index: None };
        let table: Table<Text> = |recorded, _| condition::begin(recorded);
        self.come(py, call, table, Some(Options::None), Codec::extended_unless(raw))
    }

    #[pyo3(signature = (name, seconds, /))]
    fn wait<'py>(&self, py: Python<'py>, name: Name<'_, 'py>, seconds: i64) -> Result<Bound<'py, PyAny>, Error> {
        let call = Call { kind: Kind::Wait, sub_type: "Wait", name: text(name)?, index: None };
        let seconds = limits::wait(seconds)?;
        let table: Table<Text> = |recorded, _| wait::begin(recorded);
        self.come(py, call, table, Some(Options::Wait { seconds }), Codec::Extended)
    }

    #[pyo3(signature = (name, sub_type, timeout, heartbeat, /))]
    fn callback<'py>(
        &self,
        py: Python<'py>,
        name: Name<'_, 'py>,
        sub_type: &str,
        timeout: i64,
        heartbeat: i64,
    ) -> Result<Bound<'py, PyAny>, Error> {
        let call = Call { kind: Kind::Callback, sub_type, name: text(name)?, index: None };
        let options = Options::Callback {
            timeout_seconds: limits::callback_timeout("timeout", timeout)?,
            heartbeat_seconds: limits::callback_timeout("heartbeat timeout", heartbeat)?,
        };
        let table: Table<Text> = |recorded, _| callback::create(recorded);
        self.come(py, call, table, Some(options), Codec::Raw)
    }

    /// The START of an invoke is left to the caller, since its payload is only serialised when it is needed.
    #[pyo3(signature = (name, raw, /))]
    fn invoke<'py>(&self, py: Python<'py>, name: Name<'_, 'py>, raw: bool) -> Result<Bound<'py, PyAny>, Error> {
        let call = Call { kind: Kind::ChainedInvoke, sub_type: "ChainedInvoke", name: text(name)?, index: None };
        let codec = if raw { Codec::Raw } else { Codec::Json };
        self.come(py, call, |recorded, _| invoke::begin(recorded), None, codec)
    }

    #[pyo3(signature = (name, sub_type, index, raw, /))]
    fn child<'py>(
        &self,
        py: Python<'py>,
        name: Name<'_, 'py>,
        sub_type: &str,
        index: Option<u64>,
        raw: bool,
    ) -> Result<Bound<'py, PyAny>, Error> {
        let call = Call { kind: Kind::Context, sub_type, name: text(name)?, index };
        let table: Table<Text> = |recorded, _| child::begin(recorded);
        self.come(py, call, table, Some(Options::None), Codec::extended_unless(raw))
    }

    /// Opens a virtual context: nothing is recorded of it, and what is inside belongs to this context.
    #[pyo3(signature = (index, branch, /))]
    fn open_virtual(&self, index: Option<u64>, branch: bool) -> Result<Self, Error> {
        let mut state = self.shared.lock();
        let id = state.engine.begin_virtual(self.id, index)?;
        let scope = state.engine.open(self.id, id, true, branch);
        Ok(Self::new(Arc::clone(&self.shared), scope))
    }

    /// Looks for the outcome of the callback whose operation is `id`.
    #[pyo3(signature = (id, /))]
    fn callback_result<'py>(&self, py: Python<'py>, id: &str) -> Result<Bound<'py, PyAny>, Error> {
        let table: Table<Text> = |recorded, _| callback::result(recorded);
        let id = OperationId::parse(id);
        let handle = {
            let mut state = self.shared.lock();
            let found = outcome(py, state.engine.look(self.id, id, table)?);
            let call = Call { kind: Kind::Callback, sub_type: "Callback", name: None, index: None };
            Handle { begun: state.engine.begun(self.id, id, call), ticket: 0, found }
        };
        Ok(handle.into_operation(py, Arc::clone(&self.shared), table)?)
    }

    fn is_replaying(&self) -> bool {
        self.shared.lock().engine.is_replaying(self.id)
    }

    /// Until when (in Unix milliseconds, if known) the code of this context was told to suspend; None if it was not.
    fn suspension(&self) -> Option<(Option<Millis>,)> {
        self.shared.lock().engine.suspension(self.id).map(|until| (until,))
    }

    /// Suspends this context and what is around it, up to the next branch; always raises.
    #[pyo3(signature = (until, /))]
    fn suspend(&self, until: Option<Millis>) -> Result<(), Error> {
        let mut state = self.shared.lock();
        state.engine.suspend(self.id, until);
        Ok(state.engine.check(self.id)?)
    }

    /// Raises if the code of this context may not go on.
    fn check(&self) -> Result<(), Error> {
        Ok(self.shared.lock().engine.check(self.id)?)
    }

    /// Ends the context: what still runs inside is an orphan.
    fn end(&self) {
        self.finish();
    }

    /// The id of the context's operation; None for the root.
    #[getter]
    fn operation_id(&self) -> Option<String> {
        self.shared.lock().engine.place(self.id).0.map(|id| id.to_string())
    }

    /// What operations inside name as their parent.
    #[getter]
    fn parent_id(&self) -> Option<String> {
        self.shared.lock().engine.place(self.id).1.map(|id| id.to_string())
    }
}

fn text<'a>(name: Name<'a, '_>) -> Result<Option<&'a str>, Error> {
    Ok(name.map(|name| name.to_str()).transpose()?.filter(|name| !name.is_empty()))
}

/// Opens the scope of a context that has begun.
pub fn open(shared: &Arc<Shared>, begun: &Begun, branch: bool) -> Scope {
    let id = shared.lock().engine.open(begun.scope, begun.id, false, branch);
    Scope::new(Arc::clone(shared), id)
}
