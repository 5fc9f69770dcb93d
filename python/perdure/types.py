"""What is handed to user code, and the protocols of it: by these names a program says what it takes.

perdure itself imports nothing from here that runs in a first invocation, which would pay for the protocols.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from perdure import _handed
from perdure._frozen import Frozen
from perdure._handed import OperationContext, StepContext, WaitForCallbackContext, WaitForConditionCheckContext
from perdure._protocols import BatchResult, ContextLogger, LoggerInterface, SummaryGenerator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perdure._duration import DurationLike
    from perdure.config import CallbackConfig, ChildConfig, MapConfig, ParallelBranch, ParallelConfig, StepConfig

_handed.__dict__.update(
    ContextLogger=ContextLogger, LoggerInterface=LoggerInterface
)  # for who evaluates its annotations

T = TypeVar("T")
U = TypeVar("U")
C_co = TypeVar("C_co", covariant=True)

__all__ = [
    "AsyncDurableHandler",
    "BatchResult",
    "Callback",
    "ContextLogger",
    "DurableContext",
    "DurableExecutionArn",
    "DurableHandler",
    "DurableOutput",
    "LambdaContext",
    "LoggerInterface",
    "OperationContext",
    "StepContext",
    "SummaryGenerator",
    "WaitForCallbackContext",
    "WaitForConditionCheckContext",
]


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
