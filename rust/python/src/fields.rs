//! `Fields`: what is told of an operation, as the native part of an `OperationInfo` of `perdure.plugin`.
//!
//! An info is one object with a place for each field: no dict is made, filled and dropped for it, and none is copied where
//! the next info of the same operation tells the same but for a time.

use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::info::at;

/// A field's value; most fields of most infos are None, for which no reference is kept.
pub type Field = Option<Py<PyAny>>;

/// A moment. The datetime of one that was noted here is made when somebody asks for it.
#[derive(Default)]
pub enum Time {
    #[default]
    None,
    /// In Unix seconds.
    Noted(f64),
    Known(Py<PyAny>),
}

impl Time {
    pub fn of(value: Bound<'_, PyAny>) -> Self {
        if value.is_none() { Self::None } else { Self::Known(value.unbind()) }
    }

    fn again(&self, py: Python<'_>) -> Self {
        match self {
            Self::None => Self::None,
            Self::Noted(seconds) => Self::Noted(*seconds),
            Self::Known(moment) => Self::Known(moment.clone_ref(py)),
        }
    }

    fn get<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::None => Ok(py.None().into_bound(py)),
            Self::Noted(seconds) => at(py, *seconds),
            Self::Known(moment) => Ok(moment.bind(py).clone()),
        }
    }

    /// The same object each time.
    fn keep<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let moment = self.get(py)?;
        if let Self::Noted(_) = self {
            *self = Self::Known(moment.clone().unbind());
        }
        Ok(moment)
    }
}

macro_rules! fields {
    ($($field:ident),+) => {
        #[pyclass(subclass, weakref, name = "OperationFields", module = "perdure._core")]
        #[derive(Default)]
        pub struct Fields {
            $(#[pyo3(get, set)] pub $field: Field,)+
            pub start_time: Time,
            pub end_time: Time,
            /// Functions alone have these two.
            pub is_replay_children: Field,
            pub outcome: Field,
        }

        impl Fields {
            /// The same once more.
            pub fn again(&self, py: Python<'_>) -> Self {
                let too = |field: &Field| field.as_ref().map(|value| value.clone_ref(py));
                Self {
                    $($field: too(&self.$field),)+
                    start_time: self.start_time.again(py),
                    end_time: self.end_time.again(py),
                    is_replay_children: too(&self.is_replay_children),
                    outcome: too(&self.outcome),
                }
            }

            /// They as a dict.
            pub fn dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
                let dict = PyDict::new(py);
                $(dict.set_item(stringify!($field), &self.$field)?;)+
                dict.set_item("start_time", self.start_time.get(py)?)?;
                dict.set_item("end_time", self.end_time.get(py)?)?;
                if let Some(is_again) = &self.is_replay_children {
                    dict.set_item("is_replay_children", is_again)?;
                }
                Ok(dict)
            }

            /// Those of a dict.
            pub fn of(dict: &Bound<'_, PyDict>) -> PyResult<Self> {
                let mut fields = Self::default();
                let own = |value: Bound<'_, PyAny>| (!value.is_none()).then(|| value.unbind());
                $(fields.$field = dict.get_item(stringify!($field))?.and_then(own);)+
                fields.start_time = dict.get_item("start_time")?.map_or(Time::None, Time::of);
                fields.end_time = dict.get_item("end_time")?.map_or(Time::None, Time::of);
                fields.is_replay_children = dict.get_item("is_replay_children")?.map(Bound::unbind);
                Ok(fields)
            }
        }
    };
}

fields!(operation_id, operation_type, sub_type, name, parent_id, is_replayed, status, result, error, attempt);

fn known<'py>(py: Python<'py>, field: Option<&Py<PyAny>>, name: &'static str) -> PyResult<Bound<'py, PyAny>> {
    field.map(|value| value.bind(py).clone()).ok_or_else(|| PyAttributeError::new_err(name))
}

#[pymethods] // documented in _core.pyi
impl Fields {
    #[new]
    #[pyo3(signature = (*given, **named))]
    fn new(given: &Bound<'_, PyTuple>, named: Option<&Bound<'_, PyDict>>) -> Self {
        let _ = (given, named); // which `__init__` looks at
        Self::default()
    }

    #[getter]
    fn start_time<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.start_time.keep(py)
    }

    #[setter]
    fn set_start_time(&mut self, value: Bound<'_, PyAny>) {
        self.start_time = Time::of(value);
    }

    #[getter]
    fn end_time<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.end_time.keep(py)
    }

    #[setter]
    fn set_end_time(&mut self, value: Bound<'_, PyAny>) {
        self.end_time = Time::of(value);
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
