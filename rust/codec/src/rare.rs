//! The less common types: UUID, Decimal, datetime, date and `BatchResult`, without importing their modules.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyType};

use crate::halt::Halt;

/// A class of a module that is imported only when it is needed.
pub struct LazyType {
    module: &'static str,
    name: &'static str,
    class: PyOnceLock<Py<PyType>>,
}

pub static UUID: LazyType = LazyType::new("uuid", "UUID");
pub static DECIMAL: LazyType = LazyType::new("decimal", "Decimal");
pub static DATETIME: LazyType = LazyType::new("datetime", "datetime");
pub static DATE: LazyType = LazyType::new("datetime", "date");
pub static BATCH_RESULT: LazyType = LazyType::new("perdure.concurrency.models", "BatchResult");

impl LazyType {
    const fn new(module: &'static str, name: &'static str) -> Self {
        Self { module, name, class: PyOnceLock::new() }
    }

    /// The class, importing its module if need be.
    pub fn get<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyType>> {
        self.class.import(py, self.module, self.name)
    }

    /// Whether `value` is an instance. Where the module is not loaded nothing can be, and it is not loaded for that.
    fn describes(&self, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = value.py();
        if self.class.get(py).is_none() && !is_loaded(py, self.module)? {
            return Ok(false);
        }
        value.is_instance(self.get(py)?)
    }
}

fn is_loaded(py: Python<'_>, module: &str) -> PyResult<bool> {
    static MODULES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    let modules = MODULES.get_or_try_init(py, || -> PyResult<_> {
        Ok(py.import("sys")?.getattr("modules")?.cast_into::<PyDict>()?.unbind())
    })?;
    modules.bind(py).contains(module)
}

/// What a rare value becomes.
pub enum Rare<'py> {
    /// A tag and the text that stands for the value.
    Text(&'static str, Bound<'py, PyString>),
    /// A UUID, by its number.
    Uuid(u128),
    /// A `BatchResult`, as its dict.
    Batch(Bound<'py, PyDict>),
}

pub fn of<'py>(value: &Bound<'py, PyAny>) -> Result<Rare<'py>, Halt> {
    let py = value.py();
    if DATETIME.describes(value)? {
        return Ok(Rare::Text("dt", text(value.call_method0(intern!(py, "isoformat"))?)?));
    }
    if DATE.describes(value)? {
        return Ok(Rare::Text("D", text(value.call_method0(intern!(py, "isoformat"))?)?));
    }
    if DECIMAL.describes(value)? {
        return Ok(Rare::Text("d", value.str()?));
    }
    if UUID.describes(value)? {
        // The exact class needs no Python code to run; a subclass may have a `__str__` of its own.
        if value.get_type().is(UUID.get(py)?) {
            return Ok(Rare::Uuid(value.getattr(intern!(py, "int"))?.extract()?));
        }
        return Ok(Rare::Text("u", value.str()?));
    }
    if BATCH_RESULT.describes(value)? {
        let dict = value.call_method0(intern!(py, "to_dict"))?;
        return Ok(Rare::Batch(dict.cast_into_exact::<PyDict>().map_err(|_| Halt::Unusual)?));
    }
    Err(Halt::Unusual)
}

fn text(value: Bound<'_, PyAny>) -> Result<Bound<'_, PyString>, Halt> {
    value.cast_into::<PyString>().map_err(|_| Halt::Unusual)
}

/// Appends the canonical hexadecimal form of a UUID.
pub fn uuid(out: &mut Vec<u8>, number: u128) {
    for (index, byte) in number.to_be_bytes().into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        for nibble in [byte >> 4, byte & 0xf] {
            out.push(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_uuid_has_the_canonical_form() {
        let mut out = Vec::new();
        super::uuid(&mut out, 0x0123_4567_89ab_cdef_0000_0000_0000_000f);
        assert_eq!(out, b"01234567-89ab-cdef-0000-00000000000f");
    }
}
