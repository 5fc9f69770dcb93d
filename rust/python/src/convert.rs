//! The wire's dicts to recorded operations, and updates to the wire's dicts.

use perdure_core::id::OperationId;
use perdure_core::operation::{Kind, Millis, Operation, Status, SubType};
use perdure_core::update::{Options, Update};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyString};

use crate::text::Text;

/// Reads one operation. An EXECUTION's input stands in its `result`.
pub fn operation(raw: &Bound<'_, PyAny>) -> PyResult<Operation<Text>> {
    let py = raw.py();
    let raw = raw.cast::<PyDict>()?;
    let get = |key| get(raw, key);
    let id = member(raw, intern!(py, "Id"), |id| Some(OperationId::parse(id)))?;
    let kind = member(raw, intern!(py, "Type"), Kind::parse)?;
    let status = member(raw, intern!(py, "Status"), Status::parse)?;
    let mut operation = Operation::new(id, kind, status);
    if let Some(sub_type) = get(intern!(py, "SubType"))? {
        operation.sub_type = Some(SubType::new(str_of(&sub_type)?));
    }
    if let Some(name) = get(intern!(py, "Name"))? {
        operation.name = Some(str_of(&name)?).filter(|name| !name.is_empty()).map(Into::into);
    }
    if let Some(parent) = get(intern!(py, "ParentId"))? {
        operation.parent = Some(OperationId::parse(str_of(&parent)?));
    }
    let details = match kind {
        Kind::Execution => intern!(py, "ExecutionDetails"),
        Kind::Context => intern!(py, "ContextDetails"),
        Kind::Step => intern!(py, "StepDetails"),
        Kind::Wait => intern!(py, "WaitDetails"),
        Kind::Callback => intern!(py, "CallbackDetails"),
        Kind::ChainedInvoke => intern!(py, "ChainedInvokeDetails"),
    };
    if let Some(details) = get(details)? {
        self::details(&mut operation, details.cast::<PyDict>()?)?;
    }
    Ok(operation)
}

fn details(operation: &mut Operation<Text>, details: &Bound<'_, PyDict>) -> PyResult<()> {
    let py = details.py();
    let get = |key| get(details, key);
    let result = if operation.kind == Kind::Execution { intern!(py, "InputPayload") } else { intern!(py, "Result") };
    if operation.kind != Kind::Wait {
        operation.result = get(result)?.map(Text::recorded);
    }
    if operation.status != Status::Succeeded && operation.kind != Kind::Execution {
        operation.error = get(intern!(py, "Error"))?.map(Text::recorded);
    }
    match operation.kind {
        Kind::Step if operation.status != Status::Succeeded => {
            if let Some(attempt) = get(intern!(py, "Attempt"))? {
                operation.attempt = attempt.extract()?;
            }
            operation.due = get(intern!(py, "NextAttemptTimestamp"))?.map(|at| millis(&at)).transpose()?;
        }
        Kind::Wait => {
            operation.due = get(intern!(py, "ScheduledEndTimestamp"))?.map(|at| millis(&at)).transpose()?;
        }
        Kind::Callback => operation.callback_id = get(intern!(py, "CallbackId"))?.map(Text::recorded),
        Kind::Context => {
            operation.replay_children =
                get(intern!(py, "ReplayChildren"))?.is_some_and(|flag| flag.is_truthy().unwrap_or_default());
        }
        _ => {}
    }
    Ok(())
}

fn get<'py>(dict: &Bound<'py, PyDict>, key: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, PyAny>>> {
    Ok(dict.get_item(key)?.filter(|value| !value.is_none()))
}

/// A moment: Unix milliseconds in an event, a datetime in a response.
pub fn millis(at: &Bound<'_, PyAny>) -> PyResult<Millis> {
    if at.is_instance_of::<PyInt>() {
        return at.extract();
    }
    let milliseconds = match at.extract::<f64>() {
        Ok(milliseconds) => milliseconds,
        Err(_) => at.call_method0(intern!(at.py(), "timestamp"))?.extract::<f64>()? * 1_000.0,
    };
    #[expect(clippy::cast_possible_truncation, reason = "a moment in milliseconds fits by far")]
    Ok(milliseconds.round() as Millis)
}

/// An update as the API takes it.
pub fn update<'py>(py: Python<'py>, update: &Update<Text>) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item(intern!(py, "Id"), update.subject.to_string())?;
    dict.set_item(intern!(py, "Type"), PyString::intern(py, update.kind.as_str()))?;
    dict.set_item(intern!(py, "Action"), PyString::intern(py, update.action.as_str()))?;
    if let Some(sub_type) = &update.sub_type {
        dict.set_item(intern!(py, "SubType"), PyString::intern(py, sub_type.as_str()))?;
    }
    if let Some(parent) = &update.parent {
        dict.set_item(intern!(py, "ParentId"), parent.hex().as_str())?;
    }
    if let Some(name) = &update.name {
        dict.set_item(intern!(py, "Name"), &**name)?;
    }
    if let Some(payload) = &update.payload {
        dict.set_item(intern!(py, "Payload"), payload.get(py))?;
    }
    if let Some(error) = &update.error {
        dict.set_item(intern!(py, "Error"), error.get(py))?;
    }
    let options = PyDict::new(py);
    let key = match &update.options {
        Options::None => return Ok(dict),
        Options::Context { replay_children } => {
            options.set_item(intern!(py, "ReplayChildren"), replay_children)?;
            intern!(py, "ContextOptions")
        }
        Options::Step { delay_seconds } => {
            options.set_item(intern!(py, "NextAttemptDelaySeconds"), delay_seconds)?;
            intern!(py, "StepOptions")
        }
        Options::Wait { seconds } => {
            options.set_item(intern!(py, "WaitSeconds"), seconds)?;
            intern!(py, "WaitOptions")
        }
        Options::Callback { timeout_seconds, heartbeat_seconds } => {
            options.set_item(intern!(py, "TimeoutSeconds"), timeout_seconds)?;
            options.set_item(intern!(py, "HeartbeatTimeoutSeconds"), heartbeat_seconds)?;
            intern!(py, "CallbackOptions")
        }
        Options::Invoke { function, tenant, trace } => {
            options.set_item(intern!(py, "FunctionName"), function.get(py))?;
            for (key, value) in [(intern!(py, "TenantId"), tenant), (intern!(py, "XAmznTraceId"), trace)] {
                value.as_ref().map_or(Ok(()), |value| options.set_item(key, value.get(py)))?;
            }
            intern!(py, "ChainedInvokeOptions")
        }
    };
    dict.set_item(key, options)?;
    Ok(dict)
}

fn str_of<'a>(text: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
    text.cast::<PyString>()?.to_str()
}

fn member<T>(raw: &Bound<'_, PyDict>, key: &Bound<'_, PyString>, parse: fn(&str) -> Option<T>) -> PyResult<T> {
    let value = raw.get_item(key)?;
    let text = value.as_ref().map_or(Ok(""), str_of)?;
    let unknown = || PyValueError::new_err(format!("this version does not know operations whose {key} is {text:?}"));
    Some(text).filter(|text| !text.is_empty()).and_then(parse).ok_or_else(unknown)
}
