//! The state of one invocation that its execution, scopes and operations share.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use perdure_core::engine::Engine;
use perdure_core::refusal::Refusal;
use pyo3::prelude::*;

use crate::custody;
use crate::hand::Bells;
use crate::object::{Held, Object, Wakeful};
use crate::text::Text;

/// What the mutex guards. While it is held no Python code runs, and no Python object is made or dropped.
pub struct State {
    /// Callers wait on Python locks.
    pub engine: Engine<Text, Object>,
    pub clock: Clock,
    /// When nobody waits any more.
    pub end: Option<Instant>,
    /// Of the batches that have begun.
    pub bells: Vec<Weak<Bells>>,
    /// Is shown each operation that the code comes to and that is not simply replayed.
    pub observer: Option<Object>,
    /// Says whether a task of the invocation was cut short.
    pub cut: Option<Object>,
}

/// A clock that does not go back, from the beginning of the invocation on.
#[derive(Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    pub fn now(self) -> Duration {
        self.0.elapsed()
    }
}

/// One invocation.
pub type Shared = Lock<State>;

impl Shared {
    pub fn of(token: Text) -> Arc<Self> {
        let (engine, clock, bells) = (Engine::new(token), Clock(Instant::now()), Vec::new());
        Arc::new(Self::new(State { engine, clock, end: None, bells, observer: None, cut: None }))
    }
}

impl State {
    /// How long one may wait; none if nobody knows when the invocation ends.
    pub fn seconds_left(&self) -> Option<f64> {
        self.end.map(|end| end.saturating_duration_since(Instant::now()).as_secs_f64())
    }
}

impl Shared {
    /// Has code excused that misses something, if a task of it was cut short. That is looked at only then.
    pub fn excuse(
        self: &Arc<Self>,
        py: Python<'_>,
        misses: impl FnOnce(&Engine<Text, Object>) -> bool,
    ) -> PyResult<()> {
        let asked = {
            let state = self.lock();
            state.cut.as_ref().filter(|_| misses(&state.engine)).map(|asked| asked.get(py))
        };
        let Some(asked) = asked else { return Ok(()) };
        for mark in asked.call0()?.try_iter()? {
            self.excuse_by(&mark?);
        }
        Ok(())
    }

    /// Excuses code for a task with this mark, which was cut short.
    pub fn excuse_by(self: &Arc<Self>, mark: &Bound<'_, PyAny>) {
        if custody::calls_operations(mark, self) {
            self.lock().engine.excuse();
        }
    }
}

/// So many seconds; none at all if it is no number or less than nothing.
pub fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

/// What a panic may leave half changed.
pub trait Fragile {
    /// Lets nobody go on with it; gives who is to be woken to hear so.
    fn break_off(&mut self) -> Vec<Object>;
}

impl Fragile for State {
    fn break_off(&mut self) -> Vec<Object> {
        self.engine.stop(Refusal::Broken)
    }
}

/// A mutex that a panic breaks for good.
pub struct Lock<S>(Mutex<S>);

impl<S: Fragile> Lock<S> {
    fn new(state: S) -> Self {
        Self(Mutex::new(state))
    }

    pub fn lock(&self) -> Guard<'_, S> {
        let held = Held::begin();
        // What a panic left behind has been broken off by the guard, and refuses whoever comes.
        Guard { state: self.0.lock().unwrap_or_else(PoisonError::into_inner), _held: held, woken: Wakeful::default() }
    }
}

/// The state, locked. Dropped in this order: the lock, then what fell out of use while it was held.
pub struct Guard<'a, S: Fragile> {
    state: MutexGuard<'a, S>,
    _held: Held,
    woken: Wakeful,
}

impl<S: Fragile> Deref for Guard<'_, S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.state
    }
}

impl<S: Fragile> DerefMut for Guard<'_, S> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.state
    }
}

impl<S: Fragile> Drop for Guard<'_, S> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.woken = Wakeful(self.state.break_off());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[derive(Default)]
    struct Half {
        is_changed: bool,
        is_broken: bool,
    }

    impl Fragile for Half {
        fn break_off(&mut self) -> Vec<Object> {
            self.is_broken = true;
            Vec::new()
        }
    }

    #[test]
    fn what_a_panic_left_half_changed_is_broken_off() {
        let lock = Lock::new(Half::default());
        lock.lock().is_changed = true;
        assert!(!lock.lock().is_broken);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let mut half = lock.lock();
            half.is_changed = false;
            panic!("in the middle");
        }));
        assert!(panicked.is_err());
        assert!(lock.lock().is_broken);
        assert!(!lock.lock().is_changed);
    }
}
