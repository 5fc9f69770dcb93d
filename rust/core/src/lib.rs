//! The sans-I/O replay engine of perdure: what every durable operation does next.
//!
//! Nothing here reads a clock, draws a random number, starts a thread or talks to anybody. The driver hands in the
//! time, the random numbers and the service's responses, and takes decisions and batches out.

pub mod arrival;
pub mod batch;
pub mod branches;
pub mod call;
pub mod callback;
pub mod checkpoint;
pub mod child;
pub mod commit_delay;
pub mod completion;
pub mod condition;
pub mod custody;
pub mod decision;
pub mod details;
pub mod ending;
pub mod engine;
pub mod gate;
pub mod history;
pub mod id;
pub mod invoke;
pub mod limits;
pub mod loan;
pub mod operation;
pub mod outcome;
pub mod refusal;
pub mod retry;
pub mod scope;
pub mod step;
pub mod update;
pub mod values;
pub mod wait;
pub mod wire;
pub mod wrong_context;
