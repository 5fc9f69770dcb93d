"""`perdure run` as a user calls it: what it prints, and what it exits with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from perdure import cli
from perdure.cli import bench as bench_command
from perdure.cli import explore as explore_command
from perdure.cli.commands import app
from perdure.local.durations import span

if TYPE_CHECKING:
    from pathlib import Path

assert bench_command.app is explore_command.app is app  # importing them adds the commands

MODULE = """
import threading
from concurrent.futures import ThreadPoolExecutor
from perdure import durable_execution
from perdure.config import Duration
from perdure.local import current_service
from perdure.retries import RetryDecision

def op(kind, key, action, **members):
    return {"Id": key, "Type": kind, "SubType": kind.title(), "Action": action, **members}

def send(event, *updates):
    answer = event.client.checkpoint_durable_execution(
        DurableExecutionArn=event["DurableExecutionArn"], CheckpointToken=event["CheckpointToken"], Updates=updates)
    return answer["NewExecutionState"]["Operations"]

def state(event):
    return {o["Id"]: o for o in event["InitialExecutionState"]["Operations"]}

def payload(event):
    return next(iter(event["InitialExecutionState"]["Operations"]))["ExecutionDetails"].get("InputPayload")

def good(event, context):
    if "w" not in state(event):
        print("hello from the handler")
        send(event, op("CONTEXT", "c", "START", Name="outer"), op("STEP", "s", "START", Name="inner", ParentId="c"),
             op("STEP", "s", "SUCCEED", Name="inner", ParentId="c"),
             op("WAIT", "w", "START", Name="nap", WaitOptions={"WaitSeconds": 7200}))
        return {"Status": "PENDING"}
    return {"Status": "SUCCEEDED", "Result": payload(event)}

def bad(event, context):
    try:
        raise ValueError("the reason")
    except ValueError as error:
        event.failures.append(error)
    return {"Status": "FAILED", "Error": {"ErrorType": "ValueError", "ErrorMessage": "the reason"}}

def inner(event):
    raise LookupError("deep in the user's code")

@durable_execution
def broken(event, context):
    context.step(lambda _: 1)
    return inner(event)

def ask(event, context):
    callback = state(event).get("cb")
    if callback is None:
        send(event, op("CALLBACK", "cb", "START", Name="approval", CallbackOptions={"TimeoutSeconds": 0}))
    elif callback["Status"] == "SUCCEEDED":
        return {"Status": "SUCCEEDED", "Result": callback["CallbackDetails"]["Result"]}
    return {"Status": "PENDING"}

def noisy(event, context):
    import subprocess
    print("printed by the handler")
    subprocess.run(["echo", "printed by a subprocess"], check=True)
    threading.Thread(target=print, args=("printed by a thread",)).start()
    threading.Timer(0.2, print, args=("printed after the end",)).start()
    return {"Status": "SUCCEEDED", "Result": "7"}

def answers(event, context):
    output = ask(event, context)
    if output["Status"] == "PENDING":
        (callback,) = current_service().handles[event["DurableExecutionArn"]].open_callbacks
        answer = current_service().client.send_durable_execution_callback_success
        key = callback["CallbackDetails"]["CallbackId"]
        threading.Timer(0.02, answer, kwargs={"CallbackId": key, "Result": b"7"}).start()
    return output

def calls(event, context):
    done = state(event).get("i")
    if done is None:
        send(event, op("CHAINED_INVOKE", "i", "START", Payload="4", ChainedInvokeOptions={"FunctionName": "double"}))
        return {"Status": "PENDING"}
    return {"Status": "SUCCEEDED", "Result": done["ChainedInvokeDetails"]["Result"]}

def double(event, context):
    return event * 2

@durable_execution
def flaky(event, context):
    def shaky(_):
        raise ConnectionError("try \\x1b[31magain")
    context.step(shaky, "shaky", retry=lambda _error, attempt: RetryDecision(attempt < 2, Duration.from_seconds(1)))

def not_a_number(event, context):
    return {"Status": "SUCCEEDED", "Result": "NaN"}

@durable_execution
def waits(event, context):
    return context.invoke("ask", 1)

POOL = ThreadPoolExecutor(1)

@durable_execution
def pooled(event, context):
    context.step(lambda _: POOL.submit(int).result())
    return context.create_callback("answer").result()

def undecorated(event, context):
    return 5

@durable_execution
def wordy(event, context):
    raise ValueError("much to say, " * 40 + "the end")

@durable_execution
def chatty(event, context):
    for number in range(event):
        print("line", number)
    context.step(lambda _: print("in a step"), "prints")
    return "[red]:smile:"

@durable_execution
def asks(event, context):
    return context.create_callback("[red]approval").result()

def mistyped(context, item, index, items):
    return undefined + item

@durable_execution
def fans_out(event, context):
    return context.map([1, 2], mistyped, max_concurrency=event).get_results()

thing = 5
"""


INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
sys.argv[0] = "perdure"
from perdure.cli import main
main()
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "demo_app.py").write_text(MODULE)
    (tmp_path / "demo_broken.py").write_text("import no_such_module_anywhere\n")
    (tmp_path / "demo_exits.py").write_text("import sys\nsys.exit('not today')\n")
    (tmp_path / "event.json").write_text('{"from": "a file"}')
    (tmp_path / "latin.json").write_bytes(b'"caf\xe9"')
    (tmp_path / "utf16.json").write_text('{"a": 1}', encoding="utf-16")
    (tmp_path / "deep.json").write_text("[" * 200_000 + "]" * 200_000)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("demo_app", "demo_broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def perdure(*arguments: str, **options: Any) -> tuple[int, str, str]:
    """Run the command in this process; return its exit code, output and errors."""
    result = CliRunner().invoke(app, ["run", *arguments], **options)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.usefixtures("project")
def test_a_run_shows_operations_nested_skipped_time_and_the_result() -> None:
    code, out, _ = perdure("demo_app:good", "--event", '{"a": 1}', "--skip-time")
    assert code == 0
    lines = out.splitlines()
    assert "hello from the handler" in lines
    assert "Context outer STARTED" in lines
    assert any(line.startswith("  Step inner SUCCEEDED") for line in lines)
    assert "skipping 2 h" in lines
    assert "Wait nap SUCCEEDED (2 h, skipped)" in lines
    assert json.loads(out[out.index("{") :]) == {"a": 1}


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("event", "stdin", "value"),
    [("event.json", None, {"from": "a file"}), ("-", "[1]", [1]), ('"x"', None, "x")],
)
def test_an_event_comes_as_text_file_or_standard_input(event: str, stdin: str | None, value: Any) -> None:
    code, out, _ = perdure("demo_app:good", "--event", event, "--skip-time", "--json", input=stdin)
    assert (code, json.loads(out[out.index("{") :])["result"]) == (0, value)


@pytest.mark.usefixtures("project")
def test_a_durable_handler_that_raises_shows_where() -> None:
    code, out, _ = perdure("demo_app:broken")
    assert code == 1
    assert "deep in the user's code" in out
    assert "in inner" in out


@pytest.mark.usefixtures("project")
def test_what_failed_tells_why_and_colours_nothing() -> None:
    code, out, _ = perdure("demo_app:flaky", "--skip-time")
    assert code == 1
    assert "Step shaky PENDING (attempt 1): ConnectionError: try �[31magain" in out
    assert "Step shaky READY (attempt 1)\n" in out
    assert "Step shaky FAILED (attempt 2, 1 s): ConnectionError: try" in out
    assert "StepError: try" in out.splitlines()[-1]
    assert "aws_durable" not in out.splitlines()[-1]
    _, out, _ = perdure("demo_app:flaky", "--skip-time", "--json")
    (step,) = json.loads(out)["operations"]
    assert (step["attempts"], step["error"]["ErrorType"], step["milliseconds"]) == (2, "ConnectionError", 1000)
    assert step["endedAt"].endswith("Z")


@pytest.mark.usefixtures("project")
def test_a_document_is_json_whatever_the_result_is_and_names_all_callbacks() -> None:
    _, out, _ = perdure("demo_app:not_a_number", "--json")
    document = json.loads(out, parse_constant=pytest.fail)
    assert document["result"] == "NaN"
    code, out, _ = perdure("demo_app:waits", "--function", "ask=demo_app:ask", "--json", "--callback-wait", "0")
    assert code == 3
    assert len(json.loads(out)["openCallbacks"]) == 1


@pytest.mark.usefixtures("project")
def test_idle_threads_of_a_pool_are_not_waited_for() -> None:
    began = time.monotonic()
    code, _, _ = perdure("demo_app:pooled", "--callback-wait", "30")
    assert code == 3
    assert time.monotonic() - began < 20


@pytest.mark.usefixtures("project")
def test_a_handler_that_is_none_is_told_what_it_lacks() -> None:
    code, out, _ = perdure("demo_app:undecorated")
    assert code == 1
    assert "Is the handler decorated with @durable_execution?" in " ".join(out.split())


@pytest.mark.usefixtures("project")
def test_branches_that_failed_are_logged_and_counted_though_the_batch_succeeds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    code, out, _ = perdure("demo_app:fans_out", "--event", "1")
    assert code == 0
    assert "1 branch of map and parallel failed; the log says where." in out.splitlines()
    (told,) = [record for record in caplog.records if record.name == "perdure.local"]
    assert told.levelname == "WARNING"
    assert "branch map-item-0 failed at demo_app.py:" in told.getMessage()
    _, out, _ = perdure("demo_app:fans_out", "--event", "1", "--json")
    assert json.loads(out)["failedBranches"] == 1
    _, out, _ = perdure("demo_app:good", "--skip-time")
    assert "branch" not in out


@pytest.mark.usefixtures("project")
def test_the_error_of_an_execution_is_told_in_full() -> None:
    code, out, _ = perdure("demo_app:wordy")
    assert (code, out.splitlines()[-1]) == (1, f"ValueError: {'much to say, ' * 40}the end")


@pytest.mark.usefixtures("project")
def test_what_the_handler_says_is_no_markup() -> None:
    _, out, _ = perdure("demo_app:chatty", "--event", "0")
    assert out.splitlines()[-1] == '"[red]:smile:"'
    code, out, _ = perdure("demo_app:asks", "--callback-wait", "0")
    assert code == 3
    assert 'callback "[red]approval": ' in out


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["demo_app:chatty", "--event", "2000"], 0),
        (["demo_app:chatty", "--event", "2000", "--json"], 0),
        (["demo_app:wordy"], 1),
    ],
    ids=str,
)
def test_a_run_goes_on_to_its_end_when_nobody_reads_it_any_more(
    project: Path, arguments: list[str], code: int, unbuffered: str
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "perdure.cli", "run", *arguments],
            cwd=project,
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_failure_shows_the_users_traceback() -> None:
    code, out, _ = perdure("demo_app:bad")
    assert code == 1
    assert 'raise ValueError("the reason")' in out
    assert "demo_app.py" in out
    assert out.rstrip().endswith("ValueError: the reason")


@pytest.mark.usefixtures("project")
def test_an_open_callback_blocks_and_says_how_to_answer() -> None:
    code, out, _ = perdure("demo_app:ask")
    assert code == 3
    assert 'callback "approval": ' in out
    assert "send_durable_execution_callback_success" in out


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("clock", [[], ["--skip-time"]])
def test_a_thread_of_the_handler_may_answer(clock: list[str]) -> None:
    code, out, _ = perdure("demo_app:answers", *clock)
    assert (code, out.splitlines()[-1]) == (0, "7")


@pytest.mark.usefixtures("project")
def test_other_functions_may_be_invoked() -> None:
    code, out, _ = perdure("demo_app:calls", "--plain", "double=demo_app:double", "--skip-time")
    assert (code, out.splitlines()[-1]) == (0, "8")


@pytest.mark.usefixtures("project")
def test_json_is_one_document() -> None:
    code, out, _ = perdure("demo_app:ask", "--json")
    document = json.loads(out)
    assert code == 3
    assert document["status"] == "BLOCKED"
    assert [o["name"] for o in document["operations"]] == ["approval"]
    assert len(document["openCallbacks"]) == 1


def test_with_json_nothing_else_comes_out_whoever_prints_it(project: Path) -> None:
    command = [sys.executable, "-m", "perdure.cli", "run", "demo_app:noisy", "--json"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, json.loads(done.stdout)["result"]) == (0, 7)
    for where in ("by the handler", "by a subprocess", "by a thread", "after the end"):
        assert f"printed {where}" in done.stderr


@pytest.mark.usefixtures("project")
def test_a_run_tells_about_what_it_would_cost() -> None:
    _, out, _ = perdure("demo_app:good", "--skip-time")
    # three operations and the start of the execution, at $8.00 a million
    assert "Budget: 3 of 3,000 (0.1%) operations, 0 B of 100.0 MiB (0.0%) written\n" in out
    assert "Price: about $0.000032 (us-east-1 prices of 2026-09; invocations not included)\n" in out
    _, out, _ = perdure("demo_app:good", "--skip-time", env={"PERDURE_PRICE_OPERATIONS": "10"})
    assert "about $0.000040 (at the prices given; invocations not included)" in out
    _, out, _ = perdure("demo_app:good", "--skip-time", "--json", "--price-operations", "1e6")
    budget = json.loads(out[out.index("{") :])["budget"]
    assert (budget["operations"], budget["billedOperations"], budget["price"]) == (3, 4, 4.0)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_ctrl_c_shows_the_execution_as_it_stands_and_exits_130(project: Path, options: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, "run", "demo_app:good", *options],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        beside = (process.stderr if options else process.stdout).readline()
        assert beside == "hello from the handler\n"
        if not options:
            while "waiting 2 h" not in process.stdout.readline():
                pass
        process.send_signal(signal.SIGINT)
        out, err = process.stdout.read(), process.stderr.read()
    assert process.returncode == 130
    assert "Traceback" not in out + err
    if options:
        assert json.loads(out)["status"] == "RUNNING"
    else:
        assert "INTERRUPTED (1 invocation, 3 operations): it was RUNNING" in out


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["demo_app"], "MODULE:HANDLER"),
        (["demo_app:missing"], "missing"),
        (["demo_app:thing"], "int"),
        (["demo_app:duoble"], "Is 'double' meant?"),
        (["demo_app:good", "--event", "NaN"], "NaN is no JSON"),
        (["demo_app:good", "--event", "[1e999]"], "1e999 is larger than any number"),
        (["demo_app:good", "--event", "-1e999"], "-1e999 is larger than any number"),
        (["demo_app:good", "--event", "latin.json"], "--event: latin.json is not UTF-8: invalid"),
        (["demo_app:good", "--event", "deep.json"], "--event: deep.json is not valid JSON (it is nested too deeply)"),
        (["demo_app:good", "--event", "utf16.json"], "utf16.json is not UTF-8"),
        (["demo_app:good", "--event", "."], "neither"),
        (["demo_app:good", "--name", "not a name"], "no name of an execution"),
        (["demo_app:good", "--plain", "good=demo_app:double"], "the name of another function"),
        (["demo_nowhere:handler"], "demo_nowhere"),
        (["demo_nowhere.py:handler"], "demo_nowhere.py"),
        (["demo_broken:handler"], "no_such_module_anywhere"),
        (["demo_app:good", "--event", "{no json"], "neither"),
        (["demo_app:good", "--plain", "double"], "NAME=MODULE"),
    ],
)
def test_a_mistake_in_the_call_exits_with_2_and_says_which(arguments: list[str], words: str) -> None:
    code, out, err = perdure(*arguments)
    assert code == 2
    assert words in " ".join((out + err).replace("│", " ").split())


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("given", "words"),
    [
        (b'"caf\xe9"', "standard input is not UTF-8: invalid continuation byte at byte 4."),
        (b"[" * 200_000, "standard input is not valid JSON (it is nested too deeply)."),
        (b"1e999", "standard input is not valid JSON (1e999 is larger"),
        (b"", "standard input is not valid JSON (Expecting value"),
    ],
)
@pytest.mark.parametrize("command", ["run", "explore"])
def test_an_event_on_standard_input_that_is_none_is_told_as_well(command: str, given: bytes, words: str) -> None:
    result = CliRunner().invoke(app, [command, "demo_app:good", "--event", "-"], input=given)
    assert result.exit_code == 2
    assert f"--event: {words}" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("name", ["latin.json", "deep.json"])
def test_a_history_that_cannot_be_read_is_told_by_bench(name: str) -> None:
    result = CliRunner().invoke(app, ["bench", "demo_app:broken", "--event", name])
    assert result.exit_code == 2
    assert "Traceback" not in result.output


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    "arguments",
    [
        ["demo_nowhere:handler"],
        ["demo_broken:handler"],
        ["demo_exits:handler"],
        ["demo_app:good", "--event", "{no"],
        ["demo_app:good", "--nothing"],
        ["demo_app:good", "--function", "a b=demo_app:ask"],
        [],
    ],
)
def test_with_json_a_mistake_in_the_call_is_a_document_too(arguments: list[str]) -> None:
    code, out, _ = perdure(*arguments, "--json")
    assert (code, json.loads(out)["error"]["exitCode"]) == (2, 2)


def test_the_version_needs_no_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "typer", None)
    monkeypatch.setattr(sys, "argv", ["perdure", "--version"])
    cli.main()
    assert capsys.readouterr().out == f"perdure {cli.version()}\n"


def test_a_missing_extra_is_named(project: Path) -> None:
    (project / "without.py").write_text(
        "import sys\nsys.modules['typer'] = None\nsys.argv = ['perdure', 'run', 'a:b']\n"
        "from perdure.cli import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "without.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'perdure[local]'" in done.stderr


@pytest.mark.parametrize(
    ("length", "said"),
    [
        (0.0, "0 ms"),
        (0.25, "250 ms"),
        (0.9996, "1 s"),
        (1, "1 s"),
        (12.345, "12.3 s"),
        (59.97, "1 min"),
        (60, "1 min"),
        (timedelta(milliseconds=5), "5 ms"),
        (timedelta(days=2, hours=3, minutes=4), "2 d 3 h"),
        (3661, "1 h 1 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_length_of_time_is_said_as_one_says_it(length: float | timedelta, said: str) -> None:
    assert span(length) == said
