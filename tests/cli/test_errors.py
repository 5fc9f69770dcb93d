"""What the commands say, and exit with, when something is wrong."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import (
    ConnectionClosedError,
    EndpointConnectionError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ReadTimeoutError,
)
from typer.testing import CliRunner

from perdure.cli.arguments import read_moment, resolve
from perdure.cli.codes import CommandError
from perdure.cli.commands import app
from perdure.cli.connection import Connection
from perdure.local import client_error
from perdure.local.server.endpoints import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator

ARN = "arn:aws:lambda:us-east-1:123456789012:function:f:1/durable-execution/n/i"
_PATTERN = "(arn:(aws[a-zA-Z-]*)?:lambda:)?[a-zA-Z0-9-_]+"
OURS = f"'a@b' at {{}} must match {_PATTERN}."
THEIRS = (
    "1 validation error detected: Value 'a@b' at '{}' failed to satisfy constraint: "
    f"Member must satisfy regular expression pattern: {_PATTERN}"
)
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
    ("callback", "succeed", "YWJj", "--no-result"),
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
        ("ResourceNotFoundException", 3, "Not found: "),
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
        (ReadTimeoutError(endpoint_url="http://x"), 4, "ReadTimeout", "--endpoint"),
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


@pytest.mark.parametrize(
    "reference", ["x", "/x", "x/", "", "a/b/c", "arn:aws:lambda:us-east-1:123456789012:function:f"]
)
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


# -- the command line --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("list", "--json"), "FUNCTION"),
        (("show", "--json", "foo", "--interval", "abc"), "--interval"),
        (("history", "foo", "--nonsense", "--json"), "--nonsense"),
        (("invoke", "f", "--json", "--timeout", "-1"), "--timeout"),
        (("callback", "--json"), "--json"),
        (("callback", "answer", "--json"), "answer"),
        (("callback", "heartbeat", "--json"), "CALLBACK_ID"),
    ],
)
def test_a_wrong_command_line_is_told_in_json(cli, arguments, words):
    said = cli(*arguments)
    assert (said.code, said.err) == (2, "")
    assert set(said.json["error"]) == {"type", "message", "hint", "exitCode"}
    assert (said.json["error"]["type"], said.json["error"]["exitCode"]) == ("Usage", 2)
    assert words in said.json["error"]["message"]
    assert "--help" in said.json["error"]["hint"]
    assert cli(*(argument for argument in arguments if argument != "--json")).code == 2


@pytest.mark.parametrize(
    "files", [("--svg", "-", "--json"), ("--html", "-", "--json"), ("--svg", "-", "--html", "-"), ("--json", "--svg=-")]
)
def test_only_one_document_is_printed(cli, arn, files):
    said = cli("timeline", arn, *files)
    assert said.code == 2
    assert "cannot both be printed" in (said.json["error"]["message"] if "--json" in files else said.err)


def test_a_result_that_python_alone_calls_json_stays_text(cli, service):
    service.register("wrong", lambda _event, _context: None, durable=False)

    class Client:
        def invoke(self, **_asked: Any) -> Any:
            return {"Payload": BytesIO(b"NaN")}

    assert cli("invoke", "wrong", "--json", client=Client()).json["result"] == "NaN"


# -- what the service refuses ------------------------------------------------------------------------------------------


def test_what_is_not_found_is_said_once_and_where_to_look(cli, arn):
    said = cli("list", "nobody")
    assert said.err.startswith("Function not found: nobody")
    assert "perdure serve" in cli("invoke", "nobody", "--json").json["error"]["hint"]
    assert "perdure list" in cli("show", ARN.replace("/n/i", "/n/0"), "--json").json["error"]["hint"]
    assert "perdure show" in cli("callback", "heartbeat", "YWJj", "--json").json["error"]["hint"]


@pytest.mark.parametrize("message", [OURS, THEIRS])
@pytest.mark.parametrize(
    ("member", "words", "hint"),
    [
        ("FunctionName", "'a@b' is not a function.", "NAME:VERSION"),
        ("functionName", "'a@b' is not a function.", "NAME:VERSION"),
        ("DurableExecutionArn", "'a@b' is not the ARN of a durable execution.", "FUNCTION/NAME"),
        ("DurableExecutionName", "'a@b' is not the name of an execution.", "letters, digits"),
        ("Qualifier", "'a@b' is not a version or an alias.", "$LATEST"),
        ("Marker", "'a@b' is not Marker.", ""),
    ],
)
def test_a_pattern_is_not_for_people(cli, message, member, words, hint):
    problem = client_error("InvalidParameterValueException", message.format(member), "Any")
    said = cli("list", "f", client=Raising(problem))
    assert said.code == 4
    assert said.err.splitlines()[0] == f"The service refused the request (InvalidParameterValueException): {words}"
    assert hint in said.err
    assert "[a-zA-Z" not in said.err


def test_a_url_is_told_without_its_path(cli):
    long = f"http://127.0.0.1:9000/2025-12-01/durable-executions/{'arn%3Aaws' * 20}?IncludeExecutionData=true"
    said = cli("show", ARN, client=Raising(EndpointConnectionError(endpoint_url=long)))
    assert '"http://127.0.0.1:9000"' in said.err
    assert "arn%3A" not in said.err


def test_an_invoke_without_an_answer_is_told_of_event(cli):
    problem = ReadTimeoutError(endpoint_url="http://x")
    assert "--event" in cli("invoke", "f", client=Raising(problem)).err
    assert "--event" not in cli("invoke", "f", "--event", client=Raising(problem)).err


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        (
            client_error("ServiceException", "The local service was stopped before the function ended.", "Invoke"),
            "The execution goes on with the next start of the server",
        ),
        (client_error("ServiceException", "out of order", "Invoke"), "If "),
        (ConnectionClosedError(endpoint_url="http://x"), "If "),
        (ReadTimeoutError(endpoint_url="http://x"), "If "),
        (EndpointConnectionError(endpoint_url="http://x"), None),
        (client_error("TooManyRequestsException", "Rate exceeded", "Invoke"), None),
    ],
)
@pytest.mark.parametrize("name", [None, "f3"])
def test_an_invoke_that_was_not_answered_tells_how_to_get_back(cli, problem, told, name):
    where = () if name is None else ("--name", name)
    said = cli("invoke", "order", *where, "--endpoint", "http://127.0.0.1:9", "--json", client=Raising(problem))
    assert (said.code, set(said.json)) == (4, {"error"})
    hint = said.json["error"]["hint"]
    if told is None:
        assert "order" not in hint
        return
    assert told in hint
    to = "--endpoint http://127.0.0.1:9`"
    if name is None:
        assert f"`perdure list order {to}" in hint
    elif told == "If ":
        assert f"`perdure show order/f3 --follow {to}" in hint
    else:
        assert f"`perdure invoke order --name f3 {to} with the same payload" in hint


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
    assert "--endpoint http://127.0.0.1:9000" in said.stderr


def test_a_region_that_is_none_is_told_in_one_sentence(nobody):
    said = run("show", ARN, "--region", "us east")
    assert said.exit_code == 2
    assert said.stderr == "'us east' is no region.\nA region is like eu-central-1.\n"


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


@pytest.mark.parametrize("region", [(), ("--region", "eu-west-1")])
@pytest.mark.parametrize("endpoint", ["http://", "no scheme", "http://[::1", "foo", "foo:bar", "ftp://x", "http://x:y"])
def test_an_endpoint_that_is_none_exits_2(nobody, endpoint, region):
    said = run("show", ARN, "--endpoint", endpoint, *region)
    assert said.exit_code == 2
    assert said.stderr.startswith(f"--endpoint: {endpoint!r} is not the URL of a service.")
    assert "http://127.0.0.1:9000" in said.stderr


def test_an_endpoint_of_the_environment_that_is_none_exits_2(nobody):
    nobody.setenv("AWS_ENDPOINT_URL_LAMBDA", "no scheme")
    said = run("show", ARN, "--region", "eu-west-1")
    assert said.exit_code == 2
    assert "http://127.0.0.1:9000" in said.stderr


def test_only_who_waits_for_an_invocation_is_patient(nobody):
    quick = Connection("http://127.0.0.1:9000").open().meta.config
    assert (quick.connect_timeout, quick.read_timeout) == (5, 15)
    assert Connection("http://127.0.0.1:9000").open(patient=True).meta.config.read_timeout > 900


@contextmanager
def web_server(status: int, kind: str, body: bytes) -> Iterator[str]:
    """Answer the same to everything."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - as http.server calls it

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (404, "text/html;charset=utf-8", b"<html><h1>Error response</h1></html>"),
        (200, "text/html", b"<html>hello</html>"),
        (404, "text/plain", b"404 page not found"),
        (405, "application/json", b'{"detail": "Method Not Allowed"}'),
    ],
)
def test_a_web_server_is_no_lambda(nobody, status, kind, body):
    with web_server(status, kind, body) as url:
        for command in (("list", "f"), ("show", ARN), ("stop", ARN)):
            said = run(*command, "--endpoint", url)
            assert said.exit_code == 4, said.stdout
            assert "no Lambda endpoint" in said.stderr
            assert "--endpoint" in said.stderr
            assert "<html>" not in said.stderr
            assert "page not found" not in said.stderr
        assert json.loads(run("list", "f", "--endpoint", url, "--json").stdout)["error"]["type"] == "NotLambda"


def test_a_page_is_no_result(nobody):
    with web_server(200, "text/html", b"<html>hello</html>") as url:
        for command in (("invoke", "f"), ("invoke", "f", "--event")):
            said = run(*command, "--endpoint", url)
            assert (said.exit_code, said.stdout) == (4, "")


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
    look, act = (said.stdout.index(f"{word} executions, on AWS or a local service") for word in ("Look at", "Act on"))
    assert look < said.stdout.index("│ show ") < act < said.stdout.index("│ stop ")


@pytest.mark.parametrize(
    "command", sorted({command[: 2 if command[0] == "callback" else 1] for command in COMMANDS}), ids=" ".join
)
def test_every_command_has_the_same_options_about_the_service(command):
    said = run(*command, "--help")
    assert said.exit_code == 0
    for option in ("--endpoint", "--region", "--profile", "--json"):
        assert option in said.stdout


def test_an_unknown_option_exits_2():
    assert run("show", ARN, "--nonsense").exit_code == 2
    assert run("callback").exit_code == 2
