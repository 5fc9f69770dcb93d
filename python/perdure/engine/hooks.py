"""What a tool may see of an invocation and steer in it: the seam for the explorer, and for whatever else looks inside.

Hooks come with the event (`perdure.engine.hosted.HostedEvent`), so they are of one invocation. Without any
(``Invocation.hooks`` is None, as it is in production) nobody is asked anything, and a replayed operation does not even
look whether there are some: hooks that have a `Hooks.before_operation` get contexts of a class of their own
(`perdure._watched_context`), and what goes around a call to the service is in `perdure.engine.watched`.
"""

from __future__ import annotations

import random
import time
from _thread import allocate_lock
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from perdure._jitter import chance
from perdure.engine import threads as _threads
from perdure.exceptions import DurableOperationError, SerDesError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from perdure._core import Batch, Execution, Operation, Scope, Updates
    from perdure.concurrency.models import BatchResult
    from perdure.engine.flows import Flow
    from perdure.serdes import SerDes

T = TypeVar("T")

Kind: TypeAlias = Literal["step", "condition", "context"]
"""What calls a function of the user's: a step, a condition, or a context (a child, a branch, a map or parallel)."""


class Hooks:
    """Of one invocation. What a tool does not override is as it would be without hooks.

    All but `invocation_started` and `lambda_context` are called in whichever thread does what they tell of.
    """

    __slots__ = ()

    @property
    def steers(self) -> bool:
        """Whether they may change what happens, by `strategy` or `random`; plugins only hear of it."""
        return True

    # ---- the invocation

    def invocation_started(self, core: Execution, arn: str) -> None:
        """See an invocation begin. What this sets in context variables, the handler and its branches find there.

        Args:
            core: The invocation's engine.
            arn: The execution.

        """

    def lambda_context(self, given: Any) -> Any:
        """Give the Lambda context that the handler sees: the one of the call, or one around it.

        Of it the engine, too, asks how much time is left, once it has noted how much there was to begin with.
        """
        return given

    # ---- the world: time, chance, threads

    def sleep(self, seconds: float) -> None:
        """Wait before a failed call to the service is repeated."""
        time.sleep(seconds)

    def stopwatch(self) -> float:
        """Give the seconds by which to measure how long a call to the service takes."""
        return time.perf_counter()

    def random(self) -> float:
        """Draw a number from 0 up to 1: it spreads delays before retries, of operations and of calls."""
        return random.random()  # noqa: S311  guards nothing

    def moment(self, of: tuple[str, str | None, str | None], recorded: dt.datetime) -> dt.datetime:  # noqa: ARG002
        """Give the moment that is now.

        Args:
            of: What it is the moment of: the member of an operation's record, the operation's id, None for the
                execution, and that of a callback whose end counts if it came later.
            recorded: What the service has told of it.

        """
        return recorded

    def has_flusher(self) -> bool:
        """Whether an update that nobody waits for gets a thread to leave with, if no call takes it along before."""
        return True

    def has_timeouts(self) -> bool:
        """Whether the function of a step with a timeout gets a thread, and no more than its time."""
        return True

    def has_loop_threads(self) -> bool:
        """Whether an event loop has threads for calls to the service and for plain functions; else they hold it up."""
        return True

    def turns(self) -> int:
        """Give for how many turns of an event loop what has come is kept from the task that awaits it.

        Asked where other tasks may go on meanwhile, of an operation that has become durable or that can go on.
        """
        return 0

    def start_thread(self, threads: list[Any], function: Callable[..., None], *args: Any) -> None:
        """Start a thread of the engine's, that runs branches or sends what nobody waits for.

        Args:
            threads: Gets a lock that is released when the thread has ended.
            function: What it runs, which does not raise.
            *args: What to call it with.

        Raises:
            RuntimeError: If there can be no more threads; the engine goes on with those that it has.

        """
        _threads.start(threads, function, *args)

    def lock(self) -> Any:
        """Make a lock for the engine's threads to wait for each other at, with the methods of ``threading.Lock``."""
        return allocate_lock()

    # ---- calls to the service

    def heard(self) -> None:
        """See that an answer of the service has been noted, in the thread that made the call."""

    def before_call(self, updates: Updates | None) -> None:
        """See a call to the service about to be made. What this raises is as if the call had raised it.

        Args:
            updates: What it records, until it is over: ``updates.dicts()`` makes the wire's dicts of it. None if it
                reads a further page of the history.

        """

    def after_call(self, updates: Updates | None) -> None:
        """See a call to the service that was answered. What this raises is as if the answer had been lost so."""

    # ---- operations

    def before_operation(self, method: str) -> None:
        """See that code calls a method of its context that is an operation; it may be a replayed one.

        Args:
            method: The method's name.

        """

    def watches_operations(self) -> bool:
        """Whether there is anything in `before_operation` or `after_operation`, which else are not called."""
        kind = type(self)
        return kind.before_operation is not Hooks.before_operation or kind.after_operation is not Hooks.after_operation

    def watches_replays(self) -> bool:
        """Whether that is so for operations, too, that are simply replayed, or that show by their flow how they end."""
        return True

    def after_operation(self, scope: Scope) -> None:
        """See that an operation has given its result or raised its failure, replayed or not; not one that unwinds.

        Args:
            scope: Whose operation it was: ``scope.latest_id`` is its id.

        """

    def after_awaited(self, operation_id: str) -> None:
        """See that an operation of an ``async def`` handler has given its result or raised its failure, the same way.

        Args:
            operation_id: The operation's.

        """

    def deciding(self, operation_id: str) -> None:
        """See that an operation is about to record which of several others comes first.

        Args:
            operation_id: The operation's, a context's.

        """

    def trace_id(self, operation: Operation, function_name: str) -> str | None:  # noqa: ARG002  the same
        """Give the trace header that goes along with an invoke which is about to be recorded; None for none."""
        return None

    def virtual_function(self, inner: Scope, called: tuple[str | None, str], function: Any) -> Any:  # noqa: ARG002
        """Give what a context of which nothing is recorded is to call: its own function, or one around it.

        Args:
            inner: The context's scope.
            called: What it is called: its name and its subtype.
            function: What it was given.

        """
        return function

    def virtual_ended(self, inner: Scope, called: tuple[str | None, str], error: Exception | None) -> None:
        """See what came of a context of which nothing is recorded: a result, or what it fails with."""

    def function(self, kind: Kind, operation: Operation, function: Any) -> Any:  # noqa: ARG002  for those who override
        """Give what an operation that is not simply replayed is to call: its own function, or one around it.

        Args:
            kind: What calls it.
            operation: The operation, as it was found.
            function: What it was given, which need not be a function, if it is a mistake.

        """
        return function

    def strategy(self, operation: Operation, strategy: Any) -> Any:  # noqa: ARG002  for those who override
        """Give what decides whether there is another attempt: the operation's own strategy, or one around it."""
        return strategy

    def steered(self, operation: Operation, strategy: Any) -> Any:
        """Give a strategy that draws its numbers from the hooks, and that they may put another one around."""
        if not callable(strategy):
            return strategy  # a mistake, which is refused in words where it is asked

        @wraps(strategy)
        def decide(*about: Any) -> Any:
            drawn = chance.set(self.random)
            try:
                return strategy(*about)
            finally:
                chance.reset(drawn)

        return self.strategy(operation, decide)

    def followed(self, operation: Operation, flow: Flow[T], serdes: SerDes[Any] | None) -> Flow[T]:
        """Give the flow of an operation, and see what that gives, or what it fails with.

        Args:
            operation: The operation, as it was found.
            flow: Its flow.
            serdes: Of its result; None for the default one.

        """
        by_default = serdes is None
        try:
            value = yield from flow
        except (DurableOperationError, SerDesError) as error:
            self.operation_raised(operation, error, by_default=by_default)
            raise
        self.operation_gave(operation, value, by_default=by_default)
        return value

    def operation_gave(self, operation: Operation, value: Any, *, by_default: bool) -> None:
        """See what an operation gives that is not simply replayed.

        Args:
            operation: The operation, as it was found.
            value: What it gives.
            by_default: Whether it has no serdes but the default one.

        """

    def operation_raised(self, operation: Operation, error: Exception, *, by_default: bool) -> None:
        """See what an operation that is not simply replayed fails with: its own error, or one of its serdes."""

    # ---- map and parallel

    def batch(self, batch: Batch) -> Batch:
        """Give the schedule that a map or parallel runs by: the engine's own, or one around it.

        One around it decides which branch runs next, by holding back what `Batch.next` gives and handing it out in
        another order; and how many hands there are, since no thread is started where its `Batch.has_more` is false and
        its `Batch.due` is None.

        Args:
            batch: The engine's.

        """
        return batch

    def branch_failed(self, operation_id: str, name: str | None, error: Exception, recorded: dict[str, Any]) -> None:
        """See the failure of a branch of a map or parallel, before it is recorded. Called in the branch's thread.

        A FLAT branch that failed does so again in each invocation, until its batch is done.

        Args:
            operation_id: Of the branch's context.
            name: The branch's; of a FLAT one, its index.
            error: What the branch's function raised.
            recorded: The error object of it.

        """

    def batch_ended(self, operation_id: str, total: int, limit: int | None, result: BatchResult[Any]) -> None:
        """See what a map or parallel gives, before it is recorded; or once more, where replay has rebuilt it.

        Args:
            operation_id: The batch's.
            total: How many branches there were to admit.
            limit: How many of them might be in flight; None for all.
            result: What it gives.

        """


# What is made of the others.
_OWN = frozenset({"steered", "followed"})


def _passed_on(name: str) -> Callable[..., Any]:
    def pass_on(self: Around, *given: Any, **named: Any) -> Any:
        return getattr(self.inner, name)(*given, **named)

    return pass_on


class Around(Hooks):
    """Hooks around others: what a class of them does not override is as the others say."""

    __slots__ = ()

    inner: Hooks
    """The others; a class of such hooks has a place for them."""

    @property
    def steers(self) -> bool:
        """Whether the others do."""
        return self.inner.steers

    vars().update(
        (name, _passed_on(name))
        for name, own in vars(Hooks).items()
        if callable(own) and name[0] != "_" and name not in _OWN
    )
