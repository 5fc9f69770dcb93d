//! Scalars and keys, written alike in the envelope and in plain JSON.

use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt, PyString};

use crate::halt::Halt;
use crate::shape::Shape;
use crate::{number, reference};

pub fn boolean(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

#[inline]
pub fn string(out: &mut Vec<u8>, value: &Bound<'_, PyString>) -> Result<(), Halt> {
    if let Ok(text) = value.to_str() {
        perdure_json::quote(out, text);
    } else {
        // Lone surrogates, which have no UTF-8.
        let quoted = reference::get(value.py())?.quote(value)?;
        out.extend_from_slice(quoted.to_str()?.as_bytes());
    }
    Ok(())
}

#[inline]
pub fn int(out: &mut Vec<u8>, value: &Bound<'_, PyInt>) -> Result<(), Halt> {
    if let Ok(small) = value.extract::<i64>() {
        number::int(out, small);
    } else {
        // `int.__repr__` whatever the subclass, as `json` does; it enforces the interpreter's limit on digits.
        let digits = value.py().get_type::<PyInt>().call_method1("__repr__", (value,))?;
        out.extend_from_slice(digits.cast::<PyString>().map_err(|_| Halt::Unusual)?.to_str()?.as_bytes());
    }
    Ok(())
}

#[inline]
pub fn float(out: &mut Vec<u8>, value: &Bound<'_, PyFloat>) {
    number::float(out, value.value());
}

/// A dict key: numbers, booleans and None become their text, as in `json`, and are counted as `odd`.
#[inline]
pub fn key(out: &mut Vec<u8>, key: &Bound<'_, PyAny>, odd: &mut usize) -> Result<(), Halt> {
    match Shape::of(key) {
        Shape::Str(value) => return string(out, value),
        Shape::Int(value) => {
            out.push(b'"');
            int(out, value)?;
        }
        Shape::Float(value) => {
            out.push(b'"');
            float(out, value);
        }
        Shape::Bool(value) => {
            out.push(b'"');
            boolean(out, value);
        }
        Shape::None => out.extend_from_slice(b"\"null"),
        _ => return Err(Halt::Unusual),
    }
    out.push(b'"');
    *odd += 1;
    Ok(())
}
