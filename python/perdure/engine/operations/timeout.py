"""The function of a step against the clock.

A plain one runs in a thread of its own, and what it gives too late is dropped. One that is awaited is cancelled.
"""

from __future__ import annotations

import math
from _thread import TIMEOUT_MAX, allocate_lock
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from perdure._duration import exact_seconds
from perdure._functions import is_coroutine
from perdure.engine import threads as _threads
from perdure.engine.operations.common import logger
from perdure.engine.time_left import steady
from perdure.exceptions import StepTimeoutError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from perdure._core import Errand, Operation
    from perdure._duration import DurationLike
    from perdure.engine.contexts import Context
    from perdure.engine.invocation import Invocation
    from perdure.types import StepContext


def seconds_of(timeout: DurationLike, whose: str) -> float:
    """Give a timeout in seconds, with its fraction.

    Args:
        timeout: The timeout.
        whose: Which operation's it is, in words.

    Raises:
        ValidationError: For what is no length of time, and for none at all.

    """
    seconds = exact_seconds(timeout)
    if seconds is None or not 0 < seconds < math.inf:
        raise ValidationError(
            f"the timeout of {whose} must be a Duration, a datetime.timedelta or a number of seconds, and more than 0, "
            f"not {timeout!r}"
        )
    return seconds


def timed(context: Context, operation: Operation, function: Callable[[StepContext], Any], seconds: float) -> Timed:
    """Give a function around a step's own that holds it to a timeout."""
    if context.takes_async:
        kind = TimedCoroutine if is_coroutine(function) else TimedEither
        return kind(context.invocation, operation, function, seconds)
    return Timed(context.invocation, operation, function, seconds)


class Timed:
    """A function around a step's own, which it passes for: it runs that in a thread, and waits for it so long.

    Args:
        invocation: The step's.
        operation: The step.
        function: The step's own.
        seconds: How long one attempt may take.

    """

    __slots__ = ("_function", "_invocation", "_operation", "_seconds")

    def __init__(
        self, invocation: Invocation, operation: Operation, function: Callable[[StepContext], Any], seconds: float
    ) -> None:
        self._invocation = invocation
        self._operation = operation
        self._function = function
        self._seconds = seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)

    def __call__(self, step: StepContext) -> Any:
        """Call the function; give what it returns, or raise what it raises, in time."""
        operation, hooks = self._operation, self._invocation.hooks
        if hooks is not None and not hooks.has_timeouts():
            return self._function(step)
        lock, start = (allocate_lock, _threads.start) if hooks is None else (hooks.lock, hooks.start_thread)
        attempt = _Attempt(self._whose(step), operation.errand(), lock())
        try:
            variables = copy_context()
            start(self._invocation.threads, lambda: variables.run(attempt.run, self._function, step))
            attempt.ended.acquire(timeout=min(self._seconds, TIMEOUT_MAX))
        except BaseException:
            attempt.give_up()
            raise
        if not attempt.give_up():
            return attempt.outcome()
        message = self._too_long(step)
        logger.warning(
            "%s. Its function cannot be stopped: it runs on in its thread, what it gives will be dropped, and the "
            "invocation waits for it at its end. Give the calls that it makes timeouts of their own.",
            message,
        )
        raise StepTimeoutError(message)

    def _whose(self, step: StepContext) -> str:
        return f"attempt {step.attempt} of step {self._operation.name or self._operation.id}"

    def _too_long(self, step: StepContext) -> str:
        return f"{self._whose(step)} took longer than its timeout of {self._seconds:g} s"

    async def _awaited(self, result: Awaitable[Any], step: StepContext, seconds: float) -> Any:
        """Await what the function gave, so long."""
        import asyncio  # noqa: PLC0415  plain handlers do without

        hooks = self._invocation.hooks
        if hooks is not None and not hooks.has_timeouts():
            return await result
        bound = asyncio.timeout(seconds)
        try:
            async with bound:
                return await result
        except TimeoutError as error:
            if not bound.expired():  # the function's own
                raise
            raise StepTimeoutError(self._too_long(step)) from error


class TimedCoroutine(Timed):
    """Around a function that gives a coroutine: it is cancelled when its time is up."""

    __slots__ = ()

    async def __call__(self, step: StepContext) -> Any:
        """Await the function; give what it returns, or raise what it raises, in time."""
        return await self._awaited(self._function(step), step, self._seconds)


class TimedEither(Timed):
    """Around a plain function that may give something to await: for that is what is left of its time."""

    __slots__ = ()

    def __call__(self, step: StepContext) -> Any:
        """Call the function in a thread; give what it returns, or what is awaited in its place."""
        began = steady()
        result = super().__call__(step)
        if not hasattr(type(result), "__await__"):
            return result
        return self._awaited(result, step, self._seconds - (steady() - began))


class _Attempt:
    """What the thread of a function and the one that waits for it share.

    Args:
        whose: Which attempt it is, in words.
        errand: Marks the function's thread.
        ended: A lock that is released when the function has ended in time.

    """

    __slots__ = ("_began", "_errand", "_error", "_first", "_result", "ended", "whose")

    def __init__(self, whose: str, errand: Errand, ended: Any) -> None:
        self.whose = whose
        self.ended = ended
        ended.acquire()
        self._errand = errand
        self._began = steady()
        # Taken by whoever comes first: the function with its outcome, or the one that has waited for it in vain.
        self._first = allocate_lock()
        self._result: Any = None
        self._error: BaseException | None = None

    def run(self, function: Callable[[StepContext], Any], step: StepContext) -> None:
        """Call the function, in the thread that is its own. Never raises."""
        try:
            self._errand.carry()
            self._result = function(step)
        except BaseException as error:  # noqa: BLE001  raised again where the function is waited for
            self._error = error
        if self._first.acquire(blocking=False):
            self.ended.release()
        else:
            self._drop()

    def give_up(self) -> bool:
        """Wait for the function no more, unless it has ended; tell whether that is so."""
        is_given_up = self._first.acquire(blocking=False)
        if is_given_up:
            self._errand.give_up()
        return is_given_up

    def outcome(self) -> Any:
        """Give what the function has returned, or raise what it has raised."""
        error, self._error = self._error, None
        if error is None:
            return self._result
        try:
            raise error
        finally:
            del error  # whose traceback holds this frame

    def _drop(self) -> None:
        """Say what came of the function too late, and forget it."""
        error, took = self._error, steady() - self._began
        log = logger.warning if isinstance(error, Exception) else logger.debug
        came = "returned" if error is None else f"raised {type(error).__name__}"
        log("the function of %s %s after %.1f s, too late: that is dropped", self.whose, came, took, exc_info=error)
        self._result = self._error = None
