"""`perdure explore` as a user calls it: what it prints, and what it exits with."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from perdure.cli import explore as explore_command  # noqa: F401  the second adds itself to the commands
from perdure.cli import run as command
from perdure.cli.codes import INTERRUPTED
from perdure.testing import ExplorationError

if TYPE_CHECKING:
    from pathlib import Path

MODULE = """
import asyncio

from perdure import durable_execution

@durable_execution
def wrong(event, context):
    print("printed by the handler")
    seen = []
    for number in range(event):
        context.step(lambda _, number=number: seen.append(number), name=f"step-{number}")
    return seen

@durable_execution
def right(event, context):
    answer = context.wait_for_callback(lambda *_: None, "approval")
    return [answer, *(context.invoke(name, 3) for name in ("price", "double", "inner"))]

@durable_execution
def inner(event, context):
    return context.step(lambda _: event + 1)

def double(event, context):
    return event * 2

@durable_execution
async def awaited(event, context):
    done = []

    async def one(name):
        await context.step(lambda _: name, name=name)
        done.append(name)

    await asyncio.gather(one("a"), one("b"))
    return done if event == "in order of their ends" else sorted(done)
"""


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "explored.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "explored", raising=False)


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/perdure", "explore", *arguments])
    return CliRunner().invoke(command.app, ["explore", *arguments])


def test_what_makes_a_difference_is_told_with_the_command_that_runs_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    found = call(monkeypatch, "explored:wrong", "--event", "3")
    assert found.exit_code == 1
    assert "the outcome was SUCCEEDED [0, 1, 2], and is SUCCEEDED [1, 2]" in found.stdout
    assert "run it again: perdure explore explored:wrong --event 3 --schedule crash-after:1\n" in found.stdout
    assert "printed by the handler" not in found.stdout
    again = call(monkeypatch, "explored:wrong", "--event", "3", "--schedule", "crash-after:1")
    assert again.exit_code == 1
    assert "printed by the handler" in again.stdout
    assert "run it again: perdure explore explored:wrong --event 3 --schedule crash-after:1\n" in again.stdout


def test_a_document_for_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    found = call(monkeypatch, "explored:wrong", "--event", "3", "--json", "--max-schedules", "500")
    document = json.loads(found.stdout)
    assert (found.exit_code, document["ok"], document["schedule"]) == (1, False, "crash-after:1")
    assert document["expected"] == {"status": "SUCCEEDED", "result": "[0, 1, 2]", "error": None}
    assert document["got"]["result"] == "[1, 2]"
    assert document["recipe"].endswith("explored:wrong --event 3 --max-schedules 500 --schedule crash-after:1")


def test_the_world_around_the_handler_is_given_by_options(monkeypatch: pytest.MonkeyPatch) -> None:
    found = call(
        monkeypatch,
        *("explored:right", "--answer", 'approval="yes"', "--mock", "price=4"),
        *("--plain", "double=explored:double", "--function", "inner=explored:inner"),
    )
    assert found.exit_code == 0
    assert r'SUCCEEDED ["\"yes\"", 4, 6, 4]' in found.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["explored:right"], 3, "by answers= or --answer (open: approval)"),
        (["explored:wrong", "--event", "1", "--schedule", "lost:9"], 3, "lost:9 did not come about"),
        (["explored:wrong", "--schedule", "sometimes"], 2, "'sometimes' is no schedule"),
        (["explored:right", "--mock", "price"], 2, "'price' is not NAME=JSON"),
        (["explored:right", "--answer", "approval=yes"], 2, "'yes' is not JSON"),
        (["explored:nothing"], 2, "explored has no 'nothing'"),
    ],
)
def test_what_cannot_be_explored_is_told(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, told: str
) -> None:
    found = call(monkeypatch, *arguments)
    assert found.exit_code == code
    assert told in " ".join((found.stdout + found.stderr).split())


def test_an_interrupt_exits_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("perdure.testing.explorer.explore", interrupted)
    assert call(monkeypatch, "explored:wrong").exit_code == INTERRUPTED
    found = call(monkeypatch, "explored:wrong", "--json")
    assert (found.exit_code, json.loads(found.stdout)["error"]["type"]) == (INTERRUPTED, "Interrupted")


def test_both_ways_in_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from perdure.testing import explore  # noqa: PLC0415 - next to what it is compared with

    found = json.loads(call(monkeypatch, "explored:wrong", "--event", "2", "--json").stdout)
    report = explore(sys.modules["explored"].wrong, 2)
    assert (str(report.schedule), report.differences) == (found["schedule"], found["differences"])
    with pytest.raises(ExplorationError):
        report.assert_ok()


def test_tasks_of_an_async_def_handler_are_put_in_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    found = call(monkeypatch, "explored:awaited", "--event", '"in order of their ends"')
    assert found.exit_code == 1
    assert "when tasks ran in the order of seed" in found.stdout
    assert 'the outcome was SUCCEEDED ["a", "b"], and is SUCCEEDED ["b", "a"]' in found.stdout
    assert call(monkeypatch, "explored:awaited", "--event", '"sorted"').exit_code == 0
