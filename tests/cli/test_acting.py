"""`perdure invoke`, `stop`, `pause`, `resume`, `delete` and `callback` against a local service."""

from __future__ import annotations

import pytest

from perdure import DurableContext, durable_execution
from perdure.cli import follow
from perdure.cli.command_context import CommandContext
from perdure.cli.connection import Connection
from perdure.local import client_error

# -- invoke ------------------------------------------------------------------------------------------------------------


def test_invoke_prints_the_result_and_tells_the_arn_beside_it(cli, service):
    said = cli("invoke", "order", "--payload", '{"id": 7}', "--name", "o-1")
    assert said.code == 0
    assert said.json == {"event": {"id": 7}}
    assert "/durable-execution/o-1/" in said.err


def test_invoke_reads_the_payload_from_a_file_or_standard_input(cli, tmp_path):
    file = tmp_path / "event.json"
    file.write_text('{"from": "file"}')
    assert cli("invoke", "order", "--payload", str(file)).json["event"] == {"from": "file"}
    assert cli("invoke", "order", "--payload", "-", given='{"from": "pipe"}').json["event"] == {"from": "pipe"}


def test_invoke_without_a_payload_sends_an_empty_event(cli):
    assert cli("invoke", "order").json["event"] == {}


def test_invoke_as_json_has_stable_members(cli):
    document = cli("invoke", "order", "--json").json
    assert set(document) == {"function", "arn", "executedVersion", "status", "result", "error"}
    assert (document["status"], document["error"]) == ("SUCCEEDED", None)


def test_invoke_of_a_failing_function_exits_1(cli):
    said = cli("invoke", "bad")
    assert (said.code, said.out) == (1, "")
    assert "ValueError: no <script>" in said.err
    document = cli("invoke", "bad", "--json")
    assert document.code == 1
    assert document.json["status"] == "FAILED"
    assert document.json["error"]["ErrorType"] == "ValueError"


def test_invoke_tells_the_error_in_full(cli, service, monkeypatch):
    message = "much to say, " * 40 + "the end"

    @durable_execution
    def wordy(_event: object, _context: DurableContext) -> None:
        raise ValueError(message)

    service.register("wordy", wordy)
    monkeypatch.setattr(follow, "sleep", lambda _: [handle.drive() for handle in list(service.handles.values())])
    for options in ((), ("--wait",)):
        assert cli("invoke", "wordy", *options).err.endswith(f"\nValueError: {message}\n")


def test_invoke_that_is_answered_before_the_end_exits_3(cli):
    said = cli("invoke", "stuck", "--json")
    assert said.code == 3
    assert said.json["status"] == "RUNNING"


def test_invoke_as_an_event_starts_and_does_not_wait(cli, service):
    said = cli("invoke", "order", "--event")
    assert said.code == 0
    assert service.execution(said.out.strip()).status == "RUNNING"
    assert cli("invoke", "order", "--event", "--json").json["status"] == "STARTED"


def test_invoke_can_look_until_the_end(cli, service, monkeypatch):
    pauses: list[float] = []

    def drive(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            for handle in list(service.handles.values()):
                handle.drive()

    monkeypatch.setattr(follow, "sleep", drive)
    said = cli("invoke", "order", "--wait", "--interval", "3", "--json")
    assert (said.code, pauses) == (0, [3, 3])
    assert said.json["result"] == {"event": {}}
    pauses.clear()
    said = cli("invoke", "bad", "--wait")
    assert (said.code, len(pauses)) == (1, 2)
    assert "ValueError" in said.err


def test_invoke_of_a_plain_function_has_no_arn(cli):
    assert cli("invoke", "double", "--payload", "21").out == "42\n"
    assert cli("invoke", "double", "--payload", "21", "--event").code == 0
    said = cli("invoke", "double", "--payload", "21", "--wait")
    assert said.code == 2
    assert "double was invoked, but it is no durable function" in said.err
    assert "Leave --wait away" in said.err
    error = cli("invoke", "double", "--payload", "21", "--wait", "--json").json["error"]
    assert (error["type"], error["exitCode"]) == ("NotDurable", 2)
    assert "double was invoked" in error["message"]


def test_invoke_tells_the_status_that_the_execution_has(cli, service, clock):
    service.register("late", service.functions["stuck"].handler, execution_timeout=60)
    said = cli("invoke", "late", "--json")
    assert (said.code, said.json["status"]) == (1, "TIMED_OUT")
    assert "TIMED_OUT" in cli("invoke", "late").err

    def deny(name: str, _arguments: object, when: str) -> None:
        if (name, when) == ("get_durable_execution", "before"):
            raise client_error("AccessDeniedException", "no", "GetDurableExecution")

    service.on_api_call = deny
    said = cli("invoke", "late", "--json")
    assert (said.code, said.json["status"]) == (1, "FAILED")


def test_waiting_tells_the_arn_before_the_end(cli, service, monkeypatch):
    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(follow, "sleep", interrupt)
    said = cli("invoke", "order", "--name", "o-1", "--wait")
    arn = next(iter(service.handles))
    assert (said.code, said.out) == (130, "")
    assert said.err.splitlines() == [
        arn,
        "Interrupted.",
        f"The execution runs on; `perdure show '{arn}' --follow` gets back to it.",
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--timeout", "2"), "--wait"),
        (("--interval", "2"), "--wait"),
        (("--event", "--timeout", "2"), "--wait"),
        (("--event", "--wait"), "exclude"),
    ],
)
def test_invoke_refuses_what_it_would_not_heed(cli, service, options, words):
    said = cli("invoke", "order", *options)
    assert said.code == 2
    assert words in said.err
    assert cli("invoke", "order", *options, "--json").json["error"]["type"] == "Usage"
    assert not service.handles


@pytest.mark.parametrize("payload", ["{oops", "NaN", "[1e999]", "[" * 100_000])
def test_invoke_refuses_a_payload_that_is_no_json(cli, service, payload):
    said = cli("invoke", "order", "--payload", payload)
    assert said.code == 2
    assert "--payload" in said.err
    assert not service.handles


def test_a_name_taken_by_another_payload_is_refused(cli):
    cli("invoke", "order", "--payload", "1", "--name", "same")
    said = cli("invoke", "order", "--payload", "2", "--name", "same")
    assert said.code == 4
    assert "DurableExecutionAlreadyStartedException" in said.err
    assert "another --name" in said.err


# -- stop, pause, resume, delete ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), None),
        (("--error", "out of stock"), {"ErrorMessage": "out of stock"}),
        (
            ("--error", '{"ErrorType": "Recall", "ErrorMessage": "faulty"}'),
            {"ErrorType": "Recall", "ErrorMessage": "faulty"},
        ),
    ],
)
def test_stop_ends_an_execution_with_the_error_given(cli, service, asking, given, expected):
    said = cli("stop", "ask/a-1", *given, "--json")
    assert said.code == 0
    assert set(said.json) == {"arn", "status", "alreadyEnded", "stoppedAt"}
    assert (said.json["status"], said.json["alreadyEnded"]) == ("STOPPED", False)
    handle = service.execution(asking)
    assert handle.status == "STOPPED"
    if expected is not None:
        assert handle.error == expected


def test_to_stop_what_has_ended_tells_so(cli, service, arn):
    said = cli("stop", arn)
    assert (said.code, said.err) == (0, f"It had already ended (SUCCEEDED): {arn}\n")
    document = cli("stop", arn, "--json").json
    assert (document["status"], document["alreadyEnded"]) == ("SUCCEEDED", True)
    assert document["stoppedAt"] == cli("show", arn, "--json").json["endedAt"]


def test_who_may_only_stop_can_stop(cli, service, asking):
    def deny(name: str, _arguments: object, when: str) -> None:
        if (name, when) == ("get_durable_execution", "before"):
            raise client_error("AccessDeniedException", "no", "GetDurableExecution")

    service.on_api_call = deny
    said = cli("stop", asking, "--json")
    assert (said.code, said.json["status"], said.json["alreadyEnded"]) == (0, "STOPPED", None)
    assert service.execution(asking).status == "STOPPED"


@pytest.mark.parametrize("given", ["{oops", '{"Message": "x"}', "[1]{"])
def test_stop_refuses_an_error_that_is_none(cli, service, asking, given):
    said = cli("stop", asking, "--error", given)
    if given.startswith("{"):
        assert said.code == 2
        assert service.execution(asking).status == "RUNNING"
    else:
        assert service.execution(asking).error == {"ErrorMessage": given}


def test_pause_and_resume_take_a_reason(cli, service, asking):
    said = cli("pause", asking, "--reason", "audit", "--timeout-runs-on", "--json")
    assert (said.code, said.json) == (0, {"arn": asking})
    described = service.client.get_durable_execution(DurableExecutionArn=asking)
    assert described["Status"] == "PAUSED"
    assert described["PauseDetails"]["Reason"] == "audit"
    assert described["PauseDetails"]["ExecutionTimeoutPaused"] is False
    said = cli("resume", asking, "--reason", "fine")
    assert said.code == 0
    assert asking in said.err
    assert service.execution(asking).status == "RUNNING"


def test_delete_forgets_an_execution_that_has_ended(cli, arn):
    said = cli("delete", "order/o-1", "--json")
    assert said.code == 0
    assert set(said.json) == {"arn", "deletionRequestedAt"}
    assert cli("show", arn).code == 3


def test_delete_of_a_running_execution_is_refused(cli, asking):
    said = cli("delete", asking)
    assert said.code == 4
    assert "ResourceConflictException" in said.err


def test_delete_asks_somebody_at_a_terminal(cli, service, arn, monkeypatch):
    monkeypatch.setattr(CommandContext, "interactive", property(lambda _desk: True))
    assert cli("delete", arn, given="n\n").code == 1
    assert cli("delete", arn, given="").code == 130
    assert cli("show", arn).code == 0
    assert cli("delete", arn, given="y\n").code == 0
    assert cli("show", arn).code == 3


def test_delete_as_json_at_a_terminal_wants_yes(cli, arn, monkeypatch):
    monkeypatch.setattr(CommandContext, "interactive", property(lambda _desk: True))
    said = cli("delete", arn, "--json")
    assert (said.code, said.json["error"]["type"]) == (2, "Usage")
    assert "--yes" in said.json["error"]["hint"]
    assert cli("show", arn).code == 0
    assert cli("delete", arn, "--json", "--yes").code == 0
    assert cli("show", arn).code == 3


def test_a_terminal_is_one_with_json_too(monkeypatch):
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda _self: True})())
    assert CommandContext(Connection(), as_json=True).interactive


# -- callback ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def callback_id(service, asking):
    return service.execution(asking).callback_id()


def test_a_callback_succeeds_with_json(cli, service, asking, callback_id):
    said = cli("callback", "succeed", callback_id, "--result", '"yes"', "--json")
    assert (said.code, said.json) == (0, {"callbackId": callback_id, "status": "SUCCEEDED"})
    assert service.execution(asking).drive().value == '"yes"'


def test_a_callback_succeeds_with_a_file(cli, service, asking, callback_id, tmp_path):
    file = tmp_path / "answer.json"
    file.write_text('{"ok": true}')
    assert cli("callback", "succeed", callback_id, "--result", str(file)).code == 0
    assert service.execution(asking).drive().value == '{"ok": true}'


def test_a_callback_takes_other_text_only_when_told_so(cli, service, asking, callback_id):
    said = cli("callback", "succeed", callback_id, "--result", "yes")
    assert said.code == 2
    assert "--text" in said.err
    assert cli("callback", "succeed", callback_id, "--result", "yes", "--text").code == 0
    assert service.execution(asking).drive().value == "yes"


def test_a_callback_succeeds_without_a_result_only_when_told_so(cli, service, asking, callback_id):
    for wrong in ((), ("--text",), ("--result", "1", "--no-result")):
        said = cli("callback", "succeed", callback_id, *wrong)
        assert said.code == 2
        assert "--no-result" in said.err
    assert service.execution(asking).callback_id() == callback_id
    assert cli("callback", "succeed", callback_id, "--no-result").code == 0
    assert service.execution(asking).drive().status == "SUCCEEDED"


def test_a_callback_fails_with_an_error(cli, service, asking, callback_id):
    said = cli("callback", "fail", callback_id, "--error-type", "Refused", "--error-message", "too much", "--json")
    assert said.json["status"] == "FAILED"
    handle = service.execution(asking).drive()
    assert handle.status == "FAILED"
    assert handle.error["ErrorMessage"] == "too much"


def test_a_callback_fails_without_a_word(cli, service, asking, callback_id):
    assert cli("callback", "fail", callback_id).code == 0
    assert service.execution(asking).drive().status == "FAILED"


def test_a_heartbeat_leaves_a_callback_open(cli, service, asking, callback_id):
    assert cli("callback", "heartbeat", callback_id, "--json").json["status"] == "STARTED"
    assert service.execution(asking).callback_id() == callback_id


def test_a_callback_that_was_answered_is_refused(cli, service, asking, callback_id):
    cli("callback", "succeed", callback_id, "--no-result")
    said = cli("callback", "heartbeat", callback_id)
    assert said.code == 4
    assert "CallbackTimeoutException" in said.err
