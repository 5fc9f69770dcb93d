"""What the service does not take is refused with a clear error before anything is sent; what it does take works."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from perdure import DurableContext, ValidationError, durable_execution
from perdure.config import (
    CallbackConfig,
    ChildConfig,
    CompletionConfig,
    Duration,
    NestingType,
    ParallelBranch,
    StepConfig,
)
from perdure.engine import checkpoint
from perdure.local import LocalService
from perdure.retries import RetryDecision
from perdure.waits import WaitForConditionDecision
from support.invocations import PENDING, Recorder, invoke, op, op_id, succeeded

if TYPE_CHECKING:
    from collections.abc import Callable

Operate = "Callable[[DurableContext, Any], Any]"


def stop(*_: Any) -> WaitForConditionDecision:
    return WaitForConditionDecision.stop_polling()


def branch(name: str) -> ParallelBranch[Any]:
    return ParallelBranch(lambda _: None, name)


NAMED: dict[str, Callable[[DurableContext, Any], Any]] = {
    "step": lambda c, name: c.step(lambda _: 1, name),
    "wait": lambda c, name: c.wait(1, name),
    "callback": lambda c, name: c.create_callback(name),
    "wait_for_callback": lambda c, name: c.wait_for_callback(lambda *_: None, name),
    "wait_for_condition": lambda c, name: c.wait_for_condition(
        lambda s, _: s, name=name, wait_strategy=stop, initial_state=0
    ),
    "invoke": lambda c, name: c.invoke("fn", 1, name),
    "child": lambda c, name: c.run_in_child_context(lambda _: 1, name),
    "map": lambda c, name: c.map([], stop, name),
    "parallel": lambda c, name: c.parallel([], name),
}

BAD_NAMES = {
    "too long": ("x" * 257, "257 characters.*at most 2"),
    "accent": ("né", "printable ASCII"),
    "newline": ("a\nb", "printable ASCII"),
    "tab": ("a\tb", "printable ASCII"),
    "delete": ("a\x7f", "printable ASCII"),
    "emoji": ("🎉", "printable ASCII"),
}


@pytest.mark.parametrize("bad", BAD_NAMES)
@pytest.mark.parametrize("operation", NAMED)
def test_names_are_checked_before_anything_is_sent(operation: str, bad: str) -> None:
    name, message = BAD_NAMES[bad]

    def handler(context: DurableContext) -> None:
        with pytest.raises(ValidationError, match=message):
            NAMED[operation](context, name)

    got, client = invoke(handler)
    assert got == succeeded("null")
    assert client.calls == []


@pytest.mark.parametrize("name", ["x" * 256, "~", " ", "a b/c:d"])
@pytest.mark.parametrize("operation", [each for each in NAMED if each != "wait_for_callback"])
def test_names_at_the_limit_are_taken(operation: str, name: str) -> None:
    _, client = invoke(lambda c: NAMED[operation](c, name) and None)
    assert client.updates[0]["Name"] == name


@pytest.mark.parametrize("operation", NAMED)
def test_an_empty_name_is_none(operation: str) -> None:
    _, client = invoke(lambda c: NAMED[operation](c, "") and None)
    assert "Name" not in client.updates[0]


@pytest.mark.parametrize(
    "operate",
    [
        lambda c: c.map([1], lambda *_: 1, item_namer=lambda *_: "né").throw_if_error(),
        lambda c: c.parallel([branch("né")]).throw_if_error(),
        lambda c: c.wait_for_callback(lambda *_: None, "x" * 250),
    ],
    ids=["item", "branch", "name made longer"],
)
def test_names_inside_fail_what_they_name_and_are_not_sent(operate: Callable[[DurableContext], Any]) -> None:
    got, client = invoke(operate)
    assert got["Status"] == "FAILED"
    assert "characters" in got["Error"]["ErrorMessage"]
    assert all(len(each.get("Name", "")) <= 256 and each.get("Name", "").isascii() for each in client.updates)


def test_the_names_of_flat_branches_are_never_sent() -> None:
    got, _ = invoke(
        lambda c: c.map([1], lambda *_: 1, item_namer=lambda *_: "né", nesting_type=NestingType.FLAT).get_results()
    )
    assert got == succeeded("[1]")


@pytest.mark.parametrize("name", ["né", "x" * 300, "tab\t"])
@pytest.mark.parametrize(
    ("operation", "recorded"),
    [
        ("step", op("STEP", "SUCCEEDED", details={"Result": "1"})),
        ("wait", op("WAIT", "SUCCEEDED", details={})),
        ("callback", op("CALLBACK", "SUCCEEDED", details={"CallbackId": "x"})),
        ("invoke", op("CHAINED_INVOKE", "SUCCEEDED", details={})),
        ("child", op("CONTEXT", "SUCCEEDED", details={"Result": "1"})),
    ],
)
def test_a_history_with_odd_names_still_replays(operation: str, recorded: dict[str, Any], name: str) -> None:
    got, client = invoke(lambda c: NAMED[operation](c, name) and None, {**recorded, "Name": name})
    assert got == succeeded("null")
    assert client.calls == []


# ---- subtypes

SUBTYPED: dict[str, Callable[[DurableContext, Any], Any]] = {
    "step": lambda c, kind: c.step(lambda _: 1, sub_type=kind),
    "step by config": lambda c, kind: c.step(lambda _: 1, config=StepConfig(sub_type=kind)),
    "child": lambda c, kind: c.run_in_child_context(lambda _: 1, sub_type=kind),
    "child by config": lambda c, kind: c.run_in_child_context(lambda _: 1, config=ChildConfig(sub_type=kind)),
    "callback": lambda c, kind: c.create_callback(sub_type=kind),
    "callback by config": lambda c, kind: c.create_callback(config=CallbackConfig(sub_type=kind)),
}


@pytest.mark.parametrize("kind", ["x" * 33, "a b", "é", "a.b", "a\n"])
@pytest.mark.parametrize("operation", SUBTYPED)
def test_subtypes_are_checked_before_anything_is_sent(operation: str, kind: str) -> None:
    def handler(context: DurableContext) -> None:
        with pytest.raises(ValidationError, match=r"[Ss]ub"):
            SUBTYPED[operation](context, kind)

    got, client = invoke(handler)
    assert got == succeeded("null")
    assert client.calls == []


@pytest.mark.parametrize("kind", ["x" * 32, "a-b_C9"])
@pytest.mark.parametrize("operation", SUBTYPED)
def test_subtypes_at_the_limit_are_taken(operation: str, kind: str) -> None:
    _, client = invoke(lambda c: SUBTYPED[operation](c, kind) and None)
    assert {each["SubType"] for each in client.updates} == {kind}


# ---- durations

MAX_WAIT, MAX_TIMEOUT = 31_622_400, 99_999_999
TIMED: dict[str, tuple[Callable[[DurableContext, Any], Any], list[Any], list[tuple[Any, int]]]] = {
    "wait": (
        lambda c, length: c.wait(length),
        [0, -1, MAX_WAIT + 1, Duration(0), timedelta(0), timedelta(days=367), timedelta(seconds=-5)],
        [(1, 1), (MAX_WAIT, MAX_WAIT), (Duration(7), 7), (timedelta(minutes=1), 60), (2.0, 2)],
    ),
    "timeout": (
        lambda c, length: c.create_callback(timeout=length),
        [-1, MAX_TIMEOUT + 1, timedelta(days=-1)],
        [(0, 0), (MAX_TIMEOUT, MAX_TIMEOUT), (Duration(7), 7), (timedelta(hours=1), 3600), (2.0, 2)],
    ),
    "heartbeat": (
        lambda c, length: c.create_callback(heartbeat_timeout=length),
        [-1, MAX_TIMEOUT + 1],
        [(0, 0), (MAX_TIMEOUT, MAX_TIMEOUT), (timedelta(seconds=5), 5)],
    ),
    "timeout by config": (
        lambda c, length: c.create_callback(config=CallbackConfig(timeout=length)),
        [-1, MAX_TIMEOUT + 1],
        [(0, 0), (MAX_TIMEOUT, MAX_TIMEOUT), (60, 60)],
    ),
    "timeout of wait_for_callback": (
        lambda c, length: c.wait_for_callback(lambda *_: None, timeout=length),
        [-1, timedelta(seconds=-1)],
        [],
    ),
}


def seconds_sent(update: dict[str, Any], operation: str) -> int:
    if operation == "wait":
        return update["WaitOptions"]["WaitSeconds"]
    options = update["CallbackOptions"]
    return options["HeartbeatTimeoutSeconds" if operation == "heartbeat" else "TimeoutSeconds"]


@pytest.mark.parametrize(("operation", "length"), [(name, bad) for name, (_, bads, _) in TIMED.items() for bad in bads])
def test_lengths_of_time_are_checked_before_anything_is_sent(operation: str, length: Any) -> None:
    def handler(context: DurableContext) -> None:
        with pytest.raises(ValidationError):
            TIMED[operation][0](context, length)

    got, client = invoke(handler)
    assert got == succeeded("null")
    assert client.calls == []


@pytest.mark.parametrize(
    ("operation", "length", "seconds"),
    [(name, length, seconds) for name, (*_, goods) in TIMED.items() for length, seconds in goods],
)
def test_lengths_of_time_at_the_limit_are_taken(operation: str, length: Any, seconds: int) -> None:
    _, client = invoke(lambda c: TIMED[operation][0](c, length) and None)
    assert seconds_sent(client.updates[0], operation) == seconds


@pytest.mark.parametrize("length", ["5", None, [5], object()])
def test_what_is_no_length_of_time_is_refused(length: Any) -> None:
    def handler(context: DurableContext) -> None:
        with pytest.raises((ValidationError, TypeError)):
            context.wait(length)

    assert invoke(handler)[1].calls == []


@pytest.mark.parametrize(("delay", "sent"), [(0, 1), (-5, 1), (1, 1), (MAX_WAIT + 9, MAX_WAIT)])
def test_a_retry_comes_after_at_least_a_second(delay: int, sent: int) -> None:
    def fail(_step: Any) -> None:
        raise OSError("again")

    decision = RetryDecision(True, Duration(max(0, delay)))
    _, client = invoke(lambda c: c.step(fail, retry=lambda *_: decision))
    assert client.updates[-1]["StepOptions"] == {"NextAttemptDelaySeconds": max(1, sent)}


@pytest.mark.parametrize("seconds", [MAX_WAIT + 1, 800 * 86_400, 2**70])
@pytest.mark.parametrize("kind", ["step", "condition"])
def test_a_delay_longer_than_the_service_takes_is_cut_with_a_warning_that_names_the_strategy(
    kind: str, seconds: int, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_step: Any) -> None:
        raise OSError("again")

    retry = RetryDecision.retry(Duration(seconds))
    wait = WaitForConditionDecision.continue_waiting(Duration(seconds))
    handlers: dict[str, Any] = {
        "step": lambda c: c.step(fail, "pay", retry=lambda *_: retry),
        "condition": lambda c: c.wait_for_condition(
            lambda s, _: s, name="pay", wait_strategy=lambda *_: wait, initial_state=0
        ),
    }
    with caplog.at_level("WARNING", "perdure"):
        got, client = invoke(handlers[kind])
    assert got == PENDING
    assert client.updates[-1]["StepOptions"] == {"NextAttemptDelaySeconds": MAX_WAIT}
    (line,) = caplog.messages
    assert f"the strategy of pay asks for a delay of {seconds:,} s before attempt 2" in line


def test_the_longest_delay_is_no_cause_for_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_step: Any) -> None:
        raise OSError("again")

    with caplog.at_level("WARNING", "perdure"):
        invoke(lambda c: c.step(fail, retry=lambda *_: RetryDecision.retry(Duration(MAX_WAIT))))
    assert caplog.messages == []


# ---- batches of map and parallel


@pytest.mark.parametrize("enough", [4, 100])
def test_more_successes_than_branches_are_refused_before_the_start(enough: int) -> None:
    def handler(context: DurableContext) -> None:
        with pytest.raises(ValidationError, match=f"min_successful is {enough}, but there are only 3"):
            context.map([1, 2, 3], stop, completion_config=CompletionConfig(min_successful=enough))

    got, client = invoke(handler)
    assert got == succeeded("null")
    assert client.calls == []


@pytest.mark.parametrize("concurrency", [0, -1])
def test_a_concurrency_below_one_is_refused(concurrency: int) -> None:
    def handler(context: DurableContext) -> None:
        with pytest.raises(ValidationError, match="max_concurrency"):
            context.map([1, 2, 3], stop, max_concurrency=concurrency)

    got, client = invoke(handler)
    assert got == succeeded("null")
    assert client.calls == []


# ---- the size of updates


def test_a_single_update_above_the_limit_of_a_batch_goes_alone() -> None:
    text = "x" * 800_000

    @durable_execution
    def handler(_event: Any, context: DurableContext) -> int:
        return len(context.step(lambda _: text)) + context.step(lambda _: 1)

    handle = LocalService().register("f", handler).run("f")
    assert handle.value == 800_001
    assert [[each["Action"] for each in batch] for batch in handle.batches] == [
        ["START"],
        ["SUCCEED"],
        ["START", "SUCCEED"],
    ]
    assert handle.batches[1][0]["Payload"] == json.dumps(text)


@pytest.mark.parametrize("size", [10, 20_000, 300_000])
def test_batches_stay_within_what_the_service_takes(size: int) -> None:
    @durable_execution
    def handler(_event: Any, context: DurableContext) -> int:
        def item(inner: DurableContext, n: int, *_: Any) -> int:
            return len(inner.step(lambda _: chr(65 + n % 26) * size))

        return sum(context.map(range(60), item).get_results())

    handle = LocalService().register("f", handler).run("f")
    assert handle.value == 60 * size
    for batch in handle.batches:
        assert len(batch) <= 250
        assert len(batch) == 1 or len(json.dumps(batch)) <= 750 * 1024


def test_a_queue_longer_than_a_batch_leaves_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contexts within contexts queue a START each before anyone sends."""
    monkeypatch.setattr(checkpoint.Checkpointer, "watch", lambda _: None)
    limit = sys.getrecursionlimit()

    def handler(context: DurableContext) -> int:
        def nested(inner: DurableContext, depth: int) -> int:
            if depth == 0:
                return inner.step(lambda _: 1)
            return inner.run_in_child_context(lambda k: nested(k, depth - 1))

        return nested(context, 300)

    sys.setrecursionlimit(10_000)
    try:
        got, client = invoke(handler, client=Recorder())
    finally:
        sys.setrecursionlimit(limit)
    assert got == succeeded("1")
    assert [len(batch) for batch in client.batches[:2]] == [250, 52]
    assert client.updates[0]["Id"] == op_id(1)
    started: set[str] = set()
    for each in client.updates:
        assert each.get("ParentId") is None or each["ParentId"] in started
        started.add(each["Id"])


MIB = 1024**2


def polls(context: DurableContext, size: int) -> int:
    def strategy(_state: Any, attempt: int) -> WaitForConditionDecision:
        return WaitForConditionDecision(attempt < 2, 5)

    return len(context.wait_for_condition(lambda *_: "x" * size, wait_strategy=strategy, initial_state="", name="big"))


SIZED: dict[str, Callable[[DurableContext, int], int]] = {
    "step": lambda context, size: len(context.step(lambda _: "x" * size, "big")),
    "condition": polls,
    "invoke": lambda context, size: context.invoke("len", "x" * size, "big"),
    "summary": lambda context, size: len(
        context.run_in_child_context(lambda _: "x" * size, "big", summary_generator=lambda result: result)
    ),
}
REBUILT: dict[str, Callable[[DurableContext, int], int]] = {
    "child": lambda context, size: len(context.run_in_child_context(lambda _: "x" * size)),
    "map": lambda context, size: len(context.map([1, 2], lambda *_: "x" * size).get_results()[1]),
    "flat map": lambda context, size: len(
        context.map([1, 2], lambda *_: "x" * size, nesting_type=NestingType.FLAT).get_results()[1]
    ),
}


def sized(operate: Callable[[DurableContext, int], int], size: int) -> Any:
    @durable_execution
    def handler(_event: Any, context: DurableContext) -> int:
        found = operate(context, size)
        context.wait(5)
        return found

    service = LocalService().register("f", handler).register("len", lambda event, _: len(event), durable=False)
    return service.run("f")


@pytest.mark.parametrize("size", [200_000, 300_000, MIB - 2])
@pytest.mark.parametrize("operation", [*SIZED, *REBUILT])
def test_results_up_to_what_a_checkpoint_carries_are_taken(operation: str, size: int) -> None:
    handle = sized({**SIZED, **REBUILT}[operation], size)
    assert (handle.status, handle.value) == ("SUCCEEDED", size), handle.error


@pytest.mark.parametrize("operation", SIZED)
def test_a_larger_one_fails_the_execution_and_names_the_operation(operation: str) -> None:
    handle = sized(SIZED[operation], MIB + 1)
    assert handle.status == "FAILED"
    assert handle.error is not None
    for words in ("Payload size must not exceed 1048576 bytes", '"big"'):
        assert words in handle.error["ErrorMessage"]
    assert len(handle.invocations) <= 2


@pytest.mark.parametrize("operation", REBUILT)
def test_what_is_rebuilt_has_no_such_limit(operation: str) -> None:
    handle = sized(REBUILT[operation], 3 * MIB)
    assert (handle.status, handle.value) == ("SUCCEEDED", 3 * MIB), handle.error
