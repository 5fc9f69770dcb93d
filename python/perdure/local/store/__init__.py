"""Where executions live between calls. The service goes through this interface only; stores have a file each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from datetime import datetime

    from perdure.local.machine.execution import Execution
    from perdure.local.machine.history import Event
    from perdure.local.machine.limits import Limits

Summary = dict[str, Any]
"""An `Execution` of the service model, as `ListDurableExecutionsByFunction` returns it."""
Position = tuple[int, int]
"""Where an execution stands in the order of starts: its start in Unix milliseconds, and its number in the store."""


class StoreError(Exception):
    """What executions are kept in cannot be used; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Query:
    """What `ListDurableExecutionsByFunction` asks for."""

    function: str
    version: str | None = None
    name: str | None = None
    statuses: frozenset[str] = field(default_factory=frozenset)
    after: datetime | None = None
    before: datetime | None = None
    oldest_first: bool = False
    position: Position | None = None
    """The last execution of the page before."""


class Store(Protocol):
    """What the service asks of a store: one call at a time, under the service's lock; see `stage` for what is not."""

    evicts: bool
    """Whether finished executions live outside this process, so that the service need not keep them."""

    def open(self, limits: Limits, retry_delay: Callable[[int], float]) -> None:
        """Get ready: what the executions that are read need to know."""

    def add(self, execution: Execution, function: str) -> None:
        """Take a new execution of a function; it is kept from its first `stage` on."""

    def get(self, arn: str) -> Execution | None:
        """Return an execution by its ARN."""

    def find(self, function: str, name: str) -> Execution | None:
        """Return the execution of a function that bears a name, whatever version it runs on."""

    def running(self) -> Iterable[Execution]:
        """Return the executions that have not ended, oldest first."""
        ...

    def stage(self, executions: Collection[Execution]) -> Callable[[], None] | None:
        """Take what has changed in these executions; return what makes it safe, all of it or nothing.

        What is returned is called without the service's lock, while other calls come; never two of them at a time. If
        it raises, the next one does its work as well. None is returned when nothing is left to do.
        """

    def settle(self, execution: Execution) -> None:
        """Hear that a finished execution is safe, and will not change any more unless somebody asks for it again."""

    def delete(self, arn: str) -> None:
        """Forget an execution and its history."""

    def history(self, execution: Execution, first: int, last: int) -> list[Event]:
        """Return the events of an execution that is safe, with numbers from `first` to `last`, both included."""
        ...

    def page(self, query: Query, size: int) -> tuple[list[Summary], Position | None]:
        """Return up to `size` executions, and the position to go on from when there are more."""
        ...

    def expired(self, now: datetime) -> list[str]:
        """Return the ARNs of the executions whose retention has ended."""
        ...

    def next_expiry(self) -> datetime | None:
        """Return when the next retention ends."""

    def close(self) -> None:
        """Let go of files and locks."""


def summary(execution: Execution) -> Summary:
    """Describe an execution as a list does."""
    described = {
        "DurableExecutionArn": execution.arn,
        "DurableExecutionName": execution.name,
        "FunctionArn": execution.function_arn,
        "Status": execution.shown_status,
        "StartTimestamp": execution.started_at,
    }
    if execution.ended_at is not None:
        described["EndTimestamp"] = execution.ended_at
    return described
