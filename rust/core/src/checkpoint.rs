//! The pending queue: order, coalescing, limits, token, tickets.
//!
//! Updates leave in the order they came in. Whoever must know that an update is durable holds its [`Ticket`] and asks
//! [`Queue::lead`]: one caller at a time leads (takes a batch, calls the service, acknowledges), the others follow.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::commit_delay::CommitDelay;
use crate::id::{IdState, OperationId};
use crate::limits::{MAX_BYTES, MAX_UPDATES};
use crate::operation::{Kind, Payload};
use crate::update::{Action, Subject, Update};

/// The place of an update in the order of all updates of the invocation; durable once the queue has come that far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Ticket(pub u64);

/// When updates leave, and which of them are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checkpointing {
    /// Each in a call of its own, and before the next function is called.
    Eager,
    /// Whatever is queued leaves with the next call.
    #[default]
    Batched,
    /// The same, and what may as well happen again ([`Begun::is_repeatable`]) is not waited for.
    ///
    /// What is durable is the begin of what was queued, in order. So whatever is waited for, or told to the outside, has
    /// all before it on record; and an invocation that dies leaves a record as a batched one does which died earlier.
    ///
    /// [`Begun::is_repeatable`]: crate::call::Begun
    Optimistic,
}

impl Checkpointing {
    /// What a name says.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "EAGER" => Some(Self::Eager),
            "BATCHED" => Some(Self::Batched),
            "OPTIMISTIC" => Some(Self::Optimistic),
            _ => None,
        }
    }
}

/// What is to become of what is queued, before something that may take long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    Nothing,
    /// Somebody is to look after what is queued.
    Watch,
    /// This is to become durable.
    Send(Ticket),
}

/// What a caller who needs its ticket durable is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Nothing: it is durable.
    Done,
    /// Take a batch and send it.
    Lead,
    /// The same, but others are at work and may soon have something to send: worth a wait of so long, or until woken.
    Delay(Duration),
    /// Wait until the leader reports back, and ask again.
    Follow,
}

/// A turn with the service: whoever leads sends the batch, and gives the turn back with the answer, or without one. It owns
/// the batch, so that none is lost: of a turn that is dropped, nothing is known to be sent, and the queue must fail.
#[derive(Debug)]
#[must_use]
pub struct Turn<P> {
    /// Updates that leave in one call.
    pub batch: Vec<Update<P>>,
    /// How many calls were answered before this one. A call that is repeated keeps its number.
    pub number: u64,
}

/// What whoever looks after updates without a waiter is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// Look again, after another linger.
    Rest,
    /// See to it that this ticket becomes durable: something has lain since the last look.
    Send(Ticket),
    /// Go: there is nothing left to look after, or it is forbidden by now.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watched {
    No,
    /// And this was the latest ticket at the last look.
    Yes(Ticket),
    Never,
}

#[derive(Debug)]
struct Pending<P> {
    update: Update<P>,
    bytes: usize,
}

/// What waits to be sent, and who waits for it (`W`: whatever the driver wakes a caller with).
#[derive(Debug)]
pub struct Queue<P, W> {
    checkpointing: Checkpointing,
    pending: VecDeque<Pending<P>>,
    /// How many bytes that is.
    bytes: usize,
    /// The latest update whose outcome was handed on before it is durable.
    handed_on: u64,
    /// The batch of a turn that was given back without an answer: the next call is the same.
    given_back: Option<Vec<Update<P>>>,
    issued: u64,
    durable: u64,
    leading: bool,
    token: Option<P>,
    waiters: Vec<(Ticket, W)>,
    /// How many callers are at work: the handler and the hands of its batches, less those who wait for the queue.
    active: usize,
    delay: CommitDelay,
    /// A leader that waits for the others.
    delayed: Option<W>,
    answered: u64,
    watched: Watched,
}

impl<P: Payload, W> Queue<P, W> {
    /// An empty queue; `token` goes with the first call.
    pub fn new(token: P) -> Self {
        Self {
            checkpointing: Checkpointing::default(),
            pending: VecDeque::new(),
            bytes: 0,
            handed_on: 0,
            given_back: None,
            issued: 0,
            durable: 0,
            leading: false,
            token: Some(token),
            waiters: Vec::new(),
            active: 1,
            delay: CommitDelay::default(),
            delayed: None,
            answered: 0,
            watched: Watched::No,
        }
    }

    /// Appends an update.
    pub fn push(&mut self, update: Update<P>) -> Ticket {
        let bytes = update.json_len();
        self.pending.push_back(Pending { update, bytes });
        self.bytes += bytes;
        self.issued += 1;
        Ticket(self.issued)
    }

    /// Sets when updates leave, before there are any.
    pub fn set_checkpointing(&mut self, checkpointing: Checkpointing) {
        self.checkpointing = checkpointing;
    }

    /// When updates leave.
    pub const fn checkpointing(&self) -> Checkpointing {
        self.checkpointing
    }

    /// Appends an update that may as well happen again; gives what is waited for by whoever goes on with its outcome. That
    /// is nothing if updates leave late, unless so many wait that they fill a batch: then the first of them.
    pub(crate) fn push_repeatable(&mut self, update: Update<P>) -> Ticket {
        let ticket = self.push(update);
        if self.checkpointing != Checkpointing::Optimistic {
            return ticket;
        }
        self.handed_on = ticket.0;
        let is_full = self.pending.len() >= MAX_UPDATES || self.bytes > MAX_BYTES;
        self.oldest().filter(|_| is_full).unwrap_or_default()
    }

    /// Whether outcomes were handed on that are not durable yet.
    pub fn owes(&self) -> bool {
        self.handed_on > self.durable
    }

    /// The ticket that is to be durable before anybody outside is told how the invocation ends; none if that is so.
    ///
    /// Who sends it may have been given up. What nobody goes on from is not worth waiting for that; what was handed on is.
    pub fn outstanding(&self) -> Option<Ticket> {
        let handed_on = self.owes().then_some(Ticket(self.handed_on));
        self.oldest().map(|_| self.latest()).or(handed_on)
    }

    /// What is due before a function is called, or after an outcome was handed on: the next call may be far away.
    pub fn due(&self) -> Due {
        match self.checkpointing {
            Checkpointing::Eager if self.durable < self.issued => Due::Send(self.latest()),
            Checkpointing::Eager => Due::Nothing,
            _ if self.is_unwatched() => Due::Watch,
            _ => Due::Nothing,
        }
    }

    /// How many updates leave in one call at most.
    const fn most(&self) -> usize {
        match self.checkpointing {
            Checkpointing::Eager => 1,
            _ => MAX_UPDATES,
        }
    }

    /// Whether nothing waits to be sent.
    pub fn is_empty(&self) -> bool {
        self.oldest().is_none()
    }

    /// The ticket of the latest update.
    pub fn latest(&self) -> Ticket {
        Ticket(self.issued)
    }

    /// The ticket of the update that has waited longest, and that nobody is sending.
    pub fn oldest(&self) -> Option<Ticket> {
        let given_back = if self.leading { 0 } else { self.given_back.as_ref().map_or(0, Vec::len) };
        let waiting = (self.pending.len() + given_back) as u64;
        (waiting > 0).then(|| Ticket(self.issued - waiting + 1))
    }

    /// Whether the update with `ticket` is durable.
    pub fn is_durable(&self, ticket: Ticket) -> bool {
        ticket <= Ticket(self.durable)
    }

    /// The token of the next call; none once the service has revoked it.
    pub fn token(&self) -> Option<&P> {
        self.token.as_ref()
    }

    /// What the holder of `ticket` is to do; makes it the leader when nobody leads. Without a ticket it wants news.
    pub fn lead(&mut self, ticket: Option<Ticket>) -> Role {
        if ticket.is_some_and(|ticket| self.is_durable(ticket)) {
            return Role::Done;
        }
        self.active = self.active.saturating_sub(1);
        if self.leading {
            return Role::Follow;
        }
        self.leading = true;
        self.delay().map_or(Role::Lead, Role::Delay)
    }

    /// Makes a caller who needs something durable the leader if it can send at once, and tells whether it did.
    pub fn lead_at_once(&mut self) -> bool {
        let active = self.active;
        self.active = active.saturating_sub(1);
        if self.leading || self.delay().is_some() {
            self.active = active;
            return false;
        }
        self.leading = true;
        true
    }

    /// How long the next call waits for those at work, if it would have more to carry then.
    fn delay(&mut self) -> Option<Duration> {
        let would_gain = self.active > 0 && self.pending.len() < self.most();
        if would_gain { self.delay.due() } else { None }
    }

    /// A call took so long.
    pub fn called(&mut self, took: Duration) {
        self.delay.called(took);
    }

    /// The leader has waited: until it was woken, or in vain.
    pub fn waited(&mut self, was_woken: bool) {
        self.delay.waited(was_woken);
    }

    /// One more is at work.
    pub fn enter(&mut self) {
        self.active += 1;
    }

    /// One less is at work; gives the leader to wake, if it waits for nobody now.
    pub fn leave(&mut self) -> Option<W> {
        self.active = self.active.saturating_sub(1);
        self.assembled()
    }

    /// Registers the leader as waiting for the others.
    pub fn wait(&mut self, leader: W) {
        self.delayed = Some(leader);
    }

    /// The leader to wake, if it waits for nobody now.
    pub fn assembled(&mut self) -> Option<W> {
        let complete = self.active == 0 || self.pending.len() >= self.most();
        if complete { self.delayed.take() } else { None }
    }

    /// Registers a follower.
    pub fn follow(&mut self, ticket: Ticket, waiter: W) {
        self.waiters.push((ticket, waiter));
    }

    /// Those to wake: first one to lead next, so that the line is busy again before the others work on, then all whose
    /// ticket is durable.
    pub fn release(&mut self) -> Vec<W> {
        let durable = self.durable;
        let waiters = std::mem::take(&mut self.waiters).into_iter();
        let (released, waiting): (Vec<_>, Vec<_>) = waiters.partition(|(ticket, _)| ticket.0 <= durable);
        let mut waiting = waiting.into_iter();
        let leader = waiting.next();
        self.waiters.extend(waiting);
        let woken: Vec<W> = leader.into_iter().chain(released).map(|(_, waiter)| waiter).collect();
        self.active += woken.len();
        woken
    }

    /// Takes back a follower, if it still waits: it will not ask again, so that it must not be woken to lead.
    pub fn unfollow(&mut self, is_it: impl Fn(&W) -> bool) -> Option<W> {
        let place = self.waiters.iter().position(|(_, waiter)| is_it(waiter))?;
        self.active += 1;
        Some(self.waiters.remove(place).1)
    }

    /// The next updates to send: those of a turn that was given back without an answer, else what is queued.
    pub fn take_turn(&mut self) -> Turn<P> {
        self.delayed = None;
        let batch = self.given_back.take().unwrap_or_else(|| self.next_batch());
        Turn { batch, number: self.answered }
    }

    fn next_batch(&mut self) -> Vec<Update<P>> {
        let mut batch: Vec<Update<P>> = Vec::new();
        let (mut bytes, mut subjects) = (2, Subjects::default());
        while let Some(next) = self.pending.front() {
            let with_next = bytes + next.bytes + if batch.is_empty() { 0 } else { 2 };
            if !batch.is_empty()
                && (batch.len() == self.most() || with_next > MAX_BYTES || !subjects.may_join(&batch, &next.update))
            {
                break;
            }
            bytes = with_next;
            if let Some(next) = self.pending.pop_front() {
                self.bytes -= next.bytes;
                batch.push(next.update);
            }
        }
        self.give_back_room();
        batch
    }

    /// Gives back the memory of a wide batch's updates that have left, in ever smaller parts.
    fn give_back_room(&mut self) {
        let (capacity, len) = (self.pending.capacity(), self.pending.len());
        if capacity > 4 * MAX_UPDATES && len <= capacity / 2 {
            self.pending.shrink_to_fit();
        }
    }

    /// Ends the leader's turn: its batch is durable, and `token` goes with the next call. Gives the batch.
    pub fn acknowledge(&mut self, turn: Turn<P>, token: Option<P>) -> Vec<Update<P>> {
        self.durable += turn.batch.len() as u64;
        self.answered += 1;
        self.token = token;
        self.end_turn();
        turn.batch
    }

    /// Ends the leader's turn without an answer; the next leader sends the same batch again, if there is one already. Gives
    /// whom to wake.
    pub fn give_back(&mut self, turn: Option<Turn<P>>) -> Vec<W> {
        if let Some(turn) = turn {
            self.given_back = Some(turn.batch);
        }
        self.end_turn();
        self.release()
    }

    /// Who was woken to lead next does not: somebody else is to, unless somebody leads. Gives whom to wake.
    pub fn pass_on(&mut self) -> Vec<W> {
        if self.leading { Vec::new() } else { self.release() }
    }

    fn end_turn(&mut self) {
        self.delayed = None;
        self.leading = false;
        self.active += 1;
    }

    /// Whether there are updates that nobody is sending and nobody looks after, so that the caller is to begin.
    pub fn watch(&mut self) -> bool {
        let begins = self.is_unwatched();
        if begins {
            self.watched = Watched::Yes(self.latest());
        }
        begins
    }

    /// Whether there are updates that nobody is sending and nobody looks after.
    pub fn is_unwatched(&self) -> bool {
        self.watched == Watched::No && !self.is_empty()
    }

    /// Nobody looks after them any more.
    pub fn unwatch(&mut self) {
        if self.watched != Watched::Never {
            self.watched = Watched::No;
        }
    }

    /// Nobody shall look after them from now on.
    pub fn watch_no_more(&mut self) {
        self.watched = Watched::Never;
    }

    /// What whoever looks after them is to do now.
    pub fn look(&mut self) -> Watch {
        let Watched::Yes(seen) = self.watched else { return Watch::End };
        let latest = self.latest();
        let Some(oldest) = self.oldest() else {
            if self.leading {
                return Watch::Rest;
            }
            self.watched = Watched::No;
            return Watch::End;
        };
        self.watched = Watched::Yes(latest);
        if oldest <= seen { Watch::Send(latest) } else { Watch::Rest }
    }

    /// Forgets everything unsent, since nothing more will be sent in this invocation; gives all who wait.
    pub fn clear(&mut self) -> Vec<W> {
        self.given_back = None;
        self.leading = false;
        self.watched = Watched::Never;
        self.pending.clear();
        self.bytes = 0;
        let leader = self.delayed.take();
        leader.into_iter().chain(std::mem::take(&mut self.waiters).into_iter().map(|(_, waiter)| waiter)).collect()
    }
}

/// What is said of each operation in a batch that grows: by how many updates, and how the first acts.
///
/// Kept only of a batch that has some length: those of a short one are looked through.
#[derive(Debug, Default)]
struct Subjects {
    seen: HashMap<OperationId, (usize, Action), IdState>,
    /// How many updates of the batch are counted in.
    counted: usize,
}

impl Subjects {
    const SHORT: usize = 16;

    /// Whether `next` may stand in one batch with what is there: one update an id, but START may be joined by the outcome
    /// of the same step or context; and nothing comes after the EXECUTION's.
    fn may_join<P>(&mut self, batch: &[Update<P>], next: &Update<P>) -> bool {
        if batch.last().is_some_and(|last| last.kind == Kind::Execution) {
            return false;
        }
        match self.earlier(batch, next.subject) {
            None => true,
            Some((1, Action::Start)) => matches!(next.kind, Kind::Step | Kind::Context) && next.action != Action::Start,
            Some(_) => false,
        }
    }

    fn earlier<P>(&mut self, batch: &[Update<P>], subject: Subject) -> Option<(usize, Action)> {
        let Subject::Operation(id) = subject else { return None };
        if batch.len() < Self::SHORT {
            let mut earlier = batch.iter().filter(|update| update.subject == subject);
            return earlier.next().map(|first| (1 + earlier.count(), first.action));
        }
        for update in &batch[self.counted..] {
            if let Subject::Operation(id) = update.subject {
                self.seen.entry(id).or_insert((0, update.action)).0 += 1;
            }
        }
        self.counted = batch.len();
        self.seen.get(&id).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::OperationId;
    use crate::update::{Options, Subject};
    use proptest::prelude::*;

    fn update(n: u64, kind: Kind, action: Action, payload: usize) -> Update<String> {
        Update {
            subject: match kind {
                Kind::Execution => Subject::Execution(0),
                _ => Subject::Operation(OperationId::at(None, n)),
            },
            kind,
            action,
            sub_type: None,
            name: None,
            parent: None,
            payload: (payload > 0).then(|| "x".repeat(payload)),
            error: None,
            options: Options::None,
        }
    }

    fn queue(updates: impl IntoIterator<Item = Update<String>>) -> Queue<String, u32> {
        let mut queue = Queue::new("token".to_owned());
        for update in updates {
            queue.push(update);
        }
        queue
    }

    /// How long calls are worth waiting for others, once one of them took a second.
    const DELAY: Duration = Duration::from_millis(10);

    /// Sends everything, and gives the batches that were sent.
    fn drain(queue: &mut Queue<String, u32>) -> Vec<Vec<Update<String>>> {
        let mut batches = Vec::new();
        while !queue.is_empty() {
            assert_eq!(queue.lead(Some(queue.latest())), Role::Lead);
            batches.push(answered(queue));
        }
        batches
    }

    /// Has the leader send a batch; gives what it was.
    fn answered(queue: &mut Queue<String, u32>) -> Vec<Update<String>> {
        let turn = queue.take_turn();
        queue.acknowledge(turn, Some("next".to_owned()))
    }

    fn sizes(queue: &mut Queue<String, u32>) -> Vec<usize> {
        drain(queue).iter().map(Vec::len).collect()
    }

    #[test]
    fn start_and_outcome_of_a_step_or_context_share_a_batch() {
        for kind in [Kind::Step, Kind::Context] {
            for outcome in [Action::Succeed, Action::Fail, Action::Retry] {
                let updates = [update(1, kind, Action::Start, 0), update(1, kind, outcome, 0)];
                assert_eq!(sizes(&mut queue(updates)), [2], "{kind:?} {outcome:?}");
            }
        }
    }

    #[test]
    fn other_pairs_of_one_id_go_apart() {
        use Action::{Retry, Start, Succeed};
        let pairs = [(Kind::Wait, Start, Succeed), (Kind::Step, Retry, Start), (Kind::Step, Start, Start)];
        for (kind, first, second) in pairs {
            let updates = [update(1, kind, first, 0), update(1, kind, second, 0)];
            assert_eq!(sizes(&mut queue(updates)), [1, 1], "{kind:?} {first:?} {second:?}");
        }
        let three = [Start, Retry, Succeed].map(|action| update(1, Kind::Step, action, 0));
        assert_eq!(sizes(&mut queue(three)), [2, 1]);
    }

    #[test]
    fn who_is_in_a_long_batch_is_known_as_in_a_short_one() {
        let step = |n, action| update(n, Kind::Step, action, 0);
        for others in [0, Subjects::SHORT as u64 - 2, Subjects::SHORT as u64, 100] {
            let between = || (0..others).map(|n| step(10 + n, Action::Start));
            let updates = [step(1, Action::Start)].into_iter().chain(between());
            let updates = updates.chain([step(1, Action::Retry), step(1, Action::Start)]);
            let size = usize::try_from(others).expect("it is small") + 2;
            assert_eq!(sizes(&mut queue(updates)), [size, 1], "{others}");
            let updates = [step(1, Action::Retry)].into_iter().chain(between()).chain([step(1, Action::Start)]);
            assert_eq!(sizes(&mut queue(updates)), [size - 1, 1], "{others}");
            let updates = [update(1, Kind::Wait, Action::Start, 0)].into_iter().chain(between());
            let updates = updates.chain([update(1, Kind::Wait, Action::Succeed, 0)]);
            assert_eq!(sizes(&mut queue(updates)), [size - 1, 1], "{others}");
        }
    }

    #[test]
    fn nothing_follows_the_execution_in_its_batch() {
        let updates = [
            update(1, Kind::Step, Action::Start, 0),
            update(0, Kind::Execution, Action::Succeed, 0),
            update(2, Kind::Step, Action::Start, 0),
        ];
        assert_eq!(sizes(&mut queue(updates)), [2, 1]);
    }

    #[test]
    fn a_batch_holds_no_more_than_the_service_takes() {
        let many = (0..501).map(|n| update(n, Kind::Step, Action::Start, 0));
        assert_eq!(sizes(&mut queue(many)), [250, 250, 1]);
        let large = (0..3).map(|n| update(n, Kind::Step, Action::Succeed, 300 * 1024));
        assert_eq!(sizes(&mut queue(large)), [2, 1]);
    }

    #[test]
    fn an_update_over_the_limit_goes_alone() {
        let updates = [
            update(1, Kind::Step, Action::Start, 0),
            update(1, Kind::Step, Action::Succeed, MAX_BYTES + 1),
            update(2, Kind::Step, Action::Start, 0),
        ];
        assert_eq!(sizes(&mut queue(updates)), [1, 1, 1]);
    }

    #[test]
    fn one_leads_and_the_others_follow() {
        let mut queue = queue([]);
        let first = queue.push(update(1, Kind::Step, Action::Start, 0));
        assert_eq!(queue.lead(Some(first)), Role::Lead);
        let turn = queue.take_turn();
        let second = queue.push(update(2, Kind::Step, Action::Start, 0));
        assert_eq!(queue.lead(Some(second)), Role::Follow);
        assert_eq!(queue.acknowledge(turn, Some("next".to_owned())), [update(1, Kind::Step, Action::Start, 0)]);
        assert_eq!(queue.token(), Some(&"next".to_owned()));
        assert_eq!(queue.lead(Some(first)), Role::Done);
        assert_eq!(queue.lead(Some(second)), Role::Lead);
    }

    #[test]
    fn asking_for_news_sends_an_empty_batch() {
        let mut queue = queue([]);
        assert_eq!(queue.lead(None), Role::Lead);
        assert!(answered(&mut queue).is_empty());
        assert_eq!(queue.lead(Some(Ticket::default())), Role::Done);
    }

    #[test]
    fn a_revoked_token_is_gone() {
        let mut queue = queue([update(1, Kind::Step, Action::Start, 0), update(2, Kind::Wait, Action::Start, 0)]);
        assert_eq!(queue.lead(None), Role::Lead);
        let turn = queue.take_turn();
        queue.acknowledge(turn, None);
        assert_eq!(queue.token(), None);
        queue.push(update(3, Kind::Wait, Action::Start, 0));
        queue.follow(Ticket(3), 7);
        assert_eq!(queue.clear(), [7]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_batch_wakes_those_it_made_durable_and_one_to_lead() {
        let mut queue = queue((0..4).map(|n| update(n, Kind::Wait, Action::Start, 0)));
        assert_eq!(queue.lead(None), Role::Lead);
        let turn = queue.take_turn();
        for (ticket, waiter) in [(5, 50), (2, 20), (6, 60), (4, 40)] {
            queue.follow(Ticket(ticket), waiter);
        }
        queue.acknowledge(turn, Some(String::new()));
        assert_eq!(queue.release(), [50, 20, 40]);
        assert_eq!(queue.clear(), [60]);
    }

    #[test]
    fn a_leader_waits_while_others_are_at_work() {
        let mut queue = queue([]);
        queue.called(Duration::from_secs(1));
        queue.enter();
        queue.enter();
        let tickets: Vec<Ticket> = (0..3).map(|n| queue.push(update(n, Kind::Wait, Action::Start, 0))).collect();
        assert_eq!(queue.lead(Some(tickets[0])), Role::Delay(DELAY));
        queue.wait(1);
        assert_eq!(queue.lead(Some(tickets[1])), Role::Follow);
        queue.follow(tickets[1], 2);
        assert_eq!(queue.assembled(), None);
        assert_eq!(queue.leave(), Some(1));
        assert_eq!(queue.leave(), None);
        answered(&mut queue);
        assert_eq!(queue.release(), [2]);
        // The leader and its follower are at work again; the hand that left is not.
        assert_eq!(queue.active, 2);
    }

    #[test]
    fn a_caller_leads_at_once_only_where_there_is_nobody_to_wait_for() {
        for (others, leads) in [(0, true), (1, false), (2, false)] {
            let mut queue = queue([update(1, Kind::Wait, Action::Start, 0)]);
            queue.called(Duration::from_secs(1));
            (0..others).for_each(|_| queue.enter());
            assert_eq!(queue.lead_at_once(), leads);
            if leads {
                assert_eq!(queue.active, 0);
                queue.enter();
                assert!(!queue.lead_at_once(), "somebody leads");
                assert_eq!(queue.active, 1, "who was refused is counted as before");
                assert_eq!(queue.lead(Some(Ticket(9))), Role::Follow);
            } else {
                assert_eq!(queue.active, 1 + others, "who was refused is counted as before");
                assert_eq!(queue.lead(None), Role::Delay(DELAY));
            }
        }
    }

    #[test]
    fn a_caller_leads_at_once_where_calls_are_not_worth_waiting_for() {
        let mut queue = queue([update(1, Kind::Wait, Action::Start, 0)]);
        queue.enter();
        queue.called(Duration::from_secs(1));
        queue.waited(false);
        assert!(queue.lead_at_once(), "the last wait was in vain");
        answered(&mut queue);
        assert!(!queue.lead_at_once(), "and the next one may not be");
        assert_eq!(queue.lead(None), Role::Delay(DELAY));
    }

    #[test]
    fn a_turn_that_is_given_back_is_taken_by_the_next_leader_as_the_same_call() {
        let start = || update(1, Kind::Step, Action::Start, 0);
        let mut queue = queue([start()]);
        queue.called(Duration::from_secs(1));
        assert_eq!(queue.lead(Some(Ticket(1))), Role::Lead);
        let turn = queue.take_turn();
        assert_eq!((&*turn.batch, turn.number), (&[start()][..], 0));
        let late = queue.push(update(2, Kind::Step, Action::Start, 0));
        assert_eq!((queue.oldest(), queue.lead(Some(late))), (Some(late), Role::Follow));
        queue.follow(late, 2);
        assert_eq!(queue.give_back(Some(turn)), [2]);
        assert_eq!((queue.oldest(), queue.active), (Some(Ticket(1)), 2));
        assert_eq!(queue.lead(Some(late)), Role::Delay(DELAY));
        let turn = queue.take_turn();
        assert_eq!((&*turn.batch, turn.number), (&[start()][..], 0));
        queue.acknowledge(turn, Some(String::new()));
        assert_eq!(queue.lead(Some(Ticket(1))), Role::Done);
        assert_eq!(queue.lead(Some(late)), Role::Delay(DELAY));
        assert_eq!(queue.take_turn().number, 1);
    }

    #[test]
    fn who_waits_no_longer_is_not_woken() {
        let mut queue = queue([update(1, Kind::Step, Action::Start, 0)]);
        assert_eq!(queue.lead(None), Role::Lead);
        for (ticket, waiter) in [(5, 50), (6, 60)] {
            assert_eq!(queue.lead(Some(Ticket(ticket))), Role::Follow);
            queue.follow(Ticket(ticket), waiter);
        }
        assert_eq!(queue.unfollow(|&waiter| waiter == 50), Some(50));
        assert_eq!(queue.unfollow(|&waiter| waiter == 50), None);
        answered(&mut queue);
        assert_eq!(queue.release(), [60]);
    }

    #[test]
    fn what_lies_from_one_look_to_the_next_is_to_be_sent() {
        let mut queue = queue([update(1, Kind::Step, Action::Start, 0)]);
        assert!(queue.watch());
        assert!(!queue.watch());
        assert_eq!(queue.look(), Watch::Send(Ticket(1)));
        assert_eq!(queue.lead(Some(Ticket(1))), Role::Lead);
        let turn = queue.take_turn();
        assert_eq!(queue.look(), Watch::Rest);
        queue.acknowledge(turn, Some(String::new()));
        queue.push(update(2, Kind::Step, Action::Start, 0));
        assert_eq!(queue.look(), Watch::Rest);
        queue.push(update(3, Kind::Step, Action::Start, 0));
        assert_eq!(queue.look(), Watch::Send(Ticket(3)));
        assert_eq!(queue.lead(None), Role::Lead);
        assert_eq!(answered(&mut queue).len(), 2);
        assert_eq!(queue.look(), Watch::End);
        queue.push(update(4, Kind::Step, Action::Start, 0));
        assert!(queue.watch(), "who has gone can be followed by another");
    }

    #[test]
    fn nobody_watches_where_nothing_lies() {
        let mut queue = queue([]);
        assert!(!queue.watch());
        queue.push(update(1, Kind::Step, Action::Start, 0));
        assert_eq!(queue.lead(Some(Ticket(1))), Role::Lead);
        let turn = queue.take_turn();
        assert!(!queue.watch(), "somebody sends it");
        queue.push(update(2, Kind::Step, Action::Start, 0));
        assert!(queue.watch(), "this leaves with no call as yet");
        queue.acknowledge(turn, Some(String::new()));
    }

    #[test]
    fn nobody_watches_after_the_end() {
        for breaks in [false, true] {
            let mut queue = queue([update(1, Kind::Step, Action::Start, 0)]);
            assert!(queue.watch());
            if breaks {
                queue.clear();
            } else {
                queue.watch_no_more();
            }
            assert_eq!(queue.look(), Watch::End);
            queue.unwatch();
            queue.push(update(2, Kind::Step, Action::Start, 0));
            assert!(!queue.watch());
        }
    }

    #[test]
    fn a_full_batch_does_not_wait_for_more() {
        let mut queue = queue((0..MAX_UPDATES as u64).map(|n| update(n, Kind::Wait, Action::Start, 0)));
        queue.enter();
        assert_eq!(queue.lead(Some(Ticket(1))), Role::Lead);
    }

    fn optimistic() -> Queue<String, u32> {
        let mut queue = queue([]);
        queue.set_checkpointing(Checkpointing::Optimistic);
        queue
    }

    fn ended(n: u64) -> Update<String> {
        update(n, Kind::Step, Action::Succeed, 0)
    }

    #[test]
    fn what_may_happen_again_is_waited_for_unless_updates_leave_late() {
        for mode in ["EAGER", "BATCHED"] {
            let mut queue = queue([]);
            queue.set_checkpointing(Checkpointing::parse(mode).expect("it is one"));
            assert_eq!((queue.push_repeatable(ended(1)), queue.owes()), (Ticket(1), false));
        }
        assert_eq!(Checkpointing::parse("LAZY"), None);
        let mut queue = optimistic();
        assert_eq!(queue.lead(Some(queue.latest())), Role::Done);
        let ticket = queue.push_repeatable(ended(1));
        assert_eq!(queue.lead(Some(ticket)), Role::Done);
        assert!(queue.owes());
        let late = queue.push(update(2, Kind::Wait, Action::Start, 0));
        assert_eq!(queue.lead(Some(late)), Role::Lead);
        assert_eq!(answered(&mut queue).len(), 2, "what was handed on leaves first");
        assert!(!queue.owes());
    }

    #[test]
    fn who_fills_a_batch_waits_for_it() {
        let mut queue = optimistic();
        for n in 1..MAX_UPDATES as u64 {
            assert_eq!(queue.push_repeatable(ended(n)), Ticket::default());
        }
        assert_eq!(queue.push_repeatable(ended(1_000)), Ticket(1), "which takes the whole batch along");
        assert_eq!(queue.lead(Some(Ticket(1))), Role::Lead);
        assert_eq!(answered(&mut queue).len(), MAX_UPDATES);
        assert_eq!(queue.push_repeatable(ended(1_001)), Ticket::default());

        let mut queue = optimistic();
        let large = |n| update(n, Kind::Step, Action::Succeed, MAX_BYTES / 2);
        assert_eq!(queue.push_repeatable(large(1)), Ticket::default());
        assert_eq!(queue.push_repeatable(large(2)), Ticket(1));
        assert_eq!(queue.lead(Some(Ticket(1))), Role::Lead);
        assert_eq!(answered(&mut queue).len(), 1);
        assert_eq!(queue.push_repeatable(ended(3)), Ticket::default(), "there is room again");
        queue.clear();
        assert_eq!(queue.push_repeatable(large(4)), Ticket::default());
    }

    #[test]
    fn what_was_handed_on_is_outstanding_while_somebody_sends_it() {
        let mut queue = optimistic();
        assert_eq!(queue.outstanding(), None);
        queue.push_repeatable(ended(1));
        assert_eq!(queue.outstanding(), Some(Ticket(1)));
        assert_eq!(queue.lead(None), Role::Lead);
        let turn = queue.take_turn();
        assert_eq!((queue.oldest(), queue.outstanding()), (None, Some(Ticket(1))));
        queue.push(update(2, Kind::Step, Action::Start, 0));
        assert_eq!(queue.outstanding(), Some(Ticket(2)));
        queue.acknowledge(turn, Some(String::new()));
        assert_eq!(drain(&mut queue).len(), 1);
        assert_eq!(queue.outstanding(), None);

        let mut queue = self::queue([update(1, Kind::Step, Action::Start, 0)]);
        assert_eq!(queue.lead(None), Role::Lead);
        let turn = queue.take_turn();
        assert_eq!(queue.outstanding(), None, "nobody goes on from it");
        queue.acknowledge(turn, Some(String::new()));
    }

    #[test]
    fn eagerly_each_update_is_a_call_and_leaves_before_the_next_function() {
        let mut queue = queue([]);
        queue.set_checkpointing(Checkpointing::Eager);
        assert_eq!(queue.due(), Due::Nothing);
        queue.push(update(1, Kind::Step, Action::Start, 0));
        queue.push(update(2, Kind::Step, Action::Start, 0));
        assert_eq!(queue.due(), Due::Send(Ticket(2)));
        assert_eq!(queue.lead(None), Role::Lead);
        let turn = queue.take_turn();
        assert_eq!((turn.batch.len(), queue.due()), (1, Due::Send(Ticket(2))));
        queue.acknowledge(turn, Some(String::new()));
        assert_eq!(drain(&mut queue).iter().map(Vec::len).collect::<Vec<_>>(), [1]);
        assert_eq!(queue.due(), Due::Nothing);
    }

    #[test]
    fn otherwise_somebody_looks_after_what_lies_meanwhile() {
        for mode in [Checkpointing::Batched, Checkpointing::Optimistic] {
            let mut queue = queue([]);
            queue.set_checkpointing(mode);
            assert_eq!(queue.due(), Due::Nothing);
            queue.push_repeatable(ended(1));
            assert_eq!(queue.due(), Due::Watch);
            assert!(queue.watch());
            assert_eq!(queue.due(), Due::Nothing);
        }
    }

    fn any_update() -> impl Strategy<Value = Update<String>> {
        let kind = prop_oneof![Just(Kind::Step), Just(Kind::Context), Just(Kind::Wait), Just(Kind::Callback)];
        let action = prop_oneof![
            4 => Just(Action::Start), 3 => Just(Action::Succeed), 1 => Just(Action::Fail), 1 => Just(Action::Retry)
        ];
        let payload = prop_oneof![8 => 0..200_usize, 1 => 200_000..900_000_usize];
        (0..40_u64, kind, action, payload).prop_map(|(n, kind, action, bytes)| update(n, kind, action, bytes))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn batches_keep_the_order_and_the_limits(updates in proptest::collection::vec(any_update(), 0..600)) {
            let batches = drain(&mut queue(updates.clone()));
            let sent: Vec<&Update<String>> = batches.iter().flat_map(|batch| batch.iter()).collect();
            prop_assert_eq!(sent, updates.iter().collect::<Vec<_>>());
            for batch in &batches {
                prop_assert!(batch.len() <= MAX_UPDATES);
                let bytes: usize = batch.iter().map(|update| update.json_len() + 2).sum();
                prop_assert!(bytes <= MAX_BYTES || batch.len() == 1);
                for (place, update) in batch.iter().enumerate() {
                    let twins = batch[..place].iter().filter(|earlier| earlier.subject == update.subject).count();
                    prop_assert!(twins <= 1);
                    if twins == 1 {
                        prop_assert!(matches!(update.kind, Kind::Step | Kind::Context));
                        prop_assert_ne!(update.action, Action::Start);
                    }
                }
            }
        }

        #[test]
        fn a_ticket_is_durable_exactly_when_its_update_was_acknowledged(
            updates in proptest::collection::vec(any_update(), 1..300)
        ) {
            let mut queue = queue([]);
            let tickets: Vec<Ticket> = updates.into_iter().map(|update| queue.push(update)).collect();
            let mut acknowledged = 0;
            while acknowledged < tickets.len() {
                prop_assert_eq!(queue.lead(Some(tickets[acknowledged])), Role::Lead);
                acknowledged += answered(&mut queue).len();
                for (place, ticket) in tickets.iter().enumerate() {
                    let durable = ticket.0 <= queue.durable;
                    prop_assert_eq!(durable, place < acknowledged);
                }
            }
        }
    }
}
