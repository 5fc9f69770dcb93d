//! `Updates`: what one call to the service is to record. It is lent the leader's batch for as long as the call lasts.

use std::sync::{Mutex, MutexGuard, PoisonError};

use perdure_core::update::{Action, Update};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};

use crate::convert;
use crate::text::{Text, Value};

/// Under its lock references are counted up and nothing else is done with Python's objects.
#[pyclass(frozen, module = "perdure._core")]
pub struct Updates(Mutex<Vec<Update<Text>>>);

impl Updates {
    pub const fn lent(batch: Vec<Update<Text>>) -> Self {
        Self(Mutex::new(batch))
    }

    /// Ends the loan.
    pub fn give_back(&self) -> Vec<Update<Text>> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Update<Text>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn share<'py>(&self, py: Python<'py>) -> Vec<Update<Value<Bound<'py, PyAny>>>> {
        self.lock().iter().map(|update| update.map(|text| text.share(py))).collect()
    }

    /// The body of the call.
    pub fn body(&self, token: &Bound<'_, PyString>, client_token: &str) -> PyResult<Vec<u8>> {
        let mut out = Vec::with_capacity(1_024);
        out.extend_from_slice(b"{\"CheckpointToken\": ");
        perdure_codec::write_json(&mut out, token)?;
        out.extend_from_slice(b", \"Updates\": [");
        for (index, update) in self.share(token.py()).iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            update.write(&mut out, |out, value| value.write(out))?;
        }
        out.extend_from_slice(b"], \"ClientToken\": ");
        perdure_json::quote(&mut out, client_token);
        out.push(b'}');
        Ok(out)
    }
}

#[pymethods] // documented in _core.pyi
impl Updates {
    #[new]
    const fn none() -> Self {
        Self::lent(Vec::new())
    }

    fn dicts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let updates = PyList::empty(py);
        for update in self.share(py) {
            updates.append(convert::update(py, &update)?)?;
        }
        Ok(updates)
    }

    fn sizes(&self, py: Python<'_>) -> (usize, usize) {
        let (mut started, mut written) = (0, 0);
        for update in self.lock().iter() {
            if update.action == Action::Start {
                started += 1;
            } else if let Some(payload) = &update.payload {
                written += payload.share(py).len();
            }
        }
        (started, written)
    }

    fn __len__(&self) -> usize {
        self.lock().len()
    }
}
