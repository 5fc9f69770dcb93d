//! Where a payload text stands: in a string of Python's, or in memory of ours, maybe as the JSON string that it came in.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::halt::Halt;
use crate::reference;
use crate::unescape::unescape;

/// A text to be read.
#[derive(Clone, Copy)]
pub enum Source<'a, 'py> {
    String(&'a Bound<'py, PyString>),
    Text(Python<'py>, &'a str),
    /// As JSON has it, with its quotes and escapes.
    Quoted(Python<'py>, &'a str),
}

impl<'a, 'py> Source<'a, 'py> {
    pub(crate) fn py(self) -> Python<'py> {
        match self {
            Self::String(string) => string.py(),
            Self::Text(py, _) | Self::Quoted(py, _) => py,
        }
    }

    /// The text itself. A string with lone surrogates of its own has no UTF-8.
    #[inline]
    pub(crate) fn text(self) -> Result<Cow<'a, str>, Halt> {
        match self {
            Self::String(string) => string.to_str().map(Cow::Borrowed).map_err(|_| Halt::Unusual),
            Self::Text(_, text) => Ok(Cow::Borrowed(text)),
            Self::Quoted(_, json) if json.contains('\\') => Ok(Cow::Owned(unescape(&json[1..])?.0)),
            Self::Quoted(_, json) => json.get(1..json.len() - 1).map(Cow::Borrowed).ok_or(Halt::Unusual),
        }
    }

    /// It as a string of Python's.
    pub fn string(self) -> PyResult<Bound<'py, PyAny>> {
        match (self, self.text()) {
            (Self::String(string), _) => Ok(string.clone().into_any()),
            (Self::Text(py, _) | Self::Quoted(py, _), Ok(text)) => Ok(PyString::new(py, &text).into_any()),
            (Self::Text(py, text) | Self::Quoted(py, text), Err(_)) => {
                reference::get(py)?.decode_json(PyString::new(py, text).as_any())
            }
        }
    }
}

impl<'a, 'py> From<&'a Bound<'py, PyString>> for Source<'a, 'py> {
    fn from(string: &'a Bound<'py, PyString>) -> Self {
        Self::String(string)
    }
}
