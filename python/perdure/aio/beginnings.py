"""Tasks that were made and have not begun: they do so before the next operation takes its position.

A task begins in the next turn of the loop. Whether there is one before its maker comes to another operation depends on
what is recorded by then: what is recorded takes no turn. A task that comes to an operation would get another position
on replay. So all that were made are begun, in the order in which they were made, where an operation is called: as if
the loop had had a turn there. What comes of it is the order of tasks that begin where they are made
(`asyncio.eager_task_factory`).

A task that has begun sees those that it has made itself: the others come after its first step, as in the loop.

What a first step has the loop call, that is made so, comes a turn later in the loop: after the first steps of those
tasks as well that whoever called the operation makes next. So those are begun before it. (A group of tasks cancels the
others when one has failed, which what is recorded does at once: they would never come to the operations that they had
come to.)
"""

from __future__ import annotations

import asyncio
from asyncio import events
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context


class FirstStep:
    """The first step of a task, as the loop calls it: in its turn, unless it was made before.

    Args:
        of: Where it is to be made.
        step: What the task has asked the loop to call.
        context: The variables it has.

    """

    __slots__ = ("_of", "_step", "context")

    def __init__(self, of: Beginnings, step: Callable[[], None], context: Context) -> None:
        self._of = of
        self._step: Callable[[], None] | None = step
        self.context = context

    @property
    def is_made(self) -> bool:
        """Whether the task has begun."""
        return self._step is None

    def __call__(self) -> None:
        """Make it, if that was not done before."""
        step, self._step = self._step, None
        if step is None:
            return
        of = self._of
        others, of.made = of.made, deque()
        try:
            step()
        finally:
            while others and others[0].is_made:
                others.popleft()
            others.extend(of.made)
            of.made = others


class _After:
    """What a first step that was made early has the loop call: after the tasks have begun that were made meanwhile."""

    __slots__ = ("_callback", "_loop", "_of")

    def __init__(self, of: Beginnings, loop: asyncio.AbstractEventLoop, callback: Callable[..., object]) -> None:
        self._of = of
        self._loop = loop
        self._callback = callback

    def __call__(self, *given: Any) -> None:
        self._of.begin(self._loop)
        self._callback(*given)


class Beginnings:
    """The tasks of an invocation that have not begun."""

    __slots__ = ("_coroutine", "_early", "made")

    def __init__(self) -> None:
        self.made: deque[FirstStep] = deque()
        self._coroutine: Any = None
        self._early: asyncio.AbstractEventLoop | None = None

    def make(self, create: Callable[..., Any], coroutine: Any, options: dict[str, Any]) -> Any:
        """Make a task; what it asks the loop for meanwhile is its first step (`noted`), unless that is made at once."""
        self._coroutine = coroutine
        try:
            return create(coroutine, **options)
        finally:
            self._coroutine = None

    def noted(self, step: Callable[[], None], context: Context | None) -> Callable[[], None]:
        """Give what the loop is to call instead of what it is asked to."""
        coroutine, self._coroutine = self._coroutine, None
        if coroutine is None or context is None or not _is_to_begin(coroutine):
            return step if self._early is None else _After(self, self._early, step)
        first = FirstStep(self, step, context)
        self.made.append(first)
        return first

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have all tasks that were made begin."""
        if events._get_running_loop() is not loop:  # noqa: SLF001  documented; another thread's call
            return
        current = asyncio.current_task(loop)
        if current is not None:
            asyncio.tasks._leave_task(loop, current)  # noqa: SLF001  documented, for implementers
        before, self._early = self._early, loop
        try:
            while self.made:
                _make(self.made.popleft())
        finally:
            self._early = before
            if current is not None:
                asyncio.tasks._enter_task(loop, current)  # noqa: SLF001


def _is_to_begin(coroutine: Any) -> bool:
    """Whether a coroutine has not begun. What else tasks are made of calls no operation: those that were called."""
    return getattr(coroutine, "cr_frame", None) is not None and not (coroutine.cr_running or coroutine.cr_suspended)


def _make(first: FirstStep) -> None:
    try:
        first.context.run(first)
    except RuntimeError:
        if first.is_made:
            raise
        # Its variables are those that run here already: it begins in its turn.
