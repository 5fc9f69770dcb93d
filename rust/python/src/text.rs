//! What the engine carries about: references to the Python objects that came in, read only where they are needed.

use perdure_core::operation::{Payload, json_text_len};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::object::Object;

/// A string (payload, callback id, token) or an error object (a dict), with its length as JSON.
#[derive(Debug)]
pub struct Text {
    object: Object,
    json_len: usize,
}

impl Payload for Text {
    fn json_len(&self) -> usize {
        self.json_len
    }
}

impl Text {
    /// Something recorded, which is never sent again and so need not be measured.
    pub fn recorded(object: Bound<'_, PyAny>) -> Self {
        Self { object: Object::new(object), json_len: 0 }
    }

    /// A string on its way out.
    pub fn outgoing(text: &Bound<'_, PyString>) -> Self {
        Self { object: Object::new(text.clone().into_any()), json_len: string_len(text) }
    }

    /// An error object on its way out.
    pub fn error(error: &Bound<'_, PyDict>) -> PyResult<Self> {
        let json_len = perdure_codec::encode_json(error)?.len()?;
        Ok(Self { object: Object::new(error.clone().into_any()), json_len })
    }

    /// The object itself.
    pub fn get<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.object.get(py)
    }
}

fn string_len(text: &Bound<'_, PyString>) -> usize {
    match text.to_str() {
        Ok(text) => json_text_len(text),
        // Lone surrogates: each is replaced by up to three characters here, so the length is never too small.
        Err(_) => json_text_len(&text.to_string_lossy()),
    }
}
