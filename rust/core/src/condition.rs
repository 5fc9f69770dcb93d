//! A condition polled for: a step whose attempts carry a state along.
//!
//! | recorded → | absent | STARTED | PENDING | READY | SUCCEEDED | FAILED, other |
//! |---|---|---|---|---|---|---|
//! | condition | START queued, check the initial state | check the recorded state | pending until the next attempt | START queued, check the recorded state | value | failure |
//!
//! After a RETRY of its own it is pending, as a step is.

use crate::decision::{Decision, Run};
use crate::operation::{Operation, Status};

/// The table above.
pub fn begin<P>(recorded: Option<&Operation<P>>) -> Decision<'_, P> {
    let Some(operation) = recorded else { return Decision::run(None, true) };
    let check = |start| {
        let state = operation.result.as_ref();
        Decision::Run(Run { attempt: operation.attempt + 1, start, state, write: true })
    };
    match operation.status {
        Status::Started => check(false),
        Status::Pending => Decision::Pending(operation.due),
        Status::Ready => check(true),
        _ => Decision::end(operation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::table::recorded;
    use crate::operation::Kind;

    #[test]
    fn begins_as_the_table_says() {
        let (value, error) = ("result".to_owned(), "error".to_owned());
        let failure = |status| Decision::Failure { status, error: Some(&error) };
        let check = |start| Decision::Run(Run { attempt: 3, start, state: Some(&value), write: true });
        let table = [
            (None, Decision::Run(Run { attempt: 1, start: true, state: None, write: true })),
            (Some(Status::Started), check(false)),
            (Some(Status::Pending), Decision::Pending(Some(1_000))),
            (Some(Status::Ready), check(true)),
            (Some(Status::Succeeded), Decision::Value(Some(&value))),
            (Some(Status::Failed), failure(Status::Failed)),
            (Some(Status::Cancelled), failure(Status::Cancelled)),
            (Some(Status::TimedOut), failure(Status::TimedOut)),
            (Some(Status::Stopped), failure(Status::Stopped)),
        ];
        for (status, expected) in table {
            let operation = status.map(|status| recorded(Kind::Step, status));
            assert_eq!(begin(operation.as_ref()), expected, "{status:?}");
        }
    }
}
