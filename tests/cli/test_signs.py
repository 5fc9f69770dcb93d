"""What the commands print of foreign texts: nothing that a terminal would obey, hide, or turn around."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import unicodedata
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from perdure import DurableContext, durable_execution
from perdure.cli import acting, viewing
from perdure.cli.commands import app
from perdure.cli.drawing.text import dumps, pretty
from perdure.cli.writer import CleanFormatter, Writer
from perdure.local import LocalService, VirtualClock
from perdure.retries import RetryPresets

if TYPE_CHECKING:
    from pathlib import Path

assert acting.app is viewing.app is app  # importing them adds the commands

# Escapes of 7 and of 8 bits, a link, a turn of direction, what deletes, ends a line, or is not seen, half a sign.
SIGNS = "a\x1b[31mb\x9b32mc\x1b]8;;http://x\x07d\u202ee\x7ff\u2028g\u200bh\x85i\x08j\ud800k\U000e0041l\r"
_OUR_OWN = re.compile(r"\r?\x1b\[(?:\?25[lh]|[0-9;]*[mKA])")  # colours, and how a drawing is drawn over


def obeyed(text: str) -> list[str]:
    """Give what a terminal would obey, besides what is the commands' own; `is_red` finds the one that looks like it."""
    plain = _OUR_OWN.sub("", text)
    return [
        f"{sign!r} after {plain[max(0, at - 30) : at]!r}"
        for at, sign in enumerate(plain)
        if sign != "\n" and unicodedata.category(sign) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    ]


def is_red(text: str) -> bool:
    """Whether the foreign text has coloured anything."""
    return "a\x1b[31mb" in text


@durable_execution
def hostile(event: dict[str, Any], context: DurableContext) -> Any:
    def fail(*_: Any) -> None:
        raise ValueError(f"no {SIGNS}")

    context.step(lambda _: {SIGNS: [SIGNS]}, name="named *SIGNS*")
    for operation in (
        lambda: context.step(fail, name="fails", retry=RetryPresets.none()),
        lambda: context.run_in_child_context(fail, name="child"),
        lambda: context.map([1], fail, name="map").throw_if_error(),
        lambda: context.invoke("plain", SIGNS, name="invoke"),
    ):
        with suppress(Exception):  # what is recorded of it is looked at
            operation()
    context.wait_for_callback(lambda *_: None, name="ask")
    if event.get("fail"):
        fail()
    return {SIGNS: SIGNS}


def broken(_event: Any, _context: Any) -> None:
    raise LookupError(SIGNS)


@pytest.fixture
def service() -> LocalService:
    service = LocalService(clock=VirtualClock())
    return service.register("hostile", hostile).register("plain", broken, durable=False)


@pytest.fixture
def name(service: LocalService) -> str:
    """Leave three executions: one succeeded, one failed, one waiting, paused and stopped for hostile reasons."""
    error = {"ErrorMessage": SIGNS, "ErrorType": SIGNS, "ErrorData": SIGNS, "StackTrace": [SIGNS, f"  {SIGNS}"]}
    for kind, event in (("good", {SIGNS: SIGNS}), ("bad", {"fail": True}), ("ended", {})):
        handle = service.run("hostile", event=event, name=kind, stop_at_callback=True)
        answer = {"CallbackId": handle.callback_id("ask")}
        if kind == "good":
            client = service.client
            client.send_durable_execution_callback_success(**answer, Result=json.dumps(SIGNS).encode())
            assert handle.drive().status == "SUCCEEDED", handle.error
        elif kind == "bad":
            service.client.send_durable_execution_callback_failure(**answer, Error=error)
            assert handle.drive().status == "FAILED"
        else:
            service.client.pause_durable_execution(DurableExecutionArn=handle.arn, Reason=SIGNS)
            service.client.stop_durable_execution(DurableExecutionArn=handle.arn, Error=error)
    return "hostile"


class Altered:
    """A client of a service that puts the signs where no service of ours lets them come, as into names."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        return (lambda **given: self._alter(found(**given))) if name.startswith(("get_", "list_")) else found

    def _alter(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._alter(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._alter(inner) for inner in value]
        return value.replace("*SIGNS*", SIGNS) if isinstance(value, str) else value


COMMANDS = [
    ["list", "hostile"],
    *(["show", f"hostile/{kind}"] for kind in ("good", "bad", "ended")),
    *(["timeline", f"hostile/{kind}"] for kind in ("good", "bad")),
    ["timeline", "hostile/bad", "--svg", "-"],
    ["timeline", "hostile/bad", "--html", "-"],
    ["history", "hostile/good"],
    *(["history", f"hostile/{kind}", "--data"] for kind in ("good", "bad", "ended")),
    ["invoke", "plain", "--payload", "1"],
    ["invoke", f"no{SIGNS}"],
    ["show", f"hostile/{SIGNS}"],
    ["show", SIGNS],
    ["stop", f"hostile/{SIGNS}"],
    ["callback", "succeed", SIGNS],
    [SIGNS],
    ["show", f"--{SIGNS}"],
    ["run", f"no_module_{SIGNS}:x"],
    ["run", "json:loads", "--event", f"{{{SIGNS}"],
]


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("command", COMMANDS, ids=[f"{n} {command[0][:9]!a}" for n, command in enumerate(COMMANDS)])
def test_no_command_prints_what_a_terminal_would_obey(
    service: LocalService, name: str, command: list[str], as_json: bool, terminal: bool
) -> None:
    if as_json and ("-" in command or command[0] in (SIGNS, "run")):
        return
    environment = {"TZ": "UTC", "COLUMNS": "160", "FORCE_COLOR": "1" if terminal else None}
    arguments = [*command, *(["--json"] if as_json else [])]
    result = CliRunner().invoke(app, arguments, obj=Altered(service.client), env=environment)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.stdout or result.stderr
    for said in (result.stdout, result.stderr):
        assert obeyed(said) == []
        assert not is_red(said)
    if as_json:
        json.loads(result.stdout)


APP = f"""
import logging
from perdure import durable_execution

SIGNS = {SIGNS!r}

@durable_execution
def good(event, context):
    context.logger.warning("log %s", SIGNS)
    context.step(lambda _: SIGNS, name="step")
    return {{SIGNS: SIGNS}}

def fail(*_):
    raise ValueError(SIGNS)

@durable_execution
def bad(event, context):
    context.map([1, 2], fail)
    fail()

flips = []

@durable_execution
def flaky(event, context):
    flips.append(1)
    if len(flips) > 1:
        fail()
    context.step(lambda _: 1)
    context.wait(1)
    return SIGNS
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "signs.py").write_text(APP)
    (tmp_path / "unloadable.py").write_text(f"raise RuntimeError({SIGNS!r})")
    operation = {"Type": "EXECUTION", "Id": "e", "Status": "STARTED", "ExecutionDetails": {"InputPayload": "{}"}}
    (tmp_path / "event.json").write_text(json.dumps({"Operations": [operation, {**operation, "Type": SIGNS}]}))
    return tmp_path


LOCAL = [
    *(["run", f"signs:{handler}", *more] for handler in ("good", "bad") for more in ([], ["--json"])),
    ["run", "unloadable:handler"],
    ["explore", "signs:flaky"],
    ["explore", "signs:flaky", "--json"],
    ["bench", "signs:bad", "--event", "event.json"],
]


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("command", LOCAL, ids=" ".join)
def test_neither_do_those_that_run_handlers(folder: Path, command: list[str], terminal: bool) -> None:
    more = {"FORCE_COLOR": "1"} if terminal else {}
    done = subprocess.run(
        [sys.executable, "-m", "perdure.cli", *command],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="surrogateescape",
        check=False,
        timeout=120,
        env={**os.environ, "COLUMNS": "160", "PYTHONIOENCODING": "utf-8", **more},
    )
    assert done.returncode in (0, 1, 2)
    assert "UnicodeEncodeError" not in done.stderr
    for said in (done.stdout, done.stderr):
        assert obeyed(said) == []
        assert not is_red(said)
    if "--json" in command:
        json.loads(done.stdout)


def test_a_log_is_clean_in_its_messages_and_its_tracebacks() -> None:
    try:
        {}[SIGNS]
    except KeyError:
        one = logging.LogRecord("n", logging.ERROR, "p", 1, "two\nlines of %s", (SIGNS,), sys.exc_info())
    text = CleanFormatter("%(levelname)s %(message)s").format(one)
    assert obeyed(text) == []
    assert text.splitlines()[0] == "ERROR two"
    assert "Traceback (most recent call last):" in text.splitlines()


@pytest.mark.parametrize("payload", [SIGNS, {SIGNS: [SIGNS, "é ü \U0001f600"]}, "\x00\x1f \x7f", ["a\nb"]])
def test_json_that_is_shown_hides_nothing_and_stays_the_same(payload: Any) -> None:
    for text in (pretty(json.dumps(payload)), pretty(json.dumps(payload), "ascii"), dumps(payload)):
        assert obeyed(text) == []
        assert json.loads(text) == payload
    assert "é ü \U0001f600" in pretty(json.dumps("é ü \U0001f600"))


def test_a_writer_leaves_its_own_colours_and_what_can_be_seen() -> None:
    writer = Writer(force_terminal=True, width=60, highlight=False)
    with writer.capture() as printed:
        writer.print("[red]é ü \U0001f600[/]", "tab\tbed")
        writer.print(f"[bold]{SIGNS}")
    text = printed.get()
    assert "\x1b[31mé ü \U0001f600\x1b[0m" in text
    assert obeyed(text) == []
