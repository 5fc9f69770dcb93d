//! What kind of Python object a value is, as far as payloads are concerned.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

/// A value by its kind. Scalars include subclasses (an `IntEnum` is an int), as they do for `json`; containers keep
/// subclasses apart, which may iterate in a way of their own.
pub enum Shape<'a, 'py> {
    None,
    Bool(bool),
    Int(&'a Bound<'py, PyInt>),
    Float(&'a Bound<'py, PyFloat>),
    Str(&'a Bound<'py, PyString>),
    List(&'a Bound<'py, PyList>),
    Tuple(&'a Bound<'py, PyTuple>),
    Dict(&'a Bound<'py, PyDict>),
    ListSubclass,
    TupleSubclass,
    DictSubclass,
    Other,
}

impl<'a, 'py> Shape<'a, 'py> {
    #[inline]
    pub fn of(value: &'a Bound<'py, PyAny>) -> Self {
        // The common types first, each one comparison of a pointer.
        if let Ok(string) = value.cast_exact::<PyString>() {
            Self::Str(string)
        } else if let Ok(int) = value.cast_exact::<PyInt>() {
            Self::Int(int)
        } else if let Ok(dict) = value.cast_exact::<PyDict>() {
            Self::Dict(dict)
        } else if let Ok(list) = value.cast_exact::<PyList>() {
            Self::List(list)
        } else if let Ok(float) = value.cast_exact::<PyFloat>() {
            Self::Float(float)
        } else if let Ok(boolean) = value.cast_exact::<PyBool>() {
            Self::Bool(boolean.is_true())
        } else if value.is_none() {
            Self::None
        } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            Self::Tuple(tuple)
        } else {
            Self::of_subclass(value)
        }
    }

    #[cold]
    fn of_subclass(value: &'a Bound<'py, PyAny>) -> Self {
        if let Ok(string) = value.cast::<PyString>() {
            Self::Str(string)
        } else if let Ok(int) = value.cast::<PyInt>() {
            Self::Int(int)
        } else if let Ok(float) = value.cast::<PyFloat>() {
            Self::Float(float)
        } else if value.is_instance_of::<PyDict>() {
            Self::DictSubclass
        } else if value.is_instance_of::<PyList>() {
            Self::ListSubclass
        } else if value.is_instance_of::<PyTuple>() {
            Self::TupleSubclass
        } else {
            Self::Other
        }
    }
}
