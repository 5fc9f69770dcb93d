"""`DurableContext`: what a handler calls, one short method an operation.

Each method asks the core what to do. On replay the core's answer is the value, and that is all that happens; everything
else is in `perdure.engine.operations`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, overload

from perdure._core import START, Operation, check_sub_type, typed_of
from perdure._decorators import (
    durable_parallel_branch,
    durable_step,
    durable_wait_for_callback,
    durable_with_child_context,
)
from perdure._frozen import Frozen
from perdure._functions import check_function
from perdure._handed import StepContext, WaitForCallbackContext, WaitForConditionCheckContext
from perdure.engine import driver as _driver
from perdure.engine.operations import callback as _callback
from perdure.engine.operations import child as _child
from perdure.engine.operations import common as _common
from perdure.engine.operations import condition as _condition
from perdure.engine.operations import step as _step
from perdure.engine.operations import wait as _wait
from perdure.engine.operations.callback import Callback
from perdure.engine.operations.common import one_of
from perdure.exceptions import (
    CallbackError,
    CallbackExternalError,
    CallbackSubmitterError,
    CallbackTimeoutError,
    ChildContextError,
    StepError,
    SuspendExecution,
    ValidationError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from random import Random
    from types import UnionType
    from typing import Unpack
    from uuid import UUID

    from perdure._core import Scope
    from perdure._duration import DurationLike
    from perdure.batching import Batches, ItemBatcher
    from perdure.combinators import Combinator, Members
    from perdure.concurrency.models import BatchItem, BatchResult, envelope_summary_generator
    from perdure.config import (
        CallbackConfig,
        ChildConfig,
        CompletionConfig,
        Duration,
        InvokeConfig,
        MapConfig,
        NestingType,
        ParallelBranch,
        ParallelConfig,
        StepConfig,
        StepSemantics,
        WaitForCallbackConfig,
    )
    from perdure.engine.flows import Flow
    from perdure.engine.invocation import Invocation
    from perdure.engine.operations.batch import Branches
    from perdure.engine.operations.step import StepOptions
    from perdure.identifier import OperationIdentifier, OperationIdNamespace
    from perdure.lambda_service import OperationSubType, OperationType
    from perdure.logger import Logger, LogInfo
    from perdure.retries import RetryDecision
    from perdure.sagas import CleanUp, Saga
    from perdure.serdes import PASS_THROUGH_SERDES, PassThroughSerDes, SerDes, deserialize
    from perdure.state import ExecutionState
    from perdure.types import Callback as CallbackProtocol
    from perdure.types import ContextLogger, LambdaContext, LoggerInterface
    from perdure.types import DurableContext as DurableContextProtocol
    from perdure.waits import WaitForConditionConfig, WaitForConditionDecision

    ErrorMapper = Callable[[Exception], Exception]
    RetryStrategy = Callable[[Exception, int], RetryDecision]

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")

_ENDLESS = 2**62
_A_CHILD = ("run_in_child_context", "a DurableContext")

__all__ = [
    "PASS_THROUGH_SERDES",
    "Callback",
    "CallbackConfig",
    "CallbackError",
    "CallbackExternalError",
    "CallbackProtocol",
    "CallbackSubmitterError",
    "CallbackTimeoutError",
    "ChildConfig",
    "ChildContextError",
    "DurableContext",
    "DurableContextProtocol",
    "Duration",
    "ExecutionContext",
    "ExecutionState",
    "InvokeConfig",
    "LogInfo",
    "Logger",
    "LoggerInterface",
    "MapConfig",
    "OperationIdNamespace",
    "OperationIdentifier",
    "OperationSubType",
    "OperationType",
    "ParallelBranch",
    "ParallelConfig",
    "PassThroughSerDes",
    "SerDes",
    "StepConfig",
    "StepContext",
    "StepError",
    "SuspendExecution",
    "ValidationError",
    "WaitForCallbackConfig",
    "WaitForCallbackContext",
    "WaitForConditionCheckContext",
    "deserialize",
    "durable_parallel_branch",
    "durable_step",
    "durable_wait_for_callback",
    "durable_with_child_context",
    "envelope_summary_generator",
]


def __getattr__(name: str) -> Any:
    if name.startswith("__"):  # every import from here asks for __path__
        raise AttributeError(name)
    from perdure._elsewhere import find  # noqa: PLC0415  only for names that programs import from here

    return find(__name__, name)


class ExecutionContext(Frozen):
    """What is known of the execution itself.

    Args:
        durable_execution_arn: The execution's ARN.

    """

    __slots__ = __match_args__ = ("durable_execution_arn",)

    durable_execution_arn: str

    def __init__(self, durable_execution_arn: str) -> None:
        _set_arn(self, durable_execution_arn)


_set_arn = ExecutionContext.durable_execution_arn.__set__  # type: ignore[attr-defined]


class _LazyStepContext(StepContext):
    """A step's context whose logger is made when it is asked for."""

    __slots__ = ("_of",)

    _of: tuple[DurableContext, Operation]

    def __init__(self, *of: DurableContext | Operation) -> None:
        _set_of(self, of)

    @property
    def attempt(self) -> int:  # type: ignore[override]
        """Which attempt this is, counted from 1."""
        return self._of[1].attempt

    @property
    def logger(self) -> ContextLogger:  # type: ignore[override]
        """A logger that adds the step's id, name and attempt to each line."""
        context, operation = self._of
        return context.operation_logger(operation)


_set_of = _LazyStepContext.__dict__["_of"].__set__  # past the immutability


class DurableContext:
    """The durable operations of a handler, a child context or a branch.

    Each operation is recorded by the durable execution service and answered from that record when the code runs again.
    Code between operations runs every time, so it must be deterministic: same operations, same order.

    Attributes it does not have itself are those of the Lambda context (``aws_request_id``,
    ``get_remaining_time_in_millis()``, …), so that tools which expect a Lambda context can be given this one.
    """

    __slots__ = (
        "__dict__",  # for what the user's code and tools hang on a context: an attribute, or another `step`
        "__weakref__",
        "_is_virtual",
        "_log_parent",
        "_log_target",
        "_logger",
        "invocation",
        "scope",
    )

    takes_async = False
    callback_kind: ClassVar[type[Any]] = Callback
    drive = _driver.run
    """Runs a flow of an operation."""

    def __init__(
        self,
        invocation: Invocation,
        scope: Scope,
        log_parent: str | None = None,
        is_virtual: bool = False,
        log_target: LoggerInterface | None = None,
    ) -> None:
        self.invocation = invocation
        self.scope = scope
        self._log_parent = log_parent
        self._is_virtual = is_virtual
        self._log_target = log_target
        self._logger: ContextLogger | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return getattr(self.invocation.lambda_context, name)
        except AttributeError:
            raise AttributeError(
                f"neither DurableContext nor the Lambda context has an attribute {name!r}", name=name, obj=self
            ) from None

    # ---- about the context

    @property
    def execution_context(self) -> ExecutionContext:
        """What is known of the execution itself."""
        return ExecutionContext(self.invocation.durable_execution_arn)

    @property
    def lambda_context(self) -> LambdaContext:
        """The context object that Lambda handed to the handler."""
        return self.invocation.lambda_context  # type: ignore[no-any-return]

    @property
    def state(self) -> ExecutionState:
        """What is recorded of the execution, as AWS Powertools looks for it."""
        from perdure.state import ExecutionState  # noqa: PLC0415  only for those who look

        return ExecutionState(self.invocation)

    @property
    def is_virtual(self) -> bool:
        """Whether nothing is recorded of this context itself, as of the branches of a FLAT map or parallel."""
        return self._is_virtual

    @property
    def logger(self) -> ContextLogger:
        """A logger that adds the execution and the place in it to each line, and is silent while replaying."""
        if self._logger is None:
            from perdure.logger import Logger, LogInfo  # noqa: PLC0415  only for handlers that log

            info = LogInfo(self.invocation, self._log_place())
            self._logger = Logger.from_log_info(self._target(), info, self.scope.is_replaying)
        return self._logger

    def _target(self) -> LoggerInterface:
        return self._log_target or logging.getLogger()

    def set_logger(self, new_logger: LoggerInterface) -> None:
        """Send the lines of this context, and of contexts opened from it later, to another logger.

        Args:
            new_logger: For example the logger of Powertools.

        """
        self._log_target = new_logger
        self._logger = None

    def is_replaying(self) -> bool:
        """Whether the next operation of this context is answered from the record."""
        return self.scope.is_replaying()

    def child(self, scope: Scope, *, is_virtual: bool = False) -> DurableContext:
        """Make the context of an inner scope; a virtual one has no operation of its own. Used by the operations."""
        log_parent = self._log_place() if is_virtual else None
        return self.made(scope, log_parent, is_virtual, self._log_target)

    def made(self, scope: Scope, *more: Any) -> DurableContext:
        """Make a context of the same kind. Used by `child`."""
        return type(self)(self.invocation, scope, *more)

    def as_kind(self, kind: type[DurableContext]) -> DurableContext:
        """Make the same context of another class. Used where a handler has defaults."""
        return kind(self.invocation, self.scope)

    def branches(self) -> type[Branches]:
        """Give what runs the branches of a map or parallel. Used by the operations."""
        from perdure.engine.batch import BranchThreads  # noqa: PLC0415  only for handlers that use them

        return BranchThreads

    def _log_place(self) -> str | None:
        """Give the id of the recorded context that lines are logged in; looked up when somebody logs."""
        return self._log_parent if self._is_virtual else self.scope.operation_id

    def step_context(self, operation: Operation) -> StepContext:
        """Make what a step's function is called with. Used by the operations."""
        return _LazyStepContext(self, operation)

    def check_context(self, operation: Operation) -> WaitForConditionCheckContext:
        """Make what a condition's check is called with. Used by the operations."""
        return WaitForConditionCheckContext(self.operation_logger(operation), operation.attempt)

    def operation_logger(self, operation: Operation) -> ContextLogger:
        """Make the logger of an operation. Used by the operations."""
        from perdure.logger import Logger, LogInfo  # noqa: PLC0415  only for functions that log

        info = LogInfo(self.invocation, self._log_place(), operation.id, operation.name, operation.attempt)
        return Logger.from_log_info(self._target(), info)

    # ---- the operations
    #
    # A RecursionError out of an operation's code was raised in the middle of it, and what came of it need not be what
    # is recorded (those of the user's functions are). So the invocation is told: by an assignment, since a call
    # might find no room.

    @overload
    def step(
        self,
        func: Callable[[StepContext], Any],
        name: str | None = None,
        config: StepConfig | None = None,
        *,
        retry: RetryStrategy | None = None,
        step_semantics: StepSemantics | None = None,
        serdes: SerDes[Any] | None = None,
        returns: type[T],
        **options: Unpack[StepOptions],
    ) -> T: ...
    @overload
    def step(
        self,
        func: Callable[[StepContext], T],
        name: str | None = None,
        config: StepConfig | None = None,
        *,
        retry: RetryStrategy | None = None,
        step_semantics: StepSemantics | None = None,
        serdes: SerDes[Any] | None = None,
        returns: UnionType | None = None,
        **options: Unpack[StepOptions],
    ) -> T: ...
    def step(
        self,
        func: Callable[[StepContext], Any],
        name: str | None = None,
        config: StepConfig | None = None,
        **options: Any,
    ) -> Any:
        """Run a function once and record its result.

        Args:
            func: Called with a `StepContext`; what it returns is recorded.
            name: Of the operation, 1 to 256 printable ASCII characters; by default the name of a function decorated
                with `durable_step`.
            config: The options below in one object.
            **options: Not named in the signature, so that no other step pays for what it is not given:

                * ``retry``: decides whether and when a failed attempt is repeated; default `RetryPresets.default()`.
                * ``retry_strategy``: the same, by the name it has in `StepConfig`.
                * ``step_semantics``: how often one attempt may run; default `StepSemantics.AT_LEAST_ONCE_PER_RETRY`.
                * ``serdes``: of the result; default `ExtendedTypeSerDes`.
                * ``returns``: the type of the result, where the function has no annotation that says so: a dataclass,
                  an enum, a set, a model, …; see ``docs/typed.md``. ``Any`` leaves the result alone, whatever the
                  annotation says.
                * ``timeout``: how long one attempt may take, a `Duration`, a `timedelta` or seconds, of real time. One
                  that takes longer fails with a `StepTimeoutError`. The function runs in a thread of its own, where it
                  goes on after that, since it cannot be stopped; what it gives is dropped.
                * ``retry_if``: says of an error whether the retry strategy is asked about it; if not, the step fails.
                * ``retryable_errors``: the retry strategy is asked about these errors alone: exception classes, texts
                  in their messages, or compiled patterns.
                * ``sub_type``: recorded in place of ``"Step"``.

        Returns:
            The result, as it reads back from the record.

        Raises:
            StepError: If the function failed and was not to be repeated.
            SerDesError: If the result cannot be serialised.

        Example:
            >>> @durable_step
            ... def charge(step: StepContext, amount: int) -> str: ...
            >>> receipt = context.step(charge(100), retry=RetryPresets.critical())

        """
        try:
            if not name:
                name = getattr(func, "_original_name", None)
            retry = options.pop("retry", None) if options else None
            serdes = bounds = returns = None
            of: Any = func
            if config is None and not options:
                found = self.scope.step(name, func)
            else:
                retry, step_semantics, serdes, returns, sub_type, bounds = _step.unpacked(options, retry)
                if returns is not None:
                    of = _asked_for(returns)
                if config is not None:
                    retry, step_semantics, serdes, sub_type = _common.merge_step(
                        config, retry, step_semantics, serdes, sub_type or None
                    )
                    bounds = _step.bounds_of(config, bounds)
                at_most_once = step_semantics is not None and step_semantics._value_ == "AT_MOST_ONCE_PER_RETRY"
                found = self.scope.step(
                    name, of, _sub_type(sub_type) if sub_type else "Step", at_most_once, serdes is not None
                )
            if type(found) is not Operation:
                return found
            serdes = typed_of(of) if serdes is None else _over(serdes, returns, of)
            if bounds is not None:
                func, retry = _step.bounded(self, found, func, retry, bounds)
            return self.drive(_step.run(self, found, func, retry, serdes))
        except RecursionError:
            self.scope.is_exhausted = True
            raise

    def wait(self, duration: DurationLike, name: str | None = None) -> None:
        """Suspend the execution for a length of time, at no cost.

        Args:
            duration: A `Duration`, a `datetime.timedelta`, or seconds; 1 second to 366 days.
            name: Of the operation.

        Raises:
            ValidationError: For a length the service does not take.

        """
        try:
            seconds = (
                duration if type(duration) is int and duration < _ENDLESS else seconds_of(duration, "the wait", name)
            )
            found = self.scope.wait(name, seconds)
            return None if type(found) is not Operation else self.drive(_wait.run(found))
        except RecursionError:
            self.scope.is_exhausted = True
            raise

    @overload
    def create_callback(
        self,
        name: str | None = None,
        config: CallbackConfig | None = None,
        *,
        timeout: DurationLike | None = None,
        heartbeat_timeout: DurationLike | None = None,
        serdes: SerDes[Any] | None = None,
        sub_type: str | None = None,
        returns: type[T],
    ) -> Callback[T]: ...
    @overload
    def create_callback(
        self,
        name: str | None = None,
        config: CallbackConfig | None = None,
        *,
        timeout: DurationLike | None = None,
        heartbeat_timeout: DurationLike | None = None,
        serdes: SerDes[Any] | None = None,
        sub_type: str | None = None,
        returns: Any = None,
    ) -> Callback[Any]: ...
    def create_callback(
        self,
        name: str | None = None,
        config: CallbackConfig | None = None,
        *,
        timeout: DurationLike | None = None,
        heartbeat_timeout: DurationLike | None = None,
        serdes: SerDes[Any] | None = None,
        sub_type: str | None = None,
        returns: Any = None,
    ) -> Callback[Any]:
        """Make a callback: an id for somebody outside to answer.

        Args:
            name: Of the operation.
            config: The options below in one object.
            timeout: After which the callback fails; none by default.
            heartbeat_timeout: Between signs of life, after which the callback fails; none by default.
            serdes: Reads the answer; by default it is the raw string.
            sub_type: Recorded in place of ``"Callback"``.
            returns: The type of the answer, sent as JSON, or as what ``serdes`` reads; see ``docs/typed.md``.

        Returns:
            The callback; ask it for its `Callback.result`.

        """
        try:
            options = _callback_options(config, timeout, heartbeat_timeout, serdes, sub_type, returns)
            found = self.scope.callback(name, options.sub_type, options.timeout, options.heartbeat)
            if found.decision != START:
                return _callback.recorded(self, found, options)
            return self.drive(_callback.create(self, found, options))
        except RecursionError:
            self.scope.is_exhausted = True
            raise

    @overload
    def wait_for_callback(
        self,
        submitter: Callable[[str, WaitForCallbackContext], Any],
        name: str | None = None,
        config: WaitForCallbackConfig | None = None,
        *,
        timeout: DurationLike | None = None,
        heartbeat_timeout: DurationLike | None = None,
        serdes: SerDes[Any] | None = None,
        retry: RetryStrategy | None = None,
        retry_strategy: RetryStrategy | None = None,
        returns: type[T],
    ) -> T: ...
    @overload
    def wait_for_callback(
        self,
        submitter: Callable[[str, WaitForCallbackContext], Any],
        name: str | None = None,
        config: WaitForCallbackConfig | None = None,
        *,
        timeout: DurationLike | None = None,
        heartbeat_timeout: DurationLike | None = None,
        serdes: SerDes[Any] | None = None,
        retry: RetryStrategy | None = None,
        retry_strategy: RetryStrategy | None = None,
        returns: Any = None,
    ) -> Any: ...
    def wait_for_callback(
        self,
        submitter: Callable[[str, WaitForCallbackContext], Any],
        name: str | None = None,
        config: WaitForCallbackConfig | None = None,
        *,
        timeout: DurationLike | None = None,
        heartbeat_timeout: DurationLike | None = None,
        serdes: SerDes[Any] | None = None,
        retry: RetryStrategy | None = None,
        retry_strategy: RetryStrategy | None = None,
        returns: Any = None,
    ) -> Any:
        """Make a callback, hand its id to a function, and suspend until it is answered.

        Args:
            submitter: Called once, in a step, with the callback's id and a `WaitForCallbackContext`.
            name: Of the operation; by default the name of a function decorated with `durable_wait_for_callback`.
            config: The options below in one object.
            timeout: After which the callback fails; none by default.
            heartbeat_timeout: Between signs of life, after which the callback fails; none by default.
            serdes: Reads the answer; by default it is the raw string.
            retry: Decides whether and when a failed submitter is repeated.
            retry_strategy: The same, by the name it has in `WaitForCallbackConfig`.
            returns: The type of the answer, as for `create_callback`.

        Returns:
            The answer.

        Raises:
            CallbackSubmitterError: If the submitter failed.
            CallbackTimeoutError: If the callback, or its heartbeat, timed out.
            CallbackExternalError: If the outside answered with a failure.

        """
        try:
            if not name:
                name = getattr(submitter, "_original_name", None)
            strategy = one_of(retry, retry_strategy, "retry= or retry_strategy=")
            if config is not None:
                strategy = strategy or config.retry_strategy
            options = _callback_options(config, timeout, heartbeat_timeout, serdes, None, returns)
            of = None if returns is None else _asked_for(returns)
            if isinstance(name, str) and len(name) > _callback.LONGEST_NAME:
                raise ValidationError(
                    f"the name {name[:40]!r}… has {len(name)} characters: wait_for_callback takes at most "
                    f"{_callback.LONGEST_NAME}, since its operations are named after it"
                )
            found = self.scope.child(name, "WaitForCallback", False, of)
            if type(found) is not Operation:
                return found
            return self.drive(_callback.run(self, found, submitter, name, options, strategy, of))
        except RecursionError:
            self.scope.is_exhausted = True
            raise

    @overload
    def wait_for_condition(
        self,
        check: Callable[[T, WaitForConditionCheckContext], T],
        config: WaitForConditionConfig[T],
        name: str | None = None,
        *,
        returns: type[T] | UnionType | None = None,
    ) -> T: ...
    @overload
    def wait_for_condition(
        self,
        check: Callable[[T, WaitForConditionCheckContext], T],
        *,
        name: str | None = None,
        wait_strategy: Callable[[T, int], WaitForConditionDecision],
        initial_state: T,
        serdes: SerDes[Any] | None = None,
        returns: type[T] | UnionType | None = None,
    ) -> T: ...
    def wait_for_condition(
        self,
        check: Callable[[Any, WaitForConditionCheckContext], Any],
        config: WaitForConditionConfig[Any] | None = None,
        name: str | None = None,
        *,
        wait_strategy: Callable[[Any, int], WaitForConditionDecision] | None = None,
        initial_state: Any = None,
        serdes: SerDes[Any] | None = None,
        returns: Any = None,
    ) -> Any:
        """Poll until a condition is met, suspended between checks.

        Args:
            check: Called with the state and a `WaitForConditionCheckContext`; returns the new state. If it raises, the
                operation fails: a check is not repeated by itself.
            config: The options below in one object.
            name: Of the operation.
            wait_strategy: Decides from the state and the attempt whether to go on, and after what delay; see
                `create_wait_strategy`.
            initial_state: What the first check is called with.
            serdes: Of the state; default `ExtendedTypeSerDes`.
            returns: The type of the state, where the check has no annotation that says so; as for `step`.

        Returns:
            The state that met the condition.

        Raises:
            WaitForConditionError: If a check raised, or the strategy gave up.

        """
        try:
            if config is not None:
                wait_strategy, initial_state, serdes = _common.merge_condition(
                    config, wait_strategy, initial_state, serdes
                )
            if wait_strategy is None:
                raise ValidationError("wait_for_condition needs a wait strategy: give config= or wait_strategy=")
            of = check if returns is None else _asked_for(returns)
            found = self.scope.condition(name, serdes is not None, of)
            if type(found) is not Operation:
                return found
            serdes = typed_of(of) if serdes is None else _over(serdes, returns, of)
            return self.drive(_condition.run(self, found, check, wait_strategy, initial_state, serdes))
        except RecursionError:
            self.scope.is_exhausted = True
            raise

    @overload
    def invoke(
        self,
        function_name: str,
        payload: Any,
        name: str | None = None,
        config: InvokeConfig[Any, Any] | None = None,
        *,
        serdes_payload: SerDes[Any] | None = None,
        serdes_result: SerDes[Any] | None = None,
        tenant_id: str | None = None,
        returns: type[T],
    ) -> T: ...
    @overload
    def invoke(
        self,
        function_name: str,
        payload: Any,
        name: str | None = None,
        config: InvokeConfig[Any, Any] | None = None,
        *,
        serdes_payload: SerDes[Any] | None = None,
        serdes_result: SerDes[Any] | None = None,
        tenant_id: str | None = None,
        returns: Any = None,
    ) -> Any: ...
    def invoke(
        self,
        function_name: str,
        payload: Any,
        name: str | None = None,
        config: InvokeConfig[Any, Any] | None = None,
        *,
        serdes_payload: SerDes[Any] | None = None,
        serdes_result: SerDes[Any] | None = None,
        tenant_id: str | None = None,
        returns: Any = None,
    ) -> Any:
        """Invoke another Lambda function, durable or not, and suspend until it has ended.

        Args:
            function_name: Name or ARN; a durable function needs a version or alias.
            payload: Sent to the function as JSON.
            name: Of the operation.
            config: The options below in one object.
            serdes_payload: Of the payload; default JSON.
            serdes_result: Of the result; default JSON.
            tenant_id: Of a function with tenant isolation.
            returns: The type of the result; see ``docs/typed.md``.

        Returns:
            What the function returned.

        Raises:
            InvokeError: If the function failed, timed out or was stopped.

        """
        try:
            from perdure.engine.operations import invoke as _invoke  # noqa: PLC0415  only for handlers that use it

            if config is not None:
                serdes_payload, serdes_result, tenant_id = _common.merge_invoke(
                    config, serdes_payload, serdes_result, tenant_id or None
                )
            if returns is not None:
                from perdure._typed import Sent, sent_as  # noqa: PLC0415  only for handlers that use it

                serdes_result = Sent(sent_as(returns), serdes_result)
            found = self.scope.invoke(name, serdes_result is not None)
            if type(found) is not Operation:
                return found
            how = serdes_payload, serdes_result, tenant_id
            return self.drive(_invoke.run(self, found, function_name, payload, how))
        except RecursionError:
            self.scope.is_exhausted = True
            raise

    @overload
    def run_in_child_context(
        self,
        func: Callable[[DurableContext], Any],
        name: str | None = None,
        config: ChildConfig[Any] | None = None,
        *,
        serdes: SerDes[Any] | None = None,
        sub_type: str | None = None,
        summary_generator: Callable[[Any], str] | None = None,
        is_virtual: bool | None = None,
        map_error: ErrorMapper | None = None,
        returns: type[T],
    ) -> T: ...
    @overload
    def run_in_child_context(
        self,
        func: Callable[[DurableContext], T],
        name: str | None = None,
        config: ChildConfig[Any] | None = None,
        *,
        serdes: SerDes[Any] | None = None,
        sub_type: str | None = None,
        summary_generator: Callable[[T], str] | None = None,
        is_virtual: bool | None = None,
        map_error: ErrorMapper | None = None,
        returns: UnionType | None = None,
    ) -> T: ...
    def run_in_child_context(
        self,
        func: Callable[[DurableContext], Any],
        name: str | None = None,
        config: ChildConfig[Any] | None = None,
        *,
        serdes: SerDes[Any] | None = None,
        sub_type: str | None = None,
        summary_generator: Callable[[T], str] | None = None,
        is_virtual: bool | None = None,
        map_error: ErrorMapper | None = None,
        returns: Any = None,
    ) -> Any:
        """Run a function with a context of its own: operations grouped under one, whose result is recorded.

        Args:
            func: Called with the child context.
            name: Of the operation; by default the name of a function decorated with `durable_with_child_context`.
            config: The options below in one object.
            serdes: Of the result; default `ExtendedTypeSerDes`.
            sub_type: Recorded in place of ``"RunInChildContext"``.
            summary_generator: Makes the summary that is recorded in place of a result of over 262,144 characters, which
                replay rebuilds by running the function again.
            is_virtual: Record nothing of the context itself; its operations count as this context's.
            map_error: Given the exception of the function, gives the one that is recorded and raised in its place. It
                must be deterministic. If it raises, an `ErrorMappingError` tells of both.
            returns: The type of the result, where the function has no annotation that says so; as for `step`.

        Returns:
            The function's result, as it reads back from the record.

        Raises:
            ChildContextError: If the function failed.

        """
        try:
            if not name:
                name = getattr(func, "_original_name", None)
            if config is not None:
                serdes, sub_type, summary_generator, is_virtual, map_error = _common.merge_child(
                    config, serdes, sub_type or None, summary_generator, is_virtual, map_error
                )
            of = func if returns is None else _asked_for(returns)
            if is_virtual:
                serdes = typed_of(of) if serdes is None else _over(serdes, returns, of)
                check_function(func, *_A_CHILD, self.takes_async)
                if map_error is not None:
                    func = _mapped(func, map_error)
                called = name or None, sub_type or "RunInChildContext"
                inner = self.scope.open_virtual()
                return self.drive(_child.run_virtual(self, inner, func, serdes, called))
            sub_type = _sub_type(sub_type) if sub_type else "RunInChildContext"
            found = self.scope.child(name, sub_type, serdes is not None, of)
            if type(found) is not Operation:
                return found
            serdes = typed_of(of) if serdes is None else _over(serdes, returns, of)
            check_function(func, *_A_CHILD, self.takes_async)
            if map_error is not None:
                func = _mapped(func, map_error)
            return self.drive(_child.run(self, found, func, serdes, summary_generator))
        except RecursionError:
            self.scope.is_exhausted = True
            raise

    @overload
    def map(
        self,
        inputs: Sequence[Any],
        func: Callable[[DurableContext, Any, int, Any], Any],
        name: str | None = None,
        config: MapConfig[Any] | None = None,
        *,
        max_concurrency: int | None = None,
        completion_config: CompletionConfig | None = None,
        serdes: SerDes[Any] | None = None,
        item_serdes: SerDes[Any] | None = None,
        summary_generator: Callable[[Any], str] | None = None,
        nesting_type: NestingType | None = None,
        item_namer: Callable[[Any, int], str] | None = None,
        batcher: ItemBatcher | None = None,
        per_batch: bool = False,
        map_error: ErrorMapper | None = None,
        returns: type[T],
    ) -> BatchResult[T]: ...
    @overload
    def map(
        self,
        inputs: Sequence[U],
        func: Callable[[DurableContext, U, int, Any], T],
        name: str | None = None,
        config: MapConfig[U] | None = None,
        *,
        max_concurrency: int | None = None,
        completion_config: CompletionConfig | None = None,
        serdes: SerDes[Any] | None = None,
        item_serdes: SerDes[Any] | None = None,
        summary_generator: Callable[[Any], str] | None = None,
        nesting_type: NestingType | None = None,
        item_namer: Callable[[U, int], str] | None = None,
        map_error: ErrorMapper | None = None,
        returns: UnionType | None = None,
    ) -> BatchResult[T]: ...
    @overload
    def map(
        self,
        inputs: Sequence[U],
        func: Callable[[DurableContext, list[U], int, Any], Sequence[T]],
        name: str | None = None,
        config: MapConfig[Any] | None = None,
        *,
        max_concurrency: int | None = None,
        completion_config: CompletionConfig | None = None,
        serdes: SerDes[Any] | None = None,
        item_serdes: SerDes[Any] | None = None,
        summary_generator: Callable[[Any], str] | None = None,
        nesting_type: NestingType | None = None,
        item_namer: Callable[[list[U], int], str] | None = None,
        map_error: ErrorMapper | None = None,
        batcher: ItemBatcher,
        per_batch: Literal[False] = False,
        returns: UnionType | None = None,
    ) -> BatchResult[T]: ...
    @overload
    def map(
        self,
        inputs: Sequence[U],
        func: Callable[[DurableContext, list[U], int, Any], T],
        name: str | None = None,
        config: MapConfig[Any] | None = None,
        *,
        max_concurrency: int | None = None,
        completion_config: CompletionConfig | None = None,
        serdes: SerDes[Any] | None = None,
        item_serdes: SerDes[Any] | None = None,
        summary_generator: Callable[[Any], str] | None = None,
        nesting_type: NestingType | None = None,
        item_namer: Callable[[list[U], int], str] | None = None,
        map_error: ErrorMapper | None = None,
        batcher: ItemBatcher,
        per_batch: Literal[True],
        returns: UnionType | None = None,
    ) -> BatchResult[T]: ...
    def map(
        self,
        inputs: Sequence[Any],
        func: Callable[[DurableContext, Any, int, Any], Any],
        name: str | None = None,
        config: MapConfig[Any] | None = None,
        *,
        max_concurrency: int | None = None,
        completion_config: CompletionConfig | None = None,
        serdes: SerDes[Any] | None = None,
        item_serdes: SerDes[Any] | None = None,
        summary_generator: Callable[[Any], str] | None = None,
        nesting_type: NestingType | None = None,
        item_namer: Callable[[Any, int], str] | None = None,
        map_error: ErrorMapper | None = None,
        batcher: ItemBatcher | None = None,
        per_batch: bool = False,
        returns: Any = None,
    ) -> BatchResult[Any]:
        """Run a function for each item, concurrently.

        Args:
            inputs: The items.
            func: Called with a context of its own, the item, its index, and all items.
            name: Of the operation; by default the name of a decorated function.
            config: The options below in one object.
            max_concurrency: How many items may be in flight; all by default.
            completion_config: When the map is done; by default with the first failure or the last item.
            serdes: Of the `BatchResult`, and of the items unless ``item_serdes`` is given.
            item_serdes: Of each item's result.
            summary_generator: Makes the summary that is recorded along with a large result.
            nesting_type: ``FLAT`` records nothing of the items themselves.
            item_namer: Names the items' operations; default ``map-item-{index}``.
            map_error: As for `run_in_child_context`, of each item.
            batcher: Puts items together, a branch a batch: ``func`` is called with a list of items and the index of the
                first, and returns a list with a result for each. Limits and policies count batches.
            per_batch: With a ``batcher``: ``func`` returns one value for its batch.
            returns: The type of an item's result, where the function has no annotation that says so; as for `step`.

        Returns:
            The items' results and errors; ``throw_if_error()`` raises the first error.

        """
        try:
            from perdure.engine.operations import batch  # noqa: PLC0415  only for handlers that use it

            if not name:
                name = getattr(func, "_original_name", None)
            batches: Batches | None = None
            of = func
            if isinstance(inputs, Iterator):
                inputs = self.invocation.listed(inputs, (self.scope.operation_id, self.scope.position))
            if batcher is not None or per_batch:
                from perdure.batching import Batches  # noqa: PLC0415  only for handlers that use it

                item_namer = item_namer or getattr(config, "item_namer", None)
                batches = Batches(inputs, func, batcher, per_batch, item_namer, self.takes_async)
                inputs, func, item_namer = batches.inputs, batches.run, batches.name
                if returns is not None and not per_batch:
                    returns = list[returns]
            options = batch.Options(
                config,
                max_concurrency=max_concurrency,
                completion_config=completion_config,
                serdes=serdes,
                item_serdes=item_serdes,
                summary_generator=summary_generator,
                nesting_type=nesting_type,
                item_namer=item_namer,
                map_error=map_error,
                returns=returns,
            )
            plan = batch.of_map(inputs, func, options, of)
            found = batch.come(self, name, plan)
            if type(found) is Operation:
                flow = batch.run(self, found, plan)
                return self.drive(flow if batches is None else batches.after(flow))
            if batches is not None and self.takes_async:
                return self.drive(batches.after(_recorded(found)))
            return found if batches is None else batches.result(found)
        except RecursionError:
            self.scope.is_exhausted = True
            raise

    @overload
    def parallel(
        self,
        functions: Sequence[Callable[[DurableContext], Any] | ParallelBranch[Any]],
        name: str | None = None,
        config: ParallelConfig | None = None,
        *,
        max_concurrency: int | None = None,
        completion_config: CompletionConfig | None = None,
        serdes: SerDes[Any] | None = None,
        item_serdes: SerDes[Any] | None = None,
        summary_generator: Callable[[Any], str] | None = None,
        nesting_type: NestingType | None = None,
        map_error: ErrorMapper | None = None,
        returns: type[T],
    ) -> BatchResult[T]: ...
    @overload
    def parallel(
        self,
        functions: Sequence[Callable[[DurableContext], T] | ParallelBranch[T]],
        name: str | None = None,
        config: ParallelConfig | None = None,
        *,
        max_concurrency: int | None = None,
        completion_config: CompletionConfig | None = None,
        serdes: SerDes[Any] | None = None,
        item_serdes: SerDes[Any] | None = None,
        summary_generator: Callable[[Any], str] | None = None,
        nesting_type: NestingType | None = None,
        map_error: ErrorMapper | None = None,
        returns: UnionType | None = None,
    ) -> BatchResult[T]: ...
    def parallel(
        self,
        functions: Sequence[Callable[[DurableContext], Any] | ParallelBranch[Any]],
        name: str | None = None,
        config: ParallelConfig | None = None,
        *,
        max_concurrency: int | None = None,
        completion_config: CompletionConfig | None = None,
        serdes: SerDes[Any] | None = None,
        item_serdes: SerDes[Any] | None = None,
        summary_generator: Callable[[Any], str] | None = None,
        nesting_type: NestingType | None = None,
        map_error: ErrorMapper | None = None,
        returns: Any = None,
    ) -> BatchResult[Any]:
        """Run functions concurrently.

        Args:
            functions: Each called with a context of its own; a `ParallelBranch` gives it a name.
            name: Of the operation.
            config: The options below in one object.
            max_concurrency: How many branches may be in flight; all by default.
            completion_config: When the parallel is done; by default with the first failure or the last branch.
            serdes: Of the `BatchResult`, and of the branches unless ``item_serdes`` is given.
            item_serdes: Of each branch's result.
            summary_generator: Makes the summary that is recorded along with a large result.
            nesting_type: ``FLAT`` records nothing of the branches themselves.
            map_error: As for `run_in_child_context`, of each branch.
            returns: The type of a branch's result, where its function has no annotation that says so; as for `step`.

        Returns:
            The branches' results and errors; ``throw_if_error()`` raises the first error.

        """
        try:
            from perdure.engine.operations import batch  # noqa: PLC0415  only for handlers that use it

            options = batch.Options(
                config,
                max_concurrency=max_concurrency,
                completion_config=completion_config,
                serdes=serdes,
                item_serdes=item_serdes,
                summary_generator=summary_generator,
                nesting_type=nesting_type,
                map_error=map_error,
                returns=returns,
            )
            plan = batch.of_parallel(functions, options)
            found = batch.come(self, name, plan)
            if type(found) is not Operation:
                return found  # type: ignore[no-any-return]
            return self.drive(batch.run(self, found, plan))
        except RecursionError:
            self.scope.is_exhausted = True
            raise

    # ---- what is built on them

    def saga(self, name: str | None = None) -> Saga:
        """Undo what was done when what follows fails: ``with context.saga() as saga: saga.step(…, undo=…)``.

        Args:
            name: Of the saga; the context in which it undoes is named ``{name}-compensation``.

        Returns:
            The saga: its undos run, last in first out, when an exception leaves the block.

        Raises:
            CompensationError: At the end of the block, if undos failed. The error that left the block is its cause.

        Example:
            >>> with context.saga("trip") as saga:
            ...     hotel = saga.step(book("hotel"), undo=cancel)
            ...     saga.step(book("flight"), undo=cancel)

        """
        from perdure.sagas import Saga  # noqa: PLC0415  only for handlers that use it

        return Saga(self, name)

    def finally_(
        self, func: Callable[..., Any], *args: Any, name: str | None = None, retry: RetryStrategy | None = None
    ) -> CleanUp:
        """Clean up after a block, however it ends: ``with context.finally_(release, key): …``.

        The clean-up is a step of this context. It runs when the block has ended or failed, and not when the block is
        suspended, or the invocation ends. If it fails for good, its error goes on in the place of the block's.

        Args:
            func: A function of a step, plain or decorated with `durable_step`: called with a `StepContext` and the
                arguments.
            args: Its further arguments.
            name: Of the step; by default the function's.
            retry: Decides whether and when a failed attempt is repeated; default `RetryPresets.default()`.

        """
        from perdure.sagas import CleanUp  # noqa: PLC0415  only for handlers that use it

        return CleanUp(self, func, args, name, retry)

    def uuid(self) -> UUID:
        """Give an id that is the same on every replay: derived from the execution and this place in it.

        Nothing is recorded, and no call is made. As an operation, it is for the function that the context was handed
        to: not for one of a step, which would draw it when it runs and not on replay.

        Returns:
            A UUID of version 4.

        """
        from perdure.engine.operations import values  # noqa: PLC0415  only for handlers that use it

        return values.uuid(self.scope, self.invocation.durable_execution_arn)

    def random(self) -> Random:
        """Give a source of random numbers that are the same on every replay, as `uuid` is.

        Each call gives a source of its own. Draw from it outside of steps: what a step draws, its replay does not.

        Example:
            >>> sample = context.random().sample(range(1000), 10)

        """
        from perdure.engine.operations import values  # noqa: PLC0415  only for handlers that use it

        return values.random(self.scope, self.invocation.durable_execution_arn)

    def now(self) -> datetime:
        """Give a time that is the same on every replay: when the last operation of this context ended.

        It is what the service has recorded; before the first operation, when the context began. Code between two
        operations takes no time by it. A callback counts once its result was asked for.

        Returns:
            The moment in UTC, to the millisecond.

        Raises:
            ExecutionError: If the service has not told it.

        """
        from perdure.engine.operations import values  # noqa: PLC0415  only for handlers that use it

        return self.drive(values.now(self))

    @overload
    def all(  # type: ignore[overload-overlap]  # a tuple is a Sequence, too
        self,
        functions: tuple[Callable[[DurableContext], T]],
        name: str | None = None,
        *,
        max_concurrency: int | None = None,
        timeout: DurationLike | None = None,
    ) -> tuple[T]: ...
    @overload
    def all(  # type: ignore[overload-overlap]  # a tuple is a Sequence, too
        self,
        functions: tuple[Callable[[DurableContext], T], Callable[[DurableContext], U]],
        name: str | None = None,
        *,
        max_concurrency: int | None = None,
        timeout: DurationLike | None = None,
    ) -> tuple[T, U]: ...
    @overload
    def all(  # type: ignore[overload-overlap]  # a tuple is a Sequence, too
        self,
        functions: tuple[Callable[[DurableContext], T], Callable[[DurableContext], U], Callable[[DurableContext], V]],
        name: str | None = None,
        *,
        max_concurrency: int | None = None,
        timeout: DurationLike | None = None,
    ) -> tuple[T, U, V]: ...
    @overload
    def all(  # type: ignore[overload-overlap]  # a tuple is a Sequence, too
        self,
        functions: tuple[Callable[[DurableContext], T] | ParallelBranch[T], ...],
        name: str | None = None,
        *,
        max_concurrency: int | None = None,
        timeout: DurationLike | None = None,
    ) -> tuple[T, ...]: ...
    @overload
    def all(
        self,
        functions: Sequence[Callable[[DurableContext], T] | ParallelBranch[T]],
        name: str | None = None,
        *,
        max_concurrency: int | None = None,
        timeout: DurationLike | None = None,
    ) -> list[T]: ...
    def all(
        self,
        functions: Sequence[Any],
        name: str | None = None,
        *,
        max_concurrency: int | None = None,
        timeout: DurationLike | None = None,
    ) -> Any:
        """Run functions concurrently, and give the values of all, or the first failure.

        Args:
            functions: Each called with a context of its own; a `ParallelBranch` gives it a name.
            name: Of the operation, a parallel.
            max_concurrency: How many may be in flight; all by default.
            timeout: How long they may take: a `Duration`, a `datetime.timedelta`, or seconds. It is a wait that is
                recorded as a member, the first.

        Returns:
            Their values in order: a tuple if ``functions`` is one, else a list.

        Raises:
            ChildContextError: The first failure. Those that have not ended then are left behind.
            CombinatorTimeoutError: If the timeout came first.

        """
        from perdure import combinators  # noqa: PLC0415  only for handlers that use it

        return self._combine(combinators.ALL, functions, name, max_concurrency, timeout)

    def any(
        self,
        functions: Sequence[Callable[[DurableContext], T] | ParallelBranch[T]],
        name: str | None = None,
        *,
        max_concurrency: int | None = None,
        timeout: DurationLike | None = None,
    ) -> T:
        """Run functions concurrently, and give the value of the first that succeeds.

        Args:
            functions: As for `all`.
            name: As for `all`.
            max_concurrency: As for `all`.
            timeout: As for `all`.

        Raises:
            AllFailedError: If none did: with the errors of all.
            CombinatorTimeoutError: If the timeout came first.

        """
        from perdure import combinators  # noqa: PLC0415  only for handlers that use it

        return self._combine(combinators.ANY, functions, name, max_concurrency, timeout)  # type: ignore[no-any-return]

    def race(
        self,
        functions: Sequence[Callable[[DurableContext], T] | ParallelBranch[T]],
        name: str | None = None,
        *,
        timeout: DurationLike | None = None,
    ) -> T:
        """Run functions concurrently, and give the value of the first that ends, or its failure.

        Args:
            functions: As for `all`.
            name: As for `all`.
            timeout: As for `all`.

        Raises:
            ChildContextError: If it failed.
            CombinatorTimeoutError: If the timeout came first.

        """
        from perdure import combinators  # noqa: PLC0415  only for handlers that use it

        return self._combine(combinators.RACE, functions, name, None, timeout)  # type: ignore[no-any-return]

    def all_settled(
        self,
        functions: Sequence[Callable[[DurableContext], T] | ParallelBranch[T]],
        name: str | None = None,
        *,
        max_concurrency: int | None = None,
        timeout: DurationLike | None = None,
    ) -> list[BatchItem[T]]:
        """Run functions concurrently to their ends, however these are.

        Args:
            functions: As for `all`.
            name: As for `all`.
            max_concurrency: As for `all`.
            timeout: As for `all`; those that have not ended then are ``STARTED``.

        Returns:
            What came of each, in order: with ``status``, ``result`` and ``error``.

        """
        from perdure import combinators  # noqa: PLC0415  only for handlers that use it

        return self._combine(combinators.ALL_SETTLED, functions, name, max_concurrency, timeout)  # type: ignore[no-any-return]

    def _combine(
        self,
        combinator: Combinator,
        given: Sequence[Any],
        name: str | None,
        max_concurrency: int | None,
        timeout: DurationLike | None,
    ) -> Any:
        """Run functions until a combinator says that they are done."""
        members = members_of(combinator, given, name, timeout)
        functions, policy, limit = members.to_run(max_concurrency)
        found = self.parallel(functions, name, max_concurrency=limit, completion_config=policy)
        return members.give(found)


def members_of(combinator: Combinator, given: Sequence[Any], name: str | None, timeout: DurationLike | None) -> Members:
    from perdure.combinators import Members  # noqa: PLC0415  only for handlers that use it

    return Members(combinator, given, None if timeout is None else seconds_of(timeout, "the timeout", name))


def _mapped(func: Callable[..., Any], mapper: ErrorMapper) -> Callable[..., Any]:
    from perdure.engine.operations.error_mapping import mapped  # noqa: PLC0415  only for handlers that use it

    return mapped(func, mapper)


def seconds_of(duration: Any, what: str, name: str | None = None) -> int:
    from perdure._duration import duration_seconds  # noqa: PLC0415  brings dataclasses along

    # Beyond what the core counts in, any length is too long: it says so.
    return min(duration_seconds(duration, f"{what} {name!r}" if name else what), _ENDLESS)


def _callback_options(
    config: CallbackConfig | None, timeout: Any, heartbeat: Any, serdes: Any, sub_type: str | None, returns: Any
) -> _callback.Options:
    if config is not None:
        timeout, heartbeat, serdes, sub_type = _common.merge_callback(
            config, timeout, heartbeat, serdes, sub_type or None
        )
    return _callback.Options(
        _sub_type(sub_type) if sub_type else "Callback",
        0 if timeout is None else seconds_of(timeout, "the timeout of a callback"),
        0 if heartbeat is None else seconds_of(heartbeat, "the heartbeat timeout of a callback"),
        serdes,
        returns,
    )


def _asked_for(returns: Any) -> Any:
    from perdure._typed import asked_for  # noqa: PLC0415  only for handlers that use it

    return asked_for(returns)


def _over(serdes: SerDes[Any], returns: Any, of: Any) -> SerDes[Any]:
    """Give what writes values by a serdes of the user's: as the type that is asked for, if one is.

    Annotations do not count where the operation has a serdes of its own; below a handler's they do.
    """
    from perdure.serdes import HandlerSerDes  # noqa: PLC0415  only for work that is not replayed

    typed = typed_of(of) if returns is not None or type(serdes) is HandlerSerDes else None
    if typed is None:
        return serdes
    from perdure._typed import Over  # noqa: PLC0415  only for handlers that use both

    return Over(typed, serdes)


def _sub_type(text: str) -> str:
    check_sub_type(text)
    return text


def _recorded(found: Any) -> Flow[Any]:
    """Give a result that is there, as a flow, where it may have to be awaited."""
    from perdure.engine.flows import itself  # noqa: PLC0415  only for batches of items

    return (yield itself, (found,))
