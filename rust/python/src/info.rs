//! Infos: what plugins are told of operations, as instances of the dataclasses of `perdure.plugin`.
//!
//! An info is given all its fields at once, past the `__init__` of its class, which takes ten times as long.

use perdure_client::date::Moment;
use perdure_core::operation::{Kind, Status};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDateTime, PyDict, PyFloat, PyInt, PyString, PyTzInfo};

use crate::operation::Operation;

/// What an info tells of.
#[derive(Debug, Clone, Copy)]
pub enum Class {
    Operation,
    Start,
    End,
    FunctionStart,
    FunctionEnd,
}

const CLASSES: [&str; 5] =
    ["OperationInfo", "OperationStartInfo", "OperationEndInfo", "UserFunctionStartInfo", "UserFunctionEndInfo"];

/// The first moment that datetimes do not reach, in Unix seconds.
const NEVER: f64 = 253_402_300_800.0;

/// The classes, and what stands in their instances.
pub struct Infos {
    new: Py<PyAny>,
    set: Py<PyAny>,
    classes: Vec<Py<PyAny>>,
    kinds: Vec<Py<PyAny>>,
    statuses: Vec<Py<PyAny>>,
    pub succeeded: Py<PyAny>,
    error: Py<PyAny>,
    /// The fields of an operation that has begun, but for its own.
    blank: Py<PyDict>,
}

impl Infos {
    pub fn get(py: Python<'_>) -> PyResult<&Self> {
        static INFOS: PyOnceLock<Infos> = PyOnceLock::new();
        INFOS.get_or_try_init(py, || Self::new(py))
    }

    fn new(py: Python<'_>) -> PyResult<Self> {
        let object = py.get_type::<PyAny>();
        let (plugin, service) = (py.import("perdure.plugin")?, py.import("perdure.lambda_service")?);
        let (types, statuses) = (plugin.getattr("OperationType")?, service.getattr("OperationStatus")?);
        let member = |class: &Bound<'_, PyAny>, value: &str| class.call1((value,)).map(Bound::unbind);
        let infos = Self {
            new: object.getattr("__new__")?.unbind(),
            set: object.getattr("__setattr__")?.unbind(),
            classes: CLASSES.iter().map(|name| Ok(plugin.getattr(*name)?.unbind())).collect::<PyResult<_>>()?,
            kinds: Kind::ALL.iter().map(|kind| member(&types, kind.as_str())).collect::<PyResult<_>>()?,
            statuses: Status::ALL.iter().map(|status| member(&statuses, status.as_str())).collect::<PyResult<_>>()?,
            succeeded: plugin.getattr("UserFunctionOutcome")?.getattr("SUCCEEDED")?.unbind(),
            error: service.getattr("ErrorObject")?.getattr("from_dict")?.unbind(),
            blank: PyDict::new(py).unbind(),
        };
        let blank = infos.blank.bind(py);
        for field in ["operation_id", "operation_type", "sub_type", "name", "parent_id", "start_time"] {
            blank.set_item(PyString::intern(py, field), py.None())?;
        }
        blank.set_item(intern!(py, "is_replayed"), false)?;
        blank.set_item(intern!(py, "status"), infos.status(py, Status::Started))?;
        for field in ["end_time", "result", "error", "attempt"] {
            blank.set_item(PyString::intern(py, field), py.None())?;
        }
        Ok(infos)
    }

    /// Makes an info of its fields, which become its own.
    pub fn make<'py>(&self, py: Python<'py>, class: Class, fields: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
        let info = self.new.bind(py).call1((&self.classes[class as usize],))?;
        self.set.bind(py).call1((&info, intern!(py, "__dict__"), fields))?;
        Ok(info)
    }

    /// The fields of an operation that is at work, which become an info's own.
    pub fn at_work<'py>(&self, py: Python<'py>, operation: &Operation) -> PyResult<Bound<'py, PyDict>> {
        operation.fields(py, || self.begun(py, operation))?.copy()
    }

    fn begun<'py>(&self, py: Python<'py>, operation: &Operation) -> PyResult<Bound<'py, PyDict>> {
        let begun = operation.begun();
        let fields = self.blank.bind(py).copy()?;
        fields.set_item(intern!(py, "operation_id"), begun.place.id.hex().as_str())?;
        fields.set_item(intern!(py, "operation_type"), self.kind(py, begun.kind()))?;
        fields.set_item(intern!(py, "sub_type"), begun.sub_type.as_str())?;
        if let Some(name) = begun.name.as_deref() {
            fields.set_item(intern!(py, "name"), name)?;
        }
        if let Some(parent) = begun.place.parent {
            fields.set_item(intern!(py, "parent_id"), parent.hex().as_str())?;
        }
        Ok(fields)
    }

    /// The fields of a recorded operation.
    pub fn recorded<'py>(&self, raw: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyDict>> {
        let py = raw.py();
        let fields = self.blank.bind(py).copy()?;
        let kind = word(raw, intern!(py, "Type"), Kind::parse)?.unwrap_or(Kind::Unknown);
        let status = word(raw, intern!(py, "Status"), Status::parse)?.unwrap_or(Status::Unknown);
        fields.set_item(intern!(py, "operation_type"), self.kind(py, kind))?;
        fields.set_item(intern!(py, "status"), self.status(py, status))?;
        let members = [
            (intern!(py, "Id"), intern!(py, "operation_id")),
            (intern!(py, "Name"), intern!(py, "name")),
            (intern!(py, "ParentId"), intern!(py, "parent_id")),
        ];
        for (member, field) in members {
            if let Some(value) = raw.get_item(member)? {
                fields.set_item(field, value)?;
            }
        }
        if let Some(sub_type) = raw.get_item(intern!(py, "SubType"))?
            && sub_type.is_truthy()?
        {
            fields.set_item(intern!(py, "sub_type"), sub_type)?;
        }
        if let Some(began) = raw.get_item(intern!(py, "StartTimestamp"))? {
            fields.set_item(intern!(py, "start_time"), moment(&began))?;
        }
        if let Some(ended) = raw.get_item(intern!(py, "EndTimestamp"))? {
            fields.set_item(intern!(py, "end_time"), moment(&ended))?;
        }
        let details = match kind {
            Kind::Step => intern!(py, "StepDetails"),
            Kind::Context => intern!(py, "ContextDetails"),
            Kind::Callback => intern!(py, "CallbackDetails"),
            Kind::ChainedInvoke => intern!(py, "ChainedInvokeDetails"),
            Kind::Execution | Kind::Wait | Kind::Unknown => return Ok(fields),
        };
        if let Some(details) = raw.get_item(details)?
            && let Ok(details) = details.cast::<PyDict>()
        {
            self.details(&fields, details)?;
        }
        Ok(fields)
    }

    fn details(&self, fields: &Bound<'_, PyDict>, details: &Bound<'_, PyDict>) -> PyResult<()> {
        let py = fields.py();
        if let Some(result) = details.get_item(intern!(py, "Result"))? {
            fields.set_item(intern!(py, "result"), result)?;
        }
        if let Some(attempt) = details.get_item(intern!(py, "Attempt"))? {
            fields.set_item(intern!(py, "attempt"), attempt)?;
        }
        if let Some(error) = details.get_item(intern!(py, "Error"))?
            && !error.is_none()
        {
            fields.set_item(intern!(py, "error"), self.error.bind(py).call1((error,))?)?;
        }
        Ok(())
    }

    fn kind(&self, py: Python<'_>, kind: Kind) -> Py<PyAny> {
        self.kinds.get(kind as usize).map_or_else(|| py.None(), |kind| kind.clone_ref(py))
    }

    fn status(&self, py: Python<'_>, status: Status) -> Py<PyAny> {
        self.statuses.get(status as usize).map_or_else(|| py.None(), |status| status.clone_ref(py))
    }
}

/// A moment as the wire has it, in Unix milliseconds or as a datetime; None for none, or for an odd one.
#[pyfunction]
pub fn moment<'py>(value: &Bound<'py, PyAny>) -> Bound<'py, PyAny> {
    let py = value.py();
    if value.is_none() || value.is_instance_of::<PyDateTime>() {
        return value.clone();
    }
    let milliseconds = match (value.cast::<PyInt>(), value.cast::<PyFloat>()) {
        (Ok(whole), _) => whole.extract::<f64>().ok(),
        (_, Ok(float)) => Some(float.value()),
        _ => None,
    };
    let seconds = milliseconds.map(|milliseconds| milliseconds / 1_000.0).filter(|seconds| seconds.is_finite());
    // Beyond what there are datetimes for, it is an odd one.
    let moment = seconds.and_then(|seconds| at(py, seconds).ok());
    moment.unwrap_or_else(|| py.None().into_bound(py))
}

/// So many seconds after the Unix epoch as `datetime.fromtimestamp` gives them in UTC: to the next microsecond, of two
/// that are as near to the even one.
pub fn at(py: Python<'_>, seconds: f64) -> PyResult<Bound<'_, PyAny>> {
    const MICROSECONDS: u32 = 1_000_000;
    let utc = PyTzInfo::utc(py)?;
    let mut fraction = (seconds.fract() * f64::from(MICROSECONDS)).round_ties_even();
    let mut whole = seconds.trunc();
    if fraction >= f64::from(MICROSECONDS) {
        (fraction, whole) = (0.0, whole + 1.0);
    }
    if !(0.0..NEVER).contains(&seconds) || whole >= NEVER {
        return py.get_type::<PyDateTime>().call_method1(intern!(py, "fromtimestamp"), (seconds, &utc));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "both are whole, and in their bounds")]
    let (whole, fraction) = (whole as u64, fraction as u32);
    let (year, month, day, rest) = Moment::from_unix(whole).parts();
    #[expect(clippy::cast_possible_truncation, reason = "what a calendar has fits")]
    let [month, day, hour, minute, second] = [month, day, rest / 3_600, rest / 60 % 60, rest % 60].map(|of| of as u8);
    let year = i32::try_from(year).unwrap_or(i32::MAX);
    Ok(PyDateTime::new(py, year, month, day, hour, minute, second, fraction, Some(&utc))?.into_any())
}

/// A word of the wire under `key`, by what it means; None if it is no such word.
pub fn word<T>(
    raw: &Bound<'_, PyDict>,
    key: &Bound<'_, PyString>,
    parse: fn(&str) -> Option<T>,
) -> PyResult<Option<T>> {
    let value = raw.get_item(key)?;
    let text = value.as_ref().and_then(|value| value.cast::<PyString>().ok());
    Ok(text.and_then(|text| text.to_str().ok()).and_then(parse))
}

/// An `OperationStartInfo` of its fields, which become its own.
#[pyfunction]
pub fn operation_start_info<'py>(fields: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
    Infos::get(fields.py())?.make(fields.py(), Class::Start, fields)
}

/// An `OperationEndInfo` of its fields, which become its own.
#[pyfunction]
pub fn operation_end_info<'py>(fields: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
    Infos::get(fields.py())?.make(fields.py(), Class::End, fields)
}

/// The fields of an info of an operation that is at work.
#[pyfunction]
pub fn info_at_work<'py>(py: Python<'py>, operation: &Operation) -> PyResult<Bound<'py, PyDict>> {
    Infos::get(py)?.at_work(py, operation)
}

/// The fields of an info of a recorded operation.
#[pyfunction]
pub fn info_recorded<'py>(raw: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyDict>> {
    Infos::get(raw.py())?.recorded(raw)
}
