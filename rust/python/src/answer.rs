//! `Answer`: what the service has answered, read from its bytes. The operations in it are no objects of Python's; who
//! wants to look at them as such reads the same bytes again.

use std::mem;
use std::ops::Range;
use std::string::FromUtf8Error;
use std::sync::{Arc, Mutex, PoisonError};

use perdure_client::answer::Answer as Received;
use perdure_core::operation::Operation;
use perdure_core::wire::{self, Body};
use pyo3::prelude::*;

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
    body: Body,
    /// Where the list of them stands in it.
    place: Range<usize>,
}

/// How bytes are read: [`wire::checkpoint`] or [`wire::page`].
pub type Reader = fn(&Body) -> Result<wire::Answer<Text>, wire::Unusual>;

const OK: u16 = 200;

impl Answer {
    /// What is usual; the rest stays as it was received.
    pub fn read(mut received: Received, read: Reader) -> Result<Self, Received> {
        if received.status != OK {
            return Err(received);
        }
        Self::of(mem::take(&mut received.body), read).map_err(|body| {
            received.body = body;
            received
        })
    }

    fn of(body: Vec<u8>, read: Reader) -> Result<Self, Vec<u8>> {
        let body = Arc::new(String::from_utf8(body).map_err(FromUtf8Error::into_bytes)?);
        match read(&body) {
            Ok(answer) => Ok(Self {
                token: answer.token,
                marker: answer.marker,
                written: answer.written,
                count: answer.operations.len(),
                operations: Mutex::new(answer.operations),
                body,
                place: answer.place,
            }),
            Err(wire::Unusual) => Err(Arc::unwrap_or_clone(body).into_bytes()),
        }
    }

    /// The operations, for the engine.
    pub fn take(&self) -> Vec<Operation<Text>> {
        mem::take(&mut self.operations.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[pymethods] // documented in _core.pyi
impl Answer {
    #[staticmethod]
    fn of_checkpoint(body: Vec<u8>) -> Option<Self> {
        Self::of(body, wire::checkpoint).ok()
    }

    #[staticmethod]
    fn of_page(body: Vec<u8>) -> Option<Self> {
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
    fn json(&self) -> &str {
        self.body.get(self.place.clone()).unwrap_or_default()
    }

    fn __len__(&self) -> usize {
        self.count
    }
}
