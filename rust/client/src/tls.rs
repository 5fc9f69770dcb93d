//! Whom to trust: the roots of the Mozilla programme, compiled in, or those of a file.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, KeyProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::SigningKey;
use rustls::{ClientConfig, RootCertStore};

use crate::error::Error;

/// The configuration of all connections; TLS 1.2 and 1.3.
pub fn config(bundle: Option<&Path>) -> Result<Arc<ClientConfig>, Error> {
    let roots = match bundle {
        None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
        Some(path) => read(path)?,
    };
    let provider = CryptoProvider { key_provider: &NoKeys, ..rustls::crypto::ring::default_provider() };
    let versions = ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions();
    let versions =
        versions.map_err(|error| Error::Tls { address: "any host".to_owned(), reason: error.to_string() })?;
    Ok(Arc::new(versions.with_root_certificates(roots).with_no_client_auth()))
}

/// Keys to sign with, of which a client without a certificate of its own has none: what makes them is not linked.
#[derive(Debug)]
struct NoKeys;

impl KeyProvider for NoKeys {
    fn load_private_key(&self, _key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        Err(rustls::Error::General("perdure has no certificate of its own".to_owned()))
    }
}

fn read(path: &Path) -> Result<RootCertStore, Error> {
    let unreadable = |reason: String| Error::Certificates { path: path.display().to_string(), reason };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
        // Bundles of a system hold old roots that nobody can use; what matters is that some can be.
        roots.add_parsable_certificates([certificate]);
    }
    if roots.is_empty() { Err(unreadable("there is none in it".to_owned())) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roots_compiled_in_are_enough() {
        assert!(config(None).is_ok());
    }

    #[test]
    fn a_bundle_that_is_none_is_named() {
        let empty = std::env::temp_dir().join(format!("perdure-empty-{}.pem", std::process::id()));
        std::fs::write(&empty, "no certificate here\n").expect("it is writable");
        for path in [Path::new("/nowhere/ca.pem"), &empty] {
            let error = config(Some(path)).expect_err("it holds none").to_string();
            assert!(error.contains(&path.display().to_string()) && error.contains("AWS_CA_BUNDLE"), "{error}");
        }
        std::fs::remove_file(empty).expect("it is there");
    }
}
