"""Where executions live between calls. The service goes through this interface only; SQLite will be another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perdure.local.machine import Execution


class Store(Protocol):
    """What the service asks of a store. Calls come one at a time, under the service's lock."""

    def add(self, execution: Execution) -> None:
        """Take a new execution."""
        ...

    def get(self, arn: str) -> Execution | None:
        """Return an execution by its ARN."""
        ...

    def find(self, function_arn: str, name: str) -> Execution | None:
        """Return the execution of a function that bears a name."""
        ...

    def running(self) -> Iterable[Execution]:
        """Return the executions that have not ended, oldest first."""
        ...

    def save(self, execution: Execution) -> None:
        """Keep what has changed in an execution."""
        ...


class MemoryStore:
    """Executions in a dict, for as long as the process lives."""

    def __init__(self) -> None:
        self._all: dict[str, Execution] = {}
        self._names: dict[tuple[str, str], Execution] = {}
        self._running: dict[str, Execution] = {}

    def add(self, execution: Execution) -> None:
        """Take a new execution."""
        self._all[execution.arn] = execution
        self._names[execution.function_arn, execution.name] = execution
        self._running[execution.arn] = execution

    def get(self, arn: str) -> Execution | None:
        """Return an execution by its ARN."""
        return self._all.get(arn)

    def find(self, function_arn: str, name: str) -> Execution | None:
        """Return the execution of a function that bears a name."""
        return self._names.get((function_arn, name))

    def running(self) -> Iterable[Execution]:
        """Return the executions that have not ended, oldest first."""
        return tuple(self._running.values())

    def save(self, execution: Execution) -> None:
        """Keep what has changed: in memory only whether the execution still runs."""
        if execution.terminal:
            self._running.pop(execution.arn, None)
