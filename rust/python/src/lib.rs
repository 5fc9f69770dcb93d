//! The binding `perdure._core`: conversion and pyclasses only. What is decided is decided in `perdure-core`.

mod backoff;
mod batch;
mod convert;
mod errors;
mod execution;
mod operation;
mod scope;
mod shared;
mod text;

use perdure_core::limits;
use pyo3::prelude::*;

/// Raises a `ValidationError` for a subtype that the service refuses.
#[pyfunction]
#[pyo3(signature = (text, /))]
fn check_sub_type(text: &str) -> Result<(), errors::Error> {
    Ok(limits::sub_type(text)?)
}

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<execution::Execution>()?;
    module.add_class::<scope::Scope>()?;
    module.add_function(wrap_pyfunction!(check_sub_type, module)?)?;
    operation::register(module)?;
    batch::register(module)?;
    backoff::register(module)?;
    perdure_codec::register(module)
}
