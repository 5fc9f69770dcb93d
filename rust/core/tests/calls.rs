//! Every call against every status: what is decided, which START is queued, what is refused, and when the time counts.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::time::Duration;

use perdure_core::call::Call;
use perdure_core::checkpoint::Role;
use perdure_core::decision::{Decision, Run};
use perdure_core::engine::Engine;
use perdure_core::id::OperationId;
use perdure_core::limits::{self, Invalid};
use perdure_core::operation::{Kind, Millis, Operation, Status, SubType};
use perdure_core::refusal::Refusal;
use perdure_core::scope::ScopeId;
use perdure_core::step::Semantics::{self, AtLeastOnce, AtMostOnce};
use perdure_core::update::{Action, Options, Update};

type Invocation = Engine<String, ()>;

const ROOT: ScopeId = ScopeId::ROOT;
const CONDITION: Call<'static> = Call::Condition { name: None };
const WAIT: Call<'static> = Call::Wait { name: None, seconds: 7 };
const CALLBACK: Call<'static> = Call::Callback { name: None, sub_type: "Callback", timeout: 5, heartbeat: 0 };
const INVOKE: Call<'static> = Call::Invoke { name: None };
const CHILD: Call<'static> = Call::Child { name: None, sub_type: "RunInChildContext" };
const BATCH: Call<'static> = Call::Batch { name: None, sub_type: "Map" };
// The place that others take first.
const BRANCH: Call<'static> = Call::Branch { name: None, sub_type: "MapIteration", index: 1 };

const fn step(semantics: Semantics) -> Call<'static> {
    Call::Step { name: None, sub_type: "Step", semantics }
}

const CALLS: [Call<'static>; 9] =
    [step(AtLeastOnce), step(AtMostOnce), CONDITION, WAIT, CALLBACK, INVOKE, CHILD, BATCH, BRANCH];

/// An invocation to which so many operations are known.
fn invocation(recorded: impl IntoIterator<Item = Operation<String>>) -> Invocation {
    let mut engine = Engine::new("token".to_owned());
    for operation in recorded {
        engine.history_mut().record(operation);
    }
    engine
}

/// The operation that `call` comes to first, with one of everything.
fn recorded(call: &Call<'_>, status: Status) -> Operation<String> {
    Operation {
        sub_type: Some(SubType::new(call.sub_type())),
        name: call.name().map(Into::into),
        attempt: 2,
        due: Some(1_000),
        result: Some("result".to_owned()),
        error: Some("error".to_owned()),
        callback_id: Some("callback".to_owned()),
        ..Operation::new(OperationId::at(None, 1), call.kind(), status)
    }
}

/// What the time is where nobody may ask.
fn unasked() -> Duration {
    panic!("the clock is read though nothing depends on it")
}

/// What is queued.
fn queued(engine: &mut Invocation) -> Vec<Update<String>> {
    if engine.queue().is_empty() {
        return Vec::new();
    }
    let latest = engine.queue().latest();
    assert_eq!(engine.lead(Some(latest), ()), Ok((Role::Lead, None)));
    let turn = engine.take_turn().unwrap();
    let updates = turn.batch.clone();
    engine.acknowledge(turn, Some("next".to_owned()), Vec::new(), 0);
    updates
}

/// A decision in a word; what begins is told by its first attempt.
fn word(decision: &Decision<'_, String>) -> &'static str {
    match decision {
        Decision::Value(Some(text)) if *text == "callback" => "id",
        Decision::Value(_) => "value",
        Decision::Failure { .. } => "failure",
        Decision::Pending(Some(1_000)) => "pending until",
        Decision::Pending(_) => "pending",
        Decision::Run(Run { write: false, .. }) => "rebuild",
        Decision::Run(Run { start: true, .. }) => "begin",
        Decision::Run(_) => "run",
        Decision::Start => "start",
        Decision::Interrupted { .. } => "interrupted",
    }
}

#[test]
fn what_is_recorded_decides() {
    use Status::{Cancelled, Failed, Pending, Ready, Started, Stopped, Succeeded, TimedOut};
    // Absent; STARTED, PENDING, READY; SUCCEEDED; FAILED, TIMED_OUT, STOPPED; CANCELLED.
    let table = [
        (step(AtLeastOnce), ["begin", "run", "pending until", "begin", "value", "failure", "failure"]),
        (step(AtMostOnce), ["start", "interrupted", "pending until", "start", "value", "failure", "failure"]),
        (CONDITION, ["begin", "run", "pending until", "begin", "value", "failure", "failure"]),
        (WAIT, ["start", "pending until", "pending until", "pending until", "value", "failure", "value"]),
        (CALLBACK, ["start", "id", "id", "id", "id", "id", "id"]),
        (INVOKE, ["start", "pending", "pending", "pending", "value", "failure", "failure"]),
        (CHILD, ["begin", "run", "run", "run", "value", "failure", "failure"]),
        (BATCH, ["begin", "run", "run", "run", "value", "failure", "failure"]),
        (BRANCH, ["begin", "run", "run", "run", "value", "failure", "failure"]),
    ];
    let columns: [&[Status]; 6] =
        [&[Started], &[Pending], &[Ready], &[Succeeded], &[Failed, TimedOut, Stopped], &[Cancelled]];
    for (call, [absent, rest @ ..]) in table {
        let mut engine = invocation([]);
        assert_eq!(word(&engine.begin(ROOT, &call, unasked).unwrap().decision), absent, "{call:?}");
        for (statuses, expected) in columns.into_iter().zip(rest) {
            for status in statuses {
                let mut engine = invocation([recorded(&call, *status)]);
                let arrival = engine.begin(ROOT, &call, unasked).unwrap();
                assert_eq!(word(&arrival.decision), expected, "{call:?} {status:?}");
                // What begins has its START queued, unless that is left to others; nothing else is.
                let starts = matches!(expected, "begin" | "start") && !matches!(call, INVOKE | BATCH | BRANCH);
                assert_eq!(arrival.ticket().is_some(), starts, "{call:?} {status:?}");
                assert_eq!(queued(&mut engine).len(), usize::from(starts), "{call:?} {status:?}");
            }
        }
    }
}

#[test]
fn a_start_is_that_of_its_call() {
    let table = [
        (step(AtLeastOnce), Kind::Step, "Step", Some(Options::None)),
        (step(AtMostOnce), Kind::Step, "Step", Some(Options::None)),
        (CONDITION, Kind::Step, "WaitForCondition", Some(Options::None)),
        (WAIT, Kind::Wait, "Wait", Some(Options::Wait { seconds: 7 })),
        (CALLBACK, Kind::Callback, "Callback", Some(Options::Callback { timeout_seconds: 5, heartbeat_seconds: 0 })),
        (INVOKE, Kind::ChainedInvoke, "ChainedInvoke", None),
        (CHILD, Kind::Context, "RunInChildContext", Some(Options::None)),
        (BATCH, Kind::Context, "Map", None),
        (BRANCH, Kind::Context, "MapIteration", None),
    ];
    for (call, kind, sub_type, start) in table {
        for name in ["", "pay"] {
            let call = call.named(name);
            let mut engine = invocation([]);
            let begun = engine.begin(ROOT, &call, unasked).unwrap().begun(&call);
            assert_eq!((begun.kind(), begun.sub_type.as_str()), (kind, sub_type), "{call:?}");
            assert_eq!(begun.name.as_deref(), Some(name).filter(|name| !name.is_empty()), "{call:?}");
            let found = queued(&mut engine);
            let said = found.first().map(|update| update.options.clone());
            assert_eq!(said, start, "{call:?}");
            for update in found {
                assert_eq!((update.kind, update.action), (kind, Action::Start), "{call:?}");
                assert_eq!(update.sub_type, Some(SubType::new(sub_type)), "{call:?}");
                assert_eq!(update.name, begun.name, "{call:?}");
            }
        }
    }
}

#[test]
fn a_name_is_checked_before_anything_is_sent_and_not_on_replay() {
    let long = "x".repeat(limits::MAX_NAME + 1);
    for name in ["né", &long] {
        for call in CALLS.map(|call| call.named(name)) {
            let mut engine = invocation([]);
            let refused = engine.begin(ROOT, &call, unasked).map(|_| ());
            assert!(matches!(refused, Err(Refusal::Invalid(_))), "{call:?} {refused:?}");
            assert_eq!(queued(&mut engine), [], "{call:?}");
            assert_eq!(engine.check(ROOT), Ok(()), "{call:?} stops nothing else");
            let mut engine = invocation([recorded(&call, Status::Succeeded)]);
            assert!(engine.begin(ROOT, &call, unasked).is_ok(), "{call:?}");
        }
    }
}

#[test]
fn seconds_are_checked_before_the_call_takes_its_place() {
    let callback = |timeout, heartbeat| Call::Callback { name: None, sub_type: "Callback", timeout, heartbeat };
    let (longest, timeout) = (limits::MAX_WAIT, limits::MAX_CALLBACK_TIMEOUT);
    let bad = [
        (Call::Wait { name: None, seconds: 0 }, Invalid::Wait(0)),
        (Call::Wait { name: None, seconds: longest + 1 }, Invalid::Wait(longest + 1)),
        (callback(-1, 0), Invalid::CallbackTimeout("timeout", -1)),
        (callback(0, timeout + 1), Invalid::CallbackTimeout("heartbeat timeout", timeout + 1)),
    ];
    for (call, invalid) in bad {
        let mut engine = invocation([]);
        assert_eq!(engine.begin(ROOT, &call, unasked).map(|_| ()), Err(Refusal::Invalid(invalid)));
        let next = engine.begin(ROOT, &step(AtLeastOnce), unasked).unwrap();
        assert_eq!(next.place.id, OperationId::at(None, 1));
    }
}

#[test]
fn no_work_begins_past_the_deadline_once_something_new_is_recorded() {
    let (early, deadline) = (Duration::from_secs(4), Duration::from_secs(5));
    for call in CALLS {
        for status in [None].into_iter().chain(Status::ALL.map(Some)) {
            let at = |now: Duration| {
                let mut engine = invocation(status.map(|status| recorded(&call, status)));
                engine.set_deadline(deadline);
                let first = Call::Branch { name: None, sub_type: "ParallelBranch", index: 9 };
                let begun = engine.begin(ROOT, &first, unasked).unwrap().begun(&first);
                engine.write(&begun, Action::Start, None, None, Options::None).unwrap();
                let arrival = engine.begin(ROOT, &call, || now).map(|arrival| arrival.decision.is_work());
                (arrival, engine.check(ROOT))
            };
            let (arrival, _) = at(early);
            let is_work = arrival.unwrap();
            let late = Refusal::OutOfTime;
            let (arrival, check) = at(deadline);
            // A timer or an invoke that is recorded wakes the execution by itself.
            let is_refused = matches!(check, Err(Refusal::OutOfTime));
            assert_eq!((arrival.is_err(), is_refused), (is_work, is_work), "{call:?} {status:?}");
            if status.is_none() {
                assert_eq!(arrival, Err(late), "{call:?}");
            }
        }
    }
}

#[test]
fn an_execution_always_advances() {
    let mut engine = invocation([]);
    engine.set_deadline(Duration::ZERO);
    assert!(engine.begin(ROOT, &step(AtLeastOnce), unasked).is_ok(), "nothing new was recorded before");
    let late = engine.begin(ROOT, &step(AtLeastOnce), || Duration::ZERO).map(|_| ());
    assert_eq!(late, Err(Refusal::OutOfTime));
}

#[test]
fn what_was_started_here_runs_and_what_was_retried_here_is_pending() {
    for call in [step(AtLeastOnce), step(AtMostOnce), CONDITION] {
        for (answer, until) in [
            (None, Some(3_000)),
            (Some(Status::Pending), Some(1_000)),
            (Some(Status::Ready), None),
            (Some(Status::Started), None),
            (Some(Status::Succeeded), None),
        ] {
            let mut engine = invocation([]);
            let begun = engine.begin(ROOT, &call, unasked).unwrap().begun(&call);
            queued(&mut engine);
            assert_eq!(word(&engine.again(&begun).unwrap()), "run", "{call:?}");
            let ticket = engine.retry(&begun, 3, None, None).unwrap();
            assert_eq!(engine.lead(Some(ticket), ()), Ok((Role::Lead, None)));
            let turn = engine.take_turn().unwrap();
            let news = answer.map(|status| recorded(&call, status)).into_iter().collect();
            engine.acknowledge(turn, Some("next".to_owned()), news, 0);
            let decision = engine.again(&begun).unwrap();
            assert_eq!(decision, Decision::Pending(until), "{call:?} {answer:?}");
        }
    }
}

#[test]
fn what_was_retried_here_and_is_started_again_here_runs() {
    for call in [step(AtLeastOnce), step(AtMostOnce), CONDITION] {
        let mut engine = invocation([]);
        let begun = engine.begin(ROOT, &call, unasked).unwrap().begun(&call);
        engine.retry(&begun, 3, None, None).unwrap();
        queued(&mut engine);
        assert_eq!(word(&engine.again(&begun).unwrap()), "pending", "{call:?}");
        engine.history_mut().record(recorded(&call, Status::Ready));
        assert!(engine.resume(&begun, unasked).unwrap().1.is_some(), "{call:?}");
        queued(&mut engine);
        assert_eq!(word(&engine.again(&begun).unwrap()), "run", "{call:?}");
    }
}

#[test]
fn what_was_kept_waiting_goes_on_as_if_it_were_come_to_now() {
    for (call, ready) in [(step(AtLeastOnce), "begin"), (step(AtMostOnce), "start"), (CONDITION, "begin")] {
        let mut engine = invocation([recorded(&call, Status::Pending)]);
        let begun = engine.begin(ROOT, &call, unasked).unwrap().begun(&call);
        let resumed = engine.resume(&begun, unasked).unwrap();
        assert_eq!(resumed, (Decision::Pending(Some(1_000)), None), "{call:?}");
        engine.history_mut().record(recorded(&call, Status::Ready));
        let (decision, ticket) = engine.resume(&begun, unasked).unwrap();
        assert_eq!((word(&decision), ticket.is_some()), (ready, true), "{call:?}");
        let started: Vec<_> = queued(&mut engine).iter().map(|update| (update.kind, update.action)).collect();
        assert_eq!(started, [(Kind::Step, Action::Start)], "{call:?}");
        assert_eq!(word(&engine.again(&begun).unwrap()), "run", "{call:?}");
        engine.history_mut().record(recorded(&call, Status::Succeeded));
        assert_eq!(word(&engine.resume(&begun, unasked).unwrap().0), "value", "{call:?}");
    }
}

#[test]
fn an_attempt_that_is_due_when_time_is_up_does_not_begin() {
    let call = step(AtLeastOnce);
    let mut engine = invocation([recorded(&call, Status::Pending)]);
    let begun = engine.begin(ROOT, &call, unasked).unwrap().begun(&call);
    let other = Call::Wait { name: None, seconds: 1 };
    engine.begin(ROOT, &other, unasked).unwrap();
    engine.set_deadline(Duration::ZERO);
    assert!(engine.resume(&begun, unasked).is_ok(), "it only looks");
    engine.history_mut().record(recorded(&call, Status::Ready));
    assert!(matches!(engine.resume(&begun, || Duration::ZERO), Err(Refusal::OutOfTime)));
}

#[test]
fn a_delay_is_cut_to_what_the_service_takes() {
    for (asked, taken) in
        [(i64::MIN, 1), (0, 1), (1, 1), (90, 90), (limits::MAX_WAIT + 1, 31_622_400), (i64::MAX, 31_622_400)]
    {
        let mut engine = invocation([]);
        let begun = engine.begin(ROOT, &CONDITION, unasked).unwrap().begun(&CONDITION);
        engine.retry(&begun, asked, None, None).unwrap();
        let options = queued(&mut engine).pop().map(|update| update.options);
        assert_eq!(options, Some(Options::Step { delay_seconds: taken }), "{asked}");
    }
}

#[test]
fn a_callback_is_answered_whoever_asks() {
    let due: Option<Millis> = None;
    for (status, expected) in [
        (None, "pending"),
        (Some(Status::Started), "pending"),
        (Some(Status::Succeeded), "value"),
        (Some(Status::Failed), "failure"),
        (Some(Status::TimedOut), "failure"),
        (Some(Status::Cancelled), "failure"),
    ] {
        let mut engine = invocation(status.map(|status| Operation { due, ..recorded(&CALLBACK, status) }));
        let (begun, decision) = engine.callback_result(ROOT, OperationId::at(None, 1)).unwrap();
        assert_eq!(word(&decision), expected, "{status:?}");
        assert_eq!((begun.kind(), begun.place.id), (Kind::Callback, OperationId::at(None, 1)));
        assert!(!engine.is_suspended(ROOT), "that is for the driver to say");
    }
}
