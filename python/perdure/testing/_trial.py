"""One run of a handler under a given schedule: what fails when, and which branch runs next. The explorer's hands.

A trial runs in one thread and in virtual time, so that the same schedule gives the same run. The world outside stays
the same from trial to trial: an attempt of a step, a check or a function that gave now this and now that in undisturbed
runs ends the way it did the first time, whatever its body does this time.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any
from unittest import mock

from perdure import checkpoint, config, execution
from perdure._core import RUN_BRANCH, Batch, jittered_delay
from perdure.concurrency import executor
from perdure.invocation import Invocation
from perdure.lambda_service import Operation as SvcOperation
from perdure.local import InvocationCut, LocalService
from perdure.operations import condition, step
from perdure.testing.operations import tree_of
from perdure.testing.tree import render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from perdure.local import ExecutionHandle

    Handler = Callable[[Any, Any], Any]

_OF_INVOCATIONS = frozenset({"checkpoint_durable_execution", "get_durable_execution_state"})
_FUNCTION = "explored"
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, order=True)
class Schedule:
    """What happens to a run; written and read as text (``crash-after:3``, ``order:17``, ``order:17/2``).

    Args:
        kind: ``undisturbed``; ``crash-before`` and ``crash-after`` an API call: the invocation ends there, and a new
            one begins; ``lost``: the response to the call is lost, and the call repeated; ``late``: the invocation's
            time is up with the call; ``order``: branches run in an order drawn by chance.
        at: The API call, counted from 1; the seed of an order.
        picks: How many choices of an order are drawn, before branches run in the order of their index; None for all.

    """

    kind: str = "undisturbed"
    at: int = 0
    picks: int | None = None

    KINDS = ("undisturbed", "crash-before", "crash-after", "lost", "late", "order")

    def __str__(self) -> str:
        if self.kind == "undisturbed":
            return self.kind
        return f"{self.kind}:{self.at}" + ("" if self.picks is None else f"/{self.picks}")

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read a schedule from its text.

        Raises:
            ValueError: If it is none.

        """
        kind, _, rest = text.partition(":")
        at, _, picks = rest.partition("/")
        if kind not in cls.KINDS or (kind != "undisturbed" and not at.isdigit()) or (picks and not picks.isdigit()):
            raise ValueError(f"{text!r} is no schedule: write KIND:NUMBER, and KIND is one of {', '.join(cls.KINDS)}")
        return cls(kind, int(at or 0), int(picks) if picks else None)


@dataclass
class Around:
    """The world around the handler, and what of it has been seen."""

    functions: Mapping[str, Handler] = field(default_factory=dict)
    durable_functions: Mapping[str, Handler] = field(default_factory=dict)
    answers: Mapping[str | None, Any] = field(default_factory=dict)
    setup: Callable[[], Any] | None = None
    probe: Callable[[], Any] | None = None
    outcomes: dict[Any, tuple[bool, Any]] = field(default_factory=dict)
    varying: set[Any] = field(default_factory=set)
    fixed: bool = True
    learning: bool = True
    drawn: dict[str, str] = field(default_factory=dict)

    def again(self, key: Any, call: Callable[..., Any], *arguments: Any) -> Any:
        """Do something in the world: really, but with the outcome it had the first time if that varies by itself."""
        try:
            outcome: tuple[bool, Any] = (True, call(*arguments))
        except Exception as error:  # noqa: BLE001  whatever it raises is its outcome
            outcome = (False, error)
        first = self.outcomes.setdefault(key, outcome)
        succeeded, value = first if self.fixed or key in self.varying else outcome
        if self.learning and not _same(first, outcome):
            self.varying.add(key)
        if succeeded:
            return value
        raise value


@dataclass
class Seen:
    """What can be seen of a run, comparable but for what differs from run to run: moments and drawn ids."""

    status: str
    result: str | None
    error: dict[str, Any] | None
    operations: dict[str, dict[str, Any]]
    names: dict[str, str]
    open_callbacks: list[str]
    probe: Any
    calls: int
    invocations: int
    tree: str
    interrupted: bool
    raced: bool

    def differences(self, other: Seen, *, result: bool, probe: bool) -> list[str]:
        """Say in words how another run differs from this one."""
        found = []
        if result and (self.status, self.result, self.error) != (other.status, other.result, other.error):
            found.append(f"the outcome was {self.outcome()}, and is {other.outcome()}")
        if result and self.open_callbacks != other.open_callbacks:
            found.append(f"open callbacks were {self.open_callbacks}, and are {other.open_callbacks}")
        if result:
            for key in [*self.operations, *(key for key in other.operations if key not in self.operations)]:
                found += _operation_differences(key, self, other)
        elif other.status == "RUNNING" != self.status:
            found.append("the execution did not come to its end")
        if probe and self.probe != other.probe:
            found.append(f"the probe saw {self.probe!r}, and sees {other.probe!r}")
        return found

    def outcome(self) -> str:
        """Say how the run ended."""
        told = self.result if self.error is None else f"{self.error.get('ErrorType')}: {self.error.get('ErrorMessage')}"
        return f"{self.status} {told}" if told is not None else self.status


def _operation_differences(key: str, one: Seen, other: Seen) -> list[str]:
    mine, others = one.operations.get(key), other.operations.get(key)
    name = one.names.get(key) or other.names.get(key)
    if mine == others:
        return []
    if mine is None or others is None:
        return [f"operation {name} is {'only recorded now' if mine is None else 'no longer recorded'}"]
    members = [member for member in mine.keys() | others.keys() if mine.get(member) != others.get(member)]
    return [f"operation {name}: {m} was {mine.get(m)!r}, and is {others.get(m)!r}" for m in sorted(members)]


def run_trial(handler: Handler, payload: str, around: Around, schedule: Schedule, *, fixed: bool) -> Seen:
    """Run a handler to its end under a schedule.

    Args:
        handler: The handler.
        payload: Its event.
        around: The world.
        schedule: What happens.
        fixed: Whether everything in the world ends as it did the first time, or only what varies by itself. Of an
            undisturbed run, what ends otherwise counts as varying from then on.

    """
    around.fixed, around.learning = fixed, schedule.kind == "undisturbed"
    fault = _Fault(schedule)
    service = LocalService(on_api_call=fault.on_call, on_callback=lambda o, c: _answer(service, around, o, c))
    calls: Counter[str] = Counter()
    for name, function in around.functions.items():
        service.register(name, _same_again(name, function, around, calls), durable=False)
    for name, function in around.durable_functions.items():
        service.register(name, function)
    service.register(_FUNCTION, handler)
    if around.setup is not None:
        around.setup()
    with _controlled(around, fault):
        handle = service.run(_FUNCTION, payload, "exploration")
    return _look(handle, around, fault)


class _Fault:
    """Makes happen what the schedule says."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.calls = 0
        self.chosen = 0
        self.core: Any = None
        self._random = Random(schedule.at) if schedule.kind == "order" else None  # noqa: S311  a seed, not a secret

    def on_call(self, name: str, _arguments: Any, stage: str) -> None:
        """Take an API call of an invocation."""
        if name not in _OF_INVOCATIONS:
            return
        if stage == "before":
            self.calls += 1
        if self.calls != self.schedule.at or self.schedule.kind == "order":
            return
        if self.schedule.kind == f"crash-{stage}":
            raise InvocationCut
        if self.schedule.kind == "lost" and stage == "after":
            raise ConnectionError("the response was lost")
        if self.schedule.kind == "late" and stage == "after":
            self.core.set_deadline(0.0)

    def pick(self, count: int) -> int:
        """Choose which of so many branches runs next."""
        self.chosen += 1
        if self._random is None or (self.schedule.picks is not None and self.chosen > self.schedule.picks):
            return 0
        return self._random.randrange(count)


class _ScheduledBatch:
    """A batch that one thread works through, in an order of the fault's choosing."""

    def __init__(self, batch: Any, pick: Callable[[int], int]) -> None:
        self._batch = batch
        self._pick = pick
        self._runnable: list[tuple[int, int, int | None]] = []
        self.due = None

    def next(self, now: int) -> tuple[int, int, int | None]:
        """Give a branch out of all that may run, or what else there is to do."""
        while (found := self._batch.next(now))[0] == RUN_BRANCH:
            self._runnable.append(found)
        if not self._runnable:
            return found  # type: ignore[no-any-return]
        return self._runnable.pop(self._pick(len(self._runnable)) if len(self._runnable) > 1 else 0)

    def has_more(self, _now: int) -> bool:
        """Need no second thread."""
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)


def _middle(jitter: config.JitterStrategy, delay: float) -> float:
    """Spread a delay without chance: to the middle of where it may fall."""
    return jittered_delay(delay, jitter.value, 0.5)


@contextmanager
def _controlled(around: Around, fault: _Fault) -> Iterator[None]:
    """Put the engine under control: no thread of its own, no pause, no chance. One trial at a time in a process."""
    run_step, run_condition = step.run, condition.run

    class Watched(Invocation):
        __slots__ = ()

        def __init__(self, core: Any, *arguments: Any) -> None:
            super().__init__(core, *arguments)
            fault.core = core

    def same_step(context: Any, operation: Any, func: Any, *rest: Any) -> Any:
        def body(step_context: Any) -> Any:
            return around.again((operation.id, operation.name, operation.attempt), func, step_context)

        return run_step(context, operation, body, *rest)

    def same_check(context: Any, operation: Any, check: Any, *rest: Any) -> Any:
        def body(state: Any, check_context: Any) -> Any:
            return around.again((operation.id, operation.name, operation.attempt), check, state, check_context)

        return run_condition(context, operation, body, *rest)

    def scheduled(*given: Any) -> Any:
        return _ScheduledBatch(Batch(*given), fault.pick)

    with (
        _one_at_a_time,
        mock.patch.object(checkpoint, "LINGER", 3600.0),
        mock.patch.object(checkpoint, "sleep", return_value=None),
        mock.patch.object(execution, "Invocation", Watched),
        mock.patch.object(step, "run", same_step),
        mock.patch.object(condition, "run", same_check),
        mock.patch.object(config.JitterStrategy, "apply_jitter", _middle),
        mock.patch.object(executor, "Batch", scheduled),
    ):
        yield


def _same_again(name: str, function: Handler, around: Around, calls: Counter[str]) -> Handler:
    def call(payload: Any, context: Any) -> Any:
        text = f"{name} {json.dumps(payload, sort_keys=True)}"
        calls[text] += 1
        return around.again((text, calls[text]), function, payload, context)

    return call


def _answer(service: LocalService, around: Around, operation: Any, client: Any) -> None:
    from perdure.testing._stage import names_of  # noqa: PLC0415  shared with the runner
    from perdure.testing.mocks import Reply  # noqa: PLC0415  the same

    callback_id = operation["CallbackDetails"]["CallbackId"]
    for handle in list(service.handles.values()):
        for name in names_of(handle, callback_id):
            if name in around.answers:
                answer = around.answers[name]
                reply = Reply(error=answer) if isinstance(answer, BaseException) else Reply(answer)
                reply.send(client, callback_id)
                return


def _look(handle: ExecutionHandle, around: Around, fault: _Fault) -> Seen:
    operations, names = {}, {}
    everything = handle.operations
    drawn = {handle.arn: "<arn>", handle.machine.execution_id: "<execution>"}
    for operation in everything:
        if operation["Type"] == "CALLBACK":
            drawn[operation["CallbackDetails"]["CallbackId"]] = f"<callback {operation.get('Name')}>"
    around.drawn |= drawn
    known = around.drawn
    for operation in everything:
        details = next((dict(value) for key, value in operation.items() if key.endswith("Details")), {})
        kept = {key: operation.get(key) for key in ("Type", "SubType", "Name", "ParentId", "Status")}
        kept |= {key: details.get(key) for key in ("Attempt", "Result", "Error", "ReplayChildren")}
        operations[operation["Id"]] = _without(kept, known)
        names[operation["Id"]] = operation.get("Name") or f"{operation.get('SubType')} {operation['Id'][:8]}"
    return Seen(
        handle.status,
        _without(handle.result, known),
        _without(handle.error, known),
        operations,
        names,
        [str(operation.get("Name")) for operation in handle.open_callbacks],
        around.probe() if around.probe is not None else None,
        fault.calls,
        len(handle.invocations),
        f"{handle.status}\n{render(tree_of([SvcOperation.from_dict(each) for each in everything]))}",
        any("StepInterruptedError" in str((update.get("Error") or {}).get("ErrorType")) for update in handle.updates),
        _raced(everything),
    )


def _same(one: tuple[bool, Any], other: tuple[bool, Any]) -> bool:
    if one[0] != other[0]:
        return False
    if not one[0]:
        return type(one[1]) is type(other[1]) and str(one[1]) == str(other[1])
    try:
        return bool(one[1] == other[1]) or repr(one[1]) == repr(other[1])
    except Exception:  # noqa: BLE001  whatever comparing the user's objects raises
        return False


def _without(value: Any, drawn: Mapping[str, str]) -> Any:
    """Take what is drawn anew in each run out of a value."""
    if isinstance(value, str):
        for text, stand_in in drawn.items():
            value = value.replace(text, stand_in)
        return value
    if isinstance(value, dict):
        return {key: _without(item, drawn) for key, item in value.items() if item is not None}
    return value


def _raced(operations: list[dict[str, Any]]) -> bool:
    """Tell whether a map or parallel ended before all of its branches had: then their order makes the result."""
    ended = {o["Id"] for o in operations if o.get("SubType") in ("Map", "Parallel") and o["Status"] != "STARTED"}
    results = [str(o["ContextDetails"].get("Result")) for o in operations if o["Id"] in ended]
    early = ("MIN_SUCCESSFUL_REACHED", "FAILURE_TOLERANCE_EXCEEDED", "CUSTOM_COMPLETION")
    return any(reason in result for result in results for reason in early) or any(
        o.get("ParentId") in ended and o["Status"] not in ("SUCCEEDED", "FAILED") for o in operations
    )
