"""Whole executions as Lambda runs them: AWS's runtime client in a process of its own, and the service over HTTP."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from perdure.local import LocalService, VirtualClock
from perdure.local.server.runtime import RemoteFunction
from support.lambda_app import ODD
from support.sandbox import Sandbox
from support.web import served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from perdure.local import ExecutionHandle

if sys.platform == "linux" and sys.version_info < (3, 15):
    import awslambdaric  # noqa: F401  there are wheels of it: it must not be missing
else:
    pytest.importorskip("awslambdaric", reason="AWS has wheels of its runtime client for Linux and CPython 3.9 to 3.14")

SIX_MIB = 6 * 1024 * 1024
WRITTEN = {
    **ODD,
    "lone surrogate": r"caf\udce9.txt",
    "pair": "\U0001f600",
    "halves the wrong way round": r"\ude00\ud83d",
}
TEXTS = sorted(ODD.keys() - {"long"})


class Lambda(NamedTuple):
    sandbox: Sandbox
    service: LocalService

    def run(self, case: str, **event: Any) -> ExecutionHandle:
        handle = self.service.run("function", event={"case": case, **event})
        with self.service.wake:  # a result that goes by a checkpoint ends the execution before its invocation
            assert self.service.wake.wait_for(lambda: handle.invocations[-1].outcome != "RUNNING", 60)
        assert handle.terminal
        return handle


@pytest.fixture(scope="module", params=[("python3.11", "boto3"), ("python3.13", "native")], ids=lambda given: given[0])
def function(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lambda]:
    """A function of either of the runtimes that differ: from 3.12 on, responses are written without ASCII escapes."""
    runtime, client = request.param
    with (
        served(LocalService(clock=VirtualClock())) as (service, server, _),
        Sandbox(runtime, server.url, client, tmp_path_factory.mktemp("logs")) as sandbox,
    ):
        service.register("function", RemoteFunction(sandbox.url))
        yield Lambda(sandbox, service)


@pytest.fixture(autouse=True)
def _shown(function: Lambda, request: pytest.FixtureRequest) -> Iterator[None]:
    """Show what the process has printed when a test fails, and let none of its failures go unnoticed."""
    function.sandbox.failures.clear()
    yield
    request.node.add_report_section("call", "the function's log", function.sandbox.log()[-20_000:])
    assert function.sandbox.failures == [] or "fails_at_first" in request.keywords


def outcomes(handle: ExecutionHandle) -> list[str]:
    return [invocation.outcome for invocation in handle.invocations]


def test_logs_are_json_a_line_a_record(function: Lambda) -> None:
    handle = function.run("logs", value=7)
    lines = [json.loads(line) for line in function.sandbox.log().splitlines() if line.startswith("{")]
    first, second = [line for line in lines if line.get("executionArn") == handle.arn]
    assert first | {"timestamp": ""} == {
        "timestamp": "",
        "level": "INFO",
        "message": "in a step",
        "logger": "root",
        "requestId": first["requestId"],
        "executionArn": handle.arn,
        "operationId": handle.operations[0]["Id"],
        "operationName": "logging",
        "attempt": 1,
        "customer": {"id": 7},
    }
    assert first["requestId"].startswith("request-")
    assert (second["level"], second["message"], second["errorType"]) == ("ERROR", "it failed", "ValueError")
    assert any("lambda_app.py" in line for line in second["stackTrace"])


def test_what_is_returned_arrives_and_the_process_stays_warm(function: Lambda) -> None:
    assert function.run("succeeds", value={"é": [1, "\U0001f600", None]}).value == {"é": [1, "\U0001f600", None]}
    before = list(function.sandbox.pids)
    assert function.run("succeeds", value=2).value == 2
    assert function.sandbox.pids == before


def test_no_thread_outlives_an_invocation(function: Lambda) -> None:
    for _ in range(3):
        assert len(function.run("counts_threads").value) == 1


def test_a_suspension_is_pending_and_goes_on_later(function: Lambda) -> None:
    handle = function.run("waits")
    assert handle.value == ["before", "after"]
    assert [json.loads(response)["Status"] for response in function.sandbox.responses[-2:]] == ["PENDING", "SUCCEEDED"]


@pytest.mark.parametrize("kind", ["plain", "execution"])
@pytest.mark.parametrize("text", TEXTS)
def test_a_failure_arrives_whatever_its_text_is(function: Lambda, text: str, kind: str) -> None:
    handle = function.run("fails", text=text, kind=kind)
    assert (handle.status, len(handle.invocations)) == ("FAILED", 1)
    assert handle.error is not None
    assert handle.error["ErrorMessage"] == WRITTEN[text]


def test_a_long_odd_failure_is_cut_and_arrives(function: Lambda) -> None:
    handle = function.run("fails", text="long", kind="plain")
    assert (handle.status, len(handle.invocations)) == ("FAILED", 1)
    assert handle.error is not None
    assert handle.error["ErrorMessage"].startswith(r"caf\udce9.txtcaf\udce9.txt")
    assert "cut by perdure" in handle.error["ErrorMessage"]


def test_every_part_of_a_failure_arrives(function: Lambda) -> None:
    handle = function.run("fails_with_everything_odd")
    name = WRITTEN["lone surrogate"]
    assert handle.error == {
        "ErrorMessage": name,
        "ErrorType": f"{name}.Odd",
        "ErrorData": name,
        "StackTrace": [name, "line 2"],
    }


@pytest.mark.parametrize("text", TEXTS)
def test_what_was_recorded_of_failures_reads_the_same_after_a_suspension(function: Lambda, text: str) -> None:
    handle = function.run("recovers", text=text)
    assert handle.value == [WRITTEN[text]] * 3
    assert len(handle.invocations) == 2


@pytest.mark.parametrize(
    ("character", "count", "by_checkpoint"),
    [
        ("x", SIX_MIB - 52, False),
        ("x", SIX_MIB - 51, True),
        ("x", SIX_MIB - 2, True),
        ('"', SIX_MIB // 4 - 20, False),  # as JSON two characters, in the response four
        ('"', SIX_MIB // 4, True),
        ("\\", SIX_MIB // 2 - 10, True),
        ("é", SIX_MIB // 7 - 10, False),  # "\u00e9", whose backslash is escaped again
        ("é", SIX_MIB // 7 + 10, True),
    ],
)
def test_results_of_six_megabytes_arrive(function: Lambda, character: str, count: int, by_checkpoint: bool) -> None:
    handle = function.run("returns", character=character, count=count)
    assert handle.status == "SUCCEEDED", handle.error
    assert handle.value == character * count
    response = json.loads(function.sandbox.responses[-1])
    assert (response["Result"] == "") is by_checkpoint


def test_a_result_that_is_too_large_for_everything_fails(function: Lambda) -> None:
    handle = function.run("returns", character="x", count=SIX_MIB - 1)
    assert handle.status == "FAILED"
    assert handle.error is not None
    assert "S3" in handle.error["ErrorMessage"]


@pytest.mark.fails_at_first
@pytest.mark.parametrize("text", TEXTS)
def test_an_exception_out_of_the_handler_repeats_the_invocation_in_the_same_process(
    function: Lambda, tmp_path: Path, text: str
) -> None:
    handle = function.run("raises_once", marker=str(tmp_path / "marker"), text=text)
    assert handle.value is True
    (failure,) = function.sandbox.failures
    assert failure["errorType"] == "InvocationError"
    assert failure["errorMessage"].endswith(WRITTEN[text])


@pytest.mark.fails_at_first
@pytest.mark.parametrize(
    ("case", "kind"), [("exits_once", "Runtime.ExitError"), ("hangs_once", "Sandbox.Timedout")], ids=["exit", "timeout"]
)
def test_a_process_that_ends_in_the_middle_loses_nothing(
    function: Lambda, tmp_path: Path, case: str, kind: str
) -> None:
    handle = function.run(case, marker=str(tmp_path / "marker"))
    assert handle.value is True
    assert [failure["errorType"] for failure in function.sandbox.failures] == [kind]
    assert len(set(function.sandbox.pids)) == len(function.sandbox.pids)
