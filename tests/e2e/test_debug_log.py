"""perdure's own log at DEBUG: a line for each thing that happens, and no cost where nobody wants it."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

from perdure import DurableContext, durable_execution
from perdure.local import LocalService
from perdure.retries import RetryPresets

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


def test_nothing_is_written_or_loaded_without_that_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "perdure")
    LocalService().register("f", handler).run("f")
    assert [record for record in caplog.records if record.levelno < logging.INFO] == []
