//! What the environment of the process says about calls to AWS: understood in full, or left to boto3.
//!
//! Each rule is botocore's, for what Lambda and its users set. Whatever else may change where requests go or who signs
//! them is a [`Reason`] not to be the one who calls.

use std::fmt;
use std::path::PathBuf;

use crate::credentials::{Credentials, Source};
use crate::endpoint::{Endpoint, split_port};

/// Variables that lead to rules which only botocore knows.
const FOREIGN: [&str; 9] = [
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_DATA_PATH",
    "AWS_AUTH_SCHEME_PREFERENCE",
    "AWS_SIGV4A_SIGNING_REGION_SET",
    "AWS_ENDPOINT_DISCOVERY_ENABLED",
    "ALL_PROXY",
    "all_proxy",
    "AWS_BEARER_TOKEN_LAMBDA",
];

/// How to reach the Lambda API, all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub endpoint: Endpoint,
    pub region: String,
    pub credentials: Source,
    pub proxy: Option<Proxy>,
    /// A file of certificates to trust in place of those compiled in.
    pub ca_bundle: Option<PathBuf>,
    /// How often a call may be made in all; none leaves it to the caller.
    pub max_attempts: Option<u32>,
    /// What the user agent says of the application.
    pub app_id: Option<String>,
}

/// A proxy that is asked to CONNECT.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    pub host: String,
    pub port: u16,
    /// `user:password`, decoded.
    pub login: Option<zeroize::Zeroizing<String>>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({}:{})", self.host, self.port)
    }
}

/// Why the environment is left to boto3.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("{0} is set")]
    Foreign(&'static str),
    #[error("there is a configuration file at {0}")]
    ConfigFile(String),
    #[error("no region is set in AWS_REGION or AWS_DEFAULT_REGION")]
    NoRegion,
    #[error("region {0:?} is of a partition with rules of its own")]
    Partition(String),
    #[error("{0} is no plain address")]
    Address(&'static str),
    #[error("the credentials are not in the environment")]
    NoCredentials,
    #[error("AWS_RETRY_MODE is {0:?}")]
    RetryMode(String),
    #[error("{0} is no whole number of at least 1")]
    Number(&'static str),
    #[error("{0} is no plain text")]
    NotText(String),
}

/// What is asked of the process; a test answers in its place.
pub trait Environment {
    /// The value of a variable; an error if it is no UTF-8.
    fn get(&self, name: &str) -> Result<Option<String>, Reason>;
    /// Whether there is a file.
    fn has_file(&self, path: &str) -> bool;
}

/// The process itself.
#[derive(Debug, Clone, Copy)]
pub struct Process;

impl Environment for Process {
    fn get(&self, name: &str) -> Result<Option<String>, Reason> {
        match std::env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err(Reason::NotText(name.to_owned())),
        }
    }

    fn has_file(&self, path: &str) -> bool {
        std::fs::exists(path).unwrap_or(true)
    }
}

/// What the environment says of calls to the Lambda API.
pub fn read(environment: &impl Environment) -> Result<Config, Reason> {
    let set = |name: &str| Ok(environment.get(name)?.filter(|value| !value.is_empty()));
    for name in FOREIGN {
        if set(name)?.is_some() {
            return Err(Reason::Foreign(name));
        }
    }
    refuse_config_file(environment)?;
    let mode = set("AWS_RETRY_MODE")?.unwrap_or_default();
    if !matches!(mode.as_str(), "" | "legacy" | "standard") {
        return Err(Reason::RetryMode(mode));
    }
    let region = match set("AWS_REGION")? {
        Some(region) => region,
        None => set("AWS_DEFAULT_REGION")?.ok_or(Reason::NoRegion)?,
    };
    let endpoint = endpoint(environment, &region)?;
    let proxy = if endpoint.tls { proxy(environment, &endpoint)? } else { no_plain_proxy(environment)? };
    let ca_bundle = match set("AWS_CA_BUNDLE")? {
        Some(bundle) => Some(bundle),
        None => set("SSL_CERT_FILE")?,
    };
    let max_attempts = set("AWS_MAX_ATTEMPTS")?
        .map(|text| text.parse().ok().filter(|attempts| *attempts > 0).ok_or(Reason::Number("AWS_MAX_ATTEMPTS")))
        .transpose()?;
    let credentials = Source::find(environment)?;
    let app_id = set("AWS_SDK_UA_APP_ID")?;
    Ok(Config { endpoint, region, credentials, proxy, ca_bundle: ca_bundle.map(PathBuf::from), max_attempts, app_id })
}

/// The credentials that the variables hold now; Lambda may change them under a long execution environment.
pub fn credentials(environment: &impl Environment) -> Result<Option<Credentials>, Reason> {
    let (key, secret) = (environment.get("AWS_ACCESS_KEY_ID")?, environment.get("AWS_SECRET_ACCESS_KEY")?);
    let token = match environment.get("AWS_SESSION_TOKEN")?.filter(|token| !token.is_empty()) {
        Some(token) => Some(token),
        None => environment.get("AWS_SECURITY_TOKEN")?.filter(|token| !token.is_empty()),
    };
    for (name, value) in [("AWS_ACCESS_KEY_ID", &key), ("AWS_SESSION_TOKEN", &token)] {
        if !value.as_deref().is_none_or(is_header) {
            return Err(Reason::NotText(name.to_owned()));
        }
    }
    Ok(match (key.filter(|key| !key.is_empty()), secret.filter(|secret| !secret.is_empty())) {
        (Some(key), Some(secret)) => Some(Credentials::new(&key, &secret, token.as_deref())),
        _ => None,
    })
}

/// Whether text may stand in a header, where a line break would begin another one.
pub(crate) fn is_header(text: &str) -> bool {
    // To the end, whatever comes, so that many bytes are looked at at a time: a session's token is long.
    text.bytes().fold(true, |is_header, byte| is_header & matches!(byte, b' '..=b'~'))
}

fn refuse_config_file(environment: &impl Environment) -> Result<(), Reason> {
    let path = match environment.get("AWS_CONFIG_FILE")? {
        Some(path) => path,
        None => match environment.get("HOME")? {
            Some(home) => format!("{home}/.aws/config"),
            None => return Ok(()),
        },
    };
    if environment.has_file(&path) || path.starts_with('~') { Err(Reason::ConfigFile(path)) } else { Ok(()) }
}

fn endpoint(environment: &impl Environment, region: &str) -> Result<Endpoint, Reason> {
    if !flag(environment, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")? {
        for name in ["AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL"] {
            if let Some(url) = environment.get(name)?.filter(|url| !url.is_empty()) {
                return Endpoint::parse(&url).ok_or(Reason::Address(name));
            }
        }
    }
    let fips = flag(environment, "AWS_USE_FIPS_ENDPOINT")?;
    let dualstack = flag(environment, "AWS_USE_DUALSTACK_ENDPOINT")?;
    Endpoint::of_region(region, fips, dualstack).ok_or_else(|| Reason::Partition(region.to_owned()))
}

fn flag(environment: &impl Environment, name: &str) -> Result<bool, Reason> {
    Ok(environment.get(name)?.is_some_and(|value| value.eq_ignore_ascii_case("true")))
}

/// The first of two spellings of a variable about proxies; the lower one counts first, as in Python.
fn proxy_variable(environment: &impl Environment, name: &str) -> Result<Option<String>, Reason> {
    let lower = environment.get(&name.to_ascii_lowercase())?;
    Ok(match lower {
        Some(value) => Some(value),
        None => environment.get(name)?,
    }
    .filter(|value| !value.is_empty()))
}

fn proxy(environment: &impl Environment, endpoint: &Endpoint) -> Result<Option<Proxy>, Reason> {
    const NAME: &str = "HTTPS_PROXY";
    let Some(url) = proxy_variable(environment, NAME)? else { return Ok(None) };
    if bypasses(&proxy_variable(environment, "NO_PROXY")?.unwrap_or_default(), endpoint) {
        return Ok(None);
    }
    let rest = url.strip_prefix("http://").ok_or(Reason::Address(NAME))?;
    let authority = rest.trim_end_matches('/');
    let (login, address) = match authority.rsplit_once('@') {
        Some((login, address)) => (Some(percent_decoded(login).ok_or(Reason::Address(NAME))?), address),
        None => (None, authority),
    };
    let (host, port) = split_port(address).ok_or(Reason::Address(NAME))?;
    let port = port.map_or(Ok(80), str::parse).map_err(|_| Reason::Address(NAME))?;
    Ok(Some(Proxy { host: host.to_owned(), port, login: login.map(zeroize::Zeroizing::new) }))
}

/// Plain HTTP goes through a proxy in a way of its own, which is left to boto3.
fn no_plain_proxy(environment: &impl Environment) -> Result<Option<Proxy>, Reason> {
    match proxy_variable(environment, "HTTP_PROXY")? {
        Some(_) => Err(Reason::Foreign("HTTP_PROXY")),
        None => Ok(None),
    }
}

/// Whether `NO_PROXY` names the host, a domain around it, or everything.
fn bypasses(list: &str, endpoint: &Endpoint) -> bool {
    let with_port = format!("{}:{}", endpoint.host, endpoint.port);
    list.trim() == "*"
        || list.split(',').map(|entry| entry.trim().trim_start_matches('.').to_ascii_lowercase()).any(|entry| {
            let names = |host: &str| host == entry || host.ends_with(&format!(".{entry}"));
            !entry.is_empty() && (names(&endpoint.host) || names(&with_port))
        })
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An environment of these variables, with a file at each of these paths.
    pub(crate) struct Fake<'a>(pub &'a [(&'a str, &'a str)], pub &'a [&'a str]);

    impl Environment for Fake<'_> {
        fn get(&self, name: &str) -> Result<Option<String>, Reason> {
            Ok(self.0.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        }
        fn has_file(&self, path: &str) -> bool {
            self.1.contains(&path)
        }
    }

    const LAMBDA: [(&str, &str); 4] = [
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "AKID"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "token"),
    ];

    fn with(more: &[(&str, &str)]) -> Result<Config, Reason> {
        let all: Vec<(&str, &str)> = more.iter().chain(&LAMBDA).copied().collect();
        read(&Fake(&all, &[]))
    }

    fn url(more: &[(&str, &str)]) -> String {
        with(more).map_or_else(|reason| reason.to_string(), |config| config.endpoint.to_string())
    }

    #[test]
    fn what_lambda_sets_is_understood() {
        let config = with(&[]).expect("it is understood");
        assert_eq!(config.endpoint.to_string(), "https://lambda.eu-west-1.amazonaws.com");
        assert_eq!((config.proxy, config.ca_bundle, config.max_attempts), (None, None, None));
        assert_eq!(credentials(&Fake(&LAMBDA, &[])), Ok(Some(Credentials::new("AKID", "secret", Some("token")))));
    }

    #[test]
    fn the_endpoint_is_the_nearest_that_is_given() {
        let (general, lambda) = (("AWS_ENDPOINT_URL", "http://g:1"), ("AWS_ENDPOINT_URL_LAMBDA", "http://l:2"));
        assert_eq!(url(&[general]), "http://g:1");
        assert_eq!(url(&[general, lambda]), "http://l:2");
        let ignored = ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "TRUE");
        assert_eq!(url(&[general, lambda, ignored]), "https://lambda.eu-west-1.amazonaws.com");
        assert_eq!(url(&[("AWS_USE_FIPS_ENDPOINT", "true")]), "https://lambda-fips.eu-west-1.amazonaws.com");
        assert_eq!(url(&[("AWS_USE_DUALSTACK_ENDPOINT", "true")]), "https://lambda.eu-west-1.api.aws");
        assert_eq!(
            url(&[("AWS_REGION", ""), ("AWS_DEFAULT_REGION", "us-east-2")]),
            "https://lambda.us-east-2.amazonaws.com"
        );
    }

    #[test]
    fn what_only_botocore_knows_is_left_to_it() {
        for name in FOREIGN {
            assert_eq!(with(&[(name, "x")]), Err(Reason::Foreign(name)));
            assert!(with(&[(name, "")]).is_ok());
        }
        assert_eq!(with(&[("AWS_RETRY_MODE", "adaptive")]), Err(Reason::RetryMode("adaptive".to_owned())));
        assert_eq!(with(&[("AWS_REGION", "us-iso-east-1")]), Err(Reason::Partition("us-iso-east-1".to_owned())));
        assert_eq!(with(&[("AWS_ENDPOINT_URL", "http://u@h")]), Err(Reason::Address("AWS_ENDPOINT_URL")));
        assert_eq!(with(&[("AWS_MAX_ATTEMPTS", "0")]), Err(Reason::Number("AWS_MAX_ATTEMPTS")));
        assert_eq!(read(&Fake(&LAMBDA[1..], &[])), Err(Reason::NoRegion));
        assert_eq!(read(&Fake(&LAMBDA[..1], &[])), Err(Reason::NoCredentials));
        let home = [("HOME", "/h"), LAMBDA[0], LAMBDA[1], LAMBDA[2]];
        assert_eq!(read(&Fake(&home, &["/h/.aws/config"])), Err(Reason::ConfigFile("/h/.aws/config".to_owned())));
        assert!(read(&Fake(&home, &["/h/.aws/other"])).is_ok());
    }

    #[test]
    fn proxies_are_asked_unless_they_are_not_to_be() {
        let proxy = |more: &[(&str, &str)]| with(more).map(|config| config.proxy.map(|proxy| format!("{proxy:?}")));
        assert_eq!(proxy(&[("HTTPS_PROXY", "http://p:3128/")]), Ok(Some("Proxy(p:3128)".to_owned())));
        assert_eq!(
            proxy(&[("HTTPS_PROXY", "http://p"), ("https_proxy", "http://q")]),
            Ok(Some("Proxy(q:80)".to_owned()))
        );
        for list in ["*", "amazonaws.com", ".amazonaws.com", "x, lambda.eu-west-1.amazonaws.com", "amazonaws.com:443"] {
            assert_eq!(proxy(&[("HTTPS_PROXY", "http://p"), ("NO_PROXY", list)]), Ok(None), "{list}");
        }
        for list in ["", "aws.com", "example.com", "amazonaws.com:80"] {
            assert!(matches!(proxy(&[("HTTPS_PROXY", "http://p"), ("NO_PROXY", list)]), Ok(Some(_))), "{list}");
        }
        for odd in ["https://p", "socks5://p", "p:80", "http://", "http://a%@p"] {
            assert_eq!(proxy(&[("HTTPS_PROXY", odd)]), Err(Reason::Address("HTTPS_PROXY")), "{odd}");
        }
        let login = with(&[("HTTPS_PROXY", "http://u%40x:p%3a@p:1")]).expect("it is understood").proxy;
        assert_eq!(login.and_then(|proxy| proxy.login).as_deref().map(String::as_str), Some("u@x:p:"));
        let plain = [("AWS_ENDPOINT_URL", "http://h"), ("HTTP_PROXY", "http://p")];
        assert_eq!(with(&plain), Err(Reason::Foreign("HTTP_PROXY")));
    }
}
