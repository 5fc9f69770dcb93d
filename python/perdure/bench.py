"""Measure how long a handler takes to replay a history. `perdure bench` shows what this finds.

The handler runs as Lambda would run it, again and again on the same event, but against a service that refuses every
call, and with guards in front of functions that would do real work: the replay stops where the record ends.

What is separated, and how: plain rounds give the total. Instrumented rounds, in turns with them, take the time inside
each operation, less what the instruments themselves cost (calibrated). Decoding is timed on its own, on the payloads
that one more replay was seen to read with the default serdes. What is left of an operation is the engine's and the
Python around it.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from typing import TYPE_CHECKING, Any

from perdure import execution as _execution
from perdure._core import FAILED, RECORDED, Operation, decode_extended, decode_json
from perdure.config import ParallelBranch
from perdure.context import Callback, DurableContext
from perdure.operations import child, condition, step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Handler = Callable[[Any, Any], Any]
    Wire = dict[str, Any]
    Payloads = dict[str, list[tuple[Callable[[Any], Any], str]]]

YOUR_CODE, HISTORY = "your code", "history"
FRESH_WORK = "FRESH_WORK"

_ARN = "arn:aws:lambda:us-east-1:000000000000:function:bench:$LATEST/durable-execution/bench/"
_SECONDS_END = 100_000_000_000
"""A timestamp below this is in seconds (until the year 5138), one above it in milliseconds (since 1973)."""

_SIMPLE = ("step", "wait", "create_callback", "wait_for_callback", "wait_for_condition", "invoke")


class BenchError(Exception):
    """The event cannot be replayed; the message says what to do."""


class FreshWork(BaseException):
    """The replay has come to something that is not recorded. Not an `Exception`, so that no handler goes on with it."""


# ---- what goes in


class ReplayEvent(dict[str, Any]):
    """An event that brings along the service to use, whatever client the handler was decorated with."""

    @property
    def service_client(self) -> Refusal:
        """A service that refuses."""
        return Refusal()

    def to_dict(self) -> Wire:
        """Give the event itself."""
        return self


class Refusal:
    """A `DurableServiceClient` that answers nothing."""

    def checkpoint(self, _arn: str, _token: str, updates: list[Any], _client_token: str | None) -> Any:
        """Stop the replay."""
        if not updates:
            raise FreshWork("it asks the service for news")
        first = updates[0]
        words = _words(first.operation_type.value, first.name or first.operation_id)
        more = f", and {len(updates) - 1} more" if len(updates) > 1 else ""
        raise FreshWork(f"it would send {first.action.value} of {words}{more}")

    def get_execution_state(self, *_: Any) -> Any:
        """Stop the replay."""
        raise FreshWork("it asks for a further page of the history")


class LambdaContext:
    """What the handler gets as its Lambda context: 15 minutes are always left."""

    function_name = "bench"
    function_version = "$LATEST"
    invoked_function_arn = _ARN.partition("/")[0]
    memory_limit_in_mb = "128"
    aws_request_id = str(uuid.UUID(int=0))
    log_group_name = "/aws/lambda/bench"
    log_stream_name = "bench"
    identity = client_context = tenant_id = None

    def get_remaining_time_in_millis(self) -> int:
        """Give the time that is left."""
        return 900_000


def event_text(text: str) -> str:
    """Make the text of an invocation's event from a file's: such an event, or ``{"Operations": […]}``.

    Raises:
        BenchError: If it is neither, or has only a part of the history.

    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise BenchError(f"it is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise BenchError('it is neither the event of a durable invocation nor {"Operations": […]}')
    whole = "InitialExecutionState" in document
    state = document["InitialExecutionState"] if whole else document
    if not isinstance(state, dict) or not isinstance(state.get("Operations"), list):
        raise BenchError('it is neither the event of a durable invocation nor {"Operations": […]}')
    if state.get("NextMarker"):
        raise BenchError(
            "it has a NextMarker, so the history goes on elsewhere: read the further pages "
            "(GetDurableExecutionState), and put all operations into one file under Operations"
        )
    operations = state["Operations"]
    execution = next((operation for operation in operations if operation.get("Type") == "EXECUTION"), None)
    if execution is None:
        raise BenchError("it lacks the operation of type EXECUTION, which carries the handler's input")
    if whole:
        return text
    for operation in operations:
        _use_milliseconds(operation)
    arn = document.get("DurableExecutionArn") or _ARN + execution["Id"]
    event = {
        "DurableExecutionArn": arn,
        "CheckpointToken": "bench",
        "InitialExecutionState": {"Operations": operations},
    }
    return json.dumps(event)


def _use_milliseconds(members: Wire) -> None:
    """Bring exported timestamps (ISO text, seconds) into the form that an event has."""
    for key, value in members.items():
        if isinstance(value, dict):
            _use_milliseconds(value)
        elif key.endswith("Timestamp"):
            if isinstance(value, str):
                members[key] = int(datetime.fromisoformat(value).timestamp() * 1000)
            elif isinstance(value, (int, float)) and value < _SECONDS_END:
                members[key] = int(value * 1000)


# ---- what comes out


@dataclass
class Times:
    """How long something took, in seconds."""

    samples: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle; 0 without samples."""
        return median(self.samples) if self.samples else 0.0

    @property
    def minimum(self) -> float:
        """The least; 0 without samples."""
        return min(self.samples, default=0.0)


@dataclass
class Kind:
    """What one kind of operation costs in one replay.

    Attributes:
        name: The method of `DurableContext`.
        calls: How often the handler came to one.
        seconds: In all of them, without the code that they call.
        decoding: The share of that for reading payloads with the default serdes.
        payload_bytes: Read by that.

    """

    name: str
    calls: int
    seconds: float
    decoding: float
    payload_bytes: int


@dataclass
class Measurement:
    """What a bench found.

    Attributes:
        outcome: ``SUCCEEDED``, ``PENDING`` or ``FAILED`` as the handler's invocation answered, or ``FRESH_WORK``.
        detail: Where the replay stopped, or what it failed with.
        recorded: How many operations of each type the history has, the execution itself left out.
        event_bytes: Of the event's text.
        payload_bytes: Of all payloads in it.
        parse: Of ``json.loads`` of the event, which Lambda's runtime does before the handler is called.
        replay: Of the handler's invocation.
        kinds: By kind of operation.
        history: Seconds for loading the history and answering, once an invocation.
        your_code: Seconds in the handler and in functions it hands to operations.
        threads: Whether branches ran in threads, whose times overlap.

    """

    outcome: str
    detail: str | None
    recorded: dict[str, int]
    event_bytes: int
    payload_bytes: int
    parse: Times
    replay: Times
    kinds: list[Kind]
    history: float
    your_code: float
    threads: bool

    @property
    def operations(self) -> int:
        """How many operations the history has, the execution itself left out."""
        return sum(self.recorded.values())

    @property
    def decoding(self) -> float:
        """Seconds for reading payloads."""
        return sum(kind.decoding for kind in self.kinds)

    @property
    def engine(self) -> float:
        """Seconds for everything else that perdure does."""
        return self.history + sum(kind.seconds - kind.decoding for kind in self.kinds)

    def to_dict(self) -> Wire:
        """Give it as plain data; times in seconds."""
        return {
            "outcome": self.outcome,
            "detail": self.detail,
            "apiCalls": 0,
            "rounds": len(self.replay.samples),
            "operations": self.operations,
            "recorded": self.recorded,
            "eventBytes": self.event_bytes,
            "payloadBytes": self.payload_bytes,
            "parse": {"median": self.parse.median, "minimum": self.parse.minimum},
            "replay": {"median": self.replay.median, "minimum": self.replay.minimum},
            "split": {
                "history": self.history,
                "operations": self.engine - self.history,
                "decoding": self.decoding,
                "yourCode": self.your_code,
                "overlapping": self.threads,
            },
            "kinds": [
                {
                    "name": kind.name,
                    "calls": kind.calls,
                    "seconds": kind.seconds,
                    "perCall": kind.seconds / kind.calls,
                    "decoding": kind.decoding,
                    "payloadBytes": kind.payload_bytes,
                }
                for kind in self.kinds
            ],
        }


def measure(handler: Handler, text: str, rounds: int) -> Measurement:
    """Replay an event ``rounds`` times.

    Args:
        handler: Made with perdure's `durable_execution`.
        text: The event, or an exported history: see `event_text`.
        rounds: Plain ones; there are as many instrumented ones.

    Raises:
        BenchError: If the event cannot be replayed, or the handler is not perdure's.

    """
    text = event_text(text)
    with _guards(), contextlib.redirect_stdout(io.StringIO()):
        payloads, invocations = _payloads(handler, text)
        if not invocations:
            raise BenchError("the handler is not one that perdure's @durable_execution made")
        outcome, detail = _once(handler, text)[1:]
        parse, replay, watches = Times(), Times(), []
        for _ in range(rounds):
            begin = time.perf_counter()
            json.loads(text)
            parse.samples.append(time.perf_counter() - begin)
            replay.samples.append(_once(handler, text)[0])
            watches.append(_instrumented(handler, text))
    found = Stopwatch.medians(watches)
    kinds = [
        Kind(
            name,
            calls,
            seconds,
            min(seconds, _decoding(payloads.get(name, []), rounds)),
            sum(len(payload) for _, payload in payloads.get(name, [])),
        )
        for name, (calls, seconds) in found.items()
        if name not in {YOUR_CODE, HISTORY}
    ]
    operations = json.loads(text)["InitialExecutionState"]["Operations"]
    return Measurement(
        outcome=outcome,
        detail=detail,
        recorded=_recorded(operations),
        event_bytes=len(text.encode()),
        payload_bytes=sum(map(_payload_bytes, operations)),
        parse=parse,
        replay=replay,
        kinds=sorted(kinds, key=lambda kind: -kind.seconds),
        history=found[HISTORY][1],
        your_code=found[YOUR_CODE][1],
        threads=any(watch.threads > 1 for watch in watches),
    )


def _once(handler: Handler, text: str) -> tuple[float, str, str | None]:
    """Replay once; give the seconds and what came of it."""
    event, context = ReplayEvent(json.loads(text)), LambdaContext()
    detail: str | None = None
    begin = time.perf_counter()
    try:
        output = handler(event, context)
    except FreshWork as stop:
        return time.perf_counter() - begin, FRESH_WORK, str(stop)
    except Exception as error:  # noqa: BLE001  whatever the handler raises is what came of it
        return time.perf_counter() - begin, "FAILED", f"{type(error).__name__}: {error}"
    seconds = time.perf_counter() - begin
    outcome = output.get("Status") if isinstance(output, dict) else None
    if not isinstance(outcome, str):
        raise BenchError("the handler is not one that perdure's @durable_execution made")
    if outcome == "FAILED":
        told = output.get("Error") or {}
        detail = f"{told.get('ErrorType')}: {told.get('ErrorMessage')}"
    return seconds, outcome, detail


# ---- no real work


@contextlib.contextmanager
def _replaced(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    before = [(target, name, target.__dict__[name]) for target, name, _ in changes]
    for target, name, value in changes:
        setattr(target, name, value)
    try:
        yield
    finally:
        for target, name, value in before:
            setattr(target, name, value)


@contextlib.contextmanager
def _guards() -> Iterator[None]:
    """Stop before a function would do work that is not recorded, instead of after."""
    run_step, run_condition, run_child = step.run, condition.run, child.run

    def step_or_stop(context: Any, operation: Operation, *rest: Any) -> Any:
        _stop_unless(operation.decision in {RECORDED, FAILED}, operation, "step")
        return run_step(context, operation, *rest)

    def condition_or_stop(context: Any, operation: Operation, *rest: Any) -> Any:
        _stop_unless(operation.decision in {RECORDED, FAILED}, operation, "condition")
        return run_condition(context, operation, *rest)

    def child_or_stop(context: Any, operation: Operation, *rest: Any, **options: Any) -> Any:
        _stop_unless(not operation.ticket, operation, "context")
        return run_child(context, operation, *rest, **options)

    with _replaced((step, "run", step_or_stop), (condition, "run", condition_or_stop), (child, "run", child_or_stop)):
        yield


def _stop_unless(recorded: bool, operation: Operation, kind: str) -> None:
    if not recorded:
        raise FreshWork(f"it comes to {_words(kind, operation.name or operation.id)}, which is not recorded as done")


def _words(kind: str, name: str) -> str:
    return f"{kind.lower().replace('_', ' ')} {name!r}"


# ---- what is decoded


class _WatchedScope:
    """A scope that hands out payloads unread, notes them, and reads them then."""

    __slots__ = ("_scope", "_seen")

    def __init__(self, scope: Any, seen: Payloads) -> None:
        self._scope = scope
        self._seen = seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scope, name)

    def step(self, name: Any, sub_type: str = "Step", at_most_once: bool = False, raw: bool = False) -> Any:
        found = self._scope.step(name, sub_type, at_most_once, True)
        return self._read("step", found, raw, decode_extended)

    def condition(self, name: Any, raw: bool = False) -> Any:
        return self._read("wait_for_condition", self._scope.condition(name, True), raw, decode_extended)

    def invoke(self, name: Any, raw: bool = False) -> Any:
        return self._read("invoke", self._scope.invoke(name, True), raw, decode_json)

    def child(self, name: Any, sub_type: str, index: int | None = None, raw: bool = False) -> Any:
        found = self._scope.child(name, sub_type, index, True)
        return self._read(_CONTEXTS.get(sub_type, "run_in_child_context"), found, raw, decode_extended)

    def _read(self, kind: str, found: Any, raw: bool, decode: Callable[[Any], Any]) -> Any:
        if raw or type(found) is not Operation or found.decision != RECORDED:
            return found
        payload = found.payload
        if payload is None:
            return None
        self._seen.setdefault(kind, []).append((decode, payload))
        return decode(payload)


_CONTEXTS = {
    "Map": "map",
    "MapIteration": "map",
    "Parallel": "parallel",
    "ParallelBranch": "parallel",
    "WaitForCallback": "wait_for_callback",
}


def _payloads(handler: Handler, text: str) -> tuple[Payloads, int]:
    """Give the payloads that a replay reads, by kind, and how many invocations of perdure's there were."""
    seen: Payloads = {}
    slot = DurableContext.__dict__["scope"]
    watched = property(lambda self: _WatchedScope(slot.__get__(self), seen), slot.__set__)
    invoke, invocations = _execution._invoke, []  # noqa: SLF001  our own

    def counted(*arguments: Any) -> Any:
        invocations.append(1)
        return invoke(*arguments)

    with _replaced((DurableContext, "scope", watched), (_execution, "_invoke", counted)):
        _once(handler, text)
    return seen, len(invocations)


def _decoding(payloads: list[tuple[Callable[[Any], Any], str]], rounds: int) -> float:
    """Give the median seconds that reading all of these takes."""
    if not payloads:
        return 0.0
    times = Times()
    for _ in range(min(rounds, 20)):
        begin = time.perf_counter()
        for decode, payload in payloads:
            decode(payload)
        times.samples.append(time.perf_counter() - begin)
    return times.median


# ---- instruments


class Stopwatch:
    """Takes times that exclude each other: what is called inside counts for itself alone."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._threads: list[dict[str, list[float]]] = []

    @property
    def threads(self) -> int:
        """How many threads came by."""
        return len(self._threads)

    def timed(self, kind: str, func: Callable[..., Any]) -> Callable[..., Any]:
        """Make a function whose time counts for ``kind``."""
        clock = time.perf_counter

        @functools.wraps(func)
        def call(*arguments: Any, **keywords: Any) -> Any:
            stack = self._stack()
            frame = [0.0, 0.0]  # seconds and calls inside
            stack.append(frame)
            begin = clock()
            try:
                return func(*arguments, **keywords)
            finally:
                seconds = clock() - begin
                stack.pop()
                if stack:
                    stack[-1][0] += seconds
                    stack[-1][1] += 1
                entry = self._local.found.setdefault(kind, [0, 0.0, 0.0])
                entry[0] += 1
                entry[1] += seconds - frame[0]
                entry[2] += frame[1]

        return call

    def _stack(self) -> list[list[float]]:
        try:
            return self._local.stack  # type: ignore[no-any-return]
        except AttributeError:
            self._local.stack = []
            self._local.found = {}
            self._threads.append(self._local.found)
            return self._local.stack  # type: ignore[no-any-return]

    def totals(self) -> dict[str, tuple[int, float, float]]:
        """Give calls, seconds, and timed calls inside, by kind, over all threads."""
        totals: dict[str, tuple[int, float, float]] = {}
        for found in self._threads:
            for kind, (calls, seconds, inside) in found.items():
                before = totals.get(kind, (0, 0.0, 0.0))
                totals[kind] = (before[0] + int(calls), before[1] + seconds, before[2] + inside)
        return totals

    @staticmethod
    def medians(watches: list[Stopwatch]) -> dict[str, tuple[int, float]]:
        """Give calls and median seconds by kind, less what taking the times costs."""
        own, around = _overhead()
        totals = [watch.totals() for watch in watches]
        kinds = dict.fromkeys([HISTORY, YOUR_CODE, *(kind for total in totals for kind in total)])
        found = {}
        for kind in kinds:
            entries = [total.get(kind, (0, 0.0, 0.0)) for total in totals]
            seconds = median(max(0.0, spent - calls * own - inside * around) for calls, spent, inside in entries)
            found[kind] = (entries[-1][0], seconds)
        return found


@functools.cache
def _overhead() -> tuple[float, float]:
    """Give what one timed call adds to its own time, and what to that of the one around it."""
    own, around = [], []
    turns = 200
    for _ in range(30):
        watch = Stopwatch()
        nothing = watch.timed("nothing", lambda: None)

        def calls(nothing: Callable[..., Any] = nothing) -> None:
            for _ in range(turns):
                nothing()

        watch.timed("calls", calls)()
        totals = watch.totals()
        own.append(totals["nothing"][1] / turns)
        around.append(totals["calls"][1] / turns)
    return median(own), median(around)


def _instrumented(handler: Handler, text: str) -> Stopwatch:
    """Replay once with instruments."""
    watch = Stopwatch()
    timed, invoke = watch.timed, _execution._invoke  # noqa: SLF001  our own

    def code(func: Callable[..., Any]) -> Callable[..., Any]:
        if isinstance(func, ParallelBranch):
            return ParallelBranch(timed(YOUR_CODE, func.func), func.name)
        return timed(YOUR_CODE, func)

    def child_context(self: DurableContext, func: Any, *rest: Any, **options: Any) -> Any:
        return in_child(self, code(func), *rest, **options)

    def mapped(self: DurableContext, inputs: Any, func: Any, *rest: Any, **options: Any) -> Any:
        return over(self, inputs, code(func), *rest, **options)

    def beside(self: DurableContext, functions: Any, *rest: Any, **options: Any) -> Any:
        return together(self, [code(func) for func in functions], *rest, **options)

    in_child = timed("run_in_child_context", DurableContext.run_in_child_context)
    over = timed("map", DurableContext.map)
    together = timed("parallel", DurableContext.parallel)
    history = timed(HISTORY, lambda event, context, func, *rest: invoke(event, context, code(func), *rest))
    changes = [(DurableContext, name, timed(name, getattr(DurableContext, name))) for name in _SIMPLE]
    with _replaced(
        *changes,
        (DurableContext, "run_in_child_context", child_context),
        (DurableContext, "map", mapped),
        (DurableContext, "parallel", beside),
        (Callback, "result", timed("callback.result", Callback.result)),
        (_execution, "_invoke", history),
    ):
        _once(timed(YOUR_CODE, handler), text)
    return watch


# ---- the history


def _recorded(operations: list[Wire]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for operation in operations:
        if operation["Type"] != "EXECUTION":
            kind = operation.get("SubType") or operation["Type"]
            counts[kind] = counts.get(kind, 0) + 1
    return counts


def _payload_bytes(operation: Wire) -> int:
    return sum(
        len(details[member].encode())
        for details in operation.values()
        if isinstance(details, dict)
        for member in ("Result", "InputPayload")
        if isinstance(details.get(member), str)
    )
