//! `Ready`: what an asynchronous context gives for an operation that is over. Awaited, it is its value at once: no task, no
//! future, no turn of the event loop. It may be awaited any number of times, and passes for a coroutine, so that it can be
//! made a task.

use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;

#[pyclass(frozen, module = "perdure._core", freelist = 8)]
pub struct Ready {
    #[pyo3(get)]
    value: Py<PyAny>,
}

impl Ready {
    pub const fn of(value: Py<PyAny>) -> Self {
        Self { value }
    }
}

#[pymethods] // documented in _core.pyi
impl Ready {
    #[new]
    fn new(value: Py<PyAny>) -> Self {
        Self { value }
    }

    const fn __await__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    const fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<()> {
        Err(PyErr::from_value(py.get_type::<PyStopIteration>().call1((&self.value,))?))
    }

    fn send(&self, py: Python<'_>, _value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.__next__(py)
    }

    #[pyo3(signature = (error, *_rest))]
    #[expect(clippy::unused_self, reason = "nothing is open")]
    fn throw(&self, error: Bound<'_, PyAny>, _rest: &Bound<'_, PyAny>) -> PyResult<()> {
        Err(PyErr::from_value(error))
    }

    #[expect(clippy::unused_self, reason = "nothing is open")]
    const fn close(&self) {}
}
