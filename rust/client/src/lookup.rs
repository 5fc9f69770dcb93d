//! Getting credentials: from the variables at each call, or from the service beside the function, before they expire.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiter::JsonValue;
use zeroize::Zeroizing;

use crate::answer::Answer;
use crate::connection::Connection;
use crate::credentials::{self, Container, ContainerToken, Source};
use crate::date;
use crate::error::Error;

/// How long before their end credentials are renewed, and how much of their time must be left to use them all the same
/// if that fails.
const RENEW: Duration = Duration::from_secs(600);
const LAST: Duration = Duration::from_secs(60);
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
}

impl Kept {
    fn lasts(&self, for_: Duration, now: u64) -> bool {
        self.expires.is_none_or(|expires| expires > now + for_.as_secs())
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
        if let Some(kept) = kept.as_ref().filter(|kept| kept.lasts(RENEW, now)) {
            return Ok(kept.credentials.clone());
        }
        match (ask(), kept.as_ref()) {
            (Ok(new), _) => Ok(kept.insert(new).credentials.clone()),
            (Err(_), Some(old)) if old.lasts(LAST, now) => Ok(old.credentials.clone()),
            (Err(error), _) => Err(error),
        }
    }
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
    let mut connection =
        Connection::open(address, None, tls.as_ref(), until).map_err(|error| failed(error.to_string()))?;
    let answer = connection.exchange(request.as_bytes(), until).map_err(|lost| failed(lost.error.to_string()))?;
    read(&answer).map_err(|why| failed(why.to_owned()))
}

fn read(answer: &Answer) -> Result<Kept, &'static str> {
    if answer.status != 200 {
        return Err("it did not give any");
    }
    let Ok(JsonValue::Object(members)) = JsonValue::parse(&answer.body, false) else {
        return Err("its answer is no JSON object");
    };
    let (Some(key), Some(secret)) = (text(&members, "AccessKeyId"), text(&members, "SecretAccessKey")) else {
        return Err("its answer lacks AccessKeyId or SecretAccessKey");
    };
    let expires = match text(&members, "Expiration") {
        None => None,
        Some(moment) => Some(date::parse(moment).ok_or("its Expiration is no moment")?),
    };
    let credentials = credentials::Credentials::new(key, secret, text(&members, "Token"));
    Ok(Kept { credentials, expires })
}

/// A member that is a text of some length.
fn text<'a>(members: &'a [(Cow<'_, str>, JsonValue<'_>)], name: &str) -> Option<&'a str> {
    members.iter().rev().find(|(key, _)| key == name).and_then(|(_, value)| match value {
        JsonValue::Str(text) if !text.is_empty() => Some(text.as_ref()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(key: &str, expires: u64) -> Kept {
        Kept { credentials: credentials::Credentials::new(key, "s", None), expires: Some(expires) }
    }

    #[test]
    fn credentials_are_renewed_before_they_expire() {
        let source = Credentials::new(Source::Variables);
        let lost = || Err(Error::Credentials("down".to_owned()));
        assert!(source.renewed(lost, 0).is_err());
        let first = source.renewed(|| Ok(kept("first", 1_000)), 0).expect("it is given");
        assert_eq!(source.renewed(lost, 399).expect("it lasts"), first);
        assert_eq!(source.renewed(lost, 939).expect("it still lasts"), first);
        assert!(source.renewed(lost, 940).is_err(), "it is about to end");
        let second = source.renewed(|| Ok(kept("second", 5_000)), 900).expect("it is given");
        assert_eq!(second.access_key(), "second");
    }

    #[test]
    fn what_the_service_says_is_read_or_named() {
        let answer = |status, body: &str| {
            read(&Answer { status, headers: Vec::new(), body: body.as_bytes().to_vec(), keeps_alive: false })
        };
        let full = r#"{"AccessKeyId":"a","SecretAccessKey":"s","Token":"t","Expiration":"2015-08-30T12:36:00Z","X":1}"#;
        let kept = answer(200, full).expect("it is whole");
        assert_eq!(kept.expires, Some(1_440_938_160));
        assert_eq!(kept.credentials, credentials::Credentials::new("a", "s", Some("t")));
        for (status, body) in [
            (404, full),
            (200, ""),
            (200, "[]"),
            (200, r#"{"AccessKeyId":"a"}"#),
            (200, r#"{"AccessKeyId":1,"SecretAccessKey":"s"}"#),
            (200, r#"{"AccessKeyId":"a","SecretAccessKey":"s","Expiration":"soon"}"#),
        ] {
            assert!(answer(status, body).is_err(), "{body}");
        }
    }
}
