"""`--follow` and `--wait`: looking until the end, and what ends the looking."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError, ReadTimeoutError

from perdure.cli import follow
from perdure.local import client_error

TERMINAL = {"FORCE_COLOR": "1", "COLUMNS": "100", "LINES": "16"}


@pytest.fixture
def meanwhile(monkeypatch):
    """Let something happen in each pause between two looks, in place of the pause."""
    pauses: list[float] = []

    def plan(*steps: Any) -> list[float]:
        left = list(steps)

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            left.pop(0)()

        monkeypatch.setattr(follow, "sleep", pause)
        return pauses

    return plan


def nothing() -> None:
    """Let time pass."""


@pytest.mark.parametrize("command", ["show", "timeline"])
def test_following_ends_with_the_execution(cli, service, asking, meanwhile, command):
    handle = service.execution(asking)

    def answer() -> None:
        service.client.send_durable_execution_callback_success(CallbackId=handle.callback_id(), Result=b"1")

    pauses = meanwhile(nothing, answer, handle.drive)
    said = cli(command, asking, "--follow", "--interval", "2")
    assert (said.code, pauses) == (0, [2, 2, 2])
    assert "SUCCEEDED" in said.out


@pytest.mark.parametrize("command", ["show", "timeline"])
def test_following_a_failure_exits_1(cli, service, asking, meanwhile, command):
    meanwhile(lambda: service.client.stop_durable_execution(DurableExecutionArn=asking))
    said = cli(command, asking, "--follow", "--json")
    assert said.code == 1
    assert said.json["status"] == "STOPPED"


@pytest.mark.parametrize("command", ["show", "timeline"])
def test_following_on_a_terminal_redraws(cli, service, asking, meanwhile, command):
    handle = service.execution(asking)
    meanwhile(nothing, lambda: service.client.stop_durable_execution(DurableExecutionArn=asking))
    said = cli(command, "ask/a-1", "-f", env=TERMINAL)
    assert said.code == 1
    assert "\x1b[" in said.out
    assert said.out.count("approval") > 2
    assert handle.terminal


def test_following_reads_only_what_is_new(cli, service, asking, meanwhile):
    read: list[int] = []
    pages: list[dict[str, Any]] = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(service.client, name)

        def get_durable_execution_history(self, **asked: Any) -> Any:
            pages.append(asked)
            page = service.client.get_durable_execution_history(**asked)
            read.append(len(page["Events"]))
            return page

    handle = service.execution(asking)

    def end() -> None:
        service.client.send_durable_execution_callback_success(CallbackId=handle.callback_id(), Result=b"1")
        handle.drive()

    meanwhile(nothing, end)
    said = cli("show", asking, "--follow", "--json", client=Counting())
    assert [bool(page.get("ReverseOrder")) for page in pages] == [False, True, True]
    assert said.json == cli("show", asking, "--json").json


def test_following_gives_up_after_the_time_given(cli, asking):
    said = cli("show", asking, "--follow", "--timeout", "0")
    assert said.code == 3
    assert "it runs on" in said.err
    assert cli("timeline", asking, "--follow", "--timeout", "0", "--json").json["error"]["type"] == "Timeout"


def test_ctrl_c_ends_the_looking_and_not_the_execution(cli, service, asking, meanwhile):
    def interrupt() -> None:
        raise KeyboardInterrupt

    meanwhile(interrupt)
    said = cli("show", asking, "--follow", env=TERMINAL)
    assert said.code == 130
    assert "Traceback" not in said.err + said.out
    assert service.execution(asking).status == "RUNNING"
    assert f"The execution runs on; `perdure show '{asking}' --follow` gets back to it." in said.err
    assert said.out.rindex("approval") > said.out.rindex("\x1b[2K")  # the last frame is not erased


@pytest.mark.parametrize("command", ["show", "timeline"])
def test_ctrl_c_is_told_in_json(cli, asking, meanwhile, command):
    def interrupt() -> None:
        raise KeyboardInterrupt

    meanwhile(interrupt)
    said = cli(command, asking, "--follow", "--json")
    assert (said.code, said.json["arn"]) == (130, asking)
    assert (said.json["error"]["type"], said.json["error"]["exitCode"]) == ("Interrupted", 130)
    assert f"show '{asking}' --follow" in said.json["error"]["hint"]


LOOKING = (
    ("show", "ask/a-1", "--follow"),
    ("timeline", "ask/a-1", "--follow"),
    ("invoke", "ask", "--name", "a-1", "--payload", "{}", "--wait"),
)


def gone(service: Any, problem: Exception) -> Any:
    """Let every request fail from now on."""

    def fail(_name: str, _arguments: dict[str, Any], when: str) -> None:
        if when == "before":
            raise problem

    return lambda: setattr(service, "on_api_call", fail)


@pytest.mark.parametrize("command", LOOKING, ids=" ".join)
@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (EndpointConnectionError(endpoint_url="http://x"), "NotReachable"),
        (ConnectionClosedError(endpoint_url="http://x"), "NotReachable"),
        (ReadTimeoutError(endpoint_url="http://x"), "ReadTimeout"),
        (client_error("ServiceException", "out of order", "GetDurableExecution"), "ServiceException"),
    ],
    ids=lambda given: type(given).__name__ if isinstance(given, Exception) else given,
)
def test_a_service_that_goes_away_leaves_the_arn(cli, service, asking, meanwhile, command, problem, kind):
    meanwhile(gone(service, problem))
    said = cli(*command, "--json")
    assert (said.code, said.json["arn"]) == (4, asking)
    assert (said.json["error"]["type"], said.json["error"]["exitCode"]) == (kind, 4)
    assert f"`perdure show '{asking}' --follow` gets back to it." in said.json["error"]["hint"]


def test_a_service_that_goes_away_is_told_with_the_way_back(cli, service, asking, meanwhile):
    meanwhile(gone(service, EndpointConnectionError(endpoint_url="http://x")))
    said = cli("show", asking, "--follow")
    assert said.code == 4
    assert "Is `perdure serve` running there?" in said.err
    assert f"The execution does not end for that; `perdure show '{asking}' --follow` gets back to it." in said.err


def test_an_execution_that_is_gone_does_not_run_on(cli, service, asking, meanwhile):
    meanwhile(gone(service, client_error("ResourceNotFoundException", "none such", "GetDurableExecution")))
    said = cli("show", asking, "--follow", "--json")
    assert (said.code, set(said.json)) == (3, {"error"})


class Interrupted:
    """A client of somebody who presses Ctrl-C at once."""

    def __getattr__(self, _name: str) -> Any:
        def call(**_arguments: Any) -> None:
            raise KeyboardInterrupt

        return call


def test_ctrl_c_in_a_synchronous_invoke_tells_where_to_look(cli):
    said = cli("invoke", "order", client=Interrupted())
    assert said.code == 130
    assert "`perdure list order` shows it" in said.err
    said = cli("invoke", "order", "--name", "o-1", "--json", client=Interrupted())
    assert (said.code, said.json["error"]["type"]) == (130, "Interrupted")
    assert "`perdure show order/o-1 --follow`" in said.json["error"]["hint"]
    assert cli("list", "order", "--json", client=Interrupted()).json["error"]["exitCode"] == 130


def test_the_way_back_leads_to_the_same_service(cli, asking):
    options = ("--endpoint", "http://127.0.0.1:9", "--region", "eu-west-1")
    said = cli("show", asking, "--follow", "--timeout", "0", *options, "--json")
    assert (said.code, said.json["arn"]) == (3, asking)
    assert f"`perdure show '{asking}' --follow {' '.join(options)}`" in said.json["error"]["hint"]


@pytest.mark.parametrize("command", ["show", "timeline"])
@pytest.mark.parametrize("option", ["--timeout", "--interval"])
def test_what_is_about_following_is_refused_without(cli, asking, command, option):
    said = cli(command, asking, option, "2")
    assert said.code == 2
    assert f"{option} goes with --follow only." in said.err


@pytest.mark.parametrize("given", ["inf", "nan", "1e300"])
def test_an_interval_is_one(cli, asking, given):
    assert cli("show", asking, "--follow", "--interval", given).code == 2


def test_nothing_is_written_into_a_frame(cli, service, asking, meanwhile):
    meanwhile(nothing, nothing, lambda: service.client.stop_durable_execution(DurableExecutionArn=asking))
    said = cli("show", asking, "--follow", env=TERMINAL)
    assert said.code == 1
    shown = [part for part in said.err.split("\r") if "Reading the history" in part]
    assert len(shown) == 1  # of the first look


def test_following_is_patient_with_a_service_that_throttles(cli, service, asking, meanwhile):
    refusals = [True, True]

    def throttle(name: str, _arguments: dict[str, Any], when: str) -> None:
        if name == "get_durable_execution" and when == "before" and meanwhile_count and refusals:
            refusals.pop()
            raise client_error("TooManyRequestsException", "Rate exceeded", "GetDurableExecution")

    meanwhile_count: list[int] = []
    service.on_api_call = throttle
    stop = service.client.stop_durable_execution
    pauses = meanwhile(lambda: meanwhile_count.append(1), nothing, nothing, lambda: stop(DurableExecutionArn=asking))
    assert cli("show", asking, "--follow", "--interval", "1").code == 1
    assert pauses == [1, 2, 4, 1]


def test_following_does_not_outlast_endless_throttling(cli, service, asking, meanwhile):
    seen: list[str] = []

    def throttle(name: str, _arguments: dict[str, Any], when: str) -> None:
        if when == "before":
            seen.append(name)
            if len(seen) > 2:
                raise client_error("TooManyRequestsException", "Rate exceeded", "GetDurableExecution")

    service.on_api_call = throttle
    meanwhile(*[nothing] * 6)
    said = cli("show", asking, "--follow")
    assert said.code == 4
    assert "throttles" in said.err
    assert "longer --interval" in said.err
