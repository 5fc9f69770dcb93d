//! What must hold of the reader whatever comes: of the tests with proptest and of the fuzz that is guided by coverage.

use std::io::{self, Read};

use perdure_client::answer::{Answer, Reader};

/// Gives a few bytes at a time, then the end of the connection.
struct Drip<'a>(&'a [u8], usize);

impl Read for Drip<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.1.min(out.len()).min(self.0.len());
        out[..length].copy_from_slice(&self.0[..length]);
        self.0 = &self.0[length..];
        Ok(length)
    }
}

fn read(bytes: &[u8], step: usize) -> Option<Answer> {
    let answer = Reader::new(Drip(bytes, step)).answer().ok();
    // Whether more has come than the answer is seen only where it comes together.
    answer.map(|answer| Answer { keeps_alive: false, ..answer })
}

/// Whether something other than the end of the connection says where the answer ends.
fn is_delimited(answer: &Answer) -> bool {
    matches!(answer.status, 204 | 304)
        || answer.header("content-length").is_some()
        || answer.header("transfer-encoding").is_some()
}

/// Holds the reader to its promises: however the bytes come, they are the same answer, or none; and what was cut off is
/// none, or the whole of it.
///
/// # Panics
///
/// If it breaks one.
pub fn check(bytes: &[u8]) {
    let whole = read(bytes, usize::MAX);
    for step in [1, 7] {
        assert_eq!(read(bytes, step), whole, "{step} bytes at a time");
    }
    let Some(answer) = whole.filter(is_delimited) else { return };
    let stride = 1 + bytes.len() / 64;
    for end in (0..bytes.len()).step_by(stride).chain(bytes.len().saturating_sub(8)..bytes.len()) {
        if let Some(cut) = read(&bytes[..end], usize::MAX) {
            assert_eq!(cut, answer, "cut after {end} bytes");
        }
    }
}
