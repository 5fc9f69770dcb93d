"""Protocols of what is handed to user code, and the small objects that are made for each operation.

The classes here are written by hand, with slots: one is made for every step that runs, and this module is imported on
every cold start, so it must not pay for `dataclasses`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from perdure._frozen import Frozen
from perdure._protocols import BatchResult, SummaryGenerator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from perdure._duration import DurationLike
    from perdure.config import CallbackConfig, ChildConfig, MapConfig, ParallelBranch, ParallelConfig, StepConfig

T = TypeVar("T")
U = TypeVar("U")
C_co = TypeVar("C_co", covariant=True)
C_contra = TypeVar("C_contra", contravariant=True)

BatchResult.__module__ = SummaryGenerator.__module__ = __name__  # where users import them from


class LoggerInterface(Protocol):
    """What a logger must offer; `logging.Logger` and AWS Powertools' do."""

    __slots__ = ()

    def debug(self, msg: object, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log at DEBUG: ``msg % args``, with ``extra`` as further fields."""

    def info(self, msg: object, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log at INFO."""

    def warning(self, msg: object, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log at WARNING."""

    def error(self, msg: object, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log at ERROR."""

    def exception(self, msg: object, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log at ERROR, with the exception being handled."""


class ContextLogger(LoggerInterface, Protocol):
    """The logger of a context or an operation, which also takes what the logger behind it does.

    Other keywords (``exc_info=True``, ``customer=1``) go on to that logger, or become fields of the line.
    """

    __slots__ = ()

    def debug(self, msg: object, *args: object, extra: Mapping[str, object] | None = None, **keywords: object) -> None:
        """Log at DEBUG: ``msg % args``, with ``extra`` as further fields."""

    def info(self, msg: object, *args: object, extra: Mapping[str, object] | None = None, **keywords: object) -> None:
        """Log at INFO."""

    def warning(
        self, msg: object, *args: object, extra: Mapping[str, object] | None = None, **keywords: object
    ) -> None:
        """Log at WARNING."""

    def error(self, msg: object, *args: object, extra: Mapping[str, object] | None = None, **keywords: object) -> None:
        """Log at ERROR."""

    def exception(
        self, msg: object, *args: object, extra: Mapping[str, object] | None = None, **keywords: object
    ) -> None:
        """Log at ERROR, with the exception being handled."""


class OperationContext(Frozen):
    """Handed to the code of an operation.

    Args:
        logger: Logs with the operation's name and id.

    """

    __slots__ = ("logger",)
    __match_args__ = ("logger",)

    logger: ContextLogger

    def __init__(self, logger: LoggerInterface) -> None:
        _set_logger(self, logger)


_set_logger = OperationContext.__dict__["logger"].__set__  # past the immutability


class StepContext(OperationContext):
    """Handed to the code of a step.

    Args:
        logger: Logs with the step's name, id and attempt.
        attempt: Which attempt this is, counted from 1.

    """

    __slots__ = ("attempt",)
    __match_args__ = ("logger", "attempt")

    attempt: int

    def __init__(self, logger: LoggerInterface, attempt: int) -> None:
        _set_logger(self, logger)
        _set_step_attempt(self, attempt)


_set_step_attempt = StepContext.__dict__["attempt"].__set__  # past the immutability


class WaitForCallbackContext(OperationContext):
    """Handed to the submitter of a ``wait_for_callback``.

    Args:
        logger: Logs with the submitter's name, id and attempt.

    """

    __slots__ = ()


class WaitForConditionCheckContext(OperationContext):
    """Handed to the check of a ``wait_for_condition``.

    Args:
        logger: Logs with the operation's name, id and attempt.
        attempt: Which check this is, counted from 1.

    """

    __slots__ = ("attempt",)
    __match_args__ = ("logger", "attempt")

    attempt: int

    def __init__(self, logger: LoggerInterface, attempt: int) -> None:
        _set_logger(self, logger)
        _set_check_attempt(self, attempt)


_set_check_attempt = WaitForConditionCheckContext.__dict__["attempt"].__set__  # past the immutability


class Callback(Protocol, Generic[C_co]):
    """A callback that was created: hand its id to whoever is to answer."""

    callback_id: str

    @abstractmethod
    def result(self) -> C_co | None:
        """Wait for the answer.

        Raises:
            CallbackError: When the other side reports failure, or time runs out.

        """
        ...


class DurableContext(Protocol):
    """The durable operations: each is recorded, and on replay gives what was recorded."""

    @abstractmethod
    def step(self, func: Callable[[StepContext], T], name: str | None = None, config: StepConfig | None = None) -> T:
        """Run ``func`` once, with retries, and record its result."""
        ...

    @abstractmethod
    def run_in_child_context(
        self, func: Callable[[DurableContext], T], name: str | None = None, config: ChildConfig[Any] | None = None
    ) -> T:
        """Run ``func`` with a context of its own."""
        ...

    @abstractmethod
    def map(
        self,
        inputs: Sequence[U],
        func: Callable[[DurableContext, U, int, Any], T],
        name: str | None = None,
        config: MapConfig[U] | None = None,
    ) -> BatchResult[T]:
        """Run ``func(context, item, index, items)`` for each item, concurrently."""
        ...

    @abstractmethod
    def parallel(
        self,
        functions: Sequence[Callable[[DurableContext], T] | ParallelBranch[T]],
        name: str | None = None,
        config: ParallelConfig | None = None,
    ) -> BatchResult[T]:
        """Run the functions concurrently, each with a context of its own."""
        ...

    @abstractmethod
    def wait(self, duration: DurationLike, name: str | None = None) -> None:
        """Wait without using compute time."""
        ...

    @abstractmethod
    def create_callback(self, name: str | None = None, config: CallbackConfig | None = None) -> Callback[Any]:
        """Create a callback that someone outside will answer."""
        ...


class LambdaContext(Protocol):
    """The context object of the Lambda runtime."""

    aws_request_id: str
    log_group_name: str | None = None
    log_stream_name: str | None = None
    function_name: str | None = None
    memory_limit_in_mb: str | None = None
    function_version: str | None = None
    invoked_function_arn: str | None = None
    tenant_id: str | None = None
    client_context: Any | None = None
    identity: Any | None = None

    def get_remaining_time_in_millis(self) -> int:
        """Give the milliseconds until the invocation is cut off."""
        ...

    def log(self, msg: Any) -> None:
        """Write to the function's log."""
        ...


class DurableOutput(dict[str, Any], Generic[C_co]):
    """What a durable handler returns to Lambda: ``Status``, and with it ``Result`` (as JSON) or ``Error``.

    At run time it is a plain dict. This class is what type checkers know it by, and by it the type of the result.
    """


class DurableHandler(Protocol[C_co]):
    """What ``@durable_execution`` makes: a handler for Lambda, whose executions give a result of this type."""

    def __call__(self, event: Any, context: LambdaContext, /) -> DurableOutput[C_co]:
        """Run one invocation, given what the service sent and the Lambda context."""
        ...


class AsyncDurableHandler(DurableHandler[C_co], Protocol[C_co]):
    """What ``@durable_execution`` makes of an ``async def`` function."""

    async def run(self, event: Any, context: LambdaContext) -> DurableOutput[C_co]:
        """Run one invocation where an event loop is running already, in a thread and a loop of its own."""
        ...


class DurableExecutionArn(Frozen):
    """The parts of an execution's ARN.

    Args:
        function_name: The function.
        execution_name: The name under which it was started.
        invocation_id: The id of this execution.

    """

    __slots__ = __match_args__ = ("function_name", "execution_name", "invocation_id")

    function_name: str
    execution_name: str
    invocation_id: str

    def __init__(self, function_name: str, execution_name: str, invocation_id: str) -> None:
        for name, value in zip(self.__match_args__, (function_name, execution_name, invocation_id), strict=True):
            object.__setattr__(self, name, value)

    @classmethod
    def from_arn(cls, arn: str) -> DurableExecutionArn | None:
        """Take an ARN apart; None when it is not that of a durable execution.

        Args:
            arn: ``arn:aws:lambda:REGION:ACCOUNT:function:NAME:VERSION/durable-execution/EXECUTION/ID``.

        """
        function, _, execution = arn.partition("/durable-execution/")
        match function.split(":"), execution.split("/"):
            case ["arn", _, "lambda", _, _, "function", name, version], [execution_name, invocation_id] if (
                name and version and "/" not in name + version and execution_name and invocation_id
            ):
                return cls(name, execution_name, invocation_id)
            case _:
                return None
