//! References to Python objects that outlive a lock: what falls out of use while one is held is dropped after it.
//!
//! Dropping the last reference runs whatever Python code the object brings along, which may come back to the lock, or
//! let another thread run that does. So an [`Object`] that dies while its thread [holds a lock](Held) is put aside.

use std::cell::{Cell, RefCell};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

thread_local! {
    static HELD: Cell<bool> = const { Cell::new(false) };
    static ASIDE: RefCell<Vec<Py<PyAny>>> = const { RefCell::new(Vec::new()) };
}

/// A reference to a Python object.
#[derive(Debug)]
pub struct Object(Option<Py<PyAny>>); // none only while it is dropped

impl Object {
    pub fn new(object: Bound<'_, PyAny>) -> Self {
        debug_assert!(!HELD.get(), "no Python object is made under a lock");
        Self(Some(object.unbind()))
    }

    /// The object itself.
    pub fn get<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.0.as_ref().map_or_else(|| py.None().into_bound(py), |object| object.bind(py).clone())
    }

    /// Whether it is a reference to this object.
    pub fn is(&self, object: &Bound<'_, PyAny>) -> bool {
        self.0.as_ref().is_some_and(|own| own.is(object))
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        if HELD.get()
            && let Some(object) = self.0.take()
        {
            ASIDE.with_borrow_mut(|aside| aside.push(object));
        }
    }
}

/// That this thread holds a lock. To be dropped after the lock is.
#[derive(Debug)]
pub struct Held(());

impl Held {
    /// To be said before the lock is taken.
    pub fn begin() -> Self {
        let before = HELD.replace(true);
        debug_assert!(!before, "a thread holds one lock at a time");
        Self(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.set(false);
        // What is dropped here may take the lock, and put aside more.
        drop(ASIDE.take());
    }
}

/// Held Python locks that are released when this is dropped.
#[derive(Debug, Default)]
pub struct Wakeful(pub Vec<Object>);

impl Drop for Wakeful {
    fn drop(&mut self) {
        if self.0.is_empty() {
            return;
        }
        Python::attach(|py| {
            for waiter in self.0.drain(..) {
                // It fails for a lock that is free already.
                let _ = waiter.get(py).call_method0(intern!(py, "release"));
            }
        });
    }
}

/// Wakes those who sleep on these locks.
pub fn wake(waiters: impl IntoIterator<Item = Object>) {
    drop(Wakeful(waiters.into_iter().collect()));
}

/// A new Python lock that is held.
pub fn held_lock(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static ALLOCATE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let lock = ALLOCATE.import(py, "_thread", "allocate_lock")?.call0()?;
    lock.call_method0(intern!(py, "acquire"))?;
    Ok(lock)
}
