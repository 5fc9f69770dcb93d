"""The commands over a socket: what `perdure serve` answers through boto3, from the first command to the last."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from perdure import DurableContext, durable_execution
from perdure.cli.commands import app
from support.web import served

if TYPE_CHECKING:
    from collections.abc import Iterator


@durable_execution
def approve(event: dict[str, Any], context: DurableContext) -> Any:
    context.step(lambda _: "asked", name="ask")
    return context.create_callback(name="answer").result()


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with served() as (service, server, _client):
        service.register("approve", approve)
        service.start_workers()
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", server.url)
        yield server.url


def run(*arguments: str) -> Any:
    said = CliRunner().invoke(app, [*arguments, "--json"])
    assert said.exception is None or isinstance(said.exception, SystemExit), said.exception
    return said.exit_code, json.loads(said.stdout)


def waiting(name: str) -> str:
    """Follow an execution until its callback is open and nothing of it runs; return the callback's id."""
    while True:
        code, document = run("show", name)
        assert code == 0
        events = [event["EventType"] for event in run("history", name)[1]["events"]]
        if document["openCallbacks"] and "InvocationCompleted" in events:
            return str(document["openCallbacks"][0])


def test_an_execution_from_its_start_to_its_deletion(url, tmp_path):
    code, started = run("invoke", "approve", "--payload", "{}", "--name", "a", "--event", "--endpoint", url)
    assert (code, started["status"]) == (0, "STARTED")
    assert [one["arn"] for one in run("list", "approve", "--after", "1h")[1]["executions"]] == [started["arn"]]
    callback_id = waiting("approve/a")
    assert run("pause", "approve/a", "--reason", "lunch")[0] == 0
    assert run("resume", "approve/a")[0] == 0
    assert run("callback", "heartbeat", callback_id)[0] == 0
    assert run("callback", "succeed", callback_id, "--result", "true")[0] == 0
    code, shown = run("show", "approve/a", "--follow", "--interval", "0.05")
    assert (code, shown["status"], shown["result"]) == (0, "SUCCEEDED", "true")
    assert run("timeline", started["arn"], "--svg", str(tmp_path / "a.svg"))[1]["rows"][0]["name"] == "ask"
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")
    events = run("history", "approve/a", "--data")[1]["events"]
    assert [event["EventType"] for event in events if event["EventType"].startswith("ExecutionP")] == [
        "ExecutionPaused"
    ]
    assert run("delete", "approve/a")[0] == 0
    assert run("show", started["arn"])[0] == 3


def test_a_failure_and_a_stop_over_the_socket(url):
    run("invoke", "approve", "--name", "b", "--event")
    assert run("callback", "fail", waiting("approve/b"), "--error-type", "No", "--error-message", "no")[0] == 0
    assert run("timeline", "approve/b", "--follow", "--interval", "0.05")[0] == 1
    run("invoke", "approve", "--name", "c", "--event")
    waiting("approve/c")
    assert run("stop", "approve/c", "--error", "enough")[0] == 0
    code, shown = run("show", "approve/c", "--follow")
    assert (code, shown["status"], shown["error"]["ErrorMessage"]) == (1, "STOPPED", "enough")
    assert run("resume", "approve/c")[1]["error"]["type"] == "ResourceConflictException"


def test_what_does_not_exist_is_told_the_same_way(url):
    code, document = run("invoke", "nobody")
    assert (code, document["error"]["type"]) == (3, "ResourceNotFoundException")
    assert run("callback", "heartbeat", "YWJj")[0] == 3
