//! A wait: the service ends it.
//!
//! | recorded → | absent | STARTED, PENDING, READY | SUCCEEDED, CANCELLED | other |
//! |---|---|---|---|---|
//! | wait | START, look again | pending until the scheduled end | returns | failure |

use crate::decision::Decision;
use crate::operation::{Operation, Status};

/// The table above.
pub fn begin<P>(recorded: Option<&Operation<P>>) -> Decision<'_, P> {
    let Some(operation) = recorded else { return Decision::Start };
    match operation.status {
        Status::Succeeded | Status::Cancelled => Decision::Value(None),
        status if status.is_open() => Decision::Pending(operation.due),
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
        let error = "error".to_owned();
        let failure = |status| Decision::Failure { status, error: Some(&error) };
        let table = [
            (None, Decision::Start),
            (Some(Status::Started), Decision::Pending(Some(1_000))),
            (Some(Status::Pending), Decision::Pending(Some(1_000))),
            (Some(Status::Ready), Decision::Pending(Some(1_000))),
            (Some(Status::Succeeded), Decision::Value(None)),
            (Some(Status::Cancelled), Decision::Value(None)),
            (Some(Status::Failed), failure(Status::Failed)),
            (Some(Status::TimedOut), failure(Status::TimedOut)),
            (Some(Status::Stopped), failure(Status::Stopped)),
        ];
        for (status, expected) in table {
            let operation = status.map(|status| recorded(Kind::Wait, status));
            assert_eq!(begin(operation.as_ref()), expected, "{status:?}");
        }
    }
}
