//! The schedule of a map or parallel: who is admitted, which branch runs next, and what the caller waits for.
//!
//! Admission is a matter of the record and of the policy, never of threads: at each moment the first
//! `min(total, limit + ended)` branches are admitted, and after each end the policy judges before anybody else is. A branch
//! that suspends keeps its slot. Whoever has a hand free asks [`Batch::next`] what to do with it.
//!
//! A batch that goes on with a record settles first: what has ended is counted, in index order and with admission going
//! on as if it ended now, and then the policy judges once, before any branch goes on. Of branches that leave a record, it
//! says which have ended. Those that leave none are tried: each runs up to its end, its suspension, or the first
//! operation that is new ([`Batch::hold`]), where it is held until all have been counted. One that came to its end after
//! an operation that the outside has completed has, as far as the record goes, only now ended ([`Batch::finish_late`]): it
//! counts afterwards, one by one in the order in which the outside acted. Whom such an end lets in is tried, too, before
//! the next of them counts: it may have come to an end of its own, without a trace, before the outside acted again. Where
//! the record has more branches than the limit allows, somebody had ended by then: so many of those count at once
//! ([`Batch::admit_more`]).
//!
//! Of outcomes that are recorded, the order of the record counts: with the one that satisfies the policy the batch is
//! decided, and no further one is recorded ([`Batch::is_decided`]). So the result is what the record says, whoever reports
//! first, and the same if the sandbox dies before it is recorded. (What a predicate will say is not known so early: there
//! the result has all outcomes that are queued when it ends the batch.) What branches come to after that counts no more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use thiserror::Error;

use crate::completion::{Policy, Reason, Verdict};
use crate::operation::{Millis, Status};

/// How long after a moment that has come without news the service is asked again: at first, and at most.
const PAUSE: (Millis, Millis) = (50, 1_000);

/// How far one branch has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Branch {
    /// Not admitted yet.
    Waiting,
    /// Admitted; nobody has come to it yet.
    Ready,
    /// At work.
    Running,
    /// At work no more: its outcome is on its way to the record.
    Ending {
        well: bool,
    },
    /// At work, but held before its first new operation.
    Held,
    /// Held, and unwinding, since its hand is needed for the others.
    Yielding,
    /// Its report is in, and to be counted once those before it are.
    Reported,
    /// Suspended until a moment or until news; or left behind by a batch that is done.
    Suspended(Option<Millis>),
    Succeeded,
    Failed,
}

impl Branch {
    /// The status that a result has for it, as the wire spells it; none before it is admitted.
    pub const fn status(self) -> Option<Status> {
        match self {
            Self::Waiting => None,
            Self::Succeeded => Some(Status::Succeeded),
            Self::Failed => Some(Status::Failed),
            _ => Some(Status::Started),
        }
    }

    /// Whether a hand is at it, which will report.
    const fn is_at_work(self) -> bool {
        matches!(self, Self::Running | Self::Ending { .. } | Self::Held | Self::Yielding)
    }
}

/// What a worker is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Run this branch. `since` is set when it was suspended: all is to be durable before, and news newer than that moment.
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

/// What a branch that has come to its first new operation is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Go on.
    Pass,
    /// Wait until all others have been counted.
    Wait,
    /// Unwind, as if suspended.
    Yield,
}

/// What a batch knows of its branches when it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// It is new.
    Fresh,
    /// Which branches have ended, by index.
    Ended(Vec<bool>),
    /// Nothing: branches that leave no record must be tried.
    Silent,
}

/// A report from a branch that nobody is at: a mistake of the driver's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("branch {0} reports, but it is not at work: it has reported before, or never began")]
pub struct NotAtWork(pub usize);

/// What one run of a branch came to.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Ended {
        well: bool,
    },
    /// It ended, but only after what the outside has completed at that moment.
    Late {
        well: bool,
        moment: Millis,
    },
    Suspended {
        until: Option<Millis>,
        now: Millis,
    },
    /// It goes on once all have been counted.
    Open,
}

/// The count of what is recorded.
#[derive(Debug)]
struct Settling {
    /// Which branches have ended; none where they are tried.
    ended: Option<Vec<bool>>,
    /// What the branches came to that are not counted yet.
    fates: Vec<Option<Fate>>,
    /// How many branches are counted.
    counted: usize,
    /// Those that go on afterwards and have no hand.
    later: BTreeSet<usize>,
    /// Those that end afterwards, in this order, and whether well.
    late: BTreeMap<(Millis, usize), bool>,
}

/// The schedule.
#[derive(Debug)]
pub struct Batch {
    policy: Policy,
    limit: usize,
    branches: Vec<Branch>,
    pauses: Vec<Millis>,
    admitted: usize,
    ready: VecDeque<usize>,
    running: usize,
    /// Successes and failures on their way to the record.
    ending: (usize, usize),
    succeeded: usize,
    failed: usize,
    sleeping: BTreeSet<(Millis, usize)>,
    /// Suspended branches that are to run again, and the moment that news of them must be newer than.
    resumable: VecDeque<(usize, Millis)>,
    settling: Option<Settling>,
    verdict: Verdict,
    asking: bool,
    aborted: bool,
    /// Whether nobody waits for what still runs.
    at_once: bool,
    done: Option<Reason>,
}

impl Batch {
    /// A batch that has not begun.
    pub fn new(policy: Policy, limit: Option<usize>) -> Self {
        Self {
            policy,
            limit: limit.unwrap_or(usize::MAX).max(1),
            branches: vec![Branch::Waiting; policy.total],
            pauses: Vec::new(),
            admitted: 0,
            ready: VecDeque::new(),
            running: 0,
            ending: (0, 0),
            succeeded: 0,
            failed: 0,
            sleeping: BTreeSet::new(),
            resumable: VecDeque::new(),
            settling: None,
            verdict: Verdict::Continue,
            asking: false,
            aborted: false,
            at_once: false,
            done: None,
        }
    }

    /// Begins: admits the first branches, unless the policy says otherwise.
    pub fn open(&mut self, record: Record) {
        let ended = match record {
            Record::Fresh => None,
            Record::Ended(ended) => Some(Some(ended)),
            Record::Silent => Some(None),
        };
        let fates = vec![None; self.policy.total];
        let (counted, later, late) = (0, BTreeSet::new(), BTreeMap::new());
        self.settling = ended.map(|ended| Settling { ended, fates, counted, later, late });
        self.changed();
    }

    /// What to do next, given the time.
    pub fn next(&mut self, now: Millis) -> Next {
        if self.at_once {
            return Next::Abort;
        }
        if self.aborted {
            return if self.running == 0 { Next::Abort } else { Next::Wait(None) };
        }
        if self.settling.is_none() {
            if let Some(reason) = self.done {
                return if self.ending == (0, 0) { Next::Done(reason) } else { Next::Wait(None) };
            }
            self.wake(now);
            if let Some((index, since)) = self.resumable.pop_front() {
                self.pauses.resize(self.policy.total, 0);
                self.pauses[index] = self.pauses[index].max(PAUSE.0);
                self.enter(index);
                return Next::Run { index, since: Some(since) };
            }
        }
        if self.may_begin()
            && let Some(index) = self.ready.pop_front()
        {
            self.enter(index);
            return Next::Run { index, since: None };
        }
        // While the predicate is asked, the batch may be about to be done.
        if self.settling.is_some() || self.asking {
            return Next::Wait(None);
        }
        let due = self.due();
        if self.running == 0 { Next::Suspend(due) } else { Next::Wait(due) }
    }

    /// Whether another worker would find something to do.
    pub fn has_more(&self, now: Millis) -> bool {
        if self.aborted || self.done.is_some() {
            return false;
        }
        let goes_on = !self.resumable.is_empty() || self.sleeping.first().is_some_and(|&(due, _)| due <= now);
        self.settling.is_none() && goes_on || self.may_begin() && !self.ready.is_empty()
    }

    /// When the first of the branches suspended until a moment is due.
    pub fn due(&self) -> Option<Millis> {
        self.sleeping.first().map(|&(due, _)| due)
    }

    /// The outcome of a branch is queued: it is in the result, whatever ends the batch meanwhile.
    pub fn ending(&mut self, index: usize, well: bool) {
        if let Some(branch @ Branch::Running) = self.branches.get_mut(index) {
            *branch = Branch::Ending { well };
            *self.ending_mut(well) += 1;
        }
    }

    /// Whether the outcomes that are recorded or on their way there satisfy the policy, so that none is to follow.
    pub fn is_decided(&self) -> bool {
        let (succeeded, failed) = (self.succeeded + self.ending.0, self.failed + self.ending.1);
        self.policy.reason(succeeded, failed, self.verdict).is_some()
    }

    /// A branch returned or raised.
    pub fn finish(&mut self, index: usize, succeeded: bool) -> Result<(), NotAtWork> {
        self.report(index, Fate::Ended { well: succeeded })
    }

    /// A branch that was tried returned or raised, after something that the outside has completed at a moment.
    pub fn finish_late(&mut self, index: usize, succeeded: bool, moment: Millis) -> Result<(), NotAtWork> {
        let well = succeeded;
        let is_tried = self.settling.as_ref().is_some_and(|settling| settling.counted <= index);
        self.report(index, if is_tried { Fate::Late { well, moment } } else { Fate::Ended { well } })
    }

    /// A branch suspended. When the moment has come already and brought no news, it is tried again after a pause.
    pub fn suspend(&mut self, index: usize, until: Option<Millis>, now: Millis) -> Result<(), NotAtWork> {
        self.report(index, Fate::Suspended { until, now })
    }

    /// A branch ended with something that is neither an item nor a suspension: see [`Batch::stop`].
    pub fn abort(&mut self, index: usize, at_once: bool) -> Result<(), NotAtWork> {
        self.leave(index)?;
        self.branches[index] = Branch::Suspended(None);
        self.stop(at_once);
        Ok(())
    }

    /// Nothing new starts, unless the batch is done, of which it changes nothing. With `at_once` nobody waits for what
    /// still runs, nor for the result of a batch that is done: it ends with the invocation.
    pub fn stop(&mut self, at_once: bool) {
        self.at_once |= at_once;
        if self.done.is_none() {
            self.aborted = true;
            self.asking = false;
        }
    }

    /// There is news of what a suspended branch waits for: it is to run again.
    pub fn resume(&mut self, index: usize) {
        let goes_on = self.settling.is_none() && !self.aborted && self.done.is_none();
        if goes_on && matches!(self.branches.get(index), Some(Branch::Suspended(_))) {
            self.sleeping.retain(|&(_, other)| other != index);
            // Of its own updates none may be on its way any more, or it would begin the same operations again.
            self.resumable.push_back((index, 0));
        }
    }

    /// A branch that was counted as suspended is at work again, where it stands: its code was kept.
    pub fn keep(&mut self, index: usize) {
        let goes_on = self.settling.is_none() && !self.aborted && self.done.is_none();
        if goes_on && matches!(self.branches.get(index), Some(Branch::Suspended(_))) {
            self.sleeping.retain(|&(_, other)| other != index);
            self.resumable.retain(|&(other, _)| other != index);
            self.enter(index);
        }
    }

    /// A branch that is tried has come to a new operation.
    pub fn hold(&mut self, index: usize) {
        let Some(settling) = &mut self.settling else { return };
        if !self.aborted && self.branches.get(index) == Some(&Branch::Running) {
            self.branches[index] = Branch::Held;
            settling.fates[index] = Some(Fate::Open);
            self.go_on();
        }
    }

    /// What a branch is to do that was held.
    pub fn held(&mut self, index: usize) -> Hold {
        match self.branches.get(index) {
            Some(Branch::Held) if self.aborted => self.give_way(index),
            Some(Branch::Held) => Hold::Wait,
            _ => Hold::Pass,
        }
    }

    /// The hand of a branch that is held is needed for the others: the branch unwinds, and runs again later.
    pub fn give_way(&mut self, index: usize) -> Hold {
        match self.branches.get_mut(index) {
            Some(branch @ Branch::Held) => {
                *branch = Branch::Yielding;
                Hold::Yield
            }
            _ => Hold::Pass,
        }
    }

    /// Whether the predicate is to be asked about the state that the batch is in now.
    pub fn is_asking(&self) -> bool {
        self.asking
    }

    /// What the user's predicate said of the state the batch is in now. Once it has ended the batch, that stands.
    pub fn decide(&mut self, verdict: Verdict) {
        if std::mem::take(&mut self.asking) {
            self.verdict = verdict;
            self.go_on();
        }
    }

    /// Whether what is recorded is still being counted.
    pub fn is_settling(&self) -> bool {
        self.settling.is_some() && !self.aborted
    }

    /// Whether all who were admitted are counted: it is time to [`Batch::settle`], or to [`Batch::admit_more`].
    pub fn is_counted(&self) -> bool {
        let settling = self.settling.as_ref();
        !self.aborted && !self.asking && settling.is_some_and(|settling| settling.counted == self.admitted)
    }

    /// The record has more branches than are admitted. An end let them in: the earliest of those that left no trace
    /// counts as such. Where there is none, one more is admitted, whatever the policy says.
    pub fn admit_more(&mut self) {
        if self.admitted == self.policy.total {
            return;
        }
        if !self.count_late() {
            self.admit();
            self.go_on();
        }
    }

    /// All who were admitted are counted: the policy judges. If it does not end the batch, the earliest of those who end
    /// only now counts, and whoever is let in by that is to be counted first. Without one the count ends: everybody goes on.
    pub fn settle(&mut self) {
        if self.judge().is_none() && self.count_late() {
            return;
        }
        let Some(settling) = self.settling.take() else { return };
        self.ready.extend(settling.later);
        // The batch is done before they end.
        for (_, index) in settling.late.into_keys() {
            self.branches[index] = Branch::Suspended(None);
        }
        for branch in &mut self.branches[..self.admitted] {
            if *branch == Branch::Held {
                *branch = Branch::Running;
            }
        }
        self.go_on();
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

    fn report(&mut self, index: usize, fate: Fate) -> Result<(), NotAtWork> {
        let before = self.leave(index)?;
        let settling = self.settling.as_mut();
        if before == Branch::Yielding && matches!(fate, Fate::Suspended { .. }) {
            self.branches[index] = Branch::Ready;
            match settling {
                Some(settling) => _ = settling.later.insert(index),
                None => self.ready.push_back(index),
            }
        } else if self.done.is_some() {
            if matches!(before, Branch::Ending { .. }) {
                self.count(index, fate);
                self.done = self.judge();
            } else {
                self.branches[index] = Branch::Suspended(None);
            }
        } else if let Some(settling) = settling.filter(|settling| settling.counted <= index) {
            self.branches[index] = Branch::Reported;
            settling.fates[index] = Some(fate);
            self.go_on();
        } else {
            self.count(index, fate);
            self.changed();
        }
        Ok(())
    }

    /// The state of the batch has changed: the predicate is asked, or else the policy judges.
    fn changed(&mut self) {
        if self.aborted || self.done.is_some() {
            return;
        }
        self.asking = self.policy.custom && self.verdict == Verdict::Continue;
        self.go_on();
    }

    fn go_on(&mut self) {
        if self.aborted || self.asking {
            return;
        }
        if self.settling.is_some() {
            return self.count_on();
        }
        if self.done.is_none() {
            self.done = self.judge();
        }
        self.admit_while_open();
    }

    /// Counts the earliest of those who end only now; false if there is none.
    fn count_late(&mut self) -> bool {
        let earliest = self.settling.as_mut().and_then(|settling| settling.late.pop_first());
        let Some(((_, index), well)) = earliest else { return false };
        self.count(index, Fate::Ended { well });
        self.changed();
        true
    }

    /// Counts as many branches as have come to something, in index order.
    fn count_on(&mut self) {
        loop {
            self.admit_while_open();
            let admitted = self.admitted;
            let Some(settling) = self.settling.as_mut().filter(|settling| settling.counted < admitted) else { return };
            let index = settling.counted;
            let Some(fate) = settling.fates[index].take() else { return };
            settling.counted += 1;
            self.count(index, fate);
            if !matches!(fate, Fate::Open | Fate::Late { .. }) {
                self.asking = self.policy.custom && self.verdict == Verdict::Continue;
                if self.asking {
                    return;
                }
            }
        }
    }

    fn count(&mut self, index: usize, fate: Fate) {
        match fate {
            Fate::Ended { well: true } => {
                self.branches[index] = Branch::Succeeded;
                self.succeeded += 1;
            }
            Fate::Ended { well: false } => {
                self.branches[index] = Branch::Failed;
                self.failed += 1;
            }
            Fate::Late { well, moment } => {
                if let Some(settling) = &mut self.settling {
                    settling.late.insert((moment, index), well);
                }
            }
            Fate::Suspended { until, now } => {
                self.branches[index] = Branch::Suspended(until);
                self.sleep(index, until, now);
            }
            Fate::Open => {
                if let Some(settling) = self.settling.as_mut().filter(|_| self.branches[index] == Branch::Ready) {
                    settling.later.insert(index);
                }
            }
        }
    }

    fn sleep(&mut self, index: usize, until: Option<Millis>, now: Millis) {
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

    fn judge(&self) -> Option<Reason> {
        self.policy.reason(self.succeeded, self.failed, self.verdict)
    }

    fn admit_while_open(&mut self) {
        if self.judge().is_none() {
            while self.admitted < self.policy.total && self.in_flight() < self.limit {
                self.admit();
            }
        }
    }

    fn admit(&mut self) {
        let index = self.admitted;
        self.admitted += 1;
        self.branches[index] = Branch::Ready;
        match &mut self.settling {
            Some(Settling { ended: Some(ended), fates, .. }) if !ended[index] => fates[index] = Some(Fate::Open),
            _ => self.ready.push_back(index),
        }
    }

    /// Whether a branch that is ready may begin: more may have been admitted than the limit now allows, by code that had
    /// a higher one.
    fn may_begin(&self) -> bool {
        self.settling.is_some() || self.in_flight() - self.ready.len() < self.limit
    }

    fn in_flight(&self) -> usize {
        self.admitted - self.succeeded - self.failed
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

    fn leave(&mut self, index: usize) -> Result<Branch, NotAtWork> {
        let before = self.branches.get(index).copied().filter(|branch| branch.is_at_work()).ok_or(NotAtWork(index))?;
        self.running -= 1;
        if let Branch::Ending { well } = before {
            *self.ending_mut(well) -= 1;
        }
        Ok(before)
    }

    fn ending_mut(&mut self, well: bool) -> &mut usize {
        if well { &mut self.ending.0 } else { &mut self.ending.1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(total: usize) -> Policy {
        Policy { total, min_successful: None, tolerated_failures: None, tolerated_percentage: None, custom: false }
    }

    fn lenient(total: usize) -> Policy {
        Policy { tolerated_failures: Some(total), ..policy(total) }
    }

    fn custom(total: usize) -> Policy {
        Policy { custom: true, ..policy(total) }
    }

    fn opened(policy: Policy, limit: Option<usize>, record: Record) -> Batch {
        let mut batch = Batch::new(policy, limit);
        batch.open(record);
        batch
    }

    fn fresh(policy: Policy, limit: Option<usize>) -> Batch {
        opened(policy, limit, Record::Fresh)
    }

    fn start(index: usize) -> Next {
        Next::Run { index, since: None }
    }

    /// Takes all that may begin; gives their indexes.
    fn take(batch: &mut Batch) -> Vec<usize> {
        std::iter::from_fn(|| match batch.next(0) {
            Next::Run { index, .. } => Some(index),
            _ => None,
        })
        .collect()
    }

    fn finish(batch: &mut Batch, index: usize, succeeded: bool) {
        batch.finish(index, succeeded).expect("it is at work");
    }

    fn suspend(batch: &mut Batch, index: usize, until: Option<Millis>, now: Millis) {
        batch.suspend(index, until, now).expect("it is at work");
    }

    /// Ends the count, as far as nobody is to be tried nor asked before.
    fn settle(batch: &mut Batch) {
        while batch.is_counted() {
            batch.settle();
        }
    }

    #[test]
    fn admits_in_order_up_to_the_limit_whether_or_not_a_hand_comes() {
        let mut batch = fresh(policy(3), Some(2));
        assert_eq!(batch.admitted(), 2);
        assert_eq!(batch.branches(), [Branch::Ready, Branch::Ready, Branch::Waiting]);
        assert_eq!(batch.next(0), start(0));
        assert!(batch.has_more(0));
        assert_eq!(batch.next(0), start(1));
        assert!(!batch.has_more(0));
        assert_eq!(batch.next(0), Next::Wait(None));
        finish(&mut batch, 1, true);
        assert_eq!(batch.admitted(), 3);
        assert_eq!(batch.next(0), start(2));
        finish(&mut batch, 0, true);
        finish(&mut batch, 2, true);
        assert_eq!(batch.next(0), Next::Done(Reason::AllCompleted));
    }

    #[test]
    fn without_a_limit_all_are_admitted_at_the_start() {
        assert_eq!(fresh(policy(300), None).admitted(), 300);
    }

    #[test]
    fn the_policy_judges_before_anybody_else_is_admitted() {
        let totals = [(300, None, 1, 300), (10, Some(5), 6, 10), (20, Some(5), 2, 6), (20, Some(1), 2, 2)];
        for (total, limit, enough, admitted) in totals {
            let mut batch = fresh(Policy { min_successful: Some(enough), ..policy(total) }, limit);
            while let Next::Run { index, .. } = batch.next(0) {
                finish(&mut batch, index, true);
            }
            assert_eq!((batch.admitted(), batch.counts()), (admitted, (enough, 0)), "{total} {limit:?} {enough}");
        }
    }

    #[test]
    fn a_suspended_branch_keeps_its_slot() {
        let mut batch = fresh(policy(3), Some(1));
        assert_eq!(take(&mut batch), [0]);
        suspend(&mut batch, 0, None, 0);
        assert_eq!(batch.next(0), Next::Suspend(None));
        assert_eq!(batch.admitted(), 1);
    }

    #[test]
    fn suspends_until_the_earliest_moment() {
        let mut batch = fresh(policy(3), None);
        assert_eq!(take(&mut batch), [0, 1, 2]);
        suspend(&mut batch, 0, Some(500), 0);
        suspend(&mut batch, 1, None, 0);
        assert_eq!(batch.next(0), Next::Wait(Some(500)));
        suspend(&mut batch, 2, Some(300), 0);
        assert_eq!(batch.next(400), Next::Suspend(Some(300)));
    }

    #[test]
    fn a_due_branch_resumes_while_a_sibling_runs() {
        let mut batch = fresh(policy(2), None);
        assert_eq!(take(&mut batch), [0, 1]);
        suspend(&mut batch, 0, Some(100), 0);
        assert_eq!(batch.next(99), Next::Wait(Some(100)));
        assert!(batch.has_more(100));
        assert_eq!(batch.next(100), Next::Run { index: 0, since: Some(100) });
    }

    #[test]
    fn a_moment_without_news_is_tried_again_ever_more_slowly() {
        let mut batch = fresh(policy(2), None);
        assert_eq!(take(&mut batch), [0, 1]);
        suspend(&mut batch, 0, Some(100), 0);
        let mut now = 100;
        for pause in [50, 100, 200, 400, 800, 1_000, 1_000] {
            assert!(matches!(batch.next(now), Next::Run { index: 0, .. }));
            suspend(&mut batch, 0, Some(100), now);
            now += pause;
            assert_eq!(batch.next(now - 1), Next::Wait(Some(now)));
        }
    }

    #[test]
    fn a_moment_that_came_before_the_suspension_is_asked_about_at_once() {
        let mut batch = fresh(policy(2), None);
        assert_eq!(take(&mut batch), [0, 1]);
        suspend(&mut batch, 0, Some(100), 120);
        assert!(matches!(batch.next(120), Next::Run { index: 0, .. }));
        suspend(&mut batch, 0, Some(100), 120);
        assert_eq!(batch.next(120), Next::Wait(Some(170)));
    }

    #[test]
    fn an_abort_lets_the_others_finish_and_begins_no_more() {
        let mut batch = fresh(policy(3), None);
        assert_eq!((batch.next(0), batch.next(0)), (start(0), start(1)));
        batch.abort(0, false).expect("it is at work");
        assert_eq!(batch.next(0), Next::Wait(None));
        suspend(&mut batch, 1, Some(10), 0);
        assert_eq!(batch.next(0), Next::Abort);
    }

    #[test]
    fn nobody_waits_after_an_abort_at_once_not_for_a_result_either() {
        for enough in [None, Some(1)] {
            let mut batch = fresh(Policy { min_successful: enough, ..policy(3) }, None);
            assert_eq!(take(&mut batch), [0, 1, 2]);
            finish(&mut batch, 0, true);
            batch.abort(1, true).expect("it is at work");
            assert_eq!((batch.next(0), batch.has_more(0)), (Next::Abort, false));
            batch.stop(false);
            assert_eq!(batch.next(0), Next::Abort);
        }
    }

    #[test]
    fn an_abort_changes_nothing_of_a_batch_that_is_done() {
        let mut batch = fresh(Policy { min_successful: Some(1), ..policy(2) }, None);
        assert_eq!(take(&mut batch), [0, 1]);
        finish(&mut batch, 0, true);
        batch.abort(1, false).expect("it is at work");
        assert_eq!(batch.next(0), Next::Done(Reason::MinSuccessfulReached));
    }

    #[test]
    fn who_ends_after_the_batch_is_no_longer_in_it() {
        let mut batch = fresh(policy(3), None);
        assert_eq!((batch.next(0), batch.next(0)), (start(0), start(1)));
        finish(&mut batch, 0, false);
        assert_eq!(batch.next(0), Next::Done(Reason::FailureToleranceExceeded));
        finish(&mut batch, 1, true);
        assert_eq!(batch.reason(), Some(Reason::FailureToleranceExceeded));
        assert_eq!(batch.branches(), [Branch::Failed, Branch::Suspended(None), Branch::Ready]);
    }

    #[test]
    fn who_is_on_the_way_to_the_record_when_the_batch_ends_is_waited_for() {
        let mut batch = fresh(policy(3), None);
        assert_eq!(take(&mut batch), [0, 1, 2]);
        batch.ending(1, true);
        finish(&mut batch, 0, false);
        assert_eq!(batch.next(0), Next::Wait(None));
        finish(&mut batch, 2, true);
        finish(&mut batch, 1, true);
        assert_eq!(batch.next(0), Next::Done(Reason::FailureToleranceExceeded));
        assert_eq!(batch.branches(), [Branch::Failed, Branch::Succeeded, Branch::Suspended(None)]);
    }

    #[test]
    fn the_reason_is_that_of_the_whole_record_whoever_reports_first() {
        let mut batch = fresh(Policy { min_successful: Some(2), ..policy(3) }, None);
        assert_eq!(take(&mut batch), [0, 1, 2]);
        batch.ending(0, false);
        batch.ending(1, true);
        assert!(!batch.is_decided());
        batch.ending(2, true);
        assert!(batch.is_decided());
        finish(&mut batch, 2, true);
        finish(&mut batch, 1, true);
        assert_eq!(batch.reason(), Some(Reason::MinSuccessfulReached));
        finish(&mut batch, 0, false);
        assert_eq!(batch.next(0), Next::Done(Reason::AllCompleted));
    }

    #[test]
    fn an_outcome_on_its_way_decides_but_admits_nobody() {
        let mut batch = fresh(Policy { min_successful: Some(2), ..policy(20) }, Some(5));
        assert_eq!(take(&mut batch), [0, 1, 2, 3, 4]);
        batch.ending(3, true);
        batch.ending(1, true);
        assert_eq!((batch.is_decided(), batch.admitted(), batch.reason()), (true, 5, None));
        finish(&mut batch, 1, true);
        assert_eq!((batch.admitted(), batch.reason()), (6, None));
        finish(&mut batch, 3, true);
        assert_eq!((batch.admitted(), batch.next(0)), (6, Next::Done(Reason::MinSuccessfulReached)));
    }

    #[test]
    fn nobody_reports_who_is_not_at_work() {
        let mut batch = fresh(lenient(3), Some(2));
        assert_eq!(batch.next(0), start(0));
        finish(&mut batch, 0, true);
        for index in [0, 1, 2, 3] {
            assert_eq!(batch.finish(index, true), Err(NotAtWork(index)));
            assert_eq!(batch.suspend(index, None, 0), Err(NotAtWork(index)));
            assert_eq!(batch.abort(index, false), Err(NotAtWork(index)));
        }
        assert_eq!((batch.counts(), batch.admitted()), ((1, 0), 3));
        assert_eq!(take(&mut batch), [1, 2]);
    }

    #[test]
    fn a_custom_batch_admits_nobody_before_its_predicate_has_spoken() {
        let mut batch = fresh(custom(0), None);
        assert_eq!((batch.is_asking(), batch.reason()), (true, None));
        batch.decide(Verdict::Continue);
        assert_eq!(batch.next(0), Next::Done(Reason::AllCompleted));
        let mut batch = fresh(custom(3), Some(1));
        assert_eq!((batch.is_asking(), batch.admitted()), (true, 0));
        batch.decide(Verdict::Continue);
        assert_eq!((batch.is_asking(), take(&mut batch)), (false, vec![0]));
        finish(&mut batch, 0, false);
        assert_eq!((batch.is_asking(), batch.admitted()), (true, 1));
        batch.decide(Verdict::Failed);
        assert_eq!((batch.next(0), batch.admitted()), (Next::Done(Reason::CustomFailed), 1));
    }

    #[test]
    fn an_answer_that_nobody_asked_for_changes_nothing() {
        let mut batch = fresh(custom(2), None);
        batch.decide(Verdict::Continue);
        batch.decide(Verdict::Succeeded);
        assert_eq!(batch.reason(), None);
    }

    #[test]
    fn what_is_recorded_is_counted_before_anybody_goes_on() {
        let mut batch = opened(policy(4), None, Record::Ended(vec![false, true, true, false]));
        assert_eq!(take(&mut batch), [1, 2]);
        assert_eq!(batch.next(0), Next::Wait(None));
        finish(&mut batch, 2, true);
        assert_eq!(batch.counts(), (0, 0));
        finish(&mut batch, 1, true);
        assert!(batch.is_counted());
        settle(&mut batch);
        assert_eq!((batch.counts(), take(&mut batch)), ((2, 0), vec![0, 3]));
    }

    #[test]
    fn a_record_that_is_enough_ends_the_batch_with_all_of_it() {
        let enough = Policy { min_successful: Some(2), ..policy(20) };
        let mut ended = vec![false; 20];
        ended[1..4].fill(true);
        let mut batch = opened(enough, Some(5), Record::Ended(ended));
        for index in take(&mut batch) {
            finish(&mut batch, index, true);
        }
        // As if they had ended one after another: with the second it was enough.
        assert_eq!((batch.admitted(), batch.counts()), (6, (3, 0)));
        settle(&mut batch);
        assert_eq!(batch.next(0), Next::Done(Reason::MinSuccessfulReached));
    }

    #[test]
    fn a_predicate_watches_the_count_in_index_order() {
        let mut batch = opened(custom(4), Some(2), Record::Ended(vec![true, false, true, true]));
        let mut seen = Vec::new();
        let mut ask = |batch: &mut Batch, verdict| {
            while batch.is_asking() {
                seen.push((batch.admitted(), batch.counts()));
                batch.decide(verdict);
            }
        };
        ask(&mut batch, Verdict::Continue);
        assert_eq!(take(&mut batch), [0]);
        finish(&mut batch, 0, true);
        ask(&mut batch, Verdict::Continue);
        assert_eq!(take(&mut batch), [2]);
        finish(&mut batch, 2, false);
        ask(&mut batch, Verdict::Succeeded);
        assert_eq!(seen, [(0, (0, 0)), (2, (1, 0)), (3, (1, 1))]);
        // What it said stands, and what the record has more is counted all the same.
        assert!(batch.is_counted());
        batch.admit_more();
        assert_eq!(take(&mut batch), [3]);
        finish(&mut batch, 3, true);
        assert!(!batch.is_asking());
        settle(&mut batch);
        assert_eq!((batch.next(0), batch.counts()), (Next::Done(Reason::CustomSucceeded), (2, 1)));
    }

    #[test]
    fn branches_without_a_record_are_tried_and_held_until_all_are_counted() {
        let mut batch = opened(lenient(3), None, Record::Silent);
        assert_eq!(take(&mut batch), [0, 1, 2]);
        batch.hold(0);
        assert_eq!(batch.held(0), Hold::Wait);
        suspend(&mut batch, 1, Some(10), 0);
        finish(&mut batch, 2, true);
        assert!(batch.is_counted());
        settle(&mut batch);
        assert_eq!(batch.held(0), Hold::Pass);
        assert_eq!(batch.branches(), [Branch::Running, Branch::Suspended(Some(10)), Branch::Succeeded]);
        finish(&mut batch, 0, true);
        assert_eq!(batch.next(0), Next::Suspend(Some(10)));
    }

    #[test]
    fn a_held_branch_whose_hand_is_needed_runs_again() {
        let mut batch = opened(lenient(2), None, Record::Silent);
        assert_eq!(batch.next(0), start(0));
        batch.hold(0);
        assert_eq!(batch.give_way(0), Hold::Yield);
        suspend(&mut batch, 0, None, 0);
        assert_eq!(batch.next(0), start(1));
        batch.hold(1);
        assert!(batch.is_counted());
        settle(&mut batch);
        // Too late: it is free to go on.
        assert_eq!(batch.give_way(1), Hold::Pass);
        assert_eq!(batch.next(0), start(0));
        batch.hold(0);
        assert_eq!(batch.held(0), Hold::Pass);
        // One that unwinds while the count ends comes again, too.
        let mut batch = opened(lenient(2), None, Record::Silent);
        assert_eq!(take(&mut batch), [0, 1]);
        batch.hold(0);
        assert_eq!(batch.give_way(0), Hold::Yield);
        batch.hold(1);
        settle(&mut batch);
        suspend(&mut batch, 0, None, 0);
        assert_eq!(batch.next(0), start(0));
    }

    #[test]
    fn who_ends_only_now_counts_after_the_record_one_by_one() {
        let mut batch = opened(Policy { min_successful: Some(2), ..policy(4) }, None, Record::Silent);
        assert_eq!(take(&mut batch), [0, 1, 2, 3]);
        batch.finish_late(0, true, 20).expect("it is at work");
        batch.finish_late(1, true, 10).expect("it is at work");
        batch.finish_late(2, false, 30).expect("it is at work");
        finish(&mut batch, 3, true);
        assert_eq!(batch.counts(), (1, 0));
        settle(&mut batch);
        assert_eq!(batch.next(0), Next::Done(Reason::MinSuccessfulReached));
        let left = Branch::Suspended(None);
        assert_eq!(batch.branches(), [left, Branch::Succeeded, left, Branch::Succeeded]);
        // Once all are counted, they end like all others.
        let mut batch = opened(lenient(2), None, Record::Silent);
        assert_eq!(take(&mut batch), [0, 1]);
        batch.hold(0);
        batch.hold(1);
        settle(&mut batch);
        batch.finish_late(0, true, 10).expect("it is at work");
        assert_eq!(batch.counts(), (1, 0));
    }

    #[test]
    fn who_let_others_in_had_ended_before_them() {
        let enough = Policy { min_successful: Some(1), ..policy(3) };
        // 0 failed after something outside, which let 1 in; 1 has done something, which the record shows.
        let mut batch = opened(enough, Some(1), Record::Silent);
        assert_eq!(take(&mut batch), [0]);
        batch.finish_late(0, false, 20).expect("it is at work");
        assert!(batch.is_counted());
        batch.admit_more();
        assert_eq!((batch.counts(), batch.admitted(), take(&mut batch)), ((0, 1), 2, vec![1]));
        // That it succeeded comes after the failure, whether its end left a trace or not.
        let (mut noticed, mut unnoticed) = (batch, opened(enough, Some(1), Record::Silent));
        finish(&mut noticed, 1, true);
        settle(&mut noticed);
        assert_eq!(noticed.branches(), [Branch::Failed, Branch::Succeeded, Branch::Waiting]);
        assert_eq!(take(&mut unnoticed), [0]);
        unnoticed.finish_late(0, false, Millis::MAX).expect("it is at work");
        unnoticed.admit_more();
        assert_eq!(take(&mut unnoticed), [1]);
        unnoticed.finish_late(1, true, 10).expect("it is at work");
        settle(&mut unnoticed);
        assert_eq!(unnoticed.branches(), noticed.branches());
        assert_eq!(unnoticed.next(0), Next::Done(Reason::MinSuccessfulReached));
    }

    #[test]
    fn whom_an_end_lets_in_comes_before_the_next_end() {
        use Branch::{Failed, Running, Succeeded, Suspended};
        type Does = fn(&mut Batch);
        // 0 ends only now, and then 1; 2, which 0 lets in, does this in between.
        let cases: [(Does, [Branch; 3]); 5] = [
            (|batch| finish(batch, 2, false), [Succeeded, Succeeded, Failed]),
            (|batch| finish(batch, 2, true), [Succeeded, Suspended(None), Succeeded]),
            (|batch| batch.finish_late(2, true, 15).expect("it is at work"), [Succeeded, Suspended(None), Succeeded]),
            (|batch| batch.finish_late(2, true, 25).expect("it is at work"), [Succeeded, Succeeded, Suspended(None)]),
            (|batch| batch.hold(2), [Succeeded, Succeeded, Running]),
        ];
        for (case, (does, expected)) in cases.into_iter().enumerate() {
            let enough = Policy { min_successful: Some(2), ..policy(4) };
            let mut batch = opened(enough, Some(2), Record::Silent);
            assert_eq!(take(&mut batch), [0, 1]);
            batch.finish_late(1, true, 20).expect("it is at work");
            batch.finish_late(0, true, 10).expect("it is at work");
            settle(&mut batch);
            assert_eq!((batch.counts(), batch.is_settling(), take(&mut batch)), ((1, 0), true, vec![2]), "{case}");
            does(&mut batch);
            if batch.branches()[2] == Failed {
                // Its end has let one in, too.
                assert_eq!(take(&mut batch), [3]);
                batch.hold(3);
            }
            settle(&mut batch);
            assert_eq!(batch.branches()[..3], expected, "{case}");
            assert_eq!((batch.is_settling(), batch.reason()), (false, Some(Reason::MinSuccessfulReached)), "{case}");
        }
    }

    #[test]
    fn who_is_held_stays_so_while_ends_are_counted_one_by_one() {
        let mut batch = opened(lenient(4), Some(2), Record::Silent);
        assert_eq!(take(&mut batch), [0, 1]);
        batch.hold(0);
        batch.finish_late(1, true, 10).expect("it is at work");
        settle(&mut batch);
        assert_eq!((batch.held(0), batch.has_more(0)), (Hold::Wait, true));
        // There is no other hand.
        assert_eq!(batch.give_way(0), Hold::Yield);
        suspend(&mut batch, 0, None, 0);
        assert_eq!(batch.next(0), start(2));
        finish(&mut batch, 2, false);
        assert_eq!(batch.next(0), start(3));
        batch.hold(3);
        settle(&mut batch);
        assert_eq!((batch.held(3), batch.next(0), batch.counts()), (Hold::Pass, start(0), (1, 1)));
    }

    #[test]
    fn of_those_who_ended_unnoticed_the_earliest_let_others_in() {
        let mut batch = opened(lenient(5), Some(3), Record::Silent);
        assert_eq!(take(&mut batch), [0, 1, 2]);
        suspend(&mut batch, 0, None, 0);
        batch.finish_late(1, false, 20).expect("it is at work");
        batch.finish_late(2, true, 10).expect("it is at work");
        batch.admit_more();
        assert_eq!((batch.counts(), batch.admitted()), ((1, 0), 4));
        assert_eq!(take(&mut batch), [3]);
        batch.hold(3);
        settle(&mut batch);
        assert_eq!((batch.counts(), batch.admitted()), ((1, 1), 5));
    }

    #[test]
    fn a_predicate_is_asked_about_who_let_others_in() {
        let mut batch = opened(custom(2), Some(1), Record::Silent);
        batch.decide(Verdict::Continue);
        assert_eq!(take(&mut batch), [0]);
        batch.finish_late(0, true, 10).expect("it is at work");
        batch.admit_more();
        assert_eq!((batch.is_asking(), batch.is_counted(), batch.admitted()), (true, false, 1));
        batch.decide(Verdict::Continue);
        assert_eq!((batch.admitted(), take(&mut batch)), (2, vec![1]));
    }

    #[test]
    fn a_predicate_is_asked_about_each_who_ends_only_now() {
        let mut batch = opened(custom(3), None, Record::Silent);
        batch.decide(Verdict::Continue);
        assert_eq!(take(&mut batch), [0, 1, 2]);
        for index in 0..3 {
            batch.finish_late(index, true, 10).expect("it is at work");
        }
        assert!(!batch.is_asking());
        settle(&mut batch);
        assert_eq!((batch.is_asking(), batch.counts(), batch.next(0)), (true, (1, 0), Next::Wait(None)));
        batch.decide(Verdict::Continue);
        settle(&mut batch);
        assert_eq!((batch.is_asking(), batch.counts()), (true, (2, 0)));
        batch.decide(Verdict::Succeeded);
        settle(&mut batch);
        assert_eq!((batch.next(0), batch.counts()), (Next::Done(Reason::CustomSucceeded), (2, 0)));
    }

    #[test]
    fn a_batch_does_not_suspend_while_its_predicate_is_asked() {
        let mut batch = fresh(custom(2), Some(1));
        batch.decide(Verdict::Continue);
        assert_eq!(take(&mut batch), [0]);
        finish(&mut batch, 0, true);
        assert_eq!(batch.next(0), Next::Wait(None));
        batch.decide(Verdict::Continue);
        assert_eq!(batch.next(0), start(1));
    }

    #[test]
    fn an_abort_sends_those_home_who_are_held() {
        let mut batch = opened(lenient(2), None, Record::Silent);
        assert_eq!(take(&mut batch), [0, 1]);
        batch.hold(0);
        batch.abort(1, false).expect("it is at work");
        assert_eq!((batch.is_settling(), batch.held(0)), (false, Hold::Yield));
        suspend(&mut batch, 0, None, 0);
        assert_eq!(batch.next(0), Next::Abort);
    }

    #[test]
    fn a_branch_that_is_kept_goes_on_where_it_stands() {
        let mut batch = opened(lenient(2), None, Record::Silent);
        assert_eq!(take(&mut batch), [0, 1]);
        suspend(&mut batch, 0, Some(5), 0);
        suspend(&mut batch, 1, None, 0);
        batch.keep(0);
        settle(&mut batch);
        assert_eq!(batch.next(9), Next::Suspend(Some(5)));
        batch.keep(0);
        batch.keep(1);
        assert_eq!(batch.next(9), Next::Wait(None));
        finish(&mut batch, 0, true);
        finish(&mut batch, 1, true);
        assert_eq!(batch.next(9), Next::Done(Reason::AllCompleted));
    }

    #[test]
    fn a_held_branch_that_ends_all_the_same_counts() {
        let mut batch = opened(lenient(2), None, Record::Silent);
        assert_eq!(take(&mut batch), [0, 1]);
        batch.hold(0);
        finish(&mut batch, 0, true);
        assert_eq!(batch.counts(), (1, 0));
        finish(&mut batch, 1, true);
        settle(&mut batch);
        assert_eq!(batch.next(0), Next::Done(Reason::AllCompleted));
    }

    #[test]
    fn more_than_the_limit_may_be_admitted_but_no_more_are_begun() {
        let mut batch = opened(lenient(4), Some(1), Record::Ended(vec![false; 4]));
        assert!(batch.is_counted());
        batch.admit_more();
        batch.admit_more();
        settle(&mut batch);
        assert_eq!((batch.admitted(), take(&mut batch)), (3, vec![0]));
        suspend(&mut batch, 0, None, 0);
        assert_eq!(batch.next(0), Next::Suspend(None));
    }
}
