"""Pages: of the state, of the event that begins an invocation, and of what a checkpoint answers."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from perdure.local import Limits, LocalEvent, LocalService
from support.raw import ERROR, Raw, context, step, wait

Operations = list[dict[str, Any]]


def pages(raw: Raw, marker: str = "", size: int | None = None) -> list[list[str]]:
    """Read the state to its end; return the ids of each page."""
    read = []
    while True:
        response = raw.client.get_durable_execution_state(
            DurableExecutionArn=raw.arn, CheckpointToken=raw.token, Marker=marker, MaxItems=size
        )
        read.append([o["Id"] for o in response["Operations"]])
        marker = response.get("NextMarker", "")
        if not marker:
            return read


def filled(service: LocalService | None = None, count: int = 5) -> Raw:
    raw = Raw(service)
    raw.send(*(step(f"s{i}", "START") for i in range(count)))
    return raw


def test_the_state_begins_with_the_execution_itself() -> None:
    raw = filled(count=1)
    (operations,) = pages(raw)
    assert operations == [raw.handle.machine.execution_id, "s0"]
    root = raw.operation(operations[0])
    assert (root["Type"], root["Status"], root["ExecutionDetails"]) == ("EXECUTION", "STARTED", {"InputPayload": "{}"})
    assert root["Id"] == raw.arn.rpartition("/")[2]


@pytest.mark.parametrize(("size", "sizes"), [(1, [1] * 6), (4, [4, 2]), (6, [6]), (1000, [6]), (0, [6]), (None, [6])])
def test_a_page_holds_what_was_asked_for(size: int | None, sizes: list[int]) -> None:
    raw = filled()
    read = pages(raw, size=size)
    assert [len(page) for page in read] == sizes
    assert [key for page in read for key in page][1:] == [f"s{i}" for i in range(5)]


def test_by_default_a_page_holds_a_hundred_and_never_more_than_a_thousand() -> None:
    raw = filled(LocalService(limits=Limits.off()), count=1500)
    assert len(pages(raw)[0]) == 100
    assert len(pages(raw, size=5000)[0]) == 1000


@pytest.mark.parametrize("size", [-1, "many", 1.5])
def test_a_size_that_is_none_is_refused(size: Any) -> None:
    raw = filled()
    with pytest.raises(ClientError, match="MaxItems must be a whole number, 0 or more"):
        pages(raw, size=size)


def test_the_service_may_insist_on_smaller_pages() -> None:
    assert [len(page) for page in pages(filled(LocalService(state_page=2)), size=1000)] == [2, 2, 2]


def test_a_page_is_no_larger_than_a_response_may_be_but_holds_one_operation() -> None:
    raw = Raw(LocalService(limits=Limits(response_bytes=2500)))
    raw.send(*(step(f"s{i}", "START") for i in range(4)))
    raw.send(step("s0", "SUCCEED", Payload="x" * 5000), step("s1", "SUCCEED", Payload="y" * 1500))
    assert pages(raw, size=1000)[1:] == [["s0"], ["s1", "s2"], ["s3"]]


@pytest.mark.parametrize("end", [{"action": "SUCCEED", "Payload": "1"}, {"action": "FAIL", "Error": ERROR}])
def test_the_children_of_a_finished_context_are_left_out(end: dict[str, Any]) -> None:
    raw = Raw()
    raw.send(context("c", "START"), step("s", "START", ParentId="c"), context("d", "START", ParentId="c"))
    raw.send(step("deep", "START", ParentId="d"))
    assert pages(raw)[0][1:] == ["c", "s", "d", "deep"]
    raw.send(context("c", **end), step("after", "START"))
    assert pages(raw)[0][1:] == ["c", "after"]


def test_a_context_that_replays_keeps_its_children_but_not_those_of_finished_contexts_below() -> None:
    raw = Raw()
    raw.send(context("c", "START"), context("d", "START", ParentId="c"), step("deep", "START", ParentId="d"))
    raw.send(context("d", "SUCCEED"), context("c", "SUCCEED", ContextOptions={"ReplayChildren": True}))
    assert pages(raw)[0][1:] == ["c", "d"]


@pytest.mark.parametrize("marker", ["x", "-1", "99", "news-1-2"])
def test_an_unknown_marker_is_refused(marker: str) -> None:
    raw = filled()
    with pytest.raises(ClientError, match="Invalid marker"):
        pages(raw, marker)


def invoked(service: LocalService) -> tuple[Raw, LocalEvent]:
    """Let an invocation follow the raw one; return its event."""
    raw = filled(service)
    seen: list[LocalEvent] = []

    def handler(event: LocalEvent, _context: Any) -> dict[str, str]:
        seen.append(event)
        raw.token = event["CheckpointToken"]
        state = event["InitialExecutionState"]
        rest = pages(raw, state["NextMarker"]) if state["NextMarker"] else []
        event["read"] = [o["Id"] for o in state["Operations"]] + [key for page in rest for key in page]
        return {"Status": "SUCCEEDED", "Result": "1"}

    service.register("f", handler)
    raw.send(wait("w", 60))
    raw.handle.machine.end_invocation({"Status": "PENDING"}, service.clock.now())
    service.drive(raw.handle)
    (event,) = seen
    return raw, event


@pytest.mark.parametrize("inline", [None, 0, 1, 3, 100])
def test_an_event_carries_the_first_page_and_the_rest_is_read(inline: int | None) -> None:
    raw, event = invoked(LocalService(inline_operations=inline, state_page=2))
    state = event["InitialExecutionState"]
    assert len(state["Operations"]) == (7 if inline is None else min(inline, 7))
    assert event["read"] == [raw.handle.machine.execution_id, *(f"s{i}" for i in range(5)), "w"]


def test_an_event_is_plain_json_with_unix_milliseconds() -> None:
    raw, event = invoked(LocalService())
    assert event.keys() == {
        "DurableExecutionArn",
        "CheckpointToken",
        "InitialExecutionState",
        "UpdatedOperationIds",
        "read",
    }
    assert event["UpdatedOperationIds"] == ["w"]
    waited = event["InitialExecutionState"]["Operations"][-1]
    start = 1_767_225_600_000
    assert waited["StartTimestamp"] == start
    assert waited["EndTimestamp"] == start + 60_000
    assert waited["WaitDetails"] == {"ScheduledEndTimestamp": start + 60_000}
    assert raw.operation("w")["WaitDetails"]["ScheduledEndTimestamp"].tzinfo is not None
    assert event.clock is raw.service.clock


def test_an_event_that_would_be_too_large_leaves_the_rest_to_pages() -> None:
    _, event = invoked(LocalService(limits=Limits(event_bytes=1500)))
    assert len(event["InitialExecutionState"]["Operations"]) == 3
    assert len(event["read"]) == 7


def test_a_long_answer_is_paged() -> None:
    service = LocalService(response_page=2)
    raw = Raw(service)
    response = raw.client.checkpoint_durable_execution(
        DurableExecutionArn=raw.arn, CheckpointToken=raw.token, Updates=[step(f"s{i}", "START") for i in range(5)]
    )
    raw.token = response["CheckpointToken"]
    news = response["NewExecutionState"]
    assert [o["Id"] for o in news["Operations"]] == ["s0", "s1"]
    assert pages(raw, news["NextMarker"], size=1000) == [["s2", "s3"], ["s4"]]
