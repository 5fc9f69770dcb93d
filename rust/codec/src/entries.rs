//! The entries of a dict that may change while they are read.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::types::dict::BoundDictIterator;

use crate::halt::Halt;

/// Code that a value runs (a `__str__`, another thread meanwhile) may change the dict. Its own iterator would panic
/// then; this one stops with [`Halt::Unusual`], and the reference raises what Python raises.
pub struct Entries<'a, 'py> {
    dict: &'a Bound<'py, PyDict>,
    rest: BoundDictIterator<'py>,
    size: usize,
    left: usize,
}

impl<'a, 'py> Entries<'a, 'py> {
    pub fn of(dict: &'a Bound<'py, PyDict>) -> Self {
        let size = dict.len();
        Self { dict, rest: dict.iter(), size, left: size }
    }
}

impl<'py> Iterator for Entries<'_, 'py> {
    type Item = Result<(Bound<'py, PyAny>, Bound<'py, PyAny>), Halt>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        if self.dict.len() != self.size {
            return Some(Err(Halt::Unusual));
        }
        Some(self.rest.next().ok_or(Halt::Unusual))
    }
}
