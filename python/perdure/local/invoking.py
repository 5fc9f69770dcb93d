"""`Invoke` and chained invokes: how executions and calls of plain functions begin, and what the caller is told."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, Protocol

from perdure.local.calls import Call, check_payload
from perdure.local.handle import ExecutionHandle
from perdure.local.machine.errors import INVALID_PARAMETER, TOO_LARGE, Fault, refuse
from perdure.local.machine.execution import Origin
from perdure.local.machine.limits import MIB
from perdure.local.machine.validation import EXECUTION_NAME, read_text, text_bytes

if TYPE_CHECKING:
    from perdure.local.executions import Executions
    from perdure.local.functions import Function
    from perdure.local.machine.journal import StartedInvoke
    from perdure.local.shared import Shared, Target

SYNC_BYTES, ASYNC_BYTES = 6 * MIB, 1 * MIB
LONGEST_SYNC_SECONDS = 900
_TYPES = ("RequestResponse", "Event", "DryRun")
_TIMED_OUT = {
    "errorMessage": "The function did not end within the time a caller waits.",
    "errorType": "Sandbox.Timedout",
}


class Drive(Protocol):
    """Runs until a target has ended or only the outside can move it."""

    def __call__(self, target: Target, *, wait: float) -> None:
        """Drive it; wait so many real seconds for the outside when nothing else moves."""


class Invoking:
    """The beginnings of executions and calls."""

    def __init__(self, shared: Shared, executions: Executions, drive: Drive) -> None:
        self._shared = shared
        self._executions = executions
        self._drive = drive

    def invoke(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Carry out `Invoke` from its begin to its answer; not under the lock, since it may have to wait."""
        shared = self._shared
        with shared.wake:
            try:
                target = self.begin(arguments)
            finally:
                self._executions.commit()
        if target is not None and arguments.get("InvocationType", _TYPES[0]) == _TYPES[0]:
            self._drive(target, wait=shared.sync_timeout)
        return self.answer(arguments, target)

    def begin(self, arguments: dict[str, Any]) -> ExecutionHandle | Call | None:
        """Begin what is asked for, and return it; None for a dry run. Under the lock."""
        kind = arguments.get("InvocationType") or _TYPES[0]
        if kind not in _TYPES:
            refuse(f"InvocationType must be one of {', '.join(_TYPES)}, not {kind!r}.")
        name = arguments.get("DurableExecutionName")
        if name is not None and EXECUTION_NAME.fullmatch(name) is None:
            refuse(f"DurableExecutionName must match {EXECUTION_NAME.pattern}.")
        shared = self._shared
        function = shared.functions.resolve(arguments["FunctionName"], arguments.get("Qualifier"))
        payload = _text(arguments.get("Payload"), kind)
        check_payload(payload)
        self._check_kind(function, kind, name)
        if kind == "DryRun":
            return None
        tenant_id = arguments.get("TenantId")
        if function.durable:
            origin = Origin(None, tenant_id, arguments.get("TraceId"), asynchronous=kind == "Event")
            return self._executions.begin(function, payload, name, origin)
        call = Call(function, payload, tenant_id, trace_id=arguments.get("TraceId"))
        shared.tasks.append(call)
        shared.wake.notify_all()
        return call

    def answer(self, arguments: dict[str, Any], target: ExecutionHandle | Call | None) -> dict[str, Any]:
        """Return the response as things stand."""
        if target is None:
            return {"StatusCode": 204, "Payload": _stream(b"")}
        response: dict[str, Any] = {"StatusCode": 200, "ExecutedVersion": _version(target)}
        if isinstance(target, ExecutionHandle):
            response["DurableExecutionArn"] = target.arn
        if arguments.get("InvocationType") == "Event":
            response["StatusCode"] = 202
            return {**response, "Payload": _stream(b"")}
        if _status(target) == "SUCCEEDED":
            return {**response, "Payload": _stream((target.result or "null").encode("utf-8", "surrogatepass"))}
        body = _unhandled(target.error or {}) if target.terminal else _TIMED_OUT
        return {**response, "FunctionError": "Unhandled", "Payload": _stream(json.dumps(body).encode())}

    def start_chained(self, handle: ExecutionHandle, invoke: StartedInvoke) -> None:
        """Begin what a chained invoke asks for. Under the lock."""
        shared, machine = self._shared, handle.machine
        try:
            function = shared.functions.resolve(invoke.function_name)
        except Fault as fault:  # it was there when the invoke was recorded
            error = {"ErrorMessage": fault.message, "ErrorType": fault.code}
            machine.complete_invoke(invoke.operation_id, shared.clock.now(), "FAILED", result=None, error=error)
            return
        note = machine.notes[invoke.operation_id]
        note["version"] = function.version
        trace_id = invoke.trace_id or machine.origin.trace_id
        if function.durable:
            origin = Origin((handle.arn, invoke.operation_id), invoke.tenant_id, trace_id, asynchronous=True)
            note["child"] = self._executions.begin(function, invoke.payload, None, origin).arn
            machine.unsaved[invoke.operation_id] = None
        elif function.handler is not None:

            def done(call: Call) -> None:
                if machine.terminal:
                    return
                now = shared.clock.now()
                machine.fire_due(now)
                if not machine.terminal:
                    machine.complete_invoke(invoke.operation_id, now, call.status, result=call.result, error=call.error)
                self._executions.absorb(handle)

            caller = handle.arn, invoke.operation_id
            shared.tasks.append(Call(function, invoke.payload, invoke.tenant_id, done, trace_id, caller))

    def _check_kind(self, function: Function, kind: str, name: str | None) -> None:
        if function.handler is None:
            refuse(f"{function.name} is answered from outside and cannot be invoked.")
        if name is not None and not function.durable:
            refuse(f"DurableExecutionName belongs to durable functions; {function.name} is not one.")
        timeout = function.execution_timeout
        if kind == _TYPES[0] and timeout is not None and timeout > LONGEST_SYNC_SECONDS:
            raise Fault(
                INVALID_PARAMETER,
                f"A durable function whose execution timeout is above 15 minutes ({function.name}: {timeout:g} s) "
                "cannot be invoked synchronously; use InvocationType Event.",
            )


def _text(payload: Any, kind: str) -> str | None:
    """Return the payload as text, None for none; refuse one that is too large or not UTF-8."""
    text = read_text(payload, "Payload")
    if text is None:
        return None
    most = ASYNC_BYTES if kind == "Event" else SYNC_BYTES
    if (size := text_bytes(text)) > most:
        raise Fault(TOO_LARGE, f"Request must be smaller than {most} bytes for the Invoke operation, not {size}.")
    return str(text)


def _status(target: ExecutionHandle | Call) -> str:
    """Return how it ended, or RUNNING; of an execution that is being deleted, too."""
    return target.machine.status if isinstance(target, ExecutionHandle) else target.status


def _version(target: ExecutionHandle | Call) -> str:
    return target.machine.version if isinstance(target, ExecutionHandle) else target.function.version


def _unhandled(error: dict[str, Any]) -> dict[str, Any]:
    """Describe an error as the payload of a failed invocation does."""
    body = {"errorMessage": error.get("ErrorMessage", ""), "errorType": error.get("ErrorType", "Error")}
    if error.get("StackTrace"):
        body["stackTrace"] = error["StackTrace"]
    return body


def _stream(body: bytes) -> Any:
    from botocore.response import StreamingBody  # type: ignore[import-untyped]  # noqa: PLC0415 - slow to import

    return StreamingBody(io.BytesIO(body), len(body))
