//! `Updates`: what one call to the service is to record. It is lent the leader's batch for as long as the call lasts.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use perdure_core::update::{Action, Update};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};

use crate::convert;
use crate::text::Text;

/// Its lock guards who holds the batch, and nothing is done with Python's objects while it is held.
#[pyclass(frozen, module = "perdure._core")]
pub struct Updates(Mutex<Arc<Vec<Update<Text>>>>);

impl Updates {
    pub fn lent(batch: Vec<Update<Text>>) -> Self {
        Self(Mutex::new(Arc::new(batch)))
    }

    /// Ends the loan. Whoever looks at the batch at this very moment, in another thread, keeps it; then this is another.
    pub fn give_back(&self, py: Python<'_>) -> Vec<Update<Text>> {
        let batch = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        Arc::try_unwrap(batch)
            .unwrap_or_else(|batch| batch.iter().map(|update| update.map(|text| text.again(py))).collect())
    }

    fn batch(&self) -> Arc<Vec<Update<Text>>> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The body of the call.
    pub fn body(&self, token: &Bound<'_, PyString>, client_token: &str) -> PyResult<Vec<u8>> {
        let mut out = Vec::with_capacity(1_024);
        out.extend_from_slice(b"{\"CheckpointToken\": ");
        perdure_codec::write_json(&mut out, token)?;
        out.extend_from_slice(b", \"Updates\": [");
        let py = token.py();
        for (index, update) in self.batch().iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            update.write(&mut out, |out, text| text.write(py, out))?;
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
    fn none() -> Self {
        Self::lent(Vec::new())
    }

    fn dicts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let updates = PyList::empty(py);
        for update in self.batch().iter() {
            updates.append(convert::update(py, update)?)?;
        }
        Ok(updates)
    }

    fn sizes(&self, py: Python<'_>) -> (usize, usize) {
        let (mut started, mut written) = (0, 0);
        for update in self.batch().iter() {
            if update.action == Action::Start {
                started += 1;
            } else if let Some(payload) = &update.payload {
                written += payload.len(py);
            }
        }
        (started, written)
    }

    fn __len__(&self) -> usize {
        self.batch().len()
    }
}
