//! `Teller`: tells plugins of an invocation's operations. What happens with nearly every operation is here; the rest is
//! left to the methods of the class that derives from it, `perdure.engine.plugin_hooks.PluginHooks`.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use perdure_core::id::{IdState, OperationId};
use perdure_core::operation::Kind;
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyInt, PyIterator, PyList, PyString, PyTuple};

use crate::codes::RUN;
use crate::fields::{Field, Fields, Time};
use crate::followed::Followed;
use crate::info::{self, Class, Infos};
use crate::listeners::{Hook, Listeners};
use crate::operation::Operation;
use crate::scope::Scope;
use crate::told::Told;

#[pyclass(frozen, subclass, module = "perdure._core")]
pub struct Teller {
    #[pyo3(get)]
    told: Py<Told>,
    #[pyo3(get)]
    listeners: Py<Listeners>,
    /// Ends that are being told, with a lock that is held meanwhile.
    #[pyo3(get)]
    within: Py<PyDict>,
    /// Gives the time, in Unix seconds.
    time: Py<PyAny>,
    /// Whether results are handed on before they are recorded.
    is_optimistic: bool,
    begun: Mutex<Begun>,
    bell: OnceLock<Bell>,
}

/// Rung when an answer has come, once somebody waits for it: a lock that is free while it rings, by its methods.
struct Bell {
    locked: Py<PyAny>,
    release: Py<PyAny>,
}

/// What this invocation has come to that was not recorded before.
#[derive(Default)]
struct Begun {
    operations: HashSet<OperationId, IdState>,
    /// Contexts among them whose function has not begun.
    fresh: HashSet<OperationId, IdState>,
}

impl Teller {
    fn begun(&self) -> MutexGuard<'_, Begun> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, hook: Hook) -> bool {
        self.listeners.get().has(hook)
    }

    fn tell(&self, py: Python<'_>, hook: Hook, class: Class, fields: Fields) -> PyResult<()> {
        Infos::get(py)?.tell(py, self.listeners.get(), hook, class, fields)
    }

    fn now(&self, py: Python<'_>) -> PyResult<f64> {
        self.time.bind(py).call0()?.extract()
    }

    /// Tells of an operation that code comes to and that is not simply replayed.
    pub fn come(slf: &Bound<'_, Self>, operation: &Bound<'_, Operation>, is_new: bool) -> PyResult<()> {
        let py = slf.py();
        if slf.get().is_optimistic {
            slf.call_method0(intern!(py, "tell_late"))?;
        }
        if is_new {
            return slf.get().begin(py, operation.get());
        }
        slf.call_method1(intern!(py, "operation_found"), (operation,)).map(drop)
    }

    /// Tells of an operation that begins.
    fn begin(&self, py: Python<'_>, operation: &Operation) -> PyResult<()> {
        let (id, kind) = (operation.begun().place.id, operation.begun().kind());
        {
            let mut begun = self.begun();
            begun.operations.insert(id);
            if kind == Kind::Context {
                begun.fresh.insert(id);
            }
        }
        // The start of an invoke is told when the plugins were asked for what goes along with it.
        if (kind != Kind::ChainedInvoke || operation.decision() == RUN) && self.has(Hook::OperationStart) {
            let fields = Infos::get(py)?.at_work(py, operation);
            self.tell(py, Hook::OperationStart, Class::Start, fields)?;
        }
        Ok(())
    }

    /// Tells of the end of an operation, if it has one that nobody has been told of.
    fn end(slf: &Bound<'_, Self>, id: &OperationId) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let told = this.told.get();
        told.read(py)?;
        let Some(end) = told.end(py, id) else {
            if this.within.bind(py).is_empty() {
                return Ok(());
            }
            return Self::end_slowly(slf, id, None);
        };
        // A callback may be asked for by several threads, and in a context there may be what nobody has read.
        let is_simple = end.kind != Kind::Callback && (end.kind != Kind::Context || end.is_only);
        if !is_simple {
            return Self::end_slowly(slf, id, Some(end.raw));
        }
        if this.listeners.get().is_within() {
            return Ok(());
        }
        let Some(raw) = told.take_end(py, id) else { return Ok(()) };
        let fields = Infos::get(py)?.recorded_as(&raw, end.kind, end.status)?;
        this.tell(py, Hook::OperationEnd, Class::End, fields)
    }

    fn end_slowly(slf: &Bound<'_, Self>, id: &OperationId, raw: Option<Bound<'_, PyDict>>) -> PyResult<()> {
        let id = PyString::new(slf.py(), id.hex().as_str());
        slf.call_method1(intern!(slf.py(), "tell_end"), (id, raw)).map(drop)
    }

    /// Tells of a function that has ended, of what is known of it but the time.
    fn tell_function_end(&self, py: Python<'_>, known: Fields, outcome: Py<PyAny>, error: Field) -> PyResult<()> {
        let known = Fields { end_time: Time::Noted(self.now(py)?), outcome: Some(outcome), error, ..known };
        self.tell(py, Hook::FunctionEnd, Class::FunctionEnd, known)
    }

    /// Tells of the end of a step, a condition or a context.
    pub fn outcome(
        slf: &Bound<'_, Self>,
        operation: &Bound<'_, Operation>,
        error: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        if !this.has(Hook::OperationEnd) {
            return Ok(());
        }
        if operation.get().writes() {
            Self::end(slf, &operation.get().begun().place.id)?;
            if this.is_optimistic {
                slf.call_method1(intern!(py, "gave_early"), (operation,))?;
            }
            return Ok(());
        }
        slf.call_method1(intern!(py, "tell_again"), (operation, error)).map(drop)
    }
}

#[pymethods] // documented in _core.pyi
impl Teller {
    #[new]
    fn new(told: Py<Told>, listeners: Py<Listeners>, time: Py<PyAny>, is_optimistic: bool, py: Python<'_>) -> Self {
        let within = PyDict::new(py).unbind();
        Self { told, listeners, within, time, is_optimistic, begun: Mutex::default(), bell: OnceLock::new() }
    }

    #[pyo3(name = "now")]
    fn now_told<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        info::at(py, self.now(py)?)
    }

    fn was_begun(&self, operation: &Operation) -> bool {
        self.begun().operations.contains(&operation.begun().place.id)
    }

    fn begin_operation(&self, py: Python<'_>, operation: &Operation) -> PyResult<()> {
        self.begin(py, operation)
    }

    #[expect(clippy::unused_self, reason = "a method of Python's")]
    fn before_operation(&self, method: &Bound<'_, PyAny>) {
        let _ = method;
    }

    fn after_operation(slf: &Bound<'_, Self>, scope: &Scope) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        if !this.has(Hook::OperationEnd) {
            return Ok(());
        }
        this.told.get().read(py)?;
        if this.told.get().has_ends() || !this.within.bind(py).is_empty() {
            return Self::end(slf, &scope.latest());
        }
        Ok(())
    }

    fn heard(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        if !this.has(Hook::OperationChange) {
            return Ok(());
        }
        let Some(bell) = this.bell.get() else {
            let bell = slf.call_method0(intern!(py, "first_heard"))?;
            let method = |name| bell.getattr(name).map(Bound::unbind);
            // Another thread may have had the first answer at the same time.
            let _ = this.bell.set(Bell { locked: method("locked")?, release: method("release")? });
            return Ok(());
        };
        if bell.locked.bind(py).call0()?.is_truthy()?
            && let Err(raised) = bell.release.call0(py)
            && !raised.is_instance_of::<PyRuntimeError>(py)
        {
            return Err(raised); // else another thread has rung it
        }
        Ok(())
    }

    fn followed(
        slf: &Bound<'_, Self>,
        operation: Py<Operation>,
        flow: Py<PyIterator>,
        serdes: &Bound<'_, PyAny>,
    ) -> Followed {
        let _ = serdes;
        Followed { teller: slf.clone().unbind(), operation, flow }
    }

    #[classattr]
    #[pyo3(name = "steers")]
    const STEERS: bool = false;

    fn watches_operations(&self) -> bool {
        self.has(Hook::OperationEnd)
    }

    fn function<'py>(
        slf: &Bound<'py, Self>,
        kind: &str,
        operation: &Bound<'py, Operation>,
        function: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        let is_again = !operation.get().writes();
        let has_functions = this.has(Hook::FunctionStart) || this.has(Hook::FunctionEnd);
        if !function.is_callable() || !(has_functions || (is_again && this.has(Hook::OperationEnd))) {
            return Ok(function);
        }
        let attempt = match kind {
            "context" => this.begun().fresh.remove(&operation.get().begun().place.id).then_some(Attempt::First),
            _ => Some(Attempt::Given),
        };
        let of = Of::Operation { operation: operation.clone().unbind(), attempt, is_again };
        Ok(Bound::new(py, Function { teller: slf.clone().unbind(), inner: function.unbind(), of })?.into_any())
    }

    fn telling<'py>(
        slf: &Bound<'py, Self>,
        known: &Bound<'py, PyDict>,
        function: Py<PyAny>,
    ) -> PyResult<Bound<'py, Function>> {
        let of = Of::Known(Box::new(Fields::of(known)?));
        Bound::new(slf.py(), Function { teller: slf.clone().unbind(), inner: function, of })
    }

    #[pyo3(signature = (operation, value, *, by_default))]
    fn operation_gave(
        slf: &Bound<'_, Self>,
        operation: &Bound<'_, Operation>,
        value: &Bound<'_, PyAny>,
        by_default: bool,
    ) -> PyResult<()> {
        let _ = (value, by_default);
        Self::outcome(slf, operation, None)
    }

    #[pyo3(signature = (operation, error, *, by_default))]
    fn operation_raised(
        slf: &Bound<'_, Self>,
        operation: &Bound<'_, Operation>,
        error: &Bound<'_, PyAny>,
        by_default: bool,
    ) -> PyResult<()> {
        let _ = by_default;
        Self::outcome(slf, operation, Some(error))
    }

    fn end_function(&self, known: &Bound<'_, Fields>, outcome: Py<PyAny>, error: Field) -> PyResult<()> {
        self.tell_function_end(known.py(), known.borrow().again(known.py()), outcome, error)
    }

    fn tell_recorded_end(&self, raw: &Bound<'_, PyDict>) -> PyResult<()> {
        self.tell(raw.py(), Hook::OperationEnd, Class::End, Infos::get(raw.py())?.recorded(raw)?)
    }
}

/// A function around one of the user's, which it passes for: it tells of its beginning and of its end.
#[pyclass(frozen, module = "perdure._core")]
pub struct Function {
    teller: Py<Teller>,
    inner: Py<PyAny>,
    of: Of,
}

/// What a function is of.
enum Of {
    Operation {
        operation: Py<Operation>,
        attempt: Option<Attempt>,
        /// Whether it runs for its result alone.
        is_again: bool,
    },
    /// A context of which nothing is recorded, by what is known of it.
    Known(Box<Fields>),
}

/// Which attempt a function is.
enum Attempt {
    First,
    /// The one that it is told of by what it is called with.
    Given,
}

impl Of {
    fn fields(&self, given: &Bound<'_, PyTuple>) -> PyResult<Fields> {
        let py = given.py();
        let (operation, attempt, is_again) = match self {
            Self::Operation { operation, attempt, is_again } => (operation.get(), attempt, *is_again),
            Self::Known(known) => return Ok(known.again(py)),
        };
        let mut fields = Infos::get(py)?.at_work(py, operation);
        fields.is_replay_children = Some(PyBool::new(py, is_again).to_owned().into_any().unbind());
        let attempt = match attempt {
            None => return Ok(fields),
            Some(Attempt::First) => 1_u32.into_pyobject(py)?.into_any(),
            Some(Attempt::Given) => attempt_of(&given.get_item(given.len() - 1)?)?,
        };
        fields.attempt = Some(attempt.unbind());
        Ok(fields)
    }
}

impl Function {
    /// Tells of its beginning; gives what is known of it.
    fn begin(&self, given: &Bound<'_, PyTuple>) -> PyResult<Fields> {
        let (py, teller) = (given.py(), self.teller.get());
        let mut known = self.of.fields(given)?;
        known.start_time = Time::Noted(teller.now(py)?);
        if teller.has(Hook::FunctionStart) {
            teller.tell(py, Hook::FunctionStart, Class::FunctionStart, known.again(py))?;
        }
        Ok(known)
    }

    /// Calls it.
    pub fn call<'py>(&self, given: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        let (py, teller) = (given.py(), self.teller.get());
        let known = self.begin(given)?;
        match self.inner.bind(py).call1(given) {
            Ok(value) => {
                if teller.has(Hook::FunctionEnd) {
                    if can_be_awaited(&value)? {
                        let known = Bound::new(py, known)?;
                        return self.teller.bind(py).call_method1(intern!(py, "function_gave"), (known, value));
                    }
                    let succeeded = Infos::get(py)?.succeeded.clone_ref(py);
                    teller.tell_function_end(py, known, succeeded, None)?;
                }
                Ok(value)
            }
            Err(raised) => self.failed(py, known, raised),
        }
    }

    #[cold]
    fn failed<'py>(&self, py: Python<'py>, known: Fields, raised: PyErr) -> PyResult<Bound<'py, PyAny>> {
        let raised = raised.into_value(py).into_bound(py);
        if self.teller.get().has(Hook::FunctionEnd) {
            let known = Bound::new(py, known)?;
            self.teller.bind(py).call_method1(intern!(py, "function_failed"), (known, &raised))?;
        }
        Err(PyErr::from_value(raised.into_any()))
    }
}

/// Whether it can be awaited. What functions mostly give cannot, which takes no look at its class.
fn can_be_awaited(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let is_plain = value.is_none()
        || value.is_exact_instance_of::<PyDict>()
        || value.is_exact_instance_of::<PyString>()
        || value.is_exact_instance_of::<PyList>()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyBool>();
    Ok(!is_plain && value.get_type().hasattr(intern!(value.py(), "__await__"))?)
}

/// The number of an attempt, which what a step or a check is handed knows.
fn attempt_of<'py>(context: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = context.py();
    // A step's has the operation beside its context, and would look it up there.
    if let Ok(of) = context.getattr(intern!(py, "_of"))
        && let Ok(of) = of.cast_exact::<PyTuple>()
        && let Ok(operation) = of.get_item(1)
        && let Ok(operation) = operation.cast_exact::<Operation>()
    {
        return Ok(operation.get().attempt().into_pyobject(py)?.into_any());
    }
    context.getattr(intern!(py, "attempt"))
}

#[pymethods]
impl Function {
    fn __getattr__<'py>(&self, py: Python<'py>, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        self.inner.bind(py).getattr(name)
    }

    #[pyo3(signature = (*given))]
    fn __call__<'py>(&self, given: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        self.call(given)
    }
}
