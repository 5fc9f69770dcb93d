"""Histories as AWS may tell them, in odd orders too: the tree, the attempts, the time axis."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from perdure.cli.drawing import bars
from perdure.cli.drawing.scale import Scale
from perdure.history.kinds import split
from perdure.history.reading import History
from support.story import Story, retry

at = Story.at


def shape(run: Any) -> list[tuple[str, int]]:
    return [(node.id, len(lasts) - 1) for node, lasts in run.walk()]


def test_an_operation_below_the_execution_itself_stands_at_the_root():
    run = Story().tell(1, "StepStarted", Id="a", ParentId="root").run()
    assert shape(run) == [("a", 0)]


def test_operations_of_a_parent_that_is_not_known_are_not_lost():
    run = Story().tell(1, "StepStarted", Id="a", ParentId="gone").run()
    assert shape(run) == [("a", 0)]


def test_operations_that_are_in_each_other_are_not_lost():
    story = Story().tell(1, "ContextStarted", Id="a", ParentId="b").tell(1, "ContextStarted", Id="b", ParentId="a")
    story.tell(1, "ContextStarted", Id="c", ParentId="c").tell(1, "StepStarted", Id="d", ParentId="b")
    assert sorted(name for name, _ in shape(story.run())) == ["a", "b", "c", "d"]


def test_a_deep_tree_is_no_recursion():
    story = Story()
    for number in range(3000):
        story.tell(number, "ContextStarted", Id=str(number), ParentId=str(number - 1))
    run = story.run()
    assert shape(run)[-1] == ("2999", 2999)
    assert len(bars.rows(run)) == 3001


def test_an_end_without_a_start_makes_the_operation_known():
    run = Story().tell(3, "StepSucceeded", Id="a", Result={"Payload": "1"}, RetryDetails=retry(1)).run()
    node = run.nodes["a"]
    assert (node.status, node.attempt_count, node.result_bytes) == ("SUCCEEDED", 1, 1)


def test_each_attempt_of_a_step_is_kept():
    story = Story().tell(0, "StepStarted", Id="a", Name="s")
    story.tell(1, "StepFailed", Id="a", Error={"Payload": {"ErrorMessage": "no"}}, RetryDetails=retry(1, 5))
    waiting = story.run(now=4).nodes["a"]
    assert (waiting.status, waiting.due, waiting.error) == ("PENDING", at(6), {"ErrorMessage": "no"})
    assert [(bar.kind, bar.open) for bar in bars.rows(story.run(now=4))[1].bars] == [
        ("waiting", True),
        ("failed", False),
    ]
    story.tell(6, "StepStarted", Id="a")
    assert story.run(now=7).nodes["a"].status == "STARTED"
    story.tell(8, "StepSucceeded", Id="a", Result={"Payload": "1"}, RetryDetails=retry(2))
    done = story.run().nodes["a"]
    assert (done.status, done.attempt_count, done.duration, done.error) == ("SUCCEEDED", 2, timedelta(seconds=8), None)
    assert [(p.started_at, p.ended_at, p.failed) for p in done.attempts] == [
        (at(0), at(1), True),
        (at(6), at(8), False),
    ]


def test_a_condition_that_asks_again_has_not_failed():
    story = Story().tell(0, "StepStarted", Id="a", SubType="WaitForCondition")
    story.tell(1, "StepSucceeded", Id="a", Result={"Payload": "state"}, RetryDetails=retry(1, 5))
    node = story.run(now=2).nodes["a"]
    assert (node.status, node.error, node.attempts[0].failed) == ("PENDING", None, False)


@pytest.mark.parametrize(
    ("kind", "happened", "status"),
    [
        ("Wait", "Cancelled", "CANCELLED"),
        ("Callback", "TimedOut", "TIMED_OUT"),
        ("ChainedInvoke", "Stopped", "STOPPED"),
        ("ChainedInvoke", "TimedOut", "TIMED_OUT"),
        ("Context", "Failed", "FAILED"),
        ("Step", "Failed", "FAILED"),
    ],
)
def test_every_end_of_an_operation_is_understood(kind, happened, status):
    run = Story().tell(0, f"{kind}Started", Id="a").tell(2, f"{kind}{happened}", Id="a").run("FAILED", 3)
    node = run.nodes["a"]
    assert (node.status, node.duration) == (status, timedelta(seconds=2))
    assert len(bars.rows(run)[1].bars) == 1


def test_an_event_nobody_knows_yet_is_passed_over():
    run = Story().tell(1, "DreamStarted", Id="a").tell(1, "StepPondered", Id="b").run()
    assert run.nodes == {}
    assert split("DreamStarted") == ("", "DreamStarted")


def test_payloads_are_measured_in_bytes_and_cut_ones_are_marked():
    story = Story().tell(0, "ChainedInvokeStarted", Id="a", FunctionName="g", Input={"Payload": "äö"})
    story.tell(1, "ChainedInvokeSucceeded", Id="a", Result={"Payload": "xyz", "Truncated": True})
    run = story.run()
    node = run.nodes["a"]
    assert (node.input_bytes, node.result_bytes, node.truncated, node.target) == (4, 3, True, "g")
    assert run.written_bytes == 4  # the result was written by the function that was invoked


def test_a_pause_lasts_until_the_execution_goes_on_or_ends():
    story = Story().tell(1, "ExecutionPaused").tell(3, "ExecutionResumed").tell(4, "ExecutionPaused")
    story.tell(6, "ExecutionStopped")
    pauses = [(pause.started_at, pause.ended_at) for pause in story.run("STOPPED", 6).pauses]
    assert pauses == [(at(1), at(3)), (at(4), at(6))]


def test_what_never_ended_lasts_as_long_as_what_it_is_in():
    story = Story().tell(0, "ContextStarted", Id="c").tell(1, "StepStarted", Id="s", ParentId="c")
    story.tell(2, "ContextSucceeded", Id="c")
    rows = bars.rows(story.run("SUCCEEDED", 10))
    assert rows[2].bars == [bars.Bar("work", at(1), at(2), open=True)]


def test_a_step_that_outlives_its_context_is_drawn_forwards():
    story = Story().tell(0, "ContextStarted", Id="c").tell(1, "ContextSucceeded", Id="c")
    story.tell(2, "StepStarted", Id="s", ParentId="c")
    for row in bars.rows(story.run("SUCCEEDED", 10)):
        assert all(bar.start <= bar.end for bar in row.bars)


# -- the axis ----------------------------------------------------------------------------------------------------------


def waiting_story() -> Story:
    story = Story().tell(0, "StepStarted", Id="a").tell(1, "StepSucceeded", Id="a")
    story.tell(1, "WaitStarted", Id="w").tell(86_401, "WaitSucceeded", Id="w")
    return story.tell(86_401, "StepStarted", Id="b").tell(86_402, "StepSucceeded", Id="b")


def test_a_long_wait_is_folded_and_the_work_is_seen():
    scale = Scale(waiting_story().run("SUCCEEDED", 86_402))
    (fold,) = scale.folds
    assert fold.length == timedelta(days=1)
    assert scale.at(at(0)) == 0
    assert scale.at(at(86_402)) == 1
    assert scale.at(at(1)) == pytest.approx(0.375)  # 1 s of work, a third of 2 s for the fold, 1 s of work
    assert scale.at(at(1)) == pytest.approx(fold.start)


def test_without_folds_the_axis_is_true():
    scale = Scale(waiting_story().run("SUCCEEDED", 86_402), fold=False)
    assert scale.folds == []
    assert scale.at(at(43_201)) == pytest.approx(0.5)


def test_the_axis_never_runs_backwards():
    story = waiting_story().tell(86_402, "CallbackStarted", Id="c").tell(90_000, "CallbackTimedOut", Id="c")
    scale = Scale(story.run("FAILED", 90_000))
    places = [scale.at(at(seconds)) for seconds in range(0, 90_000, 100)]
    assert places == sorted(places)
    assert scale.at(at(-5)) == 0
    assert scale.at(at(10**6)) == 1
    assert len(scale.folds) == 2


def test_where_nothing_took_time_nothing_is_divided_by_zero():
    run = Story().tell(0, "StepStarted", Id="a").tell(0, "StepSucceeded", Id="a").run("SUCCEEDED", 0)
    scale = Scale(run)
    assert (scale.at(at(0)), [tick.label for tick in scale.ticks(80, 10)]) == (0.0, ["0"])


@pytest.mark.parametrize("end", [0.004, 0.5, 3, 59, 3_000, 40_000, 90_000, 10**7])
def test_ticks_have_room_and_differ(end):
    story = Story().tell(0, "StepStarted", Id="a").tell(end, "StepSucceeded", Id="a")
    ticks = Scale(story.run("SUCCEEDED", end)).ticks(860, 76)
    assert 2 <= len(ticks) <= 12
    assert len({tick.label for tick in ticks}) == len(ticks)
    assert all(after.position - before.position >= 76 / 860 for before, after in pairwise(ticks))


# -- reading -----------------------------------------------------------------------------------------------------------


class Paged:
    """A history that grows, a few events a page."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.events: list[dict[str, Any]] = []
        self.calls = 0

    def grow(self, count: int) -> None:
        first = len(self.events) + 1
        self.events += [{"EventId": first + number} for number in range(count)]

    def get_durable_execution_history(self, **asked: Any) -> dict[str, Any]:
        self.calls += 1
        events = self.events[::-1] if asked.get("ReverseOrder") else self.events
        first = int(asked.get("Marker", 0))
        page = {"Events": events[first : first + self.size]}
        return page if first + self.size >= len(events) else {**page, "NextMarker": str(first + self.size)}


def test_a_history_is_read_once_and_then_only_its_end():
    client = Paged(10)
    client.grow(95)
    history = History(client, "arn")
    history.refresh()
    assert (history.events, client.calls) == (client.events, 10)
    history.refresh()
    assert (history.events, client.calls) == (client.events, 11)
    client.grow(23)
    history.refresh()
    assert (history.events, client.calls) == (client.events, 14)
