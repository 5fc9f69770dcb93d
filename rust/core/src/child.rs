//! A child context, a map or parallel, one of their branches: operations grouped under one.
//!
//! | recorded → | absent | STARTED, PENDING, READY | SUCCEEDED | SUCCEEDED, ReplayChildren | other |
//! |---|---|---|---|---|---|
//! | child | START queued, run | run | value | run again, write nothing | failure |

use crate::decision::{Decision, Run};
use crate::operation::{Operation, Status};

/// The table above.
pub fn begin<P>(recorded: Option<&Operation<P>>) -> Decision<'_, P> {
    let run = |start, write, state| Decision::Run(Run { attempt: 1, start, state, write });
    let Some(operation) = recorded else { return run(true, true, None) };
    if operation.status.is_open() {
        run(false, true, None)
    } else if operation.status == Status::Succeeded && operation.replay_children {
        // The summary goes along: a map or parallel finds in it which branches to rebuild.
        run(false, false, operation.result.as_ref())
    } else {
        Decision::end(operation)
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
        let run = |start| Decision::Run(Run { attempt: 1, start, state: None, write: true });
        let table = [
            (None, false, run(true)),
            (Some(Status::Started), false, run(false)),
            (Some(Status::Pending), false, run(false)),
            (Some(Status::Ready), true, run(false)),
            (Some(Status::Succeeded), false, Decision::Value(Some(&value))),
            (
                Some(Status::Succeeded),
                true,
                Decision::Run(Run { attempt: 1, start: false, state: Some(&value), write: false }),
            ),
            (Some(Status::Failed), true, failure(Status::Failed)),
            (Some(Status::Cancelled), false, failure(Status::Cancelled)),
            (Some(Status::TimedOut), false, failure(Status::TimedOut)),
            (Some(Status::Stopped), false, failure(Status::Stopped)),
        ];
        for (status, replay_children, expected) in table {
            let operation = status.map(|status| Operation { replay_children, ..recorded(Kind::Context, status) });
            assert_eq!(begin(operation.as_ref()), expected, "{status:?} {replay_children}");
        }
    }
}
