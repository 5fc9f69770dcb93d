"""One run of a handler under a given schedule. The explorer's hands.

A trial runs in one thread and in virtual time, so that the same schedule gives the same run. The world outside stays
the same from trial to trial: an attempt of a step, a check or a function that gave now this and now that in undisturbed
runs ends the way it did the first time, whatever its body does this time.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any
from unittest import mock

from perdure import checkpoint, config, execution
from perdure._core import Batch, jittered_delay
from perdure.concurrency import executor
from perdure.context import DurableContext
from perdure.invocation import Invocation
from perdure.local import LocalService
from perdure.operations import condition, step
from perdure.testing._fault import Fault, ScheduledBatch, ShortOfTime
from perdure.testing._look import look
from perdure.testing._watchdog import StuckError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from perdure.testing._schedule import Schedule
    from perdure.testing._seen import Seen
    from perdure.testing._watchdog import Worker

    Handler = Callable[[Any, Any], Any]

_OPERATIONS = (
    *("step", "wait", "create_callback", "wait_for_callback", "wait_for_condition"),
    *("invoke", "run_in_child_context", "map", "parallel"),
)
_FUNCTION = "explored"
_one_at_a_time = threading.Lock()


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
    """What the first run drew: it lives on in the outcomes."""

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


def run_trial(
    handler: Handler,
    payload: str,
    around: Around,
    schedule: Schedule,
    *,
    fixed: bool,
    worker: Worker,
    limit: float,
) -> Seen:
    """Run a handler to its end under a schedule.

    Args:
        handler: The handler.
        payload: Its event.
        around: The world.
        schedule: What happens.
        fixed: Whether everything in the world ends as it did the first time, or only what varies by itself. Of an
            undisturbed run, what ends otherwise counts as varying from then on.
        worker: Where it runs.
        limit: After how many seconds it counts as stuck.

    """
    around.fixed, around.learning = fixed, schedule.kind == "undisturbed"
    service = LocalService(on_callback=lambda operation, client: _answer(service, around, operation, client))
    fault = Fault(schedule, service)
    service.on_api_call = fault.on_call
    calls: Counter[str] = Counter()
    for name, function in around.functions.items():
        service.register(name, _same_again(name, function, around, calls), durable=False)
    for name, function in around.durable_functions.items():
        service.register(name, function)
    service.register(_FUNCTION, handler)
    handle = service.start(_FUNCTION, payload, "exploration")

    def run() -> Any:
        fault.thread = threading.get_ident()
        if around.setup is not None:
            around.setup()
        service.drive(handle)
        return around.probe() if around.probe is not None else None

    probed = stuck = None
    with _controlled(around, fault):
        try:
            probed = worker.do(run, limit)
        except StuckError as error:
            stuck = error
    return look(handle, fault, around.drawn, probed, stuck)


def _middle(jitter: config.JitterStrategy, delay: float) -> float:
    """Spread a delay without chance: to the middle of where it may fall."""
    return jittered_delay(delay, jitter.value, 0.5)


@contextmanager
def _controlled(around: Around, fault: Fault) -> Iterator[None]:
    """Put the engine under control: no thread of its own, no pause, no chance. One trial at a time in a process."""
    with _one_at_a_time, ExitStack() as patches:
        for target, name, stand_in in _stand_ins(around, fault):
            patches.enter_context(mock.patch.object(target, name, stand_in))
        yield


def _stand_ins(around: Around, fault: Fault) -> list[tuple[Any, str, Any]]:
    """Give what takes the place of what, as long as a trial runs."""
    run_step, run_condition = step.run, condition.run

    class Watched(Invocation):
        __slots__ = ()

        def __init__(self, core: Any, client: Any, arn: str, lambda_context: Any, clock: Any) -> None:
            super().__init__(core, client, arn, lambda_context, clock)
            self.lambda_context = ShortOfTime(lambda_context, fault)
            fault.core = core

    def again(context: Any, operation: Any, function: Any, *arguments: Any) -> Any:
        place = fault.place(context.invocation.durable_execution_arn)
        fault.runs[place, operation.id] += 1
        return around.again((place, operation.id, operation.name, operation.attempt), function, *arguments)

    def same_step(context: Any, operation: Any, func: Any, *rest: Any) -> Any:
        return run_step(context, operation, lambda given: again(context, operation, func, given), *rest)

    def same_check(context: Any, operation: Any, check: Any, *rest: Any) -> Any:
        return run_condition(context, operation, lambda *given: again(context, operation, check, *given), *rest)

    def announced(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def begin(*given: Any, **named: Any) -> Any:
            fault.begin()
            return method(*given, **named)

        return begin

    return [
        (checkpoint.Checkpointer, "watch", lambda _self: None),
        (checkpoint, "sleep", lambda _seconds: None),
        (execution, "Invocation", Watched),
        (step, "run", same_step),
        (condition, "run", same_check),
        (config.JitterStrategy, "apply_jitter", _middle),
        (executor, "Batch", lambda *given: ScheduledBatch(Batch(*given), fault.pick)),
        *((DurableContext, name, announced(getattr(DurableContext, name))) for name in _OPERATIONS),
    ]


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


def _same(one: tuple[bool, Any], other: tuple[bool, Any]) -> bool:
    if one[0] != other[0]:
        return False
    if not one[0]:
        return type(one[1]) is type(other[1]) and str(one[1]) == str(other[1])
    try:
        return bool(one[1] == other[1]) or repr(one[1]) == repr(other[1])
    except Exception:  # noqa: BLE001  whatever comparing the user's objects raises
        return False
