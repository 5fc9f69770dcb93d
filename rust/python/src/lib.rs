//! The binding `perdure._core`: conversion and pyclasses only. What is decided is decided in `perdure-core`.

mod backoff;

use pyo3::prelude::*;

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    backoff::register(module)?;
    perdure_codec::register(module)
}
