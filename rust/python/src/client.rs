//! `NativeClient`: the two calls of `perdure-client`, with the GIL let go while they last and their answers are read.

use std::cell::Cell;
use std::time::{Duration, Instant};

use perdure_client::answer::Answer as Received;
use perdure_client::client::Client;
use perdure_client::environment::{self, Process};
use perdure_client::error::Error;
use perdure_client::interrupt;
use perdure_core::limits;
use perdure_core::wire;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyConnectionError, PyOSError, PyTimeoutError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::answer::Answer;
use crate::updates::Updates;

#[pyclass(frozen, module = "perdure._core")]
pub struct NativeClient(Client);

/// The longest that a call may take when nobody says how much time is left.
const LONGEST: Duration = Duration::from_secs(limits::MAX_INVOCATION);

/// The HTTP status, the body, and the headers.
type Raw<'py> = (u16, Bound<'py, PyBytes>, Vec<(String, String)>);

fn until(seconds: Option<f64>) -> Instant {
    let given = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok());
    Instant::now() + given.unwrap_or(LONGEST).min(LONGEST)
}

/// What came of a call: an [`Answer`], or the [`Raw`] one if it is none that is usual.
fn answered(py: Python<'_>, answer: Result<Result<Answer, Received>, Error>) -> PyResult<Bound<'_, PyAny>> {
    if let Some(raised) = RAISED.take() {
        // In the midst of a request for credentials, too, which the call may have done without.
        return Err(raised);
    }
    match answer.map_err(raised)? {
        Ok(answer) => Ok(Bound::new(py, answer)?.into_any()),
        Err(Received { status, body, headers, .. }) => {
            let raw: Raw<'_> = (status, PyBytes::new(py, &body), headers);
            raw.into_bound_py_any(py)
        }
    }
}

thread_local! {
    /// What a handler of a signal has raised in the midst of this thread's call.
    static RAISED: Cell<Option<PyErr>> = const { Cell::new(None) };
}

/// Lets the handlers of signals run, as they do while Python waits; what they raise ends the call.
fn gives_up() -> bool {
    // Of an interpreter that is about to end there is nothing more to ask.
    let raised = Python::try_attach(|py| py.check_signals().err()).flatten();
    let gives_up = raised.is_some();
    RAISED.set(raised);
    gives_up
}

fn raised(error: Error) -> PyErr {
    let text = error.to_string();
    match error {
        Error::Timeout { .. } | Error::ConnectTimeout { .. } => PyTimeoutError::new_err(text),
        error if error.is_passing() => PyConnectionError::new_err(text),
        _ => PyOSError::new_err(text),
    }
}

#[pymethods] // documented in _core.pyi
impl NativeClient {
    /// The client, or why the environment is left to boto3.
    #[staticmethod]
    fn find(py: Python<'_>, user_agent: String) -> PyResult<(Option<Self>, Option<String>)> {
        interrupt::ask(gives_up);
        match environment::read(&Process) {
            Ok(config) => {
                let client = py.detach(|| Client::new(config, user_agent)).map_err(raised)?;
                Ok((Some(Self(client)), None))
            }
            Err(reason) => Ok((None, Some(reason.to_string()))),
        }
    }

    fn checkpoint<'py>(
        &self,
        py: Python<'py>,
        arn: &str,
        token: &Bound<'py, PyString>,
        updates: &Updates,
        client_token: &str,
        seconds: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let body = updates.body(token, client_token)?;
        let (until, present) = (until(seconds), self.0.present());
        let answer = py.detach(|| {
            let answer = self.0.checkpoint(present, arn, &body, until)?;
            Ok(Answer::read(answer, wire::checkpoint))
        });
        answered(py, answer)
    }

    fn state<'py>(
        &self,
        py: Python<'py>,
        arn: &str,
        token: &str,
        marker: &str,
        page: u32,
        seconds: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (until, present) = (until(seconds), self.0.present());
        let answer = py.detach(|| {
            let answer = self.0.state(present, arn, token, (marker, &page.to_string()), until)?;
            Ok(Answer::read(answer, wire::page))
        });
        answered(py, answer)
    }

    fn prepare(&self, py: Python<'_>, seconds: Option<f64>) -> bool {
        let until = until(seconds);
        py.detach(|| self.0.prepare(until))
    }

    fn withdraw(&self, py: Python<'_>) {
        py.detach(|| self.0.withdraw());
    }

    #[getter]
    fn endpoint(&self) -> String {
        self.0.config().endpoint.to_string()
    }

    #[getter]
    fn max_attempts(&self) -> Option<u32> {
        self.0.config().max_attempts
    }
}
