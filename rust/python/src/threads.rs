//! Threads whose end is always told, and which are known from the moment on at which they may run.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyList, PyTuple};

use crate::object::{Object, Wakeful, held_lock};

/// Runs a function in a thread of its own, and `forget` after it; adds a lock to `threads` that is released when the
/// thread has ended.
#[pyfunction]
#[pyo3(signature = (threads, forget, function, *args))]
pub fn start_thread<'py>(
    threads: &Bound<'py, PyList>,
    forget: Bound<'py, PyAny>,
    function: Bound<'py, PyAny>,
    args: Bound<'py, PyTuple>,
) -> PyResult<()> {
    let py = threads.py();
    let done = held_lock(py)?;
    let (function, forget, end) = (Object::new(function), Object::new(forget), Object::new(done.clone()));
    let body = move |args: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| {
        let py = args.py();
        let _end = Wakeful(vec![Object::new(end.get(py))]);
        let result = function.get(py).call1(args).map(Bound::unbind);
        let forgotten = forget.get(py).call0();
        result.and_then(|result| forgotten.map(|_| result))
    };
    let body = PyCFunction::new_closure(py, None, None, body)?;
    threads.append(&done)?;
    let started = py.import(intern!(py, "_thread"))?.call_method1(intern!(py, "start_new_thread"), (body, args));
    if let Err(none) = started {
        threads.call_method1(intern!(py, "remove"), (done,))?;
        return Err(none);
    }
    Ok(())
}
