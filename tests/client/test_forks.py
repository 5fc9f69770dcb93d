"""Processes that are forked, at any moment: each has its own connection, and waits for no thread that it has not."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from perdure._core import Updates
from support.invocations import LambdaContext
from support.wire import Connection, answer, kind, lambda_environment, scripted

if TYPE_CHECKING:
    from collections.abc import Callable

ARN = "arn:aws:lambda:us-east-1:123456789012:function:f:1/durable-execution/name/execution-id"
PATIENCE = 60

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def forked(act: Callable[[], Any]) -> int:
    """Do something in a forked process; give its exit status, which is negative for the signal that ended it."""
    child = os.fork()
    if child == 0:  # nothing but the act: the other threads of this process are not in the child
        signal.alarm(PATIENCE)
        try:
            act()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_each_process_has_its_own_connection(native: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers: list[int] = []

    def script(connection: Connection) -> None:
        while connection.request() is not None:
            numbers.append(connection.number)
            connection.send(answer())

    with scripted(script) as (port, _):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}")
        ours = native(LambdaContext())

        def call() -> None:
            ours.checkpoint(ARN, "t", Updates(), "ct")

        def call_and_fork() -> None:
            call()
            assert forked(call) == 0
            call()

        call()
        assert forked(call_and_fork) == 0
        call()
    assert numbers == [0, 1, 2, 1, 0]


def test_a_process_forked_beside_a_thread_that_asks_for_credentials_asks_for_its_own(
    native: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go_on = threading.Event(), threading.Event()
    expires = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M:%SZ")
    given = {"AccessKeyId": "AKIDRENEWED", "SecretAccessKey": "s", "Token": "t", "Expiration": expires}

    def credentials(connection: Connection) -> None:
        connection.request()
        if connection.number == 0:
            asked.set()
            go_on.wait(PATIENCE)
        connection.send(answer(json.dumps(given).encode()))

    with scripted(credentials) as (beside, _), scripted() as (port, requests):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{beside}/get")
        ours = native(LambdaContext())
        caught: list[BaseException] = []

        def call() -> None:
            try:
                ours.checkpoint(ARN, "t", Updates(), "ct")
            except OSError as error:  # it may have been kept waiting for too long
                caught.append(error)

        asking = threading.Thread(target=call)
        asking.start()
        assert asked.wait(PATIENCE)
        status = forked(lambda: ours.checkpoint(ARN, "t", Updates(), "ct"))
        go_on.set()
        asking.join()
    assert status == 0
    assert "Credential=AKIDRENEWED/" in requests[0].headers["authorization"]


def test_a_process_forked_beside_a_thread_that_connects_connects_itself(
    native: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def script(connection: Connection) -> None:
        begun.set()
        kind(connection)

    with scripted(script) as (port, requests):
        lambda_environment(monkeypatch, f"http://127.0.0.1:{port}")
        ours = native(LambdaContext())
        ours.prepare()
        assert begun.wait(PATIENCE)
        assert forked(lambda: ours.checkpoint(ARN, "t", Updates(), "ct")) == 0
        ours.checkpoint(ARN, "t", Updates(), "ct")
    assert len(requests) == 2
