//! `Listeners`: the hooks of plugins, and how they are called: one after the other, and what one raises harms nobody.

use std::cell::RefCell;
use std::ptr;

use pyo3::exceptions::{PyBaseException, PyException, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

/// A hook of plugins.
#[derive(Debug, Clone, Copy)]
pub enum Hook {
    InvocationStart,
    InvocationEnd,
    OperationStart,
    OperationEnd,
    OperationChange,
    FunctionStart,
    FunctionEnd,
    Propagate,
}

/// Hooks and their names, in their order.
const HOOKS: [(Hook, &str); 8] = [
    (Hook::InvocationStart, "on_invocation_start"),
    (Hook::InvocationEnd, "on_invocation_end"),
    (Hook::OperationStart, "on_operation_start"),
    (Hook::OperationEnd, "on_operation_end"),
    (Hook::OperationChange, "on_operation_change"),
    (Hook::FunctionStart, "on_user_function_start"),
    (Hook::FunctionEnd, "on_user_function_end"),
    (Hook::Propagate, "provide_propagation_metadata"),
];

#[pyclass(frozen, module = "perdure._core")]
pub struct Listeners {
    methods: [Vec<Py<PyAny>>; 8],
    log: Py<PyAny>,
}

thread_local! {
    /// Whose hooks this thread is in.
    static WITHIN: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// That this thread is in a hook.
struct Within;

impl Within {
    fn enter(listeners: &Listeners) -> Self {
        WITHIN.with_borrow_mut(|within| within.push(ptr::from_ref(listeners).addr()));
        Self
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        WITHIN.with_borrow_mut(Vec::pop);
    }
}

impl Listeners {
    pub fn has(&self, hook: Hook) -> bool {
        !self.methods[hook as usize].is_empty()
    }

    /// Calls a hook. What is no `Exception` is raised, and nobody after that is called.
    pub fn tell(&self, py: Python<'_>, hook: Hook, info: &Bound<'_, PyAny>) -> PyResult<()> {
        let _within = Within::enter(self);
        for method in &self.methods[hook as usize] {
            if let Err(raised) = method.bind(py).call1((info,)) {
                self.swallow(py, hook, method, raised)?;
            }
        }
        Ok(())
    }

    /// Logs what a hook has raised, unless it is no `Exception`.
    #[cold]
    fn swallow(&self, py: Python<'_>, hook: Hook, method: &Py<PyAny>, raised: PyErr) -> PyResult<()> {
        if !raised.is_instance_of::<PyException>(py) {
            return Err(raised);
        }
        self.note(hook, method, raised.into_value(py).bind(py))
    }

    fn note(&self, hook: Hook, method: &Py<PyAny>, raised: &Bound<'_, PyBaseException>) -> PyResult<()> {
        self.log.bind(raised.py()).call1((HOOKS[hook as usize].1, method, raised)).map(drop)
    }
}

fn hook(name: &str) -> PyResult<Hook> {
    let found = HOOKS.into_iter().find(|(_, known)| *known == name).map(|(hook, _)| hook);
    found.ok_or_else(|| PyValueError::new_err(format!("plugins have no hook {name}")))
}

#[pymethods] // documented in _core.pyi
impl Listeners {
    #[new]
    fn new(methods: &Bound<'_, PyDict>, log: Py<PyAny>) -> PyResult<Self> {
        let mut listeners = Self { methods: HOOKS.map(|_| Vec::new()), log };
        for (name, own) in methods {
            let own = own.cast::<PyList>()?.iter().map(Bound::unbind).collect();
            listeners.methods[hook(name.extract()?)? as usize] = own;
        }
        Ok(listeners)
    }

    #[pyo3(signature = (*hooks))]
    fn any_of(&self, hooks: &Bound<'_, PyTuple>) -> PyResult<bool> {
        hooks.iter().try_fold(false, |found, name| Ok(found | self.has(hook(name.extract()?)?)))
    }

    pub fn is_within(&self) -> bool {
        WITHIN.with_borrow(|within| within.contains(&ptr::from_ref(self).addr()))
    }

    #[pyo3(name = "tell")]
    fn tell_hook(&self, name: &str, info: &Bound<'_, PyAny>) -> PyResult<()> {
        self.tell(info.py(), hook(name)?, info)
    }

    fn ask<'py>(&self, name: &str, info: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let (py, hook) = (info.py(), hook(name)?);
        let _within = Within::enter(self);
        let answer = |method: &Py<PyAny>| match method.bind(py).call1((info,)) {
            Ok(answer) => Ok(answer),
            Err(raised) => self.swallow(py, hook, method, raised).map(|()| py.None().into_bound(py)),
        };
        self.methods[hook as usize].iter().map(answer).collect()
    }

    fn tell_all<'py>(&self, name: &str, info: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (py, hook) = (info.py(), hook(name)?);
        let _within = Within::enter(self);
        let mut last = None;
        for method in &self.methods[hook as usize] {
            if let Err(raised) = method.bind(py).call1((info,)) {
                let raised = raised.into_value(py).into_bound(py);
                self.note(hook, method, &raised)?;
                if !raised.is_instance_of::<PyException>() {
                    last = Some(raised.into_any());
                }
            }
        }
        Ok(last)
    }
}
