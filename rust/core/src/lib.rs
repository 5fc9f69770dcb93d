//! The sans-I/O replay engine of perdure: what every durable operation does next.
//!
//! Nothing here reads a clock, draws a random number, starts a thread or talks to anybody. The driver hands in the
//! time, the random numbers and the service's responses, and takes decisions and batches out.

pub mod retry;
