//! The keys of dicts, made once each.

use jiter::cached_py_string;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// The keys seen in one text. Records repeat theirs in the same order, so the one after the last is tried first; what
/// is not found comes from the cache of the process.
pub struct Keys<'a, 'py> {
    seen: Vec<(&'a str, Bound<'py, PyString>)>,
    next: usize,
}

/// Beyond this many a search costs more than it saves.
const CAPACITY: usize = 16;

impl<'a, 'py> Keys<'a, 'py> {
    pub fn new() -> Self {
        Self { seen: Vec::new(), next: 0 }
    }

    #[inline]
    pub fn get(&mut self, py: Python<'py>, key: &'a str) -> Bound<'py, PyString> {
        let (before, after) = self.seen.split_at(self.next.min(self.seen.len()));
        let found = after.iter().position(|(seen, _)| *seen == key).map(|index| before.len() + index);
        match found.or_else(|| before.iter().position(|(seen, _)| *seen == key)) {
            Some(index) => {
                self.next = index + 1;
                self.seen[index].1.clone()
            }
            None => self.add(py, key),
        }
    }

    fn add(&mut self, py: Python<'py>, key: &'a str) -> Bound<'py, PyString> {
        let made = cached_py_string(py, key);
        if self.seen.len() < CAPACITY {
            self.seen.push((key, made.clone()));
            self.next = self.seen.len();
        }
        made
    }
}
