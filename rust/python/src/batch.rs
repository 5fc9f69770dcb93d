//! `Batch`: the schedule of one map or parallel.

use std::sync::{Mutex, MutexGuard, PoisonError};

use perdure_core::batch::{self, Branch, Next};
use perdure_core::completion::{Policy, Verdict};
use perdure_core::operation::Millis;
use pyo3::prelude::*;

#[pyclass(frozen, module = "perdure._core")]
pub struct Batch(Mutex<batch::Batch>);

impl Batch {
    fn lock(&self) -> MutexGuard<'_, batch::Batch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const RUN_BRANCH: u8 = 0;
const WAIT: u8 = 1;
const SUSPEND: u8 = 2;
const DONE: u8 = 3;
const ABORT: u8 = 4;

/// What may be next, by name.
pub const STEPS: [(&str, u8); 5] =
    [("RUN_BRANCH", RUN_BRANCH), ("WAIT", WAIT), ("SUSPEND", SUSPEND), ("DONE", DONE), ("ABORT", ABORT)];

#[pymethods] // documented in _core.pyi
impl Batch {
    #[new]
    fn new(
        total: usize,
        limit: Option<usize>,
        min_successful: Option<usize>,
        tolerated_failures: Option<usize>,
        tolerated_percentage: Option<f64>,
        custom: bool,
    ) -> Self {
        let policy = Policy { total, min_successful, tolerated_failures, tolerated_percentage, custom };
        Self(Mutex::new(batch::Batch::new(policy, limit)))
    }

    fn next(&self, now: Millis) -> (u8, usize, Option<Millis>) {
        match self.lock().next(now) {
            Next::Run { index, since } => (RUN_BRANCH, index, since),
            Next::Wait(due) => (WAIT, 0, due),
            Next::Suspend(due) => (SUSPEND, 0, due),
            Next::Done(_) => (DONE, 0, None),
            Next::Abort => (ABORT, 0, None),
        }
    }

    fn has_more(&self, now: Millis) -> bool {
        self.lock().has_more(now)
    }

    #[getter]
    fn due(&self) -> Option<Millis> {
        self.lock().due()
    }

    fn finish(&self, index: usize, succeeded: bool) -> bool {
        let mut batch = self.lock();
        batch.finish(index, succeeded);
        batch.reason().is_some()
    }

    fn suspend(&self, index: usize, until: Option<Millis>, now: Millis) {
        self.lock().suspend(index, until, now);
    }

    fn abort(&self, index: usize) {
        self.lock().abort(index);
    }

    fn stop(&self) {
        self.lock().stop();
    }

    fn decide(&self, succeeded: Option<bool>) -> bool {
        let mut batch = self.lock();
        batch.decide(match succeeded {
            None => Verdict::Continue,
            Some(true) => Verdict::Succeeded,
            Some(false) => Verdict::Failed,
        });
        batch.reason().is_some()
    }

    #[getter]
    fn reason(&self) -> Option<&'static str> {
        self.lock().reason().map(perdure_core::completion::Reason::as_str)
    }

    #[getter]
    fn admitted(&self) -> usize {
        self.lock().admitted()
    }

    fn statuses(&self) -> Vec<Option<&'static str>> {
        let status = |branch: &Branch| match branch {
            Branch::Waiting => None,
            Branch::Running | Branch::Suspended(_) => Some("STARTED"),
            Branch::Succeeded => Some("SUCCEEDED"),
            Branch::Failed => Some("FAILED"),
        };
        self.lock().branches().iter().map(status).collect()
    }
}
