"""A time limit for a block, of which it is recorded whether it was over first: ``async with context.timeout(60)``.

It is a child context with a wait in it, whose result says whether the block was cut, after which operation, and which
of its operations were not over then. On replay a block that was cut runs over the operations that it had come to by
then. It is cut where it waits for one that was not over, or comes to another one; where it waits for anything else,
once nothing can move any more; at the latest at its end.
"""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from typing import TYPE_CHECKING, Any

from perdure._core import MAX_WAIT, Ready
from perdure.aio.blocks import MOST_TURNS, Block, Cut, Noting, Replayed, around, limited
from perdure.aio.job import Failed
from perdure.aio.loop import InnerFuture
from perdure.aio.races import Member, tell_decision
from perdure.aio.rest import goes_on
from perdure.exceptions import ValidationError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["Timeout"]

_QUIET = 3
"""After so many turns in which nobody else had one, it is looked what else is under way."""

_PAUSE = 0.01
"""Seconds until it is looked again."""


class Timeout(Block):
    """A time limit for a block; `AsyncDurableContext.timeout` makes it.

    Args:
        context: Where it is recorded.
        seconds: How long the block may take.
        name: Of the child context.

    Raises:
        ValidationError: If the service takes no such wait.

    """

    __slots__ = (
        "_around",
        "_before",
        "_context",
        "_hold",
        "_id",
        "_is_expired",
        "_is_within",
        "_limit",
        "_name",
        "_record",
        "_seconds",
        "_was_limited",
    )

    def __init__(self, context: Any, seconds: int, name: str | None) -> None:
        if not 1 <= seconds <= MAX_WAIT:
            raise ValidationError(f"a timeout is from 1 second to {MAX_WAIT:,} (366 days), not {seconds:,}")
        super().__init__(context.conductor)
        self._context = context
        self._seconds = seconds
        self._name = name
        self._is_expired = False
        self._id: str | None = None
        self._record: Any = None
        self._hold: Cut | None = None
        self._limit: Any = None
        self._around: tuple[Block, ...] = ()
        self._is_within = False
        self._was_limited = False

    @property
    def is_expired(self) -> bool:
        """Whether the time was over before the block had ended."""
        return self._is_expired

    async def __aenter__(self) -> Self:
        """Begin the block."""
        context = self._context
        task = asyncio.current_task()
        assert task is not None, "what is awaited is awaited by a task"  # noqa: S101
        self._task, self._before = task, task.cancelling()
        self._over = InnerFuture(loop=context.conductor.loop)
        self._around = around.get()
        self._is_within = not all(block.is_past() for block in self._around)
        record = self._asked()
        if isinstance(record, (Failed, Cut)):
            await record  # which raises, or a block around this one is cut here
        holding = self._open_in(context.scope.latest_id)
        if holding is not None and isinstance(record, Ready):
            self._hold = holding.held(record)
        elif not isinstance(record, Ready):
            self._record = Member(context, record).future
            self._lens = context.scope = Noting(self, context.scope)
            self.conductor.watching = [*self.conductor.watching, self]
        elif record.value["expired"]:
            self._is_expired = True
            self._id = context.scope.latest_id
            self._replay(record.value)
        self._was_limited = limited.get()
        limited.set(True)
        return self

    def _asked(self) -> Any:
        """Come to the child context, for which the blocks around this one are not to be cut as it begins."""
        self.conductor.begin_made()  # whose operations are theirs
        others = [*self._around, *self.conductor.watching]
        for other in others:
            other.is_deciding = True
        try:
            return self._context.run_in_child_context(self._watch, self._name)
        finally:
            for other in others:
                other.is_deciding = False

    def _open_in(self, operation_id: str) -> Block | None:
        """Give the block around this one, if any, that was cut while this one was not over."""
        for block in reversed(self._around):
            if not block.is_past() and block.was_open(operation_id):
                return block
        return None

    def _replay(self, recorded: dict[str, Any]) -> None:
        """Have the block cut where it was cut."""
        context = self._context
        self.hold(recorded)
        self._lens = context.scope = Replayed(self, context.scope)
        self.conductor.blocks = [*self.conductor.blocks, self]
        around.set((*self._around, self))
        self._set_limit()

    def _set_limit(self) -> None:
        """See to it that a block that waits for the world, or a timer, is cut after as long as it took at first."""
        self._limit = self.loop.later_untold(self._seconds, self._take_limit)

    def _take_limit(self) -> None:
        if self.has_come():
            self.cut()
        else:
            self._set_limit()

    async def _watch(self, inner: Any) -> dict[str, Any]:
        tell_decision(inner)
        self._id = inner.scope.operation_id
        timer = Member(inner, inner.wait(self._seconds))
        # One around it that was cut while nothing was decided of this one is what this one ends by.
        first = [self._over] if self._is_within else [timer.future, self._over]
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        timer.leave()
        if not self._over.done():
            timer.future.result()
            await self._caught_up()
        if self._over.done():
            return {"expired": False, "after": None}
        self.conductor.begin_made()  # what they call at their beginning, they call before the cut on replay, too
        self._is_expired = True
        self.cut()
        return {"expired": True, "after": self._context.scope.latest_id, **self.under_way()}

    async def _caught_up(self) -> None:
        """Return when the block has come again to what it had come to in earlier invocations, or nothing else goes on.

        It may have gone further than this timer's end, which was not recorded as a cut before the sandbox died.
        """
        conductor, scope, quiet = self._context.conductor, self._context.scope, 0
        for _ in range(MOST_TURNS):
            if self._over.done() or not scope.expects_next():
                return
            before = conductor.activity
            await asyncio.sleep(0)
            quiet = quiet + 1 if conductor.activity - before <= 1 else 0  # this task's own turn
            if quiet > _QUIET:
                if not goes_on(conductor):
                    return
                quiet = 0
                await asyncio.sleep(_PAUSE)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the block.

        Raises:
            TimeoutError: If the time was over first.

        """
        limited.set(self._was_limited)
        self.conductor.unwinding -= self._is_cut
        self._take_back()
        cuts = self.forget()
        if error is not None and not isinstance(error, (Exception, CancelledError)):
            return  # the invocation ends
        if not self._over.done():
            self._over.set_result(None)
        self.release()
        for cut in cuts:
            cut.go_on()
        is_alone = not self._is_cut or self._task.uncancel() <= self._before
        if self._hold is not None and error is None:
            await self._hold  # it had come to its end, and one around it was cut before that was recorded
        if self._record is not None:
            await self._recorded(is_alone)
        if self._is_expired and self._id is not None:
            self._context.scope.pass_by(self._id)  # what the block has left behind may end at any time
        if self._is_expired and is_alone and (error is None or (self._is_cut and isinstance(error, CancelledError))):
            whose = f"the block of timeout {self._name!r}" if self._name else "the block"
            raise TimeoutError(f"{whose} took longer than {self._seconds:,} s") from error

    def _take_back(self) -> None:
        """Have what the block calls looked at no more."""
        conductor = self.conductor
        if self._lens is not None:
            self._lens.take_out(self._context)
        if self._limit is None:
            conductor.watching = [block for block in conductor.watching if block is not self]
        else:
            self._limit.cancel()
            conductor.blocks = [block for block in conductor.blocks if block is not self]
            around.set(self._around)

    async def _recorded(self, is_alone: bool) -> None:
        """Wait until it is recorded how the block has ended."""
        try:
            await asyncio.wait([self._record])
        except CancelledError:
            if not (self._is_cut and is_alone):
                raise
            await asyncio.wait([self._record])  # what was left of the cancellation of a block that was at its end
        self._record.result()
