"""all, any, race, all_settled: what they give, fresh and replayed, and who can go on with them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import (
    AllFailedError,
    BatchItemStatus,
    CombinatorTimeoutError,
    DurableContext,
    ParallelBranch,
    durable_execution,
)
from perdure.exceptions import ChildContextError, ValidationError
from perdure.local import LocalService, VirtualClock
from perdure.testing import explore
from support.both_sdks import OFFICIAL, PERDURE, Stage, play, replay_writes_nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def run(handler: Callable[[Any, DurableContext], Any], event: Any = None) -> Any:
    service = LocalService(clock=VirtualClock())
    service.register("f", durable_execution(handler))
    return service.run("f", event=event)


def ends(value: Any, after: int = 0) -> Callable[[DurableContext], Any]:
    """Make a member that ends after some seconds: with a value, or with an error if it is one."""

    def member(inner: DurableContext) -> Any:
        if after:
            inner.wait(after)
        if isinstance(value, Exception):
            raise value
        return inner.step(lambda _: value, "give")

    return member


def outcome(combine: Callable[[], Any]) -> Any:
    """Give what an operation gives, as a value that can be recorded."""
    try:
        found = combine()
    except AllFailedError as error:
        return ["all failed", str(error), [str(each) for each in error.failures]]
    except TimeoutError as error:
        return ["late", str(error)]
    except ChildContextError as error:
        return ["failed", error.error_type, str(error)]
    if isinstance(found, list) and found and hasattr(found[0], "status"):
        return [[each.status.value, each.result, each.error and each.error.message] for each in found]
    return found


def twice(combine: Callable[[DurableContext], Any]) -> tuple[Any, Any]:
    """Give what an operation gives on the first run, and on the replay after it."""
    seen: list[Any] = []

    def handler(_event: Any, context: DurableContext) -> Any:
        seen.append(outcome(lambda: combine(context)))
        context.wait(500)
        seen.append(context.step(lambda _: "after", "after"))

    handle = run(handler)
    assert handle.status == "SUCCEEDED", handle.error
    assert seen[-1] == "after"
    assert seen[-2] == seen[-3]
    return seen[-2], handle


BAD, WORSE = ValueError("bad"), OSError("worse")


@pytest.mark.parametrize(
    ("combine", "expected"),
    [
        (lambda c: c.all([ends(1), ends("b", 2)]), [1, "b"]),
        (lambda c: c.all((ends(1, 3), ends(None))), (1, None)),
        (lambda c: c.all([]), []),
        (lambda c: c.all([ends(1, 3), ends(BAD, 1), ends(WORSE, 2)]), ["failed", "ValueError", "bad"]),
        (lambda c: c.all([ends(1), ends(2), ends(3)], max_concurrency=1), [1, 2, 3]),
        (lambda c: c.any([ends(BAD), ends("late", 9), ends("soon", 3)]), "soon"),
        (lambda c: c.any([ends(None)]), None),
        (
            lambda c: c.any([ends(BAD, 2), ends(WORSE)]),
            ["all failed", "none of 2 succeeded (ValueError: bad; OSError: worse)", ["bad", "worse"]],
        ),
        (lambda c: c.race([ends("late", 9), ends("soon", 3), ends(BAD, 5)]), "soon"),
        (lambda c: c.race([ends("late", 9), ends(BAD, 3)]), ["failed", "ValueError", "bad"]),
        (lambda c: c.race([ends(BAD)]), ["failed", "ValueError", "bad"]),
        (lambda c: c.race([ends("slow", 90), lambda inner: inner.wait(60)]), None),
        (
            lambda c: c.all_settled([ends(1, 5), ends(BAD), ends(WORSE, 2)]),
            [["SUCCEEDED", 1, None], ["FAILED", None, "bad"], ["FAILED", None, "worse"]],
        ),
        (lambda c: c.all_settled([]), []),
    ],
)
def test_a_combinator_gives_the_same_on_the_first_run_and_on_replay(combine: Any, expected: Any) -> None:
    found, handle = twice(combine)
    assert found == expected
    assert type(found) is type(expected)
    assert [each["SubType"] for each in handle.operations if not each.get("ParentId")] == ["Parallel", "Wait", "Step"]


SLOW = ends("slow", 90)


@pytest.mark.parametrize(
    ("combine", "expected"),
    [
        (lambda c: c.all([ends(1), ends("b", 2)], timeout=60), [1, "b"]),
        (lambda c: c.all((ends(1, 3), ends(None)), timeout=60), (1, None)),
        (lambda c: c.all([], timeout=60), []),
        (lambda c: c.all([ends(1), SLOW], timeout=60), ["late", "only 1 of 2 had succeeded within 60 s"]),
        (lambda c: c.all([ends(1), SLOW, SLOW], timeout=60, max_concurrency=1), ["late", "only 1 of 3 had succeeded"]),
        (lambda c: c.all([SLOW, ends(BAD, 1), ends(WORSE, 2)], timeout=60), ["failed", "ValueError", "bad"]),
        (lambda c: c.any([ends(BAD), SLOW, ends("soon", 3)], timeout=60), "soon"),
        (lambda c: c.any([ends(BAD), SLOW], timeout=60), ["late", "none of 2 had succeeded (ValueError: bad)"]),
        (lambda c: c.any([SLOW], timeout=timedelta(minutes=1)), ["late", "none of 1 had succeeded (none had failed)"]),
        (
            lambda c: c.any([ends(BAD, 2), ends(WORSE)], timeout=60),
            ["all failed", "none of 2 succeeded (ValueError: bad; OSError: worse)", ["bad", "worse"]],
        ),
        (lambda c: c.race([SLOW, ends("soon", 3), ends(BAD, 5)], timeout=60), "soon"),
        (lambda c: c.race([SLOW, ends(BAD, 3)], timeout=60), ["failed", "ValueError", "bad"]),
        (lambda c: c.race([SLOW, SLOW], timeout=60), ["late", "none of 2 had ended within 60 s"]),
        (
            lambda c: c.all_settled([ends(1, 5), ends(BAD), SLOW], timeout=60),
            [["SUCCEEDED", 1, None], ["FAILED", None, "bad"], ["STARTED", None, None]],
        ),
        (lambda c: c.all_settled([ends(1, 5)], timeout=60), [["SUCCEEDED", 1, None]]),
    ],
)
def test_a_timeout_ends_what_is_not_done_the_first_time_as_on_replay(combine: Any, expected: Any) -> None:
    found, handle = twice(combine)
    if found and isinstance(found, list) and found[0] == "late":
        assert found[1].startswith(expected[1])
    else:
        assert found == expected
        assert type(found) is type(expected)
    assert [each["SubType"] for each in handle.operations if not each.get("ParentId")] == ["Parallel", "Wait", "Step"]


def test_a_timeout_changes_no_name_and_no_number_of_a_member() -> None:
    def handler(_event: Any, context: DurableContext) -> Any:
        items = context.all_settled([ends(1), ParallelBranch(ends(2), "two"), SLOW], timeout=60)
        return [item.index for item in items]

    handle = run(handler)
    assert handle.value == [0, 1, 2]
    branches = [each["Name"] for each in handle.operations if each["SubType"] == "ParallelBranch"]
    assert branches == ["timeout", "parallel-branch-0", "two", "parallel-branch-2"]


@pytest.mark.parametrize("timeout", [0, -1, 367 * 86_400, 2**70])
def test_a_timeout_that_the_service_does_not_take_is_refused(timeout: int) -> None:
    def handler(_event: Any, context: DurableContext) -> Any:
        for combine in (context.all, context.any, context.race, context.all_settled):
            with pytest.raises(ValidationError):
                combine([ends(1)], timeout=timeout)
        return "refused"

    handle = run(handler)
    assert (handle.value, handle.operations) == ("refused", handle.operations[:0])


def test_members_and_the_whole_have_their_names() -> None:
    def handler(_event: Any, context: DurableContext) -> Any:
        return context.any([ParallelBranch(ends("here"), "near"), ends("there", 9)], "found")

    handle = run(handler)
    assert handle.value == "here"
    assert [each.get("Name") for each in handle.operations][:3] == ["found", "near", "parallel-branch-1"]


def test_a_large_value_is_rebuilt_and_wins_again() -> None:
    found, _ = twice(lambda c: c.race([ends("late", 9), ends("x" * 300_000, 1)])[:3])
    assert found == "xxx"


def test_what_could_never_end_or_has_no_order_is_refused() -> None:
    def handler(_event: Any, context: DurableContext) -> Any:
        for combine in (context.any, context.race):
            with pytest.raises(ValidationError, match="at least one"):
                combine([])
        for wrong in ({ends(1)}, iter([ends(1)]), "ab", None):
            for name in ("all", "any", "race", "all_settled"):
                with pytest.raises(ValidationError, match=f"{name} takes a list"):
                    getattr(context, name)(wrong)
        return context.all([ends("right")], "right")

    handle = run(handler)
    assert handle.value == ["right"]
    assert handle.operations[0]["Name"] == "right"


# ---- members that succeed, fail and wait, in every order

MEMBERS = st.lists(st.tuples(st.sampled_from(["ok", "fail"]), st.integers(0, 6)), min_size=1, max_size=5)


def first(members: Sequence[tuple[str, int]], *kinds: str) -> set[int]:
    """Give the members that may be the first to end so: those with the shortest wait."""
    ended = [(after, index) for index, (kind, after) in enumerate(members) if kind in kinds]
    return {index for after, index in ended if after == min(ended)[0]}


@settings(max_examples=25, deadline=None)
@given(members=MEMBERS)
def test_the_first_wins_and_wins_again(members: list[tuple[str, int]]) -> None:
    functions = [
        ends(index if kind == "ok" else ValueError(f"{index}"), 10 * after)
        for index, (kind, after) in enumerate(members)
    ]
    any_failed = any(kind == "fail" for kind, _ in members)

    found, _ = twice(lambda c: c.all(functions))
    if any_failed:
        assert found[0] == "failed"
        assert int(found[2]) in first(members, "fail")
    else:
        assert found == list(range(len(members)))

    found, _ = twice(lambda c: c.any(functions))
    if any(kind == "ok" for kind, _ in members):
        assert found in first(members, "ok")
    else:
        assert found[2] == [str(index) for index in range(len(members))]

    found, _ = twice(lambda c: c.race(functions))
    winner = int(found[2]) if isinstance(found, list) else found
    assert winner in first(members, "ok", "fail")

    found, _ = twice(lambda c: c.all_settled(functions))
    states = {"ok": BatchItemStatus.SUCCEEDED.value, "fail": BatchItemStatus.FAILED.value}
    assert [each[0] for each in found] == [states[kind] for kind, _ in members]


def test_the_explorer_finds_no_difference() -> None:
    def handler(_event: Any, context: DurableContext) -> Any:
        return [
            context.all((ends(1), ends(2, 1))),
            outcome(lambda: context.any([ends(BAD), ends(WORSE, 1)])),
            context.race([ends("late", 9), ends("soon", 1)]),
            outcome(lambda: context.all_settled([ends(1), ends(BAD, 1)])),
            outcome(lambda: context.all([ends(1), ends(2, 9)], timeout=3)),
        ]

    explore(durable_execution(handler), orders=2, max_schedules=60).assert_ok()


# ---- hot swap


def combined(stage: Stage) -> Any:
    """Combinators under perdure, and parallels with policies under the official SDK."""

    def member(value: Any, after: int) -> Callable[[Any], Any]:
        def run(inner: Any) -> Any:
            inner.wait(stage.seconds(after))
            if isinstance(value, Exception):
                raise value
            return inner.step(lambda _: value, "give")

        return run

    config = stage.sdk.config
    every = [member(1, 1), member("b", 3)]
    some = [member(ValueError("user: bad"), 1), member("soon", 3), member("late", 300)]
    if stage.sdk is PERDURE:
        found = [stage.ctx.all(every, "all"), stage.ctx.any(some, "any"), stage.ctx.race(some[1:], "race")]
        found.append([each.status.value for each in stage.ctx.all_settled(some[:2], "all_settled")])
        return found

    def parallel(functions: Any, name: str, policy: Any) -> Any:
        return stage.ctx.parallel(functions, name, config.ParallelConfig(completion_config=policy))

    rules = config.CompletionConfig
    return [
        parallel(every, "all", rules.all_successful()).get_results(),
        parallel(some, "any", rules.first_successful()).get_results()[0],
        parallel(some[1:], "race", rules(min_successful=1, tolerated_failure_count=0)).get_results()[0],
        [each.status.value for each in parallel(some[:2], "all_settled", rules.all_completed()).all],
    ]


@pytest.mark.parametrize("turn", range(7))
def test_either_sdk_goes_on_with_the_combinators_of_the_other(turn: int) -> None:
    handle, alone = play(combined, PERDURE)
    assert handle.value == [[1, "b"], "soon", "soon", ["FAILED", "SUCCEEDED"]]
    replay_writes_nothing(combined, handle, alone)
    for turns in ([OFFICIAL] * turn + [PERDURE], [PERDURE] * turn + [OFFICIAL]):
        swapped, seen = play(combined, turns)
        assert swapped.value == handle.value
        assert seen.operations.keys() == alone.operations.keys()


def limited(stage: Stage) -> Any:
    """A combinator with a timeout under perdure, and what it is made of under the official SDK."""

    def slow(inner: Any) -> str:
        inner.wait(stage.seconds(300))
        return "slow"

    def timer(inner: Any) -> None:
        inner.wait(stage.seconds(4))

    if stage.sdk is PERDURE:
        with pytest.raises(CombinatorTimeoutError):
            stage.ctx.any([slow, slow], "any", timeout=stage.seconds(4))
    else:
        config = stage.sdk.config
        branches = [config.ParallelBranch(each, name) for each, name in zip((timer, slow, slow), NAMES, strict=True)]

        def is_over(status: Any) -> Any:
            done = status.items[0].status is not None and status.items[0].status.value == "SUCCEEDED"
            return config.complete_batch(config.CompletionOutcome.SUCCEEDED) if done else config.continue_batch()

        policy = config.CompletionConfig(should_complete=is_over)
        stage.ctx.parallel(branches, "any", config.ParallelConfig(completion_config=policy))
    stage.ctx.wait(stage.seconds(2), "after")
    return "late"


NAMES = ("timeout", "parallel-branch-0", "parallel-branch-1")


@pytest.mark.parametrize("turn", range(4))
def test_either_sdk_goes_on_with_a_timeout_of_the_other(turn: int) -> None:
    handle, alone = play(limited, PERDURE)
    assert handle.value == "late"
    replay_writes_nothing(limited, handle, alone)
    for turns in ([OFFICIAL] * turn + [PERDURE], [PERDURE] * turn + [OFFICIAL]):
        swapped, seen = play(limited, turns)
        assert swapped.value == handle.value
        assert seen.operations.keys() == alone.operations.keys()
