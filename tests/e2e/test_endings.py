"""Handlers and contexts that end without coming to what is recorded: what is refused, and what is only told."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from perdure import DurableContext, durable_execution
from perdure.config import CompletionConfig, NestingType
from perdure.exceptions import ExecutionError, InvocationError, RetryableSerDesError
from perdure.local import LocalService
from support.invocations import NOW, PENDING, invoke, op, op_id, succeeded

if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[[DurableContext], Any]

OFFICIAL = "aws_durable_execution_sdk_python.exceptions."
NON_DETERMINISTIC = OFFICIAL + "NonDeterministicExecutionError"
ENDED_WITHOUT = "has ended without coming to recorded operations that are not over: "

OPEN = {
    "started step": op("STEP", "STARTED", Name="left"),
    "pending step": op("STEP", "PENDING", Name="left", details={"Attempt": 1, "NextAttemptTimestamp": NOW}),
    "ready step": op("STEP", "READY", Name="left", details={"Attempt": 1}),
    "wait": op("WAIT", "STARTED", Name="left", details={"ScheduledEndTimestamp": NOW}),
    "callback": op("CALLBACK", "STARTED", Name="left", details={"CallbackId": "cb"}),
    "invoke": op("CHAINED_INVOKE", "STARTED", Name="left"),
    "child": op("CONTEXT", "STARTED", Name="left"),
    "map": op("CONTEXT", "STARTED", Name="left", SubType="Map"),
    "condition": op("STEP", "PENDING", Name="left", SubType="WaitForCondition", details={"Attempt": 1}),
    "unnamed wait": op("WAIT", "STARTED"),
}
OVER = {
    f"{kind} {status}": op(kind, status, Name="left", **members)
    for kind, status, members in [
        ("STEP", "SUCCEEDED", {"details": {"Result": "1"}}),
        ("STEP", "FAILED", {}),
        ("WAIT", "SUCCEEDED", {}),
        ("WAIT", "CANCELLED", {}),
        ("CALLBACK", "TIMED_OUT", {"details": {"CallbackId": "cb"}}),
        ("CHAINED_INVOKE", "STOPPED", {}),
        ("CONTEXT", "SUCCEEDED", {}),
        ("CONTEXT", "FAILED", {}),
    ]
}


def at(place: tuple[int, ...], recorded: dict[str, Any], **members: Any) -> dict[str, Any]:
    """Move a recorded operation elsewhere."""
    parent = {"ParentId": op_id(*place[:-1])} if len(place) > 1 else {}
    return {**recorded, "Id": op_id(*place), **parent, **members}


def assert_refused(got: dict[str, Any], who: str, what: str = "left") -> str:
    assert got["Status"] == "FAILED"
    assert got["Error"]["ErrorType"] == NON_DETERMINISTIC
    message: str = got["Error"]["ErrorMessage"]
    assert message.startswith(f"{who} {ENDED_WITHOUT}")
    assert what in message
    return message


# ---- the handler


@pytest.mark.parametrize("recorded", OPEN)
def test_a_handler_that_returns_without_an_operation_that_is_not_over_fails(recorded: str) -> None:
    got, client = invoke(lambda _: "done", OPEN[recorded])
    assert_refused(got, "the handler", "Wait" if recorded == "unnamed wait" else '"left"')
    assert client.calls == []


@pytest.mark.parametrize("recorded", OVER)
def test_what_is_over_is_only_told(recorded: str, caplog: pytest.LogCaptureFixture) -> None:
    got, _ = invoke(lambda _: "done", OVER[recorded])
    assert got == succeeded('"done"')
    assert "without coming to 1 recorded operation" in caplog.text
    assert '"left"' in caplog.text


@pytest.mark.parametrize("odd", [{"Type": "GADGET"}, {"Status": "PAUSED"}], ids=["type", "status"])
def test_of_what_this_version_does_not_know_nobody_knows_if_it_is_missed(odd: dict[str, str]) -> None:
    assert invoke(lambda _: "done", OPEN["started step"] | odd)[0] == succeeded('"done"')


def test_an_error_of_the_handlers_own_goes_after_it_and_is_named_too() -> None:
    def handler(_context: DurableContext) -> None:
        raise ValueError("sold out")

    message = assert_refused(invoke(handler, OPEN["wait"])[0], "the handler")
    assert "It raised ValueError: sold out" in message


def test_an_execution_error_too() -> None:
    def handler(_context: DurableContext) -> None:
        raise ExecutionError("no use")

    assert "no use" in assert_refused(invoke(handler, OPEN["wait"])[0], "the handler")


def test_an_error_for_which_the_invocation_is_repeated_is_raised() -> None:
    """The next one may come to it."""
    for error in (InvocationError("try again"), RetryableSerDesError("try again")):

        def handler(_context: DurableContext, error: Exception = error) -> None:
            raise error

        with pytest.raises(type(error), match="try again"):
            invoke(handler, OPEN["wait"])


def test_the_misuse_of_a_context_goes_before_it() -> None:
    def handler(context: DurableContext) -> None:
        context.step(lambda _: context.wait(1))

    got, _ = invoke(handler, op("STEP", "STARTED"), at((2,), OPEN["wait"]))
    assert got["Error"]["ErrorType"] == OFFICIAL + "WrongContextError"


def test_a_handler_that_waits_has_not_ended() -> None:
    got, _ = invoke(lambda c: c.wait(60), op("WAIT", "STARTED"), at((2,), OPEN["wait"]))
    assert got == PENDING


def test_it_is_refused_before_a_large_result_is_written() -> None:
    got, client = invoke(lambda _: "x" * 7_000_000, OPEN["wait"])
    assert_refused(got, "the handler")
    assert client.calls == []


def test_many_are_told_in_short() -> None:
    left = [at((n,), OPEN["wait"], Name=f"left-{n}") for n in range(1, 14)]
    message = assert_refused(invoke(lambda _: None, *left)[0], "the handler")
    assert 'Wait "left-10" and 3 more' in message


def test_it_fails_with_code_that_was_changed_while_it_waited() -> None:
    invocations = iter([60, None])

    @durable_execution
    def handler(_event: Any, context: DurableContext) -> str:
        seconds = next(invocations)
        if seconds is None:
            return "on another way"
        context.parallel([lambda k: k.wait(seconds), lambda k: k.wait(3600)], "both")
        return "the usual way"

    execution = LocalService().register("f", handler).run("f")
    assert execution.status == "FAILED"
    assert execution.error is not None
    assert execution.error["ErrorType"] == NON_DETERMINISTIC
    assert 'Parallel "both"' in execution.error["ErrorMessage"]


def test_histories_of_steps_in_steps_end_so_when_one_is_left_over() -> None:
    """As written by code that was not refused: the step inside takes the place of the one after, which waits."""

    def handler(context: DurableContext) -> list[Any]:
        return [context.step(lambda _: context.step(lambda _: "A")), context.step(lambda _: "B")]

    got, _ = invoke(
        handler,
        op("STEP", "SUCCEEDED", 1, details={"Result": '"A"'}),
        op("STEP", "SUCCEEDED", 2, details={"Result": '"A"'}),
        op("STEP", "PENDING", 3, details={"Attempt": 1, "NextAttemptTimestamp": NOW}),
    )
    assert "from where replay does not call them again" in assert_refused(got, "the handler", "Step")


# ---- what is no miss


FINISHED = op("CONTEXT", "SUCCEEDED", 1, Name="batch", SubType="Parallel", details={"Result": '{"t":"n","v":null}'})


@pytest.mark.parametrize(
    ("handler", "history"),
    [
        pytest.param(
            lambda c: c.run_in_child_context(lambda _: 1),
            [op("CONTEXT", "SUCCEEDED", 1), at((1, 1), OPEN[kind])],
            id=f"{kind} in a finished child",
        )
        for kind in OPEN
    ]
    + [
        pytest.param(
            lambda c: c.parallel([], "batch"),
            [FINISHED, op("CONTEXT", "STARTED", 1, 0, SubType="ParallelBranch"), at((1, 0, 1), OPEN["wait"])],
            id="a branch that was left behind, and its timer",
        ),
        pytest.param(
            lambda c: c.parallel([], "batch"),
            [FINISHED, at((1, 0, 1), OPEN["wait"], ParentId=op_id(1)), at((1, 1, 1), OPEN["child"], ParentId=op_id(1))],
            id="operations of FLAT branches that were left behind",
        ),
        pytest.param(
            lambda c: c.run_in_child_context(lambda k: k.step(lambda _: 1)),
            [
                op("CONTEXT", "SUCCEEDED", 1, details={"Result": "", "ReplayChildren": True}),
                op("STEP", "SUCCEEDED", 1, 1, details={"Result": "1"}),
                at((1, 2), OPEN["wait"]),
            ],
            id="what a child that runs again for its result leaves out",
        ),
    ],
)
def test_what_a_finished_context_holds_is_not_missed(handler: Handler, history: list[dict[str, Any]]) -> None:
    assert invoke(handler, *history)[0]["Status"] == "SUCCEEDED"


@pytest.mark.parametrize("nesting", [NestingType.NESTED, NestingType.FLAT], ids=["nested", "flat"])
def test_a_race_may_leave_timers_behind(nesting: NestingType) -> None:
    @durable_execution
    def handler(_event: Any, context: DurableContext) -> Any:
        context.parallel(
            [lambda k: k.wait(3600, "slow"), lambda k: k.wait(1, "quick")],
            completion_config=CompletionConfig.first_successful(),
            nesting_type=nesting,
        )
        context.wait(5)
        return "done"

    execution = LocalService().register("f", handler).run("f")
    assert (execution.status, execution.result) == ("SUCCEEDED", '"done"')


def test_operations_of_a_virtual_context_are_come_to_as_any_others() -> None:
    def handler(context: DurableContext) -> Any:
        return context.run_in_child_context(lambda k: k.wait(60, "left"), is_virtual=True)

    waiting = at((1, 1), OPEN["wait"])
    del waiting["ParentId"]
    assert invoke(handler, waiting)[0] == PENDING
    assert_refused(invoke(lambda _: 1, waiting)[0], "the handler")


@pytest.mark.parametrize("is_caught", [True, False], ids=["caught", "not caught"])
def test_siblings_of_a_branch_that_ends_the_execution_are_not_missed(*, is_caught: bool) -> None:
    """Nobody knows what they would have come to: the batch was broken off, with nothing recorded."""

    def branch(_context: DurableContext, _number: int, *_: Any) -> None:
        raise ExecutionError("no use")

    def handler(context: DurableContext) -> str:
        try:
            context.map([1, 2], branch, "batch", max_concurrency=1)
        except ExecutionError:
            if not is_caught:
                raise
        return "done"

    got, _ = invoke(
        handler,
        op("CONTEXT", "STARTED", 1, Name="batch", SubType="Map"),
        op("CONTEXT", "STARTED", 1, 0, Name="map-item-0", SubType="MapIteration"),
        op("CONTEXT", "STARTED", 1, 1, Name="map-item-1", SubType="MapIteration"),
        at((1, 1, 1), OPEN["wait"]),
    )
    if is_caught:
        assert got == succeeded('"done"')
    else:
        assert got["Error"] == {"ErrorMessage": "no use", "ErrorType": OFFICIAL + "ExecutionError"}


# ---- contexts


CONTEXTS: dict[str, tuple[Callable[[DurableContext, Callable[[DurableContext], Any]], Any], list[dict[str, Any]]]] = {
    "child context": (
        lambda c, f: c.run_in_child_context(f, "place"),
        [op("CONTEXT", "STARTED", 1, Name="place")],
    ),
    "child context of a child": (
        lambda c, f: c.run_in_child_context(lambda k: k.run_in_child_context(f, "place"), "outer"),
        [op("CONTEXT", "STARTED", 1, Name="outer"), op("CONTEXT", "STARTED", 1, 1, Name="place")],
    ),
    "map item": (
        lambda c, f: c.map([1], lambda k, *_: f(k), "batch", item_namer=lambda *_: "place").get_results(),
        [
            op("CONTEXT", "STARTED", 1, Name="batch", SubType="Map"),
            op("CONTEXT", "STARTED", 1, 0, Name="place", SubType="MapIteration"),
        ],
    ),
    "parallel branch": (
        lambda c, f: c.parallel([f], "batch", completion_config=CompletionConfig.all_completed()).get_results(),
        [
            op("CONTEXT", "STARTED", 1, Name="batch", SubType="Parallel"),
            op("CONTEXT", "STARTED", 1, 0, Name="parallel-branch-0", SubType="ParallelBranch"),
        ],
    ),
}


def inside(place: str, recorded: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the history of a context with an operation in it."""
    history = CONTEXTS[place][1]
    return [
        *history,
        {
            **recorded,
            "Id": op_id(*((1, 1) if "of a child" in place else (1, 0) if "batch" in str(history) else (1,)), 1),
            "ParentId": history[-1]["Id"],
        },
    ]


@pytest.mark.parametrize("place", CONTEXTS)
@pytest.mark.parametrize("recorded", OPEN)
@pytest.mark.parametrize("way", ["returns", "raises"])
def test_a_context_that_ends_without_an_operation_that_is_not_over_fails_the_execution(
    place: str, recorded: str, way: str
) -> None:
    def function(_context: DurableContext) -> str:
        if way == "raises":
            raise ValueError("sold out")
        return "done"

    got, client = invoke(lambda c: CONTEXTS[place][0](c, function), *inside(place, OPEN[recorded]))
    noun = place.removesuffix(" of a child")
    name = "parallel-branch-0" if noun == "parallel branch" else "place"
    assert_refused(got, f'the function of {noun} "{name}"', "Wait" if recorded == "unnamed wait" else '"left"')
    assert client.updates == []


@pytest.mark.parametrize("recorded", OPEN)
@pytest.mark.parametrize("way", ["returns", "raises"])
def test_flat_branches_that_have_all_ended_without_it_fail_the_execution(recorded: str, way: str) -> None:
    """What they come to is recorded in the batch's own context."""

    def branch(_context: DurableContext) -> str:
        if way == "raises":
            raise ValueError("broken")
        return "done"

    def handler(context: DurableContext) -> Any:
        return context.parallel([branch, branch], "batch", nesting_type=NestingType.FLAT).get_results()

    batch = op("CONTEXT", "STARTED", 1, Name="batch", SubType="Parallel")
    left = at((1, 0, 1), OPEN[recorded], ParentId=op_id(1))
    got, client = invoke(handler, batch, left)
    assert_refused(got, 'the function of parallel "batch"', "Wait" if recorded == "unnamed wait" else '"left"')
    assert client.calls == []


def test_so_does_a_batch_that_has_lost_a_branch() -> None:
    def handler(context: DurableContext) -> Any:
        return context.map([1], lambda _context, number, *_: number, "batch").get_results()

    got, client = invoke(
        handler,
        op("CONTEXT", "STARTED", 1, Name="batch", SubType="Map"),
        op("CONTEXT", "STARTED", 1, 0, Name="map-item-0", SubType="MapIteration"),
        op("CONTEXT", "STARTED", 1, 1, Name="map-item-1", SubType="MapIteration"),
    )
    assert_refused(got, 'the function of map "batch"', '"map-item-1"')
    assert op_id(1) not in [update["Id"] for update in client.updates]


@pytest.mark.parametrize("place", CONTEXTS)
def test_one_that_comes_to_it_goes_on(place: str) -> None:
    waiting = inside(place, OPEN["wait"])
    assert invoke(lambda c: CONTEXTS[place][0](c, lambda k: k.wait(60, "left")), *waiting)[0] == PENDING
    over = inside(place, OVER["WAIT SUCCEEDED"])
    got, client = invoke(lambda c: CONTEXTS[place][0](c, lambda k: k.wait(60, "left")), *over)
    assert got["Status"] == "SUCCEEDED"
    assert client.updates


@pytest.mark.parametrize("place", CONTEXTS)
def test_what_is_over_inside_may_be_left_out(place: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    got, _ = invoke(lambda c: CONTEXTS[place][0](c, lambda _: 1), *inside(place, OVER["STEP SUCCEEDED"]))
    assert got["Status"] == "SUCCEEDED"
    assert "without coming to" not in caplog.text


def test_a_batch_that_ends_early_need_not_come_to_all_of_its_branches() -> None:
    def branch(context: DurableContext, number: int, *_: Any) -> int:
        context.wait(60 * number, f"wait-{number}")
        return number

    got, client = invoke(
        lambda c: c.map(
            [1, 2, 3], branch, "batch", max_concurrency=1, completion_config=CompletionConfig(min_successful=1)
        ).get_results(),
        op("CONTEXT", "STARTED", 1, Name="batch", SubType="Map"),
        op("CONTEXT", "STARTED", 1, 0, Name="map-item-0", SubType="MapIteration"),
        op("WAIT", "SUCCEEDED", 1, 0, 1, Name="wait-1"),
        op("CONTEXT", "STARTED", 1, 1, Name="map-item-1", SubType="MapIteration"),
        op("WAIT", "STARTED", 1, 1, 1, Name="wait-2", details={"ScheduledEndTimestamp": NOW + 10**10}),
    )
    assert got == succeeded("[1]")
    assert [update["Name"] for update in client.updates] == ["map-item-0", "batch"]
