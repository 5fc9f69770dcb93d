"""What the first call needs is made while the step before it runs; and only then."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perdure import DurableContext, durable_execution
from perdure.engine import checkpoint
from perdure.engine import client as clients
from perdure.exceptions import CheckpointError
from support import imports
from support.invocations import NOW, PENDING, LambdaContext, Recorder, event, op, succeeded
from support.wire import Connection, kind, lambda_environment, scripted

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 60


@pytest.fixture
def _nothing_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an update that nobody waits for stay queued for as long as a test may last."""
    monkeypatch.setattr(checkpoint, "LINGER", 3600.0)


def stepping(body: Callable[[], Any]) -> Callable[[Any, Any], Any]:
    @durable_execution
    def handler(_event: Any, context: DurableContext) -> Any:
        return context.step(lambda _: body())

    return handler


@pytest.mark.usefixtures("_nothing_is_due")
def test_a_client_is_made_while_the_first_step_runs_and_before_its_start_is_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder = Recorder()
    made = threading.Event()

    def chosen() -> clients.BotoClient:
        made.set()
        return clients.BotoClient(recorder)

    monkeypatch.setattr(clients, "_chosen", chosen)
    assert stepping(lambda: made.wait(PATIENCE))(event(), LambdaContext()) == succeeded("true")
    assert [update["Action"] for update in recorder.updates] == ["START", "SUCCEED"]


@pytest.mark.usefixtures("_nothing_is_due")
def test_a_connection_is_opened_while_a_step_runs_and_serves_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    connected = threading.Event()
    numbers: list[int] = []

    def script(connection: Connection) -> None:
        connected.set()
        numbers.append(connection.number)
        kind(connection)

    with scripted(script) as (port, requests):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}")
        assert stepping(lambda: connected.wait(PATIENCE) and requests == [])(event(), LambdaContext()) == succeeded(
            "true"
        )
        assert len(requests) == 1
    assert numbers == [0]


def test_connecting_begins_with_an_executions_first_invocation_and_not_with_its_first_operation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connected = threading.Event()
    numbers: list[int] = []

    def script(connection: Connection) -> None:
        connected.set()
        numbers.append(connection.number)
        kind(connection)

    @durable_execution
    def handler(_event: Any, context: DurableContext) -> Any:
        assert connected.wait(PATIENCE)
        assert requests == []
        return context.step(lambda _: 1)

    with scripted(script) as (port, requests):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}")
        assert handler(event(), LambdaContext()) == succeeded("1")
        assert len(requests) == 1
    assert numbers == [0]


@pytest.mark.parametrize("resumed", [False, True], ids=["first", "resumed"])
def test_an_invocation_without_calls_waits_for_no_connection_and_leaves_no_thread_behind(
    resumed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server lets no handshake come to its end: the end of the invocation gives it up."""
    listener = socket.create_server(("127.0.0.1", 0))
    greeted = threading.Event()
    seen: list[bytes] = []

    def serve() -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as peer:
            seen.append(peer.recv(4096))
            greeted.set()
            seen.append(peer.recv(4096))

    server = threading.Thread(target=serve)
    server.start()
    lambda_environment(monkeypatch, f"https://127.0.0.1:{listener.getsockname()[1]}")

    @durable_execution
    def handler(_event: Any, context: DurableContext) -> Any:
        return context.step(lambda _: pytest.fail("ran")) if resumed else greeted.wait(PATIENCE)

    recorded = [op("STEP", "SUCCEEDED", details={"Result": "true"})] if resumed else []
    assert handler(event(*recorded), LambdaContext()) == succeeded("true")
    assert "perdure-connect" not in [name.strip() for name in threads_of_the_system()]
    if resumed:
        assert seen == []
        listener.shutdown(socket.SHUT_RDWR)  # nobody came
    server.join(PATIENCE)
    listener.close()
    assert not server.is_alive()
    assert resumed or (seen[0] != b"" and seen[1] == b"")


def threads_of_the_system() -> list[str]:
    """Give the names of all threads of this process, those of Rust among them, where the system tells."""
    return [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]


def test_boto3_is_not_made_for_an_invocation_that_may_need_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(clients.CHOICE, "boto3")
    monkeypatch.setattr(clients, "_chosen", lambda: pytest.fail("a client was made"))

    @durable_execution
    def handler(_event: Any, _context: DurableContext) -> Any:
        return 1

    assert handler(event(), LambdaContext()) == succeeded("1")
    assert clients._default is None


def test_what_fails_beforehand_is_told_by_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(clients.CHOICE, "neither")
    with pytest.raises(CheckpointError, match="set it to native or boto3"):
        stepping(lambda: 1)(event(), LambdaContext())


def test_a_connection_that_fails_beforehand_is_opened_again_by_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(connection: Connection) -> None:
        if connection.number > 0:
            kind(connection)

    with scripted(script) as (port, requests):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}")
        assert stepping(lambda: 1)(event(), LambdaContext()) == succeeded("1")
        assert len(requests) >= 1


@pytest.mark.parametrize(
    ("recorded", "response"),
    [
        (op("STEP", "SUCCEEDED", details={"Result": '{"t":"i","v":7}'}), succeeded("7")),
        (op("STEP", "PENDING", details={"Attempt": 1, "NextAttemptTimestamp": NOW + 3_600_000}), PENDING),
    ],
    ids=["done", "pending"],
)
def test_a_replay_makes_no_client(
    monkeypatch: pytest.MonkeyPatch, recorded: dict[str, Any], response: dict[str, Any]
) -> None:
    monkeypatch.setattr(clients, "_native", lambda: pytest.fail("a client was made"))
    monkeypatch.setattr(clients, "_chosen", lambda: pytest.fail("a client was made"))
    monkeypatch.setattr(checkpoint.Checkpointer, "watch", lambda _self: pytest.fail("a thread was started"))
    got = stepping(lambda: pytest.fail("ran"))(event(recorded), LambdaContext())
    assert got == response
    assert clients._default is None


def test_threads_that_want_the_first_client_at_once_get_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    made: list[clients.BotoClient] = []

    def chosen() -> clients.BotoClient:
        begun.set()
        assert go_on.wait(PATIENCE)
        made.append(clients.BotoClient(Recorder()))
        return made[-1]

    monkeypatch.setattr(clients, "_chosen", chosen)
    got: list[Any] = []
    threads = [threading.Thread(target=lambda: got.append(clients.default_client())) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert begun.wait(PATIENCE)
    go_on.set()
    for thread in threads:
        thread.join()
    assert got == made * 4


FORKS = """
import os, signal, sys, threading
from perdure.engine import client as clients

begun, go_on = threading.Event(), threading.Event()

def chosen():
    begun.set()
    assert go_on.wait(60)
    return clients.BotoClient(None)

clients._chosen = chosen
maker = threading.Thread(target=clients.default_client)
maker.start()
assert begun.wait(60)
os.register_at_fork(before=go_on.set)  # called before what was registered earlier: the client is made during the fork
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(0 if isinstance(clients.default_client(), clients.BotoClient) else 1)
maker.join()
clients.default_client()
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_fork_beside_it_waits_for_the_client_and_has_it() -> None:
    program = f"import sys; sys.path[:0] = {sys.path!r}\n{FORKS}"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=120).returncode == 0


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_beside_a_client_that_never_comes_waits_no_longer_than_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "FORK_PATIENCE", 0.01)
    begun, go_on = threading.Event(), threading.Event()

    def chosen() -> clients.BotoClient:
        begun.set()
        assert go_on.wait(PATIENCE)
        return clients.BotoClient(None)

    monkeypatch.setattr(clients, "_chosen", chosen)
    maker = threading.Thread(target=clients.default_client)
    maker.start()
    assert begun.wait(PATIENCE)
    child = os.fork()
    if child == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    go_on.set()
    maker.join()


def test_a_client_is_made_where_nothing_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows."""
    monkeypatch.delattr(os, "register_at_fork")
    monkeypatch.setattr(clients, "_forks_wait", False)
    monkeypatch.setattr(clients, "_chosen", lambda: clients.BotoClient(None))
    assert isinstance(clients.default_client(), clients.BotoClient)


def test_nothing_of_it_is_imported_with_perdure() -> None:
    assert not {"boto3", "botocore", "perdure.engine.native_client"} & imports.brought("import perdure")


def test_short_steps_of_a_warm_process_share_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers: list[int] = []

    def script(connection: Connection) -> None:
        numbers.append(connection.number)
        kind(connection)

    with scripted(script) as (port, requests):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}")
        for _ in range(100):
            assert stepping(lambda: 1)(event(), LambdaContext()) == succeeded("1")
        assert len(requests) == 100
    assert numbers == [0]
