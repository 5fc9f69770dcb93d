//! The wire's dicts to recorded operations, and updates to the wire's dicts.

use perdure_core::details::Details;
use perdure_core::id::OperationId;
use perdure_core::operation::{Kind, Millis, Operation, Status, SubType};
use perdure_core::update::{Invoke, Options, Update};
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
        Found(details.as_dict()?).complete(&mut operation)?;
    }
    if operation.is_completed_outside()
        && let Some(end) = member(raw, intern!(py, "EndTimestamp"))?
    {
        // An odd one tells nothing, as if it were not there.
        operation.due = end.moment()?.or(operation.due);
    }
    Ok(operation)
}

/// The details of an operation.
struct Found<'a, 'py>(&'a Bound<'py, PyDict>);

impl<'py> Found<'_, 'py> {
    #[inline]
    fn get<'k>(&self, key: &'k Bound<'py, PyString>) -> PyResult<Option<Member<'k, 'py>>> {
        member(self.0, key)
    }

    fn py(&self) -> Python<'py> {
        self.0.py()
    }
}

impl Details<Text> for Found<'_, '_> {
    type Error = PyErr;

    fn input(&mut self) -> PyResult<Option<Text>> {
        self.get(intern!(self.py(), "InputPayload"))?.map(Member::into_text).transpose()
    }

    fn result(&mut self) -> PyResult<Option<Text>> {
        self.get(intern!(self.py(), "Result"))?.map(Member::into_text).transpose()
    }

    fn error(&mut self) -> PyResult<Option<Text>> {
        self.get(intern!(self.py(), "Error"))?.map(Member::into_error).transpose()
    }

    fn attempt(&mut self) -> PyResult<Option<u32>> {
        self.get(intern!(self.py(), "Attempt"))?.map(|attempt| attempt.as_count()).transpose()
    }

    fn next_attempt(&mut self) -> PyResult<Option<Millis>> {
        self.get(intern!(self.py(), "NextAttemptTimestamp"))?.map(|at| at.as_moment()).transpose()
    }

    fn scheduled_end(&mut self) -> PyResult<Option<Millis>> {
        self.get(intern!(self.py(), "ScheduledEndTimestamp"))?.map(|at| at.as_moment()).transpose()
    }

    fn callback_id(&mut self) -> PyResult<Option<Text>> {
        self.get(intern!(self.py(), "CallbackId"))?.map(Member::into_text).transpose()
    }

    fn replay_children(&mut self) -> PyResult<Option<bool>> {
        self.get(intern!(self.py(), "ReplayChildren"))?.map(|flag| flag.as_flag()).transpose()
    }
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
        Options::Invoke(invoke) => {
            let Invoke { function, tenant, trace } = &**invoke;
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
