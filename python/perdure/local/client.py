"""The service as a client sees it: the durable methods of a boto3 Lambda client, with the same keyword arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from perdure.local.machine.errors import Exceptions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

# The arguments are boto3's, capitals included.
# ruff: noqa: N803


class Service(Protocol):
    """What a client asks."""

    def call(self, name: str, arguments: dict[str, Any], invocation: Any = None) -> dict[str, Any]:
        """Take one API call, by its boto3 method name; what is refused raises as boto3 does."""
        ...


class LocalClient:
    """A boto3-shaped client of a `LocalService`, of one invocation or of nobody in particular. Safe for threads."""

    exceptions = Exceptions()

    def __init__(self, service: Service, invocation: Any = None) -> None:
        self._service = service
        self._invocation = invocation

    def _call(self, name: str, **arguments: Any) -> dict[str, Any]:
        given = {key: value for key, value in arguments.items() if value is not None}
        return self._service.call(name, given, self._invocation)

    def checkpoint_durable_execution(
        self,
        *,
        DurableExecutionArn: str,
        CheckpointToken: str,
        Updates: Sequence[dict[str, Any]] | None = None,
        ClientToken: str | None = None,
    ) -> dict[str, Any]:
        """Apply updates; return the next token and the operations that have changed."""
        return self._call(
            "checkpoint_durable_execution",
            DurableExecutionArn=DurableExecutionArn,
            CheckpointToken=CheckpointToken,
            Updates=Updates,
            ClientToken=ClientToken,
        )

    def get_durable_execution_state(
        self, *, DurableExecutionArn: str, CheckpointToken: str, Marker: str | None = None, MaxItems: int | None = None
    ) -> dict[str, Any]:
        """Return a page of the operations that a replay needs."""
        return self._call(
            "get_durable_execution_state",
            DurableExecutionArn=DurableExecutionArn,
            CheckpointToken=CheckpointToken,
            Marker=Marker,
            MaxItems=MaxItems,
        )

    def get_durable_execution(
        self, *, DurableExecutionArn: str, IncludeExecutionData: bool | None = None
    ) -> dict[str, Any]:
        """Describe an execution."""
        return self._call(
            "get_durable_execution", DurableExecutionArn=DurableExecutionArn, IncludeExecutionData=IncludeExecutionData
        )

    def get_durable_execution_history(
        self,
        *,
        DurableExecutionArn: str,
        IncludeExecutionData: bool | None = None,
        MaxItems: int | None = None,
        Marker: str | None = None,
        ReverseOrder: bool | None = None,
    ) -> dict[str, Any]:
        """Return a page of what happened to an execution."""
        return self._call(
            "get_durable_execution_history",
            DurableExecutionArn=DurableExecutionArn,
            IncludeExecutionData=IncludeExecutionData,
            MaxItems=MaxItems,
            Marker=Marker,
            ReverseOrder=ReverseOrder,
        )

    def list_durable_executions_by_function(
        self,
        *,
        FunctionName: str,
        Qualifier: str | None = None,
        DurableExecutionName: str | None = None,
        Statuses: Sequence[str] | None = None,
        StartedAfter: datetime | str | float | None = None,
        StartedBefore: datetime | str | float | None = None,
        ReverseOrder: bool | None = None,
        Marker: str | None = None,
        MaxItems: int | None = None,
    ) -> dict[str, Any]:
        """Return a page of the executions of a function, the newest first unless `ReverseOrder`."""
        return self._call(
            "list_durable_executions_by_function",
            FunctionName=FunctionName,
            Qualifier=Qualifier,
            DurableExecutionName=DurableExecutionName,
            Statuses=Statuses,
            StartedAfter=StartedAfter,
            StartedBefore=StartedBefore,
            ReverseOrder=ReverseOrder,
            Marker=Marker,
            MaxItems=MaxItems,
        )

    def invoke(
        self,
        *,
        FunctionName: str,
        InvocationType: str | None = None,
        LogType: str | None = None,
        ClientContext: str | None = None,
        DurableExecutionName: str | None = None,
        Payload: bytes | str | None = None,
        Qualifier: str | None = None,
        TenantId: str | None = None,
    ) -> dict[str, Any]:
        """Invoke a function: `RequestResponse` (the default) waits for what it returns, `Event` does not."""
        return self._call(
            "invoke",
            FunctionName=FunctionName,
            InvocationType=InvocationType,
            LogType=LogType,
            ClientContext=ClientContext,
            DurableExecutionName=DurableExecutionName,
            Payload=Payload,
            Qualifier=Qualifier,
            TenantId=TenantId,
        )

    def stop_durable_execution(
        self, *, DurableExecutionArn: str, Error: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Stop an execution for good."""
        return self._call("stop_durable_execution", DurableExecutionArn=DurableExecutionArn, Error=Error)

    def pause_durable_execution(
        self,
        *,
        DurableExecutionArn: str,
        ClientToken: str | None = None,
        Reason: str | None = None,
        ExecutionTimeoutPaused: bool | None = None,
    ) -> dict[str, Any]:
        """Invoke an execution no more until it is resumed."""
        return self._call(
            "pause_durable_execution",
            DurableExecutionArn=DurableExecutionArn,
            ClientToken=ClientToken,
            Reason=Reason,
            ExecutionTimeoutPaused=ExecutionTimeoutPaused,
        )

    def resume_durable_execution(
        self, *, DurableExecutionArn: str, ClientToken: str | None = None, Reason: str | None = None
    ) -> dict[str, Any]:
        """Go on with a paused execution."""
        return self._call(
            "resume_durable_execution", DurableExecutionArn=DurableExecutionArn, ClientToken=ClientToken, Reason=Reason
        )

    def delete_durable_execution(self, *, DurableExecutionArn: str) -> dict[str, Any]:
        """Forget a finished execution and its history."""
        return self._call("delete_durable_execution", DurableExecutionArn=DurableExecutionArn)

    def send_durable_execution_callback_success(
        self, *, CallbackId: str, Result: bytes | str | None = None
    ) -> dict[str, Any]:
        """Complete a callback with a result."""
        return self._call("send_durable_execution_callback_success", CallbackId=CallbackId, Result=Result)

    def send_durable_execution_callback_failure(
        self, *, CallbackId: str, Error: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Complete a callback with an error."""
        return self._call("send_durable_execution_callback_failure", CallbackId=CallbackId, Error=Error)

    def send_durable_execution_callback_heartbeat(self, *, CallbackId: str) -> dict[str, Any]:
        """Show that whoever will answer a callback is still alive."""
        return self._call("send_durable_execution_callback_heartbeat", CallbackId=CallbackId)
