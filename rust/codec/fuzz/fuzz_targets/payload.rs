//! Whatever text comes, the codec and its reference in Python make the same of it: the same value, or the same error.

#![no_main]

use perdure_codec::{Source, decode_extended, decode_json, encode_extended, encode_json};
use pyo3::prelude::*;
use pyo3::types::PyString;

/// What became of a text or value, in words: unlike the value itself they tell 1 from 1.0 and -0.0 from 0.0.
fn told(outcome: PyResult<Bound<'_, PyAny>>, py: Python<'_>) -> String {
    let kind =
        |error: PyErr| error.get_type(py).qualname().map_or_else(|_| "unnamed".to_owned(), |name| name.to_string());
    match outcome.and_then(|value| value.repr()) {
        Ok(words) => words.to_string_lossy().into_owned(),
        Err(error) => format!("<{}>", kind(error)),
    }
}

fn check(py: Python<'_>, text: &str) -> PyResult<()> {
    let (json, serdes) = (py.import("json")?, py.import("perdure.serdes")?);
    let string = PyString::new(py, text);
    let quoted = json.call_method1("dumps", (&string,))?.extract::<String>()?;
    for source in [Source::Text(py, text), Source::Quoted(py, &quoted)] {
        assert_eq!(told(decode_json(source), py), told(json.call_method1("loads", (&string,)), py), "as JSON");
        let reference = serdes.call_method1("decode_reference", (&string,));
        assert_eq!(told(decode_extended(source), py), told(reference, py), "as a payload");
    }
    if let Ok(value) = decode_extended(Source::Text(py, text)) {
        let written = encode_extended(&value).map(Bound::into_any);
        let reference = serdes.call_method1("encode_reference", (&value,));
        assert_eq!(told(written, py), told(reference, py), "the value written again");
    }
    if let Ok(value) = decode_json(Source::Text(py, text)) {
        let written = encode_json(&value).map(Bound::into_any);
        assert_eq!(told(written, py), told(json.call_method1("dumps", (&value,)), py), "the JSON written again");
    }
    Ok(())
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        Python::attach(|py| check(py, text).expect("Python has what it needs"));
    }
});
