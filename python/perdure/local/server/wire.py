"""The Lambda API on the wire: which action a request is, its arguments, and what a response looks like.

Everything is read from botocore's own service model, so that the server and every client that boto3 or the AWS CLI
builds agree on paths, headers, query strings and bodies. No I/O here.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from perdure.local.machine.clock import to_seconds
from perdure.local.machine.errors import INVALID_PARAMETER, Fault, http_shape
from perdure.local.machine.ids import fresh_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ACTIONS = (
    "Invoke",
    "CheckpointDurableExecution",
    "GetDurableExecutionState",
    "GetDurableExecution",
    "GetDurableExecutionHistory",
    "ListDurableExecutionsByFunction",
    "StopDurableExecution",
    "PauseDurableExecution",
    "ResumeDurableExecution",
    "DeleteDurableExecution",
    "SendDurableExecutionCallbackSuccess",
    "SendDurableExecutionCallbackFailure",
    "SendDurableExecutionCallbackHeartbeat",
)
UNKNOWN = "UnknownOperationException"
MALFORMED = "SerializationException"
_SERVER_ERRORS = 500
_CHECKED_LATER = frozenset({"CheckpointToken", "Marker", "MaxItems"})  # the service has words of its own for them


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request, as far as it matters."""

    method: str
    path: str
    """Still percent-encoded."""
    query: Iterable[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response."""

    status: int
    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Action:
    name: str
    method: str
    pattern: re.Pattern[str]
    status: int
    input: Any
    output: Any


class Wire:
    """Translates between HTTP and the calls of a boto3 client."""

    def __init__(self) -> None:
        from botocore import xform_name  # type: ignore[import-untyped]  # noqa: PLC0415 - slow to import
        from botocore.loaders import create_loader  # type: ignore[import-untyped]  # noqa: PLC0415 - the same
        from botocore.model import ServiceModel  # type: ignore[import-untyped]  # noqa: PLC0415 - the same

        # Not through a session, which wants the user's configuration to make sense.
        model = ServiceModel(create_loader().load_service_model("lambda", "service-2"), "lambda")
        self._actions: list[_Action] = []
        self._xform = xform_name
        for name in ACTIONS:
            operation = model.operation_model(name)
            uri = operation.http["requestUri"].partition("?")[0]
            parts = re.split(r"\{(\w+)\}", uri)
            pattern = "".join(f"(?P<{part}>.+)" if i % 2 else re.escape(part) for i, part in enumerate(parts))
            status = operation.http.get("responseCode", 200)
            self._actions.append(
                _Action(
                    name,
                    operation.http["method"],
                    re.compile(pattern + "/?"),
                    status,
                    operation.input_shape,
                    operation.output_shape,
                )
            )
        self._actions.sort(key=lambda action: -len(action.pattern.pattern))

    def find(self, method: str, path: str) -> tuple[str, _Action, dict[str, str]]:
        """Return the boto3 method, the action, and what the path says; `Fault` for a request nothing answers to."""
        for action in self._actions:
            match = action.pattern.fullmatch(path) if action.method == method else None
            if match is not None:
                labels = {key: unquote(value) for key, value in match.groupdict().items()}
                return self._xform(action.name), action, labels
        raise Fault(UNKNOWN, f"No action answers to {method} {path}.")

    def arguments(self, action: _Action, labels: Mapping[str, str], request: Request) -> dict[str, Any]:
        """Return the keyword arguments of the boto3 method."""
        query: dict[str, list[str]] = {}
        for key, value in request.query:
            query.setdefault(key, []).append(value)
        shape = action.input
        payload = shape.serialization.get("payload")
        found: dict[str, Any] = {}
        in_body: dict[str, Any] = {}
        for name, member in shape.members.items():
            location, key = member.serialization.get("location"), member.serialization.get("name", name)
            given: Any = None
            if location == "uri":
                given = labels.get(key)
            elif location == "querystring":
                values = query.get(key)
                given = None if values is None else values if member.type_name == "list" else values[-1]
            elif location == "header":
                given = request.headers.get(key.lower())
            elif name == payload:
                given = _payload(member, request.body)
            else:
                in_body[key] = (name, member)
                continue
            if given is not None:
                found[name] = given if name == payload else _from_text(member, given, name)
        if in_body:
            found.update(_from_body(in_body, request.body))
        _check(shape, found)
        return found

    def respond(self, action: _Action, response: dict[str, Any]) -> Answer:
        """Return what the client of a successful call gets."""
        status = response.get("StatusCode", action.status)
        headers = {"x-amzn-requestid": fresh_id(), "content-type": "application/json"}
        if action.output is None:
            return Answer(status, b"", headers)
        payload = action.output.serialization.get("payload")
        body: dict[str, Any] = {}
        raw: bytes | None = None
        for name, value in response.items():
            member = action.output.members.get(name)
            if member is None or value is None:
                continue
            location = member.serialization.get("location")
            if name == payload:
                raw = value.read() if hasattr(value, "read") else value
            elif location == "header":
                headers[member.serialization["name"].lower()] = str(value)
            elif location != "statusCode":
                body[name] = value
        return Answer(status, _dump(body) if payload is None else raw or b"", headers)

    @staticmethod
    def refuse(fault: Fault) -> Answer:
        """Return what the client of a refused call gets: the error's name in a header, its words in the body."""
        status, member = (404, "message") if fault.code == UNKNOWN else http_shape(fault.code)
        body = {"Type": "Service" if status >= _SERVER_ERRORS else "User", member: fault.message}
        headers = {
            "x-amzn-requestid": fresh_id(),
            "x-amzn-errortype": fault.code,
            "content-type": "application/json",
        }
        return Answer(status, _dump(body), headers)


def _dump(body: Any) -> bytes:
    return json.dumps(body, default=to_seconds, separators=(",", ":")).encode()


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as problem:
        raise Fault(MALFORMED, f"The request body is not valid JSON: {problem}") from None


def _payload(shape: Any, body: bytes) -> Any:
    """Return the member that is the whole body: bytes, or an object; None for an empty body."""
    if shape.type_name == "blob":
        return body or None
    return _value(shape, _parse(body), shape.name) if body.strip() else None


def _from_body(members: Mapping[str, tuple[str, Any]], body: bytes) -> dict[str, Any]:
    """Return the members that the JSON of a body gives; those the model does not know are passed over."""
    if not body.strip():
        return {}
    given = _parse(body)
    if not isinstance(given, dict):
        raise Fault(MALFORMED, "The request body must be a JSON object.")
    return {
        name: _value(shape, given[key], name) for key, (name, shape) in members.items() if given.get(key) is not None
    }


def _value(shape: Any, value: Any, where: str) -> Any:
    """Check a value of a JSON body against its shape, and return what boto3 would have been given."""
    kind = shape.type_name
    if kind == "structure":
        if isinstance(value, dict):
            return {
                name: _value(member, value[name], f"{where}.{name}")
                for name, member in shape.members.items()
                if value.get(name) is not None
            }
    elif kind == "list":
        if isinstance(value, list):
            return [_value(shape.member, item, f"{where}[{i}]") for i, item in enumerate(value)]
    elif kind == "blob":
        if isinstance(value, str):
            return _decode(value, where)
    elif kind == "timestamp":
        return _moment(value, where)
    elif type(value) is {"string": str, "integer": int, "long": int, "boolean": bool}[kind]:
        return value
    raise Fault(MALFORMED, f"{where} must be a {kind}, not {type(value).__name__}.")


def _decode(value: str, where: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        raise Fault(MALFORMED, f"{where} must be base64.") from None


def _from_text(shape: Any, value: Any, where: str) -> Any:
    """Read a value out of a path, a query string or a header."""
    kind = shape.type_name
    if kind == "list":
        return [_from_text(shape.member, item, where) for item in value]
    if kind == "boolean":
        if value.lower() not in ("true", "false"):
            raise Fault(INVALID_PARAMETER, f"{where} must be true or false, not {value!r}.")
        return value.lower() == "true"
    if kind == "integer":
        if re.fullmatch(r"-?[0-9]{1,18}", value) is None:
            raise Fault(INVALID_PARAMETER, f"{where} must be a whole number, not {value!r}.")
        return int(value)
    return _moment(value, where) if kind == "timestamp" else value


def _moment(value: Any, where: str) -> datetime:
    try:
        if isinstance(value, str) and re.fullmatch(r"[0-9.]+", value) is None:
            moment = datetime.fromisoformat(value)
            return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return datetime.fromtimestamp(float(value), UTC)
    except (ValueError, OverflowError, OSError, TypeError):
        raise Fault(INVALID_PARAMETER, f"{where} must be a timestamp, not {value!r}.") from None


def _check(shape: Any, arguments: Mapping[str, Any]) -> None:
    """Check what the model asks of the arguments themselves; what is in the updates the service checks."""
    for name in shape.required_members:
        if name not in arguments:
            raise Fault(INVALID_PARAMETER, f"{name} is missing.")
    for name, value in arguments.items():
        if isinstance(value, str) and name not in _CHECKED_LATER:
            _check_text(shape.members[name], name, value)


def _check_text(shape: Any, name: str, value: str) -> None:
    limits = shape.metadata
    low, high = limits.get("min", 0), limits.get("max")
    if len(value) < low or (high is not None and len(value) > high):
        raise Fault(INVALID_PARAMETER, f"{name} must have {low} to {high} characters, not {len(value)}.")
    if "enum" in limits and value not in limits["enum"]:
        raise Fault(INVALID_PARAMETER, f"{name} must be one of {', '.join(limits['enum'])}, not {value!r}.")
    pattern = limits.get("pattern")
    if pattern is not None and re.fullmatch(pattern.replace("9-_", r"9\-_"), value) is None:
        raise Fault(INVALID_PARAMETER, f"{value!r} at {name} must match {pattern}.")
