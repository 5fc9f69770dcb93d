//! Reading an answer: a head, then a body of a known length, in chunks, or up to the end of the connection.
//!
//! Whatever is ambiguous is an error, never a guess: a wrong success would be worse than a call that is repeated.

use std::io::Read;

use crate::interrupt::again;

/// The largest head, and the largest body, that is read.
const MAX_HEAD: usize = 64 * 1024;
pub const MAX_BODY: usize = 64 * 1024 * 1024;
const MAX_HEADERS: usize = 64;
/// How many answers of the kind of `100 Continue` may come before the one that counts.
const MAX_INTERIM: usize = 8;
/// How much room there is for what comes first, which is all of most answers, and for what follows.
const FIRST: usize = 4 * 1024;
const READ: usize = 16 * 1024;

const CONNECTION: &str = "connection";
const CONTENT_ENCODING: &str = "content-encoding";
const CONTENT_LENGTH: &str = "content-length";
const TRANSFER_ENCODING: &str = "transfer-encoding";

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether the connection may carry another call.
    pub keeps_alive: bool,
}

impl Answer {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Malformed(String),
}

fn malformed<T>(reason: impl Into<String>) -> Result<T, Unread> {
    Err(Unread::Malformed(reason.into()))
}

/// Reads what has come so far, and more when it is asked to.
pub struct Reader<R> {
    source: R,
    buffer: Vec<u8>,
    /// How far the buffer has been used.
    at: usize,
    /// Whether any byte has come.
    pub began: bool,
}

impl<R: Read> Reader<R> {
    pub fn new(source: R) -> Self {
        Self { source, buffer: Vec::new(), at: 0, began: false }
    }

    /// The answer to a request whose method is not HEAD.
    pub fn answer(&mut self) -> Result<Answer, Unread> {
        let mut head = self.head()?;
        for _ in 0..MAX_INTERIM {
            if head.status >= 200 {
                break;
            }
            if head.status == 101 {
                return malformed("it switches protocols, which nobody asked for");
            }
            framing(&head)?;
            head = self.head()?;
        }
        if head.status < 200 {
            return malformed("it is announced again and again, and does not come");
        }
        let framing = framing(&head)?;
        let body = match framing {
            Framing::Empty => Vec::new(),
            Framing::Length(length) => self.exactly(length)?,
            Framing::Chunked => self.chunks()?,
            Framing::UntilClose => self.rest()?,
        };
        let keeps_alive = head.keeps_alive && framing != Framing::UntilClose && self.at == self.buffer.len();
        Ok(Answer { status: head.status, headers: head.headers, body, keeps_alive })
    }

    /// The head alone, as of a tunnel that a proxy has opened.
    pub fn head_alone(&mut self) -> Result<(u16, String), Unread> {
        let head = self.head()?;
        if self.at < self.buffer.len() {
            return malformed("there is more behind its head");
        }
        Ok((head.status, head.reason))
    }

    fn head(&mut self) -> Result<Head, Unread> {
        loop {
            // Empty lines before it are what an earlier answer left behind.
            if self.buffer.get(self.at).is_some_and(|&byte| byte != b'H') {
                return malformed("it does not begin as HTTP does");
            }
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut response = httparse::Response::new(&mut headers);
            match response.parse(&self.buffer[self.at..]) {
                Ok(httparse::Status::Complete(length)) => {
                    let head = Head::of(&response)?;
                    self.at += length;
                    return Ok(head);
                }
                Ok(httparse::Status::Partial) if self.buffer.len() - self.at > MAX_HEAD => {
                    return malformed("its head does not end");
                }
                Ok(httparse::Status::Partial) => self.more()?,
                Err(error) => return malformed(format!("its head cannot be read ({error})")),
            }
        }
    }

    /// Reads on; the end of the connection is an error here.
    fn more(&mut self) -> Result<(), Unread> {
        if self.read()? == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        Ok(())
    }

    fn read(&mut self) -> Result<usize, Unread> {
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        let before = self.buffer.len();
        self.buffer.resize(before + if self.began { READ } else { FIRST }, 0);
        let got = again(|| self.source.read(&mut self.buffer[before..]));
        self.buffer.truncate(before + got.as_ref().copied().unwrap_or(0));
        let got = got?;
        self.began |= got > 0;
        Ok(got)
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>, Unread> {
        if length > MAX_BODY {
            return malformed(format!("its body has {length} bytes"));
        }
        let mut body = Vec::with_capacity(length.min(1024 * 1024));
        loop {
            let here = (length - body.len()).min(self.buffer.len() - self.at);
            body.extend_from_slice(&self.buffer[self.at..self.at + here]);
            self.at += here;
            if body.len() == length {
                return Ok(body);
            }
            self.more()?;
        }
    }

    fn chunks(&mut self) -> Result<Vec<u8>, Unread> {
        let (mut body, mut extensions) = (Vec::new(), 0);
        loop {
            let (size, extension) = self.chunk_size()?;
            extensions += extension;
            if extensions > MAX_HEAD {
                return malformed("what its chunks say of themselves does not end");
            }
            if size == 0 {
                return self.trailer().map(|()| body);
            }
            if size > MAX_BODY - body.len() {
                return malformed("its body does not end");
            }
            body.extend_from_slice(&self.exactly(size)?);
            if self.exactly(2)? != b"\r\n" {
                return malformed("a chunk does not end where it should");
            }
        }
    }

    /// The size of the next chunk, and how long the rest of its line is, which says nothing here.
    fn chunk_size(&mut self) -> Result<(usize, usize), Unread> {
        let line = self.line()?;
        let size = line.split(|&byte| byte == b';').next().unwrap_or_default();
        let is_text = line.iter().all(|byte| !byte.is_ascii_control() || *byte == b'\t');
        // There may be space before what follows the size, and some have it where nothing does.
        let digits = str::from_utf8(size).map_or("", |size| size.trim_end_matches([' ', '\t']));
        let is_hex = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        match usize::from_str_radix(digits, 16) {
            Ok(chunk) if is_hex && is_text => Ok((chunk, line.len() - size.len())),
            _ => malformed("a chunk has no size"),
        }
    }

    /// What stands behind the last chunk: lines like those of a head, up to an empty one. They say nothing here, and must
    /// not say what a head says of the body.
    fn trailer(&mut self) -> Result<(), Unread> {
        loop {
            let here = &self.buffer[self.at..];
            let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
            match httparse::parse_headers(here, &mut headers) {
                Ok(httparse::Status::Complete((length, headers))) => {
                    if let Some(header) = headers.iter().find(|header| is_heeded(header.name)) {
                        return malformed(format!("its trailer has {}, which belongs into a head", header.name));
                    }
                    if has_bare_newline(&here[..length]) {
                        return malformed("a line of its trailer does not end where it should");
                    }
                    self.at += length;
                    return Ok(());
                }
                Ok(httparse::Status::Partial) if here.len() <= MAX_HEAD => self.more()?,
                Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                    return malformed("its trailer does not end");
                }
                Err(error) => return malformed(format!("its trailer cannot be read ({error})")),
            }
        }
    }

    fn line(&mut self) -> Result<Vec<u8>, Unread> {
        const LONGEST: usize = 4096;
        loop {
            let here = &self.buffer[self.at..];
            if let Some(end) = here.windows(2).take(LONGEST).position(|pair| pair == b"\r\n") {
                let line = here[..end].to_vec();
                self.at += end + 2;
                return Ok(line);
            }
            if here.len() > LONGEST {
                return malformed("a line of it does not end");
            }
            self.more()?;
        }
    }

    fn rest(&mut self) -> Result<Vec<u8>, Unread> {
        while self.read()? > 0 {
            if self.buffer.len() > MAX_BODY {
                return malformed("its body does not end");
            }
        }
        Ok(std::mem::take(&mut self.buffer))
    }
}

struct Head {
    status: u16,
    reason: String,
    headers: Vec<(String, String)>,
    keeps_alive: bool,
}

impl Head {
    fn of(response: &httparse::Response<'_, '_>) -> Result<Self, Unread> {
        let headers: Vec<(String, String)> = response
            .headers
            .iter()
            .map(|header| {
                let value = String::from_utf8_lossy(header.value).trim_ascii().to_owned();
                (header.name.to_ascii_lowercase(), value)
            })
            .collect();
        let (Some(status), Some(version)) = (response.code, response.version) else {
            return malformed("it has no status");
        };
        let says = |word: &str| tokens(&headers, CONNECTION).any(|token| token.eq_ignore_ascii_case(word));
        // An old server that sends chunks is something else, or passes on what it does not understand.
        let is_old = version == 0;
        let is_faulty = is_old && headers.iter().any(|(name, _)| name == TRANSFER_ENCODING);
        let keeps_alive = !says("close") && !is_faulty && (!is_old || says("keep-alive"));
        Ok(Self { status, reason: response.reason.unwrap_or_default().to_owned(), headers, keeps_alive })
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Framing {
    Empty,
    Length(usize),
    Chunked,
    UntilClose,
}

/// The words of all headers of a name.
fn tokens<'a>(headers: &'a [(String, String)], name: &'a str) -> impl Iterator<Item = &'a str> {
    let values = headers.iter().filter(move |(key, _)| key == name).map(|(_, value)| value);
    values.flat_map(|value| value.split(',')).map(str::trim_ascii)
}

/// Whether a header says something of the body or of the connection.
fn is_heeded(name: &str) -> bool {
    [CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING]
        .iter()
        .any(|heeded| name.eq_ignore_ascii_case(heeded))
}

/// Whether a line ends with a newline alone.
fn has_bare_newline(lines: &[u8]) -> bool {
    lines.iter().enumerate().any(|(at, &byte)| byte == b'\n' && (at == 0 || lines[at - 1] != b'\r'))
}

fn framing(head: &Head) -> Result<Framing, Unread> {
    let mut lengths = tokens(&head.headers, CONTENT_LENGTH);
    let length = lengths.next();
    if lengths.any(|other| Some(other) != length) {
        return malformed("it has two lengths");
    }
    let codings: Vec<&str> = tokens(&head.headers, TRANSFER_ENCODING).collect();
    let is_none = |coding: &str| coding.is_empty() || coding.eq_ignore_ascii_case("identity");
    if !tokens(&head.headers, CONTENT_ENCODING).all(is_none) {
        return malformed("it is compressed, which nobody asked for");
    }
    let framing = match (codings.as_slice(), length) {
        ([], None) => Framing::UntilClose,
        ([], Some(length)) if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) => {
            match length.parse() {
                Ok(length) => Framing::Length(length),
                Err(_) => return malformed("its length is no number"),
            }
        }
        ([], Some(_)) => return malformed("its length is no number"),
        ([coding], None) if coding.eq_ignore_ascii_case("chunked") => Framing::Chunked,
        (_, Some(_)) => return malformed("it has a length and a transfer coding"),
        _ => return malformed("it has an unknown transfer coding"),
    };
    match (head.status, framing) {
        // It has no body, whatever it says; what says otherwise may send one all the same.
        (100..=199 | 204 | 304, Framing::UntilClose | Framing::Length(0)) => Ok(Framing::Empty),
        (100..=199 | 204 | 304, _) => malformed("it announces a body, which its status does not have"),
        (_, framing) => Ok(framing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Gives a few bytes at a time, then the end of the connection.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            let length = self.1.min(out.len()).min(self.0.len());
            out[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    fn read(text: &[u8], step: usize) -> Result<Answer, Unread> {
        Reader::new(Drip(text, step)).answer()
    }

    #[test]
    fn answers_of_every_form_are_read() {
        for (text, status, body, keeps_alive) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, "{}", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 200, "{}", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: Close\r\n\r\n{}", 200, "{}", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, "{}", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: x, Keep-Alive\r\n\r\n{}", 200, "{}", true),
            ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, close\r\n\r\n{}", 200, "{}", false),
            (
                "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n",
                200,
                "",
                false,
            ),
            ("HTTP/1.1 400 Bad\r\nX: y\r\n\r\ngone", 400, "gone", false),
            ("HTTP/1.1 200 OK\r\nContent-Encoding: \r\nContent-Length: 2\r\n\r\n{}", 200, "{}", true),
            ("HTTP/1.1 204 No\r\n\r\n", 204, "", true),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n01\r\nd\r\n0\r\nT: r\r\n\r\n",
                200,
                "abcd",
                true,
            ),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nL: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1",
                200,
                "1",
                true,
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK", 200, "{}", false),
        ] {
            for step in [1, 7, 100_000] {
                let answer = read(text.as_bytes(), step).expect(text);
                assert_eq!((answer.status, &*answer.body), (status, body.as_bytes()), "{text}");
                // Bytes that have not come yet are found by the next call, which then fails.
                assert!(answer.keeps_alive == keeps_alive || step < 100_000, "{text}");
            }
        }
    }

    #[test]
    fn what_is_cut_off_or_ambiguous_is_no_answer() {
        for text in [
            "",
            "HTTP/1.1 200",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\nabc\r\n0\r\n\r\n",
            "HTTP/1.1 101 Switching\r\n\r\n",
            "HTTP/1.1 100 Go\r\nContent-Length: 2\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 204 No\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        ] {
            assert!(read(text.as_bytes(), 100_000).is_err(), "{text}");
            assert!(read(text.as_bytes(), 1).is_err(), "{text}");
        }
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(50) + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        assert!(read(interim.as_bytes(), 100_000).is_err());
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}\r\n", "x".repeat(2 * MAX_HEAD));
        assert!(matches!(read(endless.as_bytes(), 100_000), Err(Unread::Malformed(_))));
    }

    /// How many bytes may come at a time; what is long is read anew with each.
    fn steps(text: &str) -> impl Iterator<Item = usize> {
        let most = text.len();
        [1, 7, 100_000].into_iter().filter(move |step| most < 2_000 || *step > 7)
    }

    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[test]
    fn what_chunks_and_trailers_say_besides_is_stepped_over() {
        let lines = "a: b\r\n".repeat(MAX_HEADERS);
        for (chunks, body) in [
            ("5\r\nhello\r\n0\r\n\r\n", "hello"),
            ("5 \t\r\nhello\r\n0 ;a=b;c\r\n\r\n", "hello"),
            ("5;a=\"\u{e9}\tx\"\r\nhello\r\n0\r\n\r\n", "hello"),
            ("2\r\n\r\n\r\n0\r\nX:\r\nY: \u{e9}\tz \r\n\r\n", "\r\n"),
            (format!("0\r\n{lines}\r\n").as_str(), ""),
            (format!("0\r\nX: {}\r\n\r\n", "x".repeat(MAX_HEAD / 2)).as_str(), ""),
        ] {
            let text = format!("{CHUNKED}{chunks}");
            for step in steps(&text) {
                let answer = read(text.as_bytes(), step).expect(chunks);
                assert_eq!((&*answer.body, answer.keeps_alive), (body.as_bytes(), true), "{chunks}");
            }
        }
    }

    #[test]
    fn a_trailer_is_held_to_what_a_head_is_held_to() {
        let (lines, long) = ("a: b\r\n".repeat(MAX_HEADERS + 1), "x".repeat(2 * MAX_HEAD));
        for trailer in [
            "",
            "\r",
            "T: r\r\n",
            "T: r\r\n\r",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            "no colon\r\n\r\n",
            ": no name\r\n\r\n",
            "T : r\r\n\r\n",
            "T\t: r\r\n\r\n",
            "T\0: r\r\n\r\n",
            "T(x): r\r\n\r\n",
            "T\u{e9}: r\r\n\r\n",
            " T: r\r\n\r\n",
            "T: r\r\n folded\r\n\r\n",
            "T: r\r\n\tfolded\r\n\r\n",
            "T: \0\r\n\r\n",
            "T: \u{7f}\r\n\r\n",
            "T: r\rX: y\r\n\r\n",
            "T: r\r\rX: y\r\n\r\n",
            "T: r\nX: y\r\n\r\n",
            "T: r\n\n",
            "T: r\n\r\n",
            "T: r\r\n\n",
            "\n",
            "\r\r\n",
            "Content-Length: 5\r\n\r\n",
            "content-length: 0\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n",
            "Content-Encoding: identity\r\n\r\n",
            "Connection: close\r\n\r\n",
            format!("{lines}\r\n").as_str(),
            lines.as_str(),
            format!("T: {long}\r\n\r\n").as_str(),
            format!("T: {long}").as_str(),
            format!("{long}: T\r\n\r\n").as_str(),
        ] {
            let text = format!("{CHUNKED}5\r\nhello\r\n0\r\n{trailer}");
            for step in steps(&text) {
                assert!(read(text.as_bytes(), step).is_err(), "{trailer:.40?}");
            }
        }
    }

    #[test]
    fn a_chunk_s_line_is_a_size_and_text() {
        for line in [
            "",
            " ",
            " 5",
            "\t5",
            "\n5",
            "\r5",
            "\u{b}5",
            "5\n",
            "5\n;x",
            "5\r",
            "5\0",
            "5\u{c}",
            "5;x\ny",
            "5;x\ry",
            "5;\0",
            "5 5",
            "5,5",
            "5x",
            "0x5",
            "+5",
            "-5",
            "5.",
            "\u{665}",
            ";5",
            "000000005",
            "5;\u{7f}",
        ] {
            for step in [1, 7, 100_000] {
                let text = format!("{CHUNKED}{line}\r\nhello\r\n0\r\n\r\n");
                assert!(read(text.as_bytes(), step).is_err(), "{line:?}");
            }
        }
        let endless = "1;".to_owned() + &"x".repeat(4_000) + "\r\n1\r\n";
        let text = format!("{CHUNKED}{}0\r\n\r\n", endless.repeat(2 * MAX_HEAD / 4_000));
        assert!(
            matches!(read(text.as_bytes(), 100_000), Err(Unread::Malformed(reason)) if reason.ends_with("not end"))
        );
    }

    #[test]
    fn with_more_behind_the_answer_the_connection_is_not_kept() {
        for more in ["\r\n", "x", "0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"] {
            for answer in [
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: r\r\n\r\n",
                "HTTP/1.1 204 No\r\n\r\n",
            ] {
                let alone = read(answer.as_bytes(), 100_000).expect(answer);
                let answer = read(format!("{answer}{more}").as_bytes(), 100_000).expect(answer);
                assert_eq!((alone.keeps_alive, answer.keeps_alive), (true, false), "{more:?}");
                assert_eq!(answer, Answer { keeps_alive: false, ..alone });
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic_or_go_on_for_ever(
            noise in proptest::collection::vec(any::<u8>(), 0..400), step in 1..50_usize,
        ) {
            let _ = read(&noise, step);
            for head in ["HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"] {
                let text: Vec<u8> = head.bytes().chain(noise.iter().copied()).collect();
                let _ = read(&text, step);
            }
        }

        #[test]
        fn a_body_comes_out_as_it_went_in(
            body in proptest::collection::vec(any::<u8>(), 0..3_000), cut in 1..500_usize, step in 1..2_000_usize,
        ) {
            let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for chunk in body.chunks(cut) {
                chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                chunked.extend_from_slice(chunk);
                chunked.extend_from_slice(b"\r\n");
            }
            chunked.extend_from_slice(b"0\r\n\r\n");
            let mut sized = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
            sized.extend_from_slice(&body);
            for text in [&chunked, &sized] {
                let answer = read(text, step).expect("it is well-formed");
                prop_assert_eq!(&answer.body, &body);
                for end in [text.len() - 1, text.len() / 2] {
                    prop_assert!(read(&text[..end], step).is_err());
                }
            }
        }
    }
}
