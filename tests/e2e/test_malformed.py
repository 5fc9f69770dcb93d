"""Malformed input gets one kind of error, which names what was wrong and where; what is merely new is carried along."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import pytest

from perdure import DurableContext, ExecutionError, InvocationError, run_durable_handler
from perdure.exceptions import CheckpointError
from support.invocations import (
    ARN,
    NOW,
    PENDING,
    LambdaContext,
    Recorder,
    error,
    event,
    execution,
    invoke,
    op,
    succeeded,
)

if TYPE_CHECKING:
    from collections.abc import Callable


class Text(str):
    """Text of somebody's own type."""

    __slots__ = ()


class Shy:
    """An object that cannot be shown."""

    def __repr__(self) -> str:
        raise ValueError("no")


def odd_step(**members: Any) -> dict[str, Any]:
    return op("STEP", "STARTED") | members


def step_with(status: str = "PENDING", **details: Any) -> dict[str, Any]:
    return op("STEP", status, details=details)


HUGE = 10**5_000

ODD: dict[str, tuple[Any, str]] = {
    "None": (None, "it is no object but None"),
    "text": ("STEP", "it is no object but 'STEP'"),
    "bytes": (b"{}", "it is no object but b'{}'"),
    "a list": ([1], r"it is no object but \[1\]"),
    "without Id": ({"Type": "STEP", "Status": "STARTED"}, "it has no Id"),
    "Id None": (odd_step(Id=None), "it has no Id"),
    "Id empty": (odd_step(Id=""), "it has no Id"),
    "Id 7": (odd_step(Id=7), "Id is no text but 7"),
    "Id True": (odd_step(Id=True), "Id is no text but True"),
    "Id bytes": (odd_step(Id=b"x"), "Id is no text but b'x'"),
    "Id lone surrogate": (odd_step(Id="\ud800"), r"Id is no text but '\\ud800'"),
    "Id huge": (odd_step(Id=HUGE), "Id is no text but <class 'int'>"),
    "Id shy": (odd_step(Id=Shy()), "Id is no text but <class '.*Shy'>"),
    "without Type": ({"Id": "x", "Status": "STARTED"}, "it has no Type"),
    "Type 7": (odd_step(Type=7), "Type is no text but 7"),
    "without Status": ({"Id": "x", "Type": "STEP"}, "it has no Status"),
    "Status list": (odd_step(Status=["STARTED"]), r"Status is no text but \['STARTED'\]"),
    "SubType 7": (odd_step(SubType=7), "SubType is no text but 7"),
    "Name 7": (odd_step(Name=7), "Name is no text but 7"),
    "Name lone surrogate": (odd_step(Name="\udcff"), r"Name is no text but '\\udcff'"),
    "ParentId 7": (odd_step(ParentId=7), "ParentId is no text but 7"),
    "ParentId lone surrogate": (odd_step(ParentId="\ud800"), r"ParentId is no text but '\\ud800'"),
    "details text": (odd_step(StepDetails="x"), "StepDetails is no object but 'x'"),
    "details list": (odd_step(StepDetails=[]), r"StepDetails is no object but \[\]"),
    "Result 7": (step_with("SUCCEEDED", Result=7), "Result is no text but 7"),
    "Result bytes": (step_with("SUCCEEDED", Result=b"7"), "Result is no text but b'7'"),
    "Result object": (op("CONTEXT", "SUCCEEDED", details={"Result": {}}), r"Result is no text but \{\}"),
    "Error text": (step_with("FAILED", Error="broken"), "Error is no object but 'broken'"),
    "ErrorMessage 7": (step_with("FAILED", Error={"ErrorMessage": 7}), "ErrorMessage is no text but 7"),
    "ErrorType list": (step_with("FAILED", Error={"ErrorType": []}), r"ErrorType is no text but \[\]"),
    "ErrorData object": (step_with("FAILED", Error={"ErrorData": {}}), r"ErrorData is no text but \{\}"),
    "StackTrace text": (step_with("FAILED", Error={"StackTrace": "x"}), "StackTrace is no list of texts but 'x'"),
    "StackTrace numbers": (step_with("FAILED", Error={"StackTrace": [1]}), r"StackTrace is no list of texts but \[1\]"),
    "Attempt -1": (step_with(Attempt=-1), "Attempt is no count but -1"),
    "Attempt 2**32": (step_with(Attempt=2**32), "Attempt is no count but 4294967296"),
    "Attempt 2**31": (step_with(Attempt=2**31), "Attempt is no count but 2147483648"),
    "Attempt huge": (step_with(Attempt=HUGE), "Attempt is no count but <class 'int'>"),
    "Attempt True": (step_with(Attempt=True), "Attempt is no count but True"),
    "Attempt text": (step_with(Attempt="1"), "Attempt is no count but '1'"),
    "Attempt 1.0": (step_with(Attempt=1.0), "Attempt is no count but 1.0"),
    "moment 2**63": (
        step_with(NextAttemptTimestamp=2**63),
        "NextAttemptTimestamp is no moment .* but 9223372036854775808",
    ),
    "moment -2**63": (
        step_with(NextAttemptTimestamp=-(2**63)),
        "NextAttemptTimestamp is no moment .* but -9223372036854",
    ),
    "moment in a year beyond": (step_with(NextAttemptTimestamp=10**15), "NextAttemptTimestamp is no moment"),
    "moment as text": (
        step_with(NextAttemptTimestamp="2026-01-01T00:00:00Z"),
        "is no moment .* but '2026-01-01T00:00:00Z'",
    ),
    "moment NaN": (step_with(NextAttemptTimestamp=float("nan")), "is no moment .* but nan"),
    "moment infinite": (step_with(NextAttemptTimestamp=float("inf")), "is no moment .* but inf"),
    "moment True": (step_with(NextAttemptTimestamp=True), "is no moment .* but True"),
    "moment a date": (step_with(NextAttemptTimestamp=dt.date(2026, 1, 1)), "is no moment .* but datetime.date"),
    "moment a mock": (step_with(NextAttemptTimestamp=MagicMock(name="at")), "is no moment .* but <MagicMock"),
    "end of a wait as text": (
        op("WAIT", "STARTED", details={"ScheduledEndTimestamp": "soon"}),
        r"ScheduledEndTimestamp is no moment \(Unix milliseconds, or a datetime\) but 'soon'",
    ),
    "CallbackId 7": (op("CALLBACK", "STARTED", details={"CallbackId": 7}), "CallbackId is no text but 7"),
    "ReplayChildren text": (
        op("CONTEXT", "SUCCEEDED", details={"ReplayChildren": "false"}),
        "ReplayChildren is no truth value but 'false'",
    ),
    "ReplayChildren 1": (
        op("CONTEXT", "SUCCEEDED", details={"ReplayChildren": 1}),
        "ReplayChildren is no truth value but 1",
    ),
    "InputPayload 7": (execution() | {"ExecutionDetails": {"InputPayload": 7}}, "InputPayload is no text but 7"),
}


@pytest.mark.parametrize("case", ODD)
@pytest.mark.parametrize("where", ["event", "page", "answer", "page of an answer"])
def test_an_odd_operation_is_named_with_what_is_odd_about_it(where: str, case: str) -> None:
    odd, message = ODD[case]
    page = {"Operations": [odd]}
    client = Recorder(pages={"m": page})
    given = event()
    source = {"event": "the event", "page": "the further pages"}.get(where, "the answer to a checkpoint")
    index = 0
    if where == "event":
        given["InitialExecutionState"]["Operations"].append(odd)
        index = 1
    elif where == "page":
        given["InitialExecutionState"]["NextMarker"] = "m"
    else:
        state = page if where == "answer" else {"Operations": [], "NextMarker": "m"}
        client = Recorder(script=[{"CheckpointToken": "t", "NewExecutionState": state}], pages={"m": page})
    went_on: list[int] = []

    def handler(_event: Any, context: DurableContext) -> int:
        try:
            context.step(lambda _: 1)
        except Exception:  # noqa: BLE001  user code cannot swallow it
            went_on.append(1)
        went_on.append(1)
        return 1

    with pytest.raises(ExecutionError, match=rf"^operation {index}.* of {source} cannot be read: .*{message}"):
        run_durable_handler(given, LambdaContext(), handler, boto3_client=client)
    assert went_on == []


FINE: dict[str, Any] = {
    "text of another type": step_with("SUCCEEDED", Result=Text("7")) | {"Id": Text(op("STEP", "STARTED")["Id"])},
    "moment as a float": step_with(NextAttemptTimestamp=float(NOW)),
    "moment as a datetime": step_with(NextAttemptTimestamp=dt.datetime.now(tz=dt.UTC)),
    "the last moment": step_with(NextAttemptTimestamp=253_402_300_799_999),
    "the first moment": step_with(NextAttemptTimestamp=-62_135_596_800_000),
    "members that say nothing": step_with(Attempt=None, NextAttemptTimestamp=None, Error=None)
    | {"ParentId": "", "Name": "", "SubType": None},
    "new members": step_with(Novelty={"a": 1}) | {"Novelty": 7, "WaitDetails": "of another type"},
    "an error with a tuple": step_with(Error=error(StackTrace=("line",))),
}


@pytest.mark.parametrize("case", FINE)
def test_what_is_merely_unusual_is_read(case: str) -> None:
    got, client = invoke(lambda c: c.step(lambda _: 1), FINE[case])
    assert got == (succeeded("7") if "Result" in FINE[case]["StepDetails"] else PENDING)
    assert client.calls == []


# ---- the event itself


def with_state(**members: Any) -> dict[str, Any]:
    return {"InitialExecutionState": {**event()["InitialExecutionState"], **members}}


EVENTS: dict[str, tuple[Any, str]] = {
    "no object": (lambda _: None, "not of a durable execution"),
    "text": (lambda _: "event", "not of a durable execution"),
    "empty": (lambda _: {}, "not of a durable execution"),
    "state None": (lambda e: e | {"InitialExecutionState": None}, "not of a durable execution"),
    "state a list": (lambda e: e | {"InitialExecutionState": []}, r"InitialExecutionState is no object but \[\]"),
    "token None": (lambda e: e | {"CheckpointToken": None}, "not of a durable execution"),
    "token 7": (lambda e: e | {"CheckpointToken": 7}, "CheckpointToken is no text but 7"),
    "token empty": (lambda e: e | {"CheckpointToken": ""}, "CheckpointToken is no text but ''"),
    "token bytes": (lambda e: e | {"CheckpointToken": b"t"}, "CheckpointToken is no text but b't'"),
    "token shy": (lambda e: e | {"CheckpointToken": Shy()}, "CheckpointToken is no text but a Shy"),
    "ARN 7": (lambda e: e | {"DurableExecutionArn": 7}, "DurableExecutionArn is no text but 7"),
    "operations text": (lambda e: e | with_state(Operations="[]"), r"Operations is no list but '\[\]'"),
    "operations object": (lambda e: e | with_state(Operations={}), r"Operations is no list but \{\}"),
    "operations tuple": (lambda e: e | with_state(Operations=()), r"Operations is no list but \(\)"),
    "marker 0": (lambda e: e | with_state(NextMarker=0), "NextMarker is no text but 0"),
    "marker False": (lambda e: e | with_state(NextMarker=False), "NextMarker is no text but False"),
    "no EXECUTION": (lambda e: e | with_state(Operations=None, NextMarker=""), "no EXECUTION operation"),
    "input": (lambda e: e | with_state(Operations=[execution("{nope")]), r"InputPayload\) is no JSON: Expecting"),
    "deep input": (lambda e: e | with_state(Operations=[execution("[" * 100_000)]), r"InputPayload\) is no JSON"),
    "input of many digits": (
        lambda e: e | with_state(Operations=[execution("1" * 5_000)]),
        r"InputPayload\) is no JSON",
    ),
}


@pytest.mark.parametrize("case", EVENTS)
def test_an_odd_event_is_an_error_that_says_what_is_odd(case: str) -> None:
    spoil, message = EVENTS[case]
    with pytest.raises(ExecutionError, match=message):
        run_durable_handler(spoil(event()), LambdaContext(), lambda *_: 1, boto3_client=Recorder())


# ---- the answer to a checkpoint, and pages


def state(**members: Any) -> dict[str, Any]:
    return {"CheckpointToken": "t", "NewExecutionState": members}


ANSWERS: dict[str, tuple[Any, str]] = {
    "text": ("ok", "it is no object but 'ok'"),
    "a list": ([], r"it is no object but \[\]"),
    "a mock": (MagicMock(name="odd"), "it is no object but <MagicMock"),
    "token 7": ({"CheckpointToken": 7}, "CheckpointToken is no text but 7"),
    "token empty": ({"CheckpointToken": ""}, "CheckpointToken is no text but ''"),
    "state text": ({"CheckpointToken": "t", "NewExecutionState": "x"}, "NewExecutionState is no object but 'x'"),
    "operations text": (state(Operations="x"), "Operations is no list but 'x'"),
    "operations object": (state(Operations={"a": 1}), "Operations is no list but {'a': 1}"),
    "marker 7": (state(NextMarker=7), "NextMarker is no text but 7"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_an_odd_answer_is_raised_so_that_the_invocation_is_repeated(case: str) -> None:
    answer, message = ANSWERS[case]
    with pytest.raises(ExecutionError, match=f"^the answer to a checkpoint cannot be read: {message}"):
        invoke(lambda c: c.step(lambda _: 1), client=Recorder(script=[answer]))


@pytest.mark.parametrize("case", ["text", "a list", "a mock"])
def test_an_answer_is_not_asked_for_again_because_it_is_odd(case: str) -> None:
    client = Recorder(script=[ANSWERS[case][0]])
    with pytest.raises(ExecutionError):
        invoke(lambda c: c.step(lambda _: 1), client=client)
    assert len(client.calls) == 1


@pytest.mark.parametrize(
    "response",
    [
        {"Error": "text", "ResponseMetadata": {"HTTPStatusCode": 400}},
        {"Error": {"Code": ["KMSNotFoundException"]}, "ResponseMetadata": {"HTTPStatusCode": "502"}},
        {"Error": {"Code": 7, "Message": None}, "ResponseMetadata": [400]},
        {"Error": [], "ResponseMetadata": None},
    ],
    ids=["error", "code", "metadata", "nothing"],
)
def test_a_refusal_of_odd_shape_is_taken_for_one_that_passes(response: dict[str, Any]) -> None:
    class Refused(Exception):  # noqa: N818  it stands for botocore's ClientError
        pass

    refusal = Refused("no")
    refusal.response = response  # type: ignore[attr-defined]
    with pytest.raises(CheckpointError, match=r"^no$"):
        invoke(lambda c: c.step(lambda _: 1), client=Recorder(script=[refusal]), context=LambdaContext(0.01))


@pytest.mark.parametrize(
    "told", [[], [op("CALLBACK", "STARTED")], [op("CALLBACK", "STARTED", details={"CallbackId": ""})]]
)
@pytest.mark.parametrize(
    "call", [lambda c: c.create_callback("ask"), lambda c: c.parallel([lambda k: k.create_callback()])]
)
def test_a_callback_whose_id_the_answer_lacks_is_asked_for_again(
    call: Callable[[DurableContext], Any], told: list[dict[str, Any]]
) -> None:
    with pytest.raises(InvocationError, match="without its CallbackId"):
        invoke(call, client=Recorder(script=[state(Operations=told)]))


def test_a_callback_that_is_recorded_without_an_id_fails_the_execution_with_words() -> None:
    got, client = invoke(lambda c: c.create_callback("ask"), op("CALLBACK", "STARTED", Name="ask"))
    assert got["Status"] == "FAILED"
    assert got["Error"]["ErrorMessage"] == "the service has recorded callback ask without a CallbackId"
    assert client.calls == []


PAGES: dict[str, tuple[Any, str]] = {
    "None": (None, "it is no object but None"),
    "text": ("x", "it is no object but 'x'"),
    "empty": ({}, "Operations is no list but None"),
    "another answer": ({"CheckpointToken": "t", "NewExecutionState": {}}, "Operations is no list but None"),
    "operations None": ({"Operations": None, "NextMarker": "n"}, "Operations is no list but None"),
    "operations text": ({"Operations": "abc"}, "Operations is no list but 'abc'"),
    "operations object": ({"Operations": {"a": 1}}, "Operations is no list but {'a': 1}"),
    "marker False": ({"Operations": [], "NextMarker": False}, "NextMarker is no text but False"),
}


@pytest.mark.parametrize("case", PAGES)
@pytest.mark.parametrize("where", ["event", "answer"])
def test_an_odd_page_is_an_error_that_says_what_is_odd(where: str, case: str) -> None:
    page, message = PAGES[case]
    client = Recorder(pages={"m": page}, script=[state(NextMarker="m")] if where == "answer" else None)
    given = event(marker="m" if where == "event" else None)
    with pytest.raises(ExecutionError, match=f"^a page of recorded operations cannot be read: {message}"):
        run_durable_handler(given, LambdaContext(), lambda _, c: c.step(lambda _: 1), boto3_client=client)


def test_pages_of_an_answer_that_revokes_are_not_read() -> None:
    client = Recorder(script=[{"NewExecutionState": {"Operations": [], "NextMarker": "m"}}])
    got, _ = invoke(lambda c: c.step(lambda _: 1), client=client)
    assert got == PENDING
    assert client.state_calls == []


# ---- what this version does not know

NEW: dict[str, tuple[dict[str, Any], str]] = {
    "type": (op("STEP", "SUCCEEDED", Type="GADGET", Name="new"), 'of the type "GADGET", which this version'),
    "status": (op("STEP", "PAUSED", Name="new"), 'with the status "PAUSED", which this version'),
    "both": (op("STEP", "PAUSED", Type="GADGET", Name="new"), 'of the type "GADGET", which this version'),
}


@pytest.mark.parametrize("case", NEW)
def test_what_is_new_is_carried_along_and_fails_only_code_that_comes_to_it(case: str) -> None:
    recorded, message = NEW[case]

    def handler(context: DurableContext) -> int:
        for _ in range(2):
            with pytest.raises(ExecutionError, match=message):
                context.step(lambda _: 1, "new")
        return 1

    assert invoke(lambda _: 1, recorded)[0] == succeeded("1")
    got, client = invoke(handler, recorded)
    assert got["Status"] == "FAILED"
    assert message in got["Error"]["ErrorMessage"]
    assert 'operation "new" (1ced8f' in got["Error"]["ErrorMessage"]
    assert client.calls == []


def test_a_callback_that_comes_to_a_new_status_fails_with_words() -> None:
    recorded = op("CALLBACK", "STARTED", details={"CallbackId": "cb"})

    def handler(context: DurableContext) -> Any:
        callback = context.create_callback()
        context.step(lambda _: 1)
        return callback.result()

    got, _ = invoke(handler, recorded, client=Recorder(lambda _: [recorded | {"Status": "PAUSED"}]))
    assert got["Status"] == "FAILED"
    assert 'with the status "PAUSED"' in got["Error"]["ErrorMessage"]


def test_what_started_and_then_has_a_new_status_fails_with_words() -> None:
    got, _ = invoke(lambda c: c.wait(5), client=Recorder(lambda _: [op("WAIT", "PAUSED")]))
    assert got["Status"] == "FAILED"
    assert 'with the status "PAUSED"' in got["Error"]["ErrorMessage"]


@pytest.mark.parametrize("case", NEW)
def test_what_is_new_wakes_nobody(case: str) -> None:
    """Out of time, an invocation ends PENDING only for what surely wakes it."""
    recorded = NEW[case][0] | {"Id": "elsewhere"}

    def handler(context: DurableContext) -> None:
        for _ in range(3):
            context.step(lambda _: 1)

    with pytest.raises(Exception, match="out of time"):
        invoke(handler, recorded, context=LambdaContext(0.000001))


def test_a_new_type_is_not_missed(caplog: pytest.LogCaptureFixture) -> None:
    recorded = NEW["type"][0]
    got, _ = invoke(lambda _: 1, recorded, op("STEP", "STARTED", 1, 1))
    assert got == succeeded("1")
    assert caplog.records == []


def test_an_operation_told_of_as_two_types_fails_only_code_that_comes_to_it() -> None:
    twice = (op("STEP", "SUCCEEDED", details={"Result": "1"}), op("WAIT", "SUCCEEDED"))
    got, _ = invoke(lambda c: c.step(lambda _: 2), *twice)
    assert got["Status"] == "FAILED"
    assert "both as STEP and as WAIT: the service contradicts itself" in got["Error"]["ErrorMessage"]
    assert invoke(lambda _: 1, *twice)[0] == succeeded("1")


# ---- clients that speak in models


class Models:
    """An injected `DurableServiceClient` whose answers are whatever a test says."""

    def __init__(self, checkpoint: Any = None, page: Any = None) -> None:
        self._checkpoint, self._page = checkpoint, page

    def checkpoint(self, *_: Any) -> Any:
        return self._checkpoint

    def get_execution_state(self, *_: Any) -> Any:
        return self._page


@pytest.mark.parametrize("answer", [None, 7, MagicMock(name="odd")], ids=["None", "a number", "a mock"])
@pytest.mark.parametrize("where", ["answer", "page"])
def test_an_odd_answer_of_an_injected_client_is_named_too(where: str, answer: Any) -> None:
    class Event(dict[str, Any]):
        service_client = Models(answer, answer)

        def to_dict(self) -> dict[str, Any]:
            return dict(self)

    given = Event(event(marker="m" if where == "page" else None))
    source = "a page of recorded operations" if where == "page" else "the answer to a checkpoint"
    handler: Callable[[Any, DurableContext], Any] = lambda _, c: c.step(lambda _: 1)  # noqa: E731
    with pytest.raises(ExecutionError, match=f"^{source} cannot be read: "):
        run_durable_handler(given, LambdaContext(), handler)
    assert given["DurableExecutionArn"] == ARN
