//! Why the fast path stopped, and who takes over.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;

use crate::reference::{self, Reference};

/// The fast path stopped before the end.
#[derive(Debug)]
pub enum Halt {
    /// Something the fast path does not handle: the reference decides what it is worth.
    Unusual,
    /// Nested deeper than [`crate::MAX_DEPTH`].
    TooDeep,
    /// Python code that the fast path called (an attribute, a `__str__`) raised.
    Raised(PyErr),
}

impl From<PyErr> for Halt {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl Halt {
    /// The outcome after all: the reference has its way, unless the `subject` nests too deep even for that (a text has
    /// no subject), or a `KeyboardInterrupt` or its like passed through.
    ///
    /// An ordinary exception is not reported as it is: the reference meets the same one, unless something earlier is
    /// wrong too; then it reports that, as the official SDK would.
    #[cold]
    pub fn resolve<'py, T>(
        self,
        py: Python<'py>,
        subject: Option<&Bound<'py, PyAny>>,
        again: impl FnOnce(&Reference) -> PyResult<Bound<'py, T>>,
    ) -> PyResult<Bound<'py, T>> {
        match self {
            Self::Raised(error) if !error.is_instance_of::<PyException>(py) => Err(error),
            Self::Raised(_) | Self::Unusual => again(reference::get(py)?),
            Self::TooDeep => Err(reference::get(py)?.nesting_error(py, subject)),
        }
    }
}
