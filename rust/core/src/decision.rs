//! What the driver is told to do next.

use crate::operation::{Millis, Operation, Status};

/// What to do about an operation the handler has come to.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision<'a, P> {
    /// It is done; this was its result.
    Value(Option<&'a P>),
    /// It is over, and not well. (Of an unknown status, too; but the engine refuses such before it asks a table.)
    Failure { status: Status, error: Option<&'a P> },
    /// Nothing can be done before the moment given, or before the service has news.
    Pending(Option<Millis>),
    /// Do the work now.
    Run(Run<'a, P>),
    /// Send START, wait until it is durable, look again.
    Start,
    /// An earlier invocation began this attempt and never reported back: it must not run again as if new.
    Interrupted { attempt: u32 },
}

/// How to do the work.
#[derive(Debug, PartialEq, Eq)]
pub struct Run<'a, P> {
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Whether a START goes ahead of it (queued, not waited for).
    pub start: bool,
    /// The state that the last check of a condition left.
    pub state: Option<&'a P>,
    /// Whether the outcome is recorded; not when a finished context is only run again for its result.
    pub write: bool,
}

/// How often the driver has looked at the same operation in this call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    First,
    /// After a START of ours that is now durable.
    Started,
    /// After a RETRY of ours that is: the next attempt is another invocation's, or another run's of the branch around it.
    Retried,
}

impl<'a, P> Decision<'a, P> {
    /// A run of the attempt after those recorded.
    pub(crate) fn run(recorded: Option<&'a Operation<P>>, start: bool) -> Self {
        let attempt = recorded.map_or(0, |operation| operation.attempt) + 1;
        Self::Run(Run { attempt, start, state: None, write: true })
    }

    /// Whether something new comes of it, in the record or in the world.
    pub const fn is_work(&self) -> bool {
        matches!(self, Self::Run(Run { write: true, .. }) | Self::Start | Self::Interrupted { .. })
    }

    /// Whether a START is due that is not recorded.
    pub const fn starts(&self) -> bool {
        matches!(self, Self::Run(Run { start: true, .. }) | Self::Start)
    }

    /// What follows an attempt that is to be repeated, whatever the service says of it by then.
    pub(crate) fn retried(recorded: Option<&'a Operation<P>>) -> Self {
        let pending = recorded.filter(|operation| operation.status == Status::Pending);
        Self::Pending(pending.and_then(|operation| operation.due))
    }

    /// What an operation that is over calls for, in every table that says nothing else of it.
    pub(crate) fn end(recorded: &'a Operation<P>) -> Self {
        match recorded.status {
            Status::Succeeded => Self::value(recorded),
            Status::Failed | Status::Cancelled | Status::TimedOut | Status::Stopped | Status::Unknown => {
                Self::failure(recorded)
            }
            Status::Started | Status::Pending | Status::Ready => Self::Pending(recorded.due), // not over
        }
    }

    fn value(recorded: &'a Operation<P>) -> Self {
        Self::Value(recorded.result.as_ref())
    }

    pub(crate) fn failure(recorded: &'a Operation<P>) -> Self {
        Self::Failure { status: recorded.status, error: recorded.error.as_ref() }
    }
}

#[cfg(test)]
pub(crate) mod table {
    //! What the table tests of the operations share.

    use crate::id::OperationId;
    use crate::operation::{Kind, Operation, Status};

    /// An operation with one of everything, so that a table's cell shows what it takes from the record.
    pub fn recorded(kind: Kind, status: Status) -> Operation<String> {
        Operation {
            attempt: 2,
            due: Some(1_000),
            result: Some("result".to_owned()),
            error: Some("error".to_owned()),
            callback_id: Some("callback".to_owned()),
            ..Operation::new(OperationId::at(None, 1), kind, status)
        }
    }
}
