//! The binding `perdure._core`: conversion and pyclasses only. What is decided is decided in `perdure-core`.

mod answer;
mod backoff;
mod batch;
mod client;
mod codes;
mod convert;
mod custody;
mod drive;
mod errand;
mod errors;
mod execution;
mod fields;
mod followed;
mod hand;
mod info;
mod line;
mod listeners;
mod member;
mod object;
mod operation;
mod ready;
mod scope;
mod shared;
mod teller;
mod text;
mod threads;
mod told;
mod trampoline;
mod typed;
mod updates;

use pyo3::prelude::*;

/// Raises a `ValidationError` for a subtype that the service refuses.
#[pyfunction]
fn check_sub_type(text: &str) -> Result<(), errors::Error> {
    Ok(perdure_core::limits::sub_type(text)?)
}

// The modules of Python around it count on it that one thread runs at a time. Without this, free-threaded Python would let
// several.
#[pymodule(gil_used = true)]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::backoff::{exponential_delay, jittered_delay, linear_delay, whole_seconds};
    #[pymodule_export]
    use super::custody::{at_work, at_work_in};
    #[pymodule_export]
    use super::hand::{hands_at_work, while_held};
    #[pymodule_export]
    use super::info::{info_at_work, info_recorded, moment, operation_end_info, operation_start_info};
    #[pymodule_export]
    use super::threads::start_thread;
    #[pymodule_export]
    use super::typed::typed_of;
    #[pymodule_export]
    use super::{
        answer::Answer, batch::Batch, batch::check_name, check_sub_type, client::NativeClient, drive::Drive,
        errand::Errand, execution::Execution, fields::Fields, listeners::Listeners, operation::Operation, ready::Ready,
        scope::Scope, teller::Teller, told::Told, updates::Updates,
    };

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::codes::register(module)?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        perdure_codec::register(module)
    }
}
