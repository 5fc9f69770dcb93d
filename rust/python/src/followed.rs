//! `Followed`: the flow of an operation whose end plugins are told of. The driver that blocks takes it apart; to any other it
//! is the generator that it goes around.

use pyo3::exceptions::PyStopIteration;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyTuple};

use crate::errors::EXCEPTIONS;
use crate::operation::Operation;
use crate::teller::Teller;

#[pyclass(frozen, module = "perdure._core")]
pub struct Followed {
    pub teller: Py<Teller>,
    pub operation: Py<Operation>,
    pub flow: Py<PyIterator>,
}

impl Followed {
    /// Tells of what the flow has come to, which is given back.
    pub fn ended<'py>(&self, py: Python<'py>, came: PyResult<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let (teller, operation) = (self.teller.bind(py), self.operation.bind(py));
        match came {
            Ok(value) => Teller::outcome(teller, operation, None).map(|()| value),
            Err(raised) if is_failure(py, &raised)? => {
                let raised = raised.into_value(py).into_bound(py).into_any();
                teller.call_method1(intern!(py, "operation_failed"), (operation, &raised))?;
                Err(PyErr::from_value(raised))
            }
            Err(raised) => Err(raised),
        }
    }

    /// What the flow asks for next, or that it has ended.
    fn next<'py>(&self, py: Python<'py>, next: PyResult<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        match next {
            Err(stopped) if stopped.is_instance_of::<PyStopIteration>(py) => {
                let value = stopped.value(py).getattr(intern!(py, "value"))?;
                self.ended(py, Ok(value))?;
                Err(stopped)
            }
            Err(raised) => self.ended(py, Err(raised)),
            next => next,
        }
    }
}

/// Whether it is what an operation fails with.
#[cold]
fn is_failure(py: Python<'_>, raised: &PyErr) -> PyResult<bool> {
    let module = py.import(EXCEPTIONS)?;
    let is = |kind| raised.value(py).is_instance(&module.getattr(kind)?);
    Ok(is("DurableOperationError")? || is("SerDesError")?)
}

#[pymethods]
impl Followed {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.send(&py.None().into_bound(py))
    }

    fn send<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = value.py();
        self.next(py, self.flow.bind(py).call_method1(intern!(py, "send"), (value,)))
    }

    #[pyo3(signature = (*what))]
    fn throw<'py>(&self, what: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        let py = what.py();
        self.next(py, self.flow.bind(py).call_method1(intern!(py, "throw"), what))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.flow.bind(py).call_method0(intern!(py, "close")).map(drop)
    }
}
