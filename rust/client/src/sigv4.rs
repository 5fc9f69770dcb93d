//! Signature Version 4 of AWS: a request is signed with a key that is good for one day, region and service.
//!
//! Rules: the *Signature Version 4* chapter of AWS's documentation. The tests of the Python package hold it, byte for
//! byte, against botocore's signer.

use std::fmt::Write;

use ring::{digest, hmac};

use crate::credentials::Credentials;
use crate::date::Moment;
use crate::secret::Secret;
use crate::uri;

/// What is signed of a request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a str,
    /// The path as it goes over the wire, percent-encoded once.
    pub path: &'a str,
    /// The parameters of the query, not encoded.
    pub query: &'a [(&'a str, &'a str)],
    /// Names in lower case; `host` among them.
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
}

/// For what the signature is good.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    pub region: &'a str,
    pub service: &'a str,
}

/// The headers that make a request a signed one. They hold the session's token, and are overwritten when they are dropped.
pub type Headers = Vec<(&'static str, Secret<String>)>;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Signs `request` at `moment`: gives the headers to send along.
pub fn sign(request: &Request<'_>, credentials: &Credentials, scope: Scope<'_>, moment: Moment) -> Headers {
    let mut added: Headers = vec![("x-amz-date", Secret::new(moment.to_string()))];
    if let Some(token) = credentials.token() {
        added.push(("x-amz-security-token", Secret::new(token.to_owned())));
    }
    let mut headers: Vec<(&str, &str)> = request.headers.to_vec();
    headers.extend(added.iter().map(|(name, value)| (*name, value.as_str())));
    headers.sort_unstable();
    let signed_names = join(headers.iter().map(|(name, _)| *name), ";");
    let canonical = canonical_request(request, &headers, &signed_names);

    let date = moment.date();
    let credential_scope = format!("{date}/{}/{}/aws4_request", scope.region, scope.service);
    let to_sign = format!("{ALGORITHM}\n{moment}\n{credential_scope}\n{}", hex(sha256(canonical.as_bytes()).as_ref()));
    let signature = hex(mac(&signing_key(credentials, &date, scope), to_sign.as_bytes()).as_ref());
    let access_key = credentials.access_key();
    added.push((
        "authorization",
        Secret::new(format!(
            "{ALGORITHM} Credential={access_key}/{credential_scope}, SignedHeaders={signed_names}, Signature={signature}"
        )),
    ));
    added
}

/// The text whose hash is signed.
fn canonical_request(request: &Request<'_>, headers: &[(&str, &str)], signed_names: &str) -> Secret<String> {
    let (path, query) = (canonical_path(request.path), query_string(request.query));
    // Large enough not to move: what it leaves behind would not be overwritten.
    let lines: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    let size = request.method.len() + path.len() + query.len() + lines + signed_names.len() + 80;
    let mut text = Secret::new(String::with_capacity(size));
    let _ = write!(text, "{}\n{path}\n{query}\n", request.method);
    for (name, value) in headers {
        text.push_str(name);
        text.push(':');
        for (number, word) in value.split_ascii_whitespace().enumerate() {
            text.push_str(if number == 0 { "" } else { " " });
            text.push_str(word);
        }
        text.push('\n');
    }
    let _ = write!(text, "\n{signed_names}\n{}", hex(sha256(request.body).as_ref()));
    text
}

/// The path without dots and empty segments, encoded once more than on the wire.
fn canonical_path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let mut canonical = String::from("/");
    uri::encode_into(&mut canonical, &segments.join("/"), "/");
    if path.ends_with('/') && !segments.is_empty() {
        canonical.push('/');
    }
    canonical
}

/// The query as it goes over the wire and into the signature: encoded, in the order of the encoded names and values.
pub fn query_string(query: &[(&str, &str)]) -> String {
    let mut pairs: Vec<(String, String)> =
        query.iter().map(|(name, value)| (uri::encode(name), uri::encode(value))).collect();
    pairs.sort_unstable();
    join(pairs.iter().map(|(name, value)| format!("{name}={value}")), "&")
}

fn signing_key(credentials: &Credentials, date: &str, scope: Scope<'_>) -> hmac::Key {
    let secret = credentials.with_prefix("AWS4");
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    for part in [date, scope.region, scope.service, "aws4_request"] {
        key = hmac::Key::new(hmac::HMAC_SHA256, mac(&key, part.as_bytes()).as_ref());
    }
    key
}

fn mac(key: &hmac::Key, data: &[u8]) -> hmac::Tag {
    hmac::sign(key, data)
}

fn sha256(data: &[u8]) -> digest::Digest {
    digest::digest(&digest::SHA256, data)
}

/// Not by `write!`, which took more of a signature than anything else of ours.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        for digit in [byte >> 4, byte & 0xf] {
            text.push(char::from(DIGITS[usize::from(digit)]));
        }
    }
    text
}

fn join(parts: impl IntoIterator<Item = impl AsRef<str>>, separator: &str) -> String {
    parts.into_iter().fold(String::new(), |mut text, part| {
        if !text.is_empty() {
            text.push_str(separator);
        }
        text.push_str(part.as_ref());
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of AWS's documentation of the signing key and of its test suite.
    fn example() -> Credentials {
        Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None)
    }

    const SCOPE: Scope<'static> = Scope { region: "us-east-1", service: "service" };

    fn signature(request: &Request<'_>) -> String {
        let headers = sign(request, &example(), SCOPE, Moment::from_unix(1_440_938_160));
        let (_, authorization) = headers.last().expect("it is signed");
        authorization.rsplit('=').next().unwrap_or_default().to_owned()
    }

    #[test]
    fn the_published_examples_come_out() {
        let plain =
            Request { method: "GET", path: "/", query: &[], headers: &[("host", "example.amazonaws.com")], body: b"" };
        assert_eq!(signature(&plain), "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
        let query = Request { query: &[("Param2", "value2"), ("Param1", "value1")], ..plain };
        assert_eq!(signature(&query), "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
        let post = Request { method: "POST", ..plain };
        assert_eq!(signature(&post), "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
    }

    #[test]
    fn paths_are_encoded_twice_and_cleaned() {
        for (path, canonical) in [
            ("/", "/"),
            ("", "/"),
            ("/a%3Ab/c", "/a%253Ab/c"),
            ("/a//b/./c/../d/", "/a/b/d/"),
            ("/..", "/"),
            ("/a b", "/a%20b"),
        ] {
            assert_eq!(canonical_path(path), canonical);
        }
    }

    #[test]
    fn queries_are_in_order_and_encoded() {
        assert_eq!(query_string(&[("b", "2"), ("a", "é/ +"), ("a", "")]), "a=&a=%C3%A9%2F%20%2B&b=2");
    }

    #[test]
    fn a_session_token_is_signed_along() {
        let credentials = Credentials::new("AKID", "secret", Some("to ken"));
        let request = Request { method: "GET", path: "/", query: &[], headers: &[("host", "h")], body: b"" };
        let headers = sign(&request, &credentials, SCOPE, Moment::from_unix(0));
        assert_eq!(headers[1], ("x-amz-security-token", Secret::new("to ken".to_owned())));
        assert!(headers[2].1.contains("SignedHeaders=host;x-amz-date;x-amz-security-token, "));
    }
}
