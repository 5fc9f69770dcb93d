//! One context's position: prefix, counter, replaying or not, done or not.
//!
//! A scope is the root of an execution, a child context or a branch. It knows the scope around it, so that an orphan can
//! ask its ancestors, and a suspension can mark every scope it unwinds.

use crate::branches::{BatchId, Seat};
use crate::custody::Body;
use crate::id::OperationId;
use crate::operation::Millis;
use crate::values::Drawn;

/// Which scope; scopes are never removed during an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScopeId(pub(crate) usize);

impl ScopeId {
    /// The scope of the handler itself.
    pub const ROOT: Self = Self(0);
}

/// What the code of a scope was told: to wait until a moment, or for news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspension(pub Option<Millis>);

/// One context's position.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "facts that are independent of each other")]
pub struct Scope {
    /// The operation whose id prefixes the positions inside; none for the root.
    pub(crate) prefix: Option<OperationId>,
    /// What operations inside name as their parent; a virtual context passes on its surroundings'.
    pub(crate) parent: Option<OperationId>,
    /// How many operations have begun.
    pub(crate) counter: u64,
    /// The values that were drawn since.
    pub(crate) drawn: Drawn,
    /// The operation that counts as the last for what is *now*, and how many operations had begun then: they are passed
    /// by, since some of them may end at any time. Few scopes have it, and there may be thousands: it is kept apart.
    pub(crate) passed: Option<Box<(u64, Option<OperationId>)>>,
    /// The callback inside whose answer was asked for last, and was there.
    pub(crate) answered: Option<Box<OperationId>>,
    /// Whether an operation inside was new.
    pub(crate) fresh: bool,
    /// Whether its operation had ended before: its code runs again only to give its result again.
    pub(crate) ended: bool,
    /// The context inside that was opened last.
    pub(crate) inner: Option<ScopeId>,
    /// Whether it has come to what is held, where a branch is tried: what comes after that is held, too.
    pub(crate) is_held: bool,
    /// Whether the context has ended: what still runs inside is an orphan.
    pub(crate) done: bool,
    /// Whether its function was broken off before it had ended: what else it would have come to, nobody knows.
    pub(crate) broken_off: bool,
    /// Whether the code inside was told to suspend.
    pub(crate) suspended: Option<Suspension>,
    /// The scope around it.
    pub(crate) outer: Option<ScopeId>,
    /// Whether it is a branch: a suspension inside is the batch's business, not the surroundings'.
    pub(crate) branch: bool,
    /// Whether the function that it was handed to is at work.
    pub(crate) is_at_work: bool,
    /// Of a virtual context, the number of its function among those at work in the one around it; else 0.
    pub(crate) body: u64,
    /// Its operations whose functions are.
    pub(crate) bodies: Vec<Body>,
    /// Which branch it is of the batch around it.
    pub(crate) seat: Option<Seat>,
    /// The batch whose context it is.
    pub(crate) batch: Option<BatchId>,
}

impl Scope {
    pub(crate) const fn root() -> Self {
        Self {
            prefix: None,
            parent: None,
            counter: 0,
            drawn: Drawn { after: 0, count: 0 },
            passed: None,
            answered: None,
            fresh: false,
            ended: false,
            inner: None,
            is_held: false,
            done: false,
            broken_off: false,
            suspended: None,
            outer: None,
            branch: false,
            is_at_work: true,
            body: 0,
            bodies: Vec::new(),
            seat: None,
            batch: None,
        }
    }

    /// Whether nothing is recorded of the context itself.
    pub(crate) fn is_virtual(&self) -> bool {
        self.prefix != self.parent
    }

    /// The id of the operation that would come next.
    pub(crate) fn upcoming(&self) -> OperationId {
        OperationId::at(self.prefix.as_ref(), self.counter + 1)
    }
}
