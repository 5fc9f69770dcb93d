//! Searching bytes many at a time.

const LANES: usize = 16;

/// The index of the first byte that `stops`, or the length if none does.
#[inline]
pub fn first_that(bytes: &[u8], stops: impl Fn(u8) -> bool) -> usize {
    let mut at = 0;
    // Sixteen at once without a branch between them, which the compiler turns into vector instructions.
    while let Some(chunk) = bytes.get(at..at + LANES) {
        if chunk.iter().fold(false, |any, &byte| any | stops(byte)) {
            break;
        }
        at += LANES;
    }
    at + bytes[at..].iter().position(|&byte| stops(byte)).unwrap_or(bytes.len() - at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_found_wherever_it_stands() {
        for length in 0..40 {
            let mut bytes = vec![b'a'; length];
            assert_eq!(first_that(&bytes, |byte| byte == b'"'), length);
            for place in (0..length).rev() {
                bytes[place] = b'"';
                assert_eq!(first_that(&bytes, |byte| byte == b'"'), place);
            }
        }
    }
}
