"""What `perdure run` draws on a terminal, and asks there."""

from __future__ import annotations

import sys
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from rich.text import Text
from typer.testing import CliRunner

from perdure import durable_execution
from perdure.cli.commands import app
from perdure.cli.live import Display
from perdure.cli.run import _prompt
from perdure.config import Duration
from perdure.local import LocalService
from perdure.retries import RetryDecision

if TYPE_CHECKING:
    from pathlib import Path


def test_the_question_for_an_answer_is_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(force_terminal=True, color_system=None, width=80, file=StringIO())
    service = LocalService().register(
        "asks", durable_execution(lambda _, context: context.create_callback("[b]").result())
    )
    service.run("asks", stop_at_callback=True)
    answers = ["no json", '"yes"']
    monkeypatch.setattr(Console, "input", lambda *_: answers.pop(0))
    monkeypatch.setattr(sys, "stdin", type("Terminal", (), {"isatty": lambda _: True})())
    assert _prompt(service, Display(console, quiet=False))
    text = console.file.getvalue()
    assert "Waiting for an answer to [b]\n" in text
    assert "That is not JSON: Expecting value" in text


@pytest.mark.parametrize("width", [30, 40, 60, 80])
def test_the_tree_of_a_run_fits_its_terminal(width: int) -> None:
    console = Console(force_terminal=True, color_system=None, width=width, height=50, file=StringIO())
    display = Display(console, quiet=False)
    retry = {"retry": lambda _error, attempt: RetryDecision(attempt < 2, Duration.from_seconds(1))}

    def fails(_: Any) -> None:
        raise ConnectionError("nobody at the counter")

    def below(context: Any, depth: int) -> None:
        if depth:
            context.run_in_child_context(lambda child: below(child, depth - 1), name=f"level-{depth}")
        else:
            context.step(fails, name="a-step-with-a-long-name", **retry)

    service = LocalService().register("deep", durable_execution(lambda _, context: below(context, 5)))
    service.observers.append(display)
    with display:
        service.run("deep")
    with console.capture() as drawn:
        console.print(display._tree())
    rows = drawn.get().splitlines()
    assert all(len(row) <= width for row in rows)
    assert sum(row.count("FAILED") for row in rows) == 6
    assert ("attempts" in rows[0], "kind" in rows[0]) == (width == 80, width >= 60)


def test_a_tree_in_motion_leaves_out_what_has_long_ended() -> None:
    console = Console(force_terminal=True, width=80, height=12, file=StringIO())
    display = Display(console, quiet=False)
    service = LocalService().register("many", durable_execution(many))
    service.observers.append(display)
    with display:
        handle = service.start("many")
        service.drive(handle, stop_at_callback=True)
        display.waiting(5, skipped=False)
        with console.capture() as drawn:
            console.print(display._tree())
    lines = [Text.from_ansi(line).plain for line in drawn.get().splitlines()]
    assert len(lines) <= 12
    assert lines[0] == "… 13 more operations"
    assert [line.split()[1] for line in lines[2:-1]] == ["open", *(f"step-{n}" for n in range(13, 20))]
    assert lines[-1] == "waiting 5 s"


def many(_event: Any, context: Any) -> Any:
    for number in range(20):
        if number == 5:
            callback = context.create_callback("open")
        context.step(lambda _: 1, f"step-{number}")
    return callback.result()


@pytest.mark.parametrize("module", ["aws_durable_execution_sdk_python", "aws_durable_execution_sdk_python_testing"])
def test_who_imports_an_official_package_that_is_not_there_is_told_what_means_it(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "as_before.py").write_text(f"from {module} import DurableContext\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, module, None)
    told = CliRunner().invoke(app, ["run", "as_before:handler"])
    assert told.exit_code == 2
    assert f"from {module} import DurableContext" in told.stderr
    assert "PERDURE_COMPAT=1" in told.stderr
