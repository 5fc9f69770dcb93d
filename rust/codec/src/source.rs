//! Where a payload text stands: in a string of Python's, or in memory of ours.

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::halt::Halt;

/// A text to be read.
#[derive(Clone, Copy)]
pub enum Source<'a, 'py> {
    String(&'a Bound<'py, PyString>),
    Text(Python<'py>, &'a str),
}

impl<'a, 'py> Source<'a, 'py> {
    pub(crate) fn py(self) -> Python<'py> {
        match self {
            Self::String(string) => string.py(),
            Self::Text(py, _) => py,
        }
    }

    /// The text itself. A string with lone surrogates of its own has no UTF-8.
    #[inline]
    pub(crate) fn text(self) -> Result<&'a str, Halt> {
        match self {
            Self::String(string) => string.to_str().map_err(|_| Halt::Unusual),
            Self::Text(_, text) => Ok(text),
        }
    }

    /// It as a string of Python's, for the reference.
    pub(crate) fn string(self) -> Bound<'py, PyAny> {
        match self {
            Self::String(string) => string.clone().into_any(),
            Self::Text(py, text) => PyString::new(py, text).into_any(),
        }
    }
}

impl<'a, 'py> From<&'a Bound<'py, PyString>> for Source<'a, 'py> {
    fn from(string: &'a Bound<'py, PyString>) -> Self {
        Self::String(string)
    }
}
