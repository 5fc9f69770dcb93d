//! Why a call got no answer.

use std::io;
use std::time::Duration;

/// Why a call got no answer. Nothing here names a key, a token or a signature.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot connect to {address}: {source}")]
    Connect { address: String, source: io::Error },
    #[error("no connection to {address} within {seconds:.1} s", seconds = .after.as_secs_f64())]
    ConnectTimeout { address: String, after: Duration },
    #[error(
        "the TLS connection to {address} was refused: {reason}. Certificates are checked against those of the Mozilla \
         root programme, or against the file that AWS_CA_BUNDLE or SSL_CERT_FILE names"
    )]
    Tls { address: String, reason: String },
    #[error("the certificates in {path} cannot be read: {reason}. AWS_CA_BUNDLE or SSL_CERT_FILE names that file")]
    Certificates { path: String, reason: String },
    #[error("the proxy {address} did not open a tunnel: it answered {answer}")]
    Proxy { address: String, answer: String },
    #[error("the connection to {address} was lost: {source}")]
    Lost { address: String, source: io::Error },
    #[error("no answer from {address} in time")]
    Timeout { address: String },
    #[error("the answer from {address} is no HTTP that can be relied on: {reason}")]
    Protocol { address: String, reason: String },
    #[error("a call to {address} was given up for a signal")]
    Interrupted { address: String },
    #[error("the credentials cannot be had: {0}")]
    Credentials(String),
    #[error("the credentials cannot be had now: {0}")]
    CredentialsForNow(String),
}

impl Error {
    /// Whether the same call may well succeed a moment later.
    pub const fn is_passing(&self) -> bool {
        !matches!(self, Self::Certificates { .. } | Self::Credentials(_) | Self::Interrupted { .. })
    }

    /// The name by which programs know such trouble, that of botocore's exception.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "EndpointConnectionError",
            Self::ConnectTimeout { .. } => "ConnectTimeoutError",
            Self::Tls { .. } | Self::Certificates { .. } => "SSLError",
            Self::Proxy { .. } => "ProxyConnectionError",
            Self::Lost { .. } | Self::Protocol { .. } | Self::Interrupted { .. } => "ConnectionClosedError",
            Self::Timeout { .. } => "ReadTimeoutError",
            Self::Credentials(_) | Self::CredentialsForNow(_) => "CredentialRetrievalError",
        }
    }
}
