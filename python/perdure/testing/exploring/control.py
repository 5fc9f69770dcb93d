"""The engine under the explorer's control, as long as a trial runs: no thread of its own, no pause, no chance.

What the world does (steps, checks, strategies) goes by way of `World`, which may hold it; what operations give is
held against the record.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from typing import TYPE_CHECKING, Any
from unittest import mock

from perdure import config, execution
from perdure._control import CheckpointsBroken, OutOfTime
from perdure._core import jittered_delay
from perdure.context import DurableContext
from perdure.engine import batch as executor
from perdure.engine import checkpoint
from perdure.engine import threads as _threads
from perdure.engine.hooks import Hooks
from perdure.engine.invocation import Invocation
from perdure.engine.operations import child, condition, step
from perdure.exceptions import DurableOperationError, OrphanedChildException, SerDesError, SuspendExecution
from perdure.local import InvocationCut
from perdure.testing.exploring.fault import ScheduledBatch, ShortOfTime
from perdure.testing.exploring.hands import HandLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from perdure.testing.exploring.fault import Fault
    from perdure.testing.exploring.world import World

_OPERATIONS = (
    *("step", "wait", "create_callback", "wait_for_callback", "wait_for_condition"),
    *("invoke", "run_in_child_context", "map", "parallel"),
)
_ENDS = (InvocationCut, CheckpointsBroken, OutOfTime, SuspendExecution, OrphanedChildException)
_one_at_a_time = threading.Lock()


@contextmanager
def controlled(world: World, fault: Fault) -> Iterator[None]:
    """Put the engine under control: no thread of its own, no pause, no chance. One trial at a time in a process."""
    with _one_at_a_time, ExitStack() as patches:
        for target, name, stand_in in _stand_ins(world, fault):
            patches.enter_context(mock.patch.object(target, name, stand_in))
        yield


def _quiet(told: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Say nothing of threads of the handler's that ended with their invocation."""

    def hook(args: Any) -> None:
        if not issubclass(args.exc_type, _ENDS):
            told(args)

    return hook


def _middle(jitter: config.JitterStrategy, delay: float) -> float:
    """Spread a delay without chance: to the middle of where it may fall."""
    return jittered_delay(delay, jitter.value, 0.5)


def _stand_ins(world: World, fault: Fault) -> list[tuple[Any, str, Any]]:
    """Give what takes the place of what, as long as a trial runs."""
    handler_threads, start = world.handler_threads, threading.Thread.start

    class Watched(Invocation):
        __slots__ = ("fault",)

        def __init__(self, core: Any, client: Any, arn: str, lambda_context: Any, clock: Any) -> None:
            super().__init__(core, client, arn, lambda_context, clock)
            self.lambda_context = ShortOfTime(lambda_context, fault)
            self.hooks = _Batches(fault, arn)
            self.fault = fault
            fault.core = core

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
        (threading.Thread, "start", handler_threads.starting(start, lambda: fault.is_here)),
        *_threads_and_locks(fault),
        *_operations(world, fault),
        *((DurableContext, name, announced(getattr(DurableContext, name))) for name in _OPERATIONS),
    ]


def _threads_and_locks(fault: Fault) -> list[tuple[Any, str, Any]]:
    """Give threads that take turns, and locks of the engine's at which another thread goes on."""
    hands, start = fault.hands, _threads.start

    def lock() -> HandLock:
        return HandLock(hands)

    def started(threads: list[Any], function: Callable[..., None], *args: Any) -> None:
        if not fault.is_here:
            start(threads, function, *args)
            return
        done = lock()
        done.acquire()
        hands.start(partial(function, *args), done)
        threads.append(done)

    return [
        (_threads, "start", started),
        (executor, "allocate_lock", lock),
        (checkpoint, "stopwatch", float),  # no call takes so long that another would wait to go along
    ]


class _Batches(Hooks):
    """Puts batches in the fault's order, and holds what they give against the record."""

    __slots__ = ("_arn", "_fault")

    def __init__(self, fault: Fault, arn: str) -> None:
        self._fault = fault
        self._arn = arn

    def batch(self, batch: Any) -> Any:
        return ScheduledBatch(batch, self._fault)

    def batch_ended(self, operation_id: str, total: int, limit: int | None, result: Any) -> None:
        self._fault.record.end_batch(self._arn, operation_id, total, limit, result)


def _operations(world: World, fault: Fault) -> list[tuple[Any, str, Any]]:
    """Give what runs steps, checks and contexts so that they end as they did the first time, and are looked at."""
    functions = _HeldFunctions(world, fault)
    run_step, run_condition, run_child = step.run, condition.run, child.run

    def same_step(context: Any, operation: Any, func: Any, strategy: Any, *rest: Any) -> Any:
        func, strategy = functions.held(context, operation, func), functions.decided(context, operation, strategy)
        with _compared(context, operation, rest[-1], fault) as give:
            return give(run_step(context, operation, func, strategy, *rest))

    def same_check(context: Any, operation: Any, check: Any, strategy: Any, *rest: Any) -> Any:
        check, strategy = functions.held(context, operation, check), functions.decided(context, operation, strategy)
        with _compared(context, operation, rest[-1], fault) as give:
            return give(run_condition(context, operation, check, strategy, *rest))

    def same_child(context: Any, operation: Any, func: Any, serdes: Any, *rest: Any, **named: Any) -> Any:
        if _is_of(context, fault):
            func = _looked_at(context, operation, func, fault)
        with _compared(context, operation, serdes, fault) as give:
            return give(run_child(context, operation, func, serdes, *rest, **named))

    return [(step, "run", same_step), (condition, "run", same_check), (child, "run", same_child)]


class _HeldFunctions:
    """What the functions of steps and checks do, and what strategies decide, which may be held."""

    def __init__(self, world: World, fault: Fault) -> None:
        self._world = world
        self._fault = fault

    def held(self, context: Any, operation: Any, function: Any) -> Any:
        """Give a function that ends as the first time, if that is held."""
        fault = self._fault
        if not callable(function) or not _is_of(context, fault):
            return function

        def again(*given: Any) -> Any:
            # Which attempt it is, what it is called with knows: of one at most once, it is not known before its START.
            place, id_, *_ = known = self._key(context, operation, given[-1].attempt)
            fault.runs[place, id_] += 1
            fault.turns[known] = None
            return self._world.again(known, function, *given, in_branch=fault.is_in_branch(place))

        return _looked_at(context, operation, wraps(function)(again), fault)

    def decided(self, context: Any, operation: Any, strategy: Any) -> Any:
        """Hold what a strategy decides, which is recorded; another cause or state is decided on anew."""
        if not callable(strategy) or not _is_of(context, self._fault):
            return strategy
        return lambda cause, attempt: self._world.again(
            self._key(context, operation, attempt, "decision", repr(cause)), strategy, cause, attempt
        )

    def _key(self, context: Any, operation: Any, attempt: int, *more: Any) -> Any:
        place = self._fault.place(context.invocation.durable_execution_arn)
        return place, operation.id, operation.name, attempt, *more


def _looked_at(context: Any, operation: Any, function: Any, fault: Fault) -> Any:
    """Hold it against the record that a function begins."""

    @wraps(function)
    def begin(*given: Any) -> Any:
        if _is_now(context, fault):
            fault.record.begin_body(context.invocation.durable_execution_arn, operation.id)
        return function(*given)

    return begin


@contextmanager
def _compared(context: Any, operation: Any, serdes: Any, fault: Fault) -> Iterator[Callable[[Any], Any]]:
    """Hold what an operation gives or raises against the record."""
    arn, id_ = context.invocation.durable_execution_arn, operation.id
    if not _is_now(context, fault):
        yield lambda value: value
        return
    if serdes is not None:
        fault.record.note_serdes(arn, id_)

    def give(value: Any) -> Any:
        fault.record.give(arn, id_, value)
        return value

    try:
        yield give
    except (DurableOperationError, SerDesError) as error:
        fault.record.fail(arn, id_, error)
        raise


def _is_now(context: Any, fault: Fault) -> bool:
    """Tell whether a context is of the invocation that runs, and not of one that was killed."""
    return _is_of(context, fault) and context.invocation.core is fault.core


def _is_of(context: Any, fault: Fault) -> bool:
    """Tell whether a context is one of the run's: threads of an earlier run may still have theirs."""
    return getattr(context.invocation, "fault", None) is fault
