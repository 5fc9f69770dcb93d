//! `Fields`: what is told of an operation, as the native part of an `OperationInfo` of `perdure.plugin`.
//!
//! An info is one object with a place for each field: no dict is made, filled and dropped for it, and none is copied where
//! the next info of the same operation tells the same but for a time.

use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

macro_rules! fields {
    ($($field:ident),+) => {
        #[pyclass(subclass, weakref, name = "OperationFields", module = "perdure._core")]
        pub struct Fields {
            $(#[pyo3(get, set)] pub $field: Py<PyAny>,)+
            /// Functions alone have these two.
            pub is_replay_children: Option<Py<PyAny>>,
            pub outcome: Option<Py<PyAny>>,
        }

        impl Fields {
            pub fn none(py: Python<'_>) -> Self {
                Self { $($field: py.None(),)+ is_replay_children: None, outcome: None }
            }

            /// The same once more.
            pub fn again(&self, py: Python<'_>) -> Self {
                let too = |field: &Option<Py<PyAny>>| field.as_ref().map(|value| value.clone_ref(py));
                Self {
                    $($field: self.$field.clone_ref(py),)+
                    is_replay_children: too(&self.is_replay_children),
                    outcome: too(&self.outcome),
                }
            }

            /// They as a dict.
            pub fn dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
                let dict = PyDict::new(py);
                $(dict.set_item(stringify!($field), &self.$field)?;)+
                if let Some(is_again) = &self.is_replay_children {
                    dict.set_item("is_replay_children", is_again)?;
                }
                Ok(dict)
            }

            /// Those of a dict.
            pub fn of(dict: &Bound<'_, PyDict>) -> PyResult<Self> {
                let mut fields = Self::none(dict.py());
                $(if let Some(value) = dict.get_item(stringify!($field))? {
                    fields.$field = value.unbind();
                })+
                fields.is_replay_children = dict.get_item("is_replay_children")?.map(Bound::unbind);
                Ok(fields)
            }
        }
    };
}

fields!(
    operation_id,
    operation_type,
    sub_type,
    name,
    parent_id,
    start_time,
    is_replayed,
    status,
    end_time,
    result,
    error,
    attempt
);

fn known<'py>(py: Python<'py>, field: Option<&Py<PyAny>>, name: &'static str) -> PyResult<Bound<'py, PyAny>> {
    field.map(|value| value.bind(py).clone()).ok_or_else(|| PyAttributeError::new_err(name))
}

#[pymethods] // documented in _core.pyi
impl Fields {
    #[new]
    #[pyo3(signature = (*given, **named))]
    fn new(py: Python<'_>, given: &Bound<'_, PyTuple>, named: Option<&Bound<'_, PyDict>>) -> Self {
        let _ = (given, named); // which `__init__` looks at
        Self::none(py)
    }

    #[getter]
    fn is_replay_children<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        known(py, self.is_replay_children.as_ref(), "is_replay_children")
    }

    #[setter]
    fn set_is_replay_children(&mut self, value: Py<PyAny>) {
        self.is_replay_children = Some(value);
    }

    #[getter]
    fn outcome<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        known(py, self.outcome.as_ref(), "outcome")
    }

    #[setter]
    fn set_outcome(&mut self, value: Py<PyAny>) {
        self.outcome = Some(value);
    }
}
