//! Operation ids: `BLAKE2b` of the position, kept as 32 bytes, hexadecimal only at the edge.

use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::OnceLock;

use blake2b_simd::Params;

/// The identity of an operation: the first half of the `BLAKE2b`-512 digest of its position.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OperationId([u8; 32]);

/// Sixty-four hexadecimal digits, on the stack.
pub struct Hex([u8; 64]);

const DIGITS: &[u8; 16] = b"0123456789abcdef";

impl OperationId {
    /// The id of the `n`-th operation of the context whose id is `prefix` (the root has none). `n` counts from 1 in
    /// call order; branches of a batch take their index, from 0.
    ///
    /// Ids depend on nothing else, so those of the root are remembered for the life of the process.
    pub fn at(prefix: Option<&OperationId>, n: u64) -> Self {
        static ROOT: [OnceLock<OperationId>; 3_001] = [const { OnceLock::new() }; 3_001];
        let remembered = usize::try_from(n).ok().filter(|_| prefix.is_none()).and_then(|n| ROOT.get(n));
        remembered.map_or_else(|| Self::compute(prefix, n), |id| *id.get_or_init(|| Self::compute(prefix, n)))
    }

    fn compute(prefix: Option<&OperationId>, n: u64) -> Self {
        // 64 digits, a dash and 20 digits of a u64.
        let mut position = [0_u8; 85];
        let mut length = 0;
        if let Some(prefix) = prefix {
            position[..64].copy_from_slice(&prefix.hex().0);
            position[64] = b'-';
            length = 65;
        }
        let mut digits = [0_u8; 20];
        let mut first = digits.len();
        let mut rest = n;
        loop {
            first -= 1;
            digits[first] = DIGITS[(rest % 10) as usize];
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let digits = &digits[first..];
        position[length..length + digits.len()].copy_from_slice(digits);
        Self::digest(&position[..length + digits.len()])
    }

    /// The id that `text` spells. Ids that are no digest (the EXECUTION operation's is a segment of the ARN) are
    /// digested, so that they are comparable without ever colliding with a position.
    pub fn parse(text: &str) -> Self {
        decode(text.as_bytes()).unwrap_or_else(|| Self::digest(format!("id:{text}").as_bytes()))
    }

    /// The id as the service spells it.
    pub fn hex(&self) -> Hex {
        let mut hex = [0_u8; 64];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        Hex(hex)
    }

    fn digest(position: &[u8]) -> Self {
        let mut id = [0_u8; 32];
        // The service's ids are the 512-bit digest cut in half, which is not the 256-bit digest.
        id.copy_from_slice(&Params::new().hash_length(64).hash(position).as_bytes()[..32]);
        Self(id)
    }
}

const fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => u8::MAX,
    }
}

fn decode(text: &[u8]) -> Option<OperationId> {
    const NIBBLES: [u8; 256] = {
        let mut table = [0; 256];
        let mut digit: usize = 0;
        while digit < 256 {
            #[expect(clippy::cast_possible_truncation, reason = "below 256")]
            {
                table[digit] = nibble(digit as u8);
            }
            digit += 1;
        }
        table
    };
    let text: &[u8; 64] = text.try_into().ok()?;
    let mut id = [0_u8; 32];
    let mut invalid = 0;
    for (byte, pair) in id.iter_mut().zip(text.chunks_exact(2)) {
        let (high, low) = (NIBBLES[usize::from(pair[0])], NIBBLES[usize::from(pair[1])]);
        invalid |= (high | low) & 0xf0;
        *byte = high << 4 | (low & 15);
    }
    (invalid == 0).then_some(OperationId(id))
}

impl Hex {
    /// The digits.
    pub fn as_str(&self) -> &str {
        // Every byte comes from DIGITS, so the text is never the fallback.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hex().as_str())
    }
}

impl fmt::Debug for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OperationId({self})")
    }
}

impl Hash for OperationId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let start = self.0.first_chunk().copied().unwrap_or_default();
        state.write_u64(u64::from_le_bytes(start));
    }
}

/// Takes eight bytes of an id as its hash: an id is a digest, so they are as good as random already.
#[derive(Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// What a map keyed by ids hashes with.
pub type IdState = BuildHasherDefault<IdHasher>;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_the_ones_of_the_protocol() {
        let first = OperationId::at(None, 1);
        assert_eq!(first.to_string(), "1ced8f5be2db23a6513eba4d819c73806424748a7bc6fa0d792cc1c7d1775a97");
        assert_eq!(
            OperationId::at(None, 2).to_string(),
            "c5faca15ac2f93578b39ef4b6bbb871bdedce4ddd584fd31f0bb66fade3947e6"
        );
        assert_eq!(
            OperationId::at(Some(&first), 1).to_string(),
            "974bfc6321e227b0ff101342eaf19b336f002dc6cc99c18f0941a7755cc20fc4"
        );
        assert_eq!(
            OperationId::digest(b"abc-1").to_string(),
            "6b6d0a4aa3d445181df2960eba5958d34baf72df0b8d1561c08ae735e5c78cbd"
        );
    }

    #[test]
    fn what_is_no_digest_is_an_id_all_the_same() {
        let upper = OperationId::at(None, 1).to_string().to_uppercase();
        let texts = ["", "abc", "execution-result-1", &upper];
        let ids: HashSet<OperationId> = texts.iter().map(|text| OperationId::parse(text)).collect();
        assert_eq!(ids.len(), texts.len());
        assert!(!ids.contains(&OperationId::at(None, 1)));
    }

    #[test]
    fn digits_are_those_that_ids_are_written_with() {
        for digit in u8::MIN..=u8::MAX {
            let place = DIGITS.iter().position(|known| *known == digit);
            assert_eq!(usize::from(nibble(digit)), place.unwrap_or(usize::from(u8::MAX)), "{digit}");
        }
    }

    #[test]
    fn the_hash_of_any_bytes_depends_on_each_of_them() {
        let hash = |bytes: &[u8]| {
            let mut hasher = IdHasher::default();
            hasher.write(bytes);
            hasher.finish()
        };
        let hashes: HashSet<u64> = [b"abc", b"acb", b"abd", b"bbc"].iter().map(|bytes| hash(*bytes)).collect();
        assert_eq!(hashes.len(), 4);
    }

    proptest! {
        #[test]
        fn hex_reads_back(prefix in proptest::option::of(any::<u64>()), n: u64) {
            let prefix = prefix.map(|n| OperationId::at(None, n));
            let id = OperationId::at(prefix.as_ref(), n);
            prop_assert_eq!(OperationId::parse(id.hex().as_str()), id);
        }

        #[test]
        fn positions_do_not_share_ids(n: u64, m: u64) {
            let context = OperationId::at(None, m);
            prop_assert_ne!(OperationId::at(None, n), OperationId::at(Some(&context), n));
            prop_assert_eq!(OperationId::at(None, n) == OperationId::at(None, m), n == m);
        }
    }
}
