//! A callback: created here, completed from outside.
//!
//! | recorded → | absent | STARTED, PENDING, READY | SUCCEEDED | other |
//! |---|---|---|---|---|
//! | create | START, look again | its id | its id | its id |
//! | result | pending | pending | value | failure |
//!
//! Creating never fails for a callback that failed: the code between creation and result must run the same way each
//! time.

use crate::decision::Decision;
use crate::operation::{Operation, Status};

/// The first row.
pub fn create<P>(recorded: Option<&Operation<P>>) -> Decision<'_, P> {
    recorded.map_or(Decision::Start, |operation| Decision::Value(operation.callback_id.as_ref()))
}

/// The second row.
pub fn result<P>(recorded: Option<&Operation<P>>) -> Decision<'_, P> {
    let Some(operation) = recorded else { return Decision::Pending(None) };
    if operation.status.is_open() { Decision::Pending(None) } else { Decision::end(operation) }
}

/// Which of two ways it failed: nobody answered in time, or somebody answered so.
pub fn has_timed_out(status: Status) -> bool {
    status == Status::TimedOut
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::table::recorded;
    use crate::operation::Kind;

    #[test]
    fn is_created_once_and_never_fails_then() {
        let id = "callback".to_owned();
        assert_eq!(create::<String>(None), Decision::Start);
        for status in Status::ALL {
            let operation = recorded(Kind::Callback, status);
            assert_eq!(create(Some(&operation)), Decision::Value(Some(&id)), "{status:?}");
        }
    }

    #[test]
    fn results_as_the_table_says() {
        let (value, error) = ("result".to_owned(), "error".to_owned());
        let failure = |status| Decision::Failure { status, error: Some(&error) };
        let table = [
            (None, Decision::Pending(None)),
            (Some(Status::Started), Decision::Pending(None)),
            (Some(Status::Pending), Decision::Pending(None)),
            (Some(Status::Ready), Decision::Pending(None)),
            (Some(Status::Succeeded), Decision::Value(Some(&value))),
            (Some(Status::Failed), failure(Status::Failed)),
            (Some(Status::TimedOut), failure(Status::TimedOut)),
            (Some(Status::Cancelled), failure(Status::Cancelled)),
            (Some(Status::Stopped), failure(Status::Stopped)),
        ];
        for (status, expected) in table {
            let operation = status.map(|status| recorded(Kind::Callback, status));
            assert_eq!(result(operation.as_ref()), expected, "{status:?}");
        }
    }
}
