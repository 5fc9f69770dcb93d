"""perdure's own log at DEBUG: a line for each thing that happens, and no cost where nobody wants it."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from perdure import DurableContext, durable_execution
from perdure.local import LocalService
from perdure.retries import RetryPresets
from support.invocations import invoke, op

if TYPE_CHECKING:
    import pytest


def fail(_step: Any) -> None:
    raise KeyError("lost")


@durable_execution
def handler(_event: Any, context: DurableContext) -> Any:
    context.step(lambda _: 1, name="first")
    context.run_in_child_context(lambda inner: inner.wait(5, name="pause"), name="child")
    try:
        context.step(fail, name="second", retry=RetryPresets.none())
    except Exception:  # noqa: BLE001  the handler goes on
        return "done"


def test_a_line_for_each_thing_that_happens(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "perdure")
    handle = LocalService().register("f", handler).run("f")
    lines = [
        record.getMessage() for record in caplog.records if record.name == "perdure" and "attempt" not in record.msg
    ]
    assert [re.sub(r"[\d.]+ (m?s)\b", r"0 \1", line) for line in lines] == [
        f"an invocation of {handle.arn} begins, with 1 operations recorded",
        "Step first begins",
        "the function of Step first ended after 0 s: SUCCEEDED",
        "a checkpoint of 2 updates took 0 ms",
        "Step first is over: SUCCEEDED",
        "RunInChildContext child begins",
        "Wait pause begins",
        "a checkpoint of 2 updates took 0 ms",
        "the function of RunInChildContext child ended after 0 s: INCOMPLETE",
        "the invocation ends PENDING",
        f"an invocation of {handle.arn} begins, with 4 operations recorded",
        "Step first is replayed: SUCCEEDED",
        "RunInChildContext child was begun before, and is not over",
        "Wait pause is replayed: SUCCEEDED",
        "Wait pause is over: SUCCEEDED",
        "the function of RunInChildContext child ended after 0 s: SUCCEEDED",
        "a checkpoint of 1 updates took 0 ms",
        "RunInChildContext child is over: SUCCEEDED",
        "Step second begins",
        "the function of Step second ended after 0 s: FAILED",
        "a checkpoint of 2 updates took 0 ms",
        "Step second is over: FAILED",
        "the invocation ends SUCCEEDED",
    ]


PROGRAM = """
import logging, sys
logging.basicConfig(level=sys.argv[1])
from support.invocations import invoke, op

def handler(context):
    context.step(lambda _: 1, name="recorded")
    context.step(lambda _: 2, name="new")
    context.run_in_child_context(lambda inner: inner.step(lambda _: 3))

response, _ = invoke(handler, op("STEP", "SUCCEEDED", 1, Name="recorded", details={"Result": "1"}))
assert response["Status"] == "SUCCEEDED", response
print(sorted(name for name in sys.modules if name.startswith("perdure.engine") or name == "perdure.plugin"))
"""


def modules(level: str) -> str:
    """Give the modules of the engine that a process has loaded which has logged at this level."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM, level], env=environment, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    return said.stdout


def test_nothing_of_it_is_loaded_without_that_level() -> None:
    looking = ("debug_log", "engine.hooks", "engine.told", "engine.plugin", "perdure.plugin")
    usual, wanted = modules("INFO"), modules("DEBUG")
    assert [name for name in looking if name in usual] == []
    assert [name for name in looking if name not in wanted] == []


def calls(count: int) -> Counter[str]:
    """Give what is called, Python's and native, while so many recorded steps are replayed."""
    seen: Counter[str] = Counter()

    def note(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            seen[frame.f_code.co_qualname] += 1
        elif event == "c_call":
            seen[argument.__qualname__] += 1

    def replay(context: DurableContext) -> None:
        sys.setprofile(note)
        try:
            for _ in range(count):
                context.step(fail, name="a")
        finally:
            sys.setprofile(None)

    recorded = [op("STEP", "SUCCEEDED", n, Name="a", details={"Result": "1"}) for n in range(1, count + 1)]
    response, _ = invoke(replay, *recorded)
    assert response["Status"] == "SUCCEEDED", response
    return seen


def test_a_replayed_operation_is_two_calls_and_none_to_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "perdure")
    few, many = calls(10), calls(110)
    assert many - few == {"DurableContext.step": 100, "Scope.step": 100}
