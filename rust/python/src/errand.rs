//! `Errand`: a function of an operation in a thread of its own, for which the operation need not wait to the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use perdure_core::custody::Spot;
use perdure_core::id::OperationId;
use perdure_core::scope::ScopeId;
use pyo3::prelude::*;

use crate::custody;
use crate::shared::Shared;

#[pyclass(frozen, module = "perdure._core")]
pub struct Errand {
    shared: Arc<Shared>,
    scope: ScopeId,
    id: OperationId,
    /// Of the operation's functions at work.
    number: u64,
    is_given_up: AtomicBool,
}

impl Errand {
    pub fn new(shared: &Arc<Shared>, scope: ScopeId, id: OperationId, number: u64) -> Self {
        Self { shared: Arc::clone(shared), scope, id, number, is_given_up: AtomicBool::new(false) }
    }

    /// Where a thread of control stands that carries this as its mark, if it is one of the invocation's; and the
    /// operation, if that waits for it no more.
    pub fn spot(&self, shared: &Arc<Shared>) -> (Option<Spot>, Option<OperationId>) {
        if !Arc::ptr_eq(&self.shared, shared) {
            return (None, None);
        }
        let is_given_up = self.is_given_up.load(Ordering::Relaxed);
        (Some(Spot::Beside(self.scope, self.number)), is_given_up.then_some(self.id))
    }
}

#[pymethods]
impl Errand {
    fn carry(slf: &Bound<'_, Self>) -> PyResult<()> {
        custody::pass_on(slf)
    }

    fn give_up(&self) {
        let mut state = self.shared.lock();
        self.is_given_up.store(true, Ordering::Relaxed);
        state.engine.crowd();
    }
}
