//! An invoke of another function: the service runs it.
//!
//! | recorded → | absent | STARTED, PENDING, READY | SUCCEEDED | FAILED, TIMED_OUT, STOPPED, other |
//! |---|---|---|---|---|
//! | invoke | START, look again | pending | value | failure |

use crate::decision::Decision;
use crate::operation::Operation;

/// The table above.
pub fn begin<P>(recorded: Option<&Operation<P>>) -> Decision<'_, P> {
    let Some(operation) = recorded else { return Decision::Start };
    if operation.status.is_open() { Decision::Pending(None) } else { Decision::end(operation) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::table::recorded;
    use crate::operation::{Kind, Status};

    #[test]
    fn begins_as_the_table_says() {
        let (value, error) = ("result".to_owned(), "error".to_owned());
        let failure = |status| Decision::Failure { status, error: Some(&error) };
        let table = [
            (None, Decision::Start),
            (Some(Status::Started), Decision::Pending(None)),
            (Some(Status::Pending), Decision::Pending(None)),
            (Some(Status::Ready), Decision::Pending(None)),
            (Some(Status::Succeeded), Decision::Value(Some(&value))),
            (Some(Status::Failed), failure(Status::Failed)),
            (Some(Status::TimedOut), failure(Status::TimedOut)),
            (Some(Status::Stopped), failure(Status::Stopped)),
            (Some(Status::Cancelled), failure(Status::Cancelled)),
        ];
        for (status, expected) in table {
            let operation = status.map(|status| recorded(Kind::ChainedInvoke, status));
            assert_eq!(begin(operation.as_ref()), expected, "{status:?}");
        }
    }
}
