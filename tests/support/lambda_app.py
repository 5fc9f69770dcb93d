"""What `support.sandbox` runs as Lambda runs it: one handler, whose event says which case it plays."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from perdure import DurableContext, StepContext, durable_execution
from perdure.exceptions import ExecutionError, InvocationError, StepError
from perdure.logger import log_as_json
from perdure.retries import RetryPresets

if TYPE_CHECKING:
    from collections.abc import Callable

TIME_IS_UP = "(the time of this invocation is up)"
ODD_NAME = os.fsdecode(b"caf\xe9.txt")
"""The name of a file in Latin-1, as a system in UTF-8 gives it: with a lone surrogate, which no UTF-8 has."""

ODD = {
    "lone surrogate": ODD_NAME,
    "pair": "\ud83d\ude00",
    "halves the wrong way round": "\ude00\ud83d",
    "beyond the basic plane": "\U0001f600",
    "controls": "\0\x07\x1b[31m\x7f\x85\u2028\u202e\ufeff\uffff",
    "quotes": '"\\' * 5,
    "long": ODD_NAME * 20_000,
    "empty": "",
}


def fail(error: BaseException) -> NoReturn:
    raise error


def first_time(event: dict[str, Any]) -> bool:
    """Whether this is the first invocation that asks, of all processes."""
    try:
        Path(event["marker"]).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def succeeds(event: dict[str, Any], context: DurableContext) -> Any:
    return context.step(lambda _: event["value"])


def logs(event: dict[str, Any], context: DurableContext) -> Any:
    """Log as JSON where the runtime does not; the process's other cases do so from then on."""
    log_as_json("INFO")

    def step(step_context: StepContext) -> None:
        step_context.logger.info("in %s", "a step", extra={"customer": {"id": event["value"]}})
        try:
            fail(ValueError(ODD_NAME))
        except ValueError:
            step_context.logger.exception("it failed")

    context.step(step, name="logging")
    return None


def waits(event: dict[str, Any], context: DurableContext) -> Any:
    first = context.step(lambda _: "before")
    context.wait(3600)
    return [first, context.step(lambda _: "after")]


def fails(event: dict[str, Any], context: DurableContext) -> Any:
    context.step(lambda _: 1)
    kind = {"plain": ValueError, "execution": ExecutionError, "key": KeyError}[event["kind"]]
    raise kind(ODD[event["text"]])


def fails_with_everything_odd(_event: dict[str, Any], _context: DurableContext) -> Any:
    kind = type("Odd", (StepError,), {"__module__": ODD_NAME})
    raise kind(message=ODD_NAME, data=ODD_NAME, stack_trace=[ODD_NAME, "line 2"])


def recovers(event: dict[str, Any], context: DurableContext) -> Any:
    """Catch failures with odd text out of everything that records one, before and after a suspension."""
    text = ODD[event["text"]]
    told: list[str] = []

    def told_by(run: Callable[[], Any]) -> None:
        try:
            run()
        except Exception as error:  # noqa: BLE001
            told.append(str(error))

    def failing(_: Any) -> NoReturn:
        raise ValueError(text)

    told_by(lambda: context.step(failing, retry=RetryPresets.none()))
    told_by(lambda: context.run_in_child_context(failing))
    told.extend(str(error.message) for error in context.map([1], lambda c, *_: failing(c)).get_errors())
    context.wait(60)
    return told


def returns(event: dict[str, Any], _context: DurableContext) -> Any:
    return event["character"] * event["count"]


def raises_once(event: dict[str, Any], context: DurableContext) -> Any:
    kept = context.step(lambda _: os.getpid())
    if first_time(event):
        raise InvocationError(ODD[event["text"]])
    return kept == os.getpid()


def exits_once(event: dict[str, Any], context: DurableContext) -> Any:
    kept = context.step(lambda _: os.getpid())
    if first_time(event):
        os._exit(7)
    return kept != os.getpid()


def hangs_once(event: dict[str, Any], context: DurableContext) -> Any:
    kept = context.step(lambda _: os.getpid())
    if first_time(event):
        print(TIME_IS_UP)  # noqa: T201
        threading.Event().wait()
    return kept != os.getpid()


def counts_threads(_event: dict[str, Any], context: DurableContext) -> Any:
    """Tell which threads run before anything is done: whatever earlier invocations have left, and AWS's own."""
    until = time.monotonic() + 20
    while True:
        before = sorted((task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir())
        # A thread that has reported its end is gone a moment later.
        if len(before) == 1 or time.monotonic() > until:
            break
        time.sleep(0.01)
    context.map([1, 2, 3], lambda inner, *_: inner.step(lambda _: 1))
    return before


CASES = {
    case.__name__: case
    for case in (
        succeeds,
        logs,
        waits,
        fails,
        fails_with_everything_odd,
        recovers,
        returns,
        raises_once,
        exits_once,
        hangs_once,
        counts_threads,
    )
}


@durable_execution
def handler(event: dict[str, Any], context: DurableContext) -> Any:
    return CASES[event["case"]](event, context)
