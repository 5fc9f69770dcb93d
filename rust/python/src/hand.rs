//! Hands: threads that work at a batch, and what wakes those who wait for it.
//!
//! Python code may be interrupted between any two of its bytecodes. So what a hand takes (its place in the process, and
//! among those at work) is taken and given back in here, however the hand ends; and whom a report wakes is woken by what
//! takes the report.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use perdure_core::branches::BatchId;
use perdure_core::gate::Gate;
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::object::{Object, wake};
use crate::shared::Shared;

/// How many hands the process has.
static AT_WORK: AtomicUsize = AtomicUsize::new(0);

/// Tells how many hands the process has.
#[pyfunction]
pub fn hands_at_work() -> usize {
    AT_WORK.load(Ordering::Relaxed)
}

/// What wakes those who wait for a batch.
pub struct Bells {
    /// Locks that are released when there is news: of the caller, and of whoever waits for the next timer.
    locks: [Object; 2],
    gate: Mutex<Gate<Object>>,
}

impl Bells {
    pub fn new(bell: Bound<'_, PyAny>, alarm: Bound<'_, PyAny>) -> Self {
        Self { locks: [Object::new(bell), Object::new(alarm)], gate: Mutex::default() }
    }

    fn gate(&self) -> MutexGuard<'_, Gate<Object>> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes those who wait for news; with `opens`, also those at the gate, for them to ask again.
    pub fn ring(&self, py: Python<'_>, opens: bool) -> PyResult<()> {
        if opens {
            let waiting = self.gate().open();
            wake(waiting);
        }
        for lock in &self.locks {
            let lock = lock.get(py);
            // Most were rung already, and releasing a free lock costs an exception.
            if lock.call_method0(intern!(py, "locked"))?.is_truthy()? {
                match lock.call_method0(intern!(py, "release")) {
                    Err(error) if !error.is_instance_of::<PyRuntimeError>(py) => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Registers a held lock at the gate.
    pub fn queue(&self, waiter: Bound<'_, PyAny>) {
        let waiter = Object::new(waiter);
        self.gate().queue(waiter);
    }

    /// Waits at the gate until that lock is released; false if no hand would be left to try the others.
    pub fn wait(&self, waiter: &Bound<'_, PyAny>) -> PyResult<bool> {
        if !self.gate().wait() {
            return Ok(false);
        }
        let woken = waiter.call_method0(intern!(waiter.py(), "acquire"));
        self.gate().enter();
        woken.map(|_| true)
    }
}

/// Where a hand works.
#[derive(Clone)]
pub struct Post {
    pub shared: Arc<Shared>,
    pub id: BatchId,
    pub bells: Arc<Bells>,
}

impl Post {
    /// Lets no branch begin any more, and wakes everybody.
    pub fn stop(&self, py: Python<'_>, at_once: bool) -> PyResult<()> {
        self.shared.lock().engine.stop_batch(self.id, at_once);
        self.bells.ring(py, true)
    }

    fn is_settling(&self) -> bool {
        self.shared.lock().engine.schedule(self.id).is_settling()
    }
}

/// Hired, and not at work yet.
const HIRED: u8 = 0;
const AT_IT: u8 = 1;
const GONE: u8 = 2;

/// One more at work at a batch.
#[pyclass(frozen, module = "perdure._core")]
pub struct Hand {
    post: Post,
    /// The Python side of the batch.
    run: Object,
    state: AtomicU8,
}

impl Hand {
    /// Has a thread started; false if the process, or the system, has as many as it may.
    pub fn hire(post: &Post, run: Bound<'_, PyAny>, most: usize, start: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = run.py();
        let taken = |hands| (hands < most).then_some(hands + 1);
        if AT_WORK.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_err() {
            return Ok(false);
        }
        post.shared.lock().engine.queue_mut().enter();
        post.bells.gate().enter();
        let hand = Self { post: post.clone(), run: Object::new(run), state: AtomicU8::new(HIRED) };
        let hand = Bound::new(py, hand)?;
        let Err(error) = start.call1((&hand,)) else { return Ok(true) };
        hand.get().dismiss(py)?;
        if error.is_instance_of::<PyRuntimeError>(py) { Ok(false) } else { Err(error) }
    }

    fn turns(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Lets it go, unless it is at work by now: then it goes when that ends.
    fn dismiss(&self, py: Python<'_>) -> PyResult<()> {
        if self.turns(HIRED, GONE) { self.end(py, true) } else { Ok(()) }
    }

    fn end(&self, py: Python<'_>, opens: bool) -> PyResult<()> {
        AT_WORK.fetch_sub(1, Ordering::Relaxed);
        self.post.bells.gate().leave();
        let woken = self.post.shared.lock().engine.queue_mut().leave();
        wake(woken);
        self.post.bells.ring(py, opens)
    }
}

#[pymethods] // see `Batch.hire` in _core.pyi
impl Hand {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        if !self.turns(HIRED, AT_IT) {
            return Ok(());
        }
        let run = self.run.get(py);
        let worked = run.call_method0(intern!(py, "work"));
        if let Err(error) = worked {
            // What it was at is lost, and nobody is to wait for that.
            let told = run.setattr(intern!(py, "loss"), error.value(py));
            let stopped = self.post.stop(py, true);
            self.end(py, true)?;
            return told.and(stopped).and(Err(error));
        }
        self.end(py, !self.post.is_settling())
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        // If it never came to work. Nobody hears of what its locks may raise.
        Python::attach(|py| _ = self.dismiss(py));
    }
}

/// Calls a function while a lock is held, which is released whatever the function does.
#[pyfunction]
#[pyo3(signature = (lock, function, *args))]
pub fn while_held<'py>(
    lock: &Bound<'py, PyAny>,
    function: &Bound<'py, PyAny>,
    args: Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = lock.py();
    lock.call_method0(intern!(py, "acquire"))?;
    let result = function.call1(args);
    let released = lock.call_method0(intern!(py, "release"));
    result.and_then(|result| released.map(|_| result))
}
