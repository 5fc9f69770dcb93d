"""`perdure list`, `show`, `history` and `timeline` against a local service."""

from __future__ import annotations

import re
from typing import Any

import pytest

from perdure import durable_execution
from perdure.cli.drawing import log
from perdure.local import LocalService, SqliteStore

KEYS = {
    "summary": "arn name functionArn status startedAt endedAt milliseconds",
    "show": "version result error input pause invocations failedInvocations invocationError budget openCallbacks "
    "operations",
    "operation": "id parentId depth type subType name status attempts startedAt endedAt milliseconds dueAt "
    "heartbeatMilliseconds inputBytes resultBytes truncated error callbackId functionName childArn",
    "budget": "operations operationsLimit billedOperations writtenBytes writtenLimit price currency prices atLeast",
    "timeline": "lastedMilliseconds bars invocations rows",
    "row": "id parentId depth type subType name status bars",
    "bar": "kind startedAt endedAt from to",
}


def keys(*names: str) -> set[str]:
    return {key for name in names for key in KEYS[name].split()}


# -- list --------------------------------------------------------------------------------------------------------------


def test_list_shows_executions_by_what_the_other_commands_take(cli, arn, asking):
    said = cli("list", "order")
    assert said.code == 0
    heading, row = said.out.splitlines()
    assert heading.split() == ["execution", "version", "status", "started", "(UTC)", "time"]
    assert row.split() == ["order/o-1", "$LATEST", "SUCCEEDED", "2026-01-01", "00:00:00", "2", "d", "15", "s"]


def test_list_as_json_has_stable_members(cli, arn):
    document = cli("list", "order", "--json").json
    assert set(document) == {"executions", "more"}
    assert document["more"] is False
    (execution,) = document["executions"]
    assert set(execution) == keys("summary")
    assert execution["arn"] == arn
    assert execution["startedAt"] == "2026-01-01T00:00:00.000Z"
    assert execution["milliseconds"] == (2 * 86_400 + 15) * 1000


def test_list_filters_by_status_name_and_start(cli, service, clock):
    for number in range(3):
        service.run("bad", event={}, name=f"b-{number}")
        clock.advance(3600)
    service.run("ask", event={}, name="waiting", stop_at_callback=True)

    def names(*options: str) -> list[str]:
        return [one["name"] for one in cli("list", "bad", "--json", *options).json["executions"]]

    assert names() == ["b-2", "b-1", "b-0"]
    assert names("--oldest-first") == ["b-0", "b-1", "b-2"]
    assert names("--name", "b-1") == ["b-1"]
    assert names("--status", "running") == []
    assert names("--status", "failed", "--status", "stopped") == ["b-2", "b-1", "b-0"]
    assert names("--after", "2026-01-01T00:30:00Z") == ["b-2", "b-1"]
    assert names("--before", "2026-01-01T00:30:00+00:00") == ["b-0"]
    assert names("--before", "1h", "--limit", "1") == ["b-2"]


def test_list_says_when_there_are_more(cli, service):
    for number in range(3):
        service.run("bad", event={}, name=f"b-{number}")
    said = cli("list", "bad", "--limit", "2")
    assert len(said.out.splitlines()) == 3
    assert "--limit 20" in said.err
    document = cli("list", "bad", "--limit", "2", "--json").json
    assert (len(document["executions"]), document["more"]) == (2, True)


def test_list_of_nothing_is_no_failure(cli):
    said = cli("list", "order")
    assert (said.code, said.out) == (0, "")
    assert "no executions" in said.err


@pytest.mark.parametrize("kept", [True, False])
def test_executions_outlive_the_registration_of_their_function(cli, tmp_path, kept):
    file = tmp_path / "executions.db"
    handler = durable_execution(lambda event, _context: event)
    with LocalService(store=SqliteStore(file)) as before:
        before.register("greet", handler).run("greet", event=1, name="g-1")
    with LocalService(store=SqliteStore(file)) as service:
        if kept:
            service.register("greet", handler)
        listed = [cli("list", "greet", *more, "--json", client=service.client) for more in ((), ("--name", "other"))]
        assert [[one["name"] for one in said.json["executions"]] for said in listed] == [["g-1"], []]
        shown = cli("show", "greet/g-1", "--json", client=service.client)
        assert (shown.code, shown.json["result"]) == (0, 1)
        nobody = cli("list", "nobody", client=service.client)
        assert nobody.code == 3
        assert "Function not found: nobody" in nobody.err


def test_the_help_of_list_names_every_status(cli):
    said = cli("list", "--help")
    assert all(status in said.out for status in ("TIMED_OUT", "PAUSING", "DELETING"))
    assert "<bool>" not in said.out


@pytest.mark.parametrize("options", [("--status", "DONE"), ("--after", "soon"), ("--limit", "0")])
def test_list_refuses_what_it_does_not_understand(cli, options):
    said = cli("list", "order", *options)
    assert said.code == 2
    assert options[0] in said.err


# -- show --------------------------------------------------------------------------------------------------------------


def test_show_draws_the_operations_as_a_tree(cli, arn):
    said = cli("show", arn)
    assert said.code == 0
    rows = [re.split(r"\s{2,}", line.strip()) for line in said.out.splitlines()]
    assert ["├─ charge", "Step", "SUCCEEDED", "2", "12 s", "9 B"] in rows
    assert ["├─ cooling off", "Wait", "SUCCEEDED", "2 d"] in rows
    assert ["└─ label", "RunInChildContext", "SUCCEEDED", "0 ms", "4 B"] in rows
    assert "   └─ print" in said.out


def test_show_reports_the_budget_and_the_outcome(cli, arn):
    out = cli("show", arn).out
    assert "SUCCEEDED, 2 d 15 s from 2026-01-01" in out
    assert re.search(r"Budget: 4 of 3,000 .* operations, at least \d+ B of 100\.0 MiB", out)
    # four operations, a second attempt, and the start of the execution, at $8.00 a million
    assert "Price: at least $0.000048 (us-east-1 prices of 2026-09; invocations not included)" in out
    assert '"event": {' in out


def test_show_takes_other_prices_and_the_retention_of_the_execution(cli, service):
    service.register("kept", service.functions["order"].handler, retention_days=60)
    arn = service.run("kept", event={}).arn
    none = ("--price-operations", "0", "--price-written", "0")
    written = cli("show", arn, "--json").json["budget"]["writtenBytes"]
    shown = cli("show", arn, "--json", *none, "--price-retained", "1e9").json["budget"]
    assert shown["price"] == pytest.approx(written * 60 / 30)
    assert shown["prices"] == "at the prices given"
    given = {"PERDURE_PRICE_OPERATIONS": "1e6", "PERDURE_PRICE_WRITTEN": "0", "PERDURE_PRICE_RETAINED": "0"}
    assert cli("show", arn, "--json", env=given).json["budget"]["price"] == 6.0
    assert cli("show", arn, "--price-written", "-1").code == 2


@pytest.mark.parametrize("given", ["inf", "nan", "-inf"])
def test_a_price_is_a_finite_number(cli, arn, given):
    said = cli("show", arn, "--price-operations", given, "--json")
    assert (said.code, said.json["error"]["type"]) == (2, "Usage")
    assert cli("show", arn, env={"PERDURE_PRICE_WRITTEN": given}).code == 2


def test_show_takes_a_function_and_a_name(cli, arn):
    assert cli("show", "order/o-1").out == cli("show", arn).out


def test_show_as_json_has_stable_members(cli, arn):
    document = cli("show", arn, "--json").json
    assert set(document) == keys("summary", "show")
    assert document["input"] == {"id": 7}
    assert document["result"] == {"event": {"id": 7}}
    assert document["error"] is None
    assert document["invocations"] == 3
    assert document["budget"]["operations"] == 4
    assert set(document["budget"]) == keys("budget")
    assert document["budget"]["operationsLimit"] == 3000
    assert document["budget"]["billedOperations"] == 6
    assert (document["budget"]["currency"], document["budget"]["atLeast"]) == ("USD", True)
    assert document["budget"]["price"] == pytest.approx(48e-6, rel=0.01)
    operations = document["operations"]
    assert all(set(operation) == keys("operation") for operation in operations)
    assert [(one["name"], one["depth"]) for one in operations] == [
        ("charge", 0),
        ("cooling off", 0),
        ("label", 0),
        ("print", 1),
    ]
    charge = operations[0]
    assert (charge["attempts"], charge["milliseconds"], charge["resultBytes"]) == (2, 12_000, 9)


def test_show_names_open_callbacks_in_one_piece(cli, service, asking):
    callback = service.execution(asking).callback_id()
    assert f"approval: {callback}\n" in cli("show", asking, env={"COLUMNS": "60"}).out
    document = cli("show", asking, "--json").json
    assert (document["status"], document["openCallbacks"]) == ("RUNNING", [callback])


def test_show_of_a_failed_execution_tells_why_and_is_no_failure(cli, service):
    failed = service.run("bad", event={}).arn
    said = cli("show", failed)
    assert said.code == 0
    assert "ValueError: no <script>" in said.out
    assert cli("show", failed, "--json").json["error"]["ErrorType"] == "ValueError"


def test_show_without_data_asks_for_none(cli, service, arn):
    asked: list[dict[str, Any]] = []
    service.on_api_call = lambda _name, arguments, when: asked.append(arguments) if when == "before" else None
    document = cli("show", arn, "--no-data", "--json").json
    assert [arguments["IncludeExecutionData"] for arguments in asked] == [False, False]
    assert (document["budget"]["writtenBytes"], document["budget"]["price"]) == (None, None)
    assert "and the price" in cli("show", arn, "--no-data").out
    assert document["result"] is None
    assert all(operation["resultBytes"] is None for operation in document["operations"])


def test_show_tells_of_a_pause(cli, service, asking):
    service.client.pause_durable_execution(DurableExecutionArn=asking, Reason="audit")
    assert ": audit" in cli("show", asking).out
    assert cli("show", asking, "--json").json["pause"]["reason"] == "audit"


# -- history -----------------------------------------------------------------------------------------------------------


def test_history_prints_an_event_a_line(cli, arn):
    said = cli("history", arn)
    events = [line.split()[3] for line in said.out.splitlines()[1:] if line.split()[0].isdigit()]
    assert events[:3] == ["ExecutionStarted", "StepStarted", "StepFailed"]
    assert events.count("InvocationCompleted") == 3
    assert "NextAttemptDelaySeconds=10" in said.out
    assert "nobody at the counter" not in said.out


def test_history_has_payloads_only_when_asked(cli, arn):
    assert "nobody at the counter" in cli("history", arn, "--data").out
    event = cli("history", arn, "--json").json["events"][2]
    assert event["StepFailedDetails"]["Error"] == {"Truncated": True}
    event = cli("history", arn, "--json", "--data").json["events"][2]
    assert event["StepFailedDetails"]["Error"]["Payload"]["ErrorMessage"] == "nobody at the counter"


def test_history_runs_backwards_and_stops_at_a_limit(cli, arn):
    document = cli("history", arn, "--json", "--reverse", "--limit", "2").json
    assert set(document) == {"arn", "events", "more"}
    last = len(cli("history", arn, "--json").json["events"])
    assert [event["EventId"] for event in document["events"]] == [last, last - 1]
    assert document["events"][0]["EventTimestamp"].endswith("Z")


def test_history_says_when_there_are_more(cli, arn):
    last = len(cli("history", arn, "--json").json["events"])
    for limit, more in ((2, True), (last - 1, True), (last, False), (last + 1, False)):
        said = cli("history", arn, "--limit", str(limit))
        assert len(said.out.splitlines()) == 1 + min(limit, last)
        assert (f"There are more; --limit {limit * 10} shows them." in said.err) is more
        document = cli("history", arn, "--limit", str(limit), "--json").json
        assert (len(document["events"]), document["more"]) == (min(limit, last), more)
    assert cli("history", arn, "--json").json["more"] is False


def test_history_prints_a_page_before_it_reads_the_next(cli, service, arn, monkeypatch):
    happened: list[str] = []
    lines = log.Log.lines
    monkeypatch.setattr(log.Log, "lines", lambda self, page: happened.append("print") or lines(self, page))

    class Small:
        def get_durable_execution_history(self, **asked: Any) -> Any:
            happened.append("read")
            return service.client.get_durable_execution_history(**{**asked, "MaxItems": 8})

    assert cli("history", arn, client=Small()).code == 0
    assert happened[:4] == ["read", "print", "read", "print"]


def test_history_repeats_nothing_unless_asked(cli, arn):
    (line, *_) = [line for line in cli("history", arn).out.splitlines() if "InvocationCompleted" in line]
    assert line.endswith("InvocationCompleted")
    out = cli("history", arn, "--data").out
    for member in ("StartTimestamp", "EndTimestamp", "RequestId"):
        assert out.count(f" {member}=") == out.count("InvocationCompleted")


def test_history_reads_every_page(cli, service):
    class Small:
        def get_durable_execution_history(self, **asked: Any) -> Any:
            return service.client.get_durable_execution_history(**{**asked, "MaxItems": 2})

    arn = service.run("order", event={}).arn
    assert cli("history", arn, "--json", client=Small()).json == cli("history", arn, "--json").json


# -- timeline ----------------------------------------------------------------------------------------------------------


def test_timeline_draws_attempts_waits_and_folds(cli, arn):
    out = cli("timeline", arn, env={"COLUMNS": "100"}).out
    lines = {line[: line.index("  ")].strip(): line for line in out.splitlines() if "  " in line}
    assert "≈2 d≈" in out
    assert re.search("▓░+█", lines["charge"])
    assert re.search("░+ +2 d", lines["cooling off"])
    assert all(len(line) <= 100 for line in out.splitlines())


def test_timeline_can_be_drawn_to_scale(cli, arn):
    out = cli("timeline", arn, "--no-fold", env={"COLUMNS": "100"}).out
    assert "≈" not in out
    (wait,) = [line for line in out.splitlines() if line.startswith("cooling off")]
    assert wait.count("░") > 60


def test_timeline_as_json_has_stable_members(cli, arn):
    document = cli("timeline", arn, "--json").json
    assert set(document) == keys("summary", "timeline")
    assert [row["name"] for row in document["rows"]] == ["charge", "cooling off", "label", "print"]
    assert all(set(row) == keys("row") for row in document["rows"])
    charge = document["rows"][0]["bars"]
    assert all(set(bar) == keys("bar") for bar in charge)
    assert [bar["kind"] for bar in charge] == ["waiting", "failed", "work"]
    assert all(0 <= bar["from"] <= bar["to"] <= 1 for row in document["rows"] for bar in row["bars"])


def test_timeline_of_what_still_runs_is_open(cli, asking):
    rows = {row["name"]: row["bars"] for row in cli("timeline", asking, "--json").json["rows"]}
    assert rows["approval"][0]["endedAt"] is None
    assert "started" in cli("timeline", asking).out
