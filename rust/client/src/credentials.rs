//! Who signs: a key, its secret, and the token of a session. Nothing of them is ever printed, and all of it is
//! overwritten when it is dropped.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::endpoint::Endpoint;
use crate::environment::{self, Environment, Reason};
use crate::secret::Secret;

/// What signs a request.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    access_key: Secret<String>,
    secret: Secret<String>,
    token: Option<Secret<String>>,
}

impl Credentials {
    pub fn new(access_key: &str, secret: &str, token: Option<&str>) -> Self {
        let own = |text: &str| Secret::new(text.to_owned());
        Self { access_key: own(access_key), secret: own(secret), token: token.map(own) }
    }

    /// The id of the key, which goes over the wire.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// The token of the session, if there is one.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref().map(String::as_str)
    }

    /// The secret behind a prefix, from which the signing key is derived.
    pub(crate) fn with_prefix(&self, prefix: &str) -> Secret<String> {
        let mut text = Secret::new(String::with_capacity(prefix.len() + self.secret.len()));
        text.push_str(prefix);
        text.push_str(&self.secret);
        text
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// Where the credentials of a process come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Variables, read anew for each call.
    Variables,
    /// Credentials that stay the same.
    Given(Credentials),
    /// A service beside the function, as it is after a start from a snapshot, which renews them.
    Container(Container),
}

/// How to ask that service.
#[derive(Clone, PartialEq, Eq)]
pub struct Container {
    pub address: Endpoint,
    pub token: ContainerToken,
}

/// What that service wants to be told.
#[derive(Clone, PartialEq, Eq)]
pub enum ContainerToken {
    None,
    Given(Zeroizing<String>),
    /// A file that holds it, read for each request.
    File(PathBuf),
}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Container({})", self.address)
    }
}

impl Source {
    /// The first place that has credentials, in botocore's order; none of ours leaves it to boto3.
    pub fn find(environment: &impl Environment) -> Result<Self, Reason> {
        if environment::credentials(environment)?.is_some() {
            return Ok(Self::Variables);
        }
        // Before the container's come places that only boto3 reads.
        for name in ["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SHARED_CREDENTIALS_FILE"] {
            if environment.get(name)?.is_some_and(|value| !value.is_empty()) {
                return Err(Reason::Foreign(name));
            }
        }
        if let Some(home) = environment.get("HOME")?
            && environment.has_file(&format!("{home}/.aws/credentials"))
        {
            return Err(Reason::ConfigFile(format!("{home}/.aws/credentials")));
        }
        Container::find(environment)?.map(Self::Container).ok_or(Reason::NoCredentials)
    }
}

impl Container {
    fn find(environment: &impl Environment) -> Result<Option<Self>, Reason> {
        const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
        const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
        let set = |name: &str| Ok(environment.get(name)?.filter(|value| !value.is_empty()));
        let (name, url) = match (set(RELATIVE)?, set(FULL)?) {
            (Some(path), _) => (RELATIVE, format!("http://169.254.170.2{path}")),
            (None, Some(url)) => (FULL, url),
            (None, None) => return Ok(None),
        };
        let address = Endpoint::parse(&url).filter(is_allowed).ok_or(Reason::Address(name))?;
        let token = match (set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")?, set("AWS_CONTAINER_AUTHORIZATION_TOKEN")?) {
            (Some(file), _) => ContainerToken::File(file.into()),
            (None, Some(token)) => ContainerToken::Given(Zeroizing::new(token)),
            (None, None) => ContainerToken::None,
        };
        Ok(Some(Self { address, token }))
    }
}

/// Whether credentials may be asked for there: over TLS anywhere, else only on the machine and from its container host.
fn is_allowed(address: &Endpoint) -> bool {
    const HOSTS: [&str; 4] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23", "localhost"];
    address.tls
        || HOSTS.contains(&address.host.as_str())
        || address.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::tests::Fake;

    #[test]
    fn nothing_of_them_is_printed() {
        let credentials = Credentials::new("AKIDEXAMPLE", "s3cret", Some("t0ken"));
        assert_eq!(format!("{credentials:?}"), "Credentials(..)");
        let given = [
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://localhost:1/c"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "t0ken"),
        ];
        let source = Source::find(&Fake(&given, &[])).expect("it is understood");
        assert_eq!(format!("{source:?}"), "Container(Container(http://localhost:1/c))");
    }

    #[test]
    fn a_container_is_asked_only_where_botocore_would_ask() {
        let found = |name, url| Source::find(&Fake(&[(name, url)], &[])).map(|source| format!("{source:?}"));
        let full = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
        for url in [
            "http://127.0.0.1:9001/2023-01-01/credentials",
            "http://localhost/c",
            "http://169.254.170.2/c",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1",
            "http://[::1]:80/c",
            "https://example.com/c",
        ] {
            assert!(found(full, url).is_ok(), "{url}");
        }
        for url in
            ["http://example.com/c", "http://169.254.169.254/latest", "http://10.0.0.1/", "file:///c", "http://[::2]/"]
        {
            assert_eq!(found(full, url), Err(Reason::Address(full)), "{url}");
        }
        let relative = found("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x").expect("it is understood");
        assert_eq!(relative, "Container(Container(http://169.254.170.2/v2/x))");
    }

    #[test]
    fn places_that_come_first_are_left_to_boto3() {
        let container = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://localhost:1/c");
        for name in ["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SHARED_CREDENTIALS_FILE"] {
            assert_eq!(Source::find(&Fake(&[container, (name, "x")], &[])), Err(Reason::Foreign(name)));
        }
        let home = Source::find(&Fake(&[container, ("HOME", "/h")], &["/h/.aws/credentials"]));
        assert_eq!(home, Err(Reason::ConfigFile("/h/.aws/credentials".to_owned())));
        assert_eq!(Source::find(&Fake(&[], &[])), Err(Reason::NoCredentials));
    }
}
