"""Plugins: code that is told what an execution does, for traces, metrics and audits.

A plugin is a `DurableInstrumentationPlugin`, made anew for each invocation by a factory that is named once, in
``@durable_execution(plugins=[...])`` or in the environment (`perdure.plugin_discovery`).

Example:
    >>> class Printing(DurableInstrumentationPlugin):
    ...     def on_operation_end(self, info):
    ...         print(info.name, info.status.value)
    ...
    >>> class PrintingFactory:
    ...     def create_plugin(self, info):
    ...         return Printing()
    ...
    >>> plugins = [PrintingFactory()]

"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from perdure._core import OperationFields
from perdure.lambda_service import DurableExecutionInvocationOutput, ErrorObject, Operation, OperationStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DurableExecutionInvocationOutput",
    "DurableInstrumentationPlugin",
    "DurableInstrumentationPluginFactory",
    "ErrorObject",
    "InvocationEndInfo",
    "InvocationInfo",
    "InvocationStartInfo",
    "InvocationStatus",
    "Operation",
    "OperationChangeInfo",
    "OperationEndInfo",
    "OperationInfo",
    "OperationStartInfo",
    "OperationStatus",
    "OperationType",
    "PropagationInput",
    "PropagationMetadata",
    "UserFunctionEndInfo",
    "UserFunctionOutcome",
    "UserFunctionStartInfo",
]

T = TypeVar("T")

_DETAILS = ("step_details", "context_details", "callback_details", "chained_invoke_details")


class InvocationStatus(Enum):
    """How an invocation ended."""

    SUCCEEDED = "SUCCEEDED"
    """The execution is done."""
    FAILED = "FAILED"
    """The execution has failed."""
    PENDING = "PENDING"
    """The execution waits for something, and will be invoked again."""
    RETRY = "RETRY"
    """The invocation raised, and will be repeated."""


class OperationType(Enum):
    """The service's kinds of operation."""

    EXECUTION = "EXECUTION"
    CONTEXT = "CONTEXT"
    STEP = "STEP"
    WAIT = "WAIT"
    CALLBACK = "CALLBACK"
    CHAINED_INVOKE = "CHAINED_INVOKE"


class UserFunctionOutcome(Enum):
    """How a function of the user's ended."""

    SUCCEEDED = "SUCCEEDED"
    """It returned."""
    FAILED = "FAILED"
    """It raised."""
    INCOMPLETE = "INCOMPLETE"
    """It did not end: something in it waits, or ended the invocation."""

    @classmethod
    def from_error(cls, error: ErrorObject | None) -> UserFunctionOutcome:
        """Give the outcome of a function that ended.

        Args:
            error: What it raised; None if it returned.

        """
        return cls.SUCCEEDED if error is None else cls.FAILED


def _native(cls: type[T]) -> type[T]:
    """Have the fields of a dataclass be those of its native base, which defaults that it has as attributes would hide.

    Where there is no default, ``field()`` says so; else the base's own attribute would be taken for one.
    """
    for one in fields(cls):  # type: ignore[arg-type]
        if one.name in vars(cls):
            delattr(cls, one.name)
    return cls


@_native
@dataclass(frozen=True)
class OperationInfo(OperationFields):
    """An operation, as it is recorded or about to be.

    Args:
        operation_id: Its id.
        operation_type: The service's kind.
        sub_type: The SDK's or the user's kind.
        name: Its name, if it has one.
        parent_id: The context it belongs to; None at the root.
        start_time: When it started; None if that is not known yet.
        is_replayed: Whether it was recorded when this invocation began.
        status: Where it stands.
        end_time: When it ended.
        result: What it gave, as it is recorded.
        error: What it failed with, or its last attempt.
        attempt: The number of the attempt, of a step or condition, from 1.

    """

    __slots__ = ()

    operation_id: str = field()
    operation_type: OperationType = field()
    sub_type: str | None = field()
    name: str | None = field()
    parent_id: str | None = field()
    start_time: dt.datetime | None = field()
    is_replayed: bool = field()
    status: OperationStatus = field()
    end_time: dt.datetime | None = field(default=None, kw_only=True)
    result: str | None = field(default=None, kw_only=True)
    error: ErrorObject | None = field(default=None, kw_only=True)
    attempt: int | None = field(default=None, kw_only=True)

    @staticmethod
    def from_operation(operation: Operation, *, is_replayed: bool = False) -> OperationInfo:
        """Tell of a recorded operation.

        Args:
            operation: The operation.
            is_replayed: Whether it was recorded when this invocation began.

        """
        return OperationInfo(**operation_fields(operation), is_replayed=is_replayed)

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        """The fields, for ``vars``: an info has no dict of its own."""
        return _fields(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return _bare, (type(self),), {**self.__dict__, **_fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)


def _fields(info: OperationInfo) -> dict[str, Any]:
    return {one.name: getattr(info, one.name) for one in fields(info)}


def _bare(kind: type[OperationInfo]) -> OperationInfo:
    return kind.__new__(kind)


def operation_fields(operation: Operation) -> dict[str, Any]:
    """Give the fields of an `OperationInfo`, all but ``is_replayed``, of a recorded operation."""
    found = (getattr(operation, name) for name in _DETAILS)
    details = next((details for details in found if details is not None), None)
    return {
        "operation_id": operation.operation_id,
        "operation_type": OperationType(operation.operation_type.value),
        "sub_type": operation.sub_type,
        "name": operation.name,
        "parent_id": operation.parent_id,
        "start_time": operation.start_timestamp,
        "status": operation.status,
        "end_time": operation.end_timestamp,
        "result": getattr(details, "result", None),
        "error": getattr(details, "error", None),
        "attempt": getattr(details, "attempt", None),
    }


@_native
@dataclass(frozen=True)
class OperationStartInfo(OperationInfo):
    """An operation that begins, or that an earlier invocation began and that is not over."""

    __slots__ = ()


@_native
@dataclass(frozen=True)
class OperationEndInfo(OperationInfo):
    """An operation that is over."""

    __slots__ = ()


@dataclass(frozen=True)
class OperationChangeInfo:
    """What an answer of the service changed.

    Args:
        execution_arn: The execution.
        updated_operations: Those whose status changed, by id.
        operations: All, by id.

    """

    execution_arn: str | None
    updated_operations: Mapping[str, OperationInfo]
    operations: Mapping[str, OperationInfo]


@_native
@dataclass(frozen=True)
class UserFunctionStartInfo(OperationInfo):
    """A function of the user's that an operation is about to call: a step's, a check, that of a context or branch.

    Args:
        is_replay_children: Whether the context is done, and its function called again for its result alone.

    """

    __slots__ = ()

    is_replay_children: bool = False


@_native
@dataclass(frozen=True)
class UserFunctionEndInfo(OperationInfo):
    """A function of the user's that has ended.

    Args:
        is_replay_children: Whether the context is done, and its function was called again for its result alone.
        outcome: How it ended.

    """

    __slots__ = ()

    is_replay_children: bool = field()
    outcome: UserFunctionOutcome = field()

    @classmethod
    def from_start_info(
        cls,
        start_info: UserFunctionStartInfo,
        error: ErrorObject | None,
        *,
        outcome: UserFunctionOutcome | None = None,
    ) -> UserFunctionEndInfo:
        """Tell of the end of a function that ends now.

        Args:
            start_info: What was told of its beginning.
            error: What it raised.
            outcome: How it ended; by default, whether there is an error.

        """
        known = {one.name: getattr(start_info, one.name) for one in fields(start_info)}
        if outcome is None:
            outcome = UserFunctionOutcome.SUCCEEDED if error is None else UserFunctionOutcome.FAILED
        return cls(**{**known, "end_time": dt.datetime.now(dt.UTC), "error": error, "outcome": outcome})


@dataclass(frozen=True)
class InvocationInfo:
    """An invocation.

    Args:
        request_id: Of the Lambda request.
        execution_arn: The execution.
        is_first_invocation: Whether nothing was recorded yet when it began.
        execution_start_time: When the execution started.
        execution_input: What the handler is called with.
        operations: What is recorded, by id.

    """

    request_id: str | None
    execution_arn: str | None
    is_first_invocation: bool
    execution_start_time: dt.datetime | None = None
    execution_input: Any = field(default=None, kw_only=True, repr=False, compare=False)
    operations: Mapping[str, OperationInfo] = field(default_factory=dict, kw_only=True, repr=False, compare=False)


@dataclass(frozen=True)
class InvocationStartInfo(InvocationInfo):
    """An invocation that begins.

    Args:
        updated_operations: Those that changed since the last invocation, by id, as the service tells.

    """

    updated_operations: Mapping[str, OperationInfo] = field(
        default_factory=dict, kw_only=True, repr=False, compare=False
    )


@dataclass(frozen=True)
class InvocationEndInfo(InvocationInfo):
    """An invocation that is over.

    Args:
        status: How it ended.
        error: What the execution failed with.
        execution_result: What the execution gave, as JSON.

    """

    status: InvocationStatus = field(kw_only=True)
    error: ErrorObject | None = None
    execution_result: str | None = field(default=None, kw_only=True, repr=False, compare=False)

    @classmethod
    def from_durable_execution_invocation_output(
        cls,
        invocation_start_info: InvocationStartInfo,
        output: DurableExecutionInvocationOutput,
        operations: Mapping[str, OperationInfo] | None = None,
    ) -> InvocationEndInfo:
        """Tell of the end of an invocation.

        Args:
            invocation_start_info: What was told of its beginning.
            output: What it answers.
            operations: What is recorded now.

        """
        known = {one.name: getattr(invocation_start_info, one.name) for one in fields(InvocationInfo)}
        return cls(
            **{**known, "operations": {} if operations is None else operations},
            status=InvocationStatus(output.status.value),
            error=output.error,
            execution_result=output.result,
        )


@dataclass(frozen=True)
class PropagationInput:
    """An invoke that is about to be recorded.

    Args:
        execution_arn: The execution.
        operation_id: The invoke.
        target_function_name: What is invoked.
        parent_operation_id: The context it belongs to; None at the root.

    """

    execution_arn: str
    operation_id: str
    target_function_name: str
    parent_operation_id: str | None = None


@dataclass(frozen=True)
class PropagationMetadata:
    """What goes along with an invoke.

    Args:
        x_amzn_trace_id: The trace header for the invoked function.

    """

    x_amzn_trace_id: str | None = None


class DurableInstrumentationPlugin:
    """What is told of one invocation. Override what you want to hear of; what is not overridden costs nothing.

    Each method is called in the thread named beside it, which waits for it; branches call theirs at the same time. What
    it raises is logged and does the execution no harm; `KeyboardInterrupt` and `SystemExit` go on to whoever runs the
    invocation. What the start methods set in context variables, the code that follows them finds there.

    For one operation: its start, then its function's start and end, then the checkpoint, then its end, then the user's
    code goes on. An operation that ended in this invocation or since the last one has its end told once, in the thread
    that learns of it; one that nobody asks for has it told before that of the context it is in, or of the invocation.
    """

    def provide_propagation_metadata(self, info: PropagationInput) -> PropagationMetadata | None:
        """Give what goes along with an invoke, in the thread that invokes, before it is recorded; never on replay."""

    def on_invocation_start(self, info: InvocationStartInfo) -> None:
        """Hear of an invocation that begins, in the handler's thread."""

    def on_invocation_end(self, info: InvocationEndInfo) -> None:
        """Hear of an invocation that is over, in the handler's thread, after everything else."""

    def on_operation_start(self, info: OperationStartInfo) -> None:
        """Hear of an operation that begins, before its start is recorded; or that was begun and is not over."""

    def on_operation_end(self, info: OperationEndInfo) -> None:
        """Hear of an operation that is over, before the user's code goes on."""

    def on_operation_change(self, info: OperationChangeInfo) -> None:
        """Hear what answers of the service changed, in a thread for this alone; several answers may come as one."""

    def on_user_function_start(self, info: UserFunctionStartInfo) -> None:
        """Hear of a function of the user's that is about to be called, in its thread."""

    def on_user_function_end(self, info: UserFunctionEndInfo) -> None:
        """Hear of a function of the user's that has ended, in its thread."""


class DurableInstrumentationPluginFactory(Protocol):
    """Makes a plugin for each invocation: any object with this method.

    What outlives an invocation (an exporter, a connection) belongs to the factory.

    A class that says ``__durable_registration_api__ = 1`` may name an ``exclusive_group``, of which one factory can be
    registered, and have an ``on_registration_result(registered)``, which is called once for a handler.
    """

    def create_plugin(self, info: InvocationStartInfo, /) -> DurableInstrumentationPlugin:
        """Make the plugin of one invocation.

        Args:
            info: What is known of the invocation.

        """
        ...
