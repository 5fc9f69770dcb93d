//! The one place where what the core says becomes an exception of `perdure.exceptions`.

use perdure_core::limits::Invalid;
use perdure_core::refusal::Refusal;
use pyo3::call::PyCallArgs;
use pyo3::prelude::*;

const EXCEPTIONS: &str = "perdure.exceptions";
const CONTROL: &str = "perdure._control";

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
                Error::Invalid(invalid) => raise(py, EXCEPTIONS, "ValidationError", (invalid.to_string(),)),
                Error::Refused(refusal) => refused(py, refusal),
            }
            .unwrap_or_else(|error| error)
        })
    }
}

fn refused(py: Python<'_>, refusal: Refusal) -> PyResult<PyErr> {
    let message = refusal.to_string();
    match refusal {
        Refusal::Suspended(None) | Refusal::Revoked => raise(py, EXCEPTIONS, "SuspendExecution", (message,)),
        Refusal::Suspended(Some(until)) => {
            #[expect(clippy::cast_precision_loss, reason = "a moment in milliseconds is exact by far")]
            let until = until as f64 / 1_000.0;
            raise(py, EXCEPTIONS, "TimedSuspendExecution", (message, until))
        }
        Refusal::Orphaned(id) => raise(py, EXCEPTIONS, "OrphanedChildException", (message, id.to_string())),
        Refusal::NonDeterministic(mismatch) => {
            let (recorded, called) = mismatch.in_words();
            let args = (mismatch.id.to_string(), mismatch.position, recorded, called, mismatch.line.as_deref());
            raise(py, CONTROL, "non_deterministic", args)
        }
        Refusal::WrongContext(call) => raise(py, EXCEPTIONS, "WrongContextError", (call.in_words(),)),
        Refusal::Broken => raise(py, CONTROL, "CheckpointsBroken", (message,)),
        Refusal::OutOfTime { pending } => raise(py, CONTROL, "OutOfTime", (message, pending)),
    }
}

/// The exception that `module.name(*args)` makes.
fn raise<'py>(py: Python<'py>, module: &str, name: &str, args: impl PyCallArgs<'py>) -> PyResult<PyErr> {
    Ok(PyErr::from_value(py.import(module)?.getattr(name)?.call1(args)?))
}
