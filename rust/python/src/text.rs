//! What the engine carries about without reading it: references to the Python objects that came in, or pieces of answers
//! that have not been Python's yet.

use std::sync::Arc;

use perdure_codec::Source;
use perdure_core::operation::Payload;
use perdure_core::wire::Piece;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::object::Object;

/// A text (payload, callback id, token) or an error object.
#[derive(Debug)]
pub enum Text {
    /// A string of Python's, with its length as JSON; or an error object (a dict) that it had.
    Object(Object, usize),
    /// An error object on its way out, and the JSON that it is.
    Error(Object, Arc<String>),
    /// What stands in an answer.
    Piece(Piece),
}

impl Payload for Text {
    fn json_len(&self) -> usize {
        match self {
            Self::Object(_, length) => *length,
            Self::Error(_, json) => json.len(),
            Self::Piece(piece) => piece.json().len(),
        }
    }
}

impl From<Piece> for Text {
    fn from(piece: Piece) -> Self {
        Self::Piece(piece)
    }
}

impl Text {
    /// Something recorded, which is never sent again and so need not be measured.
    pub fn recorded(object: Bound<'_, PyAny>) -> Self {
        Self::Object(Object::new(object), 0)
    }

    /// A string on its way out.
    pub fn outgoing(text: &Bound<'_, PyString>) -> Self {
        Self::Object(Object::new(text.clone().into_any()), string_len(text))
    }

    /// An error object on its way out.
    pub fn error(error: &Bound<'_, PyDict>) -> PyResult<Self> {
        let json = perdure_codec::encode_json(error)?.to_str()?.to_owned();
        Ok(Self::Error(Object::new(error.clone().into_any()), Arc::new(json)))
    }

    /// The same once more.
    pub fn again(&self, py: Python<'_>) -> Self {
        match self {
            Self::Object(object, length) => Self::Object(Object::new(object.get(py)), *length),
            Self::Error(object, json) => Self::Error(Object::new(object.get(py)), Arc::clone(json)),
            Self::Piece(piece) => Self::Piece(piece.clone()),
        }
    }

    /// It as an object of Python's.
    pub fn object<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Object(object, _) | Self::Error(object, _) => Ok(object.get(py)),
            Self::Piece(piece) => made(py, piece),
        }
    }

    /// Appends it as JSON.
    pub fn write(&self, py: Python<'_>, out: &mut Vec<u8>) -> PyResult<()> {
        match self {
            Self::Object(object, _) => perdure_codec::write_json(out, &object.get(py))?,
            Self::Error(_, json) => out.extend_from_slice(json.as_bytes()),
            Self::Piece(piece) => out.extend_from_slice(piece.json().as_bytes()),
        }
        Ok(())
    }

    /// How many characters a string has; anything else has none.
    pub fn len(&self, py: Python<'_>) -> usize {
        match self {
            Self::Object(object, _) => object.get(py).cast::<PyString>().map_or(0, |text| text.len().unwrap_or(0)),
            Self::Error(..) | Self::Piece(_) => 0,
        }
    }

    /// What it holds, to be looked at without a lock: no Python object is made of it here.
    #[inline]
    pub fn share<'py>(&self, py: Python<'py>) -> Value<Bound<'py, PyAny>> {
        match self {
            Self::Object(object, _) | Self::Error(object, _) => Value::Object(object.get(py)),
            Self::Piece(piece) => Value::Piece(piece.clone()),
        }
    }
}

fn string_len(text: &Bound<'_, PyString>) -> usize {
    match text.to_str() {
        Ok(text) => perdure_json::text_len(text),
        // Lone surrogates: each is replaced by up to three characters here, so the length is never too small.
        Err(_) => perdure_json::text_len(&text.to_string_lossy()),
    }
}

/// What a [`Text`] holds, by itself.
pub enum Value<O = Py<PyAny>> {
    Object(O),
    Piece(Piece),
}

impl Value {
    /// It as an object of Python's.
    pub fn object<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Object(object) => Ok(object.bind(py).clone()),
            Self::Piece(piece) => made(py, piece),
        }
    }
}

impl<'py> Value<Bound<'py, PyAny>> {
    /// The same, no longer tied to the GIL.
    pub fn unbind(self) -> Value {
        match self {
            Self::Object(object) => Value::Object(object.unbind()),
            Self::Piece(piece) => Value::Piece(piece),
        }
    }

    /// It as an object of Python's.
    pub fn object(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Object(object) => Ok(object.clone()),
            Self::Piece(piece) => made(py, piece),
        }
    }

    /// What a payload stands for.
    #[inline]
    pub fn decode(&self, py: Python<'py>, decode: Decode) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Object(object) => decode(Source::String(object.cast::<PyString>()?)),
            Self::Piece(piece) => decode(Source::Quoted(py, piece.json())),
        }
    }
}

/// A string, or an error object.
fn made<'py>(py: Python<'py>, piece: &Piece) -> PyResult<Bound<'py, PyAny>> {
    let json = piece.json();
    if json.starts_with('"') {
        Source::Quoted(py, json).string()
    } else {
        perdure_codec::decode_json(Source::Text(py, json))
    }
}

/// Reads a payload.
pub type Decode = for<'py> fn(Source<'_, 'py>) -> PyResult<Bound<'py, PyAny>>;
