//! How long a text is once it is written.

/// How many bytes `text` takes as a JSON string with ASCII escapes, quotes included.
pub fn text_len(text: &str) -> usize {
    let (chunks, rest) = text.as_bytes().as_chunks();
    let whole: usize = chunks.iter().map(chunk_len).sum();
    let mut last = [b' '; LANES];
    last[..rest.len()].copy_from_slice(rest);
    whole + chunk_len(&last) - (LANES - rest.len()) + 2
}

const LANES: usize = 16;

#[inline]
fn chunk_len(chunk: &[u8; LANES]) -> usize {
    // Sixteen times twelve, the most that they add up to, fits a byte.
    usize::from(chunk.iter().map(|&byte| escaped_len(byte)).sum::<u8>())
}

/// How many bytes a byte of UTF-8 adds: the first of a character stands for the whole of it, the others for nothing.
///
/// Without branches, so that the compiler reckons many at once.
#[inline]
fn escaped_len(byte: u8) -> u8 {
    let quoted = u8::from(byte == b'"') | u8::from(byte == b'\\');
    let lettered = u8::from(matches!(byte, 0x8..=0xa)) | u8::from(matches!(byte, 0xc | 0xd)); // as \n is
    let control = u8::from(byte < 0x20) | u8::from(byte == 0x7f);
    let first = u8::from(byte >= 0xc0);
    let other = u8::from(byte >= 0x80) - first;
    let above_ffff = u8::from(byte >= 0xf0); // a pair of surrogates
    1 + quoted + 5 * (control + first) - 4 * lettered + 6 * above_ffff - other
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The length by its definition, a character at a time.
    fn len_by_characters(text: &str) -> usize {
        let escaped = text.chars().map(|c| match c {
            '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
            ' '..='~' => 1,
            c => 6 * c.len_utf16(),
        });
        escaped.sum::<usize>() + 2
    }

    proptest! {
        #[test]
        fn text_is_measured_alike_by_bytes_and_by_characters(text in "(\\PC{0,40}|[ -~]{0,70}|[\\x00-\\x7f]{0,70}){0,3}") {
            prop_assert_eq!(text_len(&text), len_by_characters(&text));
        }
    }

    #[test]
    fn text_is_measured_as_json_with_ascii_escapes() {
        for (text, length) in [
            ("", 2),
            ("abc", 5),
            ("\"\\\n\r\t\u{8}\u{c}", 16),
            ("\u{1}", 8),
            ("\u{7f}", 8),
            ("é", 8),
            ("€", 8),
            ("😀", 14),
        ] {
            assert_eq!(text_len(text), length, "{text:?}");
        }
    }
}
