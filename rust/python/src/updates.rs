//! `Updates`: what one call to the service is to record. It is lent the leader's batch for as long as the call lasts.

use perdure_core::loan::Loan;
use perdure_core::update::{Action, Update};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};

use crate::convert;
use crate::text::Text;

#[pyclass(frozen, module = "perdure._core")]
pub struct Updates(Loan<Update<Text>>);

impl Updates {
    pub fn lent(batch: Vec<Update<Text>>) -> Self {
        Self(Loan::new(batch))
    }

    /// Ends the loan.
    pub fn give_back(&self, py: Python<'_>) -> Vec<Update<Text>> {
        self.0.give_back(|update| update.map(|text| text.again(py)))
    }

    /// The body of the call.
    pub fn body(&self, token: &Bound<'_, PyString>, client_token: &str) -> PyResult<Vec<u8>> {
        let mut out = Vec::with_capacity(1_024);
        out.extend_from_slice(b"{\"CheckpointToken\": ");
        perdure_codec::write_json(&mut out, token)?;
        out.extend_from_slice(b", \"Updates\": [");
        let py = token.py();
        for (index, update) in self.0.look().iter().enumerate() {
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
        for update in self.0.look().iter() {
            updates.append(convert::update(py, update)?)?;
        }
        Ok(updates)
    }

    fn sizes(&self, py: Python<'_>) -> (usize, usize) {
        let (mut started, mut written) = (0, 0);
        for update in self.0.look().iter() {
            if update.action == Action::Start {
                started += 1;
            } else if let Some(payload) = &update.payload {
                written += payload.len(py);
            }
        }
        (started, written)
    }

    fn __len__(&self) -> usize {
        self.0.look().len()
    }
}
