"""How an execution ended, and everything it did."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from perdure.lambda_service import ErrorObject, InvocationStatus, OperationPayload
from perdure.lambda_service import Operation as SvcOperation
from perdure.local.durations import span
from perdure.local.machine.budget import Budget, Prices, budget_of, budget_of_operations
from perdure.testing._failures import failure_of, places_of
from perdure.testing._invocations import Invocations
from perdure.testing.exceptions import DurableFunctionsTestError
from perdure.testing.execution import ExecutionStatus
from perdure.testing.model import events_to_operations
from perdure.testing.operations import ContextOperation, Operation, _Searchable, tree_of, walk
from perdure.testing.tree import in_full, render

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    from perdure.local import ExecutionHandle
    from perdure.testing.model import Event, GetDurableExecutionHistoryResponse, GetDurableExecutionResponse


@dataclass(frozen=True)
class Facts:
    """What a result tells beyond the outcome and the operations.

    Args:
        arn: The execution's ARN.
        name: The execution's name.
        invocations: How many times the handler was called; None where that is not known.
        started: When the execution began.
        ended: When it ended.
        budget: What it used of what the service allows.
        events: Its history.
        failure: The exception that the handler raised, with its traceback, where that is known.

    """

    arn: str = ""
    name: str = ""
    invocations: int | None = None
    started: dt.datetime | None = None
    ended: dt.datetime | None = None
    budget: Budget = field(default_factory=lambda: Budget(0, 0))
    events: Sequence[Event] = ()
    failure: BaseException | None = field(default=None, repr=False, compare=False)


if TYPE_CHECKING:  # with a default, annotations need not name it, as those written for the official package do not
    from typing_extensions import TypeVar as DefaultTypeVar

    T = DefaultTypeVar("T", default=Any)
else:
    T = TypeVar("T")


@dataclass(repr=False)
class DurableFunctionTestResult(_Searchable, Generic[T]):
    """How an execution ended, and what it did. `value` has the type that the handler's annotation gives.

    Args:
        status: How the handler ended; FAILED also for an execution that timed out or was stopped.
        operations: The operations at the root, in the order they were started; the others are below them.
        result: What the handler returned, as JSON.
        error: Why it failed.
        execution_status: The execution's own status, which tells TIMED_OUT and STOPPED from FAILED.
        facts: What else there is to tell.

    """

    status: InvocationStatus
    operations: list[Operation]
    result: OperationPayload | None = None
    error: ErrorObject | None = None
    execution_status: ExecutionStatus | None = None
    facts: Facts = field(default_factory=Facts, compare=False)

    def _below(self) -> list[Operation]:
        return self.operations

    def _missing(self, name: str) -> DurableFunctionsTestError:
        missing = super()._missing(name)
        if self.status is InvocationStatus.SUCCEEDED:
            return missing
        error = DurableFunctionsTestError(f"{missing}. The execution {self._why()}")
        error.__cause__ = self.failure  # which may have kept it from being reached
        return error

    @classmethod
    def create(cls, execution: ExecutionHandle, prices: Prices | None = None) -> DurableFunctionTestResult[T]:
        """Make the result of an execution of a local service.

        Raises:
            DurableFunctionsTestError: If it has not ended.

        """
        if not execution.terminal:
            raise DurableFunctionsTestError(f"execution {execution.name} has not ended, so it has no result")
        machine = execution.machine
        return cls(
            _invocation_status(execution.status),
            operations_of(execution),
            execution.result,
            None if execution.error is None else ErrorObject.from_dict(execution.error),
            ExecutionStatus(execution.status),
            Facts(
                execution.arn,
                execution.name,
                len(execution.invocations),
                machine.started_at,
                machine.ended_at,
                budget_of(execution.machine, prices),
                _EventsOf(execution),
                None if execution.status == "SUCCEEDED" else failure_of(execution),
            ),
        )

    @classmethod
    def from_execution_history(
        cls,
        execution_response: GetDurableExecutionResponse,
        history_response: GetDurableExecutionHistoryResponse,
        prices: Prices | None = None,
    ) -> DurableFunctionTestResult[T]:
        """Make the result of what the API tells of an execution; the history must have been read with its data."""
        told_of, events = execution_response, history_response.events
        operations = events_to_operations(events)
        retention = None if told_of.durable_config is None else told_of.durable_config.retention_period_in_days
        return cls(
            _invocation_status(told_of.status),
            tree_of(operations),
            told_of.result,
            told_of.error,
            ExecutionStatus(told_of.status),
            Facts(
                told_of.durable_execution_arn,
                told_of.durable_execution_name,
                sum(event.event_type == "InvocationCompleted" for event in events),
                told_of.start_timestamp,
                told_of.end_timestamp,
                budget_of_operations([dict(operation.to_dict()) for operation in operations], prices, retention),
                events,
            ),
        )

    @property
    def value(self) -> T:
        """What the handler returned, read from JSON.

        Raises:
            DurableFunctionsTestError: If it did not succeed; its message says why, and what the handler raised is its
                cause.

        """
        __tracebackhide__ = True
        if self.status is not InvocationStatus.SUCCEEDED:
            raise DurableFunctionsTestError(f"the execution has no value, it {self._why()}") from self.failure
        return cast("T", json.loads(self.result) if self.result else None)

    @property
    def failure(self) -> BaseException | None:
        """The exception that the handler raised, with its traceback; None where it is not known, as with cloud runners.

        What led to it is in its chain, an exception of an invoked function, too, if that ran here.
        """
        return self.facts.failure

    @property
    def budget(self) -> Budget:
        """What the execution used of what the service allows."""
        return self.facts.budget

    @property
    def history(self) -> Sequence[Event]:
        """The events of the execution, in order, with their data."""
        return self.facts.events

    @property
    def invocations(self) -> Invocations | None:
        """How many times the handler was called; as a sequence, each of the calls."""
        facts = self.facts
        return None if facts.invocations is None else Invocations(facts.invocations, facts.events)

    @property
    def duration(self) -> dt.timedelta | None:
        """How long the execution took, in the service's time."""
        started, ended = self.facts.started, self.facts.ended
        return None if started is None or ended is None else ended - started

    def get_all_operations(self) -> list[Operation]:
        """Give all operations, also nested ones, the last first, as the official package does; see also `walk`."""
        found: list[Operation] = []
        left = list(self.operations)
        while left:
            operation = left.pop()
            found.append(operation)
            if isinstance(operation, ContextOperation):
                left += operation.child_operations
        return found

    def walk(self) -> Iterator[Operation]:
        """Go through all operations in the order of the tree."""
        yield from walk(self.operations)

    def tree(self) -> str:
        """Draw the execution: a line for itself, and one for each operation."""
        error = "" if self.error is None else f" with {' '.join(in_full(self.error).split())}"
        return "\n".join(part for part in (f"{self._headline()}{error}", render(self.operations)) if part)

    def _headline(self) -> str:
        """Say in a line how the execution ended, but not of what."""
        facts = [self.facts.name or "execution", self._outcome()]
        if self.duration is not None:
            facts.append(f"after {span(self.duration)}")
        if calls := self.facts.invocations:
            facts.append(f"in {calls} invocation{'s' if calls > 1 else ''}")
        return " ".join(facts)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}\n{self.tree()}>"

    def _why(self) -> str:
        """Say what the execution ended with, where that was raised, and what it did."""
        error = "" if self.error is None else f": {in_full(self.error)}"
        parts = [f"{self._outcome()}{error}", *places_of(self.failure), self._headline(), render(self.operations)]
        return "\n".join(part for part in parts if part)

    def _outcome(self) -> str:
        return self.execution_status.value if self.execution_status else self.status.value


class _EventsOf(Sequence["Event"]):
    """A sequence of events that is read when somebody looks."""

    def __init__(self, execution: ExecutionHandle) -> None:
        self._execution = execution
        self._read: list[Event] | None = None

    def _events(self) -> list[Event]:
        if self._read is None:
            from perdure.history.reading import read_history  # noqa: PLC0415  only for those who look

            self._read = read_history(self._execution.service.client, self._execution.arn)
        return self._read

    def __len__(self) -> int:
        return len(self._events())

    def __getitem__(self, index: Any) -> Any:
        return self._events()[index]


def operations_of(execution: ExecutionHandle) -> list[Operation]:
    """Give the tree of operations of a local execution, as it is now."""
    return tree_of([SvcOperation.from_dict(operation) for operation in execution.operations])


def _invocation_status(status: str) -> InvocationStatus:
    if status == "RUNNING":
        return InvocationStatus.PENDING
    return InvocationStatus.SUCCEEDED if status == "SUCCEEDED" else InvocationStatus.FAILED
