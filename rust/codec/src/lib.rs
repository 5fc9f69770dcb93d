//! Python objects to and from the payload text of durable operations.
//!
//! Two formats: the *envelope* (`{"t": tag, "v": value}`, recursively, around everything that plain JSON cannot carry)
//! and plain JSON as `json.dumps` writes it. Both go straight between Python objects and text, with no tree in between.
//!
//! What is usual is done here. At anything unusual, from a lone surrogate to a malformed text, the fast path stops
//! without a verdict and hands the whole value to the Python reference in `perdure.serdes`, which then decides.
//! So this crate has no error of its own but one: nesting beyond [`MAX_DEPTH`].

mod cursor;
mod decode;
mod depth;
mod encode;
mod entries;
mod functions;
mod halt;
mod json;
mod keys;
mod number;
mod odd_keys;
mod rare;
mod reference;
mod scalar;
mod shape;
mod source;
mod unescape;

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::reference::Reference;
pub use crate::source::Source;

/// How deep lists, tuples, dicts and batch results may nest. The official SDK gives up between 300 and 480 levels;
/// 512 were measured to fit a stack of 256 KiB in a release build, where threads have 8 MiB.
pub const MAX_DEPTH: usize = 512;

/// The payload text of `value`: plain JSON for None, bool, int, float, str and lists of only those, else an envelope.
pub fn encode_extended<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    encode::extended(value)
        .or_else(|halt| halt.resolve(value.py(), Some(value), |reference| reference.encode_extended(value)))
}

/// The value that the payload `text` stands for.
pub fn decode_extended<'py>(text: Source<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
    let again = |reference: &Reference| reference.decode_extended(&text.string()?);
    decode::extended(text).or_else(|halt| halt.resolve(text.py(), None, again))
}

/// What `json.dumps(value)` writes.
pub fn encode_json<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    json::encode(value).or_else(|halt| halt.resolve(value.py(), Some(value), |reference| reference.encode_json(value)))
}

/// Appends what `json.dumps(value)` writes.
pub fn write_json(out: &mut Vec<u8>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let start = out.len();
    json::write(out, value).or_else(|halt| {
        let text = halt.resolve(value.py(), Some(value), |reference| reference.encode_json(value))?;
        out.truncate(start);
        out.extend_from_slice(text.to_str()?.as_bytes());
        Ok(())
    })
}

/// What `json.loads(text)` reads.
pub fn decode_json<'py>(text: Source<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
    let again = |reference: &Reference| reference.decode_json(&text.string()?);
    json::decode(text).or_else(|halt| halt.resolve(text.py(), None, again))
}

/// Adds this crate's functions to the extension module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    functions::register(module)
}
