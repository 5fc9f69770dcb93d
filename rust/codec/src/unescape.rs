//! Strings with escapes, as text again.

use crate::cursor::stop_of_string;
use crate::halt::Halt;

/// The text of `source`, which begins after the opening quote, and how many bytes it takes including the closing one.
///
/// Anything but well-formed escapes of real characters, a lone surrogate for one, is [`Halt::Unusual`].
pub fn unescape(source: &str) -> Result<(String, usize), Halt> {
    let mut text = String::with_capacity(source.len().min(64));
    let mut at = 0;
    loop {
        let rest = source.get(at..).ok_or(Halt::Unusual)?;
        // Escapes come in runs, in most languages.
        let stop = if rest.starts_with('\\') { 0 } else { stop_of_string(rest.as_bytes()) };
        text.push_str(&rest[..stop]);
        at += stop;
        match rest.as_bytes()[stop..] {
            [b'"', ..] => return Ok((text, at + 1)),
            [b'\\', b'u', ..] => {
                let (character, length) = unicode(&rest.as_bytes()[stop..])?;
                text.push(character);
                at += length;
            }
            [b'\\', letter, ..] => {
                text.push(simple(letter)?);
                at += 2;
            }
            _ => return Err(Halt::Unusual),
        }
    }
}

fn simple(letter: u8) -> Result<char, Halt> {
    Ok(match letter {
        b'"' | b'\\' | b'/' => char::from(letter),
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        _ => return Err(Halt::Unusual),
    })
}

/// The character that the escape at the front stands for, by itself or with the one that follows.
fn unicode(bytes: &[u8]) -> Result<(char, usize), Halt> {
    let unit = code_unit(bytes)?;
    if let Some(character) = char::from_u32(u32::from(unit)) {
        return Ok((character, 6));
    }
    let pair = [unit, code_unit(&bytes[6..])?];
    match char::decode_utf16(pair).next() {
        Some(Ok(character)) => Ok((character, 12)),
        _ => Err(Halt::Unusual),
    }
}

fn code_unit(bytes: &[u8]) -> Result<u16, Halt> {
    let Some((&[b'\\', b'u', a, b, c, d], _)) = bytes.split_first_chunk() else { return Err(Halt::Unusual) };
    [a, b, c, d].into_iter().try_fold(0, |unit, digit| Ok(unit << 4 | u16::from(nibble(digit)?)))
}

fn nibble(digit: u8) -> Result<u8, Halt> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(Halt::Unusual),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_escape_is_understood() {
        for (source, text) in [
            (r#"""#, ""),
            (r#"\"\\\/\n\r\t\b\f" and more"#, "\"\\/\n\r\t\u{8}\u{c}"),
            (r#"caf\u00e9 \u00E9 é""#, "café é é"),
            (r#"\ud83d\ude00!""#, "😀!"),
            (r#"\u0000\u2028""#, "\0\u{2028}"),
        ] {
            let (found, length) = unescape(source).expect("well-formed");
            assert_eq!(found, text);
            assert_eq!(source.as_bytes()[length - 1], b'"');
        }
    }

    #[test]
    fn what_is_malformed_or_no_character_is_left_alone() {
        for source in [
            "",
            "abc",
            r"\",
            r#"\q""#,
            r"\u",
            r"\u12",
            r#"\u00zz""#,
            r#"\ud800""#,
            r#"\ud800\u0041""#,
            r#"\udc00""#,
            r"\ud800\",
            "a\tb\"",
            r#"\u+123""#,
        ] {
            assert!(unescape(source).is_err(), "{source}");
        }
    }

    proptest! {
        #[test]
        fn what_is_escaped_comes_back(text in "\\PC{0,20}[\\x00-\\x20\"\\\\é😀]{0,10}") {
            let mut quoted = Vec::new();
            perdure_json::quote(&mut quoted, &text);
            let quoted = String::from_utf8(quoted).expect("ASCII");
            let (found, length) = unescape(&quoted[1..]).expect("well-formed");
            prop_assert_eq!(found, text);
            prop_assert_eq!(length, quoted.len() - 1);
        }
    }
}
