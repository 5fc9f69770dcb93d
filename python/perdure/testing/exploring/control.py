"""The engine under the explorer's control, as long as a trial runs: no thread of its own, no pause, no chance.

What the world does (steps, checks, strategies) goes by way of `World`, which may hold it; what operations give is
held against the record.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from perdure._control import CheckpointsBroken, OutOfTime
from perdure.engine.hooks import Hooks
from perdure.exceptions import OrphanedChildException, SuspendExecution
from perdure.local import InvocationCut
from perdure.testing.exploring.fault import ScheduledBatch, ShortOfTime
from perdure.testing.exploring.hands import HandLock

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator

    from perdure.testing.exploring.fault import Fault
    from perdure.testing.exploring.world import World

_ENDS = (InvocationCut, CheckpointsBroken, OutOfTime, SuspendExecution, OrphanedChildException)
_one_at_a_time = threading.Lock()


@contextmanager
def controlled(world: World, fault: Fault) -> Iterator[None]:
    """Let a trial run, one at a time in a process: threads that its handler starts are known, and end in silence.

    That a thread starts can be learnt in no other way where it is started, and where it runs it would be too late: it
    may have been missed by then. So `threading.Thread.start` is another function meanwhile, as `threading.excepthook`
    is, which is meant to be.
    """
    with _one_at_a_time:
        start, told = threading.Thread.start, threading.excepthook
        starting = world.handler_threads.starting(start, lambda: fault.is_here)
        try:
            threading.Thread.start = starting  # type: ignore[assignment,method-assign]
            threading.excepthook = _quiet(told)
            yield
        finally:
            threading.Thread.start = start  # type: ignore[method-assign]
            threading.excepthook = told
            fault.is_over = True


def _quiet(told: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Say nothing of threads of the handler's that ended with their invocation."""

    def hook(args: Any) -> None:
        if not issubclass(args.exc_type, _ENDS):
            told(args)

    return hook


class ControlledInvocation(Hooks):
    """An invocation of a run: what threads of an earlier run still do in theirs is left alone.

    Args:
        world: The world.
        fault: What happens in the run.
        arn: The execution.

    """

    __slots__ = ("_arn", "_core", "_fault", "_is_asynchronous", "_world")

    def __init__(self, world: World, fault: Fault, arn: str) -> None:
        self._world = world
        self._fault = fault
        self._arn = arn
        self._core: Any = None
        self._is_asynchronous = False

    @property
    def _is_now(self) -> bool:
        """Whether this is the invocation that runs, and not one that was killed."""
        return not self._fault.is_over and self._fault.core is self._core

    # ---- no chance, no pause, no thread of the engine's own but those that take turns

    def invocation_started(self, core: Any, arn: str) -> None:  # noqa: ARG002  known already
        """Take the engine, by which the run knows the invocation."""
        self._core = self._fault.core = core

    def lambda_context(self, given: Any) -> Any:
        """Let time run out where that is what happens."""
        return ShortOfTime(given, self._fault)

    def sleep(self, seconds: float) -> None:
        """Repeat a call at once."""

    def stopwatch(self) -> float:
        """Let no call take so long that another would wait to go along."""
        return 0.0

    def random(self) -> float:
        """Draw the middle."""
        return 0.5

    def moment(self, of: tuple[str, str | None, str | None], recorded: dt.datetime) -> dt.datetime:
        """Let a moment be what it was in the first run: what goes wrong in this one has taken time."""
        return self._world.moments.setdefault((self._fault.place(self._arn), *of), recorded)

    def has_flusher(self) -> bool:
        """Let what nobody waits for go along with what somebody does."""
        return False

    def has_timeouts(self) -> bool:
        """Let every function have the time that it takes, where it is called: how long that is, is chance."""
        return False

    def has_loop_threads(self) -> bool:
        """Let an event loop do all itself, so that it is no chance which of its tasks goes on. Asked of no other."""
        self._is_asynchronous = self._fault.is_asynchronous = True
        return False

    def turns(self) -> int:
        """Let a task go on at once, or after others."""
        return 0 if self._fault.is_over else self._fault.turns_to_wait()

    def start_thread(self, threads: list[Any], function: Callable[..., None], *args: Any) -> None:
        """Start one more hand; a thread of the handler's own, which is none, starts one as without hooks."""
        if not self._fault.is_here:
            super().start_thread(threads, function, *args)
            return
        done = self.lock()
        done.acquire()
        self._fault.hands.start(partial(function, *args), done)
        threads.append(done)

    def lock(self) -> Any:
        """Make a lock at which another hand goes on."""
        return HandLock(self._fault.hands)

    # ---- operations: what they call ends as it did the first time, and what they give is held against the record

    def before_operation(self, method: str) -> None:  # noqa: ARG002  all alike
        """Let another thread go on, or not."""
        if not self._fault.is_over:
            self._fault.begin()

    def deciding(self, operation_id: str) -> None:
        """Note what may be decided in another way in another run."""
        if self._is_now:
            self._fault.decided.add((self._fault.place(self._arn), operation_id))

    def function(self, kind: str, operation: Any, function: Any) -> Any:
        """Give a function that ends as the first time, if that is held, and whose begin is held against the record."""
        if self._fault.is_over or (kind != "context" and not callable(function)):
            return function
        called = function if kind == "context" else self._held(operation, function)

        @wraps(function)
        def begin(*given: Any) -> Any:
            if self._is_now:
                self._fault.record.begin_body(self._arn, operation.id)
            return called(*given)

        return begin

    def _held(self, operation: Any, function: Any) -> Any:
        fault = self._fault

        def again(*given: Any) -> Any:
            # Which attempt it is, what it is called with knows: of one at most once, it is not known before its START.
            place, id_, *_ = known = self._key(operation, given[-1].attempt)
            fault.begin_attempt((place, id_), given[-1].attempt)
            fault.turns[known] = None
            again = self._world.again_awaited if self._is_asynchronous else self._world.again
            return again(known, function, *given, in_branch=fault.is_in_branch(place))

        return again

    def strategy(self, operation: Any, strategy: Any) -> Any:
        """Hold what a strategy decides, which is recorded; another cause or state is decided on anew."""
        if self._fault.is_over:
            return strategy
        return lambda cause, attempt: self._world.again(
            self._key(operation, attempt, "decision", repr(cause)), strategy, cause, attempt
        )

    def _key(self, operation: Any, attempt: int, *more: Any) -> Any:
        return self._fault.place(self._arn), operation.id, operation.name, attempt, *more

    def operation_gave(self, operation: Any, value: Any, *, by_default: bool) -> None:
        """Hold what an operation gives against the record."""
        if self._is_now:
            self._note(operation, by_default=by_default)
            record = self._fault.record
            give = record.give_early if self._core.is_optimistic else record.give
            give(self._arn, operation.id, value)

    def operation_raised(self, operation: Any, error: Exception, *, by_default: bool) -> None:
        """Hold what an operation fails with against the record."""
        if self._is_now:
            self._note(operation, by_default=by_default)
            self._fault.record.fail(self._arn, operation.id, error)

    def _note(self, operation: Any, *, by_default: bool) -> None:
        if not by_default:
            self._fault.record.note_serdes(self._arn, operation.id)

    # ---- map and parallel

    def batch(self, batch: Any) -> Any:
        """Put the branches in the fault's order."""
        return ScheduledBatch(batch, self._fault)

    def batch_ended(self, operation_id: str, total: int, limit: int | None, result: Any) -> None:
        """Hold what a batch gives against the record."""
        is_early = self._core.is_optimistic
        self._fault.record.end_batch(self._arn, operation_id, total, limit, result, is_early=is_early)
