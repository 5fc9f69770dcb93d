//! Payload text to values: envelopes exactly as the encoder writes them, and plain JSON without objects.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiter::{NumberAny, cached_py_string};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use pyo3::{IntoPyObjectExt, intern};

use crate::cursor::Cursor;
use crate::depth::Depth;
use crate::halt::Halt;
use crate::keys::Keys;
use crate::rare;
use crate::source::Source;

type Decoded<'py> = Result<Bound<'py, PyAny>, Halt>;

pub fn extended<'py>(source: Source<'_, 'py>) -> Decoded<'py> {
    let (py, text) = (source.py(), source.text()?);
    let mut reader = Reader { py, cursor: Cursor::new(&text), keys: Keys::new(), depth: Depth::new() };
    reader.cursor.skip_space();
    let value = if reader.cursor.peek() == Some(b'{') { reader.envelope()? } else { reader.plain()? };
    reader.cursor.skip_space();
    reader.cursor.expect_end()?;
    Ok(value)
}

struct Reader<'a, 'py> {
    py: Python<'py>,
    cursor: Cursor<'a>,
    keys: Keys<'a, 'py>,
    depth: Depth,
}

impl<'py> Reader<'_, 'py> {
    fn envelope(&mut self) -> Decoded<'py> {
        let value = match self.cursor.open_envelope()? {
            b"s" => self.cursor.py_string(self.py)?.into_any(),
            b"i" => self.int()?,
            b"m" => self.dict()?.into_any(),
            b"l" => PyList::new(self.py, self.items()?)?.into_any(),
            b"f" => self.float()?,
            b"b" => self.boolean()?,
            b"n" => self.none()?,
            b"t" => PyTuple::new(self.py, self.items()?)?.into_any(),
            tag => self.rare(tag)?,
        };
        self.cursor.expect(b'}')?;
        Ok(value)
    }

    /// A text without envelopes. An object in it has no meaning here: the reference says so.
    fn plain(&mut self) -> Decoded<'py> {
        match self.cursor.peek() {
            Some(b'"') => Ok(self.cursor.py_string(self.py)?.into_any()),
            Some(b'n') => self.none(),
            Some(b't' | b'f') => self.boolean(),
            Some(b'[') => self.plain_list(),
            Some(b'-' | b'0'..=b'9' | b'N' | b'I') => match self.cursor.small_int() {
                Some(small) => Ok(PyInt::new(self.py, small).into_any()),
                None => Ok(self.cursor.number()?.into_bound_py_any(self.py)?),
            },
            _ => Err(Halt::Unusual),
        }
    }

    fn plain_list(&mut self) -> Decoded<'py> {
        self.depth.enter()?;
        self.cursor.expect(b'[')?;
        self.cursor.skip_space();
        let mut items = Vec::new();
        if !self.cursor.take(b']') {
            loop {
                self.cursor.skip_space();
                items.push(self.plain()?);
                self.cursor.skip_space();
                if !self.cursor.take(b',') {
                    break;
                }
            }
            self.cursor.expect(b']')?;
        }
        self.depth.leave();
        Ok(PyList::new(self.py, items)?.into_any())
    }

    fn dict(&mut self) -> Result<Bound<'py, PyDict>, Halt> {
        self.depth.enter()?;
        let dict = PyDict::new(self.py);
        self.cursor.expect(b'{')?;
        if !self.cursor.take(b'}') {
            loop {
                let key = self.key()?;
                self.cursor.expect(b':')?;
                dict.set_item(key, self.envelope()?)?;
                if !self.cursor.take(b',') {
                    break;
                }
            }
            self.cursor.expect(b'}')?;
        }
        self.depth.leave();
        Ok(dict)
    }

    #[inline]
    fn key(&mut self) -> Result<Bound<'py, PyString>, Halt> {
        match self.cursor.simple_string()? {
            // The outermost dict has each of its keys once: remembering them would be work for nothing.
            Some(key) if self.depth.is_outermost() => Ok(cached_py_string(self.py, key)),
            Some(key) => Ok(self.keys.get(self.py, key)),
            None => self.cursor.py_string(self.py),
        }
    }

    fn items(&mut self) -> Result<Vec<Bound<'py, PyAny>>, Halt> {
        self.depth.enter()?;
        let mut items = Vec::new();
        self.cursor.expect(b'[')?;
        if !self.cursor.take(b']') {
            loop {
                items.push(self.envelope()?);
                if !self.cursor.take(b',') {
                    break;
                }
            }
            self.cursor.expect(b']')?;
        }
        self.depth.leave();
        Ok(items)
    }

    fn int(&mut self) -> Decoded<'py> {
        if let Some(small) = self.cursor.small_int() {
            return Ok(PyInt::new(self.py, small).into_any());
        }
        match self.cursor.number()? {
            NumberAny::Int(int) => Ok(int.into_bound_py_any(self.py)?),
            NumberAny::Float(_) => Err(Halt::Unusual),
        }
    }

    fn float(&mut self) -> Decoded<'py> {
        match self.cursor.number()? {
            NumberAny::Float(float) => Ok(PyFloat::new(self.py, float).into_any()),
            NumberAny::Int(_) => Err(Halt::Unusual),
        }
    }

    fn boolean(&mut self) -> Decoded<'py> {
        let value = self.cursor.peek() == Some(b't');
        if value { self.cursor.expect_all(b"true") } else { self.cursor.expect_all(b"false") }?;
        Ok(PyBool::new(self.py, value).to_owned().into_any())
    }

    fn none(&mut self) -> Decoded<'py> {
        self.cursor.expect_all(b"null")?;
        Ok(self.py.None().into_bound(self.py))
    }

    #[cold]
    fn rare(&mut self, tag: &[u8]) -> Decoded<'py> {
        let py = self.py;
        match tag {
            b"B" => {
                let bytes = self.cursor.string(|text| BASE64_STANDARD.decode(text))?;
                Ok(PyBytes::new(py, &bytes.map_err(|_| Halt::Unusual)?).into_any())
            }
            b"u" => Ok(rare::UUID.get(py)?.call1((self.cursor.py_string(py)?,))?),
            b"d" => Ok(rare::DECIMAL.get(py)?.call1((self.cursor.py_string(py)?,))?),
            b"dt" => {
                let text = self.cursor.py_string(py)?;
                Ok(rare::DATETIME.get(py)?.call_method1(intern!(py, "fromisoformat"), (text,))?)
            }
            b"D" => {
                let text = self.cursor.py_string(py)?;
                Ok(rare::DATE.get(py)?.call_method1(intern!(py, "fromisoformat"), (text,))?)
            }
            b"br" => {
                let dict = self.dict()?;
                Ok(rare::BATCH_RESULT.get(py)?.call_method1(intern!(py, "from_dict"), (dict,))?)
            }
            _ => Err(Halt::Unusual),
        }
    }
}
