"""The two large shapes of the Lambda API: a recorded operation, and an update of one.

Users import them from `perdure.lambda_service`.
"""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from perdure._wire_types import (
    CallbackDetails,
    CallbackOptions,
    ChainedInvokeDetails,
    ChainedInvokeOptions,
    ContextDetails,
    ContextOptions,
    ErrorObject,
    ExecutionDetails,
    OperationAction,
    OperationStatus,
    OperationType,
    StepDetails,
    StepOptions,
    TimestampConverter,
    WaitDetails,
    WaitOptions,
    read_error,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping


class Identifier(Protocol):
    """What an update takes of an `OperationIdentifier`."""

    @property
    def operation_id(self) -> str:
        """Its id."""
        ...

    @property
    def sub_type(self) -> str:
        """The SDK's or the user's kind."""
        ...

    @property
    def parent_id(self) -> str | None:
        """The context it belongs to; None at the root."""
        ...

    @property
    def name(self) -> str | None:
        """Its name, if it has one."""
        ...


@dataclass(frozen=True)
class Operation:
    """One operation of the history.

    Args:
        operation_id: Its id, which depends only on its position.
        operation_type: The service's kind.
        status: Where it stands.
        parent_id: The context it belongs to; None at the root.
        name: Its name, if it has one.
        start_timestamp: When it started.
        end_timestamp: When it ended.
        sub_type: The SDK's or the user's kind.
        execution_details: For EXECUTION.
        context_details: For CONTEXT.
        step_details: For STEP.
        wait_details: For WAIT.
        callback_details: For CALLBACK.
        chained_invoke_details: For CHAINED_INVOKE.

    """

    operation_id: str
    operation_type: OperationType
    status: OperationStatus
    parent_id: str | None = None
    name: str | None = None
    start_timestamp: dt.datetime | None = None
    end_timestamp: dt.datetime | None = None
    sub_type: str | None = None
    execution_details: ExecutionDetails | None = None
    context_details: ContextDetails | None = None
    step_details: StepDetails | None = None
    wait_details: WaitDetails | None = None
    callback_details: CallbackDetails | None = None
    chained_invoke_details: ChainedInvokeDetails | None = None

    @classmethod
    def from_dict(cls, data: MutableMapping[str, Any]) -> Operation:
        """Read the API's form, in which timestamps are datetimes. Unknown fields are ignored.

        Raises:
            KeyError: Without an ``Id``.
            ValueError: For a type or status that is not known.

        """
        details = {field: read(data[key]) for key, field, read in _DETAILS if data.get(key)}
        return cls(
            operation_id=data["Id"],
            operation_type=OperationType(data.get("Type")),
            status=OperationStatus(data.get("Status")),
            parent_id=data.get("ParentId"),
            name=data.get("Name"),
            start_timestamp=data.get("StartTimestamp"),
            end_timestamp=data.get("EndTimestamp"),
            sub_type=data.get("SubType") or None,
            **details,
        )

    @classmethod
    def from_json_dict(cls, data: MutableMapping[str, Any]) -> Operation:
        """Read the Lambda event's form, in which timestamps are Unix milliseconds; datetimes are taken as well."""
        return cls.from_dict(_map_timestamps(data, _to_datetime))

    def to_dict(self) -> MutableMapping[str, Any]:
        """Give the API's form. What is absent is left out, but a recorded empty result is kept."""
        result: dict[str, Any] = {
            "Id": self.operation_id,
            "Type": self.operation_type.value,
            "Status": self.status.value,
        }
        _put_truthy(
            result,
            ParentId=self.parent_id,
            Name=self.name,
            StartTimestamp=self.start_timestamp,
            EndTimestamp=self.end_timestamp,
            SubType=self.sub_type,
        )
        for key, field, _read in _DETAILS:
            details = getattr(self, field)
            if details is not None:
                result[key] = dict(_members(key, details))
        return result

    def to_json_dict(self) -> MutableMapping[str, Any]:
        """Give the Lambda event's form, in which timestamps are Unix milliseconds."""
        return _map_timestamps(self.to_dict(), TimestampConverter.to_unix_millis)


_DETAILS: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    ("ExecutionDetails", "execution_details", ExecutionDetails.from_dict),
    ("ContextDetails", "context_details", ContextDetails.from_dict),
    ("StepDetails", "step_details", StepDetails.from_dict),
    ("WaitDetails", "wait_details", WaitDetails.from_dict),
    ("CallbackDetails", "callback_details", CallbackDetails.from_dict),
    ("ChainedInvokeDetails", "chained_invoke_details", ChainedInvokeDetails.from_dict),
)


# When a member of details is written: always; if it is set; if it is given, also when it is empty, where the official
# SDK drops it.
_ALWAYS, _SET, _GIVEN = "always", "set", "given"
_OUTCOME = (("Result", "result", _GIVEN), ("Error", "error", _GIVEN))
_MEMBERS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "ExecutionDetails": (("InputPayload", "input_payload", _ALWAYS),),
    "ContextDetails": (
        ("Result", "result", _ALWAYS),
        ("Error", "error", _GIVEN),
        ("ReplayChildren", "replay_children", _SET),
    ),
    "StepDetails": (
        ("Attempt", "attempt", _ALWAYS),
        ("NextAttemptTimestamp", "next_attempt_timestamp", _SET),
        *_OUTCOME,
    ),
    "WaitDetails": (("ScheduledEndTimestamp", "scheduled_end_timestamp", _SET),),
    "CallbackDetails": (("CallbackId", "callback_id", _ALWAYS), *_OUTCOME),
    "ChainedInvokeDetails": _OUTCOME,
}


def _members(key: str, details: Any) -> Iterator[tuple[str, Any]]:
    """Give the members that are written of an operation's details."""
    for member, field, when in _MEMBERS[key]:
        value = getattr(details, field)
        if when == _ALWAYS or (value if when == _SET else value is not None):
            yield member, value.to_dict() if isinstance(value, ErrorObject) else value


def _put_truthy(target: dict[str, Any], **values: Any) -> None:
    target.update((key, value) for key, value in values.items() if value)


def _put_error(target: dict[str, Any], error: ErrorObject | None) -> None:
    if error is not None:
        target["Error"] = error.to_dict()


def _to_datetime(value: Any) -> dt.datetime | None:
    return value if isinstance(value, dt.datetime) else TimestampConverter.from_unix_millis(value)


def _map_timestamps(data: MutableMapping[str, Any], convert: Callable[[Any], Any]) -> dict[str, Any]:
    """Copy an operation with each of its four timestamps converted."""
    result = dict(data)
    for key in ("StartTimestamp", "EndTimestamp"):
        if result.get(key) is not None:
            result[key] = convert(result[key])
    for key, inner in (("StepDetails", "NextAttemptTimestamp"), ("WaitDetails", "ScheduledEndTimestamp")):
        details = result.get(key)
        if details and details.get(inner) is not None:
            result[key] = {**details, inner: convert(details[inner])}
    return result


@dataclass(frozen=True)
class OperationUpdate:
    """One change to be recorded; made by the ``create_…`` methods.

    Args:
        operation_id: The operation's id.
        operation_type: The service's kind.
        action: What happens to it.
        parent_id: The context it belongs to; None at the root.
        name: Its name, if it has one.
        sub_type: The SDK's or the user's kind.
        payload: The result, the state, or what is sent to an invoked function.
        error: The failure.
        context_options: With a context's SUCCEED.
        step_options: With a RETRY.
        wait_options: With a wait's START.
        callback_options: With a callback's START.
        chained_invoke_options: With an invoke's START.

    """

    operation_id: str
    operation_type: OperationType
    action: OperationAction
    parent_id: str | None = None
    name: str | None = None
    sub_type: str | None = None
    payload: str | None = None
    error: ErrorObject | None = None
    context_options: ContextOptions | None = None
    step_options: StepOptions | None = None
    wait_options: WaitOptions | None = None
    callback_options: CallbackOptions | None = None
    chained_invoke_options: ChainedInvokeOptions | None = None

    def to_dict(self) -> MutableMapping[str, Any]:
        """Give the API's form; what is absent is left out."""
        result: dict[str, Any] = {
            "Id": self.operation_id,
            "Type": self.operation_type.value,
            "Action": self.action.value,
        }
        _put_truthy(result, ParentId=self.parent_id, Name=self.name, SubType=self.sub_type)
        if self.payload is not None:
            result["Payload"] = self.payload
        _put_error(result, self.error)
        for key, field, _read in _OPTIONS:
            options = getattr(self, field)
            if options is not None:
                result[key] = options.to_dict()
        return result

    @classmethod
    def from_dict(cls, data: MutableMapping[str, Any]) -> OperationUpdate:
        """Read the API's form. Unknown fields are ignored.

        Raises:
            KeyError: Without an ``Id``.
            ValueError: For a type or action that is not known.

        """
        options = {field: read(data[key]) for key, field, read in _OPTIONS if data.get(key)}
        return cls(
            operation_id=data["Id"],
            operation_type=OperationType(data.get("Type")),
            action=OperationAction(data.get("Action")),
            parent_id=data.get("ParentId"),
            name=data.get("Name"),
            sub_type=data.get("SubType") or None,
            payload=data.get("Payload"),
            error=read_error(data),
            **options,
        )

    @classmethod
    def _create(
        cls, identifier: Identifier, kind: OperationType, action: OperationAction, **fields: Any
    ) -> OperationUpdate:
        return cls(
            operation_id=identifier.operation_id,
            operation_type=kind,
            action=action,
            parent_id=identifier.parent_id,
            name=identifier.name,
            sub_type=identifier.sub_type,
            **fields,
        )

    @classmethod
    def create_callback(cls, identifier: Identifier, callback_options: CallbackOptions) -> OperationUpdate:
        """Start a callback; the response carries its callback id."""
        return cls._create(identifier, OperationType.CALLBACK, OperationAction.START, callback_options=callback_options)

    @classmethod
    def create_context_start(cls, identifier: Identifier) -> OperationUpdate:
        """Start a child context, map, parallel or branch."""
        return cls._create(identifier, OperationType.CONTEXT, OperationAction.START)

    @classmethod
    def create_context_succeed(
        cls, identifier: Identifier, payload: str | None, *, context_options: ContextOptions | None = None
    ) -> OperationUpdate:
        """Complete a context with its result."""
        return cls._create(
            identifier,
            OperationType.CONTEXT,
            OperationAction.SUCCEED,
            payload=payload,
            context_options=context_options,
        )

    @classmethod
    def create_context_fail(cls, identifier: Identifier, error: ErrorObject) -> OperationUpdate:
        """Fail a context."""
        return cls._create(identifier, OperationType.CONTEXT, OperationAction.FAIL, error=error)

    @classmethod
    def create_execution_succeed(cls, payload: str) -> OperationUpdate:
        """Complete the execution with a result that is too large for the invocation's response."""
        return cls(_execution_result_id(), OperationType.EXECUTION, OperationAction.SUCCEED, payload=payload)

    @classmethod
    def create_execution_fail(cls, error: ErrorObject) -> OperationUpdate:
        """Fail the execution with an error that is too large for the invocation's response."""
        return cls(_execution_result_id(), OperationType.EXECUTION, OperationAction.FAIL, error=error)

    @classmethod
    def create_step_start(cls, identifier: Identifier) -> OperationUpdate:
        """Start an attempt of a step."""
        return cls._create(identifier, OperationType.STEP, OperationAction.START)

    @classmethod
    def create_step_succeed(cls, identifier: Identifier, payload: str | None) -> OperationUpdate:
        """Complete a step with its result."""
        return cls._create(identifier, OperationType.STEP, OperationAction.SUCCEED, payload=payload)

    @classmethod
    def create_step_fail(cls, identifier: Identifier, error: ErrorObject) -> OperationUpdate:
        """Fail a step for good."""
        return cls._create(identifier, OperationType.STEP, OperationAction.FAIL, error=error)

    @classmethod
    def create_step_retry(
        cls, identifier: Identifier, error: ErrorObject, next_attempt_delay_seconds: int
    ) -> OperationUpdate:
        """Record a failed attempt of a step, and when the next is due (in seconds, at least 1)."""
        return cls._create(
            identifier,
            OperationType.STEP,
            OperationAction.RETRY,
            error=error,
            step_options=StepOptions(next_attempt_delay_seconds),
        )

    @classmethod
    def create_invoke_start(
        cls, identifier: Identifier, payload: str | None, chained_invoke_options: ChainedInvokeOptions
    ) -> OperationUpdate:
        """Start another function."""
        return cls._create(
            identifier,
            OperationType.CHAINED_INVOKE,
            OperationAction.START,
            payload=payload,
            chained_invoke_options=chained_invoke_options,
        )

    @classmethod
    def create_wait_for_condition_start(cls, identifier: Identifier) -> OperationUpdate:
        """Start a check of a wait_for_condition."""
        return cls._create(identifier, OperationType.STEP, OperationAction.START)

    @classmethod
    def create_wait_for_condition_succeed(cls, identifier: Identifier, payload: str | None) -> OperationUpdate:
        """Complete a wait_for_condition with its last state."""
        return cls._create(identifier, OperationType.STEP, OperationAction.SUCCEED, payload=payload)

    @classmethod
    def create_wait_for_condition_retry(
        cls, identifier: Identifier, payload: str | None, next_attempt_delay_seconds: int
    ) -> OperationUpdate:
        """Record the state of a wait_for_condition, and when the next check is due (in seconds, at least 1)."""
        return cls._create(
            identifier,
            OperationType.STEP,
            OperationAction.RETRY,
            payload=payload,
            step_options=StepOptions(next_attempt_delay_seconds),
        )

    @classmethod
    def create_wait_for_condition_fail(cls, identifier: Identifier, error: ErrorObject) -> OperationUpdate:
        """Fail a wait_for_condition."""
        return cls._create(identifier, OperationType.STEP, OperationAction.FAIL, error=error)

    @classmethod
    def create_wait_start(cls, identifier: Identifier, wait_options: WaitOptions) -> OperationUpdate:
        """Start a wait; the service completes it."""
        return cls._create(identifier, OperationType.WAIT, OperationAction.START, wait_options=wait_options)


def _execution_result_id() -> str:
    return f"execution-result-{int(time.time() * 1000)}"


_OPTIONS: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    ("ContextOptions", "context_options", ContextOptions.from_dict),
    ("StepOptions", "step_options", StepOptions.from_dict),
    ("WaitOptions", "wait_options", WaitOptions.from_dict),
    ("CallbackOptions", "callback_options", CallbackOptions.from_dict),
    ("ChainedInvokeOptions", "chained_invoke_options", ChainedInvokeOptions.from_dict),
)
