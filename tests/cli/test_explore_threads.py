"""`perdure explore` keeps the tracebacks of threads to itself, and says that there were some."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from perdure.cli import explore as explore_command  # noqa: F401  the second adds itself to the commands
from perdure.cli import run as command

if TYPE_CHECKING:
    from pathlib import Path

MODULE = """
import threading
from perdure import durable_execution

def fail():
    raise OSError("no such\\nparcel")

@durable_execution
def handler(event, context):
    def post(_):
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()

    context.step(post, name="post")
"""


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "explored_threads.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "explored_threads", raising=False)


def call(*arguments: str) -> Any:
    return CliRunner().invoke(command.app, ["explore", "explored_threads:handler", *arguments])


def test_what_threads_end_with_is_counted(capfd: pytest.CaptureFixture[str]) -> None:
    found = call()
    assert found.exit_code == 0
    assert "threads ended with exceptions that nobody caught (--schedule shows where):" in found.stdout
    assert "  * OSError: no such parcel (" in found.stdout
    assert "Traceback" not in found.output + capfd.readouterr().err
    document = json.loads(call("--json").stdout)
    assert document["raised_in_threads"] == ["OSError: no such parcel"]
    assert document["left_behind"] == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_one_schedule_shows_them() -> None:
    found = call("--schedule", "crash-after:1")
    assert found.exit_code == 0
    assert "threads ended" not in found.stdout
