//! Python objects to and from the payload text of durable operations.

use pyo3::prelude::*;

/// Adds this crate's functions to the extension module.
pub fn register(_module: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
