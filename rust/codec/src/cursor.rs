//! A position in a payload text, and the small steps that decoding takes from it.

use jiter::{Jiter, NumberAny};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::halt::Halt;
use crate::unescape::unescape;

/// Reads forward only; a step that does not find what it expects says [`Halt::Unusual`].
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

/// The digits that fit an `i64` whatever they are.
const SAFE_DIGITS: usize = 18;

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    pub fn peek(&self) -> Option<u8> {
        self.bytes().get(self.at).copied()
    }

    pub fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Steps over `byte` if it comes next.
    #[inline]
    pub fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    #[inline]
    pub fn expect(&mut self, byte: u8) -> Result<(), Halt> {
        if self.take(byte) { Ok(()) } else { Err(Halt::Unusual) }
    }

    #[inline]
    pub fn expect_all<const N: usize>(&mut self, token: &[u8; N]) -> Result<(), Halt> {
        if self.bytes()[self.at..].starts_with(token) {
            self.at += N;
            Ok(())
        } else {
            Err(Halt::Unusual)
        }
    }

    pub fn expect_end(&self) -> Result<(), Halt> {
        if self.at == self.text.len() { Ok(()) } else { Err(Halt::Unusual) }
    }

    /// Steps over the beginning of an envelope exactly as the encoder writes it, up to its value.
    #[inline]
    pub fn open_envelope(&mut self) -> Result<&'a [u8], Halt> {
        self.expect_all(b"{\"t\":\"")?;
        let rest = &self.bytes()[self.at..];
        let length = if rest.get(1) == Some(&b'"') { 1 } else { 2 };
        let tag = rest.get(..length).ok_or(Halt::Unusual)?;
        self.at += length;
        self.expect_all(b"\",\"v\":")?;
        Ok(tag)
    }

    /// A string without escapes, as a piece of the text; nothing, and no step, if it has any.
    #[inline]
    pub fn simple_string(&mut self) -> Result<Option<&'a str>, Halt> {
        if self.peek() != Some(b'"') {
            return Err(Halt::Unusual);
        }
        let start = self.at + 1;
        let length = stop_of_string(&self.bytes()[start..]);
        match self.bytes().get(start + length) {
            Some(b'"') => {
                self.at = start + length + 1;
                Ok(self.text.get(start..start + length))
            }
            Some(b'\\') => Ok(None),
            _ => Err(Halt::Unusual),
        }
    }

    #[inline]
    pub fn string<T>(&mut self, make: impl FnOnce(&str) -> T) -> Result<T, Halt> {
        if let Some(simple) = self.simple_string()? {
            return Ok(make(simple));
        }
        let (text, length) = unescape(&self.text[self.at + 1..])?;
        self.at += 1 + length;
        Ok(make(&text))
    }

    /// A number that is written as an int, of at most 18 digits; nothing, and no step, if it is another.
    #[inline]
    pub fn small_int(&mut self) -> Option<i64> {
        let rest = &self.bytes()[self.at..];
        let negative = rest.first() == Some(&b'-');
        let digits = &rest[usize::from(negative)..];
        let mut value = 0;
        let mut length = 0;
        while let Some(&byte @ b'0'..=b'9') = digits.get(length) {
            if length == SAFE_DIGITS {
                return None;
            }
            value = value * 10 + i64::from(byte - b'0');
            length += 1;
        }
        let leading_zero = length > 1 && digits[0] == b'0';
        if length == 0 || leading_zero || matches!(digits.get(length), Some(b'.' | b'e' | b'E')) {
            return None;
        }
        self.at += usize::from(negative) + length;
        Some(if negative { -value } else { value })
    }

    pub fn number(&mut self) -> Result<NumberAny, Halt> {
        let mut jiter = Jiter::new(&self.bytes()[self.at..]).with_allow_inf_nan();
        let number = jiter.next_number().map_err(|_| Halt::Unusual)?;
        self.at += jiter.current_index();
        Ok(number)
    }

    pub fn py_string<'py>(&mut self, py: Python<'py>) -> Result<Bound<'py, PyString>, Halt> {
        self.string(|text| PyString::new(py, text))
    }
}

/// The index of the first quote, backslash or control character.
#[inline]
pub fn stop_of_string(bytes: &[u8]) -> usize {
    perdure_json::first_that(bytes, stops)
}

#[inline]
#[expect(clippy::needless_bitwise_bool, reason = "without branches it becomes vector instructions")]
fn stops(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int_of(text: &str) -> (Option<i64>, usize) {
        let mut cursor = Cursor::new(text);
        (cursor.small_int(), cursor.at)
    }

    #[test]
    fn small_ints_are_read_and_others_left_alone() {
        let cases = [
            ("0", Some(0), 1),
            ("-0", Some(0), 2),
            ("7}", Some(7), 1),
            ("-120,", Some(-120), 4),
            ("999999999999999999", Some(999_999_999_999_999_999), 18),
            ("1000000000000000000", None, 0),
            ("01", None, 0),
            ("1.5", None, 0),
            ("1e5", None, 0),
            ("-", None, 0),
            ("", None, 0),
            ("NaN", None, 0),
        ];
        for (text, value, at) in cases {
            assert_eq!(int_of(text), (value, at), "{text}");
        }
    }

    #[test]
    fn strings_end_at_their_quote() {
        for (text, expected, at) in [
            ("\"\"", "", 2),
            ("\"a long one with more than sixteen bytes\",", "a long one with more than sixteen bytes", 41),
            (r#""é\n\ud83d\ude00" "#, "é\n😀", 18),
        ] {
            let mut cursor = Cursor::new(text);
            assert_eq!(cursor.string(str::to_owned).expect("a string"), expected);
            assert_eq!(cursor.at, at, "{text}");
        }
    }

    #[test]
    fn broken_strings_are_left_to_the_reference() {
        for text in ["", "\"", "\"abc", "\"a\tb\"", "\"\\q\"", "\"\\ud800\"", "abc\""] {
            assert!(Cursor::new(text).string(str::to_owned).is_err(), "{text}");
        }
    }

    #[test]
    fn envelopes_open_only_as_they_are_written() {
        assert_eq!(Cursor::new(r#"{"t":"i","v":1}"#).open_envelope().expect("a tag"), b"i");
        assert_eq!(Cursor::new(r#"{"t":"br","v":1}"#).open_envelope().expect("a tag"), b"br");
        for text in
            ["", "{", r#"{"t":""#, r#"{"t":"i""#, r#"{"v":1,"t":"i"}"#, r#"{"t": "i","v":1}"#, r#"{"t":"abc","v":1}"#]
        {
            assert!(Cursor::new(text).open_envelope().is_err(), "{text}");
        }
    }
}
