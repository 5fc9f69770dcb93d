//! What the handler asks for, and what it has become: a call knows the transition table that it is held against, the
//! kind and subtype under which it is recorded, and what its START says.

use std::sync::Arc;

use crate::checkpoint::Ticket;
use crate::decision::{Decision, Look};
use crate::id::OperationId;
use crate::limits::{self, Invalid};
use crate::operation::{Kind, Operation, SubType};
use crate::scope::{Scope, ScopeId};
use crate::step::Semantics;
use crate::update::{Action, Options};
use crate::{callback, child, condition, invoke, step, wait};

/// A name as the code has it; an empty one is none.
type Name<'a> = Option<&'a str>;

/// An operation as the code has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call<'a> {
    Step {
        name: Name<'a>,
        sub_type: &'a str,
        semantics: Semantics,
    },
    Condition {
        name: Name<'a>,
    },
    Wait {
        name: Name<'a>,
        seconds: i64,
    },
    /// What the outside is to answer; timeouts in seconds, 0 for none.
    Callback {
        name: Name<'a>,
        sub_type: &'a str,
        timeout: i64,
        heartbeat: i64,
    },
    /// Its START is left to the driver, which has the payload to write first.
    Invoke {
        name: Name<'a>,
    },
    Child {
        name: Name<'a>,
        sub_type: &'a str,
    },
    /// A map or parallel. Its START is left to the driver, which has the names of the branches to ask for first.
    Batch {
        name: Name<'a>,
        sub_type: &'a str,
    },
    /// A branch that is an operation. It takes the place of its index, not the next in call order, and its START is
    /// queued when it is admitted.
    Branch {
        name: Name<'a>,
        sub_type: &'a str,
        index: u64,
    },
}

impl<'a> Call<'a> {
    /// What it is, taken apart once.
    #[inline]
    pub(crate) fn head(&self) -> Head<'a> {
        let (table, sub_type, name) = match *self {
            Self::Step { name, sub_type, semantics } => (Table::Step(semantics), sub_type, name),
            Self::Condition { name } => (Table::Condition, "WaitForCondition", name),
            Self::Wait { name, .. } => (Table::Wait, "Wait", name),
            Self::Callback { name, sub_type, .. } => (Table::Callback, sub_type, name),
            Self::Invoke { name } => (Table::Invoke, "ChainedInvoke", name),
            Self::Child { name, sub_type } | Self::Batch { name, sub_type } | Self::Branch { name, sub_type, .. } => {
                (Table::Context, sub_type, name)
            }
        };
        Head { table, sub_type, name: name.filter(|name| !name.is_empty()) }
    }

    /// Its name, if it has one.
    pub fn name(&self) -> Name<'a> {
        self.head().name
    }

    /// The same call under another name.
    #[must_use]
    pub const fn named(mut self, new: &'a str) -> Self {
        let (Self::Step { name, .. }
        | Self::Condition { name }
        | Self::Wait { name, .. }
        | Self::Callback { name, .. }
        | Self::Invoke { name }
        | Self::Child { name, .. }
        | Self::Batch { name, .. }
        | Self::Branch { name, .. }) = &mut self;
        *name = Some(new);
        self
    }

    /// The subtype under which it is recorded.
    pub fn sub_type(&self) -> &'a str {
        self.head().sub_type
    }

    /// The kind under which it is recorded.
    pub fn kind(&self) -> Kind {
        self.head().table.kind()
    }

    /// The place that it takes, if not the next.
    pub(crate) const fn index(&self) -> Option<u64> {
        match *self {
            Self::Branch { index, .. } => Some(index),
            _ => None,
        }
    }

    /// Refuses what the service would.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        match self {
            Self::Wait { .. } | Self::Callback { .. } => self.start::<()>().map(drop),
            _ => Ok(()),
        }
    }

    /// What its START says, unless that is left to others; refuses what the service would.
    pub(crate) fn start<P>(&self) -> Result<Option<Options<P>>, Invalid> {
        Ok(Some(match *self {
            Self::Invoke { .. } | Self::Batch { .. } | Self::Branch { .. } => return Ok(None),
            Self::Step { .. } | Self::Condition { .. } | Self::Child { .. } => Options::None,
            Self::Wait { seconds, .. } => Options::Wait { seconds: limits::wait(seconds)? },
            Self::Callback { timeout, heartbeat, .. } => Options::Callback {
                timeout_seconds: limits::callback_timeout("timeout", timeout)?,
                heartbeat_seconds: limits::callback_timeout("heartbeat timeout", heartbeat)?,
            },
        }))
    }
}

/// What a call is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    /// The table that says what to do about it.
    pub table: Table,
    pub sub_type: &'a str,
    pub name: Name<'a>,
}

impl Head<'_> {
    /// Whether an operation is recorded as what the call would come to in a context.
    #[inline]
    pub fn is_recorded_as<P>(&self, recorded: &Operation<P>, parent: Option<OperationId>) -> bool {
        recorded.kind == self.table.kind()
            && recorded.sub_type.as_ref().is_none_or(|sub_type| sub_type.as_str() == self.sub_type)
            && recorded.name.as_deref() == self.name
            && recorded.parent == parent
    }
}

/// The transition tables; each stands in the file of its operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    Step(Semantics),
    Condition,
    Wait,
    Callback,
    CallbackResult,
    Invoke,
    Context,
}

impl Table {
    pub const fn kind(self) -> Kind {
        match self {
            Self::Step(_) | Self::Condition => Kind::Step,
            Self::Wait => Kind::Wait,
            Self::Callback | Self::CallbackResult => Kind::Callback,
            Self::Invoke => Kind::ChainedInvoke,
            Self::Context => Kind::Context,
        }
    }

    /// What a recorded operation, or its absence, calls for.
    #[inline]
    pub fn decide<P>(self, recorded: Option<&Operation<P>>, look: Look) -> Decision<'_, P> {
        if look == Look::Retried {
            return Decision::retried(recorded);
        }
        match self {
            Self::Step(semantics) => step::begin(recorded, semantics, look),
            Self::Condition => condition::begin(recorded),
            Self::Wait => wait::begin(recorded),
            Self::Callback => callback::create(recorded),
            Self::CallbackResult => callback::result(recorded),
            Self::Invoke => invoke::begin(recorded),
            Self::Context => child::begin(recorded),
        }
    }
}

/// Where an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub scope: ScopeId,
    pub id: OperationId,
    /// The context it belongs to; none at the root.
    pub parent: Option<OperationId>,
    /// The index of a branch.
    pub index: Option<u64>,
}

impl Place {
    /// Where a branch stands whose batch has the context `around`.
    pub(crate) fn branch(scope: ScopeId, around: &Scope, index: u64) -> Self {
        let id = OperationId::at(around.prefix.as_ref(), index);
        Self { scope, id, parent: around.parent, index: Some(index) }
    }
}

/// An operation that has begun and may be written about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    pub place: Place,
    pub(crate) table: Table,
    pub sub_type: SubType,
    pub name: Option<Arc<str>>,
}

impl Begun {
    /// The operation that `call` asked for, at its place.
    pub fn new(place: Place, call: &Call<'_>) -> Self {
        let Head { table, sub_type, name } = call.head();
        Self { place, table, sub_type: SubType::new(sub_type), name: name.map(Into::into) }
    }

    /// What kind of operation it is.
    pub const fn kind(&self) -> Kind {
        self.table.kind()
    }

    /// Whether nothing is lost but work if an outcome is recorded that the code has gone on with, or not: when it comes to
    /// the operation again, that runs again. The outcome of a step that runs at most once would be gone for good, and the
    /// world waits for everything else.
    pub(crate) const fn is_repeatable(&self, action: Action) -> bool {
        matches!((self.table, action), (Table::Step(Semantics::AtLeastOnce) | Table::Context, Action::Succeed))
    }

    /// Whether a call at the same place would come to it.
    pub(crate) fn is_called_by(&self, call: &Call<'_>) -> bool {
        let Head { table, sub_type, name } = call.head();
        self.kind() == table.kind() && self.sub_type.as_str() == sub_type && self.name.as_deref() == name
    }
}

/// What the handler has come to.
#[derive(Debug, PartialEq, Eq)]
pub struct Arrival<'a, P> {
    pub place: Place,
    pub decision: Decision<'a, P>,
    /// Whether nothing is recorded of it.
    pub is_new: bool,
    /// Whose START was queued, and with which ticket.
    pub(crate) started: Option<(Arc<Begun>, Ticket)>,
}

impl<P> Arrival<'_, P> {
    /// The ticket of its START, if that was queued.
    pub fn ticket(&self) -> Option<Ticket> {
        self.started.as_ref().map(|(_, ticket)| *ticket)
    }

    /// The operation that `call` has come to, to go on with it.
    pub fn begun(&self, call: &Call<'_>) -> Arc<Begun> {
        let started = self.started.as_ref().map(|(begun, _)| Arc::clone(begun));
        started.unwrap_or_else(|| Arc::new(Begun::new(self.place, call)))
    }
}
