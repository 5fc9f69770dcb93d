"""The API actions of the service: arguments in, response out, `Fault` for a refusal. Called under the lock."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, NoReturn

from perdure.local.errors import INVALID_TOKEN, NOT_FOUND, Fault, refuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.local.handle import ExecutionHandle
    from perdure.local.service import LocalService

DEFAULT_PAGE, MAX_PAGE = 100, 1000

Arguments = dict[str, Any]
Response = dict[str, Any]


class Api:
    """The actions, by the name of their boto3 method."""

    def __init__(self, service: LocalService) -> None:
        self._service = service
        self._actions: dict[str, Callable[[Arguments], Response]] = {
            "checkpoint_durable_execution": self._checkpoint,
            "get_durable_execution_state": self._state,
            "get_durable_execution": self._describe,
            "stop_durable_execution": self._stop,
            "send_durable_execution_callback_success": self._callback_success,
            "send_durable_execution_callback_failure": self._callback_failure,
            "send_durable_execution_callback_heartbeat": self._callback_heartbeat,
        }

    def handle(self, name: str, arguments: Arguments) -> Response:
        """Carry out one action."""
        return self._actions[name](arguments)

    def _checkpoint(self, arguments: Arguments) -> Response:
        handle = self._find(arguments, refuse)
        machine, updates = handle.machine, arguments.get("Updates", ())
        service = self._service
        token, client_token = arguments["CheckpointToken"], arguments.get("ClientToken")
        now = service.clock.now()
        known = service.record and machine.replayed_answer(token, client_token, now) is not None
        running = not machine.terminal
        response = machine.checkpoint(token, updates, client_token, now, service.preflight)
        if service.record and running and not known:
            handle.updates.extend(updates)
            handle.batches.append(list(updates))
        if machine.invokes or machine.terminal:
            service.absorb(handle)
        return response

    def _state(self, arguments: Arguments) -> Response:
        handle = self._find(arguments, refuse)
        if not handle.machine.knows_token(arguments["CheckpointToken"]):
            refuse(INVALID_TOKEN)
        most = arguments.get("MaxItems") or DEFAULT_PAGE
        if self._service.state_page is not None:
            most = min(most, self._service.state_page)
        operations, marker = handle.machine.page(arguments.get("Marker"), min(most, MAX_PAGE))
        response: Response = {"Operations": operations}
        if marker:
            response["NextMarker"] = marker
        return response

    def _describe(self, arguments: Arguments) -> Response:
        machine = self._find(arguments, _not_found).machine
        described = {
            "DurableExecutionArn": machine.arn,
            "DurableExecutionName": machine.name,
            "FunctionArn": machine.function_arn,
            "InputPayload": machine.payload,
            "Result": machine.result,
            "Error": machine.error,
            "StartTimestamp": machine.started_at,
            "Status": machine.status,
            "EndTimestamp": machine.ended_at,
            "Version": "$LATEST",
            "ExecutionDataIncluded": True,
            "ExpectedExecutionTimeoutTimestamp": machine.deadline,
        }
        return {key: value for key, value in described.items() if value is not None}

    def _stop(self, arguments: Arguments) -> Response:
        handle = self._find(arguments, _not_found)
        moment = handle.machine.stop(self._service.clock.now(), arguments.get("Error"))
        self._service.absorb(handle)
        return {"StopTimestamp": moment}

    def _callback_success(self, arguments: Arguments) -> Response:
        handle, operation_id = self._callback(arguments)
        raw: Any = arguments.get("Result")
        if hasattr(raw, "read"):
            raw = raw.read()
        try:
            result = bytes(raw).decode() if isinstance(raw, bytes | bytearray) else raw
        except UnicodeDecodeError:
            refuse("The Result of a callback must be text in UTF-8.")
        handle.machine.answer_callback(operation_id, self._service.clock.now(), result=result or None)
        self._service.absorb(handle)
        return {}

    def _callback_failure(self, arguments: Arguments) -> Response:
        handle, operation_id = self._callback(arguments)
        handle.machine.answer_callback(operation_id, self._service.clock.now(), error=arguments.get("Error", {}))
        self._service.absorb(handle)
        return {}

    def _callback_heartbeat(self, arguments: Arguments) -> Response:
        handle, operation_id = self._callback(arguments)
        handle.machine.beat_callback(operation_id, self._service.clock.now())
        self._service.absorb(handle)
        return {}

    def _callback(self, arguments: Arguments) -> tuple[ExecutionHandle, str]:
        callback_id = arguments["CallbackId"]
        try:
            arn, _, operation_id = base64.b64decode(callback_id, validate=True).decode().partition("|")
        except ValueError:
            _not_found(f"No callback has the id {callback_id}.")
        handle = self._service.handles.get(arn)
        if handle is None or operation_id not in handle.machine.operations:
            _not_found(f"No callback has the id {callback_id}.")
        if handle.machine.fire_due(self._service.clock.now()):
            self._service.absorb(handle)
        if handle.terminal:
            _not_found(f"The execution of the callback {callback_id} has ended ({handle.status}).")
        return handle, operation_id

    def _find(self, arguments: Arguments, missing: Callable[[str], NoReturn]) -> ExecutionHandle:
        arn = arguments["DurableExecutionArn"]
        handle = self._service.handles.get(arn)
        if handle is None:
            missing(f"No durable execution has the ARN {arn}.")
        return handle


def _not_found(message: str) -> NoReturn:
    raise Fault(NOT_FOUND, message)
