//! The mark of a thread of control: a context variable that holds the scope whose function runs, or the operation that
//! runs another function, or the errand that such a function is on in a thread of its own. Where user code copies context
//! variables into a thread or a task, the mark goes along.

use std::sync::{Arc, Mutex, PoisonError};

use perdure_core::custody::{Caller, Spot};
use perdure_core::id::OperationId;
use perdure_core::scope::ScopeId;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::IntoPyDict;

use crate::errand::Errand;
use crate::errors::Error;
use crate::operation::Operation;
use crate::scope::Scope;
use crate::shared::Shared;

struct Here {
    variable: Py<PyAny>,
    get: Py<PyAny>,
    set: Py<PyAny>,
    reset: Py<PyAny>,
}

static HERE: PyOnceLock<Here> = PyOnceLock::new();

fn here(py: Python<'_>) -> PyResult<&Here> {
    HERE.get_or_try_init(py, || {
        let options = [("default", py.None())].into_py_dict(py)?;
        let variable = py.import("contextvars")?.getattr("ContextVar")?.call(("perdure_here",), Some(&options))?;
        let method = |name| variable.getattr(name).map(Bound::unbind);
        let (get, set, reset) = (method("get")?, method("set")?, method("reset")?);
        Ok(Here { get, set, reset, variable: variable.unbind() })
    })
}

/// The scope or the operation whose function is at work in this thread of control; None if it is neither's.
#[pyfunction]
pub fn at_work(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    here(py)?.get.bind(py).call0()
}

/// The same of another thread of control, whose context variables these are.
#[pyfunction]
pub fn at_work_in<'py>(context: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    context.call_method1(intern!(context.py(), "get"), (here(context.py())?.variable.bind(context.py()),))
}

/// Whether a thread of control with this mark runs the code of the handler or of a context, if only what turns that one's
/// result into text, and not the function of another operation, which calls none.
pub fn calls_operations(mark: &Bound<'_, PyAny>, shared: &Arc<Shared>) -> bool {
    let is_of_context = mark.cast_exact::<Operation>().is_ok_and(|operation| operation.get().is_context());
    is_of_context || !matches!(spot(mark, shared).0, Some(Spot::Beside(..)))
}

/// The context whose code a thread of control with this mark runs.
pub fn context_of(mark: &Bound<'_, PyAny>, shared: &Arc<Shared>) -> Option<ScopeId> {
    match spot(mark, shared).0 {
        Some(Spot::Inside(scope)) => Some(scope),
        _ => None,
    }
}

/// Who calls, as far as that is of this invocation.
pub fn caller(py: Python<'_>, shared: &Arc<Shared>) -> PyResult<Caller> {
    let mark = at_work(py)?;
    let (spot, given_up) = spot(&mark, shared);
    Ok(Caller { spot, thread: thread_number(), given_up })
}

fn spot(mark: &Bound<'_, PyAny>, shared: &Arc<Shared>) -> (Option<Spot>, Option<OperationId>) {
    if let Ok(scope) = mark.cast_exact::<Scope>() {
        (scope.get().spot(shared), None)
    } else if let Ok(operation) = mark.cast_exact::<Operation>() {
        (operation.get().spot(shared), None)
    } else {
        mark.cast_exact::<Errand>().map_or((None, None), |errand| errand.get().spot(shared))
    }
}

/// A number that no other thread has: the address of something that each has of its own.
pub fn thread_number() -> u64 {
    thread_local!(static OWN: u8 = const { 0 });
    OWN.with(|own| std::ptr::from_ref(own).addr() as u64)
}

/// Lets this thread of control carry another mark, until that is reset which it was given first.
pub fn pass_on(mark: &Bound<'_, PyAny>) -> PyResult<()> {
    here(mark.py())?.set.bind(mark.py()).call1((mark,)).map(drop)
}

/// A mark that this thread of control carries, and the one it had before.
#[derive(Default)]
pub struct Mark(Mutex<Option<Py<PyAny>>>);

impl Mark {
    pub fn set(&self, mark: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = mark.py();
        let before = here(py)?.set.bind(py).call1((mark,))?.unbind();
        self.swap(Some(before));
        Ok(())
    }

    pub fn reset(&self, py: Python<'_>) -> PyResult<()> {
        match self.swap(None) {
            Some(before) => here(py)?.reset.bind(py).call1((before,)).map(drop),
            None => Ok(()),
        }
    }

    fn swap(&self, token: Option<Py<PyAny>>) -> Option<Py<PyAny>> {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), token)
    }
}

/// A refusal with the user's line that was refused.
pub fn located(py: Python<'_>, shared: &Shared, error: Error) -> Error {
    match error {
        Error::Refused(refusal) if refusal.wants_line() => {
            let line = py.import("perdure._control").and_then(|control| control.getattr("user_line")?.call0());
            let line = line.and_then(|line| line.extract::<Option<String>>());
            match line {
                Ok(line) => shared.lock().engine.locate(line.as_deref()).unwrap_or(refusal).into(),
                Err(error) => error.into(),
            }
        }
        other => other,
    }
}
