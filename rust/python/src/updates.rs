//! `Updates`: what one call to the service is to record. It is lent the leader's batch for as long as the call lasts.

use perdure_core::loan::Loan;
use perdure_core::update::{self, Update};
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
        let (py, token) = (token.py(), Text::recorded(token.clone().into_any()));
        update::body(&token, &self.0.look(), client_token, |out, text| text.write(py, out))
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
        update::usage(&self.0.look(), |payload| payload.len(py))
    }

    fn __len__(&self) -> usize {
        self.0.look().len()
    }
}
