"""`DurableFunctionTestRunner`: run a durable function on this machine, in virtual time, and look at what it did.

The public API is that of the official testing package, so that a suite migrates by a changed import. What is new here:
time is virtual for everything, timeouts of callbacks and executions included; `advance` lets it pass; `mock_invoke` and
`answer_callback` stand in for the outside; a result knows its `value`, its `history`, its `budget` and its `tree`.
"""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from perdure.execution import durable_execution
from perdure.lambda_service import ErrorObject
from perdure.local import Limits
from perdure.local.validation import EXECUTION_NAME, function_parts
from perdure.local.words import span
from perdure.testing import _recent
from perdure.testing._stage import PATIENCE, Stage, names_of, over, translated
from perdure.testing._standing import standing_of
from perdure.testing.cloud import DurableFunctionCloudTestRunner
from perdure.testing.exceptions import (
    DurableFunctionsTestError,
    InvalidParameterValueException,
    ResourceNotFoundException,
)
from perdure.testing.execution import ExecutionStatus
from perdure.testing.history import read_history
from perdure.testing.mocks import (
    UNSET,
    MockedFunction,
    Reply,
    checked_function,
    checked_id,
    encode_error,
    encode_result,
    payload_of,
)
from perdure.testing.model import GetDurableExecutionHistoryResponse
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
from perdure.testing.tree import render

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from perdure.local import ExecutionHandle, Store
    from perdure.local.budget import Prices
    from perdure.types import DurableHandler

    Handler = Callable[[Any, Any], Any]

__all__ = [
    "OPERATION_FACTORIES",
    "CallbackOperation",
    "ContextOperation",
    "DurableChildContextTestRunner",
    "DurableFunctionCloudTestRunner",
    "DurableFunctionTestResult",
    "DurableFunctionTestRunner",
    "ErrorObject",
    "ExecutionOperation",
    "ExecutionStatus",
    "InvokeOperation",
    "Operation",
    "OperationFactory",
    "StepOperation",
    "WaitOperation",
    "create_operation",
]

T = TypeVar("T")

_DEFAULT_NAME = "execution-name"
_LONGEST = 300.0  # the official runner's


class DurableFunctionTestRunner(Generic[T]):
    """Runs a durable function, and the functions it invokes, on a local service of its own.

    Code runs in the thread that calls the runner, as far as it gets; time passes only in `run`, `wait_for_result`,
    `wait_for_callback` and `advance`, and takes none. Use it as a context manager, or `close` it.

    Args:
        handler: What ``@durable_execution`` made.
        poll_interval: Not used: nothing is polled for.
        max_invocation_page_bytes: How large the event of an invocation may be; the rest of the history is paged.
        execution_timeout: Seconds (of the service's time, waits included) until an execution is TIMED_OUT; by default
            as long as the service allows, 366 days. The official runner's counts real time.
        invocation_timeout: Seconds that the Lambda context gives each invocation.
        store: Where executions live; in memory by default.
        skip_time: False for the clock on the wall.
        region: Of the ARNs.
        start_time: Where virtual time begins, by default 2026-01-01 UTC.
        limits: What the service enforces; `Limits.off()` for nothing.
        prices: For the estimate in `DurableFunctionTestResult.budget`.
        patience: Real seconds that other threads get to do something, while nothing moves, before virtual time passes
            to the timeout of a callback; at most a quarter of what the call that waits may take, and half as long each
            time that nobody did anything.

    """

    @overload
    def __init__(
        self,
        handler: DurableHandler[T],
        poll_interval: float = ...,
        max_invocation_page_bytes: int | None = ...,
        execution_timeout: int | None = ...,
        invocation_timeout: int = ...,
        store: Store | None = ...,
        skip_time: bool = ...,
        region: str = ...,
        *,
        start_time: datetime | None = ...,
        limits: Limits | None = ...,
        prices: Prices | None = ...,
        patience: float = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: DurableFunctionTestRunner[Any],
        handler: Handler,
        poll_interval: float = ...,
        max_invocation_page_bytes: int | None = ...,
        execution_timeout: int | None = ...,
        invocation_timeout: int = ...,
        store: Store | None = ...,
        skip_time: bool = ...,
        region: str = ...,
        *,
        start_time: datetime | None = ...,
        limits: Limits | None = ...,
        prices: Prices | None = ...,
        patience: float = ...,
    ) -> None: ...
    def __init__(
        self,
        handler: Handler,
        poll_interval: float = 1.0,  # noqa: ARG002  of the official signature
        max_invocation_page_bytes: int | None = None,
        execution_timeout: int | None = None,
        invocation_timeout: int = 900,
        store: Store | None = None,
        skip_time: bool = True,
        region: str = "us-west-2",
        *,
        start_time: datetime | None = None,
        limits: Limits | None = None,
        prices: Prices | None = None,
        patience: float = PATIENCE,
    ) -> None:
        checked_function("the handler", handler)
        self.handler = handler
        self._execution_timeout = execution_timeout
        self._invocation_timeout = invocation_timeout
        self._prices = prices
        if limits is None:
            limits = Limits() if max_invocation_page_bytes is None else Limits(event_bytes=max_invocation_page_bytes)
        options: dict[str, Any] = {"limits": limits, "store": store, "region": region}
        self._stage = Stage(skip_time=skip_time, start=start_time, patience=patience, **options)
        self.service = self._stage.service
        self._qualified: dict[str, dict[str | None, Callable[[], None]]] = {}

    def __enter__(self) -> Self:
        """Give the runner."""
        return self

    def __exit__(self, exc_type: object, exc_val: object, exc_tb: object) -> None:
        """Close the runner."""
        self.close()

    def close(self) -> None:
        """Let go of the service."""
        self._stage.close()

    # -- what is around the function -------------------------------------------------------------------------------

    def register_durable_function(
        self,
        function_name: str,
        handler: Handler,
        execution_timeout: int | None = None,
        retention_period_days: int = 1,
    ) -> Self:
        """Register a durable function to be invoked; gives the runner.

        Args:
            function_name: What it is invoked by; its name or ARN, see `register_function`.
            handler: What ``@durable_execution`` made.
            execution_timeout: Seconds until an execution of it is TIMED_OUT; by default as long as the service allows.
            retention_period_days: How long its executions are kept, 1 to 90 days.

        """
        options = {"execution_timeout": execution_timeout, "retention_days": retention_period_days}
        return self._register(function_name, handler, **options)

    def register_function(self, function_name: str, handler: Handler) -> Self:
        """Register a plain function to be invoked; gives the runner.

        Args:
            function_name: What it is invoked by, a name or an ARN. It serves all qualifiers, unless others of the same
                function are registered with theirs: then each serves its own, which must be an alias.
            handler: Called with its payload and a Lambda context.

        """
        return self._register(function_name, handler, durable=False)

    def mock_invoke(
        self, function_name: str, returns: Any = None, raises: BaseException | type[BaseException] | None = None
    ) -> MockedFunction:
        """Put a stand-in in the place of a function that is invoked.

        Args:
            function_name: What it is invoked by.
            returns: What it returns; a callable is called with the payload and gives it. An exception is raised.
            raises: What it raises instead.

        Returns:
            The stand-in, which knows its `calls`.

        """
        mocked = MockedFunction(function_name, returns, raises)
        self.register_function(function_name, mocked)
        return mocked

    def answer_callback(
        self,
        name: str | None,
        result: Any = UNSET,
        error: ErrorObject | BaseException | None = None,
        *,
        reply: Callable[[str], Any] | None = None,
    ) -> Self:
        """Have each callback of a name answered, as soon as the execution waits for it; gives the runner.

        Args:
            name: The callback's, or that of the ``wait_for_callback``; None for those without one.
            result: What is sent: bytes and text as they are, an exception as a failure, anything else as JSON.
            error: Sent instead.
            reply: Called with the callback's id instead; gives the result.

        """
        if reply is not None:
            self._stage.replies[name] = lambda callback_id: Reply(reply(callback_id))
        else:
            self._stage.replies[name] = Reply(None if result is UNSET else result, error)
        return self

    # -- running it ------------------------------------------------------------------------------------------------

    def run(
        self,
        input: Any = None,  # noqa: A002  of the official signature
        execution_timeout: int | None = None,
        timeout: float | None = None,
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
            timeout: Real seconds that it may take, 300 by default, whatever virtual time passes. They are counted
                between invocations: code that runs is not cut off.
            function_name: What the function is called, with a version if it is to have one.
            execution_name: What the execution is called: letters, digits, ``-`` and ``_``, at most 64.
            account_id: Of the ARNs.
            tenant_id: What the Lambda context shows.
            event: The event as an object, in the place of `input`.

        Raises:
            TimeoutError: If it takes longer, or if only the outside can move it on, and nobody there does.

        """
        handle = self._start(input, event, execution_timeout, function_name, execution_name, account_id, tenant_id)
        return self._finish(handle, _LONGEST if timeout is None else timeout)

    def run_async(
        self,
        input: Any = None,  # noqa: A002  of the official signature
        execution_timeout: int | None = None,
        timeout: float | None = None,  # noqa: ARG002  of the official signature
        function_name: str = "test-function",
        execution_name: str = _DEFAULT_NAME,
        account_id: str = "123456789012",
        tenant_id: str | None = None,
        *,
        event: Any = UNSET,
    ) -> str:
        """Start an execution, run it as far as it gets without time passing, and give its ARN; see `run`."""
        handle = self._start(input, event, execution_timeout, function_name, execution_name, account_id, tenant_id)
        self._stage.settle(handle)
        return handle.arn

    def wait_for_result(self, execution_arn: str, timeout: float = 60) -> DurableFunctionTestResult[T]:
        """Run an execution to its end; see `run`."""
        return self._finish(self._handle(execution_arn), timeout)

    def wait_for_callback(self, execution_arn: str, name: str | None = None, timeout: float = 60) -> str:
        """Run an execution until a callback is open, and give the callback's id.

        Args:
            execution_arn: The execution.
            name: The callback's, or that of the ``wait_for_callback``; by default the last that was opened.
            timeout: As for `run`.

        Raises:
            TimeoutError: If no such callback opens.

        """
        handle = self._handle(execution_arn)
        seen: list[str] = []  # a thread may answer it before it is given

        def opened() -> bool:
            seen[:] = self._open(handle, name) or seen
            return bool(seen)

        if self._stage.until(handle, opened, timeout):
            return seen[-1 if name is None else 0]
        closed = [
            str(operation["CallbackDetails"]["CallbackId"])
            for operation in handle.operations
            if operation["Type"] == "CALLBACK" and name is not None and operation.get("Name") == name
        ]
        if closed:
            return closed[-1]
        wanted = "No callback" if name is None else f"No callback named {name!r}"
        raise TimeoutError(f"{wanted} became open. {standing_of(handle)}")

    def advance(self, duration: timedelta) -> None:
        """Let a time pass: what is due in it happens, at its moment, and the clock ends that much later."""
        self._stage.advance(duration)

    @property
    def now(self) -> datetime:
        """The service's time, aware, in UTC."""
        return self.service.clock.now()

    # -- the outside -----------------------------------------------------------------------------------------------

    def send_callback_success(self, callback_id: str, result: Any = None) -> None:
        """Answer a callback: bytes and text as they are, anything else as JSON.

        The execution runs on as far as it gets without time passing.

        Raises:
            ResourceNotFoundException: If it is not there, or closed.
            InvalidParameterValueException: If the id is empty.

        """
        with translated():
            self.service.client.send_durable_execution_callback_success(
                CallbackId=checked_id(callback_id), Result=encode_result(result)
            )
        self._settle_all()

    def send_callback_failure(self, callback_id: str, error: ErrorObject | BaseException | None = None) -> None:
        """Answer a callback with a failure; see `send_callback_success`."""
        with translated():
            self.service.client.send_durable_execution_callback_failure(
                CallbackId=checked_id(callback_id), Error=encode_error(error)
            )
        self._settle_all()

    def send_callback_heartbeat(self, callback_id: str) -> None:
        """Show that whoever will answer a callback is still alive."""
        with translated():
            self.service.client.send_durable_execution_callback_heartbeat(CallbackId=checked_id(callback_id))

    def pause_execution(self, execution_arn: str, timeout: float = 60) -> None:
        """Invoke an execution no more until it is resumed; one that has ended or is paused stays as it is.

        Args:
            execution_arn: The execution.
            timeout: Real seconds to wait for a running invocation to end.

        """
        if not (math.isfinite(timeout) and timeout > 0):
            raise ValueError(f"timeout must be a finite number of seconds above 0, not {timeout}")
        handle = self._handle(execution_arn)
        if over(handle):
            return
        with translated():
            self.service.client.pause_durable_execution(DurableExecutionArn=execution_arn)
        self._stage.settle(handle)

    def resume_execution(self, execution_arn: str) -> None:
        """Go on with a paused execution; one that is not paused stays as it is."""
        handle = self._handle(execution_arn)
        if over(handle) and not handle.terminal:
            with translated():
                self.service.client.resume_durable_execution(DurableExecutionArn=execution_arn)
            self._stage.settle(handle)

    def stop_execution(self, execution_arn: str, error: ErrorObject | BaseException | None = None) -> None:
        """Stop an execution for good."""
        with translated():
            self.service.client.stop_durable_execution(
                DurableExecutionArn=execution_arn, Error=encode_error(error) or None
            )

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
        execution_timeout: int | None,
        function_name: str,
        execution_name: str,
        account_id: str,
        tenant_id: str | None,
    ) -> ExecutionHandle:
        service = self.service
        service.account_id = account_id
        if execution_name and EXECUTION_NAME.fullmatch(execution_name) is None:
            raise InvalidParameterValueException(
                f"{execution_name!r} is no name of an execution: AWS takes letters, digits, - and _, at most 64"
            )
        service.register(
            function_parts(function_name)[0], self._for_tenant(tenant_id), timeout_seconds=self._invocation_timeout
        )
        seconds = self._execution_timeout if execution_timeout is None else execution_timeout
        payload = payload_of(input) if event is UNSET else json.dumps(event)
        name, again = execution_name, 1
        while execution_name == _DEFAULT_NAME and any(handle.name == name for handle in service.handles.values()):
            again += 1
            name = f"{execution_name}-{again}"
        with translated():
            handle = service.start(function_name, payload, name, execution_timeout=seconds)
        _recent.note(handle)
        return handle

    def _register(self, function_name: str, handler: Handler, **options: Any) -> Self:
        """Register a function under its bare name, which every qualifier leads to, or under its alias."""
        checked_function(f"the function {function_name}", handler)
        name, qualifier = function_parts(function_name)

        def register() -> None:
            self.service.register(name, handler, timeout_seconds=self._invocation_timeout, **options)

        known = {**self._qualified.get(name, {}), qualifier: register}
        wrong = [each for each in known if each is not None and (each.isdigit() or each.startswith("$"))]
        if len(known) > 1 and wrong:
            given = ", ".join(each or name for each in known)
            raise ValueError(f"{name} is registered as {given}: beside each other only aliases can be")
        self._qualified[name] = known
        functions = self.service.functions
        for alias, again in known.items():
            if alias is not None and len(known) > 1:
                again()
                functions.alias(name, alias, functions.publish(name))
        known.get(None, register)()  # the bare name is what serves every other qualifier
        return self

    def _for_tenant(self, tenant_id: str | None) -> Handler:
        if tenant_id is None:
            return self.handler

        def handler(event: Any, context: Any) -> Any:
            context.tenant_id = tenant_id
            return self.handler(event, context)

        return handler

    def _handle(self, execution_arn: str) -> ExecutionHandle:
        try:
            return self.service.execution(execution_arn)
        except KeyError:
            raise ResourceNotFoundException(f"this runner has no execution with the ARN {execution_arn!r}") from None

    def _finish(self, handle: ExecutionHandle, seconds: float) -> DurableFunctionTestResult[T]:
        began, virtual = time.monotonic(), self.now
        self._stage.finish(handle, seconds)
        if not handle.terminal:
            late = f" within {seconds:g} seconds" if time.monotonic() - began >= seconds else ""
            if late and self.now > virtual and self.service.clock.virtual:
                late += f", in which {span(self.now - virtual)} of virtual time have passed"
            raise TimeoutError(f"The execution did not come to its end{late}. {standing_of(handle)}")
        return DurableFunctionTestResult.create(handle, self._prices)

    def _settle_all(self) -> None:
        for handle in list(self.service.handles.values()):
            if not handle.terminal:
                self._stage.settle(handle)
                return

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
        def handler(_event: Any, context: Any) -> Any:
            bound = context_function(*args, **kwargs)
            if not callable(bound):
                raise DurableFunctionsTestError(
                    f"{context_function!r} gave {bound!r} for its arguments: decorate it with "
                    f"@durable_with_child_context, so that it gives a function of the context"
                )
            return bound(context)

        super().__init__(durable_execution(handler), skip_time=skip_time)
