//! `Batch`: the schedule of one map or parallel.

use std::sync::Arc;

use perdure_core::batch::{self, Branch, Next};
use perdure_core::branches::Branches;
use perdure_core::call::Call;
use perdure_core::completion::{Policy, Reason, Verdict};
use perdure_core::limits;
use perdure_core::operation::{Millis, Status, SubType};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::codes::{self, ABORT, ASK, DONE, RUN_BRANCH, STARTED, SUSPEND, WAIT};
use crate::custody;
use crate::errors::Error;
use crate::hand::{Bells, Hand, Post};
use crate::object::wake;
use crate::scope::{Found, Scope, extended_unless, text};
use crate::shared::State;
use crate::text::Decode;

#[pyclass(frozen, module = "perdure._core")]
pub struct Batch {
    post: Post,
    branches: Branches,
    /// Where the branches are operations.
    scope: Scope,
    decode: Option<Decode>,
}

impl Batch {
    /// Changes the schedule, and gives what that calls for.
    fn change<E>(&self, py: Python<'_>, change: impl FnOnce(&mut batch::Batch) -> Result<(), E>) -> Result<u8, Error>
    where
        Error: From<E>,
    {
        self.report(py, |state| {
            let (result, started) = state.engine.change_batch(self.post.id, &self.branches, change);
            result.map(|()| started)
        })
    }

    /// Takes a report, which tells whether STARTs were queued, and wakes those who wait for one; gives what it calls for.
    fn report<E>(&self, py: Python<'_>, report: impl FnOnce(&mut State) -> Result<bool, E>) -> Result<u8, Error>
    where
        Error: From<E>,
    {
        let calls = {
            let mut state = self.post.shared.lock();
            let started = report(&mut state)?;
            state.engine.calls(self.post.id, started)
        };
        self.post.bells.ring(py, calls.opens)?;
        Ok((u8::from(calls.asks) * ASK) | (u8::from(calls.started) * STARTED))
    }

    fn look<R>(&self, look: impl FnOnce(&batch::Batch) -> R) -> R {
        look(self.post.shared.lock().engine.schedule(self.post.id))
    }
}

#[pymethods] // documented in _core.pyi
impl Batch {
    #[new]
    #[expect(clippy::too_many_arguments, reason = "all that there is to say of a batch, once")]
    fn new(
        scope: &Scope,
        total: usize,
        limit: Option<usize>,
        min_successful: Option<usize>,
        tolerated_failures: Option<usize>,
        tolerated_percentage: Option<f64>,
        custom: bool,
        names: Vec<Option<Bound<'_, PyString>>>,
        prefix: &str,
        sub_type: Option<&str>,
        raw: bool,
        bell: Bound<'_, PyAny>,
        alarm: Bound<'_, PyAny>,
    ) -> Result<Self, Error> {
        let (shared, scope) = scope.parts();
        let name = |name: Option<Bound<'_, PyString>>| -> Result<Option<Box<str>>, Error> {
            name.map(|name| Ok(text(Some(&name))?.unwrap_or_default().into())).transpose()
        };
        let branches = match sub_type {
            None => Branches::Flat,
            Some(sub_type) => Branches::Nested {
                sub_type: SubType::new(sub_type),
                names: names.into_iter().map(name).collect::<Result<_, _>>()?,
                prefix: prefix.into(),
            },
        };
        let policy = Policy { total, min_successful, tolerated_failures, tolerated_percentage, custom };
        let bells = Arc::new(Bells::new(bell, alarm));
        let id = {
            let mut state = shared.lock();
            state.bells.push(Arc::downgrade(&bells));
            state.engine.new_batch(scope, policy, limit)
        };
        let scope = Scope::new(Arc::clone(shared), scope);
        let post = Post { shared: Arc::clone(shared), id, bells };
        Ok(Self { post, branches, scope, decode: extended_unless(raw) })
    }

    fn open(&self, py: Python<'_>, resumed: bool) -> Result<u8, Error> {
        self.report(py, |state| Ok::<_, Error>(state.engine.open_batch(self.post.id, &self.branches, resumed)))
    }

    fn hire(&self, run: Bound<'_, PyAny>, most: usize, start: &Bound<'_, PyAny>) -> PyResult<bool> {
        Hand::hire(&self.post, run, most, start)
    }

    fn next(&self, now: Millis) -> (u8, usize, Option<Millis>) {
        match self.post.shared.lock().engine.next(self.post.id, now) {
            Next::Run { index, since } => (RUN_BRANCH, index, since),
            Next::Wait(due) => (WAIT, 0, due),
            Next::Suspend(due) => (SUSPEND, 0, due),
            Next::Done(_) => (DONE, 0, None),
            Next::Abort => (ABORT, 0, None),
        }
    }

    fn has_more(&self, now: Millis) -> bool {
        self.look(|batch| batch.has_more(now))
    }

    #[getter]
    fn due(&self) -> Option<Millis> {
        self.look(batch::Batch::due)
    }

    fn come<'py>(&self, py: Python<'py>, index: usize) -> Found<'py> {
        let (name, sub_type) = (self.branches.name(index), self.branches.sub_type());
        self.scope.come(py, &Call::Branch { name: Some(&name), sub_type, index: index as u64 }, self.decode, None)
    }

    fn open_flat(&self, py: Python<'_>, index: usize, gate: Option<Py<PyAny>>) -> Result<Scope, Error> {
        let (shared, scope) = self.scope.parts();
        let opened = shared.lock().engine.open_virtual(scope, Some(index as u64), true);
        let scope = opened.map_err(|refusal| custody::located(py, shared, refusal.into()))?;
        Ok(Scope::with_gate(Arc::clone(shared), scope, gate))
    }

    fn finish(&self, py: Python<'_>, index: usize, succeeded: bool) -> Result<u8, Error> {
        self.report(py, |state| state.engine.finish_branch(self.post.id, &self.branches, index, succeeded))
    }

    fn suspend(&self, py: Python<'_>, index: usize, until: Option<Millis>, now: Millis) -> Result<u8, Error> {
        self.change(py, |batch| batch.suspend(index, until, now))
    }

    fn abort(&self, py: Python<'_>, index: usize, at_once: bool) -> Result<(), Error> {
        self.change(py, |batch| batch.abort(index, at_once)).map(drop)
    }

    fn stop(&self, py: Python<'_>, at_once: bool) -> PyResult<()> {
        self.post.stop(py, at_once)
    }

    fn decide(&self, py: Python<'_>, succeeded: Option<bool>) -> Result<u8, Error> {
        let verdict = match succeeded {
            None => Verdict::Continue,
            Some(true) => Verdict::Succeeded,
            Some(false) => Verdict::Failed,
        };
        self.change(py, |batch| {
            batch.decide(verdict);
            Ok::<_, Error>(())
        })
    }

    fn keep(&self, index: usize) {
        self.post.shared.lock().engine.schedule_mut(self.post.id).keep(index);
    }

    fn hold(&self, py: Python<'_>, index: usize) -> Result<u8, Error> {
        self.change(py, |batch| {
            batch.hold(index);
            Ok::<_, Error>(())
        })
    }

    fn held(&self, index: usize) -> u8 {
        codes::hold(self.post.shared.lock().engine.schedule_mut(self.post.id).held(index))
    }

    fn give_way(&self, index: usize) -> u8 {
        codes::hold(self.post.shared.lock().engine.schedule_mut(self.post.id).give_way(index))
    }

    fn queue(&self, waiter: Bound<'_, PyAny>) {
        self.post.bells.queue(waiter);
    }

    fn wait(&self, waiter: &Bound<'_, PyAny>) -> PyResult<bool> {
        let leader = self.post.shared.lock().engine.queue_mut().leave();
        wake(leader);
        let is_open = self.post.bells.wait(waiter);
        self.post.shared.lock().engine.queue_mut().enter();
        is_open
    }

    #[getter]
    fn is_settling(&self) -> bool {
        self.look(batch::Batch::is_settling)
    }

    #[getter]
    fn is_open(&self) -> bool {
        self.post.shared.lock().engine.is_open(self.post.id)
    }

    #[getter]
    fn reason(&self) -> Option<&'static str> {
        self.look(|batch| batch.reason().map(Reason::as_str))
    }

    #[getter]
    fn admitted(&self) -> usize {
        self.look(batch::Batch::admitted)
    }

    fn statuses(&self) -> Vec<Option<&'static str>> {
        let status = |branch: &Branch| branch.status().map(Status::as_str);
        self.look(|batch| batch.branches().iter().map(status).collect())
    }
}

/// Checks a name that a user gives a branch.
#[pyfunction]
pub fn check_name(name: &Bound<'_, PyString>) -> Result<(), Error> {
    Ok(text(Some(name))?.map_or(Ok(()), limits::name)?)
}
