//! Strings as JSON writes them in ASCII.

use crate::scan::first_that;

/// Appends `text` in quotes, everything but printable ASCII escaped, as `json.dumps` does by default.
#[inline]
pub fn quote(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let plain = plain_prefix(text.as_bytes());
    out.extend_from_slice(&text.as_bytes()[..plain]);
    if plain < text.len() {
        escape(out, &text[plain..]);
    }
    out.push(b'"');
}

/// How many leading bytes of `bytes` stand for themselves.
#[inline]
fn plain_prefix(bytes: &[u8]) -> usize {
    first_that(bytes, |byte| !is_plain(byte))
}

#[inline]
#[expect(clippy::needless_bitwise_bool, reason = "without branches it becomes vector instructions")]
fn is_plain(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) & (byte != b'"') & (byte != b'\\')
}

/// Appends `text`, whose first character needs an escape.
#[cold]
fn escape(out: &mut Vec<u8>, text: &str) {
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            other => other.encode_utf16(&mut [0; 2]).iter().for_each(|&unit| unicode_escape(out, unit)),
        }
        rest = &rest[character.len_utf8()..];
        // Escapes come in runs, in most languages: look for plain text only where some begins.
        if rest.as_bytes().first().is_some_and(|&byte| is_plain(byte)) {
            let plain = plain_prefix(rest.as_bytes());
            out.extend_from_slice(&rest.as_bytes()[..plain]);
            rest = &rest[plain..];
        }
    }
}

fn unicode_escape(out: &mut Vec<u8>, unit: u16) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |shift: u32| DIGITS[usize::from(unit >> shift & 0xf)];
    out.extend_from_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quoted(text: &str) -> String {
        let mut out = Vec::new();
        quote(&mut out, text);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn every_escape_is_the_one_python_writes() {
        let cases = [
            ("", r#""""#),
            ("plain text of more than sixteen bytes", r#""plain text of more than sixteen bytes""#),
            ("\"\\/\n\r\t\u{8}\u{c}", r#""\"\\/\n\r\t\b\f""#),
            ("\0\u{1f}\u{7f}", r#""\u0000\u001f\u007f""#),
            ("é\u{2028}😀", r#""\u00e9\u2028\ud83d\ude00""#),
            ("sixteen bytes it\"s more", r#""sixteen bytes it\"s more""#),
        ];
        for (text, expected) in cases {
            assert_eq!(quoted(text), expected);
        }
    }

    proptest! {
        #[test]
        fn text_is_as_long_as_it_is_measured(text in "(\\PC{0,20}|[\\x00-\\x7f]{0,40}){0,3}") {
            prop_assert_eq!(quoted(&text).len(), crate::text_len(&text));
        }

        #[test]
        fn what_is_written_is_ascii_and_ends_where_it_should(text in ".{0,40}") {
            let quoted = quoted(&text);
            prop_assert!(quoted.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
            let inner = &quoted[1..quoted.len() - 1];
            prop_assert!(!inner.replace("\\\\", "").replace("\\\"", "").contains('"'));
        }
    }
}
