"""What a race leaves behind: a timer that nobody waits for any more, also after the service was started again."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from perdure import DurableContext, durable_execution
from perdure.exceptions import CallbackTimeoutError
from perdure.local.machine.clock import DEFAULT_START
from perdure.testing.result import budget_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.raw import Life

HOUR = 3600


def soon(inner: DurableContext) -> str:
    inner.wait(5)
    return "soon"


def timer(inner: DurableContext) -> None:
    inner.wait(HOUR)


RACES: dict[str, Callable[[DurableContext], Any]] = {
    "a wait among the members": lambda context: context.race([soon, timer]),
    "a timeout": lambda context: context.any([soon], timeout=HOUR),
    "a slower member": lambda context: context.any([timer, soon]),
}


@pytest.mark.parametrize("race", list(RACES))
def test_a_timer_that_lost_is_left_as_it_is_and_keeps_nobody(life: Life, race: str) -> None:
    def handler(_event: Any, context: DurableContext) -> list[Any]:
        won = RACES[race](context)
        answer = context.create_callback(timeout=10)
        with pytest.raises(CallbackTimeoutError):
            answer.result()
        return [won, context.step(lambda _: "after")]

    life.register("f", durable_execution(handler))
    handle = life.service.start("f", event={})
    life.service.drive(handle, stop_at_callback=True)
    handle = life.crash().execution(handle.arn)
    life.service.drive(handle)
    assert (handle.status, handle.value) == ("SUCCEEDED", ["soon", "after"])
    assert life.clock.now() == DEFAULT_START + timedelta(seconds=15)
    timers = [each for each in handle.operations if each["Type"] == "WAIT" and each["Status"] == "STARTED"]
    assert len(timers) == 1, "left behind as the service leaves it"
    life.clock.advance_to(DEFAULT_START + timedelta(hours=2))
    again = life.crash().execution(handle.arn)
    life.service.drive(again)
    assert (again.status, again.value) == ("SUCCEEDED", ["soon", "after"])
    assert again.invocations == [], "nobody was woken for it"
    assert budget_of(again.machine).operations == len(again.operations)
