//! What the engine decides, by the names under which Python knows it: one table. Each name has a number of its own, so that
//! none can be taken for one of another kind.

use perdure_core::batch::Hold;
use pyo3::prelude::*;

macro_rules! codes {
    ($($name:ident),* $(,)?) => {
        #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "the names of the constants")]
        #[repr(u8)]
        enum Code { $($name),* }
        $(pub const $name: u8 = Code::$name as u8;)*
        const CODES: &[(&str, u8)] = &[$((stringify!($name), $name)),*];
    };
}

codes! {
    // What an operation calls for.
    RUN, START, INTERRUPTED, RECORDED, FAILED, PENDING,
    // What whoever works at a batch is to do.
    RUN_BRANCH, WAIT, SUSPEND, DONE, ABORT,
    // What a branch that is tried is to do.
    PASS, HELD, YIELD,
}

/// The predicate is to be asked. This and the next are flags.
pub const ASK: u8 = 1;
/// STARTs were queued.
pub const STARTED: u8 = 2;

pub const fn hold(hold: Hold) -> u8 {
    match hold {
        Hold::Pass => PASS,
        Hold::Wait => HELD,
        Hold::Yield => YIELD,
    }
}

/// Adds all of them to the module, and the limits.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    for (name, code) in CODES.iter().chain(&[("ASK", ASK), ("STARTED", STARTED)]) {
        module.add(*name, code)?;
    }
    for (name, limit) in perdure_core::limits::ALL {
        module.add(name, limit)?;
    }
    Ok(())
}
