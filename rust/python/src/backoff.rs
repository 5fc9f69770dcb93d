//! The backoff arithmetic of `perdure-core`, for `perdure.retries` and `perdure.waits`.

use perdure_core::retry::{self, Jitter};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

#[pyfunction]
pub fn exponential_delay(attempt: u32, initial: f64, rate: f64, cap: f64) -> f64 {
    retry::exponential(attempt, initial, rate, cap)
}

#[pyfunction]
pub fn linear_delay(attempt: u32, initial: f64, increment: f64, cap: f64) -> f64 {
    retry::linear(attempt, initial, increment, cap)
}

#[pyfunction]
pub fn jittered_delay(delay: f64, jitter: &str, random: f64) -> PyResult<f64> {
    let unknown = || PyValueError::new_err(format!("unknown jitter {jitter:?}: use NONE, FULL or HALF"));
    Ok(retry::jittered(delay, Jitter::parse(jitter).ok_or_else(unknown)?, random))
}

#[pyfunction]
pub fn whole_seconds(delay: f64) -> u32 {
    retry::whole_seconds(delay)
}
