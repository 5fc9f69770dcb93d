"""The tasks of an invocation that are known: also those that are made while the others are looked through."""

from __future__ import annotations

import asyncio
import gc
import sys
from typing import TYPE_CHECKING, Any

from perdure.aio.tasks import Tasks
from support.awaited import Trial

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from perdure import AsyncDurableContext

LOOKS = Tasks._drop_ended.__code__
"""What looks at the tasks, and amid which one is made."""


def collecting_at(instruction: int, call: Callable[[], Any]) -> bool:
    """Call something, and have the garbage collector set in at an instruction of the look; tell if it comes so far."""
    left = instruction

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal left
        if frame.f_code is not LOOKS:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == 0:
                gc.collect()
        return trace

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # CPython 3.12 tells of instructions if a frame asked before it is traced
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return left <= 0


def test_a_task_that_is_made_amid_the_look_at_others_is_known() -> None:
    begun, ended = 0, 0

    async def given() -> AsyncIterator[int]:
        nonlocal ended
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            ended += 1

    async def handler(_event: Any, context: AsyncDurableContext) -> str:
        nonlocal begun
        others = asyncio.all_tasks()
        tasks, comes_so_far = context.conductor.tasks, True
        while comes_so_far:
            done = asyncio.create_task(asyncio.sleep(0))
            waits = asyncio.create_task(asyncio.sleep(0.001))
            await done
            half_read: list[Any] = [given()]
            await anext(half_read[0])
            half_read.append(half_read)  # a circle, which only the collector drops
            del half_read
            begun += 1
            comes_so_far = collecting_at(begun, tasks.are_several)
            assert asyncio.all_tasks() <= {*others, *tasks}
            await waits
        gc.collect()
        await asyncio.sleep(0.001)
        return "done"

    gc.disable()
    gc.freeze()  # what there is besides is not looked at again and again
    try:
        assert Trial(handler).value == "done"
    finally:
        gc.unfreeze()
        gc.enable()
    assert begun == ended > 20
