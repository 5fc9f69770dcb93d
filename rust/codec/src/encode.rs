//! Values to payload text: plain where plain JSON says it all, else envelopes.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyString};

use crate::depth::Depth;
use crate::entries::Entries;
use crate::halt::Halt;
use crate::shape::Shape;
use crate::{odd_keys, rare, scalar};

pub fn extended<'py>(value: &Bound<'py, PyAny>) -> Result<Bound<'py, PyString>, Halt> {
    let mut writer = Writer { out: Vec::with_capacity(256), depth: Depth::new() };
    if !writer.plain(value)? {
        writer.out.clear();
        writer.depth = Depth::new();
        writer.envelope(value)?;
    }
    Ok(PyString::from_bytes(value.py(), &writer.out)?)
}

struct Writer {
    out: Vec<u8>,
    depth: Depth,
}

impl Writer {
    /// Writes `value` without envelopes; false, and something unfinished, where it needs them.
    fn plain(&mut self, value: &Bound<'_, PyAny>) -> Result<bool, Halt> {
        match Shape::of(value) {
            Shape::None => self.out.extend_from_slice(b"null"),
            Shape::Bool(value) => scalar::boolean(&mut self.out, value),
            Shape::Int(value) => scalar::int(&mut self.out, value)?,
            Shape::Float(value) => scalar::float(&mut self.out, value),
            Shape::Str(value) => scalar::string(&mut self.out, value)?,
            Shape::List(list) => return self.plain_items(list.iter().map(Ok)),
            Shape::ListSubclass => return self.plain_items(value.try_iter()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn plain_items<'py>(&mut self, items: impl Iterator<Item = PyResult<Bound<'py, PyAny>>>) -> Result<bool, Halt> {
        self.depth.enter()?;
        self.out.push(b'[');
        for (index, item) in items.enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            if !self.plain(&item?)? {
                return Ok(false);
            }
        }
        self.out.push(b']');
        self.depth.leave();
        Ok(true)
    }

    fn envelope(&mut self, value: &Bound<'_, PyAny>) -> Result<(), Halt> {
        match Shape::of(value) {
            Shape::Str(value) => {
                self.open(b"{\"t\":\"s\",\"v\":");
                scalar::string(&mut self.out, value)?;
            }
            Shape::Int(value) => {
                self.open(b"{\"t\":\"i\",\"v\":");
                scalar::int(&mut self.out, value)?;
            }
            Shape::Float(value) => {
                self.open(b"{\"t\":\"f\",\"v\":");
                scalar::float(&mut self.out, value);
            }
            Shape::Bool(value) => {
                self.open(b"{\"t\":\"b\",\"v\":");
                scalar::boolean(&mut self.out, value);
            }
            Shape::None => {
                self.open(b"{\"t\":\"n\",\"v\":");
                self.out.extend_from_slice(b"null");
            }
            Shape::Dict(dict) => {
                self.open(b"{\"t\":\"m\",\"v\":");
                self.dict(dict)?;
            }
            Shape::List(list) => {
                self.open(b"{\"t\":\"l\",\"v\":");
                self.items(list.iter().map(Ok))?;
            }
            Shape::Tuple(tuple) => {
                self.open(b"{\"t\":\"t\",\"v\":");
                self.items(tuple.iter().map(Ok))?;
            }
            Shape::ListSubclass => {
                self.open(b"{\"t\":\"l\",\"v\":");
                self.items(value.try_iter()?)?;
            }
            Shape::TupleSubclass => {
                self.open(b"{\"t\":\"t\",\"v\":");
                self.items(value.try_iter()?)?;
            }
            Shape::DictSubclass => {
                self.open(b"{\"t\":\"m\",\"v\":");
                // Through its own `items`, which may differ from what the dict itself holds.
                let items = value.call_method0(intern!(value.py(), "items"))?;
                let dict = PyDict::new(value.py());
                dict.call_method1(intern!(value.py(), "update"), (items,))?;
                self.dict(&dict)?;
            }
            Shape::Other => self.other(value)?,
        }
        self.out.push(b'}');
        Ok(())
    }

    /// The beginning of an envelope, whole, so that it is copied with one fixed-size move.
    #[inline]
    fn open<const N: usize>(&mut self, beginning: &[u8; N]) {
        self.out.extend_from_slice(beginning);
    }

    fn items<'py>(&mut self, items: impl Iterator<Item = PyResult<Bound<'py, PyAny>>>) -> Result<(), Halt> {
        self.depth.enter()?;
        self.out.push(b'[');
        for (index, item) in items.enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.envelope(&item?)?;
        }
        self.out.push(b']');
        self.depth.leave();
        Ok(())
    }

    fn dict(&mut self, dict: &Bound<'_, PyDict>) -> Result<(), Halt> {
        self.depth.enter()?;
        self.out.push(b'{');
        let mut odd = 0;
        for (index, entry) in Entries::of(dict).enumerate() {
            let (key, value) = entry?;
            if index > 0 {
                self.out.push(b',');
            }
            scalar::key(&mut self.out, &key, &mut odd)?;
            self.out.push(b':');
            self.envelope(&value)?;
        }
        self.out.push(b'}');
        self.depth.leave();
        if odd > 0 {
            odd_keys::note(dict, odd)?;
        }
        Ok(())
    }

    #[cold]
    fn other(&mut self, value: &Bound<'_, PyAny>) -> Result<(), Halt> {
        if let Ok(bytes) = value.cast::<PyBytes>() {
            self.bytes(bytes.as_bytes());
            return Ok(());
        }
        if let Ok(bytes) = value.cast::<PyByteArray>() {
            self.bytes(&bytes.to_vec());
            return Ok(());
        }
        match rare::of(value)? {
            rare::Rare::Text(tag, text) => {
                self.out.extend_from_slice(b"{\"t\":\"");
                self.out.extend_from_slice(tag.as_bytes());
                self.out.extend_from_slice(b"\",\"v\":");
                scalar::string(&mut self.out, &text)
            }
            rare::Rare::Uuid(number) => {
                self.open(b"{\"t\":\"u\",\"v\":");
                self.out.push(b'"');
                rare::uuid(&mut self.out, number);
                self.out.push(b'"');
                Ok(())
            }
            rare::Rare::Batch(dict) => {
                self.open(b"{\"t\":\"br\",\"v\":");
                self.dict(&dict)
            }
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.open(b"{\"t\":\"B\",\"v\":");
        perdure_json::quote(&mut self.out, &BASE64_STANDARD.encode(bytes));
    }
}
