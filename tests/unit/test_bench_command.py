"""`perdure bench`: what it measures, what it refuses to do, and how it exits."""

from __future__ import annotations

import json
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from perdure import cli, durable_execution, execution
from perdure.bench import BenchError, event_text, measure
from perdure.concurrency.models import BatchResult
from perdure.config import ParallelBranch
from perdure.context import DurableContext
from perdure.local import LocalService, VirtualClock
from perdure.local.bench_command import app
from perdure.operations import step
from perdure.retries import RetryPresets
from perdure.serdes import JsonSerDes
from perdure.waits import WaitForConditionDecision

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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
    handle = service.start("f", json.dumps(payload or {}))
    service.drive(handle)
    assert handle.status == "SUCCEEDED", handle.error
    return events


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bench_app.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "bench_app", raising=False)
    namespace: dict[str, Any] = {}
    exec(MODULE, namespace)  # noqa: S102 - the same module, run once for its history
    first, second = record(namespace["body"])
    (tmp_path / "first.json").write_text(first)
    (tmp_path / "event.json").write_text(second)
    return tmp_path


def perdure(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["bench", *arguments])
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
    with pytest.raises(BenchError, match=complaint):
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
    measure(durable_execution(everything), record(everything)[-1], rounds=1)
    assert before[0] == dict(DurableContext.__dict__)
    assert before[1]["run"] is step.run
    assert before[2]["_invoke"] is execution._invoke
    assert threading.active_count() == 1
