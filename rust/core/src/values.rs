//! Values that are the same on every replay though nothing of them is recorded: where code draws one, and which recorded
//! moment is *now* there.
//!
//! A drawn value depends on the execution, and on its place: the context, how many operations that has begun, and how many
//! values were drawn there since the last one. So a value more or less changes those that follow up to the next operation,
//! and no further. For the same reason as operations, values are drawn only by the function that a context was handed to.

use blake2b_simd::Params;

use crate::call::Call;
use crate::custody::{Caller, Spot};
use crate::engine::Engine;
use crate::id::OperationId;
use crate::operation::{Kind, Payload};
use crate::refusal::Refusal;
use crate::scope::ScopeId;
use crate::step::Semantics;

/// Bytes of a drawn value.
pub const DRAWN: usize = 32;

/// What such a value is called where its context is the wrong one. No user can choose a subtype with a space.
const VALUE: Call<'static> =
    Call::Step { name: None, sub_type: "replay-safe value", semantics: Semantics::AtLeastOnce };

/// Values that were drawn in a context since it began an operation.
#[derive(Debug, Default)]
pub(crate) struct Drawn {
    /// How many operations it had begun then.
    pub(crate) after: u64,
    pub(crate) count: u64,
}

/// The recorded moments that *now* is the latest of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    pub moment: Moment,
    /// The callback whose answer was asked for last, and was there: when it ended.
    pub answered: Option<OperationId>,
}

/// A recorded moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// When an operation ended.
    End(OperationId),
    /// When a context began; without one the execution.
    Start(Option<OperationId>),
}

impl<P: Payload, W> Engine<P, W> {
    /// Bytes that are as good as random, and the same whenever code of this execution comes to this place.
    pub fn draw(&mut self, scope: ScopeId, caller: Caller, execution: &str) -> Result<[u8; DRAWN], Refusal> {
        self.admit_value(scope, caller)?;
        let inside = &mut self.scopes[scope.0];
        if inside.drawn.after != inside.counter {
            inside.drawn = Drawn { after: inside.counter, count: 0 };
        }
        inside.drawn.count += 1;
        let context = inside.prefix.map(|id| id.to_string()).unwrap_or_default();
        let place = format!("{execution}\0{context}\0{}\0{}", inside.counter, inside.drawn.count);
        let mut drawn = [0; DRAWN];
        drawn.copy_from_slice(Params::new().hash_length(DRAWN).hash(place.as_bytes()).as_bytes());
        Ok(drawn)
    }

    /// Which recorded moment is *now*: the end of the context's last operation, else its own start.
    ///
    /// Every operation but a callback has ended when the code goes on behind it. A callback counts once its answer was
    /// asked for, by the function of the context itself: what branches ask for comes by chance.
    pub fn now(&mut self, scope: ScopeId, caller: Caller) -> Result<Now, Refusal> {
        self.admit_value(scope, caller)?;
        let answered = self.scopes[scope.0].answered.as_deref().copied();
        Ok(Now { moment: self.latest_moment(scope), answered })
    }

    /// The answer of a callback was there when code asked for it.
    pub fn answered(&mut self, scope: ScopeId, callback: OperationId, caller: Caller) {
        let is_its_function = match caller.spot {
            Some(Spot::Inside(inside)) => inside == scope,
            Some(Spot::Beside(..)) => false,
            None => scope == ScopeId::ROOT,
        };
        if is_its_function {
            self.scopes[scope.0].answered = Some(Box::new(callback));
        }
    }

    /// Lets an operation count as the last, and no other that has begun: those that it has left behind end at any time.
    pub fn pass_by(&mut self, scope: ScopeId, last: OperationId) {
        let inside = &mut self.scopes[scope.0];
        inside.passed = Some(Box::new((inside.counter, Some(last))));
        inside.answered = None; // before it; or, on replay, after it
    }

    /// Lets the operation that a context has begun last not count as the last: it is to be waited for later.
    pub fn pass_by_latest(&mut self, scope: ScopeId) {
        let count = self.scopes[scope.0].counter;
        self.scopes[scope.0].passed = Some(Box::new((count, self.last_ended(scope, count.saturating_sub(1)))));
    }

    fn admit_value(&mut self, scope: ScopeId, caller: Caller) -> Result<(), Refusal> {
        self.check(scope)?;
        if self.is_contested(scope, &VALUE, caller.thread) { self.admit(scope, &VALUE, caller) } else { Ok(()) }
    }

    fn latest_moment(&self, scope: ScopeId) -> Moment {
        let (mut scope, mut count) = (scope, self.scopes[scope.0].counter);
        loop {
            if let Some(id) = self.last_ended(scope, count) {
                return Moment::End(id);
            }
            let inside = &self.scopes[scope.0];
            match inside.outer.filter(|_| inside.is_virtual()) {
                None => return Moment::Start(inside.prefix),
                // Of the context of a batch nothing has ended before its branches.
                Some(outer) if inside.branch => (scope, count) = (outer, 0),
                Some(outer) => (scope, count) = (outer, self.operations_before(scope, outer)),
            }
        }
    }

    /// The last of the first `count` operations of a context, callbacks left out; inside of virtual contexts, too.
    fn last_ended(&self, scope: ScopeId, count: u64) -> Option<OperationId> {
        let inside = &self.scopes[scope.0];
        let (prefix, passed) = (inside.prefix, inside.passed.as_deref().copied().filter(|&(begun, _)| begun <= count));
        let mut before =
            (passed.map_or(0, |(begun, _)| begun) + 1..=count).rev().map(|n| OperationId::at(prefix.as_ref(), n));
        let found = before.find_map(|id| match self.history().get(&id) {
            Some(operation) => (operation.kind != Kind::Callback).then_some(id),
            None => match self.virtual_context(&id) {
                Some(inner) => self.last_ended(inner, self.scopes[inner.0].counter),
                None => Some(id), // whose record is on its way
            },
        });
        found.or_else(|| passed.and_then(|(_, last)| last))
    }

    /// How many operations a context had begun before a virtual one inside.
    fn operations_before(&self, inner: ScopeId, outer: ScopeId) -> u64 {
        let outer = &self.scopes[outer.0];
        let is_it = |n: &u64| Some(OperationId::at(outer.prefix.as_ref(), *n)) == self.scopes[inner.0].prefix;
        (1..=outer.counter).rev().find(is_it).map_or(0, |n| n - 1)
    }

    fn virtual_context(&self, id: &OperationId) -> Option<ScopeId> {
        self.scopes.iter().rposition(|scope| scope.prefix.as_ref() == Some(id)).map(ScopeId)
    }
}
