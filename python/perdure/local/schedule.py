"""What is due: the executions to invoke now, and the moments at which others move by themselves. Pure."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from perdure.local.machine import Execution

Moment = tuple["datetime", str]
"""When something happens, and what: wait, retry, timeout, heartbeat, invocation or deadline."""


class Schedule:
    """Looks at an execution only when it is told that the execution has changed."""

    def __init__(self) -> None:
        self._ready: dict[str, Execution] = {}
        self._moments: dict[str, Moment] = {}
        self._heap: list[tuple[datetime, str, int, Execution]] = []
        self._count = 0

    def touch(self, execution: Execution) -> None:
        """Take note of an execution that is new or has changed."""
        arn = execution.arn
        if execution.runnable:
            self._ready[arn] = execution
        else:
            self._ready.pop(arn, None)
        moment = execution.next_moment()
        if moment is None:
            self._moments.pop(arn, None)
        elif self._moments.get(arn) != moment:
            self._moments[arn] = moment
            self._count += 1
            heappush(self._heap, (*moment, self._count, execution))

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

    def take_due(self, now: datetime) -> Execution | None:
        """Return an execution whose moment has come, and strike the moment off."""
        self._drop_stale()
        if not self._heap or self._heap[0][0] > now:
            return None
        execution = heappop(self._heap)[3]
        self._moments.pop(execution.arn, None)
        return execution

    def next_moment(self) -> Moment | None:
        """Return the next moment anything moves by itself."""
        self._drop_stale()
        return self._heap[0][:2] if self._heap else None

    def _drop_stale(self) -> None:
        while self._heap:
            due, what, _, execution = self._heap[0]
            if self._moments.get(execution.arn) == (due, what):
                return
            heappop(self._heap)
