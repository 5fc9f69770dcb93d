//! The state of one invocation that its execution, scopes and operations share.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use perdure_core::checkpoint::Ticket;
use perdure_core::engine::{Engine, Refusal};
use pyo3::prelude::*;

use crate::text::Text;

/// What the mutex guards. No Python code runs and no Python object is made while it is held.
pub struct State {
    pub engine: Engine<Text>,
    /// The locks of callers who wait for a ticket.
    pub waiters: Vec<(Ticket, Py<PyAny>)>,
    pub deadline: Option<Instant>,
}

/// One invocation.
pub struct Shared(Mutex<State>);

impl Shared {
    pub fn new(token: Text) -> Self {
        Self(Mutex::new(State { engine: Engine::new(token), waiters: Vec::new(), deadline: None }))
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

    /// The waiters to release: those whose ticket is durable, and one more who is to lead next.
    pub fn release(&mut self) -> Vec<Py<PyAny>> {
        let durable = self.engine.queue().durable();
        let (mut released, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiters).into_iter().partition(|(ticket, _)| *ticket <= durable);
        let mut waiting = waiting.into_iter();
        released.extend(waiting.next());
        self.waiters = waiting.collect();
        released.into_iter().map(|(_, waiter)| waiter).collect()
    }

    /// All waiters, when nothing will become durable any more.
    pub fn release_all(&mut self) -> Vec<Py<PyAny>> {
        std::mem::take(&mut self.waiters).into_iter().map(|(_, waiter)| waiter).collect()
    }
}
