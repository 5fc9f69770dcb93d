//! Infos: what plugins are told of operations, as instances of the dataclasses of `perdure.plugin`.
//!
//! An info is given all its fields at once, past the `__init__` of its class, which takes ten times as long. One that no
//! plugin has kept is blanked and becomes the next of its class: to make and drop an object takes longer than all else.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use perdure_client::date::Moment;
use perdure_core::operation::{Kind, Status};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyDateTime, PyDict, PyFloat, PyInt, PyString, PyTzInfo};
use pyo3::{ffi, intern};

use crate::fields::{Field, Fields, Time};
use crate::listeners::{Hook, Listeners};
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
    classes: Vec<Py<PyAny>>,
    /// Of each class an info that nobody has: blank, so that it keeps nothing of an invocation.
    spare: [Mutex<Option<Py<Fields>>>; CLASSES.len()],
    weak: Py<PyAny>,
    kinds: Vec<Py<PyAny>>,
    statuses: Vec<Py<PyAny>>,
    pub succeeded: Py<PyAny>,
    error: Py<PyAny>,
    /// The fields of an operation that has begun, but for its own.
    blank: Fields,
}

impl Infos {
    pub fn get(py: Python<'_>) -> PyResult<&Self> {
        static INFOS: PyOnceLock<Infos> = PyOnceLock::new();
        INFOS.get_or_try_init(py, || Self::new(py))
    }

    fn new(py: Python<'_>) -> PyResult<Self> {
        let (plugin, service) = (py.import("perdure.plugin")?, py.import("perdure.lambda_service")?);
        let (types, statuses) = (plugin.getattr("OperationType")?, service.getattr("OperationStatus")?);
        let member = |class: &Bound<'_, PyAny>, value: &str| class.call1((value,)).map(Bound::unbind);
        let mut infos = Self {
            new: py.get_type::<Fields>().getattr("__new__")?.unbind(),
            classes: CLASSES.iter().map(|name| Ok(plugin.getattr(*name)?.unbind())).collect::<PyResult<_>>()?,
            spare: Default::default(),
            weak: py.import("weakref")?.getattr("getweakrefcount")?.unbind(),
            kinds: Kind::ALL.iter().map(|kind| member(&types, kind.as_str())).collect::<PyResult<_>>()?,
            statuses: Status::ALL.iter().map(|status| member(&statuses, status.as_str())).collect::<PyResult<_>>()?,
            succeeded: plugin.getattr("UserFunctionOutcome")?.getattr("SUCCEEDED")?.unbind(),
            error: service.getattr("ErrorObject")?.getattr("from_dict")?.unbind(),
            blank: Fields::default(),
        };
        infos.blank.is_replayed = Some(PyBool::new(py, false).to_owned().into_any().unbind());
        infos.blank.status = infos.status(py, Status::Started);
        Ok(infos)
    }

    /// Makes an info of its fields.
    pub fn make<'py>(&self, py: Python<'py>, class: Class, fields: Fields) -> PyResult<Bound<'py, PyAny>> {
        self.filled(py, class, fields).map(Bound::into_any)
    }

    fn filled<'py>(&self, py: Python<'py>, class: Class, fields: Fields) -> PyResult<Bound<'py, Fields>> {
        let spare = self.spare(class).take();
        let info = match spare {
            Some(spare) => spare.into_bound(py),
            None => self.new.bind(py).call1((&self.classes[class as usize],))?.cast_into()?,
        };
        *info.borrow_mut() = fields;
        Ok(info)
    }

    fn spare(&self, class: Class) -> MutexGuard<'_, Option<Py<Fields>>> {
        self.spare[class as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells a hook's listeners of an info that is made for it.
    pub fn tell(
        &self,
        py: Python<'_>,
        listeners: &Listeners,
        hook: Hook,
        class: Class,
        fields: Fields,
    ) -> PyResult<()> {
        let info = self.filled(py, class, fields)?;
        listeners.tell(py, hook, info.as_any())?;
        if is_ours(&info) && self.weak.bind(py).call1((&info,))?.extract::<usize>()? == 0 {
            drop(mem::take(&mut *info.borrow_mut()));
            let one_more = self.spare(class).replace(info.unbind());
            drop(one_more);
        }
        Ok(())
    }

    /// The fields of an operation that is at work.
    pub fn at_work(&self, py: Python<'_>, operation: &Operation) -> Fields {
        operation.fields(|| self.begun(py, operation)).again(py)
    }

    fn begun(&self, py: Python<'_>, operation: &Operation) -> Fields {
        let (begun, mut fields) = (operation.begun(), self.blank.again(py));
        let text = |text: &str| Some(PyString::new(py, text).into_any().unbind());
        fields.operation_id = text(begun.place.id.hex().as_str());
        fields.operation_type = self.kind(py, begun.kind());
        fields.sub_type = text(begun.sub_type.as_str());
        if let Some(name) = begun.name.as_deref() {
            fields.name = text(name);
        }
        if let Some(parent) = begun.place.parent {
            fields.parent_id = text(parent.hex().as_str());
        }
        fields
    }

    /// The fields of a recorded operation.
    pub fn recorded(&self, raw: &Bound<'_, PyDict>) -> PyResult<Fields> {
        let py = raw.py();
        let kind = word(raw, intern!(py, "Type"), Kind::parse)?.unwrap_or(Kind::Unknown);
        let status = word(raw, intern!(py, "Status"), Status::parse)?.unwrap_or(Status::Unknown);
        self.recorded_as(raw, kind, status)
    }

    /// The same where it is known what kind of operation it is, and where it stands.
    pub fn recorded_as(&self, raw: &Bound<'_, PyDict>, kind: Kind, status: Status) -> PyResult<Fields> {
        let (py, mut fields) = (raw.py(), self.blank.again(raw.py()));
        fields.operation_type = self.kind(py, kind);
        fields.status = self.status(py, status);
        let members = [
            (intern!(py, "Id"), &mut fields.operation_id),
            (intern!(py, "Name"), &mut fields.name),
            (intern!(py, "ParentId"), &mut fields.parent_id),
        ];
        for (member, field) in members {
            if let Some(value) = raw.get_item(member)? {
                *field = some(value);
            }
        }
        if let Some(sub_type) = raw.get_item(intern!(py, "SubType"))?
            && sub_type.is_truthy()?
        {
            fields.sub_type = some(sub_type);
        }
        if let Some(began) = raw.get_item(intern!(py, "StartTimestamp"))? {
            fields.start_time = Time::of(moment(&began));
        }
        if let Some(ended) = raw.get_item(intern!(py, "EndTimestamp"))? {
            fields.end_time = Time::of(moment(&ended));
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
            self.details(&mut fields, details)?;
        }
        Ok(fields)
    }

    fn details(&self, fields: &mut Fields, details: &Bound<'_, PyDict>) -> PyResult<()> {
        let py = details.py();
        if let Some(result) = details.get_item(intern!(py, "Result"))? {
            fields.result = some(result);
        }
        if let Some(attempt) = details.get_item(intern!(py, "Attempt"))? {
            fields.attempt = some(attempt);
        }
        if let Some(error) = details.get_item(intern!(py, "Error"))?
            && !error.is_none()
        {
            fields.error = Some(self.error.bind(py).call1((error,))?.unbind());
        }
        Ok(())
    }

    fn kind(&self, py: Python<'_>, kind: Kind) -> Field {
        self.kinds.get(kind as usize).map(|kind| kind.clone_ref(py))
    }

    fn status(&self, py: Python<'_>, status: Status) -> Field {
        self.statuses.get(status as usize).map(|status| status.clone_ref(py))
    }
}

/// Whether nobody else has a reference to it.
#[expect(unsafe_code, reason = "PyO3 has no safe form of this call")]
fn is_ours(info: &Bound<'_, Fields>) -> bool {
    // SAFETY: it is an object, and the GIL is held.
    unsafe { ffi::Py_REFCNT(info.as_ptr()) == 1 }
}

fn some(value: Bound<'_, PyAny>) -> Field {
    (!value.is_none()).then(|| value.unbind())
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

/// An `OperationStartInfo` of its fields.
#[pyfunction]
pub fn operation_start_info<'py>(fields: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
    Infos::get(fields.py())?.make(fields.py(), Class::Start, Fields::of(fields)?)
}

/// An `OperationEndInfo` of its fields.
#[pyfunction]
pub fn operation_end_info<'py>(fields: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
    Infos::get(fields.py())?.make(fields.py(), Class::End, Fields::of(fields)?)
}

/// The fields of an info of an operation that is at work.
#[pyfunction]
pub fn info_at_work<'py>(py: Python<'py>, operation: &Operation) -> PyResult<Bound<'py, PyDict>> {
    Infos::get(py)?.at_work(py, operation).dict(py)
}

/// The fields of an info of a recorded operation.
#[pyfunction]
pub fn info_recorded<'py>(raw: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyDict>> {
    Infos::get(raw.py())?.recorded(raw)?.dict(raw.py())
}
