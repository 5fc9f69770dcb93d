"""Operations as a test sees them: one class a type, and the operations inside an operation below it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from perdure.lambda_service import ErrorObject, OperationPayload, OperationStatus, OperationType
from perdure.lambda_service import Operation as SvcOperation
from perdure.testing.exceptions import DurableFunctionsTestError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping

OperationT = TypeVar("OperationT", bound="Operation")

_MANY_NAMES = 20


@dataclass(frozen=True)
class Operation:
    """What every operation has. Moments are aware datetimes in UTC, of the service's clock."""

    operation_id: str
    operation_type: OperationType
    status: OperationStatus
    _: KW_ONLY
    parent_id: str | None = None
    name: str | None = None
    sub_type: str | None = None
    start_timestamp: dt.datetime | None = None
    end_timestamp: dt.datetime | None = None

    @property
    def duration(self) -> dt.timedelta | None:
        """How long it took, in the service's time; None while it is open."""
        if self.start_timestamp is None or self.end_timestamp is None:
            return None
        return self.end_timestamp - self.start_timestamp

    @property
    def value(self) -> Any:
        """The result as user code sees it with the default serdes; None when there is none."""
        payload = getattr(self, "result", None)
        if payload is None:
            return None
        return self._read(payload)

    def _read(self, payload: str) -> Any:
        from perdure.serdes import deserialize  # noqa: PLC0415  only for those who ask

        value: Any = deserialize(None, payload, self.operation_id, "")
        return value


@dataclass(frozen=True)
class ExecutionOperation(Operation):
    """The execution itself."""

    input_payload: str | None = None

    @staticmethod
    def from_svc_operation(
        operation: SvcOperation,
        all_operations: list[SvcOperation] | None = None,  # noqa: ARG004  the signature is every class's
    ) -> ExecutionOperation:
        """Make one of the service's operation."""
        details = operation.execution_details
        return ExecutionOperation(
            **_common(operation, OperationType.EXECUTION), input_payload=details.input_payload if details else None
        )


class _Searchable(ABC):
    """Finds operations by name, among those directly below."""

    _what = "Operation"

    @abstractmethod
    def _below(self) -> list[Operation]: ...

    def get_operation_by_name(self, name: str) -> Operation:
        """Give the first operation with a name.

        Raises:
            DurableFunctionsTestError: If there is none; the message says which names there are.

        """
        __tracebackhide__ = True
        return self._find(Operation, name)

    def _find(self, wanted: type[OperationT], name: str) -> OperationT:
        __tracebackhide__ = True
        named = [operation for operation in self._below() if operation.name == name]
        if not named:
            raise self._missing(name)
        # Whoever asks for a step means the step, when a wait bears the same name.
        fitting = [operation for operation in named if type(operation) is wanted]
        return cast("OperationT", (fitting or named)[0])  # the official package does not look at the type

    def _missing(self, name: str) -> DurableFunctionsTestError:
        """Give the error for a name that is not here: it may be misspelt, or of an operation further inside."""
        known = sorted({operation.name for operation in self._below() if operation.name})
        shown = ", ".join(known[:_MANY_NAMES]) + (
            f" and {len(known) - _MANY_NAMES} more" if known[_MANY_NAMES:] else ""
        )
        hint = f"here are: {shown}" if known else "nothing here has a name"
        if inside := _way_to(self._below(), name):
            hint += f"; one is inside: {'.'.join(f'get_context({around!r})' for around in inside)}"
        elif similar := get_close_matches(str(name), known, 1):
            hint += f"; did you mean {similar[0]!r}?"
        return DurableFunctionsTestError(f"{self._what} with name {name!r} not found; {hint}")

    def get_step(self, name: str) -> StepOperation:
        """Give the step (or condition) with a name."""
        __tracebackhide__ = True
        return self._find(StepOperation, name)

    def get_wait(self, name: str) -> WaitOperation:
        """Give the wait with a name."""
        __tracebackhide__ = True
        return self._find(WaitOperation, name)

    def get_context(self, name: str) -> ContextOperation:
        """Give the child context, map, parallel, branch or ``wait_for_callback`` with a name."""
        __tracebackhide__ = True
        return self._find(ContextOperation, name)

    def get_callback(self, name: str) -> CallbackOperation:
        """Give the callback with a name, its own or that of the ``wait_for_callback`` around it."""
        __tracebackhide__ = True
        found: Operation = self._find(CallbackOperation, name)
        if found.sub_type == "WaitForCallback" and isinstance(found, ContextOperation):
            found = next((child for child in found.child_operations if isinstance(child, CallbackOperation)), found)
        return cast("CallbackOperation", found)

    def get_invoke(self, name: str) -> InvokeOperation:
        """Give the chained invoke with a name."""
        __tracebackhide__ = True
        return self._find(InvokeOperation, name)

    def get_execution(self, name: str) -> ExecutionOperation:
        """Give the execution's own operation with a name."""
        __tracebackhide__ = True
        return self._find(ExecutionOperation, name)


@dataclass(frozen=True)
class ContextOperation(Operation, _Searchable):
    """A child context, a map or parallel, or one of their branches."""

    child_operations: list[Operation]
    result: OperationPayload | None = None
    error: ErrorObject | None = None

    _what = "Child Operation"

    def _below(self) -> list[Operation]:
        return self.child_operations

    @staticmethod
    def from_svc_operation(
        operation: SvcOperation, all_operations: list[SvcOperation] | None = None
    ) -> ContextOperation:
        """Make one of the service's operation, with what is below it among ``all_operations``."""
        details = operation.context_details
        return ContextOperation(
            **_common(operation, OperationType.CONTEXT),
            child_operations=_children(operation, all_operations),
            result=details.result if details else None,
            error=details.error if details else None,
        )


@dataclass(frozen=True)
class StepOperation(ContextOperation):
    """A step, or a condition that is polled for; ``attempt`` counts those that have ended."""

    attempt: int = 0
    next_attempt_timestamp: dt.datetime | None = None

    @staticmethod
    def from_svc_operation(operation: SvcOperation, all_operations: list[SvcOperation] | None = None) -> StepOperation:
        """Make one of the service's operation."""
        details = operation.step_details
        return StepOperation(
            **_common(operation, OperationType.STEP),
            child_operations=_children(operation, all_operations),
            attempt=details.attempt if details else 0,
            next_attempt_timestamp=details.next_attempt_timestamp if details else None,
            result=details.result if details else None,
            error=details.error if details else None,
        )


@dataclass(frozen=True)
class WaitOperation(Operation):
    """A wait."""

    scheduled_end_timestamp: dt.datetime | None = None

    @staticmethod
    def from_svc_operation(
        operation: SvcOperation,
        all_operations: list[SvcOperation] | None = None,  # noqa: ARG004  the signature is every class's
    ) -> WaitOperation:
        """Make one of the service's operation."""
        details = operation.wait_details
        return WaitOperation(
            **_common(operation, OperationType.WAIT),
            scheduled_end_timestamp=details.scheduled_end_timestamp if details else None,
        )


@dataclass(frozen=True)
class CallbackOperation(ContextOperation):
    """A callback; its result is the text that the outside has sent."""

    callback_id: str | None = None

    def _read(self, payload: str) -> Any:
        return payload

    @staticmethod
    def from_svc_operation(
        operation: SvcOperation, all_operations: list[SvcOperation] | None = None
    ) -> CallbackOperation:
        """Make one of the service's operation."""
        details = operation.callback_details
        error = details.error if details else None
        if error is None and operation.status is OperationStatus.FAILED:
            error = ErrorObject(None, None, None, None)  # whoever failed it gave no reason
        return CallbackOperation(
            **_common(operation, OperationType.CALLBACK),
            child_operations=_children(operation, all_operations),
            callback_id=details.callback_id if details else None,
            result=details.result if details else None,
            error=error,
        )


@dataclass(frozen=True)
class InvokeOperation(Operation):
    """A chained invoke; its result is the JSON that the function returned."""

    result: OperationPayload | None = None
    error: ErrorObject | None = None

    def _read(self, payload: str) -> Any:
        return json.loads(payload)

    @staticmethod
    def from_svc_operation(
        operation: SvcOperation,
        all_operations: list[SvcOperation] | None = None,  # noqa: ARG004  the signature is every class's
    ) -> InvokeOperation:
        """Make one of the service's operation."""
        details = operation.chained_invoke_details
        return InvokeOperation(
            **_common(operation, OperationType.CHAINED_INVOKE),
            result=details.result if details else None,
            error=details.error if details else None,
        )


class OperationFactory(Protocol):
    """What makes an operation of the service's."""

    @staticmethod
    def from_svc_operation(operation: SvcOperation, all_operations: list[SvcOperation] | None = None) -> Operation:
        """Make one of the service's operation."""
        ...


OPERATION_FACTORIES: Mapping[OperationType, type[OperationFactory]] = {
    OperationType.EXECUTION: ExecutionOperation,
    OperationType.CONTEXT: ContextOperation,
    OperationType.STEP: StepOperation,
    OperationType.WAIT: WaitOperation,
    OperationType.CHAINED_INVOKE: InvokeOperation,
    OperationType.CALLBACK: CallbackOperation,
}


def create_operation(svc_operation: SvcOperation, all_operations: list[SvcOperation] | None = None) -> Operation:
    """Make the operation of the fitting class.

    Raises:
        DurableFunctionsTestError: For a type that is not known.

    """
    factory = OPERATION_FACTORIES.get(svc_operation.operation_type)
    if factory is None:
        raise DurableFunctionsTestError(f"no class stands for operations of the type {svc_operation.operation_type}")
    return factory.from_svc_operation(svc_operation, all_operations)


def tree_of(operations: Iterable[SvcOperation]) -> list[Operation]:
    """Give the operations that stand at the root, the others below them; the execution itself is left out."""
    everything = list(operations)
    return [
        create_operation(operation, everything)
        for operation in everything
        if operation.parent_id is None and operation.operation_type is not OperationType.EXECUTION
    ]


def walk(operations: Iterable[Operation]) -> Iterable[Operation]:
    """Give operations and all that is below them, each before what is below it."""
    for operation in operations:
        yield operation
        if isinstance(operation, ContextOperation):
            yield from walk(operation.child_operations)


def _way_to(operations: Iterable[Operation], name: str) -> list[str | None]:
    """Give the names of the contexts that lead to the first operation of a name; none if it is nowhere inside them."""
    for operation in operations:
        inner = operation.child_operations if isinstance(operation, ContextOperation) else []
        if any(child.name == name for child in inner):
            return [operation.name]
        if further := _way_to(inner, name):
            return [operation.name, *further]
    return []


def _children(operation: SvcOperation, all_operations: list[SvcOperation] | None) -> list[Operation]:
    return [
        create_operation(child, all_operations)
        for child in all_operations or ()
        if child.parent_id == operation.operation_id
    ]


def _common(operation: SvcOperation, expected: OperationType) -> dict[str, Any]:
    if operation.operation_type is not expected:
        raise DurableFunctionsTestError(
            f"operation {operation.name or operation.operation_id} is a {operation.operation_type.value}, "
            f"not a {expected.value}: create_operation() picks the fitting class"
        )
    return {
        "operation_id": operation.operation_id,
        "operation_type": operation.operation_type,
        "status": operation.status,
        "parent_id": operation.parent_id,
        "name": operation.name,
        "sub_type": operation.sub_type,
        "start_timestamp": operation.start_timestamp,
        "end_timestamp": operation.end_timestamp,
    }
