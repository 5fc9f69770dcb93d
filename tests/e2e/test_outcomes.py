"""How an invocation ends: the table of `docs/protocol.md` §1."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError

from perdure import (
    DurableContext,
    ExecutionError,
    InvocationError,
    RetryableSerDesError,
    durable_execution,
    run_durable_handler,
)
from perdure.config import NestingType
from perdure.engine import checkpoint
from perdure.exceptions import CheckpointError, DurableApiErrorCategory, GetExecutionStateError
from perdure.execution import LAMBDA_RESPONSE_SIZE_LIMIT
from perdure.local import LocalService, client_error
from perdure.waits import WaitForConditionDecision
from support.invocations import PENDING, LambdaContext, Recorder, error, event, invoke, op, succeeded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OFFICIAL = "aws_durable_execution_sdk_python.exceptions."
SIX_MIB = 6 * 1024 * 1024


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    taken: list[float] = []
    monkeypatch.setattr(checkpoint, "sleep", taken.append)
    return taken


# ---- the size of results


@pytest.mark.parametrize(
    ("size", "by_checkpoint"),
    [
        (LAMBDA_RESPONSE_SIZE_LIMIT, False),
        (LAMBDA_RESPONSE_SIZE_LIMIT + 1, True),
        (SIX_MIB - 1, True),
        (SIX_MIB, True),
    ],
)
def test_a_result_above_the_response_limit_goes_by_a_checkpoint(size: int, by_checkpoint: bool) -> None:
    assert LAMBDA_RESPONSE_SIZE_LIMIT == SIX_MIB - 50
    text = "x" * (size - 2)

    @durable_execution
    def handler(_event: Any, context: DurableContext) -> str:
        context.step(lambda _: 1)
        return text

    handle = LocalService().register("f", handler).run("f")
    assert handle.status == "SUCCEEDED", str(handle.error)[:500]
    assert handle.value == text
    (outcome,) = [each.output for each in handle.invocations]
    closing = [each for each in handle.updates if each["Type"] == "EXECUTION"]
    if by_checkpoint:
        assert outcome == succeeded("")
        (update,) = closing
        assert update["Action"] == "SUCCEED"
        assert update["Id"].startswith("execution-result-")
        assert "SubType" not in update
        assert len(update["Payload"]) == size
    else:
        assert closing == []


def test_a_result_that_no_checkpoint_carries_fails_and_says_what_to_do() -> None:
    got, client = invoke(lambda _: "x" * (SIX_MIB - 1))
    assert got["Status"] == "FAILED"
    assert "S3" in got["Error"]["ErrorMessage"]
    assert client.calls == []


def test_escapes_count_as_they_are_sent() -> None:
    got, client = invoke(lambda _: "é" * (SIX_MIB // 6 - 1))
    assert got == succeeded("")
    assert [each["Type"] for each in client.updates] == ["EXECUTION"]


def test_a_result_that_is_not_json_fails() -> None:
    got, client = invoke(lambda _: object())
    assert got["Status"] == "FAILED"
    assert client.calls == []


def test_a_failure_has_the_fields_of_the_error() -> None:
    def handler(_context: DurableContext) -> None:
        raise KeyError("k")

    got, client = invoke(handler)
    assert got == {"Status": "FAILED", "Error": {"ErrorMessage": "'k'", "ErrorType": "KeyError"}}
    assert client.calls == []


# ---- the service's answers


def wait_a_step(context: DurableContext) -> int:
    return context.step(lambda _: 1, "s")


REVOKED = {"NewExecutionState": {"Operations": []}}


@pytest.mark.parametrize(
    "after",
    [
        lambda _: "result",
        lambda c: c.step(lambda _: pytest.fail("ran"), "late"),
        lambda _: (_ for _ in ()).throw(ValueError("late")),
        lambda c: c.map([1, 2], lambda k, *_: k.step(lambda _: pytest.fail("ran"))),
    ],
    ids=["returns", "goes on", "raises", "maps"],
)
def test_a_revoked_token_leaves_the_execution_pending(after: Callable[[DurableContext], Any]) -> None:
    def handler(context: DurableContext) -> Any:
        wait_a_step(context)
        return after(context)

    got, client = invoke(handler, client=Recorder(script=[REVOKED]))
    assert got == PENDING
    assert len(client.calls) == 1


def test_a_token_revoked_under_a_batch_leaves_the_execution_pending() -> None:
    client = Recorder(script=[None, REVOKED])
    got, _ = invoke(lambda c: c.map(range(20), lambda k, *_: wait_a_step(k)), client=client)
    assert got == PENDING
    assert len(client.calls) == 2


def test_the_end_of_the_execution_needs_no_token() -> None:
    client = Recorder(script=[REVOKED])
    got, _ = invoke(lambda _: "x" * (SIX_MIB - 10), client=client)
    assert got == succeeded("")


PASSING = {
    "throttled": lambda: client_error("TooManyRequestsException", "slow down", "Op"),
    "server": lambda: client_error("ServiceException", "oops", "Op"),
    "reset": lambda: ConnectionResetError("reset"),
    "timeout": lambda: TimeoutError("late"),
    "read": lambda: ReadTimeoutError(endpoint_url="http://x"),
    "connect": lambda: ConnectTimeoutError(endpoint_url="http://x"),
    "endpoint": lambda: EndpointConnectionError(endpoint_url="http://x"),
}


@pytest.mark.parametrize("kind", PASSING)
def test_passing_trouble_is_repeated_with_the_same_client_token(kind: str, pauses: list[float]) -> None:
    make = PASSING[kind]
    got, client = invoke(wait_a_step, client=Recorder(script=[make(), make(), None]))
    assert got == succeeded("1")
    assert len({call["ClientToken"] for call in client.calls}) == 1
    assert len({call["CheckpointToken"] for call in client.calls}) == 1
    assert client.batches[0] == client.batches[1] == client.batches[2]
    assert len(pauses) == 2
    assert 0.025 <= pauses[0] <= 0.05 <= pauses[1] <= 0.1


def test_each_call_has_a_client_token_of_its_own() -> None:
    _, client = invoke(lambda c: [wait_a_step(c) for _ in range(3)])
    assert len({call["ClientToken"] for call in client.calls}) == 3
    assert [call["CheckpointToken"] for call in client.calls] == ["token-0", "token-1", "token-2"]


@pytest.mark.parametrize("kind", PASSING)
def test_passing_trouble_that_stays_is_raised_when_time_is_up(kind: str) -> None:
    def script() -> Iterator[Exception]:
        while True:
            yield PASSING[kind]()

    client = Recorder()
    client.script = script()
    with pytest.raises(CheckpointError) as caught:
        invoke(wait_a_step, client=client, context=LambdaContext(900.0, 1.0))
    assert caught.value.is_retryable()
    assert caught.value.__cause__ is not None


def test_the_pauses_grow_up_to_a_bound(pauses: list[float]) -> None:
    invoke(wait_a_step, client=Recorder(script=[PASSING["server"]() for _ in range(12)]))
    assert all(later <= 2 * 2 * earlier for earlier, later in itertools.pairwise(pauses))
    assert 1.0 <= pauses[-1] <= 2.0


PERMANENT = {
    "parameter": lambda: client_error("InvalidParameterValueException", "bad update", "Op"),
    "missing": lambda: client_error("ResourceNotFoundException", "gone", "Op"),
    "kms denied": lambda: client_error("KMSAccessDeniedException", "no key", "Op"),
    "kms disabled": lambda: client_error("KMSDisabledException", "no key", "Op"),
    "kms state": lambda: client_error("KMSInvalidStateException", "no key", "Op"),
    "kms missing": lambda: client_error("KMSNotFoundException", "no key", "Op"),
}


@pytest.mark.parametrize("kind", PERMANENT)
def test_permanent_trouble_fails_the_execution_at_once(kind: str, pauses: list[float]) -> None:
    got, client = invoke(wait_a_step, client=Recorder(script=[PERMANENT[kind]()]))
    assert got["Status"] == "FAILED"
    assert got["Error"]["ErrorType"] == OFFICIAL + "CheckpointError"
    assert str(PERMANENT[kind]()) == got["Error"]["ErrorMessage"]
    assert len(client.calls) == 1
    assert pauses == []


def test_a_stale_token_is_raised() -> None:
    stale = client_error("InvalidParameterValueException", "Invalid checkpoint token: stale", "Op")
    client = Recorder(script=[stale])
    with pytest.raises(CheckpointError, match="Invalid checkpoint token"):
        invoke(wait_a_step, client=client)
    assert len(client.calls) == 1


def swallowing(context: DurableContext) -> str:
    try:
        wait_a_step(context)
    except BaseException:  # noqa: BLE001
        try:
            wait_a_step(context)
        except BaseException:  # noqa: BLE001
            return "swallowed"
    return "not raised"


@pytest.mark.parametrize(
    "place",
    [
        swallowing,
        lambda c: c.run_in_child_context(swallowing),
        lambda c: c.run_in_child_context(swallowing, is_virtual=True),
        lambda c: c.map([1], lambda k, *_: swallowing(k)).get_results(),
        lambda c: c.map([1], lambda k, *_: swallowing(k), nesting_type=NestingType.FLAT).get_results(),
        lambda c: c.map([1], lambda k, *_: wait_a_step(k)).get_errors(),
    ],
    ids=["handler", "child", "virtual child", "map", "flat map", "errors of a map"],
)
def test_a_broken_checkpoint_decides_whatever_the_code_does_about_it(place: Callable[[DurableContext], Any]) -> None:
    got, client = invoke(place, client=Recorder(script=[PERMANENT["parameter"]()]))
    assert got["Status"] == "FAILED"
    assert got["Error"]["ErrorType"] == OFFICIAL + "CheckpointError"
    assert len(client.calls) == 1
    stale = client_error("InvalidParameterValueException", "Invalid checkpoint token: stale", "Op")
    with pytest.raises(CheckpointError):
        invoke(place, client=Recorder(script=[stale]))


def test_a_failed_flush_fails_every_waiter(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nobody else may flush before all of them wait, however long that takes.
    monkeypatch.setattr(checkpoint.Checkpointer, "watch", lambda _: None)
    everybody = threading.Barrier(8)
    ended: list[str] = []

    class Gate(Recorder):
        def checkpoint_durable_execution(self, **call: Any) -> dict[str, Any]:
            if len(self.calls) == 1:
                self.calls.append(call)
                problem = PERMANENT["parameter"]()
                raise problem
            return super().checkpoint_durable_execution(**call)

    def branch(context: DurableContext, *_: Any) -> None:
        def body(_step: Any) -> None:
            everybody.wait(10)

        try:
            context.step(body, step_semantics=None)
            context.step(lambda _: pytest.fail("ran after the failure"))
        except BaseException as caught:
            ended.append(type(caught).__name__)
            raise

    client = Gate()
    got, _ = invoke(
        lambda c: (c.step(lambda _: 1), c.map(range(8), branch)),
        client=client,
    )
    assert got["Status"] == "FAILED"
    assert ended == ["CheckpointsBroken"] * 8
    assert len(client.calls) == 2


# ---- pages of the history


def test_a_page_that_cannot_be_read_decides_the_outcome() -> None:
    def run(problem: Exception) -> Any:
        client = Recorder(pages={"m": problem})  # type: ignore[dict-item]
        return run_durable_handler(
            event(marker="m"), LambdaContext(3.0, 1.0), lambda *_: pytest.fail("ran"), boto3_client=client
        )

    got = run(PERMANENT["missing"]())
    assert got["Status"] == "FAILED"
    assert got["Error"]["ErrorType"] == OFFICIAL + "GetExecutionStateError"
    with pytest.raises(GetExecutionStateError):
        run(PASSING["server"]())


# ---- retryable errors of users

LATER = RetryableSerDesError("storage is away")


def raise_it(*_: Any) -> Any:
    raise LATER


class Away:
    """A serdes whose storage is away."""

    def serialize(self, _value: Any, _context: Any) -> str:
        raise LATER

    def deserialize(self, _data: str, _context: Any) -> Any:
        raise LATER


AWAY: Any = Away()


def stop(*_: Any) -> WaitForConditionDecision:
    return WaitForConditionDecision.stop_polling()


@pytest.mark.parametrize(
    "place",
    [
        raise_it,
        lambda c: c.run_in_child_context(raise_it),
        lambda c: c.run_in_child_context(raise_it, is_virtual=True),
        lambda c: c.run_in_child_context(lambda _: 1, serdes=AWAY),
        lambda c: c.map([1, 2], raise_it),
        lambda c: c.map([1, 2], raise_it, nesting_type=NestingType.FLAT),
        lambda c: c.map([1, 2], lambda *_: 1, item_serdes=AWAY),
        lambda c: c.step(lambda _: 1, serdes=AWAY),
        lambda c: c.invoke("fn", 1, serdes_payload=AWAY),
        lambda c: c.wait_for_condition(lambda s, _: s, wait_strategy=stop, initial_state=0, serdes=AWAY),
    ],
    ids=[
        "handler",
        "child",
        "virtual child",
        "serdes of a child",
        "map",
        "flat map",
        "serdes of items",
        "serdes of a step",
        "serdes of a payload",
        "serdes of a condition",
    ],
)
def test_a_retryable_error_is_raised_and_nothing_is_written_for_it(place: Callable[[DurableContext], Any]) -> None:
    client = Recorder()
    with pytest.raises(InvocationError) as caught:
        invoke(place, client=client)
    assert caught.value is LATER
    assert {each["Action"] for each in client.updates} <= {"START"}


@pytest.mark.parametrize(
    ("place", "recorded"),
    [
        (lambda c: c.step(raise_it, serdes=AWAY), op("STEP", "SUCCEEDED", details={"Result": "1"})),
        (lambda c: c.run_in_child_context(raise_it, serdes=AWAY), op("CONTEXT", "SUCCEEDED", details={"Result": "1"})),
        (
            lambda c: c.invoke("fn", 1, serdes_result=AWAY),
            op("CHAINED_INVOKE", "SUCCEEDED", details={"Result": "1"}),
        ),
        (
            lambda c: c.create_callback(serdes=AWAY).result(),
            op("CALLBACK", "SUCCEEDED", details={"CallbackId": "x", "Result": "1"}),
        ),
    ],
    ids=["step", "child", "invoke", "callback"],
)
def test_a_retryable_error_on_replay_is_raised(place: Callable[[DurableContext], Any], recorded: Any) -> None:
    with pytest.raises(RetryableSerDesError):
        invoke(place, recorded)


def test_a_retryable_error_in_a_step_goes_to_its_strategy() -> None:
    got, client = invoke(lambda c: c.step(raise_it))
    assert got == PENDING
    assert client.summary == [["STEP START", "STEP RETRY"]]
    assert client.updates[1]["Error"]["ErrorType"] == OFFICIAL + "RetryableSerDesError"


def test_an_invocation_error_that_says_no_fails_the_execution() -> None:
    problem = CheckpointError("mine", DurableApiErrorCategory.EXECUTION)

    def handler(_context: DurableContext) -> None:
        raise problem

    got, _ = invoke(handler)
    assert got == {"Status": "FAILED", "Error": error("mine", OFFICIAL + "CheckpointError")}


def test_an_execution_error_fails_the_execution() -> None:
    def handler(context: DurableContext) -> None:
        context.step(lambda _: 1)
        raise ExecutionError("over")

    got, _ = invoke(handler)
    assert got == {"Status": "FAILED", "Error": error("over", OFFICIAL + "ExecutionError")}
