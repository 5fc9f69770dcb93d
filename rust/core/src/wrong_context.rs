//! A call on a context that was not the caller's to use, in words.

use crate::operation::Kind;
use crate::refusal::Identity;

/// What is wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misuse {
    /// It comes out of a function that may use no context.
    InFunction,
    /// It comes out of a function that was handed a context of its own.
    InContext,
    /// It comes out of a function elsewhere, which this context is not around.
    Elsewhere,
    /// It comes from another thread while an operation of the context is at work.
    AtOnce,
    /// It comes from another thread than the one that runs all tasks.
    OtherThread,
}

/// A call on a context that was not the caller's to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongContext {
    pub called: Identity,
    /// The operation whose context it was called on; none for the handler's, or if it is not known.
    pub owner: Option<Identity>,
    pub is_root: bool,
    /// The operation of that context that is at work.
    pub at_work: Option<Identity>,
    /// The operation whose function calls; none for the handler.
    pub function: Option<Identity>,
    pub misuse: Misuse,
    /// The user's line that called.
    pub line: Option<Box<str>>,
}

impl WrongContext {
    /// What was done, what to do instead, and why.
    pub fn in_words(&self) -> String {
        let called = plain(&self.called);
        let line = self.line.as_ref().map_or_else(String::new, |line| format!(" at {line}"));
        let owner = if self.is_root { "the handler" } else { &named(self.owner.as_ref()) };
        format!("{called} was called{line} on the context of {owner} {}. {}", self.when(), self.instead())
    }

    fn when(&self) -> String {
        let (at_work, function) = (named(self.at_work.as_ref()), named(self.function.as_ref()));
        match self.misuse {
            Misuse::InFunction | Misuse::InContext if self.function == self.at_work => {
                format!("while {at_work} is at work")
            }
            Misuse::InFunction | Misuse::InContext => format!("while {at_work} is at work, by {function} inside it"),
            Misuse::Elsewhere => format!("by {function}, which is not inside it"),
            Misuse::AtOnce => format!("while {at_work} is at work, by another thread"),
            Misuse::OtherThread => "by another thread than that of its event loop".to_owned(),
        }
    }

    fn instead(&self) -> String {
        let (at_work, function) = (named(self.at_work.as_ref()), named(self.function.as_ref()));
        match self.misuse {
            Misuse::InFunction => format!(
                "{} Call it before {at_work} or after it, or use run_in_child_context, whose function is handed a \
                 context of its own. {LOST}",
                self.whom_it_serves()
            ),
            Misuse::InContext => format!("Use the context that the function of {function} is handed. {LOST}"),
            Misuse::Elsewhere => {
                format!("Use each context only in the function that it is handed to, and in what that calls. {CHANCE}")
            }
            Misuse::AtOnce => format!(
                "What {at_work} runs, in whatever thread, may use no context but one that it is handed, and threads of \
                 the handler's own must take turns. For what is to run at one time use parallel or map, which hand \
                 each branch a context of its own. {CHANCE}"
            ),
            Misuse::OtherThread => {
                format!("Call operations in tasks of the event loop alone, not in threads beside it. {CHANCE}")
            }
        }
    }

    fn whom_it_serves(&self) -> String {
        let function = named(self.function.as_ref());
        match &self.function {
            Some(identity) if identity.kind == Kind::Context => {
                format!("Only the functions of {function} that are handed a context may use one, and that alone.")
            }
            _ => format!("What {function} runs may use no context."),
        }
    }
}

const LOST: &str = "What is recorded does not run again on replay, so later operations would find each other's results";
const CHANCE: &str =
    "Operations take their place in the record by the order of the calls, which would be left to chance";

fn named(identity: Option<&Identity>) -> String {
    identity.map_or_else(|| "an operation that has ended".to_owned(), plain)
}

/// An operation as its caller would name it.
pub(crate) fn plain(identity: &Identity) -> String {
    let sub_type = identity.sub_type.as_ref().map_or("", |sub_type| sub_type.as_str());
    let noun = match (identity.kind, sub_type) {
        (Kind::Step, "WaitForCondition") => "wait_for_condition",
        (Kind::Step, "replay-safe value") => "replay-safe value (uuid, random or now)",
        (Kind::Step, _) => "step",
        (Kind::Wait, _) => "wait",
        (Kind::Callback, _) => "callback",
        (Kind::ChainedInvoke, _) => "invoke",
        (Kind::Execution, _) => "execution",
        (Kind::Unknown, _) => "operation",
        (Kind::Context, "Map") => "map",
        (Kind::Context, "MapIteration") => "map item",
        (Kind::Context, "Parallel") => "parallel",
        (Kind::Context, "ParallelBranch") => "parallel branch",
        (Kind::Context, "WaitForCallback") => "wait_for_callback",
        (Kind::Context, "virtual context") => "virtual child context",
        (Kind::Context, "flat branch") => "branch of a FLAT map or parallel",
        (Kind::Context, _) => "child context",
    };
    match (&identity.name, sub_type) {
        (Some(name), _) => format!("{noun} {name:?}"),
        (None, "virtual context" | "flat branch" | "replay-safe value") => format!("a {noun}"),
        (None, _) => format!("the unnamed {noun}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::SubType;

    #[test]
    fn operations_are_named_as_their_callers_would() {
        let named = |kind, sub_type: &str, name: Option<&str>| {
            plain(&Identity { kind, sub_type: Some(SubType::new(sub_type)), name: name.map(Into::into), parent: None })
        };
        assert_eq!(named(Kind::Step, "Step", Some("pay")), "step \"pay\"");
        assert_eq!(named(Kind::Wait, "Wait", None), "the unnamed wait");
        assert_eq!(named(Kind::Step, "replay-safe value", None), "a replay-safe value (uuid, random or now)");
        assert_eq!(named(Kind::Execution, "", None), "the unnamed execution");
        assert_eq!(named(Kind::Unknown, "Dream", Some("d")), "operation \"d\"");
        assert_eq!(named(Kind::Context, "Whatever", Some("c")), "child context \"c\"");
    }
}
