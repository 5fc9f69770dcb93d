"""The API actions of the service: arguments in, response out, `Fault` for a refusal. Called under the lock."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from perdure.local.machine import history
from perdure.local.machine.errors import INVALID_TOKEN, NOT_FOUND, Fault, refuse
from perdure.local.machine.validation import check_error_object, error_bytes, function_parts, read_text
from perdure.local.store import Query

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.local.executions import Executions
    from perdure.local.handle import ExecutionHandle
    from perdure.local.shared import Shared

DEFAULT_PAGE, MAX_PAGE = 100, 1000
_MAX_STATUSES, _MAX_REASON, _ERROR_BYTES = 10, 1024, 1_048_576
_STATUSES = frozenset({"RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED", "DELETING", "PAUSING", "PAUSED"})

Arguments = dict[str, Any]
Response = dict[str, Any]


class Api:
    """The actions, by the name of their boto3 method."""

    def __init__(self, shared: Shared, executions: Executions) -> None:
        self._shared = shared
        self._executions = executions
        self._actions: dict[str, Callable[[Arguments], Response]] = {
            "checkpoint_durable_execution": self._checkpoint,
            "get_durable_execution_state": self._state,
            "get_durable_execution": self._describe,
            "get_durable_execution_history": self._history,
            "list_durable_executions_by_function": self._list,
            "stop_durable_execution": self._stop,
            "pause_durable_execution": self._pause,
            "resume_durable_execution": self._resume,
            "delete_durable_execution": self._delete,
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
        shared = self._shared
        token, client_token = arguments["CheckpointToken"], arguments.get("ClientToken")
        now = shared.clock.now()
        known = shared.record and machine.replayed_answer(token, client_token, now) is not None
        running = not machine.terminal
        response = machine.checkpoint(token, updates, client_token, now, shared.preflight)
        if shared.record and running and not known:
            handle.updates.extend(updates)
            handle.batches.append(list(updates))
        if machine.invokes or machine.terminal:
            self._executions.absorb(handle)
        else:
            self._executions.touch(machine)
        return response

    def _state(self, arguments: Arguments) -> Response:
        handle = self._find(arguments, refuse)
        if not handle.machine.knows_token(arguments["CheckpointToken"]):
            refuse(INVALID_TOKEN)
        most = _page_size(arguments)
        if self._shared.state_page is not None:
            most = min(most, self._shared.state_page)
        operations, marker = handle.machine.page(arguments.get("Marker"), most)
        fitting = handle.forms.count(operations, self._shared.limits.response_bytes)
        if fitting < len(operations):
            operations, marker = handle.machine.page(arguments.get("Marker"), max(1, fitting))
        response: Response = {"Operations": operations}
        if marker:
            response["NextMarker"] = marker
        return response

    def _describe(self, arguments: Arguments) -> Response:
        machine = self._find(arguments, _not_found).machine
        with_data = arguments.get("IncludeExecutionData", True)
        config = {"RetentionPeriodInDays": machine.origin.retention_days}
        if machine.timeout_seconds is not None:
            config["ExecutionTimeout"] = max(1, round(machine.timeout_seconds))
        described = {
            "DurableExecutionArn": machine.arn,
            "DurableExecutionName": machine.name,
            "FunctionArn": machine.function_arn,
            "InputPayload": machine.payload if with_data else None,
            "Result": machine.result if with_data else None,
            "Error": machine.error if with_data else None,
            "StartTimestamp": machine.started_at,
            "Status": machine.shown_status,
            "EndTimestamp": machine.ended_at,
            "Version": machine.version,
            "ExecutionDataIncluded": with_data,
            "DurableConfig": config,
            "ExpectedExecutionTimeoutTimestamp": None if machine.terminal else machine.deadline,
        }
        if machine.origin.trace_id is not None:
            described["TraceHeader"] = {"XAmznTraceId": machine.origin.trace_id}
        pause = machine.pause
        if pause is not None and not machine.terminal:
            described["PauseDetails"] = {
                "PauseRequestTimestamp": pause.requested_at,
                "ExecutionTimeoutPaused": pause.stops_timeout,
            }
            if pause.reason is not None and with_data:
                described["PauseDetails"]["Reason"] = pause.reason
        return {key: value for key, value in described.items() if value is not None}

    def _history(self, arguments: Arguments) -> Response:
        shared, count = self._shared, self._find(arguments, _not_found).machine.event_count
        self._executions.commit()  # a store tells only what it has kept
        size, machine = _page_size(arguments), self._find(arguments, _not_found).machine
        start = _read_marker(arguments.get("Marker"), 1)
        if arguments.get("ReverseOrder", False):
            last = count if start is None else start[0]
            first = max(1, last - size + 1)
            events = shared.store.history(machine, first, last)[::-1]
            following = first - 1
        else:
            first = 1 if start is None else start[0]
            events = shared.store.history(machine, first, first + size - 1)
            following = first + size if first + size <= count else 0
        if not arguments.get("IncludeExecutionData", True):
            events = [history.without_data(event) for event in events]
        response: Response = {"Events": events}
        if following:
            response["NextMarker"] = _marker(following)
        return response

    def _list(self, arguments: Arguments) -> Response:
        shared = self._shared
        name, own = function_parts(arguments["FunctionName"])
        version = arguments.get("Qualifier") or own
        known = name in shared.functions  # executions outlive the registration, which a store does not keep
        if known and version is not None:
            version = shared.functions.resolve(name, version).version
        statuses = arguments.get("Statuses") or ()
        if isinstance(statuses, str) or len(statuses) > _MAX_STATUSES or not _STATUSES.issuperset(statuses):
            refuse(f"Statuses must be at most {_MAX_STATUSES} of {', '.join(sorted(_STATUSES))}.")
        position = _read_marker(arguments.get("Marker"), 2)
        query = Query(
            name,
            version,
            arguments.get("DurableExecutionName"),
            frozenset(statuses),
            _moment(arguments.get("StartedAfter")),
            _moment(arguments.get("StartedBefore")),
            bool(arguments.get("ReverseOrder", False)),
            None if position is None else (position[0], position[1]),
        )
        self._catch_up()
        self._executions.commit()  # a store tells only what it has kept
        if not known and not shared.store.page(Query(name), 1)[0]:
            shared.functions.resolve(name)  # which says that there is none
        executions, following = shared.store.page(query, _page_size(arguments))
        response: Response = {"DurableExecutions": executions}
        if following is not None:
            response["NextMarker"] = _marker(*following)
        return response

    def _stop(self, arguments: Arguments) -> Response:
        handle = self._find(arguments, _not_found)
        moment = handle.machine.stop(self._shared.clock.now(), _error(arguments))
        self._executions.absorb(handle)
        return {"StopTimestamp": moment}

    def _pause(self, arguments: Arguments) -> Response:
        handle = self._find(arguments, _not_found)
        stops_timeout = arguments.get("ExecutionTimeoutPaused", True)
        now, reason = self._shared.clock.now(), _reason(arguments)
        handle.machine.request_pause(now, reason, arguments.get("ClientToken"), stops_timeout=stops_timeout)
        self._executions.absorb(handle)
        return {}

    def _resume(self, arguments: Arguments) -> Response:
        handle = self._find(arguments, _not_found)
        handle.machine.resume(self._shared.clock.now(), _reason(arguments), arguments.get("ClientToken"))
        self._executions.absorb(handle)
        return {}

    def _delete(self, arguments: Arguments) -> Response:
        handle = self._find(arguments, _not_found)
        handle.machine.delete()
        self._executions.touch(handle.machine)
        return {"DeletionRequestTimestamp": self._shared.clock.now()}

    def _callback_success(self, arguments: Arguments) -> Response:
        handle, operation_id = self._callback(arguments)
        result = read_text(arguments.get("Result"), "Result of a callback")
        handle.machine.answer_callback(operation_id, self._shared.clock.now(), result=result)
        self._executions.absorb(handle)
        return {}

    def _callback_failure(self, arguments: Arguments) -> Response:
        handle, operation_id = self._callback(arguments)
        handle.machine.answer_callback(operation_id, self._shared.clock.now(), error=_error(arguments) or {})
        self._executions.absorb(handle)
        return {}

    def _callback_heartbeat(self, arguments: Arguments) -> Response:
        handle, operation_id = self._callback(arguments)
        handle.machine.beat_callback(operation_id, self._shared.clock.now())
        self._executions.absorb(handle)
        return {}

    def _callback(self, arguments: Arguments) -> tuple[ExecutionHandle, str]:
        callback_id = arguments["CallbackId"]
        try:
            arn, _, operation_id = base64.b64decode(callback_id, validate=True).decode().partition("|")
        except ValueError:
            _not_found(f"No callback has the id {callback_id}.")
        self._catch_up()
        handle = self._executions.lookup(arn)
        if handle is None or handle.machine.operations.get(operation_id, {}).get("Type") != "CALLBACK":
            _not_found(f"No callback has the id {callback_id}.")
        if handle.terminal:
            _not_found(f"The execution of the callback {callback_id} has ended ({handle.status}).")
        return handle, operation_id

    def _find(self, arguments: Arguments, missing: Callable[[str], NoReturn]) -> ExecutionHandle:
        arn = arguments["DurableExecutionArn"]
        self._catch_up()
        handle = self._executions.lookup(arn)
        if handle is None:
            missing(f"No durable execution has the ARN {arn}.")
        return handle

    def _catch_up(self) -> None:
        """Let what is due happen before the call does."""
        self._executions.catch_up(self._shared.clock.now())


def _page_size(arguments: Arguments) -> int:
    """Return how many items a page holds; whoever asks for more than the most gets the most."""
    size = arguments.get("MaxItems") or DEFAULT_PAGE
    if not isinstance(size, int) or size < 0:
        refuse("MaxItems must be a whole number, 0 or more.")
    return min(size, MAX_PAGE)


def _marker(*numbers: int) -> str:
    return base64.urlsafe_b64encode(".".join(map(str, numbers)).encode()).decode()


def _read_marker(marker: str | None, count: int) -> list[int] | None:
    if not marker:
        return None
    try:
        numbers = [int(part) for part in base64.urlsafe_b64decode(marker.encode("ascii")).decode("ascii").split(".")]
    except ValueError:
        numbers = []
    if len(numbers) != count or min(numbers) < 0 or max(numbers) >= 1 << 62:
        refuse(f"Invalid marker: {marker}.")
    return numbers


def _moment(value: Any) -> datetime | None:
    """Read a moment as boto3 takes it: a datetime, Unix seconds, or text."""
    if value is None:
        return None
    try:
        moment = value if isinstance(value, datetime) else _parse(value)
    except (ValueError, OverflowError, OSError, TypeError):
        refuse(f"{value!r} is not a timestamp.")
    return moment if moment.tzinfo is not None else moment.astimezone()


def _parse(value: Any) -> datetime:
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else datetime.fromisoformat(value)


def _reason(arguments: Arguments) -> str | None:
    reason: str | None = arguments.get("Reason")
    if reason is not None and len(reason) > _MAX_REASON:
        refuse(f"Reason must be at most {_MAX_REASON} characters.")
    return reason


def _error(arguments: Arguments) -> dict[str, Any] | None:
    error: dict[str, Any] | None = arguments.get("Error")
    if error is not None:
        check_error_object(error, "the request")
        if error_bytes(error) > _ERROR_BYTES:
            refuse(f"Error must not exceed {_ERROR_BYTES} bytes.")
    return error


def _not_found(message: str) -> NoReturn:
    raise Fault(NOT_FOUND, message)
