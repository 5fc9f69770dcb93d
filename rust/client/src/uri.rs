//! Percent-encoding, as signatures want it.

/// Appends `text`, all but the unreserved characters of RFC 3986 (and `also`) as `%XX`.
pub fn encode_into(out: &mut String, text: &str, also: &str) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.reserve(text.len());
    for byte in text.bytes() {
        let is_unreserved = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        if is_unreserved || also.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 0xf)]));
        }
    }
}

/// `text` with all but the unreserved characters encoded.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    encode_into(&mut out, text, "");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unreserved_characters_stand_for_themselves() {
        assert_eq!(encode("aZ09-._~"), "aZ09-._~");
        assert_eq!(encode("arn:aws/é$ %+"), "arn%3Aaws%2F%C3%A9%24%20%25%2B");
        let mut path = String::new();
        encode_into(&mut path, "/a%3Ab", "/");
        assert_eq!(path, "/a%253Ab");
    }
}
