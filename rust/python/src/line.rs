//! Group commit, where nothing may come between: whoever is told to lead sends, or fails the queue.
//!
//! Python code may be interrupted between any two of its bytecodes, in a `finally` as well. So the whole of a caller's
//! turn is one call into here: asking what to do, waiting for others, sending, and waking those who wait. What runs in
//! Python meanwhile (`send` of the driver) may raise whatever it likes: the turn's [`Charge`] ends it.
//!
//! Why nobody waits for ever: one sleeps only where somebody leads, which is asked and noted under one lock. A leader's turn
//! ends by its batch being acknowledged, given back or failed, and in no other way, since dropping the [`Charge`] fails it.
//! Each of these wakes somebody to lead next, and failing wakes all. Whoever is woken asks again. An acknowledged batch had
//! at least one update if one waited, in order; so after at most as many calls as there are updates before it, a ticket is
//! durable.

use std::cell::RefCell;
use std::mem;
use std::ptr;
use std::time::Duration;

use perdure_core::checkpoint::{Role, Ticket, Turn};
use perdure_core::operation::{Millis, Operation};
use perdure_core::refusal::Refusal;
use pyo3::exceptions::{PyException, PyRecursionError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};

use crate::answer::Answer;
use crate::convert;
use crate::errors::{self, CONTROL, EXCEPTIONS, Error, raise};
use crate::object::{Object, held_lock, wake};
use crate::shared::{Shared, duration};
use crate::text::Text;
use crate::updates::Updates;

/// What came of a turn in the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stood {
    /// There was nothing to wait for.
    Done,
    /// The caller has sent a batch.
    Led,
    /// Somebody else has.
    Followed,
}

const WITHIN_ITSELF: &str = "an operation was called within a call to the service, or within a wait for one, that another \
    operation of this very thread makes: neither a client nor a signal handler or destructor that runs meanwhile may use \
    operations";

/// Somebody who needs an update durable, or news of the service.
pub struct Caller<'a, 'py> {
    pub shared: &'a Shared,
    /// The Python side: `send`, and where the failure is kept.
    pub driver: &'a Bound<'py, PyAny>,
}

/// Others rely on its holder, to send or to ask again: when it is dropped, the queue fails.
struct Charge<'a> {
    shared: Option<&'a Shared>,
    /// What a leader sends.
    turn: Option<Turn<Text>>,
}

impl<'a> Charge<'a> {
    fn of(shared: Option<&'a Shared>) -> Self {
        Self { shared, turn: None }
    }

    fn settle(mut self) {
        self.shared = None;
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared {
            let woken = shared.lock().engine.stop(Refusal::Broken);
            wake(woken);
        }
    }
}

/// That this thread stands in the line of an invocation.
struct Inside;

thread_local! {
    static LINES: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

impl Inside {
    /// None if it stands there already, and would wait for itself.
    fn enter(shared: &Shared) -> Option<Self> {
        let line = ptr::from_ref(shared).addr();
        LINES.with_borrow_mut(|lines| {
            let is_new = !lines.contains(&line);
            is_new.then(|| lines.push(line)).map(|()| Self)
        })
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        LINES.with_borrow_mut(Vec::pop);
    }
}

impl<'py> Caller<'_, 'py> {
    /// Takes one turn in the line.
    pub fn stand(&self, ticket: Option<Ticket>) -> Result<Stood, Error> {
        let py = self.driver.py();
        let mut state = self.shared.lock();
        if let Some(ticket) = ticket
            && state.engine.queue().is_durable(ticket)
        {
            return Ok(Stood::Done);
        }
        let Some(_inside) = Inside::enter(self.shared) else {
            drop(state);
            return Err(raise!(py, EXCEPTIONS, "ExecutionError", (WITHIN_ITSELF,))?.into());
        };
        if ticket.is_some() && state.engine.lead_at_once() {
            let mut charge = Charge::of(Some(self.shared));
            drop(state);
            let sent = self.send(&mut charge).map(|()| Stood::Led);
            return self.end(charge, Role::Lead, None, sent);
        }
        drop(state);
        let waiter = held_lock(py)?;
        let left_behind = Object::new(waiter.clone());
        let mut state = self.shared.lock();
        let (role, woken) = state.engine.lead(ticket, left_behind)?;
        let mut charge = Charge::of((role != Role::Done).then_some(self.shared));
        drop(state);
        wake(woken);
        let stood = match role {
            Role::Done => Ok(Stood::Done),
            Role::Lead => self.send(&mut charge).map(|()| Stood::Led),
            Role::Delay(delay) => self.wait(&waiter, delay).and_then(|()| self.send(&mut charge)).map(|()| Stood::Led),
            Role::Follow => self.follow(&waiter).map(|()| Stood::Followed),
        };
        self.end(charge, role, Some(&waiter), stood)
    }

    /// Ends a turn by what came of it.
    fn end(
        &self,
        mut charge: Charge<'_>,
        role: Role,
        waiter: Option<&Bound<'py, PyAny>>,
        stood: Result<Stood, Error>,
    ) -> Result<Stood, Error> {
        match stood {
            Ok(stood) => {
                charge.settle();
                Ok(stood)
            }
            Err(Error::Python(error)) if error.is_instance_of::<PyRecursionError>(self.driver.py()) => {
                let (turn, is_it) =
                    (charge.turn.take(), |follower: &Object| waiter.is_some_and(|own| follower.is(own)));
                let (left, woken) = self.shared.lock().engine.step_back(role, turn, is_it);
                charge.settle();
                drop(left);
                wake(woken);
                Err(error.into())
            }
            Err(Error::Python(error)) => {
                self.note(&error);
                drop(charge);
                Err(broken(self.driver.py(), error))
            }
            Err(refused) => Err(refused),
        }
    }

    /// Gives others at work a moment to join.
    fn wait(&self, waiter: &Bound<'py, PyAny>, delay: Duration) -> Result<(), Error> {
        let woken = waiter.call_method1(intern!(waiter.py(), "acquire"), (true, delay.as_secs_f64()))?.is_truthy()?;
        self.shared.lock().engine.queue_mut().waited(woken);
        Ok(())
    }

    /// Sleeps until the leader reports back, or the invocation's time is over.
    fn follow(&self, waiter: &Bound<'py, PyAny>) -> Result<(), Error> {
        let py = waiter.py();
        let seconds = self.shared.lock().seconds_left().unwrap_or(-1.0);
        if waiter.call_method1(intern!(py, "acquire"), (true, seconds))?.is_truthy()? {
            return Ok(());
        }
        let message = "the invocation's time was over before a call to the service, made by another thread, returned";
        Err(raise!(py, EXCEPTIONS, "InvocationError", (message,))?.into())
    }

    fn send(&self, charge: &mut Charge<'_>) -> Result<(), Error> {
        let py = self.driver.py();
        let (turn, token) = {
            let mut state = self.shared.lock();
            (state.engine.take_turn()?, state.engine.queue().token().map(|token| token.share(py)))
        };
        let turn = charge.turn.insert(turn);
        let token = token.map(|token| token.object(py)).transpose()?;
        let updates = Bound::new(py, Updates::lent(mem::take(&mut turn.batch)))?;
        let answer = self.driver.call_method1(intern!(py, "send"), (token, &updates, turn.number));
        turn.batch = updates.get().give_back(py);
        let (token, operations, now, asked_at, took): Answered<'_> = answer?.extract()?;
        let token = token.as_ref().map(Text::outgoing);
        let operations = read_parts(&operations, "the answer to a checkpoint")?;
        let turn = charge.turn.take();
        let woken = {
            let mut state = self.shared.lock();
            state.engine.heard(asked_at, duration(took));
            turn.map_or_else(Vec::new, |turn| state.engine.acknowledge(turn, token, operations, now))
        };
        wake(woken);
        Ok(())
    }

    /// Keeps what broke the queue first, by which the invocation will end.
    fn note(&self, error: &PyErr) {
        let py = self.driver.py();
        let failure = intern!(py, "failure");
        if self.driver.getattr(failure).is_ok_and(|known| known.is_none()) {
            // It has a place for it, or is none of ours.
            let _ = self.driver.setattr(failure, error.value(py));
        }
    }
}

/// The next token, lists of the operations that have changed, the present moment, and when the call was made and how long it took,
/// in seconds.
type Answered<'py> = (Option<Bound<'py, PyString>>, Bound<'py, PyList>, Millis, f64, f64);

/// What is raised for a failed call: not its error, which user code could catch, to go on as if it were an operation's.
fn broken(py: Python<'_>, error: PyErr) -> Error {
    if !error.is_instance_of::<PyException>(py) {
        return error.into();
    }
    let message = error.value(py).str().map_or_else(|_| String::new(), |text| text.to_string_lossy().into_owned());
    let broken = raise!(py, CONTROL, "CheckpointsBroken", (message,)).unwrap_or_else(|error| error);
    broken.set_cause(py, Some(error));
    broken.into()
}

/// Reads recorded operations.
pub fn read(operations: &Bound<'_, PyList>, source: &str) -> PyResult<Vec<Operation<Text>>> {
    let mut read = Vec::with_capacity(operations.len());
    append(&mut read, operations, source)?;
    Ok(read)
}

/// Reads several lists of recorded operations, some of which may be read already.
pub fn read_parts(parts: &Bound<'_, PyList>, source: &str) -> PyResult<Vec<Operation<Text>>> {
    let mut read = Vec::new();
    for part in parts {
        match part.cast_exact::<Answer>() {
            Ok(answer) if read.is_empty() => read = answer.get().take(),
            Ok(answer) => read.append(&mut answer.get().take()),
            Err(_) => append(&mut read, part.cast()?, source)?,
        }
    }
    Ok(read)
}

fn append(read: &mut Vec<Operation<Text>>, operations: &Bound<'_, PyList>, source: &str) -> PyResult<()> {
    for raw in operations {
        match convert::operation(&raw) {
            Ok(operation) => read.push(operation),
            Err(problem) => return Err(errors::unreadable(&raw, read.len(), source, problem)),
        }
    }
    Ok(())
}
