//! A step: the user's function, run once and recorded.
//!
//! | recorded → | absent | STARTED | PENDING | READY | SUCCEEDED | FAILED | other |
//! |---|---|---|---|---|---|---|---|
//! | at least once | START queued, run | run | pending until the next attempt | START queued, run | value | failure | failure |
//! | at most once | START, look again | interrupted | pending until the next attempt | START, look again | value | failure | failure |
//!
//! Looking again after a START of its own, an at-most-once step that is STARTED runs. After a RETRY of its own it is
//! pending in any case: until the next attempt if it is PENDING, else until there is news.

use crate::decision::{Decision, Look};
use crate::operation::{Operation, Status};

/// How often one attempt may run the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Semantics {
    AtLeastOnce,
    AtMostOnce,
}

/// The table above.
pub fn begin<P>(recorded: Option<&Operation<P>>, semantics: Semantics, look: Look) -> Decision<'_, P> {
    let Some(operation) = recorded else {
        return match semantics {
            Semantics::AtLeastOnce => Decision::run(None, true),
            Semantics::AtMostOnce => Decision::Start,
        };
    };
    match (operation.status, semantics) {
        (Status::Started, Semantics::AtLeastOnce) => Decision::run(recorded, false),
        (Status::Started, Semantics::AtMostOnce) if look == Look::Started => Decision::run(recorded, false),
        (Status::Started, Semantics::AtMostOnce) => Decision::Interrupted { attempt: operation.attempt + 1 },
        (Status::Pending, _) => Decision::Pending(operation.due),
        (Status::Ready, Semantics::AtLeastOnce) => Decision::run(recorded, true),
        (Status::Ready, Semantics::AtMostOnce) => Decision::Start,
        _ => Decision::end(operation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Run, table::recorded};
    use crate::operation::Kind;

    #[test]
    fn begins_as_the_table_says() {
        use Semantics::{AtLeastOnce, AtMostOnce};
        let (result, error) = ("result".to_owned(), "error".to_owned());
        let run = |attempt, start| Decision::Run(Run { attempt, start, state: None, write: true });
        let failure = |status| Decision::Failure { status, error: Some(&error) };
        let table = [
            (None, AtLeastOnce, Look::First, run(1, true)),
            (None, AtMostOnce, Look::First, Decision::Start),
            (Some(Status::Started), AtLeastOnce, Look::First, run(3, false)),
            (Some(Status::Started), AtMostOnce, Look::First, Decision::Interrupted { attempt: 3 }),
            (Some(Status::Started), AtMostOnce, Look::Started, run(3, false)),
            (Some(Status::Pending), AtLeastOnce, Look::First, Decision::Pending(Some(1_000))),
            (Some(Status::Pending), AtMostOnce, Look::First, Decision::Pending(Some(1_000))),
            (Some(Status::Ready), AtLeastOnce, Look::First, run(3, true)),
            (Some(Status::Ready), AtMostOnce, Look::First, Decision::Start),
            (Some(Status::Succeeded), AtLeastOnce, Look::First, Decision::Value(Some(&result))),
            (Some(Status::Succeeded), AtMostOnce, Look::Started, Decision::Value(Some(&result))),
            (Some(Status::Failed), AtLeastOnce, Look::First, failure(Status::Failed)),
            (Some(Status::Failed), AtMostOnce, Look::First, failure(Status::Failed)),
            (Some(Status::Cancelled), AtLeastOnce, Look::First, failure(Status::Cancelled)),
            (Some(Status::TimedOut), AtMostOnce, Look::First, failure(Status::TimedOut)),
            (Some(Status::Stopped), AtLeastOnce, Look::First, failure(Status::Stopped)),
        ];
        for (status, semantics, look, expected) in table {
            let operation = status.map(|status| recorded(Kind::Step, status));
            let decision = begin(operation.as_ref(), semantics, look);
            assert_eq!(decision, expected, "{status:?} {semantics:?} {look:?}");
        }
    }
}
