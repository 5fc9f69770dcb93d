//! The one place where what the core says becomes an exception of `perdure.exceptions`.

use perdure_core::engine::{Identity, Mismatch, Refusal};
use perdure_core::limits::Invalid;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

const EXCEPTIONS: &str = "perdure.exceptions";

/// Anything that keeps an operation from going on.
#[derive(Debug)]
pub enum Error {
    Refused(Refusal),
    Invalid(Invalid),
    Python(PyErr),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl From<PyErr> for Error {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        Python::attach(|py| {
            match error {
                Error::Python(error) => Ok(error),
                Error::Invalid(invalid) => validation_error(py, &invalid.to_string()),
                Error::Refused(refusal) => refused(py, refusal),
            }
            .unwrap_or_else(|error| error)
        })
    }
}

fn refused(py: Python<'_>, refusal: Refusal) -> PyResult<PyErr> {
    let message = refusal.to_string();
    match refusal {
        Refusal::Suspended(None) | Refusal::Revoked => {
            static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
            let class = CLASS.import(py, EXCEPTIONS, "SuspendExecution")?;
            Ok(PyErr::from_type(class.clone(), message))
        }
        Refusal::Suspended(Some(until)) => {
            static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
            let class = CLASS.import(py, EXCEPTIONS, "TimedSuspendExecution")?;
            #[expect(clippy::cast_precision_loss, reason = "a moment in milliseconds is exact by far")]
            let until = until as f64 / 1_000.0;
            Ok(PyErr::from_type(class.clone(), (message, until)))
        }
        Refusal::Orphaned(id) => {
            static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
            let class = CLASS.import(py, EXCEPTIONS, "OrphanedChildException")?;
            Ok(PyErr::from_type(class.clone(), (message, id.hex().as_str().to_owned())))
        }
        Refusal::NonDeterministic(mismatch) => {
            static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
            let make = MAKE.import(py, "perdure._control", "non_deterministic")?;
            Ok(PyErr::from_value(make.call1(describe(&mismatch))?))
        }
        Refusal::Broken => {
            static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
            let class = CLASS.import(py, "perdure._control", "CheckpointsBroken")?;
            Ok(PyErr::from_type(class.clone(), message))
        }
        Refusal::OutOfTime { pending } => {
            static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
            let class = CLASS.import(py, "perdure._control", "OutOfTime")?;
            Ok(PyErr::from_type(class.clone(), (message, pending)))
        }
    }
}

/// A `ValidationError` with `message`.
pub fn validation_error(py: Python<'_>, message: &str) -> PyResult<PyErr> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = CLASS.import(py, EXCEPTIONS, "ValidationError")?;
    Ok(PyErr::from_type(class.clone(), message.to_owned()))
}

fn describe(mismatch: &Mismatch) -> (String, u64, String, Option<String>) {
    let id = mismatch.id.to_string();
    let (recorded, called) = match &mismatch.called {
        None => (identity(&mismatch.recorded, false), None),
        Some(called) => {
            let parents = mismatch.recorded.parent != called.parent;
            (identity(&mismatch.recorded, parents), Some(identity(called, parents)))
        }
    };
    (id, mismatch.place, recorded, called)
}

fn identity(identity: &Identity, with_parent: bool) -> String {
    let mut text = identity.kind.as_str().to_owned();
    if let Some(sub_type) = &identity.sub_type {
        text += &format!(" of subtype {}", sub_type.as_str());
    }
    text += &identity.name.as_deref().map_or_else(|| " without a name".to_owned(), |name| format!(" named {name:?}"));
    if with_parent {
        let parent = identity.parent.map_or_else(|| "the execution".to_owned(), |parent| format!("context {parent}"));
        text += &format!(" inside {parent}");
    }
    text
}
