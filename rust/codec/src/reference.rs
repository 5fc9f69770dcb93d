//! The Python reference codec: the functions of `perdure.serdes` and `json` that take what is unusual.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};

/// The reference functions, imported when they are first needed.
pub struct Reference {
    encode_extended: Py<PyAny>,
    decode_extended: Py<PyAny>,
    nesting_error: Py<PyAny>,
    dumps: Py<PyAny>,
    loads: Py<PyAny>,
    quote: Py<PyAny>,
    note_odd_keys: Py<PyAny>,
}

pub fn get(py: Python<'_>) -> PyResult<&'static Reference> {
    static REFERENCE: PyOnceLock<Reference> = PyOnceLock::new();
    REFERENCE.get_or_try_init(py, || {
        let serdes = py.import("perdure.serdes")?;
        let json = py.import("json")?;
        Ok(Reference {
            encode_extended: serdes.getattr("encode_reference")?.unbind(),
            decode_extended: serdes.getattr("decode_reference")?.unbind(),
            nesting_error: serdes.getattr("nesting_error")?.unbind(),
            dumps: json.getattr("dumps")?.unbind(),
            loads: json.getattr("loads")?.unbind(),
            quote: py.import("json.encoder")?.getattr("encode_basestring_ascii")?.unbind(),
            note_odd_keys: py.import("perdure._odd_keys")?.getattr("note")?.unbind(),
        })
    })
}

impl Reference {
    pub fn encode_extended<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
        text(self.encode_extended.bind(value.py()).call1((value,))?)
    }

    pub fn decode_extended<'py>(&self, text: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.decode_extended.bind(text.py()).call1((text,))
    }

    pub fn encode_json<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
        text(self.dumps.bind(value.py()).call1((value,))?)
    }

    pub fn decode_json<'py>(&self, text: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.loads.bind(text.py()).call1((text,))
    }

    /// `string` in quotes with ASCII escapes, lone surrogates included.
    pub fn quote<'py>(&self, string: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyString>> {
        text(self.quote.bind(string.py()).call1((string,))?)
    }

    /// Says that a dict has keys that are no text; whether entries are lost by that.
    pub fn note_odd_keys(&self, dict: &Bound<'_, PyDict>) -> PyResult<bool> {
        self.note_odd_keys.bind(dict.py()).call1((dict,))?.extract()
    }

    /// The error for a value or text (None) that nests too deep or holds itself.
    pub fn nesting_error(&self, py: Python<'_>, value: Option<&Bound<'_, PyAny>>) -> PyErr {
        match self.nesting_error.bind(py).call1((value,)) {
            Ok(error) => PyErr::from_value(error),
            Err(error) => error,
        }
    }
}

fn text(result: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyString>> {
    result.cast_into::<PyString>().map_err(|error| PyTypeError::new_err(error.to_string()))
}
