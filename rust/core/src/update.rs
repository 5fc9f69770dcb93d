//! An operation update, with its exact size in bytes.

use std::fmt;
use std::sync::Arc;

use crate::id::OperationId;
use crate::operation::{Kind, Millis, Payload, SubType, json_text_len};

/// What an update says happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Start,
    Succeed,
    Fail,
    Retry,
}

impl Action {
    /// The action as the wire spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "START",
            Self::Succeed => "SUCCEED",
            Self::Fail => "FAIL",
            Self::Retry => "RETRY",
        }
    }
}

/// Whom an update is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// An operation of the handler.
    Operation(OperationId),
    /// The execution itself, whose result was too large for the response; the moment makes the id unique.
    Execution(Millis),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operation(id) => id.fmt(f),
            Self::Execution(moment) => write!(f, "execution-result-{moment}"),
        }
    }
}

/// The options that go with some updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Options<P> {
    None,
    Context { replay_children: bool },
    Step { delay_seconds: u32 },
    Wait { seconds: u32 },
    Callback { timeout_seconds: u32, heartbeat_seconds: u32 },
    Invoke { function: P, tenant: Option<P>, trace: Option<P> },
}

/// One thing to tell the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update<P> {
    pub subject: Subject,
    pub kind: Kind,
    pub action: Action,
    pub sub_type: Option<SubType>,
    pub name: Option<Arc<str>>,
    pub parent: Option<OperationId>,
    pub payload: Option<P>,
    pub error: Option<P>,
    pub options: Options<P>,
}

/// Adds up the bytes of a JSON object written with `", "` and `": "`, as the API client writes it.
struct Object(usize);

impl Object {
    const fn new() -> Self {
        Self(0)
    }
    const fn member(mut self, key: &str, value: usize) -> Self {
        if self.0 > 0 {
            self.0 += 2;
        }
        self.0 += key.len() + 4 + value;
        self
    }
    fn optional(self, key: &str, value: Option<usize>) -> Self {
        match value {
            Some(value) => self.member(key, value),
            None => self,
        }
    }
    const fn len(self) -> usize {
        self.0 + 2
    }
}

const fn digits(value: u64) -> usize {
    match value.checked_ilog10() {
        Some(log) => log as usize + 1,
        None => 1,
    }
}

const HEX: usize = 66;

impl<P: Payload> Update<P> {
    /// How many bytes the update takes in a checkpoint's body.
    pub fn json_len(&self) -> usize {
        let subject = match self.subject {
            Subject::Operation(_) => HEX,
            Subject::Execution(_) => self.subject.to_string().len() + 2,
        };
        let object = Object::new()
            .member("Id", subject)
            .member("Type", self.kind.as_str().len() + 2)
            .member("Action", self.action.as_str().len() + 2)
            .optional("SubType", self.sub_type.as_ref().map(|sub_type| json_text_len(sub_type.as_str())))
            .optional("ParentId", self.parent.map(|_| HEX))
            .optional("Name", self.name.as_deref().map(json_text_len))
            .optional("Payload", self.payload.as_ref().map(Payload::json_len))
            .optional("Error", self.error.as_ref().map(Payload::json_len));
        match &self.options {
            Options::None => object,
            Options::Context { replay_children } => {
                let value = if *replay_children { "true" } else { "false" };
                object.member("ContextOptions", Object::new().member("ReplayChildren", value.len()).len())
            }
            Options::Step { delay_seconds } => {
                let delay = digits(u64::from(*delay_seconds));
                object.member("StepOptions", Object::new().member("NextAttemptDelaySeconds", delay).len())
            }
            Options::Wait { seconds } => {
                object.member("WaitOptions", Object::new().member("WaitSeconds", digits(u64::from(*seconds))).len())
            }
            Options::Callback { timeout_seconds, heartbeat_seconds } => object.member(
                "CallbackOptions",
                Object::new()
                    .member("TimeoutSeconds", digits(u64::from(*timeout_seconds)))
                    .member("HeartbeatTimeoutSeconds", digits(u64::from(*heartbeat_seconds)))
                    .len(),
            ),
            Options::Invoke { function, tenant, trace } => object.member(
                "ChainedInvokeOptions",
                Object::new()
                    .member("FunctionName", function.json_len())
                    .optional("TenantId", tenant.as_ref().map(Payload::json_len))
                    .optional("XAmznTraceId", trace.as_ref().map(Payload::json_len))
                    .len(),
            ),
        }
        .len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(options: Options<String>) -> Update<String> {
        Update {
            subject: Subject::Operation(OperationId::at(None, 1)),
            kind: Kind::Step,
            action: Action::Start,
            sub_type: Some(SubType::new("Step")),
            name: None,
            parent: None,
            payload: None,
            error: None,
            options,
        }
    }

    #[test]
    fn the_size_is_that_of_the_json() {
        let id = OperationId::at(None, 1).to_string();
        let head = format!(r#"{{"Id": "{id}", "Type": "STEP", "Action": "START", "SubType": "Step""#);
        let invoke = Options::Invoke { function: "f".to_owned(), tenant: Some("t".to_owned()), trace: None };
        for (options, tail) in [
            (Options::None, String::new()),
            (Options::Context { replay_children: true }, r#", "ContextOptions": {"ReplayChildren": true}"#.to_owned()),
            (
                Options::Context { replay_children: false },
                r#", "ContextOptions": {"ReplayChildren": false}"#.to_owned(),
            ),
            (Options::Step { delay_seconds: 10 }, r#", "StepOptions": {"NextAttemptDelaySeconds": 10}"#.to_owned()),
            (Options::Wait { seconds: 9 }, r#", "WaitOptions": {"WaitSeconds": 9}"#.to_owned()),
            (
                Options::Callback { timeout_seconds: 0, heartbeat_seconds: 100 },
                r#", "CallbackOptions": {"TimeoutSeconds": 0, "HeartbeatTimeoutSeconds": 100}"#.to_owned(),
            ),
            (invoke, r#", "ChainedInvokeOptions": {"FunctionName": "f", "TenantId": "t"}"#.to_owned()),
        ] {
            assert_eq!(update(options).json_len(), format!("{head}{tail}}}").len(), "{tail}");
        }
    }

    #[test]
    fn every_member_counts() {
        let parent = OperationId::at(None, 7);
        let full = Update {
            subject: Subject::Execution(1_700_000_000_000),
            kind: Kind::Execution,
            action: Action::Succeed,
            sub_type: None,
            name: Some("né".into()),
            parent: Some(parent),
            payload: Some("\"".to_owned()),
            error: Some("e".to_owned()),
            options: Options::None,
        };
        let json = format!(
            r#"{{"Id": "execution-result-1700000000000", "Type": "EXECUTION", "Action": "SUCCEED", "ParentId": "{parent}", "Name": "n\u00e9", "Payload": "\"", "Error": "e"}}"#
        );
        assert_eq!(full.json_len(), json.len());
    }
}
