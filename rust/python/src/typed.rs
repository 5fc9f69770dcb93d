//! Results of types that plain data does not keep: which functions have such, and what makes them of what was recorded.
//!
//! The types are Python's (`perdure._annotations`). Here stands what keeps them from costing anybody else: almost all
//! functions have no annotation, or one that is known to need nothing.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyFunction, PySet, PyType};
use pyo3::{ffi, intern};

static PLAIN: PyOnceLock<Py<PySet>> = PyOnceLock::new();
static TYPED_OF: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
/// The class of what converts, once there is any.
static TYPED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static METHOD: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static PARTIAL: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// What converts the results of a function, or of whatever else was handed to an operation; None if nothing has to.
pub fn of<'py>(function: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    if let Ok(plain) = function.cast_exact::<PyFunction>() {
        let Some(returned) = interesting(plain)? else { return Ok(None) };
        return if is_typed(&returned)? { Ok(Some(returned)) } else { ask(function) };
    }
    if function.is_none() {
        return Ok(None);
    }
    if is_typed(function)? {
        return Ok(Some(function.clone()));
    }
    let (py, kind) = (function.py(), function.get_type());
    if kind.is(METHOD.import(py, "types", "MethodType")?) {
        return of(&function.getattr(intern!(py, "__func__"))?);
    }
    if kind.is(PARTIAL.import(py, "functools", "partial")?) {
        return of(&function.getattr(intern!(py, "func"))?);
    }
    ask(function)
}

fn ask<'py>(function: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = function.py();
    let typed = TYPED_OF.import(py, "perdure._annotations", "typed_of")?.call1((function,))?;
    if typed.is_none() {
        return Ok(None);
    }
    TYPED.import(py, "perdure._typed", "Typed")?;
    Ok(Some(typed))
}

fn is_typed(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    TYPED.get(value.py()).map_or(Ok(false), |class| value.is_instance(class.bind(value.py())))
}

/// The annotation of a function's results, unless there is none or one that is known to need nothing.
fn interesting<'py>(function: &Bound<'py, PyFunction>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = function.py();
    let Some(annotations) = annotations(function) else { return Ok(None) };
    let Ok(annotations) = annotations.cast_into::<PyDict>() else { return Ok(None) };
    let Some(returned) = annotations.get_item(intern!(py, "return"))? else { return Ok(None) };
    let plain = PLAIN.get_or_try_init(py, || {
        let known = py.import("perdure._functions")?.getattr("PLAIN_ANNOTATIONS")?;
        PyResult::Ok(known.cast_into::<PySet>()?.unbind())
    })?;
    let is_plain = plain.bind(py).contains(&returned).unwrap_or(false); // false for what cannot be hashed
    Ok(if is_plain { None } else { Some(returned) })
}

/// The annotations of a function, if it has any.
///
/// By its attribute, each function without any would be given an empty dict to keep: that would cost a replayed step a
/// fortieth of what it costs. (From `CPython` 3.14 on annotations are evaluated when they are asked for, which may raise;
/// then there are some.)
#[expect(unsafe_code, reason = "PyO3 has no safe form of this call")]
fn annotations<'py>(function: &Bound<'py, PyFunction>) -> Option<Bound<'py, PyAny>> {
    let py = function.py();
    // SAFETY: `function` is a function of Python's, and the GIL is held. What is given is borrowed from the function, or
    // null, maybe with an error.
    let found = unsafe { Bound::from_borrowed_ptr_or_opt(py, ffi::PyFunction_GetAnnotations(function.as_ptr())) };
    if found.is_none() && PyErr::occurred(py) {
        return Some(unevaluated(py));
    }
    found
}

/// Annotations of which nothing is known but that there are some.
#[cold]
fn unevaluated(py: Python<'_>) -> Bound<'_, PyAny> {
    drop(PyErr::take(py));
    let some = PyDict::new(py);
    let _ = some.set_item(intern!(py, "return"), PyDict::new(py));
    some.into_any()
}

/// What converts the results of a function; None if nothing has to.
#[pyfunction]
#[pyo3(signature = (function, /))]
pub fn typed_of<'py>(function: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    of(function)
}
