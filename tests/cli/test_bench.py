"""`perdure bench`: what it measures, what it refuses to do, and how it exits."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from perdure import AsyncDurableContext, cli, durable_execution, execution
from perdure.bench import Measurement, Times, measure
from perdure.cli import viewing
from perdure.cli.bench import app, show
from perdure.concurrency.models import BatchResult
from perdure.config import ParallelBranch
from perdure.context import DurableContext
from perdure.engine.operations import step
from perdure.history.operations import HistoryError
from perdure.history.record import event_text
from perdure.local import LocalService, VirtualClock
from perdure.retries import RetryDecision, RetryPresets
from perdure.serdes import JsonSerDes
from perdure.waits import WaitForConditionDecision

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from perdure.local import ExecutionHandle

assert viewing.app is app  # importing it adds the commands that print a history

MODULE = """
from perdure import durable_execution

ran = []

def body(event, context):
    print("noise")
    values = [context.step(lambda _, n=n: (ran.append(n), {"order": n})[1], name=f"charge-{n}") for n in range(3)]
    context.wait(5, name="nap")
    context.step(lambda _: ran.append("late"), name="late")
    return values

handler = durable_execution(body)

def plain(event, context):
    return event
"""


def record(body: Callable[[Any, Any], Any], payload: Any = None) -> list[str]:
    """Run a handler to its end on a local service; give the text of each invocation's event."""
    return recorded(body, payload)[0]


def recorded(body: Callable[[Any, Any], Any], payload: Any = None) -> tuple[list[str], ExecutionHandle]:
    """Run a handler to its end; give the text of each invocation's event, and the execution."""
    handler = durable_execution(body)
    events: list[str] = []

    def listening(event: Any, context: Any) -> Any:
        events.append(json.dumps(event))
        return handler(event, context)

    service = LocalService(clock=VirtualClock())
    service.register("f", listening)
    service.on_callback = lambda callback, client: client.send_durable_execution_callback_success(
        CallbackId=callback["CallbackDetails"]["CallbackId"], Result=b'"answered"'
    )
    service.register("double", lambda event, _: event * 2, durable=False)
    handle = service.start("f", json.dumps(payload or {}), "e-1")
    service.drive(handle)
    assert handle.status == "SUCCEEDED", handle.error
    return events, handle


def printed(handle: ExecutionHandle, *command: str) -> str:
    """Give what a command prints of an execution."""
    said = CliRunner().invoke(app, [*command, "f/e-1", "--json"], obj=handle.service.client)
    assert said.exit_code == 0, said.output
    return said.stdout


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bench_app.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "bench_app", raising=False)
    namespace: dict[str, Any] = {}
    exec(MODULE, namespace)  # noqa: S102 - the same module, run once for its history
    (first, second), handle = recorded(namespace["body"])
    (tmp_path / "first.json").write_text(first)
    (tmp_path / "event.json").write_text(second)
    (tmp_path / "history.json").write_text(printed(handle, "history", "--data"))
    (tmp_path / "bare.json").write_text(printed(handle, "history"))
    (tmp_path / "part.json").write_text(printed(handle, "history", "--data", "--limit", "3"))
    (tmp_path / "newest.json").write_text(printed(handle, "history", "--data", "--reverse"))
    (tmp_path / "shown.json").write_text(printed(handle, "show"))
    (tmp_path / "drawn.json").write_text(printed(handle, "timeline"))
    return tmp_path


def perdure(*arguments: str, given: str | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["bench", *arguments], input=given)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.usefixtures("project")
def test_it_counts_and_times_what_a_replay_does_and_runs_no_step() -> None:
    code, out, _ = perdure("bench_app:handler", "--event", "event.json", "--rounds", "3", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["rounds"] == 3
    assert found["operations"] == 4
    assert found["recorded"] == {"Step": 3, "Wait": 1}
    assert found["apiCalls"] == 0
    assert 0 < found["replay"]["minimum"] <= found["replay"]["median"]
    assert 0 < found["parse"]["minimum"] <= found["parse"]["median"]
    kinds = {kind["name"]: kind for kind in found["kinds"]}
    assert {name: kind["calls"] for name, kind in kinds.items()} == {"step": 4, "wait": 1}
    assert kinds["step"]["payloadBytes"] == 3 * len('{"t":"m","v":{"order":{"t":"i","v":0}}}')
    assert kinds["step"]["seconds"] >= kinds["step"]["decoding"] > 0
    assert found["outcome"] == "FRESH_WORK"
    assert found["detail"] == "it comes to step 'late', which is not recorded as done"
    assert sys.modules["bench_app"].ran == []


@pytest.mark.usefixtures("project")
def test_people_get_tables_and_not_the_handlers_own_output() -> None:
    code, out, _ = perdure("bench_app:handler", "--event", "event.json", "--rounds", "2")
    assert code == 0
    assert "4 operations recorded: 3 Step, 1 Wait" in out
    assert "stopped where the record ends: it comes to step 'late'" in out
    assert "Medians of 2 rounds." in out
    for heading in ("loading the history, answering", "decoding payloads", "your code"):
        assert heading in out
    assert "noise" not in out


@pytest.mark.usefixtures("project")
def test_an_empty_history_stops_at_the_first_step() -> None:
    code, out, _ = perdure("bench_app:handler", "--event", "first.json", "--rounds", "1")
    assert code == 0
    assert "0 operations recorded" in out
    assert "it comes to step 'charge-0'" in out
    assert sys.modules["bench_app"].ran == []


def test_an_exported_history_is_as_good_as_an_event(project: Path) -> None:
    operations = json.loads((project / "event.json").read_text())["InitialExecutionState"]["Operations"]
    for operation in operations:
        operation["StartTimestamp"] = "2026-01-01T00:00:00+00:00"
        if "WaitDetails" in operation:
            operation["WaitDetails"]["ScheduledEndTimestamp"] = 1767225605.5
    (project / "history.json").write_text(json.dumps({"Operations": operations}))
    code, out, _ = perdure("bench_app:handler", "--event", "history.json", "--rounds", "1", "--json")
    found = json.loads(out)
    assert (code, found["operations"], found["detail"]) == (
        0,
        4,
        "it comes to step 'late', which is not recorded as done",
    )


# -- the history that the command line prints --------------------------------------------------------------------------


def plain(text: str) -> list[dict[str, Any]]:
    """Give the operations of an event, without what is another one in each run, or says nothing."""
    found = json.loads(text)["InitialExecutionState"]["Operations"]
    for operation in found:
        operation.get("CallbackDetails", {}).pop("CallbackId", None)
        if not operation.get("ContextDetails", {}).get("ReplayChildren", True):
            del operation["ContextDetails"]["ReplayChildren"]  # which means the same as if it were not there
    return sorted(found, key=lambda operation: operation["Id"])


def large(_event: Any, context: Any) -> list[int]:
    """Make results that are too large to be recorded: those of a context, a map, a parallel and a branch."""

    def inner(child: Any, *_: Any) -> str:
        return str(child.step(lambda _: "x" * 300_000))

    alone = context.run_in_child_context(inner, name="alone")
    mapped = context.map([1, 2], inner, name="map").get_results()
    beside = context.parallel([inner]).get_results()
    context.wait(1)
    return [len(alone), *map(len, mapped), *map(len, beside)]


def again(_event: Any, context: Any) -> Any:
    """Fail once, wait for a condition twice, and go on."""

    def shaky(step: Any) -> str:
        if step.attempt == 1:
            raise ConnectionError("nobody")
        return "done"

    def decide(state: int, _attempt: int) -> WaitForConditionDecision:
        return WaitForConditionDecision.stop_polling() if state > 1 else WaitForConditionDecision.continue_waiting(3)

    first = context.step(shaky, name="shaky", retry=lambda _error, attempt: RetryDecision(attempt < 3, 5))
    polled = context.wait_for_condition(lambda state, _: state + 1, initial_state=0, wait_strategy=decide)
    context.wait(1)
    return [first, polled]


@pytest.mark.parametrize("body", ["everything", "large", "again"])
def test_a_history_is_replayed_as_the_event_that_lambda_would_send(body: str) -> None:
    events, handle = recorded(globals()[body], {"order": 7})
    history = printed(handle, "history", "--data")
    assert plain(event_text(history)) == plain(events[-1])
    assert json.loads(event_text(history))["DurableExecutionArn"] == handle.arn
    measured = [measure(durable_execution(globals()[body]), text, rounds=1) for text in (events[-1], history)]
    assert [found.outcome for found in measured] == ["SUCCEEDED", "SUCCEEDED"]
    first, second = [{kind.name: (kind.calls, kind.payload_bytes) for kind in found.kinds} for found in measured]
    assert first == second
    assert measured[0].recorded == measured[1].recorded


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("file", ["history.json", "newest.json", "-"])
def test_a_history_of_an_execution_that_has_ended_is_replayed_to_its_end(project: Path, file: str) -> None:
    given = (project / "history.json").read_text()
    code, out, _ = perdure("bench_app:handler", "--event", file, "--rounds", "1", "--json", given=given)
    found = json.loads(out)
    assert (code, found["outcome"], found["detail"]) == (0, "SUCCEEDED", None)
    assert found["recorded"] == {"Step": 4, "Wait": 1}
    assert sys.modules["bench_app"].ran == []


def test_the_answer_of_the_api_is_as_good(project: Path) -> None:
    events = json.loads((project / "history.json").read_text())["events"]
    for event in events:
        event["EventTimestamp"] = 1767225600.25  # as some versions of the AWS CLI write it
    (project / "api.json").write_text(json.dumps({"Events": events}))
    code, out, _ = perdure("bench_app:handler", "--event", "api.json", "--rounds", "1", "--json")
    assert (code, json.loads(out)["outcome"]) == (0, "SUCCEEDED")
    first = json.loads(event_text((project / "api.json").read_text()))["InitialExecutionState"]["Operations"][0]
    assert first["StartTimestamp"] == 1767225600250


def test_an_execution_that_still_waits_is_replayed_until_it_does() -> None:
    def body(_event: Any, context: Any) -> Any:
        return [context.step(lambda _: 1, name="first"), context.create_callback(name="answer").result()]

    service = LocalService(clock=VirtualClock()).register("f", durable_execution(body))
    handle = service.run("f", event={}, name="e-1", stop_at_callback=True)
    found = measure(durable_execution(body), printed(handle, "history", "--data"), rounds=1)
    assert (found.outcome, found.recorded) == ("PENDING", {"Step": 1, "Callback": 1})


def test_a_failed_execution_fails_again(project: Path) -> None:
    def body(_event: Any, context: Any) -> None:
        context.step(lambda _: 1 / 0, name="fails", retry=RetryPresets.none())

    service = LocalService(clock=VirtualClock()).register("f", durable_execution(body))
    handle = service.run("f", event={}, name="e-1")
    found = measure(durable_execution(body), printed(handle, "history", "--data"), rounds=1)
    assert found.outcome == "FAILED"
    assert "division by zero" in str(found.detail)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("file", "complaint"),
    [
        ("bare.json", "it has no payloads; print it with `perdure history EXECUTION --json --data`"),
        ("part.json", "only a part of the history; print it without --limit"),
        ("shown.json", "without what they returned; `perdure history EXECUTION --json --data` prints that, too"),
        ("drawn.json", "`perdure history EXECUTION --json --data`"),
    ],
)
def test_what_lacks_the_data_says_what_has_it(file: str, complaint: str) -> None:
    code, _, err = perdure("bench_app:handler", "--event", file)
    assert code == 2
    assert complaint in " ".join(err.split())


def test_a_payload_that_was_cut_is_named(project: Path) -> None:
    document = json.loads((project / "history.json").read_text())
    (event,) = (e for e in document["events"] if e["EventType"] == "StepSucceeded" and e["Name"] == "charge-1")
    event["StepSucceededDetails"]["Result"] |= {"Payload": "{", "Truncated": True}
    with pytest.raises(HistoryError, match="has cut a payload in it, that of 'charge-1'"):
        event_text(json.dumps(document))


def test_a_history_needs_no_extra(project: Path) -> None:
    script = (
        "import sys\nfor name in ('typer', 'rich', 'starlette', 'uvicorn'): sys.modules[name] = None\n"
        "from perdure.history.record import event_text\nprint(len(event_text(open('history.json').read())) > 99)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=project, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")


@pytest.mark.parametrize("outcome", ["FRESH_WORK", "FAILED"])
def test_what_the_record_tells_is_no_markup(outcome: str) -> None:
    found = Measurement(
        outcome, "[red]it[/] :smile:", {"[bold]Step": 1}, 1, 1, Times(), Times(), [], 0, 0, threads=False
    )
    console = Console(file=StringIO(), width=200)
    show(console, found)
    text = console.file.getvalue()
    assert "1 [bold]Step" in text
    assert "[red]it[/] :smile:" in text


# -- what differs, or is none ------------------------------------------------------------------------------------------


def test_changed_code_fails_and_says_what_differs(project: Path) -> None:
    event = project / "event.json"
    event.write_text(event.read_text().replace("charge-1", "refund-1"))
    code, out, _ = perdure("bench_app:handler", "--event", "event.json", "--rounds", "1")
    assert code == 1
    assert "The invocation failed:" in out
    assert "refund-1" in out


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "it is not JSON"),
        ("[1]", "neither the event of a durable invocation nor"),
        ('{"a": 1}', "neither the event of a durable invocation nor"),
        ('{"events": [{"EventId": 1}]}', "its events are not those of a history"),
        ('{"events": []}', "lacks the event ExecutionStarted"),
        ('{"Events": [], "NextMarker": "2"}', "only a part of the history; print it without --limit"),
        ('{"Operations": []}', "lacks the operation of type EXECUTION"),
        ('{"Operations": [{"Type": "EXECUTION"}], "NextMarker": "2"}', "has a NextMarker"),
        ('{"InitialExecutionState": {"Operations": [], "NextMarker": "2"}}', "has a NextMarker"),
    ],
)
def test_what_is_no_whole_history_is_refused(project: Path, text: str, complaint: str) -> None:
    (project / "bad.json").write_text(text)
    code, _, err = perdure("bench_app:handler", "--event", "bad.json")
    assert code == 2
    assert complaint in err
    with pytest.raises(HistoryError, match=complaint):
        event_text(text)


@pytest.mark.usefixtures("project")
def test_a_missing_file_and_a_plain_function_are_usage_errors() -> None:
    code, _, err = perdure("bench_app:handler", "--event", "nowhere.json")
    assert code == 2
    assert "cannot be read" in err
    code, _, err = perdure("bench_app:plain", "--event", "event.json")
    assert code == 2
    assert "not one that perdure's @durable_execution made" in err


def test_the_command_line_knows_the_command(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["perdure", "bench", "bench_app:handler", "--event", str(project / "event.json"), "--rounds", "1"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    assert "4 operations recorded" in capsys.readouterr().out


def everything(event: Any, context: Any) -> Any:
    """Use each operation once, in ways that take different paths on replay."""
    del event

    def failing(_: Any) -> None:
        raise ValueError("no")

    def inner(child: Any) -> str:
        return str(child.step(lambda _: "x" * 300_000, name="large"))

    try:
        context.step(failing, name="fails", retry=RetryPresets.none())
    except Exception as error:  # noqa: BLE001
        logging.getLogger("test").debug("%s", error)
    context.step(lambda _: {"a": 1}, name="own serdes", serdes=JsonSerDes())
    context.run_in_child_context(inner, name="replays its children")
    context.run_in_child_context(lambda child: child.step(lambda _: 1), name="recorded")
    callback = context.create_callback(name="cb")
    asked = context.wait_for_callback(lambda *_: None, name="ask")
    invoked = context.invoke("double", 4, name="invoke")
    state = context.wait_for_condition(
        lambda state, _: state + 1,
        name="poll",
        initial_state=0,
        wait_strategy=lambda *_: WaitForConditionDecision.stop_polling(),
    )
    mapped = context.map([1, 2], lambda child, item, *_: child.step(lambda _: item), name="map")
    beside = context.parallel([lambda child: child.step(lambda _: 1), ParallelBranch(lambda _: 2, "two")])
    assert isinstance(mapped, BatchResult)
    context.wait(1)
    return [callback.result(), asked, invoked, state, mapped.get_results(), beside.get_results()]


def test_every_operation_is_accounted_for() -> None:
    found = measure(durable_execution(everything), record(everything)[-1], rounds=2)
    assert (found.outcome, found.detail) == ("SUCCEEDED", None)
    calls = {kind.name: kind.calls for kind in found.kinds}
    assert calls == {
        "step": 3,  # failed, own serdes, and the one inside the large context
        "run_in_child_context": 2,
        "create_callback": 1,
        "callback.result": 1,
        "wait_for_callback": 1,
        "invoke": 1,
        "wait_for_condition": 1,
        "map": 1,
        "parallel": 1,
        "wait": 1,
    }
    read = {kind.name: kind.payload_bytes for kind in found.kinds if kind.payload_bytes}
    assert read["step"] >= 300_000
    assert {"map", "parallel", "invoke", "wait_for_condition", "wait_for_callback"} <= set(read)
    for kind in found.kinds:
        assert 0 <= kind.decoding <= kind.seconds
    assert found.history > 0
    assert found.your_code > 0


def test_a_map_that_is_still_open_stops_where_the_next_item_would_be_finished() -> None:
    def item(context: Any, number: int, *_: Any) -> int:
        if number:
            context.wait(number)
        return number

    def body(_event: Any, context: Any) -> Any:
        return context.map([0, 5], item, name="orders").get_results()

    found = measure(durable_execution(body), record(body)[-1], rounds=1)
    assert found.recorded == {"Map": 1, "MapIteration": 2, "Wait": 1}
    assert (found.outcome, found.detail) == ("FRESH_WORK", "it would send SUCCEED of context 'map-item-1'")


def test_the_handlers_own_client_is_never_called() -> None:
    class Client:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"{name} was called")

    def body(_event: Any, context: Any) -> None:
        context.wait(5, name="nap")

    text = record(body)[0]
    found = measure(durable_execution(boto3_client=Client())(body), text, rounds=1)
    assert (found.outcome, found.detail) == ("FRESH_WORK", "it would send START of wait 'nap'")


def test_everything_is_put_back() -> None:
    before = dict(DurableContext.__dict__), dict(vars(step)), dict(vars(execution))
    threads = set(threading.enumerate())  # another test's may be on its way out
    measure(durable_execution(everything), record(everything)[-1], rounds=1)
    assert before[0] == dict(DurableContext.__dict__)
    assert before[1]["run"] is step.run
    assert before[2]["_invoke"] is execution._invoke
    assert set(threading.enumerate()) <= threads


# -- async def handlers ------------------------------------------------------------------------------------------------


async def awaited(_event: Any, context: AsyncDurableContext) -> Any:
    """Come to operations of several kinds, alone, side by side and in contexts of their own."""

    async def work(_step: Any) -> dict[str, int]:
        await asyncio.sleep(0)
        return {"order": 1}

    async def child(inner: AsyncDurableContext, *_: Any) -> Any:
        return await inner.step(work, "inner")

    first = await context.step(work, "alone")
    both = await asyncio.gather(context.step(work, "a"), context.step(lambda _: "plain", "b"))
    inside = await context.run_in_child_context(child, "child")
    mapped = (await context.map([1, 2], child)).get_results()
    await context.wait(5, "nap")
    async with asyncio.TaskGroup() as group:
        last = group.create_task(context.step(work, "late"))
    return [first, both, inside, mapped, last.result()]


def test_an_awaited_replay_is_counted_and_timed() -> None:
    events, handle = recorded(awaited, {})
    found = measure(durable_execution(awaited), events[-1], rounds=2)
    assert (found.outcome, found.detail) == ("FRESH_WORK", "it comes to step 'late', which is not recorded as done")
    kinds = {kind.name: kind for kind in found.kinds}
    assert {name: kind.calls for name, kind in kinds.items()} == {
        "step": 4,
        "run_in_child_context": 1,
        "map": 1,
        "wait": 1,
    }
    assert kinds["step"].payload_bytes > kinds["run_in_child_context"].payload_bytes > 0
    assert kinds["step"].decoding > 0
    assert found.history > 0
    assert found.your_code > 0
    whole = measure(durable_execution(awaited), printed(handle, "history", "--data"), rounds=2)
    assert (whole.outcome, whole.detail) == ("SUCCEEDED", None)


def test_a_replay_that_stops_side_by_side_is_no_failure_of_a_task() -> None:
    """A group would put it with those of others."""
    ran = []

    async def handler(_event: Any, context: AsyncDurableContext) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(context.step(lambda _: ran.append(1), "a"))
            group.create_task(context.wait(5, "w"))

    events, _ = recorded(handler, {})
    ran.clear()
    found = measure(durable_execution(handler), events[0], rounds=1)
    assert (found.outcome, found.detail) == ("FRESH_WORK", "it comes to step 'a', which is not recorded as done")
    assert not ran
