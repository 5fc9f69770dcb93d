//! Signals that come while a call waits: whoever has handlers for them says whether the call goes on.

use std::convert::Infallible;
use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

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
                go_on()?;
            }
            done => return done,
        }
    }
}

/// Waits until the other end of a channel is gone, unless the call is given up: no signal interrupts such a wait.
pub(crate) fn until_gone(other: &Receiver<Infallible>) -> io::Result<()> {
    const SLICE: Duration = Duration::from_millis(50);
    while matches!(other.recv_timeout(SLICE), Err(RecvTimeoutError::Timeout)) {
        go_on()?;
    }
    Ok(())
}

/// Asks whether the call goes on.
fn go_on() -> io::Result<()> {
    if ASKED.get().is_some_and(|gives_up| gives_up()) { Err(io::Error::other(Interrupted)) } else { Ok(()) }
}

/// Whether it is for that that something failed.
pub(crate) fn is_given_up(error: &io::Error) -> bool {
    matches!(error.get_ref(), Some(inner) if inner.is::<Interrupted>())
}
