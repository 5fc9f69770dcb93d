//! The backoff arithmetic of `perdure-core`, for `perdure.retries` and `perdure.waits`.

use perdure_core::retry::{self, Jitter};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

#[pyfunction]
fn exponential_delay(attempt: u32, initial: f64, rate: f64, cap: f64) -> f64 {
    retry::exponential(attempt, initial, rate, cap)
}

#[pyfunction]
fn linear_delay(attempt: u32, initial: f64, increment: f64, cap: f64) -> f64 {
    retry::linear(attempt, initial, increment, cap)
}

#[pyfunction]
fn jittered_delay(delay: f64, jitter: &str, random: f64) -> PyResult<f64> {
    let jitter = match jitter {
        "NONE" => Jitter::None,
        "FULL" => Jitter::Full,
        "HALF" => Jitter::Half,
        other => return Err(PyValueError::new_err(format!("unknown jitter {other:?}: use NONE, FULL or HALF"))),
    };
    Ok(retry::jittered(delay, jitter, random))
}

#[pyfunction]
fn whole_seconds(delay: f64) -> u32 {
    retry::whole_seconds(delay)
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(exponential_delay, module)?)?;
    module.add_function(wrap_pyfunction!(linear_delay, module)?)?;
    module.add_function(wrap_pyfunction!(jittered_delay, module)?)?;
    module.add_function(wrap_pyfunction!(whole_seconds, module)?)
}
