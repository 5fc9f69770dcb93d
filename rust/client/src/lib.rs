//! The two calls that the engine makes to the Lambda API, over HTTP/1.1 and TLS, signed with Signature Version 4.
//!
//! Nothing of Python, nothing of the engine, no asynchronous runtime: a call blocks its thread until its answer or its deadline.

pub mod answer;
pub mod client;
mod connection;
pub mod credentials;
pub mod date;
pub mod endpoint;
pub mod environment;
pub mod error;
pub mod interrupt;
mod lookup;
mod process;
pub mod secret;
pub mod sigv4;
mod tls;
pub mod uri;
