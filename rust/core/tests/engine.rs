//! One invocation as a driver sees it: positions, identities, suspension, orphans, answers of the service.

use std::sync::Arc;
use std::time::Duration;

use perdure_core::branches::{Branches, End};
use perdure_core::call::{Begun, Call};
use perdure_core::checkpoint::{Checkpointing, Role, Ticket};
use perdure_core::completion::Policy;
use perdure_core::decision::Decision;
use perdure_core::engine::Engine;
use perdure_core::id::OperationId;
use perdure_core::operation::{Kind, Oddity, Operation, Status, SubType};
use perdure_core::outcome::{Ending, Stop};
use perdure_core::refusal::Refusal;
use perdure_core::scope::ScopeId;
use perdure_core::step::Semantics;
use perdure_core::update::{Action, Options};

type Invocation = Engine<String, u32>;

const ROOT: ScopeId = ScopeId::ROOT;
const STEP: Call<'static> = Call::Step { name: None, sub_type: "Step", semantics: Semantics::AtLeastOnce };
const WAIT: Call<'static> = Call::Wait { name: None, seconds: 1 };
const CHILD: Call<'static> = Call::Child { name: None, sub_type: "RunInChildContext" };
const NOW: Duration = Duration::from_secs(1);
/// How long calls are worth waiting for others, once one of them took a second.
const DELAY: Duration = Duration::from_millis(10);

fn invocation(recorded: impl IntoIterator<Item = Operation<String>>) -> Invocation {
    let mut engine = Engine::new("token".to_owned());
    for operation in recorded {
        engine.history_mut().record(operation);
    }
    engine
}

fn recorded(n: u64, kind: Kind, sub_type: &str, status: Status) -> Operation<String> {
    Operation { sub_type: Some(SubType::new(sub_type)), ..Operation::new(OperationId::at(None, n), kind, status) }
}

fn begin(engine: &mut Invocation, scope: ScopeId, call: &Call<'_>) -> Result<Arc<Begun>, Refusal> {
    engine.begin(scope, call, || NOW).map(|arrival| arrival.begun(call))
}

fn step_at(engine: &mut Invocation, scope: ScopeId) -> Result<Arc<Begun>, Refusal> {
    begin(engine, scope, &STEP)
}

/// Begins a step; gives it with the ticket of its START.
fn started(engine: &mut Invocation, scope: ScopeId) -> (Arc<Begun>, Ticket) {
    let arrival = engine.begin(scope, &STEP, || NOW).expect("nothing refuses it");
    (arrival.begun(&STEP), arrival.ticket().expect("it is new"))
}

fn write(engine: &mut Invocation, begun: &Begun, action: Action) -> Result<Ticket, Refusal> {
    engine.write(begun, action, None, None, Options::None)
}

/// Sends everything queued, and has the service answer with `operations`.
fn send(engine: &mut Invocation, token: Option<&str>, operations: Vec<Operation<String>>) -> Vec<u32> {
    let latest = engine.queue().latest();
    assert_eq!(engine.lead(Some(latest), 0), Ok((Role::Lead, None)));
    let turn = engine.take_turn().expect("nothing has severed it");
    engine.acknowledge(turn, token.map(str::to_owned), operations, 1_000)
}

#[test]
fn operations_take_positions_in_call_order() {
    let mut engine = invocation([]);
    let ids: Vec<OperationId> =
        (0..3).filter_map(|_| step_at(&mut engine, ROOT).ok()).map(|begun| begun.place.id).collect();
    assert_eq!(ids, [1, 2, 3].map(|n| OperationId::at(None, n)));
}

#[test]
fn branches_take_their_index_whatever_began_before() {
    let mut engine = invocation([]);
    for index in [2, 0] {
        let call = Call::Branch { name: None, sub_type: "MapIteration", index };
        let branch = begin(&mut engine, ROOT, &call).expect("nothing refuses it");
        assert_eq!(branch.place.id, OperationId::at(None, index));
    }
    assert_eq!(step_at(&mut engine, ROOT).map(|begun| begun.place.id), Ok(OperationId::at(None, 1)));
}

#[test]
fn operations_inside_a_context_are_its_children_and_of_a_virtual_one_its_surroundings() {
    let mut engine = invocation([]);
    let outer = begin(&mut engine, ROOT, &CHILD).expect("nothing refuses it").place;
    let inner = engine.open_context(outer, false);
    let virtual_ = engine.open_virtual(inner, None, false).expect("nothing is recorded there");
    let prefix = engine.prefix(virtual_).expect("it has an id");
    let place = step_at(&mut engine, virtual_).expect("nothing refuses it").place;
    assert_eq!(place.parent, Some(outer.id));
    assert_eq!(place.id, OperationId::at(Some(&prefix), 1));
}

#[test]
fn what_differs_from_the_history_stops_everything() {
    let named = Operation { name: Some("pay".into()), ..recorded(1, Kind::Step, "Step", Status::Succeeded) };
    let inside = Operation { parent: Some(OperationId::at(None, 9)), ..recorded(1, Kind::Step, "Step", Status::Ready) };
    for other in [
        recorded(1, Kind::Wait, "Step", Status::Started),
        recorded(1, Kind::Step, "Mine", Status::Ready),
        named,
        inside,
    ] {
        let mut engine = invocation([other]);
        let refusal = step_at(&mut engine, ROOT).expect_err("it differs");
        assert!(matches!(refusal, Refusal::NonDeterministic(_)));
        assert_eq!(step_at(&mut engine, ROOT), Err(refusal), "it sticks");
        assert_eq!(engine.stopped_by(0), Some(Stop::Refused));
    }
}

#[test]
fn a_mismatch_names_both_sides() {
    let mut engine = invocation([recorded(1, Kind::Wait, "Wait", Status::Started)]);
    let Err(Refusal::NonDeterministic(mismatch)) = begin(&mut engine, ROOT, &STEP.named("pay")) else {
        panic!("it differs");
    };
    let (there, here) = mismatch.in_words();
    assert_eq!((&*there, &*here), ("WAIT of subtype Wait without a name", "STEP of subtype Step named \"pay\""));
}

#[test]
fn nothing_is_recorded_of_a_virtual_context() {
    let mut engine = invocation([recorded(1, Kind::Context, "RunInChildContext", Status::Started)]);
    assert!(matches!(engine.open_virtual(ROOT, None, false), Err(Refusal::NonDeterministic(_))));
}

#[test]
fn a_suspension_marks_all_it_unwinds_up_to_the_branch() {
    let mut engine = invocation([]);
    let place = begin(&mut engine, ROOT, &CHILD).expect("nothing refuses it").place;
    let branch = engine.open_context(place, true);
    let place = begin(&mut engine, branch, &CHILD).expect("nothing refuses it").place;
    let child = engine.open_context(place, false);
    engine.suspend(child, None, Some(5));
    assert_eq!(step_at(&mut engine, child), Err(Refusal::Suspended(Some(5))));
    assert_eq!(step_at(&mut engine, branch), Err(Refusal::Suspended(Some(5))));
    assert!(step_at(&mut engine, ROOT).is_ok());
    assert_eq!(engine.stopped_by(0), None);
    engine.suspend(ROOT, None, None);
    assert_eq!(engine.stopped_by(0), Some(Stop::Suspended));
}

#[test]
fn a_wait_that_is_not_over_is_pending_and_suspends_nobody_by_itself() {
    let due = Operation { due: Some(7), ..recorded(1, Kind::Wait, "Wait", Status::Started) };
    let mut engine = invocation([due]);
    let arrival = engine.begin(ROOT, &WAIT, || NOW).expect("that is no refusal");
    assert_eq!((arrival.decision, arrival.place.id), (Decision::Pending(Some(7)), OperationId::at(None, 1)));
    // What is at work beside it goes on, until the driver has its code unwind.
    assert!(!engine.is_suspended(ROOT));
    assert!(step_at(&mut engine, ROOT).is_ok());
    engine.suspend(ROOT, None, Some(7));
    assert_eq!(step_at(&mut engine, ROOT), Err(Refusal::Suspended(Some(7))));
}

#[test]
fn what_runs_inside_an_ended_context_is_an_orphan() {
    let mut engine = invocation([]);
    let place = begin(&mut engine, ROOT, &CHILD).expect("nothing refuses it").place;
    let child = engine.open_context(place, false);
    let inner = step_at(&mut engine, child).expect("it has not ended");
    engine.end(child);
    assert_eq!(write(&mut engine, &inner, Action::Succeed), Err(Refusal::Orphaned(place.id)));
    assert_eq!(step_at(&mut engine, child), Err(Refusal::Orphaned(place.id)));
    assert!(step_at(&mut engine, ROOT).is_ok());
}

#[test]
fn an_answer_without_a_token_revokes_the_invocation_and_wakes_everybody() {
    let mut engine = invocation([]);
    let (step, _) = started(&mut engine, ROOT);
    engine.queue_mut().called(Duration::from_secs(1));
    engine.queue_mut().enter();
    let latest = engine.queue().latest();
    assert_eq!(engine.lead(Some(latest), 0), Ok((Role::Delay(DELAY), None)));
    let turn = engine.take_turn().expect("nothing has severed it");
    let late = write(&mut engine, &step, Action::Succeed).expect("nothing refuses it");
    assert_eq!(engine.lead(Some(late), 3), Ok((Role::Follow, None)));
    assert_eq!(engine.acknowledge(turn, None, Vec::new(), 0), [3]);
    assert_eq!(engine.lead(Some(late), 3), Err(Refusal::Revoked));
    assert_eq!(engine.stopped_by(0), Some(Stop::Revoked));
}

#[test]
fn the_outcome_of_the_execution_is_answered_without_a_token() {
    let mut engine = invocation([]);
    engine.write_outcome(5, Some("result".to_owned()), None);
    send(&mut engine, None, Vec::new());
    assert_eq!(engine.stopped_by(0), None);
}

#[test]
fn durable_updates_count_and_what_the_service_says_only_goes_on_from_them() {
    let mut engine = invocation([]);
    let (first, _) = started(&mut engine, ROOT);
    engine.retry(&first, 2, None, Some("error".to_owned())).expect("nothing refuses it");
    send(&mut engine, Some("next"), Vec::new());
    let known = engine.history().get(&first.place.id).expect("it was recorded");
    assert_eq!((known.status, known.attempt, known.due), (Status::Pending, 1, Some(3_000)));
    let second = step_at(&mut engine, ROOT).expect("nothing refuses it");
    write(&mut engine, &second, Action::Succeed).expect("nothing refuses it");
    let ready = Operation { attempt: 1, ..Operation::new(first.place.id, Kind::Step, Status::Ready) };
    let late = Operation::new(second.place.id, Kind::Step, Status::Started);
    send(&mut engine, Some("next"), vec![ready, late]);
    assert_eq!(engine.history().get(&first.place.id).map(|known| known.status), Some(Status::Ready));
    assert_eq!(engine.history().get(&second.place.id).map(|known| known.status), Some(Status::Succeeded));
}

#[test]
fn an_invocation_never_stops_for_time_before_it_has_advanced() {
    let mut engine = invocation([recorded(1, Kind::Step, "Step", Status::Succeeded)]);
    step_at(&mut engine, ROOT).expect("it is recorded");
    engine.set_deadline(NOW);
    assert!(step_at(&mut engine, ROOT).is_ok());
    assert_eq!(step_at(&mut engine, ROOT), Err(Refusal::OutOfTime));
    assert_eq!(engine.stopped_by(0), Some(Stop::Late));
}

#[test]
fn what_is_at_work_when_time_is_up_may_end_and_nothing_else() {
    for severed in [false, true] {
        let mut engine = invocation([recorded(2, Kind::Context, "RunInChildContext", Status::Started)]);
        let (step, _) = started(&mut engine, ROOT);
        let child = begin(&mut engine, ROOT, &CHILD).expect("nothing refuses it");
        let inner = engine.open_context(child.place, false);
        engine.set_deadline(NOW);
        let late = Refusal::OutOfTime;
        assert_eq!(step_at(&mut engine, inner), Err(late.clone()));
        if severed {
            engine.stop(Refusal::Broken);
        }
        assert_eq!(engine.settle(inner), Err(late.clone()));
        assert_eq!(write(&mut engine, &child, Action::Succeed).err(), Some(late.clone()));
        assert_eq!(write(&mut engine, &step, Action::Start).err(), Some(late.clone()));
        let ended = write(&mut engine, &step, Action::Succeed);
        assert_eq!(ended.err(), severed.then(|| late.clone()));
        assert_eq!(step_at(&mut engine, ROOT), Err(late));
    }
}

#[test]
fn a_late_invocation_waits_for_what_soon_wakes_the_execution_and_for_nothing_that_has_come_since() {
    let timer = |n, due| Operation { due, ..recorded(n, Kind::Wait, "Wait", Status::Started) };
    let stopped = |due, has_come| {
        let mut engine = invocation([timer(3, due), timer(4, Some(60_001))]);
        let (step, _) = started(&mut engine, ROOT);
        engine.set_deadline(NOW);
        assert_eq!(step_at(&mut engine, ROOT), Err(Refusal::OutOfTime));
        write(&mut engine, &step, Action::Succeed).expect("it was at work");
        let over = recorded(3, Kind::Wait, "Wait", Status::Succeeded);
        send(&mut engine, Some("next"), Vec::from_iter(Some(over).filter(|_| has_come)));
        engine.stopped_by(0)
    };
    assert_eq!(stopped(Some(60_000), false), Some(Stop::Suspended));
    assert_eq!(stopped(Some(60_000), true), Some(Stop::Late));
    assert_eq!(stopped(Some(60_001), false), Some(Stop::Late));
    assert_eq!(stopped(None, false), Some(Stop::Late));
}

#[test]
fn a_context_replays_until_something_in_it_is_new() {
    let done = |n| recorded(n, Kind::Step, "Step", Status::Succeeded);
    let mut engine = invocation([done(1), done(2)]);
    assert!(engine.is_replaying(ROOT));
    for replaying in [true, false, false] {
        step_at(&mut engine, ROOT).expect("nothing refuses it");
        assert_eq!(engine.is_replaying(ROOT), replaying);
    }
    assert!(!invocation([]).is_replaying(ROOT));
}

#[test]
fn what_can_be_sent_no_more_is_refused_whatever_stopped_the_operations_before() {
    for (reason, stop) in [(Refusal::Broken, Stop::Broken), (Refusal::Revoked, Stop::Revoked)] {
        let mut engine = invocation([]);
        let (_, ticket) = started(&mut engine, ROOT);
        engine.set_deadline(NOW);
        assert!(matches!(step_at(&mut engine, ROOT), Err(Refusal::OutOfTime)));
        engine.stop(reason.clone());
        assert_eq!(engine.lead(Some(ticket), 1), Err(reason));
        assert_eq!(engine.stopped_by(0), Some(stop));
    }
}

#[test]
fn a_context_that_has_ended_leaves_timers_behind_before_its_end_is_recorded() {
    let mut engine = invocation([]);
    engine.queue_mut().set_checkpointing(Checkpointing::Optimistic);
    let begun = begin(&mut engine, ROOT, &CHILD).expect("nothing refuses it");
    let inner = engine.open_context(begun.place, false);
    let ticket = engine.begin(inner, &WAIT, || NOW).expect("nothing refuses it").ticket().expect("it is new");
    assert_eq!(engine.lead(Some(ticket), 1).map(|(role, _)| role), Ok(Role::Lead));
    let turn = engine.take_turn().expect("nothing stops it");
    engine.acknowledge(turn, Some("next".to_owned()), Vec::new(), 0);
    assert!(engine.awaited().next().is_some());
    let end = End::Succeed { payload: None, replay_children: false };
    assert_eq!(engine.end_context(inner, &begun, true, end), Ok(Ticket::default()), "nobody waits for it");
    assert!(engine.awaited().next().is_none());
    for ending in [Ending::Raise, Ending::Refused, Ending::Succeed] {
        assert!(engine.flushes(ending), "{ending:?} keeps what was handed on");
    }
    engine.stop(Refusal::Broken);
    assert!(!engine.flushes(Ending::Raise), "as far as it can");
}

#[test]
fn what_the_world_waits_for_and_what_happens_once_is_waited_for_in_any_case() {
    let once = Call::Step { name: None, sub_type: "Step", semantics: Semantics::AtMostOnce };
    let calls = [
        (STEP, Action::Succeed, false),
        (STEP, Action::Fail, true),
        (once, Action::Start, true),
        (once, Action::Succeed, true),
        (Call::Condition { name: None }, Action::Succeed, true),
        (WAIT, Action::Start, true),
        (Call::Callback { name: None, sub_type: "Callback", timeout: 0, heartbeat: 0 }, Action::Start, true),
        (Call::Invoke { name: None }, Action::Start, true),
        (CHILD, Action::Succeed, false),
        (CHILD, Action::Fail, true),
    ];
    for (call, action, is_waited_for) in calls {
        let mut engine = invocation([]);
        engine.queue_mut().set_checkpointing(Checkpointing::Optimistic);
        let begun = begin(&mut engine, ROOT, &call).expect("nothing refuses it");
        let ticket = engine.write(&begun, action, None, None, Options::None).expect("nothing refuses it");
        assert_eq!(!engine.queue().is_durable(ticket), is_waited_for, "{call:?} {action:?}");
    }
}

#[test]
fn a_timer_that_a_finished_context_left_behind_is_not_waited_for() {
    let timer =
        || Operation { parent: Some(OperationId::at(None, 1)), ..recorded(9, Kind::Wait, "Wait", Status::Started) };
    let around = |status| recorded(1, Kind::Context, "Parallel", status);
    assert!(invocation([around(Status::Started), timer()]).awaited().next().is_some());
    assert!(invocation([around(Status::Succeeded), timer()]).awaited().next().is_none());
}

#[test]
fn parents_that_go_round_end_the_search_and_nothing_inside_is_waited_for() {
    let inside = |n, parent, kind| Operation {
        parent: Some(OperationId::at(None, parent)),
        ..recorded(n, kind, "Wait", Status::Started)
    };
    for round in [vec![inside(1, 1, Kind::Context)], vec![inside(1, 2, Kind::Context), inside(2, 1, Kind::Context)]] {
        let engine = invocation(round.into_iter().chain([inside(9, 1, Kind::Wait)]));
        assert!(engine.awaited().next().is_none());
        assert_eq!(engine.history().unvisited().count(), 0);
    }
    let unknown = inside(9, 8, Kind::Wait);
    assert!(invocation([unknown]).awaited().next().is_some());
}

#[test]
fn a_stop_wakes_followers_and_the_leader_that_waits_for_company() {
    let mut engine = invocation([]);
    let (_, ticket) = started(&mut engine, ROOT);
    engine.queue_mut().called(Duration::from_secs(1));
    engine.queue_mut().enter();
    engine.queue_mut().enter();
    assert_eq!(engine.lead(Some(ticket), 1), Ok((Role::Delay(DELAY), None)));
    assert_eq!(engine.lead(None, 2), Ok((Role::Follow, None)));
    assert_eq!(engine.stop(Refusal::Broken), [1, 2]);
    assert_eq!(engine.take_turn().map(|turn| turn.number), Err(Refusal::Broken));
}

#[test]
fn the_turn_of_one_whose_stack_has_ended_is_for_somebody_else() {
    let mut engine = invocation([]);
    let (step, ticket) = started(&mut engine, ROOT);
    let late = write(&mut engine, &step, Action::Succeed).expect("nothing refuses it");
    engine.queue_mut().called(Duration::from_secs(1));
    for hand in 1..4 {
        engine.queue_mut().enter();
        let role = if hand == 1 { Role::Delay(DELAY) } else { Role::Follow };
        assert_eq!(engine.lead(Some(late), hand), Ok((role, None)));
    }
    let cut_short = engine.take_turn().expect("nothing has severed it");
    let (batch, number) = (cut_short.batch.clone(), cut_short.number);
    assert_eq!(engine.step_back(Role::Delay(DELAY), Some(cut_short), |&hand| hand == 1), (None, vec![2]));
    assert_eq!((engine.stopped_by(0), engine.check(ROOT)), (Some(Stop::TooDeep), Err(Refusal::TooDeep)));
    // So it is with who was woken to lead next, and with who waits.
    assert_eq!(engine.step_back(Role::Follow, None, |&hand| hand == 2), (None, vec![3]));
    assert_eq!(engine.lead(Some(ticket), 4), Ok((Role::Delay(DELAY), None)));
    assert_eq!(engine.lead(Some(late), 5), Ok((Role::Follow, None)));
    assert_eq!(engine.step_back(Role::Follow, None, |&hand| hand == 5), (Some(5), vec![]));
    assert_eq!(engine.step_back(Role::Follow, None, |&hand| hand == 3), (None, vec![]));
    let turn = engine.take_turn().expect("nothing has severed it");
    assert_eq!((&turn.batch, turn.number), (&batch, number));
    assert!(engine.acknowledge(turn, Some("next".to_owned()), Vec::new(), 0).is_empty());
    assert_eq!(engine.history().get(&step.place.id).map(|known| known.status), Some(Status::Succeeded));
}

#[test]
fn an_answer_that_comes_after_a_stop_counts_all_the_same() {
    let mut engine = invocation([]);
    let (step, ticket) = started(&mut engine, ROOT);
    assert_eq!(engine.lead(Some(ticket), 1), Ok((Role::Lead, None)));
    let turn = engine.take_turn().expect("nothing has severed it");
    engine.stop(Refusal::Broken);
    assert!(engine.acknowledge(turn, Some("next".to_owned()), Vec::new(), 0).is_empty());
    assert_eq!(engine.lead(Some(ticket), 1), Ok((Role::Done, None)));
    assert_eq!(engine.history().get(&step.place.id).map(|known| known.status), Some(Status::Started));
}

#[test]
fn what_this_version_does_not_know_stops_only_who_comes_to_it() {
    let odd = |kind, status, oddity| Operation { oddity: Some(Box::new(oddity)), ..recorded(2, kind, "Step", status) };
    let kind = odd(Kind::Unknown, Status::Succeeded, Oddity::Kind("GADGET".into()));
    let status = odd(Kind::Step, Status::Unknown, Oddity::Status("PAUSED".into()));
    for (odd, words) in [(kind, "of the type \"GADGET\""), (status, "with the status \"PAUSED\"")] {
        let mut engine = invocation([odd]);
        assert!(step_at(&mut engine, ROOT).is_ok());
        assert!(engine.awaited().next().is_none());
        let refusal = step_at(&mut engine, ROOT).expect_err("nobody knows how to go on from it");
        assert!(matches!(&refusal, Refusal::Odd(_)) && refusal.to_string().contains(words), "{refusal}");
        assert_eq!(step_at(&mut engine, ROOT), Err(refusal));
        assert_eq!(engine.stopped_by(0), Some(Stop::Refused));
    }
}

#[test]
fn what_turns_odd_under_way_stops_who_looks_again() {
    let mut engine = invocation([]);
    let (step, _) = started(&mut engine, ROOT);
    send(&mut engine, Some("next"), vec![recorded(1, Kind::Wait, "Wait", Status::Succeeded)]);
    let again = engine.again(&step);
    assert!(matches!(again, Err(Refusal::Odd(_))), "{again:?}");
}

#[test]
fn the_input_is_what_the_execution_itself_has() {
    assert!(invocation([recorded(1, Kind::Step, "Step", Status::Started)]).history().execution().is_none());
    let execution = Operation::new(OperationId::at(None, 9), Kind::Execution, Status::Started);
    let engine = invocation([recorded(1, Kind::Step, "Step", Status::Started), execution]);
    assert_eq!(engine.history().execution().map(|operation| operation.id), Some(OperationId::at(None, 9)));
}

#[test]
fn news_is_as_old_as_the_question() {
    let mut engine = invocation([]);
    assert!(!engine.has_heard_since(0.0));
    engine.heard(5.0, Duration::from_secs(3));
    assert_eq!([4.9, 5.0, 8.0].map(|moment| engine.has_heard_since(moment)), [true, false, false]);
}

#[test]
fn nothing_goes_on_in_an_invocation_that_is_over() {
    let mut engine = invocation([]);
    let (step, _) = started(&mut engine, ROOT);
    engine.close();
    assert!(matches!(engine.check(ROOT), Err(Refusal::Orphaned(_))));
    assert!(matches!(write(&mut engine, &step, Action::Succeed), Err(Refusal::Orphaned(_))));
    assert!(!engine.queue_mut().watch(), "nobody looks after what is queued");
}

#[test]
fn only_the_end_of_a_stack_exhausts() {
    let mut engine = invocation([]);
    engine.exhaust();
    assert!(engine.is_exhausted());
    let mut engine = invocation([]);
    engine.stop(Refusal::Broken);
    engine.exhaust();
    assert!(!engine.is_exhausted(), "it was stopped before");
}

fn inside(n: u64, status: Status, parent: OperationId) -> Operation<String> {
    Operation { parent: Some(parent), ..recorded(n, Kind::Wait, "Wait", status) }
}

#[test]
fn a_handler_comes_to_every_operation_that_is_not_over() {
    use Status::{Cancelled, Failed, Pending, Ready, Started, Stopped, Succeeded, TimedOut};
    for status in [Started, Pending, Ready] {
        let mut engine = invocation([recorded(1, Kind::Step, "Step", status)]);
        let Err(Refusal::Missed(missed)) = engine.conclude() else { panic!("{status:?} is not over") };
        let words = (missed.id, missed.in_words());
        let id = OperationId::at(None, 1);
        assert_eq!(words, (id, ("the handler".to_owned(), format!("Step {id}"))));
        assert_eq!(engine.stopped_by(0), Some(Stop::Refused));
    }
    for status in [Succeeded, Failed, Cancelled, TimedOut, Stopped] {
        let mut engine = invocation([recorded(1, Kind::Step, "Step", status)]);
        assert_eq!(engine.conclude().map(|over| over.len()), Ok(1), "{status:?} is over");
    }
    let mut engine = invocation([Operation::new(OperationId::parse("e"), Kind::Execution, Started)]);
    assert_eq!(engine.conclude(), Ok(vec![]));
}

#[test]
fn what_a_context_holds_that_is_over_or_was_broken_off_is_not_missed() {
    let context = OperationId::at(None, 1);
    for (status, is_broken_off, is_missed) in
        [(Status::Succeeded, false, false), (Status::Started, true, false), (Status::Started, false, true)]
    {
        let around = recorded(1, Kind::Context, "RunInChildContext", status);
        let mut engine = invocation([around, inside(7, Status::Started, context)]);
        let place = begin(&mut engine, ROOT, &CHILD).expect("nothing refuses it").place;
        let inner = engine.open_context(place, false);
        if is_broken_off {
            engine.end(inner);
        }
        assert_eq!(engine.conclude().is_err(), is_missed, "{status:?} {is_broken_off}");
    }
}

#[test]
fn what_a_context_holds_that_was_left_at_work_is_not_missed() {
    let context = OperationId::at(None, 1);
    let around = recorded(1, Kind::Context, "RunInChildContext", Status::Started);
    let mut engine = invocation([around, inside(7, Status::Started, context), inside(8, Status::Succeeded, context)]);
    let place = begin(&mut engine, ROOT, &CHILD).expect("nothing refuses it").place;
    let inner = engine.open_context(place, false);
    engine.leave_at_work(inner);
    assert_eq!(engine.conclude(), Ok(vec![]), "nor is it told of");
}

#[test]
fn what_a_context_holds_that_was_left_before_it_began_is_not_missed() {
    let context = OperationId::at(None, 1);
    let around = recorded(1, Kind::Context, "Map", Status::Started);
    let mut engine = invocation([around, inside(7, Status::Started, context), inside(8, Status::Succeeded, context)]);
    begin(&mut engine, ROOT, &Call::Child { name: None, sub_type: "Map" }).expect("nothing refuses it");
    assert_eq!(engine.conclude(), Ok(vec![]), "nor is it told of");
}

#[test]
fn what_a_virtual_context_holds_that_was_left_is_not_missed_in_the_one_around_it() {
    for (way, is_missed) in [("not begun", false), ("broken off", false), ("ended", true)] {
        let mut engine = invocation([recorded(7, Kind::Step, "Step", Status::Started)]);
        let inner = engine.open_virtual(ROOT, None, false).expect("nothing refuses it");
        match way {
            "broken off" => engine.break_off(inner),
            "ended" => engine.end(inner),
            _ => {}
        }
        assert_eq!(engine.conclude().is_err(), is_missed, "{way}");
    }
}

#[test]
fn a_virtual_context_is_expected_by_what_comes_first_inside_of_it() {
    let nested = OperationId::at(Some(&OperationId::at(None, 1)), 1);
    let within =
        Operation { id: OperationId::at(Some(&nested), 1), ..recorded(7, Kind::Step, "Step", Status::Succeeded) };
    let mut engine = invocation([within]);
    assert!(engine.expects_next(ROOT));
    engine.open_virtual(ROOT, None, false).expect("nothing refuses it");
    assert!(!engine.expects_next(ROOT));
}

#[test]
fn so_does_the_function_of_a_context() {
    let id = OperationId::at(None, 1);
    for (sub_type, status, is_missed) in [
        ("RunInChildContext", Status::Started, true),
        ("ParallelBranch", Status::Pending, true),
        ("RunInChildContext", Status::Succeeded, false),
    ] {
        let around = recorded(1, Kind::Context, sub_type, Status::Started);
        let mut engine = invocation([around, inside(7, status, id)]);
        let around = begin(&mut engine, ROOT, &Call::Child { name: None, sub_type }).expect("nothing refuses it");
        let inner = engine.open_context(around.place, false);
        assert_eq!(engine.conclude_context(inner, &around).is_err(), is_missed, "{sub_type} {status:?}");
        engine.end(inner);
        assert_eq!(step_at(&mut engine, ROOT).is_err(), is_missed, "it sticks");
    }
}

#[test]
fn code_with_a_task_that_was_cut_short_is_not_refused() {
    let id = OperationId::at(None, 1);
    let around = recorded(1, Kind::Context, "RunInChildContext", Status::Started);
    let mut engine =
        invocation([around, inside(7, Status::Started, id), recorded(2, Kind::Wait, "Wait", Status::Started)]);
    let around = begin(&mut engine, ROOT, &Call::Child { name: None, sub_type: "RunInChildContext" })
        .expect("nothing refuses it");
    let inner = engine.open_context(around.place, false);
    assert!(engine.is_missed_inside(inner, &around));
    engine.excuse();
    assert!(!engine.is_missed_inside(inner, &around));
    assert_eq!(engine.conclude_context(inner, &around), Ok(()));
    assert_eq!(engine.conclude().map(|told| told.len()), Ok(2), "both are told");
    assert_eq!(engine.stopped_by(0), None);
}

#[test]
fn so_does_a_batch_unless_it_leaves_branches_behind() {
    let id = OperationId::at(None, 1);
    for (ended, is_missed) in [(0, false), (1, false), (2, true)] {
        let around = recorded(1, Kind::Context, "Map", Status::Started);
        let mut engine = invocation([around, inside(7, Status::Started, id)]);
        let map = Call::Child { name: None, sub_type: "Map" };
        let around = begin(&mut engine, ROOT, &map).expect("nothing refuses it");
        let inner = engine.open_context(around.place, false);
        let policy = Policy {
            total: 2,
            min_successful: Some(ended.max(1)),
            tolerated_failures: None,
            tolerated_percentage: None,
            custom: false,
        };
        let batch = engine.new_batch(inner, policy, None);
        engine.open_batch(batch, &Branches::Flat, false);
        for index in 0..ended {
            engine.change_batch(batch, &Branches::Flat, |schedule| schedule.next(0));
            engine.finish_branch(batch, &Branches::Flat, index, true).expect("it is at work");
        }
        assert_eq!(engine.conclude_context(inner, &around).is_err(), is_missed, "{ended}");
    }
}
