//! Signals that come while a call waits: whoever has handlers for them says whether the call goes on.

use std::io;
use std::sync::OnceLock;

/// Tells, in the thread that a signal has interrupted, whether its call is to be given up.
pub type GivesUp = fn() -> bool;

static ASKED: OnceLock<GivesUp> = OnceLock::new();

/// Says once a process who is asked. Without it calls go on.
pub fn ask(gives_up: GivesUp) {
    let _ = ASKED.set(gives_up);
}

/// That a call was given up.
#[derive(Debug, thiserror::Error)]
#[error("a signal ended it")]
pub struct Interrupted;

/// Does something again whenever a signal has interrupted it, unless the call is given up.
pub(crate) fn again<T>(mut act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match act() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                if ASKED.get().is_some_and(|gives_up| gives_up()) {
                    return Err(io::Error::other(Interrupted));
                }
            }
            done => return done,
        }
    }
}

/// Whether it is for that that something failed.
pub(crate) fn is_given_up(error: &io::Error) -> bool {
    matches!(error.get_ref(), Some(inner) if inner.is::<Interrupted>())
}
