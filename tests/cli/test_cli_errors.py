"""What the commands say, and exit with, when something is wrong."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Any

import pytest
from botocore.exceptions import (
    EndpointConnectionError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ReadTimeoutError,
)
from typer.testing import CliRunner

from perdure.commands.arguments import read_moment, resolve
from perdure.commands.codes import CommandError
from perdure.commands.connection import Connection, is_loopback
from perdure.local import client_error
from perdure.local.command import app

ARN = "arn:aws:lambda:us-east-1:123456789012:function:f:1/durable-execution/n/i"
COMMANDS = [
    ("show", ARN),
    ("timeline", ARN),
    ("history", ARN),
    ("list", "f"),
    ("invoke", "f"),
    ("invoke", "f", "--event"),
    ("stop", ARN),
    ("pause", ARN),
    ("resume", ARN),
    ("delete", ARN),
    ("callback", "succeed", "YWJj"),
    ("callback", "fail", "YWJj"),
    ("callback", "heartbeat", "YWJj"),
]


class Raising:
    """A client whose every call raises the same."""

    def __init__(self, problem: Exception) -> None:
        self._problem = problem

    def __getattr__(self, _name: str) -> Any:
        def call(**_arguments: Any) -> None:
            raise self._problem

        return call


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    ("code", "exit_code", "word"),
    [
        ("ResourceNotFoundException", 3, "Not found"),
        ("TooManyRequestsException", 4, "throttles"),
        ("InvalidParameterValueException", 4, "refused"),
        ("AccessDeniedException", 4, "permission"),
        ("ExpiredTokenException", 4, "sign in"),
    ],
)
def test_every_command_tells_what_the_service_answered(cli, command, code, exit_code, word):
    client = Raising(client_error(code, "the service's words", "Any"))
    said = cli(*command, client=client)
    assert (said.code, said.out) == (exit_code, "")
    assert "the service's words" in said.err
    assert word in said.err
    document = cli(*command, "--json", client=client)
    assert document.code == exit_code
    assert set(document.json) == {"error"}
    assert set(document.json["error"]) == {"type", "message", "hint", "exitCode"}
    assert (document.json["error"]["type"], document.json["error"]["exitCode"]) == (code, exit_code)


@pytest.mark.parametrize(
    ("problem", "exit_code", "kind", "words"),
    [
        (EndpointConnectionError(endpoint_url="http://x"), 4, "NotReachable", "perdure serve"),
        (ReadTimeoutError(endpoint_url="http://x"), 4, "ReadTimeout", "--event"),
        (NoRegionError(), 2, "NoRegion", "--region"),
        (PartialCredentialsError(provider="env", cred_var="key"), 2, "NoCredentials", "--endpoint"),
        (ParamValidationError(report="line one\nline two"), 2, "ParamValidation", "line one\nline two"),
    ],
)
def test_what_botocore_raises_is_told_with_what_to_do(cli, problem, exit_code, kind, words):
    said = cli("show", ARN, client=Raising(problem))
    assert said.code == exit_code
    assert words in said.err
    assert cli("show", ARN, "--json", client=Raising(problem)).json["error"]["type"] == kind


def test_a_bug_is_not_dressed_up(cli):
    with pytest.raises(ZeroDivisionError):
        cli("show", ARN, client=Raising(ZeroDivisionError()))


def test_an_execution_that_does_not_exist_exits_3(cli, arn):
    assert cli("show", ARN).code == 3
    said = cli("show", "order/other")
    assert said.code == 3
    assert "perdure list order" in said.err
    assert cli("show", "nobody/o-1").code == 3


@pytest.mark.parametrize("reference", ["x", "/x", "x/", "", "arn:aws:lambda:us-east-1:123456789012:function:f"])
def test_what_is_no_execution_exits_2(cli, reference):
    said = cli("show", reference)
    assert said.code == 2
    assert "FUNCTION/NAME" in said.err


def test_a_name_is_looked_up_on_every_page_and_the_newest_counts():
    class Pages:
        def list_durable_executions_by_function(self, **asked: Any) -> dict[str, Any]:
            number = int(asked.get("Marker", "0"))
            assert asked["DurableExecutionName"] == "n"
            assert asked["FunctionName"] == "arn:aws:lambda:eu-west-1:1:function:f"
            page = [{"DurableExecutionArn": str(number), "DurableExecutionName": "n", "StartTimestamp": number % 3}]
            return {"DurableExecutions": page, **({"NextMarker": str(number + 1)} if number < 3 else {})}

    assert resolve(Pages(), "arn:aws:lambda:eu-west-1:1:function:f/n") == "2"


@pytest.mark.parametrize("given", ["soon", "", "5 parsecs", "2026-13-01", "99999999999999d"])
def test_a_moment_that_is_none_is_refused(given):
    with pytest.raises(CommandError, match="--after"):
        read_moment(given, "--after")


# -- connections -------------------------------------------------------------------------------------------------------


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    """Leave no credentials and no region to be found."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def test_without_credentials_the_command_says_where_they_come_from(nobody):
    said = run("show", ARN, "--region", "eu-west-1")
    assert said.exit_code == 2
    assert "No credentials" in said.stderr
    assert "--profile" in said.stderr


def test_without_a_region_the_command_asks_for_one(nobody):
    said = run("show", ARN)
    assert said.exit_code == 2
    assert "--region" in said.stderr


def test_a_profile_that_does_not_exist_is_told(nobody):
    said = run("show", ARN, "--profile", "nobody")
    assert said.exit_code == 2
    assert "nobody" in said.stderr


def test_a_local_endpoint_needs_neither_credentials_nor_a_region(nobody):
    client = Connection("http://127.0.0.1:9000").open()
    assert client.meta.region_name == "us-east-1"
    assert client.meta.endpoint_url == "http://127.0.0.1:9000"
    assert client._request_signer._credentials.access_key == "local"
    assert Connection("localhost:9000", "eu-west-1").open(patient=True).meta.endpoint_url == "http://localhost:9000"


def test_a_local_endpoint_in_the_environment_counts_as_well(nobody):
    nobody.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://[::1]:9000")
    client = Connection().open()
    assert client.meta.endpoint_url == "http://[::1]:9000"
    assert client._request_signer._credentials.access_key == "local"


def test_credentials_are_not_made_up_for_an_endpoint_elsewhere(nobody):
    said = run("show", ARN, "--endpoint", "http://example.invalid", "--region", "eu-west-1")
    assert said.exit_code == 2
    assert "No credentials" in said.stderr


@pytest.mark.parametrize("endpoint", ["http://", "no scheme", "http://[::1"])
def test_an_endpoint_that_is_none_exits_2(nobody, endpoint):
    said = run("show", ARN, "--endpoint", endpoint, "--region", "eu-west-1")
    assert said.exit_code == 2
    assert "endpoint" in said.stderr.lower()


def test_nobody_at_the_endpoint_exits_4(nobody):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = run("show", ARN, "--endpoint", f"http://127.0.0.1:{port}")
    assert said.exit_code == 4
    assert "perdure serve" in said.stderr


@pytest.mark.parametrize(
    ("endpoint", "local"),
    [
        ("http://localhost:1", True),
        ("http://a.localhost", True),
        ("https://127.3.2.1", True),
        ("http://[::1]:2", True),
        ("http://localhost.example.com", False),
        ("https://lambda.eu-west-1.amazonaws.com", False),
        ("http://10.0.0.1", False),
        ("nonsense", False),
        (None, False),
    ],
)
def test_only_this_machine_is_local(endpoint, local):
    assert is_loopback(endpoint) is local


# -- the command itself ------------------------------------------------------------------------------------------------


def test_the_installed_command_knows_every_command():
    said = subprocess.run(
        [sys.executable, "-m", "perdure.cli", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "120", "NO_COLOR": "1"},
    )
    for command in [
        "invoke",
        "list",
        "show",
        "history",
        "timeline",
        "stop",
        "pause",
        "resume",
        "delete",
        "callback",
        "run",
    ]:
        assert f" {command} " in said.stdout


@pytest.mark.parametrize(
    "command", sorted({command[:-1] for command in COMMANDS if command[-1] != "--event"}), ids=" ".join
)
def test_every_command_has_the_same_options_about_the_service(command):
    said = run(*command, "--help")
    assert said.exit_code == 0
    for option in ("--endpoint", "--region", "--profile", "--json"):
        assert option in said.stdout


def test_an_unknown_option_exits_2():
    assert run("show", ARN, "--nonsense").exit_code == 2
    assert run("callback").exit_code == 2
