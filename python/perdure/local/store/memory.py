"""Executions in a dict, for as long as the process lives."""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING

from perdure.local.machine import history
from perdure.local.machine.clock import to_millis
from perdure.local.store import summary

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from datetime import datetime

    from perdure.local.machine.execution import Execution
    from perdure.local.machine.history import Event
    from perdure.local.machine.limits import Limits
    from perdure.local.store import Position, Query, Summary


class MemoryStore:
    """Executions in a dict, for as long as the process lives."""

    evicts = False

    def __init__(self) -> None:
        self._all: dict[str, Execution] = {}
        self._names: dict[tuple[str, str], Execution] = {}
        self._running: dict[str, Execution] = {}
        self._functions: dict[str, list[tuple[int, int, str]]] = {}
        self._keys: dict[str, tuple[str, tuple[int, int, str]]] = {}
        self._expiries: list[tuple[datetime, str]] = []
        self._count = 0

    def open(self, limits: Limits, retry_delay: Callable[[int], float]) -> None:
        """Do nothing: there is nothing to read."""

    def add(self, execution: Execution, function: str) -> None:
        """Take a new execution."""
        self._count += 1
        key = (to_millis(execution.started_at), self._count, execution.arn)
        self._all[execution.arn] = execution
        self._names[function, execution.name] = execution
        self._running[execution.arn] = execution
        insort(self._functions.setdefault(function, []), key)
        self._keys[execution.arn] = (function, key)

    def get(self, arn: str) -> Execution | None:
        """Return an execution by its ARN."""
        return self._all.get(arn)

    def find(self, function: str, name: str) -> Execution | None:
        """Return the execution of a function that bears a name."""
        return self._names.get((function, name))

    def running(self) -> Iterable[Execution]:
        """Return the executions that have not ended, oldest first."""
        return tuple(self._running.values())

    def stage(self, executions: Collection[Execution]) -> None:
        """Note which executions have ended; everything else is kept already."""
        for execution in executions:
            execution.unsaved.clear()
            if execution.terminal and self._running.pop(execution.arn, None) is not None:
                expires = execution.expires_at
                if expires is not None:
                    insort(self._expiries, (expires, execution.arn))

    def settle(self, execution: Execution) -> None:
        """Do nothing: everything stays in memory."""

    def delete(self, arn: str) -> None:
        """Forget an execution."""
        execution = self._all.pop(arn, None)
        if execution is None:
            return
        function, key = self._keys.pop(arn)
        self._functions[function].remove(key)
        del self._names[function, execution.name]
        self._running.pop(arn, None)
        self._expiries = [entry for entry in self._expiries if entry[1] != arn]

    def history(self, execution: Execution, first: int, last: int) -> list[Event]:
        """Return events by their numbers."""
        return [history.render(record) for record in execution.log[first - 1 : last]]

    def page(self, query: Query, size: int) -> tuple[list[Summary], Position | None]:
        """Return a page of summaries."""
        keys: Iterable[tuple[int, int, str]] = self._functions.get(query.function, ())
        if not query.oldest_first:
            keys = reversed(list(keys))
        page: list[Summary] = []
        last: Position | None = None
        for *place, arn in keys:
            execution, position = self._all[arn], (place[0], place[1])
            if not self._matches(execution, position, query):
                continue
            if len(page) == size:
                return page, last
            page.append(summary(execution))
            last = position
        return page, None

    @staticmethod
    def _matches(execution: Execution, position: Position, query: Query) -> bool:
        if query.position is not None and not (
            position > query.position if query.oldest_first else position < query.position
        ):
            return False
        if query.version is not None and execution.version != query.version:
            return False
        if query.name is not None and execution.name != query.name:
            return False
        if query.statuses and execution.shown_status not in query.statuses:
            return False
        if query.after is not None and execution.started_at <= query.after:
            return False
        return query.before is None or execution.started_at < query.before

    def expired(self, now: datetime) -> list[str]:
        """Return the ARNs of the executions whose retention has ended."""
        return [arn for expires, arn in self._expiries if expires <= now]

    def next_expiry(self) -> datetime | None:
        """Return when the next retention ends."""
        return self._expiries[0][0] if self._expiries else None

    def close(self) -> None:
        """Do nothing."""
