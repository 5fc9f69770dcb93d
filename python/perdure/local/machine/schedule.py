"""What is due: the executions to invoke now, and the moments at which others move by themselves. Pure."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from perdure.local.machine.execution import Execution

Moment = tuple["datetime", str]
"""When something happens, and what: wait, retry, timeout, heartbeat, invocation or deadline."""
_LIMIT = "deadline"


class _Moments:
    """One moment of each execution, the earliest first."""

    def __init__(self) -> None:
        self._of: dict[str, Moment] = {}
        self._heap: list[tuple[datetime, str, int, Execution]] = []
        self._count = 0

    def put(self, execution: Execution, moment: Moment | None) -> None:
        """Give an execution another moment, or none."""
        if moment is None:
            self._of.pop(execution.arn, None)
        elif self._of.get(execution.arn) != moment:
            self._of[execution.arn] = moment
            self._count += 1
            heappush(self._heap, (*moment, self._count, execution))

    def first(self) -> Moment | None:
        """Return the earliest moment."""
        while self._heap:
            due, what, _, execution = self._heap[0]
            if self._of.get(execution.arn) == (due, what):
                return due, what
            heappop(self._heap)
        return None

    def take(self) -> Execution:
        """Return the execution of the earliest moment, and strike that off."""
        execution = heappop(self._heap)[3]
        del self._of[execution.arn]
        return execution


class Schedule:
    """Looks at an execution only when it is told that the execution has changed.

    The longest life of an execution is a moment like any other once it has come, and on the way to another one. But by
    itself it is none that a driver goes to: who waits for an answer is to hear that it is missing, not to find the
    clock a year later.

    Args:
        jumps: Whether time is passed by jumping; then nobody goes there at all. Else those who sleep wake up for it.

    """

    def __init__(self, *, jumps: bool = True) -> None:
        self._jumps = jumps
        self._ready: dict[str, Execution] = {}
        self._moments = _Moments()
        self._limits = _Moments()

    def touch(self, execution: Execution) -> None:
        """Take note of an execution that is new or has changed."""
        if execution.runnable:
            self._ready[execution.arn] = execution
        else:
            self._ready.pop(execution.arn, None)
        self._moments.put(execution, execution.next_moment())
        limit = execution.limit
        self._limits.put(execution, None if limit is None else (limit, _LIMIT))

    def take_ready(self) -> Execution | None:
        """Return the execution that has waited longest for its invocation, and strike it off."""
        while self._ready:
            execution = self._ready.pop(next(iter(self._ready)))
            if execution.runnable:
                return execution
        return None

    @property
    def has_ready(self) -> bool:
        """Whether an execution waits for its invocation."""
        return bool(self._ready)

    def take_due(self, now: datetime) -> tuple[datetime, Execution] | None:
        """Return the earliest moment that has come and the execution whose it is, and strike the moment off."""
        moment, limit = self._moments.first(), self._limits.first()
        if limit is not None and (moment is None or limit <= moment):
            return (limit[0], self._limits.take()) if limit[0] <= now else None
        return (moment[0], self._moments.take()) if moment is not None and moment[0] <= now else None

    def next_move(self) -> Moment | None:
        """Return the next moment on the way to one at which something moves by itself, None if nothing does."""
        moment, limit = self._moments.first(), self._limits.first()
        return moment if moment is None or limit is None else min(moment, limit)

    def next_moment(self) -> Moment | None:
        """Return the next moment that somebody who only sleeps must not miss."""
        moment = self.next_move()
        return self._limits.first() if moment is None and not self._jumps else moment
