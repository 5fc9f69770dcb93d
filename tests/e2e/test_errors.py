"""Errors: the same on the first run and on replay, cut to what the service takes, and control flow that sticks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from perdure import (
    CallbackSubmitterError,
    ChildContextError,
    DurableContext,
    DurableOperationError,
    ExecutionError,
    InvokeError,
    SerDesError,
    StepError,
    WaitForConditionError,
    durable_execution,
    run_durable_handler,
)
from perdure.config import CompletionConfig, NestingType
from perdure.exceptions import NonDeterministicExecutionError
from perdure.local import LocalService
from perdure.retries import RetryPresets
from perdure.waits import WaitForConditionDecision
from support.invocations import ARN, PENDING, Recorder, error, event, execution, invoke, op, op_id, succeeded

if TYPE_CHECKING:
    from collections.abc import Callable

OFFICIAL = "aws_durable_execution_sdk_python.exceptions."
NEVER = RetryPresets.none()


class OutOfStockError(Exception):
    """A user's own."""


class CustomStepError(StepError):
    """A user's operation error."""


def raising(problem: BaseException) -> Callable[..., Any]:
    def raise_it(*_: Any) -> Any:
        raise problem

    return raise_it


def stop(_state: Any, _attempt: int) -> WaitForConditionDecision:
    return WaitForConditionDecision.stop_polling()


class Unreadable:
    """A serdes that cannot read what it wrote."""

    def serialize(self, value: Any, _context: Any) -> str:
        return str(value)

    def deserialize(self, _data: str, _context: Any) -> Any:
        raise RuntimeError("cannot read")


UNREADABLE: Any = Unreadable()

WORDS = {"submitter": "Callback submitter failed"}
"""What those say that have failed without a message; others have none either."""

# What fails, as what it surfaces, its error_type, the class of its cause.
CLASSES: dict[str, tuple[Callable[[DurableContext, Any], Any], type[Exception], str, type[Exception] | None]] = {
    "step": (lambda c, p: c.step(raising(p), retry=NEVER), StepError, "", DurableOperationError),
    "child": (lambda c, p: c.run_in_child_context(raising(p)), ChildContextError, "", DurableOperationError),
    "condition": (
        lambda c, p: c.wait_for_condition(raising(p), wait_strategy=stop, initial_state=0),
        WaitForConditionError,
        "",
        DurableOperationError,
    ),
    "step in a child": (
        lambda c, p: c.run_in_child_context(lambda k: k.step(raising(p), retry=NEVER)),
        ChildContextError,
        OFFICIAL + "StepError",
        StepError,
    ),
    "submitter": (
        lambda c, p: c.wait_for_callback(raising(p), retry=NEVER),
        CallbackSubmitterError,
        OFFICIAL + "CallbackSubmitterError",
        StepError,
    ),
    "virtual child": (
        lambda c, p: c.run_in_child_context(raising(p), is_virtual=True),
        ChildContextError,
        "",
        DurableOperationError,
    ),
}

PROBLEMS = {
    "builtin": (ValueError("broken"), "ValueError"),
    "no message": (ValueError(), "ValueError"),
    "user's": (OutOfStockError("none left"), f"{__name__}.OutOfStockError"),
    "user's operation error": (CustomStepError("mine", data="d"), f"{__name__}.CustomStepError"),
}


def fields(problem: BaseException) -> tuple[Any, ...]:
    found: Any = problem
    return type(found), found.message, found.error_type, found.data, found.stack_trace, str(found)


@pytest.mark.parametrize("what", CLASSES)
@pytest.mark.parametrize("kind", PROBLEMS)
def test_a_failure_is_the_same_first_and_again(what: str, kind: str) -> None:
    fail, cls, error_type, cause_cls = CLASSES[what]
    problem, name = PROBLEMS[kind]
    caught: list[BaseException] = []

    @durable_execution
    def handler(_event: Any, context: DurableContext) -> None:
        try:
            fail(context, problem)
        except Exception as failure:  # noqa: BLE001
            caught.append(failure)
        context.wait(1)

    handle = LocalService().register("f", handler).run("f")
    assert handle.status == "SUCCEEDED", handle.error
    first, again = caught
    assert fields(first) == fields(again)
    assert type(first) is cls
    assert first.error_type == (error_type or name)  # type: ignore[attr-defined]
    assert first.message == (str(problem) or WORDS.get(what, ""))  # type: ignore[attr-defined]
    for caught_one in caught:
        assert type(caught_one.__cause__) is cause_cls
    assert fields(first.__cause__) == fields(again.__cause__)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "operate"),
    [
        ("step", lambda c: c.step(lambda _: 1, serdes=UNREADABLE)),
        ("step, default", lambda c: c.step(lambda _: object())),
        ("child", lambda c: c.run_in_child_context(lambda _: 1, serdes=UNREADABLE)),
        ("child, default", lambda c: c.run_in_child_context(lambda _: object())),
        (
            "condition",
            lambda c: c.wait_for_condition(lambda s, _: s, wait_strategy=stop, initial_state=0, serdes=UNREADABLE),
        ),
    ],
)
def test_a_value_that_cannot_be_recorded_fails_without_retry(
    name: str, operate: Callable[[DurableContext], Any]
) -> None:
    caught: list[SerDesError] = []

    @durable_execution
    def handler(_event: Any, context: DurableContext) -> None:
        try:
            operate(context)
        except SerDesError as problem:
            caught.append(problem)
        context.wait(1)

    handle = LocalService().register("f", handler).run("f")
    assert handle.status == "SUCCEEDED", handle.error
    assert [each["Action"] for each in handle.updates if each["Type"] != "WAIT"] == ["START", "FAIL"]
    assert handle.updates[1]["Error"]["ErrorType"] == OFFICIAL + "SerDesError"
    first, again = caught
    assert first.message == again.message


def test_errors_written_by_the_official_sdk_are_rebuilt() -> None:
    recorded = error("m", OFFICIAL + "InvokeError", ErrorData="d")
    caught: list[Any] = []

    def handler(context: DurableContext) -> None:
        try:
            context.run_in_child_context(raising(AssertionError()))
        except ChildContextError as problem:
            caught.append(problem)

    invoke(handler, op("CONTEXT", "FAILED", details={"Error": recorded}))
    assert type(caught[0].__cause__) is InvokeError
    assert caught[0].__cause__.data == "d"


# ---- the size of errors

LONG = {
    "ascii": "x" * 100_000,
    "escaped": '"\n' * 50_000,
    "latin": "é" * 50_000,
    "emoji": "🎉" * 50_000,
    "just too long": "x" * (32 * 1024 - 40),
}


@pytest.mark.parametrize("text", LONG)
@pytest.mark.parametrize(
    "fail",
    [
        lambda c, p: c.step(raising(p), retry=NEVER),
        lambda c, p: c.step(raising(p), retry=RetryPresets.fixed(1)),
        lambda c, p: c.run_in_child_context(raising(p)),
        lambda c, p: c.map([1], raising(p)).throw_if_error(),
        lambda _, p: raising(p)(),
    ],
    ids=["step", "retried step", "child", "item", "handler"],
)
def test_a_huge_error_is_cut_and_says_so(text: str, fail: Callable[[DurableContext, Exception], Any]) -> None:
    problem = ValueError(LONG[text])

    @durable_execution
    def handler(_event: Any, context: DurableContext) -> None:
        fail(context, problem)

    handle = LocalService().register("f", handler).run("f")
    assert handle.status == "FAILED"
    assert handle.error is not None
    message = handle.error["ErrorMessage"]
    assert "cut by perdure" in message
    assert message.startswith(LONG[text][:1000])
    for each in [*handle.updates, {"Error": handle.error}]:
        assert len(json.dumps(each.get("Error", {}))) <= 32 * 1024


def test_huge_data_and_stack_traces_are_left_out_first() -> None:
    problem = StepError("short", data="d" * 40_000, stack_trace=["line"] * 10_000)
    got, _ = invoke(raising(problem))
    assert got["Error"] == {
        "ErrorType": OFFICIAL + "StepError",
        "ErrorMessage": got["Error"]["ErrorMessage"],
    }
    assert got["Error"]["ErrorMessage"].startswith("short ... (cut by perdure")


# ---- sticky control flow

SWALLOWED: list[str] = []


def swallow(call: Callable[[], Any]) -> None:
    try:
        call()
    except BaseException as caught:  # noqa: BLE001
        SWALLOWED.append(type(caught).__name__)


def in_handler(context: DurableContext, operate: Callable[[DurableContext], Any]) -> Any:
    swallow(lambda: operate(context))
    return "went on"


def in_handler_twice(context: DurableContext, operate: Callable[[DurableContext], Any]) -> Any:
    swallow(lambda: operate(context))
    swallow(lambda: context.step(lambda _: SWALLOWED.append("RAN"), "after"))
    raise ValueError("another way out")


def in_child(context: DurableContext, operate: Callable[[DurableContext], Any]) -> Any:
    return context.run_in_child_context(lambda k: in_handler(k, operate), "child")


def in_virtual_child(context: DurableContext, operate: Callable[[DurableContext], Any]) -> Any:
    return context.run_in_child_context(lambda k: in_handler(k, operate), "child", is_virtual=True)


def in_branch(context: DurableContext, operate: Callable[[DurableContext], Any]) -> Any:
    return context.parallel([lambda k: in_handler(k, operate)], "batch").get_results()


def in_flat_branch(context: DurableContext, operate: Callable[[DurableContext], Any]) -> Any:
    branches = [lambda k: in_handler(k, operate)]
    return context.parallel(branches, "batch", nesting_type=NestingType.FLAT).get_results()


def in_raising_child(context: DurableContext, operate: Callable[[DurableContext], Any]) -> Any:
    return context.run_in_child_context(lambda k: in_handler_twice(k, operate), "child")


def around_child(context: DurableContext, operate: Callable[[DurableContext], Any]) -> Any:
    swallow(lambda: context.run_in_child_context(operate, "child"))
    return "went on"


def around_batch(context: DurableContext, operate: Callable[[DurableContext], Any]) -> Any:
    swallow(lambda: context.parallel([operate], "batch"))
    return "went on"


PLACES = [
    in_handler,
    in_handler_twice,
    in_child,
    in_virtual_child,
    in_branch,
    in_flat_branch,
    in_raising_child,
    around_child,
    around_batch,
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "operate",
    [
        lambda c: c.wait(10),
        lambda c: c.step(raising(ValueError()), retry=RetryPresets.fixed(10)),
        lambda c: c.create_callback().result(),
        lambda c: c.invoke("fn", 1),
        lambda c: c.wait_for_condition(
            lambda s, _: s, wait_strategy=lambda *_: WaitForConditionDecision.continue_waiting(3), initial_state=0
        ),
        lambda c: c.map([1, 2], lambda k, *_: k.wait(3)),
    ],
    ids=["wait", "step", "callback", "invoke", "condition", "map"],
)
def test_a_suspension_that_is_swallowed_suspends_all_the_same(place: Any, operate: Any) -> None:
    SWALLOWED.clear()
    got, client = invoke(lambda c: place(c, operate))
    assert got == PENDING
    assert SWALLOWED
    assert "RAN" not in SWALLOWED
    names = {each.get("Name") for each in client.updates if each["Action"] != "START"}
    assert not names & {"child", "batch", "after"}


@pytest.mark.parametrize("place", PLACES)
def test_a_non_determinism_that_is_swallowed_fails_all_the_same(place: Any) -> None:
    SWALLOWED.clear()
    nests = {in_handler: (), in_handler_twice: (), around_child: (1,), in_child: (1,), in_raising_child: (1,)}
    path = (*nests.get(place, (1,)), 1)
    history = [op("CONTEXT", "STARTED", Name="child")] if len(path) > 1 else []
    if place in (in_branch, around_batch, in_flat_branch):
        history = [op("CONTEXT", "STARTED", SubType="Parallel", Name="batch")]
        path = (1, 0, 1)
        if place is not in_flat_branch:
            history.append(op("CONTEXT", "STARTED", 1, 0, SubType="ParallelBranch", Name="parallel-branch-0"))
    if place is in_virtual_child:
        history = []
    recorded = op("WAIT", "STARTED", *path, Name="recorded", details={})
    if place is in_virtual_child:
        del recorded["ParentId"]
    if place is in_flat_branch:
        recorded["ParentId"] = op_id(1)
    got, client = invoke(lambda c: place(c, lambda k: k.step(lambda _: 1, "called")), *history, recorded)
    assert got["Status"] == "FAILED"
    assert got["Error"]["ErrorType"] == OFFICIAL + "NonDeterministicExecutionError"
    assert "recorded" in got["Error"]["ErrorMessage"]
    assert "called" in got["Error"]["ErrorMessage"]
    assert client.calls == []
    assert "NonDeterministicExecutionError" in SWALLOWED
    assert "RAN" not in SWALLOWED


def test_non_determinism_is_an_error_that_user_code_may_look_at() -> None:
    def handler(context: DurableContext) -> None:
        with pytest.raises(NonDeterministicExecutionError) as caught:
            context.step(lambda _: 1)
        assert caught.value.step_id == op_id(1)

    got, _ = invoke(handler, op("WAIT", "STARTED", details={}))
    assert got["Status"] == "FAILED"


@pytest.mark.parametrize("cls", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize(
    "place",
    [
        lambda _, fail: fail(),
        lambda c, fail: c.step(fail),
        lambda c, fail: c.run_in_child_context(fail),
        lambda c, fail: c.run_in_child_context(fail, is_virtual=True),
        lambda c, fail: c.map([1, 2, 3], fail),
        lambda c, fail: c.map([1, 2, 3], fail, nesting_type=NestingType.FLAT),
        lambda c, fail: c.wait_for_condition(fail, wait_strategy=stop, initial_state=0),
    ],
    ids=["handler", "step", "child", "virtual child", "map", "flat map", "condition"],
)
def test_exits_propagate_and_record_nothing(cls: type[BaseException], place: Any) -> None:
    client = Recorder()
    with pytest.raises(cls):
        invoke(lambda c: place(c, raising(cls())), client=client)
    assert {each["Action"] for each in client.updates} <= {"START"}


def test_a_context_used_after_its_end_fails_and_says_what_is_wrong() -> None:
    def handler(context: DurableContext) -> None:
        leaked: list[DurableContext] = []
        context.run_in_child_context(leaked.append)
        leaked[0].step(lambda _: 1)

    got, _ = invoke(handler)
    assert got["Status"] == "FAILED"
    assert "has ended" in got["Error"]["ErrorMessage"]


def test_an_execution_error_ends_the_execution_from_anywhere() -> None:
    for place in (
        lambda _, fail: fail(),
        lambda c, fail: c.run_in_child_context(fail),
        lambda c, fail: c.map([1, 2], fail, completion_config=CompletionConfig.all_completed()),
        lambda c, fail: c.run_in_child_context(fail, is_virtual=True),
    ):
        got, client = invoke(lambda c, place=place: place(c, raising(ExecutionError("no use"))))  # type: ignore[misc]
        assert got == {
            "Status": "FAILED",
            "Error": {"ErrorMessage": "no use", "ErrorType": OFFICIAL + "ExecutionError"},
        }
        assert {each["Action"] for each in client.updates} <= {"START"}


# ---- events that are not what they should be


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"Records": []},
        None,
        [],
        "text",
        {"DurableExecutionArn": ARN},
        {"DurableExecutionArn": ARN, "CheckpointToken": "t"},
        {"DurableExecutionArn": ARN, "CheckpointToken": "t", "InitialExecutionState": None},
    ],
)
def test_an_event_that_is_not_durable_is_refused_with_advice(given: Any) -> None:
    with pytest.raises(ExecutionError, match=r"not of a durable execution.*DurableConfig"):
        run_durable_handler(given, None, raising(AssertionError()), boto3_client=Recorder())


def test_a_history_without_the_execution_is_refused() -> None:
    given = event()
    given["InitialExecutionState"]["Operations"] = []
    with pytest.raises(ExecutionError, match="no EXECUTION operation"):
        run_durable_handler(given, None, raising(AssertionError()), boto3_client=Recorder())


@pytest.mark.parametrize("payload", [None, "", " \n\t"])
def test_blank_input_is_an_empty_object(payload: str | None) -> None:
    got = run_durable_handler(event(payload=payload), None, lambda given, _: given, boto3_client=Recorder())
    assert got == succeeded("{}")


@pytest.mark.parametrize("payload", ["{", "nope", "{} {}"])
def test_invalid_json_input_raises(payload: str) -> None:
    with pytest.raises(ExecutionError, match=r"InputPayload.* no JSON"):
        run_durable_handler(event(payload=payload), None, raising(AssertionError()), boto3_client=Recorder())


@pytest.mark.parametrize("payload", ["null", "0", '"text"', "[1, 2]", '{"a": {"b": null}}'])
def test_any_json_is_input(payload: str) -> None:
    got = run_durable_handler(event(payload=payload), None, lambda given, _: given, boto3_client=Recorder())
    assert got == succeeded(payload)


def test_the_input_may_come_as_the_only_operation() -> None:
    assert execution('{"a": 1}')["ExecutionDetails"] == {"InputPayload": '{"a": 1}'}
    given = event()
    given["InitialExecutionState"] = {"Operations": [execution('{"a": 1}')], "NextMarker": ""}
    assert run_durable_handler(given, None, lambda e, _: e, boto3_client=Recorder()) == succeeded('{"a": 1}')


# ---- ends without an error

ENDS: dict[str, tuple[Any, str, str, type[DurableOperationError]]] = {
    "step": (lambda c: c.step(raising(AssertionError()), "pay"), "STEP", "step", StepError),
    "context": (
        lambda c: c.run_in_child_context(raising(AssertionError()), "pay"),
        "CONTEXT",
        "context",
        ChildContextError,
    ),
    "invoke": (lambda c: c.invoke("f:1", None, "pay"), "CHAINED_INVOKE", "invoke", InvokeError),
    "wait": (lambda c: c.wait(5, "pay"), "WAIT", "operation", DurableOperationError),
}


@pytest.mark.parametrize("recorded", [None, {}], ids=["no error", "an empty one"])
@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT", "STOPPED"])
@pytest.mark.parametrize("kind", ENDS)
def test_an_end_without_an_error_says_which_operation_ended_how(kind: str, status: str, recorded: Any) -> None:
    call, type_, which, cls = ENDS[kind]
    caught: list[Any] = []

    def handler(context: DurableContext) -> None:
        try:
            call(context)
        except DurableOperationError as problem:
            caught.append(problem)

    details = None if recorded is None or kind == "wait" else {"Error": recorded}
    got, _ = invoke(handler, op(type_, status, Name="pay", details=details))
    assert got == succeeded("null")
    (problem,) = caught
    assert type(problem) is cls
    assert problem.message == f"{which} pay ended with the status {status}, and no error was recorded for it"
    assert problem.__cause__ is None
