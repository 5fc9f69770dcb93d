"""`perdure serve` as a process: its functions, its database, its end, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from perdure.cli.commands import app
from perdure.cli.faults import stopped
from perdure.local import LocalService, SqliteStore
from perdure.local.server import runtime
from perdure.local.server.reload import Reloader
from support.web import lambda_client, runtime_interface

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVE = [sys.executable, "-m", "perdure.cli", "serve"]
APP = """
import time

from perdure import durable_execution

@durable_execution
def greet(event, context):
    return context.step(lambda _: "hello")

@durable_execution
def ask(event, context):
    return context.create_callback(name="answer").result()

@durable_execution
def broken(event, context):
    return event["nothing"]

def fails(event, context):
    raise RuntimeError("out of order")

@durable_execution
def hang(event, context):
    context.step(lambda _: "kept", name="first")
    print("hangs", file=open("told", "w"))
    time.sleep(600)

def plain(event, context):
    return [event]

def mistyped(context, item, index, items):
    return undefined + item

@durable_execution
def fans_out(event, context):
    return context.map([1, 2], mistyped, max_concurrency=1).get_results()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


class Served:
    """A process that serves, and what it has said."""

    def __init__(self, folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [*SERVE, "--port", "0", *arguments],
            cwd=folder,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "COLUMNS": "200", **(environment or {})},
        )
        self.said: list[str] = []
        self.url = ""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if found := re.search(r"serves (http://\S+),", line):
                self.url = found[1]
            if "Ctrl-C" in line:
                break
        self.client: Any = lambda_client(self.url)

    def next_line(self) -> str:
        assert self.process.stderr is not None
        self.said.append(self.process.stderr.readline())
        return self.said[-1]

    def end(self, how: signal.Signals = signal.SIGINT) -> int:
        """End the process; return its exit code."""
        self.client.close()
        assert self.process.stderr is not None
        self.process.send_signal(how)
        with self.process:
            self.said += self.process.stderr.readlines()
        return self.process.returncode


@contextmanager
def serving(folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> Iterator[Served]:
    served = Served(folder, *arguments, environment=environment)
    try:
        yield served
    finally:
        if served.process.poll() is None:
            served.end(signal.SIGKILL)


def refused(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [*SERVE, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=60, env=os.environ
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return " ".join(re.sub(r"[│╭╰─╮╯]", " ", done.stderr).split())


def test_an_interrupt_and_a_kill_keep_everything_and_the_next_start_goes_on(folder: Path) -> None:
    with serving(folder, "app:greet", "ask=app:ask", "--plain", "plain=app:plain") as served:
        answer = served.client.invoke(FunctionName="greet", DurableExecutionName="done", Payload=b"{}")
        assert answer["Payload"].read() == b'"hello"'
        assert served.client.invoke(FunctionName="plain", Payload=b"1")["Payload"].read() == b"[1]"
        begun = served.client.invoke(FunctionName="ask", InvocationType="Event", DurableExecutionName="open")
        assert "in use by another process" in refused(folder, "app:greet")
        assert served.end() == 0
        assert "All executions are kept in perdure.db" in served.said[-1]
    with serving(folder, "app:greet", "ask=app:ask") as served:
        assert "1 of them running" in served.said[0]
        served.end(signal.SIGKILL)
    with serving(folder, "app:greet", "ask=app:ask") as served:
        arn = begun["DurableExecutionArn"]
        events = served.client.get_durable_execution_history(DurableExecutionArn=arn)["Events"]
        (opened,) = (event for event in events if event["EventType"] == "CallbackStarted")
        identifier = opened["CallbackStartedDetails"]["CallbackId"]
        served.client.send_durable_execution_callback_success(CallbackId=identifier, Result=b"yes")
        again = served.client.invoke(FunctionName="ask", DurableExecutionName="open")
        assert again["Payload"].read() == b'"yes"'
        known = served.client.invoke(FunctionName="greet", DurableExecutionName="done", Payload=b"{}")
        assert known["DurableExecutionArn"] == answer["DurableExecutionArn"]
        assert served.end() == 0


def test_a_waiting_caller_does_not_keep_the_server_from_ending(folder: Path) -> None:
    with serving(folder, "app:ask", "--memory") as served:
        client = lambda_client(served.url)
        failed: list[Exception] = []

        def wait() -> None:
            try:
                client.invoke(FunctionName="ask")
            except client.exceptions.ServiceException as problem:
                failed.append(problem)

        caller = threading.Thread(target=wait)
        caller.start()
        while not served.client.list_durable_executions_by_function(FunctionName="ask")["DurableExecutions"]:
            pass
        assert served.end() == 0
        caller.join(20)
        client.close()
        assert stopped(failed[0])  # which the commands tell by it
        assert "Traceback" not in "".join(served.said)
        assert not (folder / "perdure.db").exists()


ASYNC_APP = """
import asyncio

from perdure import durable_execution

@durable_execution
async def inner(event, context):
    await context.wait(1)
    return await context.step(lambda _: event + 1)

@durable_execution
async def ask(event, context):
    callback = await context.create_callback(name="answer")
    answer, invoked = await asyncio.gather(callback.result(), context.invoke("inner", 1))
    return [answer, invoked]
"""


def test_async_def_handlers_are_served_beside_each_other_and_go_on_after_a_kill(folder: Path) -> None:
    (folder / "awaited.py").write_text(ASYNC_APP)
    served_names = ("ask=awaited:ask", "inner=awaited:inner", "--skip-time")
    with serving(folder, *served_names) as served:
        answers = [
            served.client.invoke(FunctionName="ask", InvocationType="Event", DurableExecutionName=f"e-{number}")
            for number in range(4)
        ]
        opened = [_callback_of(served.client, answer["DurableExecutionArn"]) for answer in answers]
        served.end(signal.SIGKILL)
    with serving(folder, *served_names) as served:
        for callback_id in opened:
            served.client.send_durable_execution_callback_success(CallbackId=callback_id, Result=b"yes")
        for number in range(4):
            again = served.client.invoke(FunctionName="ask", DurableExecutionName=f"e-{number}")
            assert again["Payload"].read() == b'["yes", 2]'
        assert served.end() == 0
        assert "Traceback" not in "".join(served.said)


def _callback_of(client: Any, arn: str) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        events = client.get_durable_execution_history(DurableExecutionArn=arn)["Events"]
        for event in events:
            if event["EventType"] == "CallbackStarted":
                return str(event["CallbackStartedDetails"]["CallbackId"])
        time.sleep(0.01)
    raise TimeoutError(arn)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("perdure.db*")}


def test_a_termination_ends_as_an_interrupt_does(folder: Path) -> None:
    with serving(folder, "app:greet") as served:
        assert served.client.invoke(FunctionName="greet")["Payload"].read() == b'"hello"'
        assert "perdure.db-wal" in files(folder)
        assert served.end(signal.SIGTERM) == 0
        assert "All executions are kept in perdure.db" in served.said[-1]
    assert files(folder) <= {"perdure.db", "perdure.db.lock"}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_second_interrupt_does_not_wait_for_what_runs(folder: Path, how: signal.Signals) -> None:
    with serving(folder, "app:hang") as served:
        served.client.invoke(FunctionName="hang", InvocationType="Event", DurableExecutionName="hung")
        wait_for(folder / "told")
        served.process.send_signal(how)
        assert "Ctrl-C again stops at once" in served.next_line()
        assert served.end(how) == 130  # 0 if it had waited as long as it says
        assert "kept in perdure.db, 1 of them unfinished" in served.said[-1]
    assert files(folder) <= {"perdure.db", "perdure.db.lock"}
    with LocalService(store=SqliteStore(folder / "perdure.db")) as service:
        (handle,) = service.handles.values()
        assert (handle.name, handle.operation("first")["Status"]) == ("hung", "SUCCEEDED")


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_fails_is_in_the_log_with_the_line_that_failed(folder: Path) -> None:
    with serving(folder, "app:broken", "--memory", "--plain", "app:fails") as served:
        served.client.invoke(FunctionName="broken", DurableExecutionName="mine")
        served.client.invoke(FunctionName="fails")
        assert served.end() == 0
    said = "".join(served.said)
    assert "broken/mine, invocation 1 failed. KeyError: 'nothing'" in said
    assert 'return event["nothing"]' in said
    assert "fails failed. RuntimeError: out of order" in said
    assert "perdure/execution.py" not in said


def test_a_branch_that_fails_is_in_the_log_with_its_line_though_its_batch_succeeds(folder: Path) -> None:
    with serving(folder, "app:fans_out", "--memory") as served:
        assert served.client.invoke(FunctionName="fans_out")["Payload"].read() == b"[]"
        line = served.next_line()
        assert line.startswith("WARNING perdure.local: fans_out/")
        assert re.search(r": branch map-item-0 failed at app\.py:\d+ in mistyped\. NameError: name 'undefined'", line)


def test_an_invocation_that_takes_longer_than_it_may_is_given_up(folder: Path) -> None:
    with serving(folder, "app:hang", "--memory", "--timeout", "1") as served:
        arn = served.client.invoke(FunctionName="hang", InvocationType="Event")["DurableExecutionArn"]
        deadline = time.monotonic() + 30
        kinds: list[str] = []
        while "InvocationCompleted" not in kinds:
            assert time.monotonic() < deadline
            events = served.client.get_durable_execution_history(DurableExecutionArn=arn)["Events"]
            kinds = [event["EventType"] for event in events]
            time.sleep(0.05)
        served.end(signal.SIGKILL)
        assert "Task timed out after 1.00 seconds" in "".join(served.said)


def test_what_was_given_up_does_not_keep_the_server_from_ending(folder: Path) -> None:
    (folder / "stuck.py").write_text(
        "import threading\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "def handler(event, context):\n"
        "    with ThreadPoolExecutor(1) as pool:\n"
        "        return pool.submit(threading.Event().wait).result()\n"
    )
    with serving(folder, "--plain", "stuck:handler", "--memory", "--timeout", "1") as served:
        assert "FunctionError" in served.client.invoke(FunctionName="handler")
        began = time.monotonic()
        assert served.end(signal.SIGTERM) == 0
        assert time.monotonic() - began < 30


def test_clients_of_handlers_come_here_past_any_proxy(folder: Path) -> None:
    (folder / "calls.py").write_text(
        "import boto3\n"
        "def handler(event, context):\n"
        "    return boto3.client('lambda').invoke(FunctionName='plain', Payload=b'3')['Payload'].read().decode()\n"
    )
    proxy = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    with serving(folder, "--plain", "calls:handler", "--plain", "app:plain", "--memory", environment=proxy) as served:
        assert served.client.invoke(FunctionName="handler")["Payload"].read() == b'"[3]"'
        assert served.end() == 0


def test_a_profile_that_is_not_there_is_told(folder: Path) -> None:
    command = [*SERVE, "app:greet", "--memory", "--port", "0"]
    environment = {**os.environ, "AWS_PROFILE": "nosuch"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=30, env=environment)
    assert done.returncode == 2
    assert "nosuch" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_handler_of_the_official_sdk_is_led_to_this_server(folder: Path) -> None:
    (folder / "theirs.py").write_text(
        "from aws_durable_execution_sdk_python import durable_execution\n"
        "from aws_durable_execution_sdk_python.config import Duration\n"
        "@durable_execution\n"
        "def handler(event, context):\n"
        "    first = context.step(lambda _: 20, name='first')\n"
        "    context.wait(Duration.from_seconds(1))\n"
        "    return first + 1\n"
    )
    nothing = {"AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none", "AWS_ENDPOINT_URL_LAMBDA": "http://x"}
    with serving(folder, "theirs:handler", "--memory", environment=nothing) as served:
        assert served.client.invoke(FunctionName="handler")["Payload"].read() == b"21"
        assert served.end() == 0


def test_a_port_that_is_taken_is_refused_and_leaves_no_file(folder: Path) -> None:
    with serving(folder, "app:greet", "--memory") as served:
        port = served.url.rpartition(":")[2]
        command = [*SERVE, "app:greet", "--port", port]
        again = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=30)
        assert again.returncode == 2
        assert "Give another --port" in " ".join(again.stderr.split())
        assert not list(folder.glob("perdure.db*"))
        assert served.end() == 0


def test_a_server_of_nothing_says_so(folder: Path) -> None:
    with serving(folder, "--memory") as served:
        said = " ".join("".join(served.said).split())
        assert "no function is served" in said
        assert "MODULE:HANDLER" in said
        assert "aws lambda invoke" not in said
        assert served.end() == 0


def test_a_function_may_run_elsewhere(folder: Path) -> None:
    with (
        runtime_interface(lambda event, _context: {"Status": "SUCCEEDED", "Result": event["CheckpointToken"]}) as url,
        serving(folder, f"far={url}", "--memory", "--host", "0.0.0.0") as served,  # noqa: S104 - the test is about it
    ):
        assert served.client.invoke(FunctionName="far")["StatusCode"] == 200
        assert served.end() == 0
        assert any("nothing here asks who calls" in line for line in served.said)
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", served.url)
        assert f"export AWS_ENDPOINT_URL_LAMBDA={served.url} AWS_DEFAULT_REGION" in "".join(served.said)
        assert "aws lambda invoke --function-name far out.json" in "".join(served.said)


def test_what_cannot_be_served_is_refused_in_words(folder: Path) -> None:
    assert "needs a name" in refused(folder, "http://127.0.0.1:9001/x")
    assert "no function name" in refused(folder, "a.b=app:greet", "--memory")
    (folder / "perdure.db").write_text("hello " * 1000)
    assert "not an SQLite database" in refused(folder, "app:greet")


# -- time that is skipped ----------------------------------------------------------------------------------------------

PATIENT = """
from datetime import timedelta
from perdure import durable_execution

@durable_execution
def order(event, context):
    context.wait(timedelta(hours=event["hours"]), name="time-to-reconsider")
    return context.create_callback("answer", timeout=timedelta(days=2)).result() if event.get("asks") else "sent"
"""


def test_with_skipped_time_waits_pass_while_callbacks_stay_open(folder: Path) -> None:
    (folder / "patient.py").write_text(PATIENT)
    with serving(folder, "patient:order", "--skip-time", "--memory") as served:
        assert "Time is skipped" in "".join(served.said)
        asked = b'{"hours": 24, "asks": true}'
        served.client.invoke(FunctionName="order", InvocationType="Event", DurableExecutionName="a", Payload=asked)
        assert served.next_line() == "skipping 1 d\n"
        sent = served.client.invoke(FunctionName="order", DurableExecutionName="b", Payload=b'{"hours": 12}')
        assert sent["Payload"].read() == b'"sent"'
        (asking,) = executions(served, "a")
        assert asking["Status"] == "RUNNING"
        (ended,) = executions(served, "b")
        assert ended["EndTimestamp"] - ended["StartTimestamp"] >= timedelta(hours=12)
        assert ended["StartTimestamp"] - asking["StartTimestamp"] >= timedelta(hours=24)
        assert served.end() == 0
        assert "skipping 12 h\n" in served.said


def executions(served: Served, name: str) -> list[dict[str, Any]]:
    found = served.client.list_durable_executions_by_function(FunctionName="order", DurableExecutionName=name)
    return list(found["DurableExecutions"])


def test_without_it_nothing_says_that_time_is_skipped(folder: Path) -> None:
    with serving(folder, "app:greet", "--memory") as served:
        assert "skip" not in "".join(served.said)
        assert served.end() == 0


# -- where executions are kept -----------------------------------------------------------------------------------------


def said_of(database: str | Path) -> str:
    """Serve executions from what is no file of them, in this process; give what is said."""
    import_module("perdure.cli.serve")  # adds itself to the commands
    said = CliRunner().invoke(app, ["serve", "--port", "0", "--db", str(database)])
    assert said.exit_code == 2, said.output
    assert isinstance(said.exception, SystemExit)
    return " ".join(re.sub(r"[│╭╰─╮╯]", " ", said.output).split())


def damaged(path: Path, table: str) -> Path:
    """Make a file of executions in which a page of a table or an index is broken."""
    SqliteStore(path).close()
    with sqlite3.connect(path) as db:
        ((page, size),) = db.execute(
            "SELECT rootpage, page_size FROM sqlite_master, pragma_page_size WHERE name = ?", [table]
        )
    db.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    return path


def test_a_file_that_cannot_be_used_is_told_in_words_and_not_in_markup(tmp_path: Path) -> None:
    foreign, garbage, used = (tmp_path / f"[red]{name}.db" for name in ("foreign", "garbage", "used"))
    with sqlite3.connect(foreign) as db:
        db.execute("CREATE TABLE theirs (value)")
    db.close()
    garbage.write_text("hello " * 1000)
    assert said_of(foreign).startswith(f"Error: {foreign} is an SQLite database, but none of perdure's")
    assert said_of(garbage).startswith(f"Error: {garbage} is not an SQLite database")
    garbage.write_text("a note")  # which SQLite would take for an empty database, and overwrite
    assert said_of(garbage).startswith(f"Error: {garbage} is not an SQLite database")
    assert garbage.read_text() == "a note"
    missing = tmp_path / "[red]missing" / "executions.db"
    assert said_of(missing).startswith(f"Error: {missing} cannot be opened: unable to open database file.")
    with closing(SqliteStore(used)):
        assert said_of(used).startswith(f"Error: {used} is in use by another process")


@pytest.mark.parametrize("table", ["executions", "executions_running", "executions_by_expiry"])
def test_a_damaged_file_is_told_wherever_the_damage_is(tmp_path: Path, table: str) -> None:
    path = damaged(tmp_path / "executions.db", table)
    said = said_of(path)
    assert said.startswith(f"Error: {path} is damaged: ")
    assert "Restore it from a copy" in said


@pytest.mark.parametrize("kept", [0.9, 0.5, 0.1, 0.02, 0.002])
def test_a_file_that_was_cut_off_is_damaged(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "executions.db"
    SqliteStore(path).close()
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert said_of(path).startswith(f"Error: {path} is damaged: ")


def test_a_server_that_can_have_no_thread_lets_go_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = import_module("perdure.cli.serve")
    for global_state in ("lead_boto3_to", "log_to_stderr"):
        monkeypatch.setattr(command, global_state, lambda _: None)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def start_workers(_service: LocalService, _limit: int) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(LocalService, "start_workers", start_workers)
    path = tmp_path / "executions.db"
    said = CliRunner().invoke(app, ["serve", "--port", "0", "--db", str(path)])
    assert isinstance(said.exception, RuntimeError)
    SqliteStore(path).close()


@pytest.mark.parametrize("name", [":memory:", "./:memory:", "file:x.db?mode=memory", "file:x.db", "file::memory:"])
def test_a_name_that_is_no_file_for_sqlite_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    said = said_of(name)
    assert "is not the name of a file for SQLite" in said
    assert "--memory" in said
    assert not list(tmp_path.iterdir())


def test_what_is_no_plain_file_is_refused() -> None:
    assert f"{os.devnull} is no file" in said_of(os.devnull)


def test_the_name_of_the_file_is_told_as_it_is(folder: Path) -> None:
    with serving(folder, "app:greet", "--db", "[bold]kept:smile:.db") as served:
        assert served.said[0].endswith("executions in [bold]kept:smile:.db\n")
        assert served.end() == 0
        assert "All executions are kept in [bold]kept:smile:.db" in served.said[-1]


def test_a_server_goes_on_when_nobody_reads_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    serve_command = import_module("perdure.cli.serve")
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        monkeypatch.setattr(sys, "stderr", closed)
        console = serve_command._Console(stderr=True)
        console.print("serves")
        console.print("goes on")


# -- reloading ---------------------------------------------------------------------------------------------------------


def test_a_changed_file_brings_new_handlers_and_a_broken_one_leaves_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    source = tmp_path / "reloaded_app.py"
    source.write_text("VALUE = 1\n")
    service = LocalService()

    def register() -> None:
        import reloaded_app  # type: ignore[import-not-found]  # noqa: PLC0415 - what is tested

        value = reloaded_app.VALUE
        service.register("f", lambda _event, _context: value, durable=False)

    def answer() -> bytes:
        payload: bytes = service.client.invoke(FunctionName="f")["Payload"].read()
        return payload

    register()
    reloader = Reloader(tmp_path, register)
    assert reloader.check() == []
    source.write_text("VALUE = 22\n")
    assert reloader.check() == [source]
    assert answer() == b"22"
    assert reloader.check() == []
    source.write_text("VALUE = \n")
    assert reloader.check() == []
    assert answer() == b"22"
    assert "could not be loaded" in caplog.text
    source.write_text("VALUE = 333\n")
    assert reloader.check() == [source]
    assert answer() == b"333"
    monkeypatch.delitem(sys.modules, "reloaded_app")


def test_the_repair_of_a_file_that_was_never_loaded_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    source, helper = tmp_path / "repaired_app.py", tmp_path / "repaired_helper.py"
    source.write_text("VALUE = 1\n")
    loaded: list[int] = []
    edits: list[str] = []

    def register() -> None:
        loaded.append(import_module("repaired_app").VALUE)
        if edits:
            helper.write_text(edits.pop())

    register()
    reloader = Reloader(tmp_path, register)
    helper.write_text("VALUE = \n")
    source.write_text("from repaired_helper import VALUE\n")
    assert reloader.check() == []
    assert "SyntaxError" in caplog.text
    helper.write_text("VALUE = 2\n")
    assert reloader.check() == [helper]
    assert loaded == [1, 2]
    edits.append("VALUE = 333\n")
    helper.write_text("VALUE = 22\n")
    assert reloader.check() == [helper]
    assert reloader.check() == [helper]  # what was written while the other one was loaded
    assert loaded == [1, 2, 22, 333]
    for name in ("repaired_app", "repaired_helper"):
        monkeypatch.delitem(sys.modules, name)


def test_what_is_installed_below_the_folder_is_left_alone() -> None:
    seen = Reloader(Path("/"), lambda: None)._stamps()
    assert Path(json.__file__) not in seen
    assert Path(pytest.__file__) not in seen
    assert Path(__file__) in seen
    elsewhere = ModuleType("elsewhere")
    elsewhere.__file__ = "/linked/lib/site-packages/elsewhere.py"  # of an environment that is linked, or another's
    assert Reloader(Path("/"), lambda: None)._file(elsewhere) is None


def test_an_answer_that_is_no_json_is_an_error() -> None:
    with pytest.raises(runtime.RemoteError, match="no JSON: <html>"):
        runtime._output(b"<html>", failed=False)


def test_two_handlers_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in ("first_app", "second_app"):
        (tmp_path / f"{module}.py").write_text("def same(event, context):\n    return event\n")
    import_module("perdure.cli.serve")  # adds itself to the commands
    said = CliRunner().invoke(app, ["serve", "first_app:same", "second_app:same", "--memory", "--port", "0"])
    assert said.exit_code == 2
    assert "two handlers would be called same" in " ".join(said.output.replace("│", " ").split())
