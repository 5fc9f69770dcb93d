//! The one place where what the core says becomes an exception of `perdure.exceptions`.

use perdure_core::batch::NotAtWork;
use perdure_core::limits::Invalid;
use perdure_core::refusal::Refusal;
use pyo3::exceptions::{PyException, PyRecursionError};
use pyo3::prelude::*;
use pyo3::types::PyString;

pub const EXCEPTIONS: &str = "perdure.exceptions";
pub const CONTROL: &str = "perdure._control";
const SERDES: &str = "perdure.serdes";

/// The exception that `module.name(*args)` makes; looked for once at each place.
macro_rules! raise {
    ($py:expr, $module:expr, $name:literal, $args:expr) => {{
        static MAKER: pyo3::sync::PyOnceLock<pyo3::Py<pyo3::PyAny>> = pyo3::sync::PyOnceLock::new();
        MAKER.import($py, $module, $name).and_then(|maker| maker.call1($args)).map(pyo3::PyErr::from_value)
    }};
}
pub(crate) use raise;

/// Anything that keeps an operation from going on.
#[derive(Debug)]
pub enum Error {
    Refused(Refusal),
    NotAtWork(NotAtWork),
    Python(PyErr),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::Refused(invalid.into())
    }
}

impl From<NotAtWork> for Error {
    fn from(mistake: NotAtWork) -> Self {
        Self::NotAtWork(mistake)
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
                Error::NotAtWork(mistake) => raise!(py, EXCEPTIONS, "InvalidStateError", (mistake.to_string(),)),
                Error::Refused(refusal) => refused(py, refusal),
            }
            .unwrap_or_else(|error| error)
        })
    }
}

/// The error for a recorded operation that cannot be read: the `index`-th of what `source` names.
#[cold]
pub fn unreadable(raw: &Bound<'_, PyAny>, index: usize, source: &str, problem: PyErr) -> PyErr {
    let py = raw.py();
    if !problem.is_instance_of::<PyException>(py) {
        return problem; // a KeyboardInterrupt or its like
    }
    let known = raw.get_item("Id").ok().and_then(|id| id.cast_into::<PyString>().ok());
    let id = known.map_or_else(String::new, |id| format!(" ({})", id.to_string_lossy()));
    let message = format!("operation {index}{id} of {source} cannot be read: {}", problem.value(py));
    raise!(py, EXCEPTIONS, "ExecutionError", (message,)).unwrap_or_else(|error| error)
}

/// The `SerDesError` for a recorded value that cannot be read.
#[cold]
pub fn undecodable(py: Python<'_>, operation: &str, problem: PyErr) -> PyErr {
    if !problem.is_instance_of::<PyException>(py) {
        return problem;
    }
    let cause = problem.value(py).clone();
    raise!(py, SERDES, "undecodable", (operation, cause)).unwrap_or_else(|error| error)
}

fn refused(py: Python<'_>, refusal: Refusal) -> PyResult<PyErr> {
    let message = refusal.to_string();
    match refusal {
        Refusal::Suspended(None) | Refusal::Revoked | Refusal::Held => {
            raise!(py, EXCEPTIONS, "SuspendExecution", (message,))
        }
        Refusal::Suspended(Some(until)) => {
            #[expect(clippy::cast_precision_loss, reason = "a moment in milliseconds is exact by far")]
            let until = until as f64 / 1_000.0;
            raise!(py, EXCEPTIONS, "TimedSuspendExecution", (message, until))
        }
        Refusal::Invalid(_) => raise!(py, EXCEPTIONS, "ValidationError", (message,)),
        Refusal::Orphaned(id) => raise!(py, EXCEPTIONS, "OrphanedChildException", (message, id.to_string())),
        Refusal::NonDeterministic(mismatch) => {
            let (recorded, called) = mismatch.in_words();
            let args = (mismatch.id.to_string(), mismatch.position, recorded, called, mismatch.line.as_deref());
            raise!(py, CONTROL, "non_deterministic", args)
        }
        Refusal::Missed(missed) => {
            let (who, what) = missed.in_words();
            raise!(py, CONTROL, "ended_without", (missed.id.to_string(), who, what))
        }
        Refusal::WrongContext(call) => raise!(py, EXCEPTIONS, "WrongContextError", (call.in_words(),)),
        Refusal::Odd(_) => raise!(py, EXCEPTIONS, "ExecutionError", (message,)),
        Refusal::TooDeep => Ok(PyRecursionError::new_err(message)),
        Refusal::Broken => raise!(py, CONTROL, "CheckpointsBroken", (message,)),
        Refusal::OutOfTime => raise!(py, CONTROL, "OutOfTime", (message,)),
    }
}
