"""Whatever the service sends, an invocation ends as documented, and never with another value than the record's.

The workflow of `support.spoiling` fails by itself if an operation gives what it never gave. So where the spoiled input
cannot have meant another value, results are right or there are none.
"""

from __future__ import annotations

import contextlib
import copy
import json
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure import ExecutionError, InvocationError, durable_execution
from perdure.engine.operations import child
from perdure.engine.received import read_checkpoint, read_page
from support.invocations import LambdaContext, Recorder
from support.spoiling import (
    LARGE,
    NO_TEXT,
    NOWHERE,
    ODD,
    TEXT_OR_NOTHING,
    UNREADABLE,
    Everything,
    Play,
    canonical,
    odd,
    paths,
    put,
    spoil_anything,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hypothesis.strategies import DataObject

EVERYTHING = {"Status": "SUCCEEDED", "Result": '"everything"'}
SERDES_ERROR = "aws_durable_execution_sdk_python.exceptions.SerDesError"
OF_THE_HISTORY = (
    "aws_durable_execution_sdk_python.exceptions.ExecutionError",
    "aws_durable_execution_sdk_python.exceptions.NonDeterministicExecutionError",
)

AROUND = [
    ("DurableExecutionArn",),
    ("CheckpointToken",),
    ("InitialExecutionState",),
    ("InitialExecutionState", "Operations"),
    ("InitialExecutionState", "NextMarker"),
]
"""The ways to what stands around the operations of an event."""

MANY = settings(max_examples=5 * settings.default.max_examples)  # type: ignore[union-attr]


@pytest.fixture(autouse=True, scope="module")
def _small_results_are_large() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(child, "MAX_CONTEXT_RESULT", LARGE)
        yield


@cache
def events() -> list[dict[str, Any]]:
    """Give the events of an execution in which nothing went wrong."""
    play = Play()
    handle = play.run()
    assert handle.value == "everything", handle.error
    return play.events


def event_of(data: DataObject) -> dict[str, Any]:
    # The later, the more there is to spoil.
    index = data.draw(st.integers(0, len(events()) - 1), "event from the end")
    return copy.deepcopy(events()[-1 - index])


def outcome(event: Any, pages: Any = None) -> tuple[Any, list[str]]:
    """Invoke the workflow; give its response, or the documented error that it raised, and what it sent."""
    client = Recorder(pages=pages)
    handler = durable_execution(Everything(lambda _: None), boto3_client=client)
    try:
        response: Any = handler(event, LambdaContext())
    except (ExecutionError, InvocationError) as raised:
        response = raised
    else:
        assert response in (EVERYTHING, {"Status": "PENDING"}) or response["Status"] == "FAILED", response
    return response, sorted(map(canonical, client.updates))


@cache
def true_outcome(index: int) -> tuple[Any, list[str]]:
    return outcome(copy.deepcopy(events()[index]))


def failed_by(response: Any) -> str | None:
    """Give the type of the error that the execution failed by."""
    return response["Error"]["ErrorType"] if isinstance(response, dict) and response["Status"] == "FAILED" else None


def was_unreadable(response: Any) -> bool:
    """Tell whether the execution failed by a payload, if only since the handler came to no more for it."""
    failed = failed_by(response)
    return failed == SERDES_ERROR or (failed in OF_THE_HISTORY and SERDES_ERROR in response["Error"]["ErrorMessage"])


def operations_of(event: dict[str, Any]) -> list[dict[str, Any]]:
    return event["InitialExecutionState"]["Operations"]  # type: ignore[no-any-return]


# ---- event → handler


@MANY
@given(st.data())
def test_an_event_with_anything_in_it_ends_as_documented(data: DataObject) -> None:
    event = event_of(data)
    for _ in range(data.draw(st.integers(1, 4), "times")):
        spoil_anything(lambda options: data.draw(st.sampled_from(options)), event)
    outcome(event)


@pytest.mark.parametrize("path", [*AROUND, ("InitialExecutionState", "Operations", 0)], ids=str)
@pytest.mark.parametrize("name", ODD)
def test_an_event_with_anything_around_its_operations_ends_as_documented(path: tuple[Any, ...], name: str) -> None:
    event = copy.deepcopy(events()[-1])
    put(event, path, odd(name))
    outcome(event, {"text": {"Operations": []}})


@pytest.mark.parametrize("path", AROUND[1:], ids=str)
@pytest.mark.parametrize("name", ODD)
def test_an_answer_with_anything_around_its_operations_is_read_or_refused(path: tuple[Any, ...], name: str) -> None:
    answer: dict[str, Any] = {
        "CheckpointToken": "token",
        "InitialExecutionState": {"Operations": [], "NextMarker": None},
    }
    put(answer, path, odd(name))
    state = answer.pop("InitialExecutionState")
    with contextlib.suppress(ExecutionError):
        token, operations, marker = read_checkpoint({**answer, "NewExecutionState": state})
        assert isinstance(token, str | None)
        assert (isinstance(operations, list), isinstance(marker, str | None)) == (True, True)
    with contextlib.suppress(ExecutionError):
        operations, marker = read_page(state)
        assert (isinstance(operations, list), isinstance(marker, str | None)) == (True, True)


@MANY
@given(
    st.recursive(
        st.sampled_from(list(ODD)).map(odd) | st.none() | st.text(max_size=9),
        lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=9), inside, max_size=4),
    ),
    st.sampled_from(["event", "state", "operations", "operation", "details"]),
)
def test_an_event_made_of_anything_ends_as_documented(anything: Any, where: str) -> None:
    event = copy.deepcopy(events()[-1])
    if where == "event":
        event = anything
    elif where == "state":
        event["InitialExecutionState"] = anything
    elif where == "operations":
        event["InitialExecutionState"]["Operations"] = anything
    elif where == "operation":
        operations_of(event).append(anything)
    else:
        operations_of(event)[1]["StepDetails"] = anything
    outcome(event)


@MANY
@given(st.data())
def test_a_member_that_cannot_be_never_gives_another_value(data: DataObject) -> None:
    index = data.draw(st.integers(0, len(events()) - 1), "event")
    event = copy.deepcopy(events()[index])
    path = data.draw(st.sampled_from(paths(operations_of(event))), "path")
    found: Any = operations_of(event)
    for key in path:
        found = found[key]
    if not isinstance(found, str):
        put(operations_of(event), path, odd(data.draw(st.sampled_from(TEXT_OR_NOTHING), "odd")))
    elif path[-1] == "Result" and path[-2] in {"StepDetails", "ContextDetails"} and data.draw(st.booleans(), "text"):
        put(operations_of(event), path, data.draw(st.sampled_from(UNREADABLE), "payload"))
    else:
        put(operations_of(event), path, odd(data.draw(st.sampled_from(NO_TEXT), "odd")))
    response, sent = outcome(event)
    if isinstance(response, ExecutionError):
        assert "cannot be read" in str(response)
    elif not was_unreadable(response):
        assert (response, sent) == true_outcome(index)


@MANY
@given(st.data())
def test_an_older_state_anywhere_changes_nothing(data: DataObject) -> None:
    index = data.draw(st.integers(1, len(events()) - 1), "event")
    event = copy.deepcopy(events()[index])
    latest = {operation["Id"]: operation for operation in operations_of(event)}
    told = [operation for before in events()[: index + 1] for operation in operations_of(before)]
    older = [operation for operation in told if operation["Id"] in latest]
    for operation in data.draw(st.lists(st.sampled_from(older), min_size=1, max_size=9), "older"):
        place = data.draw(st.integers(0, len(operations_of(event))), "place")
        operations_of(event).insert(place, copy.deepcopy(operation))
    cut = data.draw(st.integers(0, len(operations_of(event))), "cut")
    pages = {"rest": {"Operations": operations_of(event)[cut:]}}
    event["InitialExecutionState"] = {"Operations": operations_of(event)[:cut], "NextMarker": "rest"}
    assert outcome(event, pages) == true_outcome(index)


@MANY
@given(st.data())
def test_what_is_new_fails_only_code_that_comes_to_it(data: DataObject) -> None:
    index = data.draw(st.integers(0, len(events()) - 1), "event")
    event = copy.deepcopy(events()[index])
    operation = data.draw(st.sampled_from(operations_of(event)), "operation")
    for what in data.draw(st.sets(st.sampled_from(["Type", "Status", "Novelty"]), min_size=1), "what"):
        operation[what] = "NEW"
    response, sent = outcome(event)
    if isinstance(response, ExecutionError):
        assert operation["Type"] == "NEW"
        assert "no EXECUTION operation" in str(response)
    elif failed_by(response) in OF_THE_HISTORY:
        assert "which this version of perdure does not know" in response["Error"]["ErrorMessage"]
    else:
        assert (response, sent) == true_outcome(index)


@MANY
@given(st.data())
def test_a_history_with_holes_or_in_another_order_never_gives_another_value(data: DataObject) -> None:
    event = event_of(data)
    operations = data.draw(st.permutations(operations_of(event)), "order")
    kept = data.draw(st.lists(st.booleans(), min_size=len(operations), max_size=len(operations)), "kept")
    event["InitialExecutionState"]["Operations"] = [one for one, keep in zip(operations, kept, strict=True) if keep]
    response, _ = outcome(event)
    assert failed_by(response) in {None, *OF_THE_HISTORY}


# ---- response → engine


class Spoiler:
    """Spoils one of the answers of the service, as a function says."""

    def __init__(self, at: int, spoil: Any) -> None:
        self._at = at
        self._spoil = spoil
        self._told: list[dict[str, Any]] = []
        self.calls = 0
        self.has_revoked = False
        """Whether the answer was made one without a token: another invocation goes on, as the engine understands it."""

    def __call__(self, what: str, answer: dict[str, Any]) -> Any:
        self.calls += 1
        state = answer["NewExecutionState"] if what == "checkpoint" else answer
        if self.calls == self._at:
            answer = self._spoil(answer, state, self._told)
            is_object = what == "checkpoint" and isinstance(answer, dict)
            self.has_revoked = is_object and answer.get("CheckpointToken") is None
        self._told += copy.deepcopy(state.get("Operations") or [])
        return answer


@cache
def true_play() -> Play:
    """Give an execution in which nothing went wrong."""
    play = Play(Spoiler(0, None))
    assert play.run().value == "everything"
    return play


def played(at: int, spoil: Any, **options: Any) -> tuple[str | None, Play]:
    """Run an execution with one answer spoiled; give the type of the error that it failed by."""
    play = Play(Spoiler(at, spoil), **options)
    handle = play.run()
    for invocation in handle.invocations:
        assert invocation.exception is None or isinstance(invocation.exception, (ExecutionError, InvocationError))
    if handle.status == "SUCCEEDED":
        assert handle.value == "everything"
        return None, play
    # Without a token nothing is sent any more, so that what was to answer a callback may never have run.
    assert handle.status == "FAILED" or (play.spoil.has_revoked and handle.open_callbacks)
    return (handle.error or {}).get("ErrorType") or "", play


CALLS = st.integers(1, 40)
PAGED = {"response_page": 1, "inline_operations": 3, "state_page": 2}


# What an answer holds depends on threads and on time, so that Hypothesis may not be asked about it: it gives a seed.
SEEDS = st.integers(0, 2**32 - 1).map(Random)


@given(CALLS, st.booleans(), SEEDS)
def test_an_answer_with_anything_in_it_ends_as_documented(at: int, paged: bool, chance: Random) -> None:
    def spoil(answer: dict[str, Any], _state: Any, _told: Any) -> Any:
        for _ in range(chance.randint(1, 3)):
            spoil_anything(chance.choice, answer)
        return answer

    played(at, spoil, **(PAGED if paged else {}))


@given(CALLS, st.booleans(), SEEDS)
def test_a_member_of_an_answer_that_cannot_be_loses_nothing(at: int, paged: bool, chance: Random) -> None:
    """The invocation is repeated, and the execution ends as ever."""

    def spoil(answer: dict[str, Any], state: dict[str, Any], _told: Any) -> Any:
        operations = state.get("Operations") or []
        found = [path for path in paths(operations) if path[-1] not in {"Error", "Novelty"}]
        if found and chance.random() < 0.5:
            put(operations, chance.choice(found), odd(chance.choice(list(NOWHERE))))
            return answer
        return chance.choice([None, "text", [], 7, {"CheckpointToken": 7}])

    failed, _ = played(at, spoil, **(PAGED if paged else {}))
    assert failed is None


@given(CALLS, st.booleans(), SEEDS)
def test_an_older_state_in_an_answer_changes_nothing(at: int, paged: bool, chance: Random) -> None:
    def spoil(answer: dict[str, Any], state: dict[str, Any], told: list[dict[str, Any]]) -> Any:
        if told:
            operations = [*state.get("Operations", []), *chance.choices(told, k=chance.randint(0, 9))]
            chance.shuffle(operations)
            state["Operations"] = operations
        return answer

    failed, play = played(at, spoil, **(PAGED if paged else {}))
    assert failed is None
    assert play.workflow.ran == true_play().workflow.ran
    assert len(play.events) == len(true_play().events)


@given(CALLS, st.sampled_from(["Type", "Status", "Novelty"]), SEEDS)
def test_what_is_new_in_an_answer_fails_only_code_that_comes_to_it(at: int, what: str, chance: Random) -> None:
    def spoil(answer: dict[str, Any], state: dict[str, Any], told: list[dict[str, Any]]) -> Any:
        operations = [*(state.get("Operations") or []), *copy.deepcopy(told)]
        if operations:
            chance.choice(operations)[what] = "NEW"
            state["Operations"] = operations
        return answer

    failed, _ = played(at, spoil)
    assert failed is None or failed in OF_THE_HISTORY


def test_what_is_spoiled_is_asked_for() -> None:
    """The tests above spoil calls that are made."""
    play = true_play()
    assert play.spoil.calls >= 30
    assert set(play.workflow.ran) == {"tuple", "retried", "inner", "half", "length 1", "length 2", "length 3"}
    assert json.dumps(events())
