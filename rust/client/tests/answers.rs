//! The reader of answers against what servers, proxies and broken wires may send. `PROPTEST_CASES` says how much of it.
//!
//! `fuzz/` has the same oracle for a fuzz that is guided by coverage.

mod answers {
    pub mod oracle;
}

use answers::oracle::check;
use proptest::prelude::*;

/// What the lines of a head are made of: sound ones, and such as have misled others.
const LINES: [&str; 22] = [
    "Content-Length: 5",
    "content-length: 0",
    "Content-Length: 05",
    "Content-Length: 5, 5",
    "Content-Length: 5,6",
    "Content-Length: +5",
    "Content-Length: 5 ",
    "Content-Length : 5",
    "Content-Length: 18446744073709551621",
    "Content-Length:",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: Chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: gzip",
    "Transfer-Encoding:\tchunked",
    "Content-Encoding: gzip",
    "Connection: close",
    "Connection: keep-alive",
    "X: y",
    " folded",
    "\u{1}: x",
];
const BEGINNINGS: [&str; 8] = [
    "HTTP/1.1 200 OK",
    "HTTP/1.0 200 OK",
    "HTTP/1.1 204 No",
    "HTTP/1.1 100 Continue",
    "HTTP/1.1 101 Other",
    "HTTP/1.1 500 ",
    "HTTP/1.1  200 OK",
    "HTTP/1.1 2000 OK",
];
const BODIES: [&str; 18] = [
    "hello",
    "",
    "5\r\nhello\r\n0\r\n\r\n",
    "5;x=y\r\nhello\r\n0\r\nT: r\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "05\r\nhello\r\n00\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "5\nhello\n0\n\n",
    "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    "ffffffffffffffff5\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    " 5\r\nhello\r\n\n0\r\n\r\n",
    "5;\n\r\nhello\r\n0;x\r\n\r\n",
    "0\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "0\r\nT: r\r\n folded\r\n\r\n",
    "0\r\nT: r\nU: s\r\n\r\n",
    "0\r\nContent-Length: 2\r\n\r\n{}",
];
const NEWLINES: [&str; 4] = ["\r\n", "\r\n", "\r\n", "\n"];

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(words)
}

prop_compose! {
    /// One answer, sound or not.
    fn answer()(
        beginning in one_of(&BEGINNINGS),
        lines in proptest::collection::vec(one_of(&LINES), 0..4),
        newline in one_of(&NEWLINES),
        body in one_of(&BODIES),
    ) -> Vec<u8> {
        let mut text = String::from(beginning);
        for line in lines {
            text.push_str(newline);
            text.push_str(line);
        }
        text.push_str(newline);
        text.push_str(newline);
        text.push_str(body);
        text.into_bytes()
    }
}

/// What a broken wire does to bytes.
#[derive(Debug, Clone)]
enum Fault {
    Flip(usize, u8),
    Insert(usize, u8),
    Remove(usize),
    Cut(usize),
    Repeat(usize, usize),
}

fn fault() -> impl Strategy<Value = Fault> {
    let at = || 0..400_usize;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Fault::Flip(at, byte)),
        (at(), prop_oneof![Just(b'\r'), Just(b'\n'), Just(0), Just(b' '), Just(b','), any::<u8>()])
            .prop_map(|(at, byte)| Fault::Insert(at, byte)),
        at().prop_map(Fault::Remove),
        at().prop_map(Fault::Cut),
        (at(), 1..40_usize).prop_map(|(at, length)| Fault::Repeat(at, length)),
    ]
}

fn spoil(bytes: &mut Vec<u8>, fault: &Fault) {
    let size = bytes.len();
    if size == 0 {
        return;
    }
    match *fault {
        Fault::Flip(at, byte) => bytes[at % size] = byte,
        Fault::Insert(at, byte) => bytes.insert(at % size, byte),
        Fault::Remove(at) => {
            bytes.remove(at % size);
        }
        Fault::Cut(at) => bytes.truncate(at % size),
        Fault::Repeat(at, length) => {
            let begin = at % size;
            let again = bytes[begin..size.min(begin + length)].to_vec();
            bytes.splice(begin..begin, again);
        }
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_read_in_one_way_or_not_at_all(
        parts in proptest::collection::vec(answer(), 1..3),
        faults in proptest::collection::vec(fault(), 0..4),
    ) {
        let mut bytes = parts.concat();
        for fault in &faults {
            spoil(&mut bytes, fault);
        }
        check(&bytes);
    }
}
