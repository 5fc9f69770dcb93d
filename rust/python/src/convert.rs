//! The wire's dicts to recorded operations, and updates to the wire's dicts.

use perdure_core::id::OperationId;
use perdure_core::operation::{Kind, Operation, Status, SubType};
use perdure_core::update::{Options, Update};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::member::{Member, member, odd, required};
use crate::text::Text;

/// Reads one operation. An EXECUTION's input stands in its `result`.
///
/// What this version does not know (a type, a status, further members) is carried along. What cannot be what the service
/// means raises a `ValueError` that names it.
pub fn operation(raw: &Bound<'_, PyAny>) -> PyResult<Operation<Text>> {
    let py = raw.py();
    let raw = raw.cast::<PyDict>().map_err(|_| odd("it", raw, "object"))?;
    let id = OperationId::parse(required(raw, intern!(py, "Id"))?.as_name()?);
    let (kind, status) = (required(raw, intern!(py, "Type"))?, required(raw, intern!(py, "Status"))?);
    let mut operation = Operation::told(id, &Kind::spelled(kind.as_name()?), &Status::spelled(status.as_name()?));
    if let Some(sub_type) = member(raw, intern!(py, "SubType"))? {
        operation.sub_type = Some(sub_type.as_str()?).filter(|text| !text.is_empty()).map(SubType::new);
    }
    if let Some(name) = member(raw, intern!(py, "Name"))? {
        operation.name = Some(name.as_str()?).filter(|name| !name.is_empty()).map(Into::into);
    }
    if let Some(parent) = member(raw, intern!(py, "ParentId"))? {
        operation.parent = Some(parent.as_str()?).filter(|id| !id.is_empty()).map(OperationId::parse);
    }
    let details = match operation.kind {
        Kind::Execution => intern!(py, "ExecutionDetails"),
        Kind::Context => intern!(py, "ContextDetails"),
        Kind::Step => intern!(py, "StepDetails"),
        Kind::Wait => intern!(py, "WaitDetails"),
        Kind::Callback => intern!(py, "CallbackDetails"),
        Kind::ChainedInvoke => intern!(py, "ChainedInvokeDetails"),
        Kind::Unknown => return Ok(operation),
    };
    if let Some(details) = member(raw, details)? {
        self::details(&mut operation, details.as_dict()?)?;
    }
    if operation.is_completed_outside()
        && let Some(end) = member(raw, intern!(py, "EndTimestamp"))?
    {
        // An odd one tells nothing, as if it were not there.
        operation.due = end.moment()?.or(operation.due);
    }
    Ok(operation)
}

fn details(operation: &mut Operation<Text>, details: &Bound<'_, PyDict>) -> PyResult<()> {
    let py = details.py();
    let get = |key| member(details, key);
    let result = if operation.kind == Kind::Execution { intern!(py, "InputPayload") } else { intern!(py, "Result") };
    if operation.kind != Kind::Wait {
        operation.result = get(result)?.map(Member::into_text).transpose()?;
    }
    if operation.may_have_failed() {
        operation.error = get(intern!(py, "Error"))?.map(Member::into_error).transpose()?;
    }
    match operation.kind {
        Kind::Step if operation.may_have_failed() => {
            operation.attempt = get(intern!(py, "Attempt"))?.map_or(Ok(0), |attempt| attempt.as_count())?;
            operation.due = get(intern!(py, "NextAttemptTimestamp"))?.map(|at| at.as_moment()).transpose()?;
        }
        Kind::Wait => {
            operation.due = get(intern!(py, "ScheduledEndTimestamp"))?.map(|at| at.as_moment()).transpose()?;
        }
        Kind::Callback => {
            operation.callback_id = get(intern!(py, "CallbackId"))?.map(Member::into_text).transpose()?;
        }
        Kind::Context => {
            operation.replay_children = get(intern!(py, "ReplayChildren"))?.map_or(Ok(false), |flag| flag.as_flag())?;
        }
        _ => {}
    }
    Ok(())
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
        dict.set_item(intern!(py, "Payload"), payload.object(py)?)?;
    }
    if let Some(error) = &update.error {
        dict.set_item(intern!(py, "Error"), error.object(py)?)?;
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
            options.set_item(intern!(py, "FunctionName"), function.object(py)?)?;
            for (key, value) in [(intern!(py, "TenantId"), tenant), (intern!(py, "XAmznTraceId"), trace)] {
                value.as_ref().map_or(Ok(()), |value| options.set_item(key, value.object(py)?))?;
            }
            intern!(py, "ChainedInvokeOptions")
        }
    };
    dict.set_item(key, options)?;
    Ok(dict)
}
