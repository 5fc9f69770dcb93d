"""One run of a handler under a given schedule. The explorer's hands.

A trial runs in one thread and in virtual time, so that the same schedule gives the same run. The world outside stays
the same from trial to trial: ids are those of the first, and if it is held, an attempt of a step, a check or a function
ends the way it did the first time, whatever its body does this time.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import wraps
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any
from unittest import mock

from perdure import checkpoint, config, execution
from perdure._control import CheckpointsBroken, OutOfTime
from perdure._core import jittered_delay
from perdure._hooks import Hooks
from perdure.concurrency import executor
from perdure.context import DurableContext
from perdure.exceptions import OrphanedChildException, SuspendExecution
from perdure.invocation import Invocation
from perdure.local import InvocationCut
from perdure.operations import condition, step
from perdure.testing._fault import ScheduledBatch, ShortOfTime
from perdure.testing._look import look
from perdure.testing._scene import Scene
from perdure.testing._watchdog import StuckError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from perdure.testing._around import Around, Hold
    from perdure.testing._fault import Fault
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
_one_at_a_time = threading.Lock()


def run_trial(
    handler: Handler,
    payload: str,
    around: Around,
    schedule: Schedule,
    *,
    hold: Hold,
    worker: Worker,
    limit: float,
) -> Seen:
    """Run a handler to its end under a schedule.

    Args:
        handler: The handler.
        payload: Its event.
        around: The world.
        schedule: What happens.
        hold: What in the world ends as it did the first time.
        worker: Where it runs.
        limit: After how many seconds it counts as stuck.

    """
    around.begin(hold)
    scene = Scene(around, schedule, limit)
    fault = scene.fault
    handle = scene.service.register(_FUNCTION, handler).start(_FUNCTION, payload, "exploration")
    beside = around.company.begin()

    def run() -> None:
        fault.thread = threading.get_ident()
        if around.setup is not None:
            around.setup()
        scene.finish(handle, inf)

    probed = stuck = None
    with _controlled(around, fault):
        began = monotonic()
        try:
            worker.do(run, limit)
            fault.seconds = monotonic() - began
            # What threads do yet is to be seen by the probe, and not to reach into the next run.
            around.company.settle(limit)
            probed = worker.do(around.look, limit)
        except StuckError as error:
            stuck = error
    return replace(look(handle, fault, probed, stuck), beside=beside, unlike=around.unlike)


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
    company, start, run_branch = around.company, threading.Thread.start, executor._BatchRun._branch  # noqa: SLF001  ours

    class Watched(Invocation):
        __slots__ = ("fault",)

        def __init__(self, core: Any, client: Any, arn: str, lambda_context: Any, clock: Any) -> None:
            super().__init__(core, client, arn, lambda_context, clock)
            self.lambda_context = ShortOfTime(lambda_context, fault)
            self.hooks = _Order(fault)
            self.fault = fault
            fault.core = core

    def counted(run: Any, index: int) -> Any:
        fault.branches += 1
        try:
            return run_branch(run, index)
        finally:
            fault.branches -= 1

    def announced(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def begin(context: DurableContext, *given: Any, **named: Any) -> Any:
            if _is_of(context, fault):
                fault.begin()
            return method(context, *given, **named)

        return begin

    return [
        (checkpoint.Checkpointer, "watch", lambda _self: None),
        (checkpoint, "sleep", lambda _seconds: None),
        (execution, "Invocation", Watched),
        (config.JitterStrategy, "apply_jitter", _middle),
        (threading, "excepthook", _quiet(threading.excepthook)),
        (threading.Thread, "start", company.starting(start, lambda: fault.is_here)),
        (executor._BatchRun, "_branch", counted),  # noqa: SLF001  the same
        *_same_outcomes(around, fault),
        *((DurableContext, name, announced(getattr(DurableContext, name))) for name in _OPERATIONS),
    ]


class _Order(Hooks):
    """Lets branches run in the order of the fault's choosing."""

    __slots__ = ("_fault",)

    def __init__(self, fault: Fault) -> None:
        self._fault = fault

    def batch(self, batch: Any) -> Any:
        return ScheduledBatch(batch, self._fault.pick)


def _same_outcomes(around: Around, fault: Fault) -> list[tuple[Any, str, Any]]:
    """Give what runs attempts of steps and checks so that they end as they did the first time."""
    run_step, run_condition = step.run, condition.run

    def key(context: Any, operation: Any, *more: Any) -> Any:
        place = fault.place(context.invocation.durable_execution_arn)
        return place, operation.id, operation.name, operation.attempt, *more

    def held(context: Any, operation: Any, function: Any) -> Any:
        if not callable(function) or not _is_of(context, fault):
            return function

        def again(*given: Any) -> Any:
            place, id_, *_ = known = key(context, operation)
            fault.runs[place, id_] += 1
            fault.turns[known] = None
            return around.again(known, function, *given, in_branch=fault.is_in_branch(place))

        return wraps(function)(again)

    def decided(context: Any, operation: Any, strategy: Any) -> Any:
        """Hold what a strategy decides, which is recorded; another cause or state is decided on anew."""
        if not callable(strategy) or not _is_of(context, fault):
            return strategy
        return lambda cause, attempt: around.again(
            key(context, operation, "decision", repr(cause)), strategy, cause, attempt
        )

    def same_step(context: Any, operation: Any, func: Any, strategy: Any, *rest: Any) -> Any:
        func, strategy = held(context, operation, func), decided(context, operation, strategy)
        return run_step(context, operation, func, strategy, *rest)

    def same_check(context: Any, operation: Any, check: Any, strategy: Any, *rest: Any) -> Any:
        check, strategy = held(context, operation, check), decided(context, operation, strategy)
        return run_condition(context, operation, check, strategy, *rest)

    return [(step, "run", same_step), (condition, "run", same_check)]


def _is_of(context: Any, fault: Fault) -> bool:
    """Tell whether a context is one of the run's: threads of an earlier run may still have theirs."""
    return getattr(context.invocation, "fault", None) is fault
