//! The members of the wire's objects, each read as what it must be; what is not raises a `ValueError` that names it.

use perdure_core::operation::Millis;
use perdure_core::wire::{MAX_ATTEMPTS, MOMENTS};
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDateTime, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use crate::text::Text;

/// A member that is there, with the key under which it stands.
pub struct Member<'a, 'py> {
    key: &'a Bound<'py, PyString>,
    value: Bound<'py, PyAny>,
}

/// The member under `key`; None and nothing are the same.
#[inline]
pub fn member<'a, 'py>(dict: &Bound<'py, PyDict>, key: &'a Bound<'py, PyString>) -> PyResult<Option<Member<'a, 'py>>> {
    Ok(dict.get_item(key)?.filter(|value| !value.is_none()).map(|value| Member { key, value }))
}

/// The member under `key`, which must be there.
#[inline]
pub fn required<'a, 'py>(dict: &Bound<'py, PyDict>, key: &'a Bound<'py, PyString>) -> PyResult<Member<'a, 'py>> {
    member(dict, key)?.ok_or_else(|| missing(key))
}

#[cold]
fn missing(key: &Bound<'_, PyString>) -> PyErr {
    PyValueError::new_err(format!("it has no {key}"))
}

impl<'py> Member<'_, 'py> {
    /// A text that says something.
    #[inline]
    pub fn as_name(&self) -> PyResult<&str> {
        let text = self.as_str()?;
        if text.is_empty() { Err(missing(self.key)) } else { Ok(text) }
    }

    /// A text without lone surrogates.
    #[inline]
    pub fn as_str(&self) -> PyResult<&str> {
        self.value.cast::<PyString>().ok().and_then(|text| text.to_str().ok()).ok_or_else(|| self.odd("text"))
    }

    #[inline]
    pub fn as_dict(&self) -> PyResult<&Bound<'py, PyDict>> {
        self.value.cast::<PyDict>().map_err(|_| self.odd("object"))
    }

    /// A text that is carried about, whatever is in it.
    #[inline]
    pub fn into_text(self) -> PyResult<Text> {
        if self.value.is_instance_of::<PyString>() { Ok(Text::recorded(self.value)) } else { Err(self.odd("text")) }
    }

    /// An error object.
    pub fn into_error(self) -> PyResult<Text> {
        let py = self.value.py();
        let error = self.as_dict()?;
        for key in [intern!(py, "ErrorMessage"), intern!(py, "ErrorType"), intern!(py, "ErrorData")] {
            if let Some(member) = member(error, key)? {
                member.into_text()?;
            }
        }
        if let Some(lines) = member(error, intern!(py, "StackTrace"))?
            && !lines.is_list_of_texts()
        {
            return Err(lines.odd("list of texts"));
        }
        Ok(Text::recorded(self.value))
    }

    /// A number of attempts.
    pub fn as_count(&self) -> PyResult<u32> {
        let count = self.as_int().and_then(|count| u32::try_from(count).ok());
        count.filter(|count| *count <= MAX_ATTEMPTS).ok_or_else(|| self.odd("count"))
    }

    pub fn as_flag(&self) -> PyResult<bool> {
        Ok(self.value.cast::<PyBool>().map_err(|_| self.odd("truth value"))?.is_true())
    }

    /// A moment: Unix milliseconds in an event, a datetime in a response.
    pub fn as_moment(&self) -> PyResult<Millis> {
        self.moment()?.ok_or_else(|| self.odd("moment (Unix milliseconds, or a datetime)"))
    }

    /// The same, where an odd one tells nothing.
    pub fn moment(&self) -> PyResult<Option<Millis>> {
        Ok(self.milliseconds()?.filter(|moment| MOMENTS.contains(moment)))
    }

    fn milliseconds(&self) -> PyResult<Option<Millis>> {
        if self.value.is_instance_of::<PyInt>() {
            return Ok(self.as_int());
        }
        let milliseconds = if let Ok(float) = self.value.cast::<PyFloat>() {
            float.value()
        } else if self.value.is_instance_of::<PyDateTime>() {
            match self.value.call_method0(intern!(self.value.py(), "timestamp")) {
                Ok(seconds) => seconds.extract::<f64>()? * 1_000.0,
                Err(raised) if raised.is_instance_of::<PyException>(self.value.py()) => return Ok(None),
                Err(raised) => return Err(raised),
            }
        } else {
            return Ok(None);
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "what is too large becomes the largest, which is no moment"
        )]
        Ok(milliseconds.is_finite().then(|| milliseconds.round() as Millis))
    }

    fn is_list_of_texts(&self) -> bool {
        match (self.value.cast::<PyList>(), self.value.cast::<PyTuple>()) {
            (Ok(list), _) => list.iter().all(|line| line.is_instance_of::<PyString>()),
            (_, Ok(tuple)) => tuple.iter().all(|line| line.is_instance_of::<PyString>()),
            _ => false,
        }
    }

    /// A whole number; True is none.
    fn as_int(&self) -> Option<i64> {
        let is_int = self.value.is_instance_of::<PyInt>() && !self.value.is_instance_of::<PyBool>();
        if is_int { self.value.extract().ok() } else { None }
    }

    #[cold]
    fn odd(&self, expected: &str) -> PyErr {
        odd(&self.key.to_string_lossy(), &self.value, expected)
    }
}

/// The error for what is not what it must be.
#[cold]
pub fn odd(what: &str, value: &Bound<'_, PyAny>, expected: &str) -> PyErr {
    const SHOWN: usize = 80;
    let shown = match value.repr() {
        Ok(repr) => repr.to_string_lossy().into_owned(),
        Err(raised) if raised.is_instance_of::<PyException>(value.py()) => format!("{}", value.get_type()),
        Err(raised) => return raised,
    };
    let (shown, rest) = match shown.char_indices().nth(SHOWN) {
        Some((end, _)) => (&shown[..end], "…"),
        None => (&shown[..], ""),
    };
    PyValueError::new_err(format!("{what} is no {expected} but {shown}{rest}"))
}
