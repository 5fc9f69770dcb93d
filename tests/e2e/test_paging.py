"""Histories that come in pages, and responses that do."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import pytest

from perdure import DurableContext, ExecutionError, InvocationError, durable_execution, run_durable_handler
from perdure.local import LocalService
from support.invocations import LambdaContext, Recorder, event, execution, invoke, op, op_id, succeeded

if TYPE_CHECKING:
    from collections.abc import Callable


def steps(count: int) -> list[dict[str, Any]]:
    return [op("STEP", "SUCCEEDED", n, details={"Result": str(n)}) for n in range(1, count + 1)]


def paged(operations: list[dict[str, Any]], size: int) -> tuple[dict[str, Any], Recorder]:
    """Split a history into pages: the event with the first one, and a client with the others."""
    chunks = [operations[at : at + size] for at in range(0, len(operations), size)] or [[]]
    given = event()
    given["InitialExecutionState"] = {"Operations": chunks[0]}
    pages: dict[str, dict[str, Any]] = {}
    last: dict[str, Any] = given["InitialExecutionState"]
    for n, chunk in enumerate(chunks[1:]):
        last["NextMarker"] = f"page-{n}"
        last = pages[f"page-{n}"] = {"Operations": chunk}
    return given, Recorder(pages=pages)


def count_steps(count: int) -> Any:
    def handler(_event: Any, context: DurableContext) -> int:
        return sum(context.step(lambda _: pytest.fail("ran again")) for _ in range(count))

    return handler


@pytest.mark.parametrize("count", [1, 999, 1_000, 1_001, 2_500])
def test_all_pages_are_read_before_the_handler_runs(count: int) -> None:
    given, client = paged([execution(), *steps(count)], 1_000)
    got = run_durable_handler(given, LambdaContext(), count_steps(count), boto3_client=client)
    assert got == succeeded(str(count * (count + 1) // 2))
    assert client.calls == []
    assert [call["Marker"] for call in client.state_calls] == list(client.pages)
    assert {call["MaxItems"] for call in client.state_calls} <= {1_000}
    assert {call["CheckpointToken"] for call in client.state_calls} <= {"token-0"}


@pytest.mark.parametrize("empty_first", [False, True])
def test_the_execution_may_be_on_a_later_page(empty_first: bool) -> None:
    operations = [*steps(3), execution('{"a": 1}')]
    given, client = paged(operations, 2)
    if empty_first:
        given["InitialExecutionState"] = {"Operations": [], "NextMarker": "start"}
        client.pages["start"] = {"Operations": operations[:2], "NextMarker": "page-0"}
    seen: list[Any] = []

    def handler(user_event: Any, context: DurableContext) -> int:
        seen.append(user_event)
        return sum(context.step(lambda _: 0) for _ in range(3))

    assert run_durable_handler(given, LambdaContext(), handler, boto3_client=client) == succeeded("6")
    assert seen == [{"a": 1}]


def test_an_empty_page_in_between_is_no_end() -> None:
    given, client = paged([execution(), *steps(2)], 2)
    given["InitialExecutionState"]["NextMarker"] = "gap"
    client.pages["gap"] = {"Operations": [], "NextMarker": "page-0"}
    assert run_durable_handler(given, LambdaContext(), count_steps(2), boto3_client=client) == succeeded("3")


def test_further_pages_of_a_response_are_merged_before_anyone_goes_on() -> None:
    first = {
        "CheckpointToken": "token-x",
        "NewExecutionState": {"Operations": [], "NextMarker": "more"},
    }
    answer = op("CHAINED_INVOKE", "SUCCEEDED", details={"Result": "5"})
    client = Recorder(
        script=[first],
        pages={"more": {"Operations": [], "NextMarker": "last"}, "last": {"Operations": [answer]}},
    )
    got = run_durable_handler(event(), LambdaContext(), lambda _, c: c.invoke("fn", 1), boto3_client=client)
    assert got == succeeded("5")
    assert [call["CheckpointToken"] for call in client.state_calls] == ["token-x", "token-x"]
    assert client.updates[0]["Id"] == op_id(1)


@pytest.mark.parametrize("inline", [0, 1, 2, 100])
@pytest.mark.parametrize("page", [1, 3, 1_000])
def test_an_execution_ends_the_same_however_its_history_is_cut(inline: int, page: int) -> None:
    @durable_execution
    def handler(given: Any, context: DurableContext) -> Any:
        first = [context.step(lambda _, n=n: n) for n in range(5)]
        context.wait(3)
        found = context.map(first, lambda c, item, *_: (c.wait(2), item * given["by"])[1], max_concurrency=2)
        return [first, found.get_results()]

    service = LocalService(inline_operations=inline, state_page=page, response_page=page)
    handle = service.register("f", handler).run("f", event={"by": 10})
    assert handle.status == "SUCCEEDED", handle.error
    assert handle.value == [[0, 1, 2, 3, 4], [0, 10, 20, 30, 40]]


# ---- markers that lead nowhere


class Endless(Recorder):
    """A client that always has one more page.

    Args:
        markers: Gives the marker of the n-th page.
        marker: That of the first response; None for a history that fits into the event.

    """

    def __init__(self, markers: Callable[[int], Any], marker: Any = None) -> None:
        super().__init__(script=[{"CheckpointToken": "t", "NewExecutionState": {"NextMarker": marker}}])
        self.markers = markers

    def get_durable_execution_state(self, **call: Any) -> dict[str, Any]:
        assert len(self.state_calls) < 1_000, "it goes on for ever"
        self.pages[call["Marker"]] = {"Operations": [], "NextMarker": self.markers(len(self.state_calls))}
        return super().get_durable_execution_state(**call)


GOES_ROUND: dict[str, tuple[Callable[[int], Any], str, int]] = {
    "the same again": (lambda _: "first", "'first' a second time", 1),
    "in a circle": (lambda n: ["b", "c", "first"][n], "'first' a second time", 3),
    "a number": (lambda _: 7, "no text but 7", 1),
    "an object": (lambda _: MagicMock(name="odd"), "no text but <MagicMock", 1),
}


@pytest.mark.parametrize("case", GOES_ROUND)
@pytest.mark.parametrize("where", ["event", "response"])
def test_a_marker_that_leads_nowhere_ends_the_invocation_with_an_error_that_says_so(where: str, case: str) -> None:
    markers, message, calls = GOES_ROUND[case]
    client = Endless(markers, "first" if where == "response" else None)
    given = event(marker="first" if where == "event" else None)
    ran: list[int] = []

    def handler(_event: Any, context: DurableContext) -> None:
        context.wait(1)
        ran.append(1)

    with pytest.raises(ExecutionError, match=message):
        run_durable_handler(given, LambdaContext(), handler, boto3_client=client)
    assert len(client.state_calls) == calls
    assert ran == []


def test_a_marker_of_the_event_that_is_no_text_is_refused_before_it_is_asked_for() -> None:
    client = Endless(lambda _: None)
    with pytest.raises(ExecutionError, match="no text but 7"):
        run_durable_handler(event(marker=7), LambdaContext(), lambda *_: 1, boto3_client=client)  # type: ignore[arg-type]
    assert client.state_calls == []


def test_a_mock_in_place_of_a_client_is_refused() -> None:
    with pytest.raises(ExecutionError, match="no object but <MagicMock"):
        invoke(lambda context: context.step(lambda _: 1), client=MagicMock())


@pytest.mark.parametrize("where", ["event", "response"])
def test_pages_without_end_are_read_no_longer_than_the_invocation_has_time(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = itertools.count(0.0, 1.0)
    for reader in ("time.monotonic", "perdure.engine.checkpoint.steady", "perdure.engine.repeats.steady"):
        monkeypatch.setattr(reader, lambda: next(seconds))
    client = Endless(lambda n: f"page-{n}", "start" if where == "response" else None)
    given = event(marker="start" if where == "event" else None)
    with pytest.raises(InvocationError, match=r"time was over after .* further pages"):
        run_durable_handler(given, LambdaContext(60.0), lambda _, c: c.wait(1), boto3_client=client)
    assert 10 < len(client.state_calls) < 70


def test_one_page_is_read_even_without_time() -> None:
    given, client = paged([execution(), *steps(2)], 2)
    assert run_durable_handler(given, LambdaContext(0.0), count_steps(2), boto3_client=client) == succeeded("3")
