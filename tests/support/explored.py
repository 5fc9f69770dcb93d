"""Exploring a handler in a test, and two handlers that do the same each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure import Checkpointing, durable_execution
from perdure.config import Duration
from perdure.testing import explore
from perdure.waits import WaitForConditionDecision

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.testing import Report

GLOBAL: dict[str, Any] = {}


def reset() -> None:
    GLOBAL.clear()
    GLOBAL.update(count=0, log=[], sent=[])


def search(
    handler: Callable[[Any, Any], Any],
    event: Any = None,
    checkpointing: Checkpointing = Checkpointing.BATCHED,
    **options: Any,
) -> Report:
    return explore(durable_execution(handler, checkpointing=checkpointing), event, setup=reset, **options)


def batches(event: Any, context: Any) -> Any:
    def item(inner: Any, number: int, _index: int, _all: Any) -> int:
        if number % 2:
            inner.wait(number, "pause")
        return inner.step(lambda _: number * number, "square")

    squares = context.map(range(event), item, "squares", max_concurrency=3).get_results()
    branches = [lambda inner: inner.step(lambda _: "left", "l"), lambda inner: inner.wait(2) or "right"]
    return [squares, context.parallel(branches, "sides").get_results()]


def polling(_event: Any, context: Any) -> Any:
    def strategy(state: int, _attempt: int) -> WaitForConditionDecision:
        return (
            WaitForConditionDecision.stop_polling()
            if state > 2
            else WaitForConditionDecision.continue_waiting(Duration(30))
        )

    return context.wait_for_condition(lambda state, _: state + 1, name="poll", wait_strategy=strategy, initial_state=0)
