"""An execution as a test or the command line sees it, and the record of its invocations."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from perdure.local.event_forms import EventForms

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from threading import Condition

    from perdure.local.client import LocalClient
    from perdure.local.functions import Functions
    from perdure.local.machine.execution import Execution
    from perdure.local.machine.transitions import Operation
    from perdure.local.machine.validation import Update


@dataclass(slots=True)
class Invocation:
    """One call of a handler: when it began, what it returned or raised."""

    number: int
    started_at: datetime
    ended_at: datetime | None = None
    output: Any = None
    exception: BaseException | None = None
    cut: bool = False
    timed_out: bool = False
    failures: list[BaseException] = field(default_factory=list)
    """The exceptions of the user's code that the SDK has shown to the event, in order."""

    @property
    def failure(self) -> BaseException | None:
        """The exception of the user's code that it ended with, if there is one to be shown."""
        return self.failures[-1] if self.failures else self.exception

    @property
    def outcome(self) -> str:
        """SUCCEEDED, FAILED or PENDING as returned; RAISED, CUT, TIMED_OUT, INVALID, or RUNNING."""
        if self.timed_out:
            return "TIMED_OUT"
        if self.cut:
            return "CUT"
        if self.exception is not None:
            return "RAISED"
        if self.ended_at is None:
            return "RUNNING"
        status = self.output.get("Status") if isinstance(self.output, dict) else None
        return status if isinstance(status, str) else "INVALID"


class Service(Protocol):
    """What one comes to from a handle: the service that it is of. `LocalService` documents it."""

    client: LocalClient
    functions: Functions
    wake: Condition

    @property
    def handles(self) -> dict[str, ExecutionHandle]:
        """The executions by ARN."""
        ...

    def execution(self, arn: str) -> ExecutionHandle:
        """Return the handle of an execution by its ARN."""
        ...

    def drive(self, handle: ExecutionHandle, *, stop_at_callback: bool = False, wait: float = 0.0) -> ExecutionHandle:
        """Run an execution on."""
        ...


class ExecutionHandle:
    """One execution of a local service."""

    def __init__(self, service: Service, execution: Execution) -> None:
        self.service = service
        self.machine = execution
        self.listeners: list[Callable[[], None]] = []
        """Called once when the execution ends, under the service's lock."""
        self.reported = False
        """Whether the execution that invoked this one has heard of its end."""
        self.forms = EventForms()
        self.invocations: list[Invocation] = []
        self.updates: list[Update] = []
        """Every update the service has received and applied, in order."""
        self.batches: list[list[Update]] = []
        """The same updates, by checkpoint; an empty list is a call that only asked for news."""

    def __repr__(self) -> str:
        return f"<ExecutionHandle {self.name} {self.status}>"

    @property
    def parent(self) -> tuple[str, str] | None:
        """(ARN, operation id) of the chained invoke that started this execution."""
        return self.machine.origin.parent

    @property
    def arn(self) -> str:
        """The ARN of the execution."""
        return self.machine.arn

    @property
    def name(self) -> str:
        """The name of the execution."""
        return self.machine.name

    @property
    def status(self) -> str:
        """RUNNING, PAUSING, PAUSED, SUCCEEDED, FAILED, TIMED_OUT or STOPPED; DELETING on the way out."""
        return self.machine.shown_status

    @property
    def terminal(self) -> bool:
        """Whether the execution has ended."""
        return self.machine.terminal

    @property
    def result(self) -> str | None:
        """The result as the handler serialised it."""
        return self.machine.result

    @property
    def value(self) -> Any:
        """The result, read as JSON; None when there is none."""
        return json.loads(self.machine.result) if self.machine.result else None

    @property
    def error(self) -> dict[str, Any] | None:
        """The error object of an execution that did not succeed."""
        return self.machine.error

    @property
    def operations(self) -> list[Operation]:
        """The operations in the order they were started, without the execution itself."""
        operations = self.machine.operations
        return [operation for key, operation in operations.items() if key != self.machine.execution_id]

    def operation(self, name: str) -> Operation:
        """Return the first operation that bears a name."""
        for operation in self.operations:
            if operation.get("Name") == name:
                return operation
        known = ", ".join(sorted({str(operation.get("Name")) for operation in self.operations}))
        raise KeyError(f"No operation is named {name!r}. Named are: {known}.")

    @property
    def open_callbacks(self) -> list[Operation]:
        """The callbacks that wait for an answer."""
        return [o for o in self.operations if o["Type"] == "CALLBACK" and o["Status"] == "STARTED"]

    @property
    def open_invokes(self) -> list[Operation]:
        """The chained invokes that have not come back."""
        return [o for o in self.operations if o["Type"] == "CHAINED_INVOKE" and o["Status"] == "STARTED"]

    def callback_id(self, name: str | None = None) -> str:
        """Return the id of an open callback: the only one, or the one with a name.

        The name is that of the callback, or of the `wait_for_callback` around it.
        """
        for operation in self.open_callbacks:
            if name is None or name in self.names_of(operation):
                return str(operation["CallbackDetails"]["CallbackId"])
        raise KeyError(f"No open callback{'' if name is None else f' is named {name!r}'}.")

    def names_of(self, callback: Operation) -> list[str | None]:
        """Return the names of a callback, the best known first: that of the `wait_for_callback` around it, its own."""
        parent = self.machine.operations.get(callback.get("ParentId", ""), {})
        around = [parent.get("Name")] if parent.get("SubType") == "WaitForCallback" else []
        return [*around, callback.get("Name")]

    def drive(self, *, stop_at_callback: bool = False, wait: float = 0.0) -> ExecutionHandle:
        """Run the execution on; see `LocalService.drive`."""
        self.service.drive(self, stop_at_callback=stop_at_callback, wait=wait)
        return self
