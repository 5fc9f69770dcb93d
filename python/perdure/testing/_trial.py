"""One run of a handler under a given schedule. The explorer's hands.

A trial runs in one thread and in virtual time, so that the same schedule gives the same run. The world outside stays
the same from trial to trial: ids are those of the first, and if it is held, an attempt of a step, a check or a function
ends the way it did the first time, whatever its body does this time.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import wraps
from itertools import count
from typing import TYPE_CHECKING, Any
from unittest import mock
from uuid import UUID, uuid5

from perdure import checkpoint, config, execution
from perdure._control import CheckpointsBroken, OutOfTime
from perdure._core import Batch, jittered_delay
from perdure.concurrency import executor
from perdure.context import DurableContext
from perdure.exceptions import OrphanedChildException, SuspendExecution
from perdure.invocation import Invocation
from perdure.local import InvocationCut, LocalService
from perdure.operations import condition, step
from perdure.testing._fault import Fault, ScheduledBatch, ShortOfTime
from perdure.testing._look import look
from perdure.testing._watchdog import StuckError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from perdure.local.machine import Origin
    from perdure.testing._schedule import Schedule
    from perdure.testing._seen import Seen
    from perdure.testing._watchdog import Worker

    Handler = Callable[[Any, Any], Any]

_OPERATIONS = (
    *("step", "wait", "create_callback", "wait_for_callback", "wait_for_condition"),
    *("invoke", "run_in_child_context", "map", "parallel"),
)
_ENDS = (InvocationCut, CheckpointsBroken, OutOfTime, SuspendExecution, OrphanedChildException)
_FUNCTION = "explored"
_NAMESPACE = UUID(int=0)
_one_at_a_time = threading.Lock()


@dataclass
class Around:
    """The world around the handler, and what of it has been seen."""

    functions: Mapping[str, Handler] = field(default_factory=dict)
    durable_functions: Mapping[str, Handler] = field(default_factory=dict)
    answers: Mapping[Any, Any] = field(default_factory=dict)
    setup: Callable[[], Any] | None = None
    probe: Callable[[], Any] | None = None
    outcomes: dict[Any, tuple[bool, Any]] = field(default_factory=dict)
    held: bool = True

    def again(self, key: Any, call: Callable[..., Any], *arguments: Any) -> Any:
        """Do something in the world: really, but if that is `held`, with the outcome it had the first time."""
        try:
            outcome: tuple[bool, Any] = (True, call(*arguments))
        except Exception as error:  # noqa: BLE001  whatever it raises is its outcome
            outcome = (False, error)
        if self.held:
            outcome = self.outcomes.setdefault(key, outcome)
        succeeded, value = outcome
        if succeeded:
            return value
        raise value


def run_trial(
    handler: Handler,
    payload: str,
    around: Around,
    schedule: Schedule,
    *,
    held: bool,
    worker: Worker,
    limit: float,
) -> Seen:
    """Run a handler to its end under a schedule.

    Args:
        handler: The handler.
        payload: Its event.
        around: The world.
        schedule: What happens.
        held: Whether everything in the world ends as it did the first time, or as it does now.
        worker: Where it runs.
        limit: After how many seconds it counts as stuck.

    """
    around.held = held
    service = LocalService(on_callback=lambda operation, client: _answer(service, around, operation, client))
    fault = Fault(schedule, service)
    service.on_api_call = fault.on_call
    service.identify = _Ids()
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
    return look(handle, fault, probed, stuck)


class _Ids:
    """Draws the same ids in each run, since outcomes of an earlier one may hold them."""

    def __init__(self) -> None:
        self._roots = count()

    def __call__(self, origin: Origin) -> str:
        """Give an id, by the invoke that leads to the execution."""
        return str(uuid5(_NAMESPACE, repr(origin.parent or next(self._roots))))


def _quiet(told: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Say nothing of threads of the handler's that ended with their invocation."""

    def hook(args: Any) -> None:
        if not issubclass(args.exc_type, _ENDS):
            told(args)

    return hook


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
        (threading, "excepthook", _quiet(threading.excepthook)),
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
