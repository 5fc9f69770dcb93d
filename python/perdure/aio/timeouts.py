"""A time limit for a block, of which it is recorded whether it was over first: ``async with context.timeout(60)``.

It is a child context with a wait in it, whose result says whether the block was cut, and after which operation. On
replay a block that was cut runs over the operations that it had come to by then. It is cut where it waits for one of
them that is not over, or comes to another one; where it waits for anything else, once nothing can move any more; at the
latest at its end.
"""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from typing import TYPE_CHECKING, Any

from perdure._core import MAX_WAIT, PENDING, RUN, START, Operation, Ready
from perdure.aio.job import Awaitable, Failed, Held
from perdure.aio.loop import InnerFuture
from perdure.aio.races import Member, tell_decision
from perdure.aio.rest import goes_on
from perdure.aio.tasks import LEFT
from perdure.exceptions import ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType
    from typing import Self

    from perdure._core import Scope

__all__ = ["Timeout"]

_MOST_TURNS = 1_000
"""How many turns of the loop a block that is to be cut has to come to the operations that it had come to."""

_QUIET = 3
"""After so many turns in which nobody else had one, it is looked what else is under way."""

_PAUSE = 0.01
"""Seconds until it is looked again."""


class Timeout:
    """A time limit for a block; `AsyncDurableContext.timeout` makes it.

    Args:
        context: Where it is recorded.
        seconds: How long the block may take.
        name: Of the child context.

    Raises:
        ValidationError: If the service takes no such wait.

    """

    __slots__ = (
        "_after",
        "_before",
        "_context",
        "_id",
        "_is_cut",
        "_is_expired",
        "_limit",
        "_name",
        "_over",
        "_proxy",
        "_record",
        "_seconds",
        "_task",
    )

    def __init__(self, context: Any, seconds: int, name: str | None) -> None:
        if not 1 <= seconds <= MAX_WAIT:
            raise ValidationError(f"a timeout is from 1 second to {MAX_WAIT:,} (366 days), not {seconds:,}")
        self._context = context
        self._seconds = seconds
        self._name = name
        self._is_cut = False
        self._is_expired = False
        self._after: str | None = None
        self._id: str | None = None
        self._record: Any = None
        self._proxy: _Replayed | None = None
        self._limit: Any = None

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
        record = context.run_in_child_context(self._watch, self._name)
        if isinstance(record, Failed):
            await record
        if isinstance(record, Ready):
            if record.value["expired"]:
                self._is_expired = True
                self._id = context.scope.latest_id
                self._after = record.value["after"]
                context.scope = self._proxy = _Replayed(self, context.scope)
                context.conductor.blocks = [*context.conductor.blocks, self]
                self._set_limit()
        else:
            self._record = Member(context, record).future
        return self

    def _set_limit(self) -> None:
        """See to it that a block that waits for the world, or a timer, is cut after as long as it took at first."""
        self._limit = self._context.conductor.loop.later_untold(self._seconds, self._take_limit)

    def _take_limit(self) -> None:
        assert self._proxy is not None, "it is a replayed block's"  # noqa: S101
        if self.has_come(self._proxy.real):
            self.cut()
        else:
            self._set_limit()

    async def _watch(self, inner: Any) -> dict[str, Any]:
        tell_decision(inner)
        self._id = inner.scope.operation_id
        timer = Member(inner, inner.wait(self._seconds))
        await asyncio.wait([timer.future, self._over], return_when=asyncio.FIRST_COMPLETED)
        timer.leave()
        if not self._over.done():
            timer.future.result()
            await self._caught_up()
        if self._over.done():
            return {"expired": False, "after": None}
        self._is_expired = True
        self.cut()
        return {"expired": True, "after": self._context.scope.latest_id}

    async def _caught_up(self) -> None:
        """Return when the block has come again to what it had come to in earlier invocations, or nothing else goes on.

        It may have gone further than this timer's end, which was not recorded as a cut before the sandbox died.
        """
        conductor, scope, quiet = self._context.conductor, self._context.scope, 0
        for _ in range(_MOST_TURNS):
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

    def cut(self) -> None:
        """Cancel the block."""
        if not self._is_cut:
            self._is_cut = True
            self._context.conductor.unwinding += 1
            self._task.cancel(LEFT)

    def has_come(self, scope: Scope) -> bool:
        """Whether the block has come to all that it had come to when it was cut."""
        return scope.latest_id == self._after

    @property
    def task(self) -> asyncio.Task[Any]:
        """Whose block it is."""
        return self._task

    @property
    def is_cut(self) -> bool:
        """Whether the block is being unwound."""
        return self._is_cut

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the block.

        Raises:
            TimeoutError: If the time was over first.

        """
        conductor = self._context.conductor
        conductor.unwinding -= self._is_cut
        if self._proxy is not None:
            self._limit.cancel()
            conductor.blocks = [block for block in conductor.blocks if block is not self]
            if self._context.scope is self._proxy:
                self._context.scope = self._proxy.real
        if error is not None and not isinstance(error, (Exception, CancelledError)):
            return  # the invocation ends
        if not self._is_expired:
            self._over.set_result(None)
        is_alone = not self._is_cut or self._task.uncancel() <= self._before
        if self._record is not None:
            await self._recorded(is_alone)
        if self._is_expired and self._id is not None:
            self._context.scope.pass_by(self._id)  # what the block has left behind may end at any time
        if self._is_expired and is_alone and (error is None or (self._is_cut and isinstance(error, CancelledError))):
            whose = f"the block of timeout {self._name!r}" if self._name else "the block"
            raise TimeoutError(f"{whose} took longer than {self._seconds:,} s") from error

    async def _recorded(self, is_alone: bool) -> None:
        """Wait until it is recorded how the block has ended."""
        try:
            await asyncio.wait([self._record])
        except CancelledError:
            if not (self._is_cut and is_alone):
                raise
            await asyncio.wait([self._record])  # what was left of the cancellation of a block that was at its end
        self._record.result()


class _OfBlock(Held):
    """An operation is one that a block was cut at."""


class _Replayed:
    """The scope of a block that is to be cut where it was cut: it comes to operations up to there.

    So does that of a virtual context inside of it, whose operations are the block's.
    """

    __slots__ = ("_block", "_timeout", "real")

    def __init__(self, timeout: Timeout, real: Any, block: Any = None) -> None:
        object.__setattr__(self, "_timeout", timeout)
        object.__setattr__(self, "real", real)
        object.__setattr__(self, "_block", real if block is None else block)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.real, name)
        return _upto(self._timeout, self._block, self.real, found, name) if name in _OPERATIONS else found

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.real, name, value)


_OPERATIONS = {
    "step": (RUN, START, PENDING),
    "condition": (RUN, START, PENDING),
    "wait": (START, PENDING),
    "callback": (START,),
    "invoke": (RUN, START, PENDING),
    "child": (RUN,),
    "batch": (RUN,),
    "open_virtual": (),
}
"""What comes to operations, and what is decided of them while they are not over."""


def _upto(timeout: Timeout, block: Scope, scope: Scope, method: Callable[..., Any], name: str) -> Callable[..., Any]:
    def cut() -> _OfBlock:
        return _OfBlock(lambda _call: _Cut(timeout, block))

    def come(*given: Any) -> Any:
        if timeout.is_cut:
            return method(*given)  # the block cleans up
        if scope is not block:
            if not scope.expects_next():
                raise cut()
        elif timeout.has_come(scope):
            timeout.cut()
            raise cut()
        try:
            found = method(*given)
        except _OfBlock:  # it is not over for a block around this one, and this one was cut first
            raise cut() from None
        if name == "open_virtual":
            return _Replayed(timeout, found, block)
        if type(found) is Operation and found.decision in _OPERATIONS[name] and not _is_rebuilt(found):
            raise cut()
        return found

    return come


def _is_rebuilt(operation: Operation) -> bool:
    """Whether an operation is over, and its code runs again for its large result."""
    return operation.decision == RUN and not operation.write


class _Cut(Awaitable):
    """An operation of a block that was not over when the block was cut: who awaits it sees the block cut."""

    __slots__ = ("_scope", "_timeout")

    def __init__(self, timeout: Timeout, scope: Any) -> None:
        self._steps = None
        self._timeout = timeout
        self._scope = scope

    def __await__(self) -> Generator[Any, Any, Any]:
        """Have the block cut, once it has come to all that it had come to."""
        for _ in range(_MOST_TURNS):
            if self._timeout.has_come(self._scope):
                break
            yield
        self._timeout.cut()
        while True:
            yield from InnerFuture(loop=asyncio.get_running_loop())
