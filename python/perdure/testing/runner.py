"""`DurableFunctionTestRunner`: run a durable function on this machine, in virtual time, and look at what it did.

The public API is that of the official testing package, so that a suite migrates by a changed import. What is new here:
time is virtual for everything, timeouts of callbacks and executions included; `advance` lets it pass; `mock_invoke` and
`answer_callback` stand in for the outside; a result knows its `value`, its `history`, its `budget` and its `tree`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from perdure._functions import is_coroutine
from perdure.engine.time_left import steady
from perdure.execution import durable_execution
from perdure.history.reading import read_history
from perdure.lambda_service import ErrorObject, InvocationStatus, OperationStatus, OperationType
from perdure.lambda_service import Operation as SvcOperation
from perdure.local import Limits, RealClock
from perdure.local.beside import is_asynchronous, is_in_loop
from perdure.local.durations import seconds_of, span
from perdure.local.machine.validation import function_parts
from perdure.testing import _checks, _recent
from perdure.testing._driver import PATIENCE, Driver, names_of, translated
from perdure.testing._failures import Failures
from perdure.testing._outside import Outside
from perdure.testing._registry import Registry, for_tenant
from perdure.testing._started import StartedExecution
from perdure.testing._status_text import obstacle_of, standing_of
from perdure.testing._surroundings import Surroundings
from perdure.testing.child_dispatcher import (
    DEFAULT_CHILD_EXECUTION_TIMEOUT_SECONDS,
    DEFAULT_CHILD_RETENTION_PERIOD_DAYS,
    FunctionConfigs,
)
from perdure.testing.cloud import DurableFunctionCloudTestRunner
from perdure.testing.exceptions import (
    DurableFunctionsLocalRunnerError,
    DurableFunctionsTestError,
    InvalidParameterValueException,
    ResourceNotFoundException,
)
from perdure.testing.execution import ExecutionStatus
from perdure.testing.invoker import create_lambda_client, create_test_lambda_context, read_timeout_for
from perdure.testing.mocks import UNSET, payload_of
from perdure.testing.model import (
    GetDurableExecutionHistoryResponse,
    GetDurableExecutionResponse,
    StartDurableExecutionInput,
    StartDurableExecutionOutput,
    events_to_operations,
)
from perdure.testing.operations import (
    OPERATION_FACTORIES,
    CallbackOperation,
    ContextOperation,
    ExecutionOperation,
    InvokeOperation,
    Operation,
    OperationFactory,
    StepOperation,
    WaitOperation,
    create_operation,
)
from perdure.testing.result import DurableFunctionTestResult, operations_of
from perdure.testing.stores.base import ExecutionStore, StoreType
from perdure.testing.stores.filesystem import FileSystemExecutionStore
from perdure.testing.stores.memory import InMemoryExecutionStore
from perdure.testing.stores.sqlite import SQLiteExecutionStore
from perdure.testing.tree import render
from perdure.testing.web_runner import WebRunner, WebRunnerConfig

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from perdure._duration import DurationLike
    from perdure.local import ExecutionHandle, Store
    from perdure.local.machine.budget import Prices
    from perdure.types import DurableHandler

    Handler = Callable[[Any, Any], Any]

__all__ = [
    "DEFAULT_CHILD_EXECUTION_TIMEOUT_SECONDS",
    "DEFAULT_CHILD_RETENTION_PERIOD_DAYS",
    "OPERATION_FACTORIES",
    "CallbackOperation",
    "ContextOperation",
    "DurableChildContextTestRunner",
    "DurableFunctionCloudTestRunner",
    "DurableFunctionTestResult",
    "DurableFunctionTestRunner",
    "DurableFunctionsLocalRunnerError",
    "DurableFunctionsTestError",
    "ErrorObject",
    "ExecutionOperation",
    "ExecutionStatus",
    "ExecutionStore",
    "FileSystemExecutionStore",
    "FunctionConfigs",
    "GetDurableExecutionHistoryResponse",
    "GetDurableExecutionResponse",
    "InMemoryExecutionStore",
    "InvalidParameterValueException",
    "InvocationStatus",
    "InvokeOperation",
    "Operation",
    "OperationFactory",
    "OperationStatus",
    "OperationType",
    "RealClock",
    "ResourceNotFoundException",
    "SQLiteExecutionStore",
    "StartDurableExecutionInput",
    "StartDurableExecutionOutput",
    "StepOperation",
    "StoreType",
    "SvcOperation",
    "WaitOperation",
    "WebRunner",
    "WebRunnerConfig",
    "create_lambda_client",
    "create_operation",
    "create_test_lambda_context",
    "durable_execution",
    "events_to_operations",
    "read_timeout_for",
]

if TYPE_CHECKING:  # with a default, annotations need not name it, as those written for the official package do not
    from typing_extensions import TypeVar as DefaultTypeVar

    T = DefaultTypeVar("T", default=Any)
else:
    T = TypeVar("T")

_DEFAULT_NAME = "execution-name"
_LONGEST = 300.0  # the official runner's


class DurableFunctionTestRunner(Surroundings, Outside, Generic[T]):
    """Runs a durable function, and the functions it invokes, on a local service of its own.

    Code runs in the thread that calls the runner, as far as it gets; time passes only in `run`, `wait_for_result`,
    `wait_for_callback` and `advance`, and takes none. Use it as a context manager, or `close` it.

    All lengths of time, here and in its methods, are a `Duration`, a `timedelta`, or a number of seconds.

    Args:
        handler: What ``@durable_execution`` made.
        poll_interval: Not used: nothing is polled for.
        max_invocation_page_bytes: How large the event of an invocation may be; the rest of the history is paged.
        execution_timeout: How long (in the service's time, waits included) until an execution is TIMED_OUT; by default
            as long as the service allows, 366 days. The official runner's counts real time.
        invocation_timeout: How long the Lambda context gives each invocation.
        store: Where executions live; in memory by default.
        skip_time: False for the clock on the wall.
        region: Of the ARNs.
        start_time: Where virtual time begins, by default 2026-01-01 UTC.
        limits: What the service enforces; `Limits.off()` for nothing.
        prices: For the estimate in `DurableFunctionTestResult.budget`.
        patience: The real time that other threads get to do something, while nothing moves, before virtual time passes
            to the timeout of a callback; at most a quarter of what the call that waits may take, and half as long each
            time that nobody did anything.

    """

    @overload
    def __init__(
        self,
        handler: DurableHandler[T],
        poll_interval: DurationLike = ...,
        max_invocation_page_bytes: int | None = ...,
        execution_timeout: DurationLike | None = ...,
        invocation_timeout: DurationLike = ...,
        store: Store | None = ...,
        skip_time: bool = ...,
        region: str = ...,
        *,
        start_time: datetime | None = ...,
        limits: Limits | None = ...,
        prices: Prices | None = ...,
        patience: DurationLike = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: DurableFunctionTestRunner[Any],
        handler: Handler,
        poll_interval: DurationLike = ...,
        max_invocation_page_bytes: int | None = ...,
        execution_timeout: DurationLike | None = ...,
        invocation_timeout: DurationLike = ...,
        store: Store | None = ...,
        skip_time: bool = ...,
        region: str = ...,
        *,
        start_time: datetime | None = ...,
        limits: Limits | None = ...,
        prices: Prices | None = ...,
        patience: DurationLike = ...,
    ) -> None: ...
    def __init__(
        self,
        handler: Handler,
        poll_interval: DurationLike = 1.0,  # noqa: ARG002  of the official signature
        max_invocation_page_bytes: int | None = None,
        execution_timeout: DurationLike | None = None,
        invocation_timeout: DurationLike = 900,
        store: Store | None = None,
        skip_time: bool = True,
        region: str = "us-west-2",
        *,
        start_time: datetime | None = None,
        limits: Limits | None = None,
        prices: Prices | None = None,
        patience: DurationLike = PATIENCE,
    ) -> None:
        __tracebackhide__ = True
        _checks.checked_function("the handler", handler)
        self.handler = handler
        self._execution_timeout = _checks.checked_timeout("execution_timeout", execution_timeout)
        self._invocation_timeout = _checks.checked_timeout("invocation_timeout", invocation_timeout)
        self._prices = prices
        _checks.checked_place(region, "0" * 12)
        _checks.checked_options(
            store=store,
            start_time=start_time,
            limits=limits,
            prices=prices,
            max_invocation_page_bytes=max_invocation_page_bytes,
        )
        if limits is None:
            limits = Limits() if max_invocation_page_bytes is None else Limits(event_bytes=max_invocation_page_bytes)
        options: dict[str, Any] = {"limits": limits, "store": store, "region": region, "failure_log": Failures()}
        waits = seconds_of(patience, "patience", endless=True)
        self._driver = Driver(skip_time=skip_time, start=start_time, patience=waits, **options)
        self.service = self._driver.service
        self._registry = Registry(self.service, self._invocation_timeout)

    def __enter__(self) -> Self:
        """Give the runner."""
        return self

    def __exit__(self, exc_type: object, exc_val: object, exc_tb: object) -> None:
        """Close the runner."""
        self.close()

    def close(self) -> None:
        """Let go of the service."""
        self._driver.close()

    # -- running it ------------------------------------------------------------------------------------------------

    def run(
        self,
        input: Any = None,  # noqa: A002  of the official signature
        execution_timeout: DurationLike | None = None,
        timeout: DurationLike | None = None,
        function_name: str = "test-function",
        execution_name: str = _DEFAULT_NAME,
        account_id: str = "123456789012",
        tenant_id: str | None = None,
        *,
        event: Any = UNSET,
    ) -> DurableFunctionTestResult[T]:
        """Run an execution to its end.

        Args:
            input: The event as JSON; text that is no JSON, and what is no text, is taken as it is.
            execution_timeout: As for the class.
            timeout: Real time that it may take, 300 seconds by default, whatever virtual time passes. It is looked at
                between invocations: code that runs is not cut off.
            function_name: What the function is called, with a version if it is to have one.
            execution_name: What the execution is called: letters, digits, ``-`` and ``_``, at most 64.
            account_id: Of the ARNs.
            tenant_id: What the Lambda context shows.
            event: The event as an object, in the place of `input`.

        Raises:
            TimeoutError: If it takes longer, or if only the outside can move it on, and nobody there does.

        """
        __tracebackhide__ = True
        seconds = _checks.real_seconds(_LONGEST if timeout is None else timeout)
        handle = self._start(input, event, execution_timeout, function_name, execution_name, account_id, tenant_id)
        return self._finish(handle, seconds)

    def run_async(
        self,
        input: Any = None,  # noqa: A002  of the official signature
        execution_timeout: DurationLike | None = None,
        timeout: DurationLike | None = None,
        function_name: str = "test-function",
        execution_name: str = _DEFAULT_NAME,
        account_id: str = "123456789012",
        tenant_id: str | None = None,
        *,
        event: Any = UNSET,
    ) -> StartedExecution[DurableFunctionTestResult[T]]:
        """Start an execution, run it as far as it gets without time passing, and give its ARN; see `run`.

        In an asynchronous test it may be awaited instead, which gives the result: the execution is run to its end in a
        thread, while the loop of the test goes on. There an ``async def`` handler begins when it is awaited.
        """
        handle = self._start(input, event, execution_timeout, function_name, execution_name, account_id, tenant_id)
        if not (is_asynchronous(self.handler) and is_in_loop()):
            self._driver.settle(handle)
        return StartedExecution(
            handle.arn, lambda arn: self.wait_for_result(arn, _LONGEST if timeout is None else timeout)
        )

    def wait_for_result(self, execution_arn: str, timeout: DurationLike = 60) -> DurableFunctionTestResult[T]:
        """Run an execution to its end; see `run`."""
        __tracebackhide__ = True
        return self._finish(self._handle(execution_arn), _checks.real_seconds(timeout))

    def wait_for_callback(self, execution_arn: str, name: str | None = None, timeout: DurationLike = 60) -> str:
        """Run an execution until a callback is open, and give the callback's id.

        Args:
            execution_arn: The execution.
            name: The callback's, or that of the ``wait_for_callback``; by default the last that was opened.
            timeout: As for `run`.

        Raises:
            TimeoutError: If no such callback opens.

        """
        __tracebackhide__ = True
        seconds = _checks.real_seconds(timeout)
        handle = self._handle(execution_arn)
        seen: list[str] = []  # a thread may answer it before it is given

        def opened() -> bool:
            seen[:] = self._open(handle, name) or seen
            return bool(seen)

        if self._driver.until(handle, opened, seconds):
            return seen[-1 if name is None else 0]
        closed = [
            str(operation["CallbackDetails"]["CallbackId"])
            for operation in handle.operations
            if operation["Type"] == "CALLBACK" and name is not None and operation.get("Name") == name
        ]
        if closed:
            return closed[-1]
        wanted = "No callback" if name is None else f"No callback named {name!r}"
        raise TimeoutError(f"{wanted} became open. {standing_of(handle, self._driver.replies)}") from obstacle_of(
            handle
        )

    def advance(self, duration: DurationLike) -> None:
        """Let a time pass: what is due in it happens, at its moment, and the clock ends that much later."""
        self._driver.advance(timedelta(seconds=seconds_of(duration, "the duration of advance()")))

    @property
    def now(self) -> datetime:
        """The service's time, aware, in UTC."""
        return self.service.clock.now()

    # -- looking at it ---------------------------------------------------------------------------------------------

    def get_execution_history(
        self, execution_arn: str, include_execution_data: bool = False
    ) -> GetDurableExecutionHistoryResponse:
        """Give the events of an execution, of one under test or of one that it invoked."""
        self._handle(execution_arn)
        return GetDurableExecutionHistoryResponse(
            read_history(self.service.client, execution_arn, data=include_execution_data)
        )

    def tree(self, execution_arn: str) -> str:
        """Draw the operations of an execution as they are now."""
        return render(operations_of(self._handle(execution_arn)))

    # -- inside ----------------------------------------------------------------------------------------------------

    def _start(
        self,
        input: Any,  # noqa: A002  of the official signature
        event: Any,
        execution_timeout: DurationLike | None,
        function_name: str,
        execution_name: str,
        account_id: str,
        tenant_id: str | None,
    ) -> ExecutionHandle:
        service = self.service
        _checks.checked_place(service.region, account_id)
        _checks.checked_execution_name(execution_name)
        service.account_id = account_id
        own_name = function_parts(_checks.checked_name(function_name))[0]
        service.register(own_name, for_tenant(self.handler, tenant_id), timeout_seconds=self._invocation_timeout)
        seconds = _checks.checked_timeout("execution_timeout", execution_timeout)
        if seconds is None:
            seconds = self._execution_timeout
        payload = payload_of(input, event)
        name, again = execution_name, 1
        while execution_name == _DEFAULT_NAME and any(handle.name == name for handle in service.handles.values()):
            again += 1
            name = f"{execution_name}-{again}"
        with translated():
            handle = service.start(function_name, payload, name, execution_timeout=seconds)
        _recent.note(handle)
        return handle

    def _finish(self, handle: ExecutionHandle, seconds: float) -> DurableFunctionTestResult[T]:
        __tracebackhide__ = True
        began, virtual = steady(), self.now
        self._driver.finish(handle, seconds)
        if not handle.terminal:
            late = f" within {seconds:g} seconds" if steady() - began >= seconds else ""
            if late and self.now > virtual and self.service.clock.virtual:
                late += f", in which {span(self.now - virtual)} of virtual time have passed"
            error = f"The execution did not come to its end{late}. {standing_of(handle, self._driver.replies)}"
            raise TimeoutError(error) from obstacle_of(handle)
        return DurableFunctionTestResult.create(handle, self._prices)

    def _open(self, handle: ExecutionHandle, name: str | None) -> list[str]:
        callbacks = [str(operation["CallbackDetails"]["CallbackId"]) for operation in handle.open_callbacks]
        return [callback for callback in callbacks if name is None or name in names_of(handle, callback)]


class DurableChildContextTestRunner(DurableFunctionTestRunner[Any]):
    """Runs a function of a child context by itself.

    Args:
        context_function: What ``@durable_with_child_context`` made.
        args: Its arguments, after the context.
        skip_time: As for `DurableFunctionTestRunner`.
        kwargs: Its arguments by name.

    """

    def __init__(self, context_function: Callable[..., Any], *args: Any, skip_time: bool = True, **kwargs: Any) -> None:
        _checks.checked_function("the function of a child context", context_function)

        def bound_function() -> Callable[[Any], Any]:
            bound = context_function(*args, **kwargs)
            if not callable(bound):
                raise DurableFunctionsTestError(
                    f"{context_function!r} gave {bound!r} for its arguments: decorate it with "
                    f"@durable_with_child_context, so that it gives a function of the context"
                )
            return bound  # type: ignore[no-any-return]

        def handler(_event: Any, context: Any) -> Any:
            return bound_function()(context)

        async def asynchronous(_event: Any, context: Any) -> Any:
            return await bound_function()(context)

        made = durable_execution(asynchronous if is_coroutine(context_function) else handler)
        super().__init__(made, skip_time=skip_time)
