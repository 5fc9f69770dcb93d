//! What the service answers, read from its bytes straight into operations.
//!
//! A strict reader: it gives what is usual, and of anything else only says so ([`Unusual`]). Whoever called then reads
//! the answer some other way, which decides what it is worth: carries along what is odd, or names what is wrong. So
//! strictness costs time, never an operation. Members that no operation needs are stepped over.

use std::convert::Infallible;
use std::ops::{Range, RangeInclusive};
use std::str;
use std::sync::Arc;

use jiter::{Jiter, JiterError, Peek};

use crate::details::Details;
use crate::id::OperationId;
use crate::operation::{Kind, Millis, Operation, Spelled, Status, SubType};

/// The last millisecond of the year 9999, and the first of the year 1: Python's clock knows no others.
pub const MOMENTS: RangeInclusive<Millis> = -62_135_596_800_000..=253_402_300_799_999;

/// The most attempts that an operation may have.
pub const MAX_ATTEMPTS: u32 = i32::MAX.unsigned_abs();

/// What an answer came in. Its payloads are pieces of it.
pub type Body = Arc<String>;

/// A payload or an error object as it stands in a body: no copy of it is made, and nothing is unescaped, before somebody
/// wants to know what it says.
#[derive(Debug, Clone)]
pub struct Piece {
    body: Body,
    place: (u32, u32),
}

impl Piece {
    fn of(body: &Body, place: &Range<usize>) -> Option<Self> {
        let place = (u32::try_from(place.start).ok()?, u32::try_from(place.end).ok()?);
        Some(Self { body: Arc::clone(body), place })
    }

    /// Its JSON: a string, with quotes and escapes, or an object.
    pub fn json(&self) -> &str {
        self.body.get(self.place.0 as usize..self.place.1 as usize).unwrap_or_default()
    }
}

/// The answer to a checkpoint, or a page of recorded operations.
#[derive(Debug)]
pub struct Answer<P> {
    /// The next checkpoint token: none in a page, or where it was revoked.
    pub token: Option<Box<str>>,
    pub operations: Vec<Operation<P>>,
    /// Where the list of them stands in the body.
    pub place: Range<usize>,
    /// Where the next page begins, if there is one.
    pub marker: Option<Box<str>>,
    /// How many characters the results in it have.
    pub written: usize,
}

/// It is no answer as this reader knows them.
#[derive(Debug, PartialEq, Eq)]
pub struct Unusual;

impl From<JiterError> for Unusual {
    fn from(_: JiterError) -> Self {
        Self
    }
}

type Read<T> = Result<T, Unusual>;

/// Reads the answer to a checkpoint.
pub fn checkpoint<P: From<Piece>>(body: &Body) -> Read<Answer<P>> {
    let mut answer = Answer::new();
    let mut has_state = false;
    let json = &mut Jiter::new(body.as_bytes());
    object(json, |json, key| match key {
        Key::CheckpointToken => fill(&mut answer.token, text(json, own)?),
        Key::NewExecutionState if begins(json, &mut has_state)? => answer.state(json, body).map(drop),
        Key::NewExecutionState => Ok(()),
        _ => skip(json),
    })?;
    json.finish()?;
    // None at all is one that was revoked; an empty one is odd.
    if answer.token.as_deref() == Some("") { Err(Unusual) } else { Ok(answer) }
}

/// Reads a page of recorded operations.
pub fn page<P: From<Piece>>(body: &Body) -> Read<Answer<P>> {
    let mut answer = Answer::new();
    let json = &mut Jiter::new(body.as_bytes());
    let has_operations = answer.state(json, body)?;
    json.finish()?;
    if has_operations { Ok(answer) } else { Err(Unusual) }
}

impl<P: From<Piece>> Answer<P> {
    const fn new() -> Self {
        Self { token: None, operations: Vec::new(), place: 0..0, marker: None, written: 0 }
    }

    /// Reads a list of operations and where the next begins; tells whether there is a list at all.
    fn state(&mut self, json: &mut Jiter<'_>, body: &Body) -> Read<bool> {
        let mut has_operations = false;
        object(json, |json, key| match key {
            Key::Operations if begins(json, &mut has_operations)? => self.list(json, body),
            Key::Operations => Ok(()),
            Key::NextMarker => fill(&mut self.marker, text(json, own)?),
            _ => skip(json),
        })?;
        self.marker.take_if(|marker| marker.is_empty());
        Ok(has_operations)
    }

    fn list(&mut self, json: &mut Jiter<'_>, body: &Body) -> Read<()> {
        let start = json.current_index();
        let mut next = json.next_array()?;
        while next.is_some() {
            let (operation, written) = operation(json, body)?;
            self.operations.push(operation);
            self.written += written;
            next = json.array_step()?;
        }
        self.place = start..json.current_index();
        Ok(())
    }
}

/// What an operation says of itself, but for its details.
#[derive(Default)]
struct Head {
    id: Option<OperationId>,
    kind: Option<Spelled<Kind>>,
    status: Option<Spelled<Status>>,
    sub_type: Option<SubType>,
    name: Option<Arc<str>>,
    parent: Option<OperationId>,
}

/// An operation, and how many characters its result has.
fn operation<P: From<Piece>>(json: &mut Jiter<'_>, body: &Body) -> Read<(Operation<P>, usize)> {
    let mut head = Head::default();
    let mut found: Option<(Kind, Places)> = None;
    let mut end = None;
    object(json, |json, key| match key {
        Key::Id => fill(&mut head.id, said(json, OperationId::parse)?),
        Key::Type => fill(&mut head.kind, said(json, Kind::spelled)?),
        Key::Status => fill(&mut head.status, said(json, Status::spelled)?),
        Key::SubType => fill(&mut head.sub_type, said(json, SubType::new)?),
        Key::Name => fill(&mut head.name, said(json, |name| name.into())?),
        Key::ParentId => fill(&mut head.parent, said(json, OperationId::parse)?),
        Key::Details(kind) if is_null(json)? => match found {
            Some((before, _)) if before == kind => Err(Unusual),
            _ => Ok(()),
        },
        Key::Details(kind) => {
            let details = Places::read(json)?;
            fill(&mut found, Some((kind, details)))
        }
        Key::EndTimestamp => {
            fill(&mut end, Some(json.current_index()))?;
            skip(json)
        }
        _ => skip(json),
    })?;
    let (Some(id), Some(kind), Some(status)) = (head.id, &head.kind, &head.status) else { return Err(Unusual) };
    let mut operation = Operation::told(id, kind, status);
    operation.sub_type = head.sub_type;
    operation.name = head.name;
    operation.parent = head.parent;
    let mut written = 0;
    if let Some((kind, details)) = found {
        if !matches!(kind, Kind::Execution | Kind::Wait) {
            written = details.result.clone().map_or(0, |place| length(&body[place]));
        }
        if kind == operation.kind {
            let Ok(()) = Found { body, places: details }.complete(&mut operation);
        }
    }
    if let Some(end) = end.filter(|_| operation.is_completed_outside()) {
        // An odd one tells nothing, as if it were not there.
        let at = moment(&mut Jiter::new(&body.as_bytes()[end..])).ok().flatten();
        operation.due = at.or(operation.due);
    }
    Ok((operation, written))
}

/// The details of an operation of whatever kind; of payloads, where they stand.
#[derive(Default)]
struct Places {
    input: Option<Range<usize>>,
    result: Option<Range<usize>>,
    error: Option<Range<usize>>,
    attempt: Option<u32>,
    next_attempt: Option<Millis>,
    scheduled_end: Option<Millis>,
    callback_id: Option<Range<usize>>,
    replay_children: Option<bool>,
}

impl Places {
    fn read(json: &mut Jiter<'_>) -> Read<Self> {
        let mut details = Self::default();
        object(json, |json, key| match key {
            Key::InputPayload => fill(&mut details.input, place(json)?),
            Key::Result => fill(&mut details.result, place(json)?),
            Key::Error => fill(&mut details.error, error(json)?),
            Key::Attempt => fill(&mut details.attempt, count(json)?),
            Key::NextAttemptTimestamp => fill(&mut details.next_attempt, moment(json)?),
            Key::ScheduledEndTimestamp => fill(&mut details.scheduled_end, moment(json)?),
            Key::CallbackId => fill(&mut details.callback_id, place(json)?),
            Key::ReplayChildren => fill(&mut details.replay_children, flag(json)?),
            _ => skip(json),
        })?;
        Ok(details)
    }
}

/// The details of an operation, and what they stand in.
struct Found<'a> {
    body: &'a Body,
    places: Places,
}

impl Found<'_> {
    fn piece<P: From<Piece>>(&self, place: Option<&Range<usize>>) -> Option<P> {
        place.and_then(|place| Piece::of(self.body, place)).map(P::from)
    }
}

impl<P: From<Piece>> Details<P> for Found<'_> {
    type Error = Infallible;

    fn input(&mut self) -> Result<Option<P>, Infallible> {
        Ok(self.piece(self.places.input.as_ref()))
    }

    fn result(&mut self) -> Result<Option<P>, Infallible> {
        Ok(self.piece(self.places.result.as_ref()))
    }

    fn error(&mut self) -> Result<Option<P>, Infallible> {
        Ok(self.piece(self.places.error.as_ref()))
    }

    fn attempt(&mut self) -> Result<Option<u32>, Infallible> {
        Ok(self.places.attempt)
    }

    fn next_attempt(&mut self) -> Result<Option<Millis>, Infallible> {
        Ok(self.places.next_attempt)
    }

    fn scheduled_end(&mut self) -> Result<Option<Millis>, Infallible> {
        Ok(self.places.scheduled_end)
    }

    fn callback_id(&mut self) -> Result<Option<P>, Infallible> {
        Ok(self.piece(self.places.callback_id.as_ref()))
    }

    fn replay_children(&mut self) -> Result<Option<bool>, Infallible> {
        Ok(self.places.replay_children)
    }
}

/// The members that are read.
#[derive(Clone, Copy)]
enum Key {
    CheckpointToken,
    NewExecutionState,
    Operations,
    NextMarker,
    Id,
    Type,
    Status,
    SubType,
    Name,
    ParentId,
    Details(Kind),
    InputPayload,
    Result,
    Error,
    Attempt,
    NextAttemptTimestamp,
    ScheduledEndTimestamp,
    EndTimestamp,
    CallbackId,
    ReplayChildren,
    Other,
}

impl Key {
    fn of(key: &str) -> Self {
        match key {
            "Id" => Self::Id,
            "Type" => Self::Type,
            "Status" => Self::Status,
            "SubType" => Self::SubType,
            "Name" => Self::Name,
            "ParentId" => Self::ParentId,
            "Result" => Self::Result,
            "Error" => Self::Error,
            "Attempt" => Self::Attempt,
            "InputPayload" => Self::InputPayload,
            "NextAttemptTimestamp" => Self::NextAttemptTimestamp,
            "ScheduledEndTimestamp" => Self::ScheduledEndTimestamp,
            "EndTimestamp" => Self::EndTimestamp,
            "CallbackId" => Self::CallbackId,
            "ReplayChildren" => Self::ReplayChildren,
            "CheckpointToken" => Self::CheckpointToken,
            "NewExecutionState" => Self::NewExecutionState,
            "Operations" => Self::Operations,
            "NextMarker" => Self::NextMarker,
            other if other.ends_with("Details") => {
                let kind = Kind::ALL.into_iter().find(|kind| kind.details() == Some(other));
                kind.map_or(Self::Other, Self::Details)
            }
            _ => Self::Other,
        }
    }
}

// ---- JSON

/// Reads an object, a member at a time.
#[inline]
fn object<'j>(json: &mut Jiter<'j>, mut member: impl FnMut(&mut Jiter<'j>, Key) -> Read<()>) -> Read<()> {
    let mut key = json.next_object()?.map(Key::of);
    while let Some(at) = key {
        member(json, at)?;
        key = json.next_key()?.map(Key::of);
    }
    Ok(())
}

/// Takes a value for a member. One that is there twice is left to others: the last counts.
#[inline]
fn fill<T>(place: &mut Option<T>, value: Option<T>) -> Read<()> {
    if place.is_some() {
        return Err(Unusual);
    }
    *place = value;
    Ok(())
}

/// Whether a member begins whose value is to be read on the spot; it may not have been there before.
fn begins(json: &mut Jiter<'_>, seen: &mut bool) -> Read<bool> {
    if *seen {
        return Err(Unusual);
    }
    *seen = !is_null(json)?;
    Ok(*seen)
}

fn skip(json: &mut Jiter<'_>) -> Read<()> {
    Ok(json.next_skip()?)
}

/// Steps over a null, which is the same as nothing.
#[inline]
fn is_null(json: &mut Jiter<'_>) -> Read<bool> {
    let is_null = json.peek()? == Peek::Null;
    if is_null {
        json.known_null()?;
    }
    Ok(is_null)
}

#[inline]
fn text<T>(json: &mut Jiter<'_>, make: impl FnOnce(&str) -> T) -> Read<Option<T>> {
    if is_null(json)? { Ok(None) } else { Ok(Some(make(json.next_str()?))) }
}

/// Where a text stands, quotes and all, that is sound JSON; without lone surrogates, which Rust's text cannot hold.
fn place(json: &mut Jiter<'_>) -> Read<Option<Range<usize>>> {
    if is_null(json)? {
        return Ok(None);
    }
    let start = json.current_index();
    json.next_bytes()?;
    Ok(Some(start..json.current_index()))
}

/// How many characters the text has whose JSON this is.
fn length(json: &str) -> usize {
    let mut length = json.chars().count() - 2;
    let mut rest = json.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| byte == b'\\') {
        let (escape, taken) = match &rest[at + 1..] {
            // The second half of a pair is no character.
            [b'u', b'd' | b'D', b'c'..=b'f' | b'C'..=b'F', ..] => (6, 6),
            [b'u', ..] => (6, 5),
            _ => (2, 1),
        };
        length -= taken;
        rest = rest.get(at + escape..).unwrap_or_default();
    }
    length
}

/// A text; one that says nothing is none.
fn said<T>(json: &mut Jiter<'_>, make: impl FnOnce(&str) -> T) -> Read<Option<T>> {
    Ok(text(json, |text| (!text.is_empty()).then(|| make(text)))?.flatten())
}

fn own(text: &str) -> Box<str> {
    text.into()
}

fn flag(json: &mut Jiter<'_>) -> Read<Option<bool>> {
    if is_null(json)? { Ok(None) } else { Ok(Some(json.next_bool()?)) }
}

fn count(json: &mut Jiter<'_>) -> Read<Option<u32>> {
    if is_null(json)? {
        return Ok(None);
    }
    let count = digits(json)?.parse().ok().filter(|count| *count <= MAX_ATTEMPTS);
    count.map_or(Err(Unusual), |count| Ok(Some(count)))
}

/// A moment, which answers have in seconds, as exact as their number.
fn moment(json: &mut Jiter<'_>) -> Read<Option<Millis>> {
    if is_null(json)? {
        return Ok(None);
    }
    let seconds = digits(json)?;
    let moment = match seconds.parse::<Millis>() {
        Ok(seconds) => seconds.checked_mul(1_000),
        Err(_) if seconds.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) => {
            let seconds: f64 = seconds.parse().map_err(|_| Unusual)?;
            #[expect(clippy::cast_possible_truncation, reason = "what is too large becomes the largest, which is none")]
            Some((seconds * 1_000.0).round_ties_even() as Millis)
        }
        Err(_) => None,
    };
    moment.filter(|moment| MOMENTS.contains(moment)).map_or(Err(Unusual), |moment| Ok(Some(moment)))
}

/// A number as it is written.
fn digits<'j>(json: &'j mut Jiter<'_>) -> Read<&'j str> {
    str::from_utf8(json.next_number_bytes()?).map_err(|_| Unusual)
}

/// Where an error object stands, held to what one may have.
fn error(json: &mut Jiter<'_>) -> Read<Option<Range<usize>>> {
    if is_null(json)? {
        return Ok(None);
    }
    let start = json.current_index();
    let mut key = json.next_object()?.map(ErrorKey::of);
    while let Some(at) = key {
        match at {
            ErrorKey::Text => drop(text(json, |_| ())?),
            ErrorKey::Lines if is_null(json)? => {}
            ErrorKey::Lines => {
                let mut line = json.next_array()?;
                while line.is_some() {
                    json.next_str()?;
                    line = json.array_step()?;
                }
            }
            ErrorKey::Other => skip(json)?,
        }
        key = json.next_key()?.map(ErrorKey::of);
    }
    Ok(Some(start..json.current_index()))
}

#[derive(Clone, Copy)]
enum ErrorKey {
    Text,
    Lines,
    Other,
}

impl ErrorKey {
    fn of(key: &str) -> Self {
        match key {
            "ErrorMessage" | "ErrorType" | "ErrorData" => Self::Text,
            "StackTrace" => Self::Lines,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::Oddity;

    impl From<Piece> for String {
        fn from(piece: Piece) -> Self {
            piece.json().to_owned()
        }
    }

    fn of_checkpoint(body: &str) -> Read<Answer<String>> {
        checkpoint(&Arc::new(body.to_owned()))
    }

    fn of_page(body: &str) -> Read<Answer<String>> {
        page(&Arc::new(body.to_owned()))
    }

    fn read(operation: &str) -> Read<Operation<String>> {
        of_page(&format!(r#"{{"Operations": [{operation}]}}"#)).map(|mut page| page.operations.remove(0))
    }

    #[test]
    fn the_answer_to_a_checkpoint_is_read() {
        let body = r#" {"CheckpointToken": "next", "Other": [{"deep": -1.5e3}, null, "\u00e9"], "NewExecutionState": {
            "Operations": [{"Id": "a", "Type": "STEP", "Status": "SUCCEEDED", "StepDetails": {"Result": "1é"}}],
            "NextMarker": "more"}} "#;
        let answer = of_checkpoint(body).expect("it is usual");
        assert_eq!((answer.token.as_deref(), answer.marker.as_deref()), (Some("next"), Some("more")));
        assert_eq!((answer.operations.len(), answer.written), (1, 2));
        assert_eq!(&body[answer.place.clone()][..9], r#"[{"Id": ""#);
        assert!(body[answer.place].ends_with("}}]"));
        for (body, token) in [("{}", None), (r#"{"CheckpointToken": "t", "NewExecutionState": null}"#, Some("t"))] {
            let answer = of_checkpoint(body).expect("it is usual");
            assert_eq!((answer.token.as_deref(), answer.operations.len(), answer.place), (token, 0, 0..0));
        }
    }

    #[test]
    fn each_kind_has_its_details() {
        let error = r#"{"ErrorMessage": "no", "StackTrace": ["a", "b"], "More": {"x": [1]}}"#;
        let details = format!(
            r#"{{"InputPayload": "in", "Result": "out", "Error": {error}, "Attempt": 2, "NextAttemptTimestamp": 1.5,
                "ScheduledEndTimestamp": 3, "CallbackId": "c", "ReplayChildren": true}}"#
        );
        for kind in Kind::ALL {
            let (key, kind_text) = (kind.details().expect("it is known"), kind.as_str());
            let found = |status| {
                read(&format!(r#"{{"{key}": {details}, "Status": "{status}", "Type": "{kind_text}", "Id": "a"}}"#))
                    .expect("it is usual")
            };
            let (failed, succeeded) = (found("FAILED"), found("SUCCEEDED"));
            let result = match kind {
                Kind::Execution => Some(r#""in""#),
                Kind::Wait => None,
                _ => Some(r#""out""#),
            };
            assert_eq!((failed.result.as_deref(), succeeded.result.as_deref()), (result, result));
            assert_eq!(failed.error.as_deref(), (kind != Kind::Execution).then_some(error));
            assert_eq!(succeeded.error, None);
            let due = |operation: &Operation<String>| (operation.attempt, operation.due);
            match kind {
                Kind::Step => assert_eq!((due(&failed), due(&succeeded)), ((2, Some(1_500)), (0, None))),
                Kind::Wait => assert_eq!((due(&failed), due(&succeeded)), ((0, Some(3_000)), (0, Some(3_000)))),
                _ => assert_eq!(due(&failed), (0, None)),
            }
            assert_eq!(failed.callback_id.as_deref(), (kind == Kind::Callback).then_some(r#""c""#));
            assert_eq!(failed.replay_children, kind == Kind::Context);
        }
    }

    #[test]
    fn of_what_the_outside_has_completed_the_moment_is_known_when_it_did() {
        for (kind, due) in [("WAIT", Some(3_000)), ("CALLBACK", None), ("CHAINED_INVOKE", None), ("STEP", None)] {
            let at = |end: &str, status: &str| {
                let details = r#""WaitDetails": {"ScheduledEndTimestamp": 3}"#;
                read(&format!(
                    r#"{{"Id": "a", {end} "Type": "{kind}", "Status": "{status}", "StartTimestamp": 1, {details}}}"#
                ))
                .map(|operation| operation.due)
            };
            let completed = if kind == "STEP" { due } else { Some(4_500) };
            for status in ["SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED", "CANCELLED"] {
                assert_eq!(at(r#""EndTimestamp": 4.5,"#, status), Ok(completed), "{kind} {status}");
                for nothing in ["", "null", r#""soon""#, "true", "1e999", "[4.5]", "-99999999999"] {
                    let end = if nothing.is_empty() { String::new() } else { format!(r#""EndTimestamp": {nothing},"#) };
                    assert_eq!(at(&end, status), Ok(due), "{kind} {status} {nothing}");
                }
            }
            assert_eq!(at(r#""EndTimestamp": 4.5,"#, "STARTED"), Ok(due), "{kind}");
        }
        let twice = r#"{"Id": "a", "EndTimestamp": 1, "EndTimestamp": 2, "Type": "WAIT", "Status": "SUCCEEDED"}"#;
        assert_eq!(read(twice).err(), Some(Unusual));
    }

    #[test]
    fn the_length_of_a_text_is_known_without_making_it() {
        for (json, expected) in [
            (r#""""#, 0),
            (r#""abc é😀""#, 6),
            (r#""\"\\\n\/""#, 4),
            (r#""\\u0041""#, 6),
            (r#""\u00e9\u00E9x""#, 3),
            (r#""a\ud83d\ude00\uD83D\uDE00b""#, 4),
            (r#""\\\\""#, 2),
        ] {
            assert_eq!(length(json), expected, "{json}");
        }
    }

    #[test]
    fn what_is_not_known_is_carried_along() {
        let found = read(r#"{"Id": "a", "Type": "DREAM", "Status": "LOST", "DreamDetails": {"x": 1}, "Name": ""}"#);
        let found = found.expect("it is usual");
        assert_eq!((found.kind, found.status, found.name), (Kind::Unknown, Status::Unknown, None));
        assert_eq!(found.oddity.as_deref(), Some(&Oddity::Kind("DREAM".into())));
        let found = read(r#"{"Id": "a", "Type": "STEP", "Status": "LOST", "WaitDetails": null, "SubType": null}"#);
        assert_eq!(found.expect("it is usual").oddity.as_deref(), Some(&Oddity::Status("LOST".into())));
    }

    #[test]
    fn moments_are_as_exact_as_their_number() {
        for (number, expected) in [
            ("0", Some(0)),
            ("-1", Some(-1_000)),
            ("1767225600.123", Some(1_767_225_600_123)),
            ("1767225600.0005", Some(1_767_225_600_000)),
            ("1.7672256e9", Some(1_767_225_600_000)),
            ("253402300799.999", Some(253_402_300_799_999)),
            ("253402300800", None),
            ("-62135596801", None),
            ("1e999", None),
            ("9223372036854775807", None),
            ("99999999999999999999", None),
            ("\"1\"", None),
            ("true", None),
            ("NaN", None),
        ] {
            let found = read(&format!(
                r#"{{"Id": "a", "Type": "WAIT", "Status": "STARTED", "WaitDetails": {{"ScheduledEndTimestamp": {number}}}}}"#
            ));
            assert_eq!(found.ok().and_then(|operation| operation.due), expected, "{number}");
        }
    }

    #[test]
    fn anything_unusual_is_left_to_others() {
        let step = |members: &str| format!(r#"{{"Id": "a", "Type": "STEP", "Status": "STARTED"{members}}}"#);
        assert!(read(&step("")).is_ok());
        for members in [
            r#", "Id": "b""#,
            r#", "Name": 1"#,
            r#", "Name": "a", "Name": null"#,
            r#", "Name": "\ud800""#,
            r#", "SubType": {}"#,
            r#", "StepDetails": []"#,
            r#", "StepDetails": {}, "StepDetails": null"#,
            r#", "StepDetails": {}, "WaitDetails": {}"#,
            r#", "StepDetails": {"Attempt": -1}"#,
            r#", "StepDetails": {"Attempt": 1.0}"#,
            r#", "StepDetails": {"Attempt": 2147483648}"#,
            r#", "StepDetails": {"Result": 1}"#,
            r#", "StepDetails": {"Result": "\udc00"}"#,
            r#", "StepDetails": {"Result": "\q"}"#,
            r#", "StepDetails": {"Result": "1", "Result": "2"}"#,
            r#", "StepDetails": {"Error": "no"}"#,
            r#", "StepDetails": {"Error": {"ErrorMessage": 1}}"#,
            r#", "StepDetails": {"Error": {"StackTrace": [1]}}"#,
            r#", "StepDetails": {"Error": {"More": "\udc00"}}"#,
            r#", "ContextDetails": {"ReplayChildren": 1}"#,
            r#", "Other": NaN"#,
            r#", "Other": "\q""#,
            r#", "Other": 01"#,
            ",",
        ] {
            assert_eq!(read(&step(members)).err(), Some(Unusual), "{members}");
        }
        for body in [
            "",
            "null",
            "[]",
            "{} {}",
            r#"{"CheckpointToken": ""}"#,
            r#"{"CheckpointToken": 1}"#,
            r#"{"CheckpointToken": "a", "CheckpointToken": "a"}"#,
            r#"{"NewExecutionState": {}, "NewExecutionState": null}"#,
            r#"{"NewExecutionState": {"Operations": [], "Operations": null}}"#,
            r#"{"NewExecutionState": {"Operations": {}}}"#,
            r#"{"NewExecutionState": {"Operations": [null]}}"#,
            r#"{"NewExecutionState": {"NextMarker": 1}}"#,
        ] {
            assert_eq!(of_checkpoint(body).err(), Some(Unusual), "{body}");
        }
        // Without a list it is no page: what is recorded would be begun again.
        for body in ["{}", r#"{"Operations": null}"#, r#"{"NextMarker": "a"}"#] {
            assert_eq!(of_page(body).err(), Some(Unusual), "{body}");
        }
        for id in [r#""Id": """#, r#""Id": null"#, r#""Ix": "a""#] {
            assert!(read(&format!(r#"{{{id}, "Type": "STEP", "Status": "STARTED"}}"#)).is_err(), "{id}");
        }
    }
}
