//! What the engine carries about without reading it: references to the Python objects that came in, or text that came
//! over the wire and has not been Python's yet.

use std::sync::Arc;

use perdure_codec::Source;
use perdure_core::operation::Payload;
use perdure_core::wire::Wired;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::object::Object;

/// A text (payload, callback id, token) or an error object.
#[derive(Debug)]
pub struct Text {
    form: Form,
    json_len: usize,
}

#[derive(Debug)]
enum Form {
    /// A string of Python's, or an error object (a dict) that it had.
    Object(Object),
    /// An error object on its way out, and the JSON that it is.
    Error(Object, Arc<str>),
    /// A text of the wire's.
    Text(Arc<str>),
    /// An error object of the wire's, as JSON.
    Json(Arc<str>),
}

impl Payload for Text {
    fn json_len(&self) -> usize {
        self.json_len
    }
}

impl Wired for Text {
    fn text(text: &str) -> Self {
        Self { form: Form::Text(text.into()), json_len: 0 }
    }

    fn json(json: &str) -> Self {
        Self { form: Form::Json(json.into()), json_len: 0 }
    }
}

impl Text {
    /// Something recorded, which is never sent again and so need not be measured.
    pub fn recorded(object: Bound<'_, PyAny>) -> Self {
        Self { form: Form::Object(Object::new(object)), json_len: 0 }
    }

    /// A string on its way out.
    pub fn outgoing(text: &Bound<'_, PyString>) -> Self {
        Self { form: Form::Object(Object::new(text.clone().into_any())), json_len: string_len(text) }
    }

    /// An error object on its way out.
    pub fn error(error: &Bound<'_, PyDict>) -> PyResult<Self> {
        let json: Arc<str> = perdure_codec::encode_json(error)?.to_str()?.into();
        let json_len = json.len();
        Ok(Self { form: Form::Error(Object::new(error.clone().into_any()), json), json_len })
    }

    /// What it holds, to be looked at without a lock: no Python object is made of it here.
    #[inline]
    pub fn share<'py>(&self, py: Python<'py>) -> Value<Bound<'py, PyAny>> {
        match &self.form {
            Form::Object(object) => Value::Object(object.get(py)),
            Form::Error(object, json) => Value::Error(object.get(py), Arc::clone(json)),
            Form::Text(text) => Value::Text(Arc::clone(text)),
            Form::Json(json) => Value::Json(Arc::clone(json)),
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
    Error(O, Arc<str>),
    Text(Arc<str>),
    Json(Arc<str>),
}

impl Value {
    /// It as an object of Python's.
    pub fn object<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.bind(py).object(py)
    }

    fn bind<'py>(&self, py: Python<'py>) -> Value<Bound<'py, PyAny>> {
        match self {
            Self::Object(object) => Value::Object(object.bind(py).clone()),
            Self::Error(object, json) => Value::Error(object.bind(py).clone(), Arc::clone(json)),
            Self::Text(text) => Value::Text(Arc::clone(text)),
            Self::Json(json) => Value::Json(Arc::clone(json)),
        }
    }
}

impl<'py> Value<Bound<'py, PyAny>> {
    /// The same, no longer tied to the GIL.
    pub fn unbind(self) -> Value {
        match self {
            Self::Object(object) => Value::Object(object.unbind()),
            Self::Error(object, json) => Value::Error(object.unbind(), json),
            Self::Text(text) => Value::Text(text),
            Self::Json(json) => Value::Json(json),
        }
    }

    /// It as an object of Python's.
    pub fn object(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Object(object) | Self::Error(object, _) => Ok(object.clone()),
            Self::Text(text) => Ok(PyString::new(py, text).into_any()),
            Self::Json(json) => perdure_codec::decode_json(Source::Text(py, json)),
        }
    }

    /// What a payload stands for.
    #[inline]
    pub fn decode(&self, py: Python<'py>, decode: Decode) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Object(object) => decode(Source::String(object.cast::<PyString>()?)),
            Self::Text(text) | Self::Json(text) | Self::Error(_, text) => decode(Source::Text(py, text)),
        }
    }

    /// Appends it as JSON.
    pub fn write(&self, out: &mut Vec<u8>) -> PyResult<()> {
        match self {
            Self::Object(object) => perdure_codec::write_json(out, object)?,
            Self::Text(text) => perdure_json::quote(out, text),
            Self::Json(json) | Self::Error(_, json) => out.extend_from_slice(json.as_bytes()),
        }
        Ok(())
    }

    /// How many characters a text has; an object has none.
    pub fn len(&self) -> usize {
        match self {
            Self::Object(object) => object.cast::<PyString>().map_or(0, |text| text.len().unwrap_or(0)),
            Self::Text(text) => text.chars().count(),
            Self::Json(_) | Self::Error(..) => 0,
        }
    }
}

/// Reads a payload.
pub type Decode = for<'py> fn(Source<'_, 'py>) -> PyResult<Bound<'py, PyAny>>;
