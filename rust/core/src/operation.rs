//! A recorded operation: type, status, subtype, name, parent, details.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::id::OperationId;

/// Milliseconds since the Unix epoch.
pub type Millis = i64;

/// A word of the wire: what it means, or the word itself if this version does not know it.
pub type Spelled<T> = Result<T, Box<str>>;

/// Text (a payload, a callback id) or an error object that the engine carries about without reading it.
///
/// The Rust tests use `String`; the binding uses references to the Python objects that came in.
pub trait Payload {
    /// How many bytes it takes in a JSON document with ASCII escapes, quotes included.
    fn json_len(&self) -> usize;
}

impl Payload for String {
    fn json_len(&self) -> usize {
        perdure_json::text_len(self)
    }
}

/// What kind of operation it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Execution,
    Context,
    Step,
    Wait,
    Callback,
    ChainedInvoke,
    /// One that this version does not know.
    Unknown,
}

impl Kind {
    /// Every known kind, in the order of the service model.
    pub const ALL: [Self; 6] =
        [Self::Execution, Self::Context, Self::Step, Self::Wait, Self::Callback, Self::ChainedInvoke];

    /// The kind as the wire spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Execution => "EXECUTION",
            Self::Context => "CONTEXT",
            Self::Step => "STEP",
            Self::Wait => "WAIT",
            Self::Callback => "CALLBACK",
            Self::ChainedInvoke => "CHAINED_INVOKE",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// The kind that `text` spells.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// The same; or the text, if it is none that this version knows.
    pub fn spelled(text: &str) -> Spelled<Self> {
        Self::parse(text).ok_or_else(|| text.into())
    }

    /// The member of an operation in which the wire has its details; none where the kind is not known.
    pub const fn details(self) -> Option<&'static str> {
        Some(match self {
            Self::Execution => "ExecutionDetails",
            Self::Context => "ContextDetails",
            Self::Step => "StepDetails",
            Self::Wait => "WaitDetails",
            Self::Callback => "CallbackDetails",
            Self::ChainedInvoke => "ChainedInvokeDetails",
            Self::Unknown => return None,
        })
    }
}

/// How far the service says an operation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Started,
    Pending,
    Ready,
    Succeeded,
    Failed,
    Cancelled,
    TimedOut,
    Stopped,
    /// One that this version does not know.
    Unknown,
}

impl Status {
    /// Every known status, in the order of the service model.
    pub const ALL: [Self; 8] = [
        Self::Started,
        Self::Pending,
        Self::Ready,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::TimedOut,
        Self::Stopped,
    ];

    /// The status as the wire spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "STARTED",
            Self::Pending => "PENDING",
            Self::Ready => "READY",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
            Self::TimedOut => "TIMED_OUT",
            Self::Stopped => "STOPPED",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// The status that `text` spells.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// The same; or the text, if it is none that this version knows.
    pub fn spelled(text: &str) -> Spelled<Self> {
        Self::parse(text).ok_or_else(|| text.into())
    }

    /// Whether nothing more can happen to the operation.
    pub const fn is_terminal(self) -> bool {
        !self.is_open() && !matches!(self, Self::Unknown)
    }

    /// Whether something more will happen to the operation; of an unknown status neither is known.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Started | Self::Pending | Self::Ready)
    }
}

/// What of a recorded operation this version can make nothing of. It is carried along; only code that comes to the
/// operation cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Oddity {
    #[error("of the type {0:?}, which this version of perdure does not know: use one that does")]
    Kind(Box<str>),
    #[error("with the status {0:?}, which this version of perdure does not know: use one that does")]
    Status(Box<str>),
    #[error("both as {} and as {}: the service contradicts itself", .0.as_str(), .1.as_str())]
    TwoKinds(Kind, Kind),
}

/// The finer kind, which users may choose for steps, callbacks and child contexts.
#[derive(Clone)]
pub struct SubType(Spelling);

#[derive(Clone)]
enum Spelling {
    /// One of the engine's own.
    Known(&'static &'static str),
    /// A user's, shared by all that is said of its operation. Seldom, so that all others are smaller for it.
    Own(Arc<Box<str>>),
}

static KNOWN: [&str; 11] = [
    "Step",
    "Wait",
    "Callback",
    "RunInChildContext",
    "Map",
    "MapIteration",
    "Parallel",
    "ParallelBranch",
    "WaitForCallback",
    "WaitForCondition",
    "ChainedInvoke",
];

impl SubType {
    /// The subtype that `text` spells; the engine's own are not copied.
    pub fn new(text: &str) -> Self {
        let known = KNOWN.iter().find(|known| **known == text);
        Self(known.map_or_else(|| Spelling::Own(Arc::new(text.into())), Spelling::Known))
    }

    /// The subtype as the wire spells it.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Spelling::Known(text) => text,
            Spelling::Own(text) => text,
        }
    }
}

impl PartialEq for SubType {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for SubType {}

impl fmt::Debug for SubType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// One operation as the service recorded it.
#[derive(Debug)]
pub struct Operation<P> {
    pub id: OperationId,
    pub kind: Kind,
    pub status: Status,
    pub sub_type: Option<SubType>,
    pub name: Option<Arc<str>>,
    pub parent: Option<OperationId>,
    /// Attempts that have ended so far (steps only).
    pub attempt: u32,
    /// When the service will next act: the end of a wait, the next attempt of a step. Of what the outside has completed,
    /// when it did.
    pub due: Option<Millis>,
    /// The recorded result; the polled state of a condition.
    pub result: Option<P>,
    /// The recorded error object.
    pub error: Option<P>,
    /// What the outside answers a callback with.
    pub callback_id: Option<P>,
    /// Whether the result is rebuilt by running the context again over its children.
    pub replay_children: bool,
    /// Why no code can go on from it, if so.
    pub oddity: Option<Box<Oddity>>,
}

impl<P> Operation<P> {
    /// An operation with nothing known but what every operation has.
    pub fn new(id: OperationId, kind: Kind, status: Status) -> Self {
        Self {
            id,
            kind,
            status,
            sub_type: None,
            name: None,
            parent: None,
            attempt: 0,
            due: None,
            result: None,
            error: None,
            callback_id: None,
            replay_children: false,
            oddity: None,
        }
    }

    /// An operation as the wire spells it. A kind or a status that this version does not know is carried along.
    pub fn told(id: OperationId, kind: &Spelled<Kind>, status: &Spelled<Status>) -> Self {
        let oddity = match (kind, status) {
            (Err(kind), _) => Some(Oddity::Kind(kind.clone())),
            (_, Err(status)) => Some(Oddity::Status(status.clone())),
            _ => None,
        };
        let (kind, status) = (kind.as_ref().copied(), status.as_ref().copied());
        let told = Self::new(id, kind.unwrap_or(Kind::Unknown), status.unwrap_or(Status::Unknown));
        Self { oddity: oddity.map(Box::new), ..told }
    }

    /// Whether an error among its details is of any use.
    pub fn may_have_failed(&self) -> bool {
        self.status != Status::Succeeded && self.kind != Kind::Execution
    }

    /// Whether the outside has completed it, at a moment of which the record tells.
    pub fn is_completed_outside(&self) -> bool {
        matches!(self.kind, Kind::Wait | Kind::Callback | Kind::ChainedInvoke) && self.status.is_terminal()
    }

    /// The operation in a few words, for a message.
    pub fn in_words(&self) -> String {
        let kind = self.sub_type.as_ref().map_or(self.kind.as_str(), SubType::as_str);
        let id = self.id;
        self.name.as_deref().map_or_else(|| format!("{kind} {id}"), |name| format!("{kind} {name:?}"))
    }

    /// Whether code that has come to it would wait for it, or do it.
    pub fn is_open(&self) -> bool {
        !matches!(self.kind, Kind::Execution | Kind::Unknown) && self.status.is_open()
    }

    /// Whether the service will wake the execution for it, whatever the execution does until then.
    ///
    /// Not for a callback: its answer may depend on work that the execution has yet to do.
    pub fn is_awaited(&self) -> bool {
        match self.kind {
            Kind::Step => matches!(self.status, Status::Pending | Status::Ready),
            Kind::Wait | Kind::ChainedInvoke => self.status.is_open(),
            Kind::Execution | Kind::Context | Kind::Callback | Kind::Unknown => false,
        }
    }

    /// Whether the service wakes the execution for it by a moment, as far as that is known.
    pub fn wakes_by(&self, moment: Millis) -> bool {
        self.is_awaited() && (self.status == Status::Ready || self.due.is_some_and(|due| due <= moment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_read_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::parse(kind.as_str()), Some(kind));
        }
        for status in Status::ALL {
            assert_eq!(Status::parse(status.as_str()), Some(status));
        }
        for text in KNOWN.into_iter().chain(["Custom"]) {
            assert_eq!(SubType::new(text).as_str(), text);
        }
        assert_eq!(Kind::parse("step"), None);
        assert_eq!(Kind::parse(Kind::Unknown.as_str()), None);
        assert_eq!(Status::parse(Status::Unknown.as_str()), None);
        assert_eq!(Status::parse(""), None);
    }
}
