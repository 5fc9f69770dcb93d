//! The schedule of a map or parallel: which branch runs next, and what the caller waits for.
//!
//! Branches are admitted in index order; at most `limit` are in flight. One that suspends keeps its slot. Threads play
//! no part here: whoever has a hand free asks [`Batch::next`].

use std::collections::{BTreeSet, VecDeque};

use crate::completion::{Policy, Reason, Verdict};
use crate::operation::Millis;

/// How long after a moment that has come without news the service is asked again: at first, and at most.
const PAUSE: (Millis, Millis) = (50, 1_000);

/// How far one branch has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Branch {
    /// Not admitted yet.
    Waiting,
    /// Admitted, and at work.
    Running,
    /// Admitted, and suspended until a moment or until news.
    Suspended(Option<Millis>),
    Succeeded,
    Failed,
}

/// What a worker is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Run this branch. `since` is set when it was suspended until that moment: news of it must be newer.
    Run { index: usize, since: Option<Millis> },
    /// Nothing now; something may be due at the moment given, or when another worker reports.
    Wait(Option<Millis>),
    /// Every admitted branch is suspended and none may start.
    Suspend(Option<Millis>),
    /// The batch is done.
    Done(Reason),
    /// A branch must not become an item: its error is to be raised, now that the others have finished.
    Abort,
}

/// The schedule.
#[derive(Debug)]
pub struct Batch {
    policy: Policy,
    limit: usize,
    branches: Vec<Branch>,
    pauses: Vec<Millis>,
    admitted: usize,
    running: usize,
    succeeded: usize,
    failed: usize,
    sleeping: BTreeSet<(Millis, usize)>,
    resumable: VecDeque<(usize, Millis)>,
    verdict: Verdict,
    aborted: bool,
    done: Option<Reason>,
}

impl Batch {
    /// A batch of which nothing has started; done already if the policy says so.
    pub fn new(policy: Policy, limit: Option<usize>) -> Self {
        let mut batch = Self {
            policy,
            limit: limit.unwrap_or(usize::MAX).max(1),
            branches: vec![Branch::Waiting; policy.total],
            pauses: Vec::new(),
            admitted: 0,
            running: 0,
            succeeded: 0,
            failed: 0,
            sleeping: BTreeSet::new(),
            resumable: VecDeque::new(),
            verdict: Verdict::Continue,
            aborted: false,
            done: None,
        };
        if !policy.custom {
            batch.judge();
        }
        batch
    }

    /// What to do next, given the time.
    pub fn next(&mut self, now: Millis) -> Next {
        if self.aborted {
            return if self.running == 0 { Next::Abort } else { Next::Wait(None) };
        }
        if let Some(reason) = self.done {
            return Next::Done(reason);
        }
        self.wake(now);
        if let Some((index, since)) = self.resumable.pop_front() {
            self.pauses.resize(self.policy.total, 0);
            self.pauses[index] = self.pauses[index].max(PAUSE.0);
            self.enter(index);
            return Next::Run { index, since: Some(since) };
        }
        let in_flight = self.admitted - self.succeeded - self.failed;
        if self.admitted < self.policy.total && in_flight < self.limit {
            let index = self.admitted;
            self.admitted += 1;
            self.enter(index);
            return Next::Run { index, since: None };
        }
        let due = self.due();
        if self.running == 0 { Next::Suspend(due) } else { Next::Wait(due) }
    }

    /// Whether another worker would find something to do.
    pub fn has_more(&self, now: Millis) -> bool {
        let in_flight = self.admitted - self.succeeded - self.failed;
        !self.aborted
            && self.done.is_none()
            && (!self.resumable.is_empty()
                || self.sleeping.first().is_some_and(|&(due, _)| due <= now)
                || self.admitted < self.policy.total && in_flight < self.limit)
    }

    /// When the first of the branches suspended until a moment is due.
    pub fn due(&self) -> Option<Millis> {
        self.sleeping.first().map(|&(due, _)| due)
    }

    /// A branch returned or raised. A custom batch is judged only once the predicate has been asked ([`Batch::decide`]).
    pub fn finish(&mut self, index: usize, succeeded: bool) {
        self.leave(index, if succeeded { Branch::Succeeded } else { Branch::Failed });
        if succeeded {
            self.succeeded += 1;
        } else {
            self.failed += 1;
        }
        if !self.policy.custom {
            self.judge();
        }
    }

    /// A branch suspended. When the moment has come already and brought no news, it is tried again after a pause.
    pub fn suspend(&mut self, index: usize, until: Option<Millis>, now: Millis) {
        self.leave(index, Branch::Suspended(until));
        let Some(until) = until else { return };
        let due = if until > now {
            until
        } else {
            // Not asked for yet, the news may be there: no pause. Asked for in vain, ever longer ones.
            self.pauses.get_mut(index).map_or(now, |pause| {
                let due = now + *pause;
                *pause = (*pause * 2).min(PAUSE.1);
                due
            })
        };
        self.sleeping.insert((due, index));
    }

    /// A branch ended with something that is neither an item nor a suspension: nothing new starts.
    pub fn abort(&mut self, index: usize) {
        self.leave(index, Branch::Failed);
        self.aborted = true;
    }

    /// The predicate itself failed: nothing new starts.
    pub fn stop(&mut self) {
        self.aborted = true;
    }

    /// What the user's predicate said of the state the batch is in now.
    pub fn decide(&mut self, verdict: Verdict) {
        if self.done.is_none() {
            self.verdict = verdict;
            self.judge();
        }
    }

    /// How many branches have been admitted: the indexes below it are the items of the result.
    pub fn admitted(&self) -> usize {
        self.admitted
    }

    /// Successes and failures so far.
    pub fn counts(&self) -> (usize, usize) {
        (self.succeeded, self.failed)
    }

    /// How far each branch has come.
    pub fn branches(&self) -> &[Branch] {
        &self.branches
    }

    /// Why the batch is done, if it is.
    pub fn reason(&self) -> Option<Reason> {
        self.done
    }

    fn judge(&mut self) {
        if self.done.is_none() {
            self.done = self.policy.reason(self.succeeded, self.failed, self.verdict);
        }
    }

    fn wake(&mut self, now: Millis) {
        while let Some(&(due, index)) = self.sleeping.first() {
            // Alone, nothing is waited for: the whole batch suspends instead.
            if due > now || self.running == 0 {
                break;
            }
            self.sleeping.pop_first();
            self.resumable.push_back((index, due));
        }
    }

    fn enter(&mut self, index: usize) {
        self.branches[index] = Branch::Running;
        self.running += 1;
    }

    fn leave(&mut self, index: usize, state: Branch) {
        debug_assert_eq!(self.branches[index], Branch::Running, "branch {index} reports twice");
        self.branches[index] = state;
        self.running -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy(total: usize) -> Policy {
        Policy { total, min_successful: None, tolerated_failures: None, tolerated_percentage: None, custom: false }
    }

    fn start(index: usize) -> Next {
        Next::Run { index, since: None }
    }

    #[test]
    fn admits_in_order_up_to_the_limit() {
        let mut batch = Batch::new(policy(3), Some(2));
        assert_eq!(batch.next(0), start(0));
        assert!(batch.has_more(0));
        assert_eq!(batch.next(0), start(1));
        assert!(!batch.has_more(0));
        assert_eq!(batch.next(0), Next::Wait(None));
        batch.finish(1, true);
        assert_eq!(batch.next(0), start(2));
        batch.finish(0, true);
        batch.finish(2, true);
        assert_eq!(batch.next(0), Next::Done(Reason::AllCompleted));
    }

    #[test]
    fn a_suspended_branch_keeps_its_slot() {
        let mut batch = Batch::new(policy(3), Some(1));
        assert_eq!(batch.next(0), start(0));
        batch.suspend(0, None, 0);
        assert_eq!(batch.next(0), Next::Suspend(None));
        assert_eq!(batch.admitted(), 1);
    }

    #[test]
    fn suspends_until_the_earliest_moment() {
        let mut batch = Batch::new(policy(3), None);
        for index in 0..3 {
            assert_eq!(batch.next(0), start(index));
        }
        batch.suspend(0, Some(500), 0);
        batch.suspend(1, None, 0);
        assert_eq!(batch.next(0), Next::Wait(Some(500)));
        batch.suspend(2, Some(300), 0);
        assert_eq!(batch.next(400), Next::Suspend(Some(300)));
    }

    #[test]
    fn a_due_branch_resumes_while_a_sibling_runs() {
        let mut batch = Batch::new(policy(2), None);
        batch.next(0);
        batch.next(0);
        batch.suspend(0, Some(100), 0);
        assert_eq!(batch.next(99), Next::Wait(Some(100)));
        assert!(batch.has_more(100));
        assert_eq!(batch.next(100), Next::Run { index: 0, since: Some(100) });
    }

    #[test]
    fn a_moment_without_news_is_tried_again_ever_more_slowly() {
        let mut batch = Batch::new(policy(2), None);
        batch.next(0);
        batch.next(0);
        batch.suspend(0, Some(100), 0);
        let mut now = 100;
        for pause in [50, 100, 200, 400, 800, 1_000, 1_000] {
            assert!(matches!(batch.next(now), Next::Run { index: 0, .. }));
            batch.suspend(0, Some(100), now);
            now += pause;
            assert_eq!(batch.next(now - 1), Next::Wait(Some(now)));
        }
    }

    #[test]
    fn a_moment_that_came_before_the_suspension_is_asked_about_at_once() {
        let mut batch = Batch::new(policy(2), None);
        batch.next(0);
        batch.next(0);
        batch.suspend(0, Some(100), 120);
        assert!(matches!(batch.next(120), Next::Run { index: 0, .. }));
        batch.suspend(0, Some(100), 120);
        assert_eq!(batch.next(120), Next::Wait(Some(170)));
    }

    #[test]
    fn an_abort_lets_the_others_finish() {
        let mut batch = Batch::new(policy(3), None);
        batch.next(0);
        batch.next(0);
        batch.abort(0);
        assert_eq!(batch.next(0), Next::Wait(None));
        batch.suspend(1, Some(10), 0);
        assert_eq!(batch.next(0), Next::Abort);
    }

    #[test]
    fn the_first_reason_stands() {
        let mut batch = Batch::new(policy(3), None);
        batch.next(0);
        batch.next(0);
        batch.finish(0, false);
        assert_eq!(batch.next(0), Next::Done(Reason::FailureToleranceExceeded));
        batch.finish(1, true);
        assert_eq!(batch.reason(), Some(Reason::FailureToleranceExceeded));
        assert_eq!(batch.branches(), [Branch::Failed, Branch::Succeeded, Branch::Waiting]);
    }

    #[test]
    fn a_custom_batch_waits_for_its_predicate() {
        let mut batch = Batch::new(Policy { custom: true, ..policy(0) }, None);
        assert_eq!(batch.reason(), None);
        batch.decide(Verdict::Continue);
        assert_eq!(batch.next(0), Next::Done(Reason::AllCompleted));
        let mut batch = Batch::new(Policy { custom: true, ..policy(2) }, None);
        batch.decide(Verdict::Continue);
        batch.next(0);
        batch.finish(0, false);
        batch.decide(Verdict::Failed);
        assert_eq!(batch.next(0), Next::Done(Reason::CustomFailed));
    }

    #[derive(Debug, Clone, Copy)]
    enum Fate {
        Succeed,
        Fail,
        Suspend(Option<Millis>),
    }

    fn fate() -> impl Strategy<Value = Fate> {
        prop_oneof![
            5 => Just(Fate::Succeed),
            2 => Just(Fate::Fail),
            1 => proptest::option::of(0..1_000_i64).prop_map(Fate::Suspend),
        ]
    }

    proptest! {
        #[test]
        fn a_schedule_ends_and_respects_its_limit(
            total in 0..40_usize,
            limit in proptest::option::of(1..8_usize),
            min_successful in proptest::option::of(0..40_usize),
            fates in proptest::collection::vec(fate(), 400),
            picks in proptest::collection::vec(any::<prop::sample::Index>(), 400),
        ) {
            let mut batch = Batch::new(Policy { min_successful, ..policy(total) }, limit);
            let (mut running, mut now, mut order) = (Vec::new(), 0, Vec::new());
            for (fate, pick) in fates.into_iter().zip(picks) {
                now += 10;
                match batch.next(now) {
                    Next::Run { index, since } => {
                        if since.is_none() {
                            order.push(index);
                        }
                        running.push(index);
                        let open = batch.branches().iter().filter(|branch| {
                            matches!(branch, Branch::Running | Branch::Suspended(_))
                        });
                        prop_assert!(open.count() <= limit.unwrap_or(usize::MAX));
                    }
                    Next::Wait(_) => prop_assert!(!running.is_empty()),
                    Next::Suspend(_) => {
                        prop_assert!(running.is_empty());
                        break;
                    }
                    Next::Done(_) => break,
                    Next::Abort => prop_assert!(false, "nothing aborted"),
                }
                if !running.is_empty() && pick.index(2) == 0 {
                    let index = running.swap_remove(pick.index(running.len()));
                    match fate {
                        Fate::Succeed => batch.finish(index, true),
                        Fate::Fail => batch.finish(index, false),
                        Fate::Suspend(until) => batch.suspend(index, until, now),
                    }
                }
            }
            prop_assert_eq!(&order, &(0..order.len()).collect::<Vec<_>>());
            let (succeeded, failed) = batch.counts();
            let ended = |state| batch.branches().iter().filter(|branch| **branch == state).count();
            prop_assert_eq!(succeeded, ended(Branch::Succeeded));
            prop_assert_eq!(failed, ended(Branch::Failed));
        }
    }
}
