//! Getting credentials: from the variables at each call, or from the service beside the function, before they expire.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiter::JsonValue;
use zeroize::Zeroizing;

use crate::connection::Connection;
use crate::credentials::{self, Container, ContainerToken, Source};
use crate::date;
use crate::environment;
use crate::error::Error;

/// How many seconds before their end credentials are renewed, and how many must be left to use them all the same if that
/// fails.
const RENEW: u64 = 600;
const LAST: u64 = 60;
/// How many seconds nobody asks again who has others to use: each call would wait for a service in trouble.
const REST: u64 = 5;
/// How long one request for credentials may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The credentials of the process.
pub struct Credentials {
    source: Source,
    kept: Mutex<Option<Kept>>,
}

#[derive(Clone)]
struct Kept {
    credentials: credentials::Credentials,
    /// Unix seconds; none for credentials without an end.
    expires: Option<u64>,
    /// From when on others are asked for.
    renewed_from: u64,
}

impl Kept {
    fn new(credentials: credentials::Credentials, expires: Option<u64>) -> Self {
        Self { credentials, expires, renewed_from: expires.map_or(u64::MAX, |expires| expires.saturating_sub(RENEW)) }
    }

    fn lasts(&self, seconds: u64, now: u64) -> bool {
        self.expires.is_none_or(|expires| expires > now.saturating_add(seconds))
    }

    /// Has nobody ask for others for a while.
    fn rest(&mut self, now: u64) {
        self.renewed_from = now.saturating_add(REST);
    }
}

impl Credentials {
    pub fn new(source: Source) -> Self {
        Self { source, kept: Mutex::default() }
    }

    /// The credentials of now, given those that the variables hold.
    pub fn get(
        &self,
        in_variables: Option<credentials::Credentials>,
        until: Instant,
    ) -> Result<credentials::Credentials, Error> {
        match &self.source {
            Source::Variables => in_variables
                .ok_or_else(|| Error::Credentials("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are gone".to_owned())),
            Source::Given(credentials) => Ok(credentials.clone()),
            Source::Container(container) => self.renewed(|| ask(container, until), unix_now()),
        }
    }

    /// What is kept, unless it is about to expire and new ones can be had.
    fn renewed(&self, ask: impl FnOnce() -> Result<Kept, Error>, now: u64) -> Result<credentials::Credentials, Error> {
        // Held while asking: one asks, and the others take what it gets.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept.as_ref().filter(|kept| now < kept.renewed_from && kept.lasts(LAST, now)) {
            return Ok(kept.credentials.clone());
        }
        let found = ask().and_then(|new| if new.lasts(0, now) { Ok(new) } else { Err(expired()) });
        match (found, kept.as_mut()) {
            (Ok(new), _) => Ok(kept.insert(new).credentials.clone()),
            (Err(_), Some(old)) if old.lasts(LAST, now) => {
                old.rest(now);
                Ok(old.credentials.clone())
            }
            (Err(error), _) => Err(error),
        }
    }
}

fn expired() -> Error {
    Error::CredentialsForNow("those that the service beside the function gives have expired".to_owned())
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn ask(container: &Container, until: Instant) -> Result<Kept, Error> {
    let until = until.min(Instant::now() + PATIENCE);
    let failed = |why: String| Error::Credentials(format!("{}: {why}", container.address));
    let token = match &container.token {
        ContainerToken::None => None,
        ContainerToken::Given(token) => Some(token.clone()),
        ContainerToken::File(path) => {
            let read = std::fs::read_to_string(path).map_err(|error| failed(format!("{}: {error}", path.display())))?;
            Some(Zeroizing::new(read.trim().to_owned()))
        }
    };
    if token.as_ref().is_some_and(|token| token.bytes().any(|byte| byte < b' ')) {
        return Err(failed("its authorization token has a line break".to_owned()));
    }
    let address = &container.address;
    let path = if address.base.is_empty() { "/" } else { &address.base };
    let mut request = Zeroizing::new(format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\nConnection: close\r\n",
        address.host_header()
    ));
    if let Some(token) = &token {
        request.push_str("Authorization: ");
        request.push_str(token);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    let tls = address.tls.then(|| crate::tls::config(None)).transpose()?;
    let for_now = |error: Error| Error::CredentialsForNow(format!("{address}: {error}"));
    let mut connection = Connection::open(address, None, tls.as_ref(), until).map_err(for_now)?;
    let answer = connection.exchange(request.as_bytes(), until).map_err(|lost| for_now(lost.error))?;
    match answer.status {
        200 => read(&answer.body).map_err(|why| failed(why.to_owned())),
        status @ (429 | 500..) => Err(Error::CredentialsForNow(format!("{address}: it answered {status}"))),
        status => Err(failed(format!("it answered {status}"))),
    }
}

fn read(body: &[u8]) -> Result<Kept, &'static str> {
    let Ok(JsonValue::Object(members)) = JsonValue::parse(body, false) else {
        return Err("its answer is no JSON object");
    };
    let (Some(key), Some(secret)) = (text(&members, "AccessKeyId")?, text(&members, "SecretAccessKey")?) else {
        return Err("its answer lacks AccessKeyId or SecretAccessKey");
    };
    let token = text(&members, "Token")?;
    if !environment::is_header(key) || !token.is_none_or(environment::is_header) {
        return Err("its AccessKeyId or Token is no plain text");
    }
    let expires = match text(&members, "Expiration")? {
        None => None,
        Some(moment) => Some(date::parse(moment).ok_or("its Expiration is no moment")?),
    };
    Ok(Kept::new(credentials::Credentials::new(key, secret, token), expires))
}

/// A member that is a text of some length; none if it is not there.
fn text<'a>(members: &'a [(Cow<'_, str>, JsonValue<'_>)], name: &str) -> Result<Option<&'a str>, &'static str> {
    match members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value) {
        None | Some(JsonValue::Null) => Ok(None),
        Some(JsonValue::Str(text)) => Ok(Some(text.as_ref()).filter(|text| !text.is_empty())),
        Some(_) => Err("a member of its answer is no text"),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn kept(key: &str, expires: u64) -> Kept {
        Kept::new(credentials::Credentials::new(key, "s", None), Some(expires))
    }

    #[test]
    fn credentials_are_renewed_before_they_expire() {
        let source = Credentials::new(Source::Variables);
        let lost = || Err(Error::CredentialsForNow("down".to_owned()));
        assert!(source.renewed(lost, 0).is_err());
        let first = source.renewed(|| Ok(kept("first", 1_000)), 0).expect("it is given");
        assert_eq!(source.renewed(lost, 399).expect("it lasts"), first);
        assert_eq!(source.renewed(lost, 934).expect("it still lasts"), first);
        assert!(source.renewed(lost, 940).is_err(), "it is about to end");
        let second = source.renewed(|| Ok(kept("second", 5_000)), 945).expect("it is given");
        assert_eq!(second.access_key(), "second");
    }

    #[test]
    fn a_service_in_trouble_is_not_asked_for_each_call() {
        let source = Credentials::new(Source::Variables);
        let asked = Cell::new(0);
        let lost = || {
            asked.set(asked.get() + 1);
            Err(Error::CredentialsForNow("down".to_owned()))
        };
        source.renewed(|| Ok(kept("first", 1_000)), 0).expect("it is given");
        for now in 500..=510 {
            source.renewed(lost, now).expect("it lasts");
        }
        assert_eq!(asked.get(), 3, "at 500, 505 and 510");
        assert!(source.renewed(lost, 941).is_err(), "it is about to end");
        assert!(source.renewed(lost, 941).is_err(), "there are none to use");
        assert_eq!(asked.get(), 5);
    }

    #[test]
    fn credentials_that_last_for_a_short_time_only_are_used_and_expired_ones_are_not() {
        let source = Credentials::new(Source::Variables);
        let first = source.renewed(|| Ok(kept("first", 1_030)), 1_000).expect("it is given");
        assert_eq!(first.access_key(), "first");
        let second = source.renewed(|| Ok(kept("second", 1_300)), 1_001).expect("it is given");
        assert_eq!(second.access_key(), "second");
        for expires in [900, 1_299, 1_300] {
            assert!(
                matches!(source.renewed(|| Ok(kept("late", expires)), 1_300), Err(Error::CredentialsForNow(_))),
                "the service would refuse what they sign, for good"
            );
        }
    }

    #[test]
    fn what_the_service_says_is_read_or_named() {
        let full = r#"{"AccessKeyId":"a","SecretAccessKey":"s","Token":"t","Expiration":"2015-08-30T12:36:00Z","X":1}"#;
        let kept = read(full.as_bytes()).expect("it is whole");
        assert_eq!(kept.expires, Some(1_440_938_160));
        assert_eq!(kept.credentials, credentials::Credentials::new("a", "s", Some("t")));
        let endless = read(br#"{"AccessKeyId":"a","SecretAccessKey":"s","Token":null,"Expiration":null}"#);
        assert_eq!(endless.expect("it is whole").expires, None);
        for body in [
            "",
            "[]",
            r#"{"AccessKeyId":"a"}"#,
            r#"{"AccessKeyId":1,"SecretAccessKey":"s"}"#,
            r#"{"AccessKeyId":"a","SecretAccessKey":"s","Token":1}"#,
            r#"{"AccessKeyId":"a","SecretAccessKey":"s","Token":"t
x: y"}"#,
            r#"{"AccessKeyId":"a
x: y","SecretAccessKey":"s"}"#,
            r#"{"AccessKeyId":"a","SecretAccessKey":"s","Expiration":"soon"}"#,
            r#"{"AccessKeyId":"a","SecretAccessKey":"s","Expiration":4102444800}"#,
        ] {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
    }
}
