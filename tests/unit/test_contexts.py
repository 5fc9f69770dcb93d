"""What operations need of a context, and what is awaited in the place of a function's result."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from perdure import AsyncDurableContext, DurableContext, durable_execution
from perdure.engine.awaited import Awaited
from perdure.engine.contexts import Context
from support.invocations import Recorder, event


def test_the_contexts_of_both_drivers_have_what_operations_need() -> None:
    needed = {name for name in {*vars(Context), *inspect.get_annotations(Context)} if not name.startswith("_")}
    assert {"invocation", "scope", "child", "drive", "branches"} <= needed
    lacking: list[str] = []

    def plain(_event: Any, context: DurableContext) -> None:
        lacking.extend(name for name in needed if not hasattr(context, name))

    async def awaited(_event: Any, context: AsyncDurableContext) -> None:
        lacking.extend(name for name in needed if not hasattr(context, name))

    for handler in (plain, awaited):
        output = durable_execution(handler, boto3_client=Recorder())(event(), None)  # type: ignore[arg-type,call-overload]
        assert output["Status"] == "SUCCEEDED", output
    assert not lacking


def test_what_is_awaited_tells_of_its_end_and_may_be_dropped() -> None:
    told: list[Any] = []

    async def gives() -> int:
        return 1

    async def fails() -> None:
        raise KeyError("k")

    class NoCoroutine:
        def __await__(self) -> Any:
            return iter(())

    def ended(given: Any) -> Any:
        return Awaited(given, told.append, told.append)

    with pytest.raises(StopIteration) as stopped:
        next(ended(gives()).__await__())
    with pytest.raises(KeyError):
        next(ended(fails()).__await__())
    assert [stopped.value.value, str(told)] == [1, "[1, KeyError('k')]"]
    dropped = gives()
    ended(dropped).close()
    ended(NoCoroutine()).close()
    assert inspect.getcoroutinestate(dropped) == inspect.CORO_CLOSED
    assert len(told) == 2
