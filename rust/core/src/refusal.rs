//! Why the engine does not go on, and the two sides of a mismatch in words.

use std::fmt::{self, Write};
use std::sync::Arc;

use thiserror::Error;

use crate::call::{Begun, Call, Head};
use crate::ending::Missed;
use crate::id::OperationId;
use crate::limits::Invalid;
use crate::operation::{Kind, Millis, Oddity, Operation, SubType};
use crate::wrong_context::WrongContext;

/// One side of a mismatch: what an operation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub kind: Kind,
    pub sub_type: Option<SubType>,
    pub name: Option<Arc<str>>,
    pub parent: Option<OperationId>,
}

impl Identity {
    /// What is recorded of an operation.
    pub fn of<P>(operation: &Operation<P>) -> Self {
        Self {
            kind: operation.kind,
            sub_type: operation.sub_type.clone(),
            name: operation.name.clone(),
            parent: operation.parent,
        }
    }

    /// What code asks for.
    pub fn called(call: &Call<'_>) -> Self {
        let Head { table, sub_type, name } = call.head();
        let sub_type = Some(SubType::new(sub_type));
        Self { kind: table.kind(), sub_type, name: name.map(Into::into), parent: None }
    }

    /// What has begun.
    pub fn begun(begun: &Begun) -> Self {
        let (sub_type, name) = (Some(begun.sub_type.clone()), begun.name.clone());
        Self { kind: begun.kind(), sub_type, name, parent: begun.place.parent }
    }

    /// The identity in words; with the parent where that is part of the difference.
    fn in_words(&self, with_parent: bool) -> String {
        let mut text = self.kind.as_str().to_owned();
        if let Some(sub_type) = &self.sub_type {
            let _ = write!(text, " of subtype {}", sub_type.as_str());
        }
        text += &self.name.as_deref().map_or_else(|| " without a name".to_owned(), |name| format!(" named {name:?}"));
        if with_parent {
            text +=
                &self.parent.map_or_else(|| " at the root".to_owned(), |parent| format!(" inside context {parent}"));
        }
        text
    }
}

/// The history holds something else than what the code now asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    pub id: OperationId,
    /// The position of the operation in its context, as the code counts.
    pub position: u64,
    pub recorded: Identity,
    /// What the code asks for; none for a virtual context, which is never recorded.
    pub called: Option<Identity>,
    /// The user's line that called.
    pub line: Option<Box<str>>,
}

impl Mismatch {
    pub(crate) fn new(id: OperationId, position: u64, recorded: Identity, called: Option<Identity>) -> Self {
        Self { id, position, recorded, called, line: None }
    }

    /// Both sides in words: what is recorded, and what the code asks for.
    pub fn in_words(&self) -> (String, String) {
        match &self.called {
            None => (self.recorded.in_words(false), "a virtual context, of which nothing is ever recorded".to_owned()),
            Some(called) => {
                let with_parent = self.recorded.parent != called.parent;
                (self.recorded.in_words(with_parent), called.in_words(with_parent))
            }
        }
    }
}

/// A recorded operation that no code can go on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Odd {
    pub id: OperationId,
    pub name: Option<Arc<str>>,
    pub oddity: Oddity,
    /// The user's line that came to it.
    pub line: Option<Box<str>>,
}

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, name, oddity, line } = self;
        let line = line.as_ref().map_or_else(String::new, |line| format!(", to which the code comes at {line},"));
        match name {
            Some(name) => write!(f, "operation {name:?} ({id}){line} is recorded {oddity}"),
            None => write!(f, "operation {id}{line} is recorded {oddity}"),
        }
    }
}

/// Why the engine does not go on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Only this call is; what follows goes on.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("the execution is suspended")]
    Suspended(Option<Millis>),
    #[error("what is recorded of the branches around is counted before anything new begins in one of them")]
    Held,
    #[error("the context around operation {0} has ended")]
    Orphaned(OperationId),
    #[error("operation {} differs from its recorded history", .0.id)]
    NonDeterministic(Box<Mismatch>),
    #[error("a function ended without coming to operation {}", .0.id)]
    Missed(Box<Missed>),
    #[error("an operation was called on a context that was not its caller's to use")]
    WrongContext(Box<WrongContext>),
    #[error("{0}")]
    Odd(Box<Odd>),
    #[error("the service has revoked the checkpoint token")]
    Revoked,
    #[error("an earlier checkpoint failed")]
    Broken,
    #[error(
        "maximum recursion depth exceeded within an operation: the functions and contexts around it are nested too deep, \
         or without end"
    )]
    TooDeep,
    #[error("the invocation is out of time")]
    OutOfTime,
}

impl Refusal {
    /// Whether it is between the code and its history.
    pub(crate) fn is_of_the_code(&self) -> bool {
        matches!(self, Self::NonDeterministic(_) | Self::Missed(_) | Self::WrongContext(_) | Self::Odd(_))
    }

    /// Whether the user's line that was refused is still to be found.
    pub fn wants_line(&self) -> bool {
        match self {
            Self::NonDeterministic(mismatch) => mismatch.line.is_none(),
            Self::WrongContext(call) => call.line.is_none(),
            Self::Odd(odd) => odd.line.is_none(),
            _ => false,
        }
    }

    pub(crate) fn line_mut(&mut self) -> Option<&mut Option<Box<str>>> {
        match self {
            Self::NonDeterministic(mismatch) => Some(&mut mismatch.line),
            Self::WrongContext(call) => Some(&mut call.line),
            Self::Odd(odd) => Some(&mut odd.line),
            _ => None,
        }
    }
}
