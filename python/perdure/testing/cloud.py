"""The cloud runner: the same tests against a deployed function, over boto3."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

from perdure.engine.time_left import steady
from perdure.history.reading import read_history
from perdure.local.durations import seconds_of
from perdure.local.server.endpoints import NO_CREDENTIALS, NO_PROXY, is_local
from perdure.testing._checks import checked_id, real_seconds
from perdure.testing._driver import translated
from perdure.testing._started import StartedExecution
from perdure.testing.exceptions import AwsApiException, DurableFunctionsTestError, ResourceNotFoundException
from perdure.testing.mocks import UNSET, encode_error, encode_result, payload_of
from perdure.testing.model import (
    GetDurableExecutionHistoryResponse,
    GetDurableExecutionResponse,
    events_to_operations,
)
from perdure.testing.operations import tree_of
from perdure.testing.result import DurableFunctionTestResult
from perdure.testing.tree import render

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure._duration import DurationLike
    from perdure.testing.mocks import ErrorLike
    from perdure.testing.model import Event

_UNKNOWN_AT_FIRST = 5.0
"""Seconds in which an execution that is not found is asked for again."""

_RUNNING = frozenset({"RUNNING", "PAUSED", "PAUSING"})

sleep = time.sleep


class DurableFunctionCloudTestRunner:
    """Runs a function that is deployed, or that a service elsewhere knows.

    All lengths of time, here and in its methods, are a `Duration`, a `timedelta`, or a number of seconds.

    Args:
        function_name: Its name or ARN, with a version or an alias (durable functions need one).
        region: Where it is.
        lambda_endpoint: Another endpoint than AWS's, such as that of ``perdure serve``; on this machine it needs no
            credentials.
        poll_interval: How long to wait between two looks.
        client: A boto3 Lambda client, or what has its methods, in the place of the one that would be made.

    """

    def __init__(
        self,
        function_name: str,
        region: str = "us-west-2",
        lambda_endpoint: str | None = None,
        poll_interval: DurationLike = 1.0,
        *,
        client: Any = None,
    ) -> None:
        self.function_name = function_name
        self.region = region
        self.lambda_endpoint = lambda_endpoint
        self.poll_interval = seconds_of(poll_interval, "poll_interval")
        self.client = client if client is not None else _boto3_client(region, lambda_endpoint)

    def __enter__(self) -> Self:
        """Give the runner."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close the runner."""
        self.close()

    def close(self) -> None:
        """Do nothing: executions live on, and a client may be shared."""

    def run(
        self,
        input: Any = None,  # noqa: A002  of the official signature
        timeout: DurationLike = 60,
        *,
        event: Any = UNSET,
    ) -> DurableFunctionTestResult[Any]:
        """Run an execution to its end.

        Args:
            input: The event as JSON; text that is no JSON, and what is no text, is taken as it is.
            timeout: How long to wait.
            event: The event as an object, in the place of `input`.

        Raises:
            TimeoutError: If it takes longer.

        """
        __tracebackhide__ = True
        seconds = real_seconds(timeout)
        return self.wait_for_result(self.run_async(input, event=event), seconds)

    def run_async(
        self,
        input: Any = None,  # noqa: A002  of the official signature
        timeout: DurationLike = 60,
        *,
        event: Any = UNSET,
    ) -> StartedExecution[DurableFunctionTestResult[Any]]:
        """Start an execution and give its ARN, which may be awaited for its result; see `run`."""
        payload = payload_of(input, event)
        with translated():
            response = self.client.invoke(
                FunctionName=self.function_name, InvocationType="Event", Payload=payload.encode()
            )
        arn = response.get("DurableExecutionArn")
        if not arn:
            raise DurableFunctionsTestError(
                f"{self.function_name} was invoked, but started no durable execution: deploy it with a DurableConfig, "
                f"and name a version or an alias of it"
            )
        return StartedExecution(arn, lambda started: self.wait_for_result(started, timeout))

    def wait_for_result(self, execution_arn: str, timeout: DurationLike = 60) -> DurableFunctionTestResult[Any]:
        """Wait for an execution's end, and tell of it.

        Raises:
            TimeoutError: If it takes longer than ``timeout``.

        """
        __tracebackhide__ = True
        seconds = real_seconds(timeout)
        described: list[GetDurableExecutionResponse] = []

        def ended() -> bool:
            with translated():
                response = self.client.get_durable_execution(DurableExecutionArn=execution_arn)
            described[:] = [GetDurableExecutionResponse.from_dict(response)]
            return described[0].status not in _RUNNING

        if not self._poll(ended, seconds):
            status = described[0].status if described else "not to be asked about"
            raise TimeoutError(f"Execution {execution_arn} is {status} after {seconds:g} seconds.")
        history = GetDurableExecutionHistoryResponse(self._history(execution_arn))
        return DurableFunctionTestResult.from_execution_history(described[0], history)

    def wait_for_callback(self, execution_arn: str, name: str | None = None, timeout: DurationLike = 60) -> str:
        """Wait for a callback to open, and give its id.

        Args:
            execution_arn: The execution.
            name: The callback's, or that of the ``wait_for_callback``; by default the last that was opened.
            timeout: How long to wait.

        Raises:
            TimeoutError: If none opens.

        """
        __tracebackhide__ = True
        seconds = real_seconds(timeout)
        found: list[str] = []

        def opened() -> bool:
            found[:] = _open_callbacks(self._history(execution_arn), name)
            return bool(found)

        if not self._poll(opened, seconds):
            wanted = "No callback" if name is None else f"No callback named {name!r}"
            raise TimeoutError(f"{wanted} became open within {seconds:g} seconds in {execution_arn}.")
        return found[-1 if name is None else 0]

    def send_callback_success(self, callback_id: str, result: Any = None) -> None:
        """Answer a callback: bytes and text as they are, anything else as JSON."""
        with translated():
            self.client.send_durable_execution_callback_success(
                CallbackId=checked_id(callback_id), **({} if result is None else {"Result": encode_result(result)})
            )

    def send_callback_failure(self, callback_id: str, error: ErrorLike | None = None) -> None:
        """Answer a callback with a failure: an error object or a dict of its members, an exception, a message."""
        with translated():
            self.client.send_durable_execution_callback_failure(
                CallbackId=checked_id(callback_id), Error=encode_error(error)
            )

    def send_callback_heartbeat(self, callback_id: str) -> None:
        """Show that whoever will answer a callback is still alive."""
        with translated():
            self.client.send_durable_execution_callback_heartbeat(CallbackId=checked_id(callback_id))

    def pause_execution(self, execution_arn: str, timeout: DurationLike = 60) -> None:
        """Pause an execution, and wait for its running invocation to end.

        Raises:
            TimeoutError: If that takes longer than ``timeout``.

        """
        seconds = real_seconds(timeout)
        with translated():
            self.client.pause_durable_execution(DurableExecutionArn=execution_arn)

        def paused() -> bool:
            with translated():
                response = self.client.get_durable_execution(DurableExecutionArn=execution_arn)
            return response["Status"] not in ("RUNNING", "PAUSING")

        if not self._poll(paused, seconds):
            raise TimeoutError(f"Execution {execution_arn} still runs {seconds:g} seconds after it was paused.")

    def resume_execution(self, execution_arn: str) -> None:
        """Go on with a paused execution."""
        with translated():
            self.client.resume_durable_execution(DurableExecutionArn=execution_arn)

    def stop_execution(self, execution_arn: str, error: ErrorLike | None = None) -> None:
        """Stop an execution for good; for errors, see `send_callback_failure`."""
        told = {"Error": encode_error(error)} if error is not None else {}
        with translated():
            self.client.stop_durable_execution(DurableExecutionArn=execution_arn, **told)

    def tree(self, execution_arn: str) -> str:
        """Draw the operations of an execution as they are now."""
        return render(tree_of(events_to_operations(self._history(execution_arn))))

    def get_execution_history(
        self, execution_arn: str, include_execution_data: bool = False
    ) -> GetDurableExecutionHistoryResponse:
        """Give the events of an execution."""
        return GetDurableExecutionHistoryResponse(self._history(execution_arn, data=include_execution_data))

    def _history(self, arn: str, *, data: bool = True) -> list[Event]:
        with translated():
            return read_history(self.client, arn, data=data)

    def _poll(self, done: Callable[[], bool], seconds: float) -> bool:
        """Look until something is so; trouble of the service's that passes is looked past.

        An execution that was just started may not be known yet where it is asked for.
        """
        began = steady()
        deadline = began + seconds
        known = began + min(seconds, _UNKNOWN_AT_FIRST)
        while True:
            try:
                if done():
                    return True
                known = began
            except ResourceNotFoundException:
                if steady() + self.poll_interval > known:
                    raise
            except AwsApiException as error:
                if error.code not in ("TooManyRequestsException", "ServiceException"):
                    raise
            if steady() + self.poll_interval > deadline:
                return False
            sleep(self.poll_interval)


def _open_callbacks(events: list[Event], name: str | None) -> list[str]:
    """Give the ids of the open callbacks of a name: their own, or that of the context around them."""
    contexts = {event.operation_id: event.name for event in events if event.event_type == "ContextStarted"}
    opened: dict[str | None, str] = {}
    for event in events:
        details = event.callback_started_details
        if event.event_type == "CallbackStarted" and details is not None and details.callback_id:
            if name is None or name in (event.name, contexts.get(event.parent_id)):
                opened[event.operation_id] = details.callback_id
        elif event.event_type.startswith("Callback"):
            opened.pop(event.operation_id, None)
    return list(opened.values())


def _boto3_client(region: str, endpoint: str | None) -> Any:
    import boto3  # type: ignore[import-untyped]  # noqa: PLC0415  slow to import
    from botocore.config import Config  # type: ignore[import-untyped]  # noqa: PLC0415  the same

    local: dict[str, Any] = {**NO_CREDENTIALS, "config": Config(**NO_PROXY)} if is_local(endpoint) else {}
    return boto3.client("lambda", region_name=region, endpoint_url=endpoint, **local)
