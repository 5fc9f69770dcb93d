//! Where a payload text stands: in a string of Python's, or in memory of ours, maybe as the JSON string that it came in.

use std::borrow::Cow;

use jiter::Jiter;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::halt::Halt;
use crate::reference;

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
            Self::Quoted(_, json) => unquoted(json),
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

/// The text of a JSON string; a piece of that, if nothing in it is escaped.
fn unquoted(json: &str) -> Result<Cow<'_, str>, Halt> {
    let mut jiter = Jiter::new(json.as_bytes());
    jiter.next_str().map_err(|_| Halt::Unusual)?;
    // Where it has put together what was escaped.
    let tape = jiter.into_tape();
    if tape.is_empty() {
        return json.get(1..json.len() - 1).map(Cow::Borrowed).ok_or(Halt::Unusual);
    }
    String::from_utf8(tape).map(Cow::Owned).map_err(|_| Halt::Unusual)
}

impl<'a, 'py> From<&'a Bound<'py, PyString>> for Source<'a, 'py> {
    fn from(string: &'a Bound<'py, PyString>) -> Self {
        Self::String(string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_string_is_read_with_its_escapes() {
        for (json, text) in [
            (r#""""#, ""),
            (r#""plain é😀""#, "plain é😀"),
            (r#""{\"t\":\"s\",\"v\":\"x\"}""#, r#"{"t":"s","v":"x"}"#),
            (r#""\u0000""#, "\0"),
            (r#""\u00e9 \ud83d\ude00 \n\\\/""#, "é 😀 \n\\/"),
        ] {
            assert_eq!(unquoted(json).expect("it is sound"), text, "{json}");
        }
        for json in ["", "\"", "x", r#""\ud800""#, r#""\q""#] {
            assert!(unquoted(json).is_err(), "{json}");
        }
    }
}
