"""Operations that wait for the service: parked until there is news of them, or until they are due."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.aio.calls import Calls
from perdure.aio.endings import guarded
from perdure.aio.loop import InnerFuture

if TYPE_CHECKING:
    from perdure._core import Operation, Scope

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds after which the service is asked again whose clock is behind: at first, and at most."""


def own(scope: Any) -> Any:
    """Give a context's scope itself, where it is looked at while a block runs (`perdure.aio.blocks`)."""
    return getattr(scope, "own", scope)


class Parked(InnerFuture):
    """An operation that cannot go on before a moment, or before there is news; it is done when it may be able to."""

    __slots__ = ("again_at", "operation", "pause", "scope")

    def __init__(self, operation: Operation, pause: float, scope: Scope | None, loop: Any) -> None:
        super().__init__(loop=loop)
        self.operation = operation
        self.pause = pause
        self.scope = scope
        # When it is looked at again, if the moment is known: then, or later if there was no news by then.
        self.again_at = operation.until

    @property
    def until(self) -> int | None:
        """The moment, if that is known."""
        return self.operation.until

    def is_wanted(self) -> bool:
        """Whether it is in no context that has ended, or was left behind: then nothing comes of it any more."""
        return self.scope is None or self.scope.is_alive()


class Parking(Calls):
    """The operations of one invocation that are parked: what leads its tasks is built on this, too."""

    parked: dict[Parked, None]
    _heard = 0
    _alarm: Any = None
    _alarm_at = 0.0

    def park(self, operation: Operation, pause: float, scope: Scope | None) -> Parked:
        """Note an operation that cannot go on.

        Args:
            operation: Which.
            pause: Until it is asked about again, should the service's clock be behind; 0 at first.
            scope: Of its context, if that matters.

        Returns:
            What is done when it may be able to.

        """
        parked = Parked(operation, pause or _FIRST_PAUSE, scope, self.loop)
        if parked.again_at is not None and pause > _FIRST_PAUSE:
            parked.again_at = round((self.invocation.clock.time() + pause) * 1000)
        self.parked[parked] = None
        self.stir()
        return parked

    def unpark(self, parked: Parked) -> None:
        """Note that somebody waits for it no more."""
        self.parked.pop(parked, None)

    def told(self) -> bool:
        """Let go on what has changed by what the service has told; tell whether anything does."""
        told = len(self.checkpoints.told)
        if told == self._heard or not self.parked:
            self._heard = told
            return False
        self._heard = told
        changed = [parked for parked in self.parked if not parked.operation.is_pending()]
        for parked in changed:
            self.wake(parked)
        return bool(changed)

    def wake(self, parked: Parked) -> None:
        """Have go on what was parked."""
        self.parked.pop(parked, None)
        if not parked.done():
            parked.set_result(None)

    def waits_for_time(self) -> None:
        """Have what is parked go on when it is due, since something else is at work."""
        due = min((parked.again_at for parked in self.parked if parked.again_at is not None), default=None)
        if due is None or self.is_over:
            return
        timeout = self.invocation.clock.timeout(due / 1000)
        if timeout is None:
            return  # this clock stands while something is at work
        if self._alarm is not None:
            if self._alarm_at == due:
                return
            self._alarm.cancel()
        self._alarm_at = due
        self._alarm = self.loop.later_untold(timeout, self._is_due, due)

    @guarded
    def _is_due(self, due: int) -> None:
        self._alarm = None
        if self.is_over:
            return
        for parked in self.parked:
            if parked.again_at is not None and parked.again_at <= due:
                parked.pause = min(parked.pause * 2, _LONGEST_PAUSE)
                parked.again_at = due + round(parked.pause * 1000)
        self.news(due / 1000)

    def due_first(self) -> int | None:
        """Give the moment at which the first is due, if any is: of those that somebody wants, if there are any."""
        wanted = [parked for parked in self.parked if parked.is_wanted()] or self.parked
        return min((parked.until for parked in wanted if parked.until is not None), default=None)

    def cancel_alarm(self) -> None:
        """Let nobody wait for what is due."""
        if self._alarm is not None:
            self._alarm.cancel()
