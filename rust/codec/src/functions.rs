//! The functions as Python sees them. The readers take anything, as `json.loads` does, and leave all but str to it.

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::reference;

#[pyfunction]
#[pyo3(signature = (value, /))]
fn encode_extended<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    crate::encode_extended(value)
}

#[pyfunction]
#[pyo3(signature = (text, /))]
fn decode_extended<'py>(text: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    match text.cast::<PyString>() {
        Ok(text) => crate::decode_extended(text.into()),
        Err(_) => reference::get(text.py())?.decode_extended(text),
    }
}

#[pyfunction]
#[pyo3(signature = (value, /))]
fn encode_json<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    crate::encode_json(value)
}

#[pyfunction]
#[pyo3(signature = (text, /))]
fn decode_json<'py>(text: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    match text.cast::<PyString>() {
        Ok(text) => crate::decode_json(text.into()),
        Err(_) => reference::get(text.py())?.decode_json(text),
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(encode_extended, module)?)?;
    module.add_function(wrap_pyfunction!(decode_extended, module)?)?;
    module.add_function(wrap_pyfunction!(encode_json, module)?)?;
    module.add_function(wrap_pyfunction!(decode_json, module)?)
}
