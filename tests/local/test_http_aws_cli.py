"""The AWS CLI, as it comes from PyPI, drives every action over a real socket.

Its service model is its own, and does not have pause, resume and delete yet: for those it is lent that of botocore.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore
import pytest

from perdure import DurableContext, durable_execution
from perdure.local import LocalService, RealClock
from support.raw import step
from support.web import served

if TYPE_CHECKING:
    from collections.abc import Iterator

REFUSED = 255
CLI = [sys.executable, "-m", "awscli", "lambda"]


@durable_execution
def ask(_event: Any, ctx: DurableContext) -> Any:
    return ctx.create_callback(name="answer").result()


class Shell:
    """The command, in an environment that points it at a server."""

    def __init__(self, service: LocalService, url: str) -> None:
        self.service = service
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.devnull,
            "AWS_ENDPOINT_URL_LAMBDA": url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "anybody",
            "AWS_SECRET_ACCESS_KEY": "anything",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def run(self, *arguments: str, code: int = 0, models: str | None = None) -> Any:
        environment = self._environment if models is None else {**self._environment, "AWS_DATA_PATH": models}
        done = subprocess.run(
            [*CLI, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == code, done.stderr
        return done.stderr if code else json.loads(done.stdout or "null")

    def callback_of(self, arn: str) -> str:
        with self.service.wake:
            handle = self.service.execution(arn)
            assert self.service.wake.wait_for(lambda: handle.open_callbacks and not handle.machine.invoking, 20)
            return handle.callback_id()


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    service = LocalService(clock=RealClock()).register("ask", ask)
    with served(service) as (_, server, _client):
        yield Shell(service, server.url)


def test_the_life_of_an_execution(shell: Shell, tmp_path: Path) -> None:
    out = str(tmp_path / "out.json")
    begun = shell.run(
        *("invoke", "--function-name", "ask", "--invocation-type", "Event", "--durable-execution-name", "mine", out)
    )
    arn = begun["DurableExecutionArn"]
    execution = ("--durable-execution-arn", arn)
    identifier = shell.callback_of(arn)
    shell.run("send-durable-execution-callback-heartbeat", "--callback-id", identifier)
    assert shell.run("get-durable-execution", *execution)["Status"] == "RUNNING"
    shell.run("send-durable-execution-callback-success", "--callback-id", identifier, "--result", '"yes"')
    answer = shell.run("invoke", "--function-name", "ask", "--durable-execution-name", "mine", out)
    assert answer["StatusCode"] == 200
    assert json.loads(Path(out).read_text()) == '"yes"'
    history = shell.run("get-durable-execution-history", *execution, "--reverse-order")
    assert history["Events"][0]["EventType"] == "ExecutionSucceeded"
    listed = shell.run(
        *("list-durable-executions-by-function", "--function-name", "ask", "--statuses", "SUCCEEDED", "RUNNING")
    )
    assert [found["DurableExecutionArn"] for found in listed["DurableExecutions"]] == [arn]
    refused = shell.run("get-durable-execution", "--durable-execution-arn", arn[:-1] + "x", code=REFUSED)
    assert "ResourceNotFoundException" in refused


def test_a_failure_and_a_stop(shell: Shell, tmp_path: Path) -> None:
    out = str(tmp_path / "out.json")
    invoke = ("invoke", "--function-name", "ask", "--invocation-type", "Event", out)
    first, second = (shell.run(*invoke)["DurableExecutionArn"] for _ in range(2))
    error = '{"ErrorMessage": "broken", "ErrorType": "ValueError"}'
    identifier = shell.callback_of(first)
    shell.run("send-durable-execution-callback-failure", "--callback-id", identifier, "--error", error)
    assert shell.service.execution(first).drive().status == "FAILED"
    assert shell.run("stop-durable-execution", "--durable-execution-arn", second, "--error", error)["StopTimestamp"]
    assert shell.service.execution(second).error == json.loads(error)


def test_a_pause_and_a_deletion(shell: Shell, tmp_path: Path) -> None:
    models = str(Path(botocore.__file__).parent / "data")
    out = str(tmp_path / "out.json")
    arn = shell.run("invoke", "--function-name", "ask", "--invocation-type", "Event", out)["DurableExecutionArn"]
    shell.callback_of(arn)
    execution = ("--durable-execution-arn", arn)

    def status() -> str:
        return str(shell.service.execution(arn).status)

    shell.run("pause-durable-execution", *execution, "--reason", "stocktaking", models=models)
    assert status() == "PAUSED"
    refused = shell.run("pause-durable-execution", *execution, code=REFUSED, models=models)
    assert "ResourceConflictException" in refused
    shell.run("resume-durable-execution", *execution, models=models)
    assert status() == "RUNNING"
    assert "stop it first" in shell.run("delete-durable-execution", *execution, code=REFUSED, models=models)
    shell.run("stop-durable-execution", *execution)
    assert shell.run("delete-durable-execution", *execution, models=models)["DeletionRequestTimestamp"]
    with pytest.raises(KeyError):
        shell.service.execution(arn)


def test_checkpoints_and_state(shell: Shell) -> None:
    service = shell.service
    handle = service.start("ask", name="by-hand")
    with service.wake:  # before a worker takes it, a token is handed to the command
        assert service.wake.wait_for(lambda: handle.open_callbacks and not handle.machine.invoking, 20)
        handle.machine.begin_invocation()
        token = handle.machine.token
    execution = ("--durable-execution-arn", handle.arn)
    updates = json.dumps([step("s", "START"), step("s", "SUCCEED", Payload="1")])
    answer = shell.run("checkpoint-durable-execution", *execution, "--checkpoint-token", token, "--updates", updates)
    assert answer["NewExecutionState"]["Operations"][0]["StepDetails"]["Result"] == "1"
    state = shell.run("get-durable-execution-state", *execution, "--checkpoint-token", answer["CheckpointToken"])
    assert [operation["Type"] for operation in state["Operations"]] == ["EXECUTION", "CALLBACK", "STEP"]
    service.client.stop_durable_execution(DurableExecutionArn=handle.arn)
