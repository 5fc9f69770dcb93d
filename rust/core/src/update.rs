//! An operation update, as it stands in a checkpoint's body: written, and with its exact size in bytes before that.

use std::fmt;
use std::mem;
use std::sync::Arc;

use crate::id::OperationId;
use crate::operation::{Kind, Millis, Payload, SubType};

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
    Context {
        replay_children: bool,
    },
    Step {
        delay_seconds: u32,
    },
    Wait {
        seconds: u32,
    },
    Callback {
        timeout_seconds: u32,
        heartbeat_seconds: u32,
    },
    /// Apart, since it is seldom, and larger than all else together.
    Invoke(Box<Invoke<P>>),
}

/// Whom an invoke calls, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoke<P> {
    pub function: P,
    pub tenant: Option<P>,
    pub trace: Option<P>,
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

/// What takes the JSON of an update, piece by piece.
trait Sink<P> {
    /// JSON as it stands.
    fn raw(&mut self, json: &str);
    /// A word of the wire, which needs no escape.
    #[inline]
    fn word(&mut self, word: &str) {
        self.raw("\"");
        self.raw(word);
        self.raw("\"");
    }
    /// A text, to be put in quotes.
    fn text(&mut self, text: &str);
    fn id(&mut self, id: &OperationId);
    fn number(&mut self, number: u32);
    fn payload(&mut self, payload: &P);
}

/// Adds up the bytes.
struct Length(usize);

impl<P: Payload> Sink<P> for Length {
    #[inline]
    fn raw(&mut self, json: &str) {
        self.0 += json.len();
    }

    fn text(&mut self, text: &str) {
        self.0 += perdure_json::text_len(text);
    }

    fn id(&mut self, _: &OperationId) {
        self.0 += 66;
    }

    fn number(&mut self, number: u32) {
        self.0 += number.checked_ilog10().map_or(1, |log| log as usize + 1);
    }

    fn payload(&mut self, payload: &P) {
        self.0 += payload.json_len();
    }
}

/// Writes it; payloads by a function of the caller's.
struct Writer<'a, F, E> {
    out: &'a mut Vec<u8>,
    write: F,
    failed: Option<E>,
}

impl<P, E, F: FnMut(&mut Vec<u8>, &P) -> Result<(), E>> Sink<P> for Writer<'_, F, E> {
    fn raw(&mut self, json: &str) {
        self.out.extend_from_slice(json.as_bytes());
    }

    fn text(&mut self, text: &str) {
        perdure_json::quote(self.out, text);
    }

    fn id(&mut self, id: &OperationId) {
        self.raw("\"");
        self.raw(id.hex().as_str());
        self.raw("\"");
    }

    fn number(&mut self, number: u32) {
        self.raw(&number.to_string());
    }

    fn payload(&mut self, payload: &P) {
        if let Err(error) = (self.write)(self.out, payload) {
            self.failed.get_or_insert(error);
        }
    }
}

/// An object on its way into a sink, with `", "` and `": "` as the API client writes them.
struct Object<'a, S> {
    sink: &'a mut S,
    is_empty: bool,
}

impl<'a, S> Object<'a, S> {
    #[inline]
    fn open<P>(sink: &'a mut S) -> Self
    where
        S: Sink<P>,
    {
        sink.raw("{");
        Self { sink, is_empty: true }
    }

    /// Where the value of a member goes.
    #[inline]
    fn member<P>(&mut self, key: &str) -> &mut S
    where
        S: Sink<P>,
    {
        self.sink.raw(if mem::replace(&mut self.is_empty, false) { "\"" } else { ", \"" });
        self.sink.raw(key);
        self.sink.raw("\": ");
        self.sink
    }

    fn close<P>(self)
    where
        S: Sink<P>,
    {
        self.sink.raw("}");
    }
}

impl<P> Update<P> {
    fn describe(&self, sink: &mut impl Sink<P>) {
        let mut object = Object::open(sink);
        match &self.subject {
            Subject::Operation(id) => object.member("Id").id(id),
            subject @ Subject::Execution(_) => object.member("Id").word(&subject.to_string()),
        }
        object.member("Type").word(self.kind.as_str());
        object.member("Action").word(self.action.as_str());
        if let Some(sub_type) = &self.sub_type {
            object.member("SubType").text(sub_type.as_str());
        }
        if let Some(parent) = &self.parent {
            object.member("ParentId").id(parent);
        }
        if let Some(name) = &self.name {
            object.member("Name").text(name);
        }
        if let Some(payload) = &self.payload {
            object.member("Payload").payload(payload);
        }
        if let Some(error) = &self.error {
            object.member("Error").payload(error);
        }
        if let Some(key) = self.options.key() {
            self.options.describe(object.member(key));
        }
        object.close();
    }

    /// Appends the update as it stands in a checkpoint's body, with payloads as `write` writes them.
    pub fn write<E>(&self, out: &mut Vec<u8>, write: impl FnMut(&mut Vec<u8>, &P) -> Result<(), E>) -> Result<(), E> {
        let mut writer = Writer { out, write, failed: None };
        self.describe(&mut writer);
        writer.failed.map_or(Ok(()), Err)
    }

    /// The same with another form of its payloads.
    pub fn map<Q>(&self, mut map: impl FnMut(&P) -> Q) -> Update<Q> {
        Update {
            subject: self.subject,
            kind: self.kind,
            action: self.action,
            sub_type: self.sub_type.clone(),
            name: self.name.clone(),
            parent: self.parent,
            payload: self.payload.as_ref().map(&mut map),
            error: self.error.as_ref().map(&mut map),
            options: self.options.map(map),
        }
    }
}

impl<P: Payload> Update<P> {
    /// How many bytes the update takes in a checkpoint's body.
    pub fn json_len(&self) -> usize {
        let mut length = Length(0);
        self.describe(&mut length);
        length.0
    }
}

impl<P> Options<P> {
    /// The member of an update in which they stand.
    pub const fn key(&self) -> Option<&'static str> {
        Some(match self {
            Self::None => return None,
            Self::Context { .. } => "ContextOptions",
            Self::Step { .. } => "StepOptions",
            Self::Wait { .. } => "WaitOptions",
            Self::Callback { .. } => "CallbackOptions",
            Self::Invoke(_) => "ChainedInvokeOptions",
        })
    }

    fn describe(&self, sink: &mut impl Sink<P>) {
        let mut object = Object::open(sink);
        match self {
            Self::None => {}
            Self::Context { replay_children } => {
                object.member("ReplayChildren").raw(if *replay_children { "true" } else { "false" });
            }
            Self::Step { delay_seconds } => object.member("NextAttemptDelaySeconds").number(*delay_seconds),
            Self::Wait { seconds } => object.member("WaitSeconds").number(*seconds),
            Self::Callback { timeout_seconds, heartbeat_seconds } => {
                object.member("TimeoutSeconds").number(*timeout_seconds);
                object.member("HeartbeatTimeoutSeconds").number(*heartbeat_seconds);
            }
            Self::Invoke(invoke) => {
                let Invoke { function, tenant, trace } = &**invoke;
                object.member("FunctionName").payload(function);
                for (key, value) in [("TenantId", tenant), ("XAmznTraceId", trace)] {
                    if let Some(value) = value {
                        object.member(key).payload(value);
                    }
                }
            }
        }
        object.close();
    }

    fn map<Q>(&self, mut map: impl FnMut(&P) -> Q) -> Options<Q> {
        match self {
            Self::None => Options::None,
            &Self::Context { replay_children } => Options::Context { replay_children },
            &Self::Step { delay_seconds } => Options::Step { delay_seconds },
            &Self::Wait { seconds } => Options::Wait { seconds },
            &Self::Callback { timeout_seconds, heartbeat_seconds } => {
                Options::Callback { timeout_seconds, heartbeat_seconds }
            }
            Self::Invoke(invoke) => Options::Invoke(Box::new(Invoke {
                function: map(&invoke.function),
                tenant: invoke.tenant.as_ref().map(&mut map),
                trace: invoke.trace.as_ref().map(&mut map),
            })),
        }
    }
}

/// The body of the call that records updates, with the token and payloads as `write` writes them.
pub fn body<P, E>(
    token: &P,
    updates: &[Update<P>],
    client_token: &str,
    mut write: impl FnMut(&mut Vec<u8>, &P) -> Result<(), E>,
) -> Result<Vec<u8>, E> {
    let mut out = Vec::with_capacity(1_024);
    out.extend_from_slice(b"{\"CheckpointToken\": ");
    write(&mut out, token)?;
    out.extend_from_slice(b", \"Updates\": [");
    for (index, update) in updates.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        update.write(&mut out, &mut write)?;
    }
    out.extend_from_slice(b"], \"ClientToken\": ");
    perdure_json::quote(&mut out, client_token);
    out.push(b'}');
    Ok(out)
}

/// What updates add to what the service counts of an execution: operations, and the characters of their outcomes.
pub fn usage<P>(updates: &[Update<P>], characters: impl Fn(&P) -> usize) -> (usize, usize) {
    let started = updates.iter().filter(|update| update.action == Action::Start).count();
    let outcomes = updates.iter().filter(|update| update.action != Action::Start);
    (started, outcomes.filter_map(|update| update.payload.as_ref()).map(characters).sum())
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

    /// What is written has the size that was told before.
    fn assert_is_written(update: &Update<String>, json: &str) {
        let mut out = Vec::new();
        let written = update.write(&mut out, |out, payload| {
            perdure_json::quote(out, payload);
            Ok::<_, ()>(())
        });
        assert_eq!(written, Ok(()));
        assert_eq!(String::from_utf8_lossy(&out), json);
        assert_eq!(update.json_len(), json.len());
    }

    #[test]
    fn it_is_written_as_json_and_its_size_is_known_before() {
        let id = OperationId::at(None, 1).to_string();
        let head = format!(r#"{{"Id": "{id}", "Type": "STEP", "Action": "START", "SubType": "Step""#);
        let (function, tenant) = ("f".to_owned(), Some("t".to_owned()));
        let invoke = Options::Invoke(Box::new(Invoke { function, tenant, trace: None }));
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
            assert_is_written(&update(options), &format!("{head}{tail}}}"));
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
        assert_is_written(&full, &json);
    }

    #[test]
    fn a_body_holds_the_token_and_the_updates_in_order() {
        let (first, second) = (update(Options::None), update(Options::Wait { seconds: 9 }));
        let quote = |out: &mut Vec<u8>, text: &String| {
            perdure_json::quote(out, text);
            Ok::<_, ()>(())
        };
        let json = |update: &Update<String>| {
            let mut out = Vec::new();
            update.write(&mut out, quote).map(|()| String::from_utf8_lossy(&out).into_owned())
        };
        let written = |updates: &[Update<String>]| {
            let body = body(&"t\"".to_owned(), updates, "c", quote);
            body.map(|body| String::from_utf8_lossy(&body).into_owned())
        };
        let around =
            |updates: &str| Ok(format!(r#"{{"CheckpointToken": "t\"", "Updates": [{updates}], "ClientToken": "c"}}"#));
        assert_eq!(written(&[]), around(""));
        let both = json(&first).and_then(|one| Ok(format!("{one}, {}", json(&second)?)));
        assert_eq!(written(&[first, second]), both.and_then(|both| around(&both)));
    }

    #[test]
    fn what_begins_counts_as_an_operation_and_what_ends_by_its_payload() {
        let start = Update { payload: Some("to an invoked function".to_owned()), ..update(Options::None) };
        let end = Update { action: Action::Succeed, payload: Some("four".to_owned()), ..update(Options::None) };
        let failed = Update { action: Action::Fail, error: Some("no payload".to_owned()), ..update(Options::None) };
        assert_eq!(usage(&[start, end.clone(), failed, end], String::len), (1, 8));
    }

    #[test]
    fn a_payload_that_cannot_be_written_is_told() {
        let update = Update { payload: Some("1".to_owned()), ..update(Options::None) };
        assert_eq!(update.write(&mut Vec::new(), |_, payload| Err(payload.clone())), Err("1".to_owned()));
        assert_eq!(update.map(String::clone), update);
    }
}
