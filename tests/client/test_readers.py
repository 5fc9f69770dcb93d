"""Answers of every shape, usual and odd, by both readers: that of bytes in the core, and that of the wire's dicts.

The one in the core may leave an answer to the other. What it takes is the same history, and nothing that the other one
refuses.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import ExecutionError
from perdure._core import Answer, Execution, Operation, Scope
from perdure.engine import native_client
from perdure.engine.budget import recorded_bytes
from perdure.engine.received import as_dicts, in_milliseconds, read_checkpoint, read_page
from support.invocations import execution, op_id

Pairs = list[tuple[str, Any]]

TYPES = ["STEP", "STEP", "WAIT", "CONTEXT", "CALLBACK", "CHAINED_INVOKE", "EXECUTION", "DREAM", "", None, 5]
STATUSES = ["STARTED", "PENDING", "READY", "SUCCEEDED", "FAILED", "TIMED_OUT", "CANCELLED", "STOPPED", "LOST", "", None]
SUB_TYPES = ["Step", "Wait", "Callback", "ChainedInvoke", "RunInChildContext", "WaitForCondition", "Mine", "", None, {}]
NAMES = ["a", "b", "né😀", '"\\\n', "\ud800", "", None, 7, ["a"]]
TEXTS = ["1", '"text"', '{"t":"s","v":"é"}', "not JSON", "\udc00", "", None, 1, True, {"t": "i"}, "x" * 300]
NUMBERS = [0, 1, -1, 2, 2**31 - 1, 2**31, 10**30, 1.5, 1767225600, 1767225600.123, 1e300, 1e308, -0.0, 253402300800]
NUMBERS_AND_OTHERS = [*NUMBERS, float("nan"), float("inf"), True, None, "1", "2026-01-01T00:00:00Z", []]
DEEP: Any = "end"
for _ in range(250):
    DEEP = [DEEP]
OTHERS = [{"x": {"y": [None, 1.0, "é\ud800"]}}, DEEP, "", [], {}, None]

numbers = st.sampled_from(NUMBERS_AND_OTHERS) | st.floats() | st.integers(-(2**70), 2**70)
texts = st.sampled_from(TEXTS) | st.text(max_size=10)
strange = st.tuples(st.sampled_from(["New", "Result", "Id", "StartTimestamp", ""]), st.sampled_from(OTHERS))


@st.composite
def pairs(draw: st.DrawFn, **members: st.SearchStrategy[Any]) -> Pairs:
    """Give the members of an object in some order, most of them, now and then one twice or one more."""
    left_out = draw(st.sets(st.sampled_from(sorted(members)), max_size=2)) if draw(st.booleans()) else set()
    found = [(key, draw(value)) for key, value in members.items() if key not in left_out]
    if draw(st.integers(0, 7)) == 0:
        found.append(draw(strange))
    if found and draw(st.integers(0, 15)) == 0:
        key = draw(st.sampled_from(found))[0]
        found.append((key, draw(members.get(key, st.none()) | st.none())))
    return draw(st.permutations(found)) if draw(st.booleans()) else found


lines = st.lists(st.sampled_from(["at a", "at é", ""]), max_size=2) | st.sampled_from([None, "at", [1], {}])
errors = pairs(ErrorMessage=texts, ErrorType=texts, ErrorData=texts, StackTrace=lines) | st.sampled_from(
    [None, "no", []]
)
details = pairs(
    InputPayload=texts,
    Result=texts,
    Error=errors,
    Attempt=numbers,
    NextAttemptTimestamp=numbers,
    ScheduledEndTimestamp=numbers,
    CallbackId=texts,
    ReplayChildren=st.sampled_from([True, False, None, 0, "true"]),
) | st.sampled_from([None, "x", []])
usual_details = pairs(
    Result=st.sampled_from(TEXTS[:4]) | st.text(max_size=10),
    Error=pairs(ErrorMessage=st.text(max_size=10), ErrorType=st.sampled_from(["ValueError", None])) | st.none(),
    Attempt=st.integers(0, 9),
    NextAttemptTimestamp=st.none() | st.integers(0, 2**33) | st.floats(0, 2**33),
    ScheduledEndTimestamp=st.none() | st.floats(0, 2**33),
    CallbackId=st.sampled_from(["c", None]),
    ReplayChildren=st.sampled_from([True, False, None]),
)
DETAILS = {kind: f"{kind.title().replace('_', '')}Details" for kind in TYPES if isinstance(kind, str) and kind}


@st.composite
def operations(draw: st.DrawFn) -> Any:
    """Give an operation, usually one at the first position, with what its type has."""
    if draw(st.integers(0, 15)) == 0:
        return draw(st.sampled_from([None, "x", []]))
    is_odd = draw(st.integers(0, 3)) == 0
    kind = draw(st.sampled_from(TYPES if is_odd else TYPES[:8]))
    own = (
        DETAILS.get(kind, "DreamDetails")
        if draw(st.integers(0, 7))
        else draw(st.sampled_from(sorted(DETAILS.values())))
    )
    members = {
        "Id": st.sampled_from([op_id(1), op_id(2), "id", "", None, 1]) if is_odd else st.just(op_id(1)),
        "Type": st.just(kind),
        "Status": st.sampled_from(STATUSES if is_odd else STATUSES[:9]),
        "SubType": st.sampled_from(SUB_TYPES if is_odd else SUB_TYPES[:8]),
        "Name": st.sampled_from(NAMES if is_odd else ["a", None]),
        "ParentId": st.sampled_from([None, op_id(7), "", 3]) if is_odd else st.none(),
        "StartTimestamp": numbers,
        "EndTimestamp": numbers,
        own: details if is_odd else usual_details,
    }
    return draw(pairs(**members))


states = pairs(
    Operations=st.lists(operations(), max_size=3) | st.sampled_from([None, {}, "x"]),
    NextMarker=st.sampled_from([None, None, "more", "", 5]),
)
checkpoints = pairs(
    CheckpointToken=st.sampled_from(["next", "next", "né", None, "", 5]),
    NewExecutionState=states | st.sampled_from([None, [], "x"]),
)


def written(value: Any) -> str:
    """Write JSON in which an object may have a member twice: it is a list of pairs here."""
    if isinstance(value, list) and value and all(isinstance(item, tuple) for item in value):
        return "{" + ", ".join(f"{json.dumps(key)}: {written(inner)}" for key, inner in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value, ensure_ascii=not isinstance(value, str) or not value.isprintable())


CALLS: dict[str, Callable[[Scope, str | None], Any]] = {
    "step": lambda root, name: root.step(name, "Step", False, True),
    "at most once": lambda root, name: root.step(name, "Mine", True, True),
    "wait": lambda root, name: root.wait(name, 5),
    "condition": lambda root, name: root.condition(name, True),
    "callback": lambda root, name: root.callback(name, "Callback", 0, 0),
    "callback's result": lambda root, _: root.callback_result(op_id(1)),
    "invoke": lambda root, name: root.invoke(name, True),
    "child": lambda root, name: root.child(name, "RunInChildContext", True),
    "read": lambda root, name: root.step(name),
}


def seen(core: Execution, call: str, name: str | None) -> Any:
    """Tell what code sees that comes to an operation."""
    try:
        found = CALLS[call](core.root(), name)
    except Exception as error:  # noqa: BLE001  it is what is compared
        return type(error), str(error)
    if not isinstance(found, Operation):
        return found
    members = (found.decision, found.attempt, found.until, found.status, found.payload, found.error)
    return *members, found.write, found.starts, found.timed_out


Read = Callable[[], tuple[str | None, Any, str | None]]


def history(read: Read) -> Any:
    """Tell all that code may see of recorded operations; or by what error they cannot be read."""
    told: list[Any] = []
    for call in CALLS:
        for name in ("a", None):
            core = Execution("token")
            core.load([execution()])
            try:
                token, operations, marker = read()
                core.load_pages([operations] if operations else [])
            except (ConnectionError, ExecutionError) as error:
                return type(error), str(error)
            told.append((token, marker, len(operations), core.input(), seen(core, call, name)))
    return told


def by_bytes(body: bytes, page: bool) -> Read | None:
    """Give the reader of bytes; None where it leaves the answer to the other."""

    def read() -> tuple[str | None, Any, str | None]:
        found = Answer.of_page(body) if page else Answer.of_checkpoint(body)
        assert found is not None
        return found.token, found, found.marker

    return read if (Answer.of_page(body) if page else Answer.of_checkpoint(body)) is not None else None


def by_dicts(body: bytes, page: bool) -> Read:
    """Give the reader of the wire's dicts."""

    def read() -> tuple[str | None, Any, str | None]:
        found = native_client._read("TheCall", (200, body, []))
        token, operations, marker = (None, *read_page(found)) if page else read_checkpoint(found)
        return token, in_milliseconds(operations), marker

    return read


@pytest.mark.parametrize("page", [True, False], ids=["a page", "the answer to a checkpoint"])
def test_both_readers_make_the_same_of_an_answer(page: bool) -> None:
    taken: list[bool] = []

    @settings(max_examples=settings.default.max_examples * 5)
    @given(shape=states if page else checkpoints)
    def make(shape: Pairs) -> None:
        body = written(shape).encode()
        bytewise, expected = by_bytes(body, page), by_dicts(body, page)
        taken.append(bytewise is not None)
        if bytewise is None:
            return
        assert history(bytewise) == history(expected)
        found = Answer.of_page(body) if page else Answer.of_checkpoint(body)
        assert found is not None
        _, operations, _ = expected()
        if operations:
            assert as_dicts(found) == operations
            assert found.written == recorded_bytes(operations)

    make()
    assert 0.1 < sum(taken) / len(taken) < 0.95  # it takes what is usual, and odd ones were among them


@pytest.mark.parametrize("page", [True, False], ids=["a page", "the answer to a checkpoint"])
@settings(max_examples=settings.default.max_examples * 5)
@given(
    shape=checkpoints,
    at=st.floats(0, 1, exclude_max=True),
    damage=st.sampled_from([b"", b'"', b"{", b",", b"\\", b"\xff"]),
)
def test_a_spoiled_answer_is_read_as_the_other_reads_it_or_left_to_it(
    page: bool, shape: Pairs, at: float, damage: bytes
) -> None:
    body = written(dict(shape).get("NewExecutionState") if page else shape).encode()
    place = int(at * len(body))
    body = body[:place] + damage + body[place + 1 :]
    bytewise = by_bytes(body, page)
    if bytewise is not None:
        assert history(bytewise) == history(by_dicts(body, page))
