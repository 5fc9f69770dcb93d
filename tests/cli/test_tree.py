"""What `show` tells of an execution that is not done: why, what it waits for, until when; at any width."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from perdure.cli import document
from perdure.cli.drawing.tree import tree
from support.story import Story, retry

if TYPE_CHECKING:
    from perdure.history.tree import Run

pytestmark = pytest.mark.usefixtures("utc")

REFUSED = {"ErrorType": "ConnectionError", "ErrorMessage": "refused"}


def drawn(run: Run, width: int = 200, **options: Any) -> str:
    console = Console(width=width, file=StringIO())
    for part in tree(run, **options):
        console.print(part, soft_wrap=True)
    return console.file.getvalue()


def remark(run: Run, name: str, **options: Any) -> str:
    (line,) = (line for line in drawn(run, **options).splitlines() if f"─ {name} " in line)
    return line.rpartition("…")[2].strip()


# -- steps -------------------------------------------------------------------------------------------------------------


def failed_once(seconds: float = 1) -> Story:
    story = Story().tell(0, "StepStarted", Id="a", Name="charge")
    return story.tell(
        seconds, "StepFailed", Id="a", Name="charge", Error={"Payload": REFUSED}, RetryDetails=retry(1, 50)
    )


def test_a_step_between_two_attempts_tells_why_and_when_it_is_tried_again():
    expected = "attempt 1 failed: ConnectionError: refused; again at 00:00:51 (in 20 s)"
    assert remark(failed_once().run(now=31), "charge") == expected


def test_another_day_is_told_with_its_date():
    assert "again at 2026-01-02 00:00:30 (in 50 s)" in remark(failed_once(86_380).run(now=86_380), "charge")


def test_an_attempt_that_should_have_come_is_overdue():
    assert "again at 00:00:51 (overdue)" in remark(failed_once().run(now=60), "charge")


def test_a_step_that_is_tried_again_tells_why():
    story = failed_once().tell(51, "StepStarted", Id="a")
    assert remark(story.run(now=52), "charge") == "attempt 1 failed: ConnectionError: refused"
    story.tell(53, "StepFailed", Id="a", Error={"Payload": REFUSED}, RetryDetails=retry(2, 50))
    assert remark(story.run(now=54), "charge").startswith("attempt 2 failed: ConnectionError: refused; again")


def test_a_step_of_which_no_data_was_read_tells_that_it_failed():
    story = Story().tell(0, "StepStarted", Id="a", Name="charge")
    story.tell(1, "StepFailed", Id="a", Error={"Truncated": True}, RetryDetails=retry(1, 5))
    expected = "attempt 1 failed; again at 00:00:06 (in 5 s)"
    assert remark(story.run(now=1), "charge", data=False) == expected


def test_a_condition_that_is_asked_again_has_not_failed():
    story = Story().tell(0, "StepStarted", Id="a", Name="poll", SubType="WaitForCondition")
    story.tell(1, "StepSucceeded", Id="a", Result={"Payload": "state"}, RetryDetails=retry(1, 5))
    assert remark(story.run(now=1), "poll") == "5 B  again at 00:00:06 (in 5 s)"


def test_what_has_ended_waits_for_nothing():
    run = failed_once().tell(2, "WaitStarted", Id="w", ScheduledEndTimestamp=Story.at(99)).run("STOPPED", 3)
    out = drawn(run)
    assert "ConnectionError: refused" in out
    assert "again" not in out
    assert "until" not in out
    assert [operation["dueAt"] for operation in document.show(run, data=True)["operations"]] == [None, None]


def test_errors_of_the_sdks_go_without_their_package():
    error = {"ErrorType": "aws_durable_execution_sdk_python.exceptions.StepError", "ErrorMessage": "no"}
    story = Story().tell(0, "ContextStarted", Id="c").tell(1, "ContextFailed", Id="c", Error={"Payload": error})
    assert "  StepError: no\n" in drawn(story.run("FAILED", 2))


# -- waits and callbacks -----------------------------------------------------------------------------------------------


def test_a_wait_tells_its_end():
    story = Story().tell(0, "WaitStarted", Id="w", Name="nap", Duration=60, ScheduledEndTimestamp=Story.at(60))
    assert remark(story.run(now=15), "nap") == "until 00:01:00 (in 45 s)"


@pytest.mark.parametrize(
    ("options", "now", "expected", "due"),
    [
        ({}, 1, "", None),
        ({"Timeout": 60}, 1, "answer until 00:01:00 (in 59 s)", 60),
        ({"HeartbeatTimeout": 10}, 1, "first heartbeat until 00:00:10 (in 9 s)", 10),
        ({"HeartbeatTimeout": 10}, 11, "a heartbeat every 10 s", None),
        (
            {"Timeout": 60, "HeartbeatTimeout": 10},
            1,
            "answer until 00:01:00 (in 59 s); first heartbeat until 00:00:10 (in 9 s)",
            10,
        ),
        ({"Timeout": 60, "HeartbeatTimeout": 10}, 11, "answer until 00:01:00 (in 49 s); a heartbeat every 10 s", 60),
    ],
)
def test_an_open_callback_tells_its_deadlines(options, now, expected, due):
    run = Story().tell(0, "CallbackStarted", Id="c", Name="answer", CallbackId="x", **options).run(now=now)
    assert remark(run, "answer") == expected
    (operation,) = document.show(run, data=True)["operations"]
    assert operation["dueAt"] == (None if due is None else f"2026-01-01T00:{due // 60:02}:{due % 60:02}.000Z")
    heartbeat = options.get("HeartbeatTimeout")
    assert operation["heartbeatMilliseconds"] == (heartbeat and heartbeat * 1000)


# -- invocations -------------------------------------------------------------------------------------------------------


def invoked(*errors: dict[str, Any] | None) -> Story:
    story = Story()
    for number, error in enumerate(errors):
        story.tell(number, "InvocationCompleted", **({} if error is None else {"Error": error}))
    return story


def test_invocations_that_fail_tell_why():
    error = {"Payload": {"ErrorType": "ImportError", "ErrorMessage": "no module"}}
    run = invoked(None, error).run(now=9)
    assert "the last invocation failed, and the function is invoked again: ImportError: no module\n" in drawn(run)
    run = invoked(error, None, error, error).run(now=9)
    assert "the last 2 invocations failed" in drawn(run)
    told = document.show(run, data=True)
    assert (told["failedInvocations"], told["invocationError"]) == (2, error["Payload"])


def test_an_invocation_that_went_well_or_an_end_leaves_nothing_to_tell():
    error = {"Payload": {"ErrorMessage": "no"}}
    told = document.show(invoked(error, None).run(now=9), data=True)
    assert (told["failedInvocations"], told["invocationError"]) == (0, None)
    assert "invoked again" not in drawn(invoked(error, None).run(now=9))
    assert "invoked again" not in drawn(invoked(error).run("FAILED", 9))


@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT", "STOPPED"])
def test_an_execution_that_ended_while_its_function_crashed_tells_why(status):
    error = {"ErrorType": "Runtime.ExitError", "ErrorMessage": "exit status 3"}
    run = invoked({"Payload": error}, {"Payload": error}).run(status, 9)
    assert "\nthe last 2 invocations failed: Runtime.ExitError: exit status 3\n" in drawn(run)
    run.described["Error"] = {"ErrorMessage": "the execution timed out"}
    assert "the last 2 invocations failed: Runtime.ExitError" in drawn(run)
    run.described["Error"] = error
    assert "invocations failed" not in drawn(run)
    assert "invocations failed" not in drawn(invoked({"Payload": error}, {"Payload": error}).run("SUCCEEDED", 9))


def test_a_failed_invocation_of_which_no_data_was_read_still_failed():
    run = invoked({"Truncated": True}).run(now=9)
    assert "the last invocation failed, and the function is invoked again\n" in drawn(run)
    told = document.show(run, data=False)
    assert (told["failedInvocations"], told["invocationError"]) == (1, None)


# -- the outcome -------------------------------------------------------------------------------------------------------


def test_the_error_of_an_execution_is_told_in_full():
    message = "\n".join(f"line {number} of what went wrong, " + "and why, " * 20 for number in range(3)) + "the end"
    error = {"ErrorType": "perdure.exceptions.StepError", "ErrorMessage": message}
    story = (
        Story().tell(0, "StepStarted", Id="a", Name="charge").tell(1, "StepFailed", Id="a", Error={"Payload": error})
    )
    run = story.run("FAILED", 2)
    run.described["Error"] = error
    out = drawn(run)
    assert out.endswith(f"\nStepError: {message}\n")
    assert out.count("the end") == 1  # the line of the operation stays short


# -- widths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [60, 80, 120])
def test_what_has_no_room_stands_below_and_nothing_is_lost(width):
    long = " ".join(f"word-{number}" for number in range(12))
    name = "name-" * 20 + "end"
    story = Story().tell(0, "ContextStarted", Id="p", Name="parent")
    story.tell(0, "StepStarted", Id="a", Name=name, ParentId="p")
    error = {"ErrorMessage": long}
    story.tell(1, "StepFailed", Id="a", ParentId="p", Error={"Payload": error}, RetryDetails=retry(1, 50))
    story.tell(1, "StepStarted", Id="b", Name="日本語の名前" * 4)
    out = drawn(story.run(now=2), width)
    rows = out[out.index("operation") : out.index("Budget")].splitlines()
    assert all(cell_len(row) <= width for row in rows)
    assert all(row == row.rstrip() for row in rows)
    joined = "".join(row.strip(" │├└─") for row in rows)
    for part in ("name-", "日"):
        assert joined.count(part) == (name + "日" * 4).count(part)
    assert all(f"word-{number}" in out for number in range(12))
    assert "(in 49 s)" in out
