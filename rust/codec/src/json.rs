//! Plain JSON, as Python's `json` module reads and writes it by default.

use jiter::{PythonParse, StringCacheMode};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::depth::Depth;
use crate::entries::Entries;
use crate::halt::Halt;
use crate::scalar;
use crate::shape::Shape;
use crate::source::Source;

pub fn encode<'py>(value: &Bound<'py, PyAny>) -> Result<Bound<'py, PyString>, Halt> {
    let mut out = Vec::with_capacity(256);
    write(&mut out, value)?;
    Ok(PyString::from_bytes(value.py(), &out)?)
}

pub fn write(out: &mut Vec<u8>, value: &Bound<'_, PyAny>) -> Result<(), Halt> {
    Writer { out, depth: Depth::new() }.value(value)
}

pub fn decode<'py>(source: Source<'_, 'py>) -> Result<Bound<'py, PyAny>, Halt> {
    let parse = PythonParse { allow_inf_nan: true, cache_mode: StringCacheMode::Keys, ..PythonParse::default() };
    parse.python_parse(source.py(), source.text()?.as_bytes()).map_err(|_| Halt::Unusual)
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    depth: Depth,
}

impl Writer<'_> {
    fn value(&mut self, value: &Bound<'_, PyAny>) -> Result<(), Halt> {
        match Shape::of(value) {
            Shape::Str(value) => scalar::string(self.out, value)?,
            Shape::Int(value) => scalar::int(self.out, value)?,
            Shape::Float(value) => scalar::float(self.out, value),
            Shape::Bool(value) => scalar::boolean(self.out, value),
            Shape::None => self.out.extend_from_slice(b"null"),
            Shape::Dict(dict) => self.entries(Entries::of(dict))?,
            Shape::List(list) => self.items(list.iter().map(Ok))?,
            Shape::Tuple(tuple) => self.items(tuple.iter().map(Ok))?,
            Shape::ListSubclass | Shape::TupleSubclass => self.items(value.try_iter()?)?,
            Shape::DictSubclass => {
                let items = value.call_method0(intern!(value.py(), "items"))?;
                self.entries(items.try_iter()?.map(|item| Ok(item?.extract()?)))?;
            }
            Shape::Other => return Err(Halt::Unusual),
        }
        Ok(())
    }

    fn items<'py>(&mut self, items: impl Iterator<Item = PyResult<Bound<'py, PyAny>>>) -> Result<(), Halt> {
        self.enter()?;
        self.out.push(b'[');
        for (index, item) in items.enumerate() {
            if index > 0 {
                self.out.extend_from_slice(b", ");
            }
            self.value(&item?)?;
        }
        self.out.push(b']');
        self.depth.leave();
        Ok(())
    }

    fn entries<'py>(
        &mut self,
        entries: impl Iterator<Item = Result<(Bound<'py, PyAny>, Bound<'py, PyAny>), Halt>>,
    ) -> Result<(), Halt> {
        self.enter()?;
        self.out.push(b'{');
        for (index, entry) in entries.enumerate() {
            let (key, value) = entry?;
            if index > 0 {
                self.out.extend_from_slice(b", ");
            }
            scalar::key(self.out, &key, &mut 0)?; // whoever asks for JSON knows its keys
            self.out.extend_from_slice(b": ");
            self.value(&value)?;
        }
        self.out.push(b'}');
        self.depth.leave();
        Ok(())
    }

    /// `json` has its own bound and its own errors for what nests deeper or holds itself.
    fn enter(&mut self) -> Result<(), Halt> {
        self.depth.enter().map_err(|_| Halt::Unusual)
    }
}
