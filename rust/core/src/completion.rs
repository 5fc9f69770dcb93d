//! When a map or parallel is done, and why.

/// Why a batch ended, in the order in which the reasons are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    FailureToleranceExceeded,
    CustomSucceeded,
    CustomFailed,
    AllCompleted,
    MinSuccessfulReached,
}

impl Reason {
    /// The reason as the wire spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FailureToleranceExceeded => "FAILURE_TOLERANCE_EXCEEDED",
            Self::CustomSucceeded => "CUSTOM_COMPLETION_SUCCEEDED",
            Self::CustomFailed => "CUSTOM_COMPLETION_FAILED",
            Self::AllCompleted => "ALL_COMPLETED",
            Self::MinSuccessfulReached => "MIN_SUCCESSFUL_REACHED",
        }
    }
}

/// What the user's own predicate said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Continue,
    Succeeded,
    Failed,
}

/// The completion criteria of a batch of `total` branches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    pub total: usize,
    pub min_successful: Option<usize>,
    pub tolerated_failures: Option<usize>,
    /// Percent of `total`, 0 to 100.
    pub tolerated_percentage: Option<f64>,
    /// Whether the user's predicate decides; the thresholds are then ignored.
    pub custom: bool,
}

impl Policy {
    /// Why a batch with so many successes and failures is done, if it is.
    pub fn reason(&self, succeeded: usize, failed: usize, verdict: Verdict) -> Option<Reason> {
        if !self.custom && self.is_tolerance_exceeded(failed) {
            return Some(Reason::FailureToleranceExceeded);
        }
        match verdict {
            Verdict::Succeeded => return Some(Reason::CustomSucceeded),
            Verdict::Failed => return Some(Reason::CustomFailed),
            Verdict::Continue => {}
        }
        if succeeded + failed >= self.total {
            return Some(Reason::AllCompleted);
        }
        let enough = !self.custom && self.min_successful.is_some_and(|enough| succeeded >= enough);
        enough.then_some(Reason::MinSuccessfulReached)
    }

    fn is_tolerance_exceeded(&self, failed: usize) -> bool {
        if self.min_successful.is_none() && self.tolerated_failures.is_none() && self.tolerated_percentage.is_none() {
            return failed > 0;
        }
        let by_count = self.tolerated_failures.is_some_and(|tolerated| failed > tolerated);
        #[expect(clippy::cast_precision_loss, reason = "a batch has far fewer branches than a double has integers")]
        let by_share = self.total > 0
            && self.tolerated_percentage.is_some_and(|share| failed as f64 / self.total as f64 * 100.0 > share);
        by_count || by_share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OPEN: Policy =
        Policy { total: 10, min_successful: None, tolerated_failures: None, tolerated_percentage: None, custom: false };

    #[test]
    fn one_failure_is_too_many_without_criteria() {
        assert_eq!(OPEN.reason(9, 0, Verdict::Continue), None);
        assert_eq!(OPEN.reason(0, 1, Verdict::Continue), Some(Reason::FailureToleranceExceeded));
        assert_eq!(OPEN.reason(10, 0, Verdict::Continue), Some(Reason::AllCompleted));
        assert_eq!(OPEN.reason(9, 1, Verdict::Continue), Some(Reason::FailureToleranceExceeded));
    }

    #[test]
    fn any_other_criterion_lifts_the_failing_fast() {
        let policy = Policy { min_successful: Some(2), ..OPEN };
        assert_eq!(policy.reason(1, 5, Verdict::Continue), None);
        assert_eq!(policy.reason(2, 5, Verdict::Continue), Some(Reason::MinSuccessfulReached));
        assert_eq!(policy.reason(1, 9, Verdict::Continue), Some(Reason::AllCompleted));
        assert_eq!(policy.reason(5, 5, Verdict::Continue), Some(Reason::AllCompleted));
    }

    #[test]
    fn tolerances_are_exceeded_strictly() {
        let count = Policy { tolerated_failures: Some(2), ..OPEN };
        assert_eq!(count.reason(0, 2, Verdict::Continue), None);
        assert_eq!(count.reason(0, 3, Verdict::Continue), Some(Reason::FailureToleranceExceeded));
        let share = Policy { tolerated_percentage: Some(30.0), ..OPEN };
        assert_eq!(share.reason(0, 3, Verdict::Continue), None);
        assert_eq!(share.reason(0, 4, Verdict::Continue), Some(Reason::FailureToleranceExceeded));
    }

    #[test]
    fn the_predicate_alone_ends_a_custom_batch_early() {
        let policy = Policy { custom: true, ..OPEN };
        assert_eq!(policy.reason(0, 5, Verdict::Continue), None);
        assert_eq!(policy.reason(0, 0, Verdict::Succeeded), Some(Reason::CustomSucceeded));
        assert_eq!(policy.reason(10, 0, Verdict::Failed), Some(Reason::CustomFailed));
        assert_eq!(policy.reason(5, 5, Verdict::Continue), Some(Reason::AllCompleted));
    }

    #[test]
    fn nothing_to_do_is_done() {
        let policy = Policy { total: 0, tolerated_percentage: Some(0.0), ..OPEN };
        assert_eq!(policy.reason(0, 0, Verdict::Continue), Some(Reason::AllCompleted));
    }

    proptest! {
        #[test]
        fn a_batch_with_every_branch_finished_is_done(
            total in 0..50_usize, share in 0.0..=1.0,
            min_successful in proptest::option::of(0..50_usize),
            tolerated_failures in proptest::option::of(0..50_usize),
            tolerated_percentage in proptest::option::of(0.0..=100.0),
            custom: bool,
        ) {
            let policy = Policy { total, min_successful, tolerated_failures, tolerated_percentage, custom };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "small")]
            let failed = (total as f64 * share) as usize;
            prop_assert!(policy.reason(total - failed, failed, Verdict::Continue).is_some());
        }
    }
}
