//! Keys of dicts that are no text, which come back as text: whoever wrote them hears of it, once a process.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::reference;

static SAID: AtomicBool = AtomicBool::new(false);
static LOST: AtomicBool = AtomicBool::new(false);

/// Has `perdure._odd_keys` say that `odd` keys of a dict are no text. Beside keys that are, one may become the same
/// text as another; that is looked for until it was found and said.
#[cold]
pub fn note(dict: &Bound<'_, PyDict>, odd: usize) -> PyResult<()> {
    let mixed = odd < dict.len();
    if SAID.load(Ordering::Relaxed) && (!mixed || LOST.load(Ordering::Relaxed)) {
        return Ok(());
    }
    if reference::get(dict.py())?.note_odd_keys(dict)? {
        LOST.store(true, Ordering::Relaxed);
    }
    SAID.store(true, Ordering::Relaxed);
    Ok(())
}
