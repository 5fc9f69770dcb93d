"""One workflow under two SDKs: run it on a local service of its own, write down all that can be seen, compare.

A workflow is a function ``body(stage)``. `Stage` gives it the SDK's modules, the context and the event, and takes notes
of what user code sees. Only the imported package differs between the two runs.
"""

from __future__ import annotations

import importlib
import json
import threading
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from perdure import Checkpointing
from perdure.local import LocalService, VirtualClock
from support.official import official_handler
from support.wired import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from perdure.local import ExecutionHandle

USER = "user:"
"""Stands in every message that user code makes: such messages must come through unchanged. SDKs may word their own."""

FROM_THE_SERVICE = ("Callback timed out", "Callback heartbeat", "Function not found", "Unknown", "Execution")
BY_AN_SDK = "<worded by the SDK>"

# The official SDK reads the wall clock. Its timers must never come due beside the virtual clock, so that starts late.
FAR_AWAY = datetime(2100, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Sdk:
    """The modules of one SDK, by the names they have in both."""

    name: str
    package: str
    checkpointing: Checkpointing | None = None

    def __getattr__(self, module: str) -> Any:
        if module.startswith("_"):
            raise AttributeError(module)
        return importlib.import_module(f"{self.package}.{module}")

    @property
    def top(self) -> Any:
        return importlib.import_module(self.package)

    def durable(self, handler: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        options = {} if self.checkpointing is None else {"checkpointing": self.checkpointing}
        decorated = self.top.durable_execution(handler, **options)
        return official_handler(decorated) if self is OFFICIAL else decorated


OFFICIAL = Sdk("official", "aws_durable_execution_sdk_python")
PERDURE = Sdk("perdure", "perdure")
EAGER, OPTIMISTIC = (
    Sdk(f"perdure, {mode.value}", "perdure", mode) for mode in (Checkpointing.EAGER, Checkpointing.OPTIMISTIC)
)


class FakeLogger:
    """Takes down what is logged: level, message, arguments and extras."""

    def __init__(self, lines: list[Any]) -> None:
        self.lines = lines

    def _log(self, level: str, message: object, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        extra = {key: value for key, value in (keywords.get("extra") or {}).items() if key != "executionArn"}
        self.lines.append((level, str(message), args, tuple(sorted(extra.items(), key=str))))

    def debug(self, message: object, *args: Any, **keywords: Any) -> None:
        self._log("debug", message, args, keywords)

    def info(self, message: object, *args: Any, **keywords: Any) -> None:
        self._log("info", message, args, keywords)

    def warning(self, message: object, *args: Any, **keywords: Any) -> None:
        self._log("warning", message, args, keywords)

    def error(self, message: object, *args: Any, **keywords: Any) -> None:
        self._log("error", message, args, keywords)

    def exception(self, message: object, *args: Any, **keywords: Any) -> None:
        self._log("exception", message, args, keywords)


@dataclass
class Stage:
    """What a workflow's body works with, in one invocation."""

    sdk: Sdk
    ctx: Any
    event: Any
    notes: dict[str, list[Any]]
    lock: Any = field(default_factory=threading.Lock)

    def note(self, label: str, what: Any) -> None:
        """Take down something that user code sees. Labels are sequences of their own: threads do not disturb them."""
        with self.lock:
            self.notes.setdefault(label, []).append(show(what))

    def note_change(self, label: str, what: Any) -> None:
        """Take down what differs from the last; of perdure all, since only the official SDK may repeat itself."""
        with self.lock:
            told, shown = self.notes.setdefault(label, []), show(what)
            if self.sdk is not OFFICIAL or told[-1:] != [shown]:
                told.append(shown)

    def see(self, label: str, action: Callable[[], Any]) -> Any:
        """Take down what an operation returns or raises."""
        try:
            value = action()
        except Exception as error:  # noqa: BLE001 - to be compared, whatever it is
            self.note(label, error)
            return None
        self.note(label, value)
        return value

    def logger(self, label: str) -> FakeLogger:
        return FakeLogger(self.notes.setdefault(label, []))

    # -- what cases often need, in the SDK's own classes

    def seconds(self, count: int) -> Any:
        return self.sdk.config.Duration.from_seconds(count)

    def retries(self, attempts: int, delay: int = 5) -> Callable[[Exception, int], Any]:
        decision = self.sdk.retries.RetryDecision

        def strategy(_error: Exception, attempt: int) -> Any:
            return decision.retry(self.seconds(delay)) if attempt < attempts else decision.no_retry()

        return strategy

    def step_config(self, attempts: int = 1, delay: int = 5, **options: Any) -> Any:
        return self.sdk.config.StepConfig(retry_strategy=self.retries(attempts, delay), **options)

    def tolerant(self) -> Any:
        return self.sdk.config.CompletionConfig.all_completed()


@dataclass
class Answer:
    """What the world does with a callback."""

    kind: str = "success"  # success, failure, none
    result: str | None = "yes"
    error: dict[str, Any] | None = None


@dataclass
class World:
    """What surrounds a workflow: answers to callbacks by the callback's name, and functions to invoke."""

    answers: dict[str | None, Answer] = field(default_factory=dict)
    functions: dict[str, Callable[[Any, Any], Any]] = field(default_factory=dict)
    event: Any = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Seen:
    """All that can be seen of an execution, comparable with ``==``."""

    outcome: Any
    operations: dict[str, Any]
    updates: Counter[str]
    notes: dict[str, list[Any]]
    invocations: list[str]

    def differences(self, other: Seen) -> list[str]:
        """Say in words what differs."""
        found = []
        if self.outcome != other.outcome:
            found.append(f"outcome:\n    {self.outcome}\n    {other.outcome}")
        if self.invocations != other.invocations:
            found.append(f"invocations:\n    {self.invocations}\n    {other.invocations}")
        for what, mine, others in (
            ("operation", self.operations, other.operations),
            ("note", self.notes, other.notes),
        ):
            for key in mine.keys() | others.keys():
                found += [f"{what} {key}{place}" for place in places(mine.get(key), others.get(key))]
        found += [f"update sent by the first only ({n}x): {key}" for key, n in (self.updates - other.updates).items()]
        found += [f"update sent by the second only ({n}x): {key}" for key, n in (other.updates - self.updates).items()]
        return found


def places(mine: Any, others: Any) -> list[str]:
    """Say where two things differ, going into what has the same shape."""
    if mine == others:
        return []
    if isinstance(mine, dict) and isinstance(others, dict) and mine.keys() == others.keys():
        return [f".{key}{place}" for key in mine for place in places(mine[key], others[key])]
    if isinstance(mine, (list, tuple)) and isinstance(others, (list, tuple)) and len(mine) == len(others):
        pairs = enumerate(zip(mine, others, strict=True))
        return [f"[{index}]{place}" for index, (one, other) in pairs for place in places(one, other)]
    return [f":\n    {mine}\n    {others}"]


def play(
    body: Callable[[Stage], Any],
    sdks: Sdk | Iterable[Sdk],
    world: World | None = None,
    drive: int | None = None,
    wire: Callable[[LocalService], AbstractContextManager[Wire]] | None = None,
) -> tuple[ExecutionHandle, Seen]:
    """Run a workflow to its end; several SDKs take turns, invocation by invocation, and the last of them stays.

    With a `wire`, each calls the service over it, by the client that it takes by default.
    """
    world = world or World()
    turns = iter([sdks] if isinstance(sdks, Sdk) else sdks)
    notes: dict[str, list[Any]] = {}
    current: list[Sdk] = []
    lock = threading.Lock()

    def handlers(sdk: Sdk) -> Callable[[Any, Any], Any]:
        return sdk.durable(lambda event, ctx: body(Stage(sdk, ctx, event, notes, lock)))

    made: dict[str, Callable[[Any, Any], Any]] = {}
    dress: Callable[..., Any] | None = None

    def handler(event: Any, context: Any) -> Any:
        current[:] = [next(turns, current[0] if current else PERDURE)]
        sdk = current[0]
        if sdk.name not in made:
            made[sdk.name] = handlers(sdk) if dress is None else dress(handlers(sdk), sdk is PERDURE)
        return made[sdk.name](event, context)

    def answer(_operation: Any, client: Any) -> None:
        # All that are open, so that the order in which branches came to them does not matter.
        for operation in handle.open_callbacks:
            reply = world.answers.get(operation.get("Name"), Answer())
            key = operation["CallbackDetails"]["CallbackId"]
            if reply.kind == "success":
                result = None if reply.result is None else reply.result.encode()
                client.send_durable_execution_callback_success(CallbackId=key, Result=result)
            elif reply.kind == "failure":
                client.send_durable_execution_callback_failure(CallbackId=key, Error=reply.error)

    service = LocalService(clock=VirtualClock(FAR_AWAY), on_callback=answer, **world.options)
    for name, function in world.functions.items():
        service.register(name, function, durable=False)
    with (wire or nullcontext)(service) as over:
        dress = over.dressed if isinstance(over, Wire) else None
        service.register("f", handler)
        handle = service.start("f", event=world.event)
        handle.drive()
        assert dress is None or over.requests or not handle.updates
        return handle, seen(handle, notes)


def compare(body: Callable[[Stage], Any], world: World | None = None) -> Seen:
    """Run a workflow under both SDKs and hold one against the other; gives what was seen of perdure."""
    _, theirs = play(body, OFFICIAL, world)
    handle, ours = play(body, PERDURE, world)
    different = theirs.differences(ours)
    assert not different, "official first, perdure second\n" + "\n".join(different)
    replay_writes_nothing(body, handle, ours)
    return ours


def replay_writes_nothing(body: Callable[[Stage], Any], handle: ExecutionHandle, before: Seen) -> None:
    """Invoke a finished execution once more with its full history: same output, nothing sent but a large outcome."""
    last = handle.invocations[-1]
    if last.exception is not None or not handle.invocations:
        return
    calls: list[Any] = []
    event = {
        "DurableExecutionArn": handle.arn,
        "CheckpointToken": "spent",
        "InitialExecutionState": {"Operations": [*_history(handle)], "NextMarker": None},
    }

    class Refusing:
        def checkpoint_durable_execution(self, **arguments: Any) -> Any:
            calls.append(arguments["Updates"])
            return {"CheckpointToken": "spent", "NewExecutionState": {"Operations": []}}

        def get_durable_execution_state(self, **_arguments: Any) -> Any:
            raise AssertionError("everything was in the event")

    notes: dict[str, list[Any]] = {}
    decorated = PERDURE.execution.durable_execution(
        lambda given, ctx: body(Stage(PERDURE, ctx, given, notes)), boto3_client=Refusing()
    )
    output = decorated(event, None)
    sent = [update for batch in calls for update in batch if update["Type"] != "EXECUTION"]
    assert not sent, f"a replay of the whole history wrote {sent}"
    assert output == last.output, f"a replay of the whole history gave {output}, the first run {last.output}"
    assert before is not None


def _history(handle: ExecutionHandle) -> Sequence[dict[str, Any]]:
    from perdure.local.event_forms import to_event_operation  # noqa: PLC0415 - the event's own form of an operation

    return [to_event_operation(operation) for operation in handle.machine.operations.values()]


def seen(handle: ExecutionHandle, notes: dict[str, list[Any]]) -> Seen:
    """Gather what can be seen of an execution."""
    operations = {}
    for operation in handle.operations:
        plain = {
            key: operation.get(key) for key in ("Type", "SubType", "Name", "ParentId", "Status") if operation.get(key)
        }
        for details in ("StepDetails", "ContextDetails", "CallbackDetails", "ChainedInvokeDetails", "WaitDetails"):
            content = dict(operation.get(details) or {})
            for moment in ("NextAttemptTimestamp", "ScheduledEndTimestamp", "CallbackId"):
                content.pop(moment, None)
            content = {key: value for key, value in content.items() if value not in (None, False)}
            if "Error" in content:
                content["Error"] = normal_error(content["Error"])
            if "Result" in content:
                content["Result"] = normal_payload(content["Result"])
            if content:
                plain[details] = content
        operations[operation["Id"]] = plain
    error = normal_error(handle.error)
    if error is not None and handle.invocations[-1].exception is not None:
        # Of an invocation that raised, Lambda itself names the class, as it is named in Python.
        error["ErrorType"] = error["ErrorType"].replace("perdure.", f"{OFFICIAL.package}.", 1)
    outcome = (handle.status, normal_payload(handle.result), error)
    ends = [
        invocation.outcome if invocation.exception is None else f"RAISED {invocation.exception!r}"
        for invocation in handle.invocations
    ]
    # Branches that run at the same time log at the same time.
    notes = {label: sorted(what, key=str) if label.startswith("unordered") else what for label, what in notes.items()}
    return Seen(outcome, operations, Counter(map(normal_update, handle.updates)), notes, ends)


def normal_update(update: dict[str, Any]) -> str:
    plain = {key: value for key, value in update.items() if value is not None}
    if plain["Type"] == "EXECUTION":
        plain["Id"] = "execution-result"
    if "Error" in plain:
        plain["Error"] = normal_error(plain["Error"])
    if "Payload" in plain:
        plain["Payload"] = normal_payload(plain["Payload"])
    return json.dumps(plain, sort_keys=True, default=str)


def normal_message(message: Any) -> Any:
    if message is None or message == "" or message.startswith((USER, f"'{USER}", *FROM_THE_SERVICE)):
        return message
    return BY_AN_SDK


def normal_error(error: dict[str, Any] | None) -> dict[str, Any] | None:
    if error is None:
        return None
    plain = {key: value for key, value in error.items() if value is not None}
    if "ErrorMessage" in plain:
        plain["ErrorMessage"] = normal_message(plain["ErrorMessage"])
    return plain


def normal_payload(payload: Any) -> Any:
    """Give a payload with the messages of errors inside it made comparable, and shortened when it is long."""
    if not isinstance(payload, str):
        return payload
    if "ErrorMessage" in payload:
        payload = json.dumps(_normal_json(json.loads(payload)))
    if len(payload) > 400:
        return f"{payload[:200]}…{len(payload)}…{hash(payload)}"
    return payload


def _normal_json(value: Any) -> Any:
    if isinstance(value, dict):
        plain = {key: _normal_json(inner) for key, inner in value.items()}
        message = plain.get("ErrorMessage")
        if isinstance(message, str):
            plain["ErrorMessage"] = normal_message(message)
        elif isinstance(message, dict) and isinstance(message.get("v"), str):
            plain["ErrorMessage"] = {**message, "v": normal_message(message["v"])}
        return plain
    return [_normal_json(inner) for inner in value] if isinstance(value, list) else value


def show(value: Any) -> Any:  # noqa: PLR0911 - one return a kind
    """Give a value as something that compares across SDKs: exceptions in all their fields, SDK classes by name."""
    if isinstance(value, BaseException):
        return _show_error(value)
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if is_dataclass(value) and not isinstance(value, type):
        shown = {each.name: show(getattr(value, each.name)) for each in fields(value)}
        if type(value).__name__ == "ErrorObject" and "message" in shown:
            shown["message"] = normal_message(value.message)
        return (type(value).__name__, shown)
    if isinstance(value, dict):
        shown = {key: show(inner) for key, inner in value.items()}
        if isinstance(value.get("ErrorMessage"), str):
            shown["ErrorMessage"] = normal_message(value["ErrorMessage"])
        return shown
    if isinstance(value, (list, tuple)):
        return type(value)(show(inner) for inner in value)
    text = repr(value)
    if len(text) > 400:
        return f"{text[:100]}…{len(text)}…{hash(text)}"
    return f"{type(value).__name__} {text}"


def _show_error(error: BaseException) -> dict[str, Any]:
    shown: dict[str, Any] = {"class": type(error).__name__, "str": normal_message(str(error))}
    for name in ("error_type", "data", "stack_trace", "completion_reason"):
        if hasattr(error, name):
            shown[name] = show(getattr(error, name)) if name == "completion_reason" else getattr(error, name)
    if hasattr(error, "message"):
        shown["message"] = normal_message(error.message)
    if error.__cause__ is not None:
        shown["cause"] = _show_error(error.__cause__)
    return shown
