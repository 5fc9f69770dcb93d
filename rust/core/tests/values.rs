//! Values of which nothing is recorded: by what they differ, and which moment is now.

use std::time::Duration;

use perdure_core::call::Call;
use perdure_core::custody::{Caller, Spot};
use perdure_core::engine::Engine;
use perdure_core::id::OperationId;
use perdure_core::operation::{Kind, Operation, Status};
use perdure_core::refusal::Refusal;
use perdure_core::scope::ScopeId;
use perdure_core::step::Semantics;
use perdure_core::values::{Moment, Now};

type Invocation = Engine<String, u32>;

const ROOT: ScopeId = ScopeId::ROOT;
const ALONE: Caller = Caller { spot: None, thread: 1, given_up: None };
const STEP: Call<'static> = Call::Step { name: None, sub_type: "Step", semantics: Semantics::AtLeastOnce };
const CHILD: Call<'static> = Call::Child { name: None, sub_type: "RunInChildContext" };
const CALLBACK: Call<'static> = Call::Callback { name: None, sub_type: "Callback", timeout: 0, heartbeat: 0 };

fn root(n: u64) -> OperationId {
    OperationId::at(None, n)
}

/// An invocation with operations of the handler that have ended.
fn with(kinds: &[Kind]) -> Invocation {
    let mut engine = Engine::new("token".to_owned());
    for (n, kind) in (1..).zip(kinds) {
        engine.history_mut().record(Operation::new(root(n), *kind, Status::Succeeded));
    }
    engine
}

fn come(engine: &mut Invocation, scope: ScopeId, call: &Call<'_>) {
    engine.begin(scope, call, || Duration::ZERO).expect("nothing refuses it");
}

fn draw(engine: &mut Invocation, scope: ScopeId) -> [u8; 32] {
    engine.draw(scope, ALONE, "arn").expect("nothing refuses it")
}

fn moment(engine: &mut Invocation, scope: ScopeId) -> Moment {
    engine.now(scope, ALONE).expect("nothing refuses it").moment
}

#[test]
fn a_value_depends_on_the_execution_and_on_its_place_alone() {
    let mut engine = with(&[Kind::Step]);
    let at_first = [draw(&mut engine, ROOT), draw(&mut engine, ROOT)];
    come(&mut engine, ROOT, &STEP);
    let later = draw(&mut engine, ROOT);
    let elsewhere = engine.draw(ROOT, ALONE, "another arn").expect("nothing refuses it");
    let inner = engine.open_virtual(ROOT, None, false).expect("nothing refuses it");
    let inside = draw(&mut engine, inner);
    let all = [at_first[0], at_first[1], later, elsewhere, inside];
    assert!(all.iter().enumerate().all(|(n, one)| all[..n].iter().all(|other| one != other)));

    let mut again = with(&[Kind::Step]);
    assert_eq!(draw(&mut again, ROOT), at_first[0]);
    come(&mut again, ROOT, &STEP);
    assert_eq!(draw(&mut again, ROOT), later, "one value less before an operation changes nothing behind it");
}

#[test]
fn now_is_the_end_of_the_last_operation_that_has_surely_ended() {
    let mut engine = with(&[Kind::Step, Kind::Callback, Kind::Callback]);
    assert_eq!(moment(&mut engine, ROOT), Moment::Start(None));
    come(&mut engine, ROOT, &STEP);
    assert_eq!(moment(&mut engine, ROOT), Moment::End(root(1)));
    come(&mut engine, ROOT, &CALLBACK);
    come(&mut engine, ROOT, &CALLBACK);
    assert_eq!(engine.now(ROOT, ALONE), Ok(Now { moment: Moment::End(root(1)), answered: None }));
    engine.answered(ROOT, root(3), Caller { spot: Some(Spot::Beside(ROOT, 1)), thread: 2, given_up: None });
    assert_eq!(engine.now(ROOT, ALONE).map(|now| now.answered), Ok(None), "others ask by chance");
    engine.answered(ROOT, root(3), ALONE);
    assert_eq!(engine.now(ROOT, ALONE), Ok(Now { moment: Moment::End(root(1)), answered: Some(root(3)) }));
    come(&mut engine, ROOT, &CHILD);
    assert_eq!(moment(&mut engine, ROOT), Moment::End(root(4)), "whose record is on its way");
}

#[test]
fn what_is_passed_by_is_not_now_until_another_operation_comes() {
    let mut engine = with(&[Kind::Step, Kind::Step, Kind::Step]);
    come(&mut engine, ROOT, &STEP);
    come(&mut engine, ROOT, &STEP);
    engine.answered(ROOT, root(2), ALONE);
    engine.pass_by(ROOT, root(1));
    assert_eq!(engine.now(ROOT, ALONE), Ok(Now { moment: Moment::End(root(1)), answered: None }));
    come(&mut engine, ROOT, &STEP);
    assert_eq!(moment(&mut engine, ROOT), Moment::End(root(3)));
}

#[test]
fn the_latest_is_passed_by_where_it_is_to_be_waited_for_later() {
    let mut engine = with(&[Kind::Step, Kind::Step, Kind::Step, Kind::Step]);
    come(&mut engine, ROOT, &STEP);
    engine.pass_by_latest(ROOT);
    assert_eq!(moment(&mut engine, ROOT), Moment::Start(None));
    come(&mut engine, ROOT, &STEP);
    come(&mut engine, ROOT, &STEP);
    engine.pass_by_latest(ROOT);
    engine.pass_by_latest(ROOT);
    assert_eq!(moment(&mut engine, ROOT), Moment::End(root(2)));
    come(&mut engine, ROOT, &STEP);
    assert_eq!(moment(&mut engine, ROOT), Moment::End(root(4)));
}

#[test]
fn of_a_virtual_context_nothing_is_recorded_but_what_is_inside_and_before_it() {
    let mut engine = with(&[]);
    let first = engine.open_virtual(ROOT, None, false).expect("nothing refuses it");
    assert_eq!(moment(&mut engine, first), Moment::Start(None));
    engine.end(first);
    assert_eq!(moment(&mut engine, ROOT), Moment::Start(None));

    let mut engine = with(&[Kind::Step]);
    come(&mut engine, ROOT, &STEP);
    let inner = engine.open_virtual(ROOT, None, false).expect("nothing refuses it");
    assert_eq!(moment(&mut engine, inner), Moment::End(root(1)));
    come(&mut engine, inner, &STEP);
    let inside = OperationId::at(Some(&root(2)), 1);
    assert_eq!(moment(&mut engine, inner), Moment::End(inside));
    engine.end(inner);
    assert_eq!(moment(&mut engine, ROOT), Moment::End(inside));
}

#[test]
fn a_context_that_is_not_the_callers_gives_none() {
    let mut engine = with(&[]);
    let begun = engine.begin(ROOT, &STEP, || Duration::ZERO).expect("nothing refuses it").begun(&STEP);
    engine.enter(&begun, ALONE);
    let refused = engine.draw(ROOT, ALONE, "arn").expect_err("a step is at work");
    let Refusal::WrongContext(wrong) = &refused else { panic!("{refused}") };
    assert!(wrong.in_words().starts_with("a replay-safe value (uuid, random or now) was called"), "{refused}");
    assert_eq!(engine.now(ROOT, ALONE), Err(refused), "nothing goes on from there");
}
