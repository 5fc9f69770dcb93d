//! `Answer`: what the service has answered, read from its bytes. The operations in it are no objects of Python's; who
//! wants to look at them as such reads the same bytes again.

use std::sync::{Mutex, PoisonError};

use perdure_client::answer::Answer as Received;
use perdure_core::operation::Operation;
use perdure_core::wire;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::text::Text;

#[pyclass(frozen, module = "perdure._core")]
pub struct Answer {
    token: Option<Box<str>>,
    marker: Option<Box<str>>,
    #[pyo3(get)]
    written: usize,
    /// Until the engine takes them.
    operations: Mutex<Vec<Operation<Text>>>,
    count: usize,
    /// The list of them, as JSON.
    json: Box<[u8]>,
}

/// How bytes are read: [`wire::checkpoint`] or [`wire::page`].
pub type Reader = fn(&[u8]) -> Result<wire::Answer<Text>, wire::Unusual>;

const OK: u16 = 200;

impl Answer {
    /// What is usual; the rest stays as it was received.
    pub fn read(received: Received, read: Reader) -> Result<Self, Received> {
        if received.status != OK {
            return Err(received);
        }
        Self::of(&received.body, read).map_err(|wire::Unusual| received)
    }

    fn of(body: &[u8], read: Reader) -> Result<Self, wire::Unusual> {
        let answer = read(body)?;
        Ok(Self {
            token: answer.token,
            marker: answer.marker,
            written: answer.written,
            count: answer.operations.len(),
            operations: Mutex::new(answer.operations),
            json: body[answer.place].into(),
        })
    }

    /// The operations, for the engine.
    pub fn take(&self) -> Vec<Operation<Text>> {
        std::mem::take(&mut self.operations.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[pymethods] // documented in _core.pyi
impl Answer {
    #[staticmethod]
    fn of_checkpoint(body: &[u8]) -> Option<Self> {
        Self::of(body, wire::checkpoint).ok()
    }

    #[staticmethod]
    fn of_page(body: &[u8]) -> Option<Self> {
        Self::of(body, wire::page).ok()
    }

    #[getter]
    fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    #[getter]
    fn marker(&self) -> Option<&str> {
        self.marker.as_deref()
    }

    #[getter]
    fn json<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.json)
    }

    fn __len__(&self) -> usize {
        self.count
    }
}
