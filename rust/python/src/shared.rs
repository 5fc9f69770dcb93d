//! The state of one invocation that its execution, scopes and operations share.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use perdure_core::engine::Engine;
use perdure_core::refusal::Refusal;
use pyo3::prelude::*;

use crate::text::Text;

/// What the mutex guards. No Python code runs and no Python object is made while it is held.
pub struct State {
    /// Callers wait on Python locks.
    pub engine: Engine<Text, Py<PyAny>>,
    pub deadline: Option<Instant>,
}

/// One invocation.
pub struct Shared(Mutex<State>);

impl Shared {
    pub fn new(token: Text) -> Self {
        Self(Mutex::new(State { engine: Engine::new(token), deadline: None }))
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Refuses new work once the deadline has passed.
    pub fn check_time(&mut self) -> Result<(), Refusal> {
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => self.engine.stop_late(),
            _ => Ok(()),
        }
    }
}
