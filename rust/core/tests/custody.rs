//! Whose call a context takes: by where the caller's mark says that it stands, and by its thread.

use std::sync::Arc;
use std::time::Duration;

use perdure_core::call::{Begun, Call};
use perdure_core::custody::{Caller, Spot};
use perdure_core::engine::Engine;
use perdure_core::outcome::Stop;
use perdure_core::refusal::Refusal;
use perdure_core::scope::ScopeId;
use perdure_core::step::Semantics;
use perdure_core::wrong_context::Misuse::{self, AtOnce, Elsewhere, InContext, InFunction, OtherThread};

type Invocation = Engine<String, u32>;

const ROOT: ScopeId = ScopeId::ROOT;
const STEP: Call<'static> = Call::Step { name: None, sub_type: "Step", semantics: Semantics::AtLeastOnce };
const CHILD: Call<'static> = Call::Child { name: None, sub_type: "RunInChildContext" };
const MAP: Call<'static> = Call::Batch { name: None, sub_type: "Map" };

const fn item(index: u64) -> Call<'static> {
    Call::Branch { name: None, sub_type: "MapIteration", index }
}

const MAIN: u64 = 1;
const OTHER: u64 = 2;
const FURTHER: u64 = 3;

fn new() -> Invocation {
    Engine::new("token".to_owned())
}

fn at(spot: Option<Spot>, thread: u64) -> Caller {
    Caller { spot, thread, given_up: None }
}

fn inside(scope: ScopeId, thread: u64) -> Caller {
    at(Some(Spot::Inside(scope)), thread)
}

fn begin(engine: &mut Invocation, scope: ScopeId, call: &Call<'_>) -> Arc<Begun> {
    engine.begin(scope, call, || Duration::ZERO).expect("nothing refuses it").begun(call)
}

/// Lets a function of a new operation come to work; gives where it stands.
fn at_work(engine: &mut Invocation, scope: ScopeId, call: &Call<'_>, caller: Caller) -> Spot {
    let begun = begin(engine, scope, call);
    Spot::Beside(scope, engine.enter(&begun, caller))
}

/// Opens a context inside of another one, with its function at work in a thread.
fn opened(engine: &mut Invocation, outer: ScopeId, call: &Call<'_>, thread: u64) -> ScopeId {
    let begun = begin(engine, outer, call);
    engine.enter(&begun, inside(outer, thread));
    let inner = engine.open_context(begun.place, matches!(call, Call::Branch { .. }));
    engine.enter_context(inner, inside(outer, thread));
    inner
}

fn misuse(engine: &mut Invocation, scope: ScopeId, call: &Call<'_>, caller: Caller) -> Option<Misuse> {
    match engine.admit(scope, call, caller) {
        Ok(()) => None,
        Err(Refusal::WrongContext(call)) => Some(call.misuse),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn nobody_is_asked_as_long_as_nothing_is_at_work_and_one_thread_does_it_all() {
    let mut engine = new();
    assert!(!engine.is_contested(ROOT, &STEP, 0));
    let Spot::Beside(scope, number) = at_work(&mut engine, ROOT, &STEP, inside(ROOT, MAIN)) else { unreachable!() };
    assert!(engine.is_contested(ROOT, &STEP, 0));
    engine.leave(scope, number);
    assert!(!engine.is_contested(ROOT, &STEP, 0));
    let child = opened(&mut engine, ROOT, &CHILD, MAIN);
    assert!(!engine.is_contested(child, &STEP, 0), "its own function uses it");
    assert!(engine.is_contested(ROOT, &STEP, 0));
    at_work(&mut engine, child, &STEP, at(None, OTHER));
    engine.leave_context(child);
    assert!(engine.is_contested(child, &STEP, 0));
    assert!(!engine.is_contested(child, &item(0), 0), "no caller comes to a branch");
}

#[test]
fn the_function_of_a_step_may_use_no_context() {
    for (thread, is_root) in [(MAIN, true), (MAIN, false), (OTHER, true), (OTHER, false)] {
        let mut engine = new();
        let child = opened(&mut engine, ROOT, &CHILD, MAIN);
        let spot = at_work(&mut engine, child, &STEP, inside(child, MAIN));
        let scope = if is_root { ROOT } else { child };
        assert_eq!(misuse(&mut engine, scope, &STEP, at(Some(spot), thread)), Some(InFunction), "{thread} {scope:?}");
    }
}

#[test]
fn the_function_of_a_child_uses_its_own_context_and_not_the_one_around_it() {
    let mut engine = new();
    let child = opened(&mut engine, ROOT, &CHILD, MAIN);
    for thread in [MAIN, OTHER] {
        assert_eq!(misuse(&mut engine, child, &STEP, inside(child, thread)), None);
    }
    assert_eq!(misuse(&mut engine, ROOT, &STEP, inside(child, OTHER)), Some(InContext));
}

#[test]
fn a_refusal_names_who_called_what_while_which_was_at_work() {
    let mut engine = new();
    let child = opened(&mut engine, ROOT, &CHILD.named("kid"), MAIN);
    let spot = at_work(&mut engine, child, &STEP.named("pay"), inside(child, MAIN));
    let call = STEP.named("late");
    let refusal = engine.admit(ROOT, &call, at(Some(spot), MAIN)).expect_err("the step may use no context");
    assert!(refusal.wants_line());
    let located = engine.locate(Some("app.py:3 in f")).expect("it was refused");
    assert!(!located.wants_line());
    let Some(Refusal::WrongContext(call)) = engine.locate(Some("another line")) else { panic!("it sticks") };
    let words = call.in_words();
    let begin = "step \"late\" was called at app.py:3 in f on the context of the handler while child context \"kid\" is at \
                 work, by step \"pay\" inside it. What step \"pay\" runs may use no context.";
    assert!(words.starts_with(begin), "{words}");
}

#[test]
fn tasks_call_operations_in_the_thread_of_their_loop() {
    let mut engine = new();
    engine.share_thread(MAIN);
    assert_eq!(misuse(&mut engine, ROOT, &STEP, inside(ROOT, MAIN)), None);
    assert_eq!(misuse(&mut engine, ROOT, &STEP, inside(ROOT, OTHER)), Some(OtherThread));
    let Some(Refusal::WrongContext(call)) = engine.locate(None) else { panic!("it sticks") };
    let words = call.in_words();
    assert!(words.contains("by another thread than that of its event loop. Call operations in tasks"), "{words}");
}

#[test]
fn a_refusal_sticks() {
    let mut engine = new();
    let spot = at_work(&mut engine, ROOT, &STEP, inside(ROOT, MAIN));
    let refusal = engine.admit(ROOT, &STEP, at(Some(spot), MAIN)).expect_err("the step may use no context");
    assert_eq!(engine.admit(ROOT, &STEP, inside(ROOT, MAIN)), Ok(()), "whoever begins is told the first");
    assert_eq!(engine.check(ROOT), Err(refusal));
    assert_eq!(engine.stopped_by(0), Some(Stop::Refused));
}

#[test]
fn branches_are_strangers_to_each_other() {
    let mut engine = new();
    let map = opened(&mut engine, ROOT, &MAP, MAIN);
    let first = opened(&mut engine, map, &item(0), MAIN);
    let second = opened(&mut engine, map, &item(1), OTHER);
    assert_eq!(misuse(&mut engine, first, &STEP, inside(first, MAIN)), None);
    assert_eq!(misuse(&mut engine, second, &STEP, inside(second, OTHER)), None);
    assert_eq!(misuse(&mut engine, second, &STEP, at(None, FURTHER)), None, "a thread that its function has started");
    assert_eq!(misuse(&mut engine, first, &STEP, inside(second, OTHER)), Some(Elsewhere));
}

#[test]
fn what_a_map_runs_for_itself_may_use_no_context() {
    for scope in 0..3 {
        let mut engine = new();
        let map = opened(&mut engine, ROOT, &MAP, MAIN);
        let child = opened(&mut engine, ROOT, &CHILD, OTHER);
        let item = opened(&mut engine, map, &item(0), OTHER);
        let (scope, expected) = [(ROOT, InFunction), (item, Elsewhere), (child, Elsewhere)][scope];
        assert_eq!(misuse(&mut engine, scope, &STEP, inside(map, FURTHER)), Some(expected));
    }
}

#[test]
fn what_a_batch_has_left_behind_is_still_inside_of_it() {
    let mut engine = new();
    let begun = begin(&mut engine, ROOT, &MAP);
    let number = engine.enter(&begun, inside(ROOT, MAIN));
    let map = engine.open_context(begun.place, false);
    engine.enter_context(map, inside(ROOT, MAIN));
    let item = opened(&mut engine, map, &item(0), OTHER);
    engine.end(map);
    engine.leave_context(map);
    engine.leave(ROOT, number);
    assert_eq!(misuse(&mut engine, ROOT, &STEP, inside(ROOT, MAIN)), None);
    assert_eq!(misuse(&mut engine, ROOT, &STEP, inside(item, OTHER)), Some(InContext));
}

#[test]
fn a_function_is_known_by_its_thread_whatever_mark_it_carries() {
    for caller in [at(None, MAIN), inside(ROOT, MAIN)] {
        let mut engine = new();
        at_work(&mut engine, ROOT, &STEP, inside(ROOT, MAIN));
        assert_eq!(misuse(&mut engine, ROOT, &STEP.named("b"), caller), Some(InFunction));
    }
}

/// Of threads that may have come out of anywhere.
#[test]
fn operations_at_one_time_must_be_told_apart_and_not_come_out_of_each_other() {
    let named = STEP.named("b");
    // The thread at work, the one that calls, and what.
    let table = [
        (inside(ROOT, MAIN), at(None, OTHER), &named, Some(AtOnce)), // it may come out of the step
        (inside(ROOT, MAIN), inside(ROOT, OTHER), &named, None),
        (inside(ROOT, MAIN), inside(ROOT, OTHER), &STEP, Some(AtOnce)),
        (at(None, OTHER), inside(ROOT, MAIN), &named, None),
        (at(None, OTHER), inside(ROOT, MAIN), &STEP, Some(AtOnce)),
        (at(None, OTHER), at(None, FURTHER), &named, None),
        (at(None, OTHER), at(None, FURTHER), &CHILD, None),
        (at(None, OTHER), at(None, FURTHER), &STEP, Some(AtOnce)),
    ];
    for (worker, caller, call, expected) in table {
        let mut engine = new();
        at_work(&mut engine, ROOT, &STEP, worker);
        assert_eq!(misuse(&mut engine, ROOT, call, caller), expected, "{worker:?} {caller:?} {call:?}");
    }
}

#[test]
fn functions_that_end_in_another_order_than_they_began_leave_nothing_behind() {
    let mut engine = new();
    let spots: Vec<Spot> = (0..4).map(|thread| at_work(&mut engine, ROOT, &STEP, at(None, thread))).collect();
    for place in [2, 0, 3, 1] {
        assert!(engine.is_contested(ROOT, &STEP, 0));
        let Spot::Beside(scope, number) = spots[place] else { unreachable!() };
        engine.leave(scope, number);
        engine.leave(scope, number);
    }
    let mut virtuals = Vec::new();
    for index in 0..3 {
        let inner = engine.open_virtual(ROOT, Some(index), true).expect("nothing is recorded there");
        engine.enter_context(inner, inside(ROOT, index));
        virtuals.push(inner);
    }
    for place in [1, 0, 2] {
        engine.leave_context(virtuals[place]);
        engine.leave_context(virtuals[place]);
    }
    assert_eq!(misuse(&mut engine, ROOT, &STEP, at(None, 9)), None);
}

#[test]
fn a_mark_of_what_has_ended_says_nothing() {
    let mut engine = new();
    let spot = at_work(&mut engine, ROOT, &STEP, inside(ROOT, MAIN));
    let Spot::Beside(scope, number) = spot else { unreachable!() };
    engine.leave(scope, number);
    assert_eq!(misuse(&mut engine, ROOT, &STEP, at(Some(spot), OTHER)), None);
    let child = opened(&mut engine, ROOT, &CHILD, OTHER);
    engine.leave_context(child);
    assert_eq!(engine.whereabouts(inside(child, OTHER)), Ok(ROOT));
    let caller = inside(child, FURTHER);
    assert_eq!(misuse(&mut engine, ROOT, &STEP, caller), Some(AtOnce), "the operation of the context is at work yet");
}

#[test]
fn a_function_that_was_given_up_is_refused_and_nobody_else() {
    let mut engine = new();
    let begun = begin(&mut engine, ROOT, &STEP);
    let number = engine.enter(&begun, inside(ROOT, MAIN));
    let in_time = at(Some(Spot::Beside(ROOT, number)), OTHER);
    let late = Caller { given_up: Some(begun.place.id), ..in_time };
    engine.crowd();
    engine.leave(ROOT, number);
    assert!(engine.is_contested(ROOT, &STEP, 0), "another thread may call");
    let orphaned = Refusal::Orphaned(begun.place.id);
    assert_eq!(engine.admit(ROOT, &STEP, late), Err(orphaned.clone()));
    assert_eq!(engine.admit_virtual(ROOT, late), Err(orphaned.clone()));
    assert_eq!(engine.whereabouts(late), Err(orphaned));
    assert_eq!(misuse(&mut engine, ROOT, &STEP, inside(ROOT, MAIN)), None);
    assert_eq!(engine.check(ROOT), Ok(()));
}

#[test]
fn a_virtual_context_is_at_work_in_the_one_around_it() {
    for (is_branch, words) in [(false, "a virtual child context"), (true, "a branch of a FLAT map or parallel")] {
        let mut engine = new();
        let index = is_branch.then_some(0);
        let inner = engine.open_virtual(ROOT, index, is_branch).expect("nothing is recorded there");
        engine.enter_context(inner, inside(ROOT, MAIN));
        assert_eq!(misuse(&mut engine, inner, &STEP, inside(inner, MAIN)), None);
        let refusal = engine.admit(ROOT, &STEP, inside(inner, OTHER)).expect_err("it is around it");
        let Refusal::WrongContext(call) = refusal else { panic!("{refusal:?}") };
        assert!(call.in_words().contains(words));
        let mut engine = new();
        let inner = engine.open_virtual(ROOT, index, is_branch).expect("nothing is recorded there");
        engine.enter_context(inner, inside(ROOT, MAIN));
        engine.leave_context(inner);
        assert!(!engine.is_contested(ROOT, &STEP, 0));
        assert_eq!(engine.admit_virtual(ROOT, inside(ROOT, MAIN)), Ok(()));
    }
}
