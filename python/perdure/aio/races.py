"""What is decided by which of several operations ends first: recorded, so that it is decided alike on every replay.

A decision is a child context whose result is what was decided: who had ended, in order. It takes its position where it
is asked for; what the members take, they take by themselves. On replay the recorded ones win, whoever ends first. Those
that are left behind are cancelled; on replay, what they come to that is not recorded does not even begin.
"""

from __future__ import annotations

import asyncio
from asyncio import CancelledError, Future
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from perdure._core import Ready
from perdure.aio.blocks import limited
from perdure.aio.closing import awaiting
from perdure.aio.job import Awaitable, Course, Job, is_member, left_behind, warn_of_chance
from perdure.aio.tasks import LEFT
from perdure.combinators import Ends
from perdure.concurrency.models import BatchItem, BatchItemStatus, CompletionReason
from perdure.engine.operations.common import wire_error
from perdure.exceptions import InvalidStateError, NonDeterministicExecutionError, ValidationError
from perdure.lambda_service import ErrorObject

if TYPE_CHECKING:
    from collections.abc import Awaitable as Awaited
    from collections.abc import Callable, Generator, Hashable, Sequence
    from types import TracebackType
    from typing import Self

    from perdure.combinators import Members

__all__ = ["AsCompleted", "Select"]

K = TypeVar("K", bound="Hashable")
T = TypeVar("T")


class Then(Awaitable):
    """What is awaited, and what is made of it."""

    __slots__ = ("_after", "_found")

    def __init__(self, found: Any, after: Callable[[Any], Any]) -> None:
        self._steps = None
        self._found = found
        self._after = after

    def __await__(self) -> Generator[Any, Any, Any]:
        """Await it, and give what is made of it."""
        return self._after((yield from self._found.__await__()))

    def give_up(self) -> None:
        """Have cancelled what is awaited."""
        if isinstance(self._found, Awaitable):
            self._found.give_up()

    def run_in(self, task: Future[Any]) -> None:
        """Have carried out what is awaited."""
        if isinstance(self._found, Awaitable):
            self._found.run_in(task)


def are_awaited(given: Sequence[Any], what: str) -> bool:
    """Tell whether members are awaited, rather than functions to be run.

    Raises:
        ValidationError: If some are this and some are that.

    """
    kinds = {hasattr(type(each), "__await__") for each in given}
    if len(kinds) > 1:
        raise ValidationError(f"{what} takes functions, or else operations that were called, not some of each")
    return kinds == {True}


class Member:
    """Something that is awaited, and that is under way.

    Args:
        context: Whose decisions it takes part in.
        given: What it is: an operation, a coroutine, a task or another future.
        is_loser: Whether it is known already that nobody will ask for what comes of it.

    """

    __slots__ = ("_conductor", "_future", "_given")

    def __init__(self, context: Any, given: Any, is_loser: bool = False) -> None:
        self._given = given
        self._conductor = context.conductor
        self._future: Future[Any] | None = None
        if isinstance(given, Future):
            self._future = given
            given.add_done_callback(_note_end)
        elif is_loser and isinstance(given, Job):
            given.leave()  # it has its position already
        elif not is_loser or not isinstance(given, Ready):
            variables = copy_context()
            variables.run(is_member.set, True)
            if is_loser:
                variables.run(left_behind.set, True)
            loop = self._conductor.loop
            self._future = future = loop.create_task(_coroutine(given), context=variables)
            future.add_done_callback(_note_end)

    @property
    def future(self) -> Future[Any]:
        """What is done when it has ended."""
        assert self._future is not None, "a loser's end is not waited for"  # noqa: S101
        return self._future

    @property
    def outcome(self) -> Any:
        """What is awaited for what came of it: what was given, where that can be awaited again."""
        return self._given if isinstance(self._given, (Future, Job, Ready)) else self._future

    def warn(self, cancelled: CancelledError) -> None:
        """Say that nothing records that it is waited for no more, if it is the user's code that has seen to that."""
        if cancelled.args != (LEFT,) and not self._conductor.is_over and not self._conductor.unwinding:
            warn_of_chance(cancelled)

    def leave(self, *, for_good: bool = False) -> None:
        """Wait for it no more.

        Args:
            for_good: Whether it begins in no later invocation either, since what it has lost is recorded. But a task
                of the user's does: whoever makes it knows nothing of that.

        """
        if for_good and not isinstance(self._given, Future):
            _leave_for_good(self._future)
        if isinstance(self._given, Job):
            if for_good:
                _leave_for_good(self._given.task)
            self._given.leave()
        if self._future is not None:
            self._conductor.leave(self._future)


def _leave_for_good(task: Any) -> None:
    """Have no attempt come after those that are cancelled together with a task."""
    if task is not None and not task.done():
        for each in awaiting(task.get_coro()):
            if isinstance(each, Course):
                each.leave()


def _coroutine(given: Any) -> Any:
    if asyncio.iscoroutine(given):
        return given
    return _awaiting(given)


async def _awaiting(given: Any) -> Any:
    return await given


def _note_end(task: Future[Any]) -> None:
    """Look at a task's end, which is not told of as forgotten: whoever wants to know asks the operation."""
    if not task.cancelled():
        task.exception()


async def _first(members: dict[K, Member], done: Callable[[], bool], timer: Any, ended: list[K]) -> bool:
    """Note which members end, in order, until they are done; tell whether the timer came first."""
    pending = dict(members)
    while not done():
        futures = [member.future for member in pending.values()]
        await asyncio.wait([*futures, timer] if timer is not None else futures, return_when=asyncio.FIRST_COMPLETED)
        for key in [key for key, member in pending.items() if member.future.done()]:
            del pending[key]
            ended.append(key)
            if done():
                return False
        if timer is not None and timer.done():
            timer.result()  # its failure is that of the decision
            return True
    return False


async def _settled(member: Member) -> None:
    """Return when a member has ended, however."""
    if not member.future.done():
        try:
            await asyncio.wait([member.future])
        except CancelledError as cancelled:
            member.warn(cancelled)
            raise


# ---- combinators


def tell_decision(inner: Any) -> None:
    """Tell whoever looks into the invocation that chance decides what is recorded of a context."""
    hooks = inner.invocation.hooks
    if hooks is not None:
        hooks.deciding(inner.scope.operation_id)


class Combination(Awaitable):
    """A combinator over what is awaited.

    Args:
        context: Where its decision is recorded.
        members: What was given.
        name: Of the decision.

    """

    __slots__ = ("_context", "_decision", "_members", "_of", "_record")

    def __init__(self, context: Any, members: Members, name: str | None) -> None:
        self._steps = None
        self._of = members
        self._context = context
        record = context.run_in_child_context(self._decide, name)
        self._decision = context.scope.latest_id if isinstance(record, Ready) else None
        ended = record.value["ended"] if isinstance(record, Ready) else None
        self._members = [
            Member(context, each, ended is not None and index not in ended) for index, each in enumerate(members.given)
        ]
        self._record: Any = record

    def __await__(self) -> Generator[Any, Any, Any]:
        """Give what comes of the members."""
        return self._concluded().__await__()

    async def _decide(self, inner: Any) -> dict[str, Any]:
        """Note who ends, until a rule is met or the timeout is over."""
        tell_decision(inner)
        self._decision = inner.scope.operation_id
        members, ended = dict(enumerate(self._members)), list[int]()
        seconds = self._of.timeout
        timer = None if seconds is None else Member(inner, inner.wait(seconds, "timeout"))
        is_late = await _first(members, lambda: self._is_met(ended), timer and timer.future, ended)
        if timer is not None:
            timer.leave()
        return {"ended": ended, "late": is_late}

    def give_up(self) -> None:
        """Leave the decision and all members."""
        if isinstance(self._record, Awaitable):
            self._record.give_up()
        for member in self._members:
            member.leave()

    def run_in(self, task: Future[Any]) -> None:
        """Have the decision carried out."""
        if isinstance(self._record, Awaitable):
            self._record.run_in(task)

    def _is_met(self, ended: list[int]) -> bool:
        failed = sum(_has_failed(self._members[index].future) for index in ended)
        return self._of.combinator.is_met(len(ended) - failed, failed, len(self._members))

    async def _concluded(self) -> Any:
        decided: Any = None
        try:
            decided = await self._record
            ended = decided["ended"]
            if any(index >= len(self._members) for index in ended):
                raise _other_members(ended)
            for index in ended:
                await _settled(self._members[index])
            if len(ended) < len(self._members):
                await asyncio.sleep(0)  # all have taken their first position by then
            _pass_by(self._context, self._decision)
            return self._of.combinator.give(self._ends(ended, decided["late"]))
        finally:
            for member in self._members:
                member.leave(for_good=decided is not None)  # which does nothing to those that have ended

    def _ends(self, ended: list[int], is_late: bool) -> Ends:
        items: list[BatchItem[Any]] = []
        failures: dict[int, BaseException] = {}
        for index, member in enumerate(self._members):
            if index not in ended:
                items.append(BatchItem(index, BatchItemStatus.STARTED))
            elif _has_failed(member.future):
                error = failures[index] = _error_of(member.future)
                items.append(BatchItem(index, BatchItemStatus.FAILED, error=ErrorObject.from_dict(wire_error(error))))
            else:
                items.append(BatchItem(index, BatchItemStatus.SUCCEEDED, member.future.result()))
        is_failure = bool(ended) and ended[0] in failures
        reason = CompletionReason.FAILURE_TOLERANCE_EXCEEDED if is_failure else CompletionReason.ALL_COMPLETED
        return Ends(self._of, items, reason, is_late=is_late, failures=failures)


def _pass_by(context: Any, decision: str | None) -> None:
    """Let it be *now* when a decision was made, and not when what it has left behind may end."""
    if decision is not None:
        context.scope.pass_by(decision)


def _has_failed(future: Future[Any]) -> bool:
    return future.cancelled() or future.exception() is not None


def _error_of(future: Future[Any]) -> BaseException:
    error = CancelledError() if future.cancelled() else future.exception()
    assert error is not None, "it has failed"  # noqa: S101
    return error.with_traceback(None)


def _other_members(decided: Any) -> NonDeterministicExecutionError:
    return NonDeterministicExecutionError(
        f"a decision is recorded by which {decided!r} came first, and no such operation is among those that it is made "
        f"between now: what decides over them must be the same on every replay"
    )


# ---- one after the other


class Select(Generic[K]):
    """Tells which of several operations ends first, again and again; `AsyncDurableContext.select` makes it.

    Each decision is recorded. At the end of the block those that are left are left behind.
    """

    __slots__ = ("_context", "_decision", "_is_over", "_name", "_pending")

    def __init__(self, context: Any, name: str | None = None) -> None:
        self._context = context
        self._name = name
        self._pending: dict[K, Member] = {}
        self._is_over = False
        self._decision: str | None = None

    def add(self, key: K, awaited: Awaited[Any]) -> None:
        """Wait for one more.

        Args:
            key: What it is known by: text or an int.
            awaited: An operation that was called, a coroutine whose first operation is its only one, a task or future.

        Raises:
            ValidationError: If another one has the key that has not come yet, or if it cannot be awaited.

        """
        if self._is_over:
            raise InvalidStateError("the block of this select has ended: nobody would wait for it")
        if not isinstance(key, (str, int)):
            raise ValidationError(f"select knows an operation by text or an int, not by {key!r}")
        if key in self._pending:
            raise ValidationError(f"select waits for one {key!r} already, which has not come")
        if not hasattr(type(awaited), "__await__"):
            raise ValidationError(f"select takes an operation that was called, not {awaited!r:.80}")
        self.note(key, awaited)
        if isinstance(awaited, (Awaitable, Ready)):
            self._context.scope.pass_by(None)  # that it has begun says nothing of what time it is

    def note(self, key: K, awaited: Awaited[Any]) -> None:
        """Wait for one more, which is none that was just called. Used by `AsCompleted`."""
        self._pending[key] = Member(self._context, awaited)

    def task_of(self, key: K) -> Future[Any]:
        """Give what is done when one has ended that has not come yet. Used by `AsCompleted`."""
        return self._pending[key].future

    def __len__(self) -> int:
        """Give how many have not come yet."""
        return len(self._pending)

    async def next(self) -> tuple[K, Awaited[Any]]:
        """Wait for the next that ends.

        Returns:
            Its key, and what is awaited for its result: at once, or raising what it failed of.

        Raises:
            InvalidStateError: If there is none left.

        """
        if not self._pending:
            raise InvalidStateError("there is nothing left to select from")
        key = next(iter(self._pending))
        if len(self._pending) > 1:  # else there is nothing to decide
            key = await self._decided()
            if key not in self._pending:
                raise _other_members(key)
            _pass_by(self._context, self._decision)
        member = self._pending.pop(key)
        try:
            await _settled(member)
        except BaseException:
            self._pending[key] = member
            raise
        return key, member.outcome

    def _decided(self) -> Any:
        found: Any = self._context.run_in_child_context(self._decide, self._name)
        if isinstance(found, Ready):
            self._decision = self._context.scope.latest_id
        return found

    async def _decide(self, inner: Any) -> K:
        tell_decision(inner)
        self._decision = inner.scope.operation_id
        ended: list[K] = []
        await _first(self._pending, lambda: bool(ended), None, ended)
        return ended[0]

    def __aiter__(self) -> Self:
        """Give each as it ends."""
        return self

    async def __anext__(self) -> tuple[K, Awaited[Any]]:
        """Give the next, if there is one left."""
        if not self._pending:
            raise StopAsyncIteration
        return await self.next()

    async def __aenter__(self) -> Self:
        """Begin the block."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave those behind that have not come."""
        self._is_over = True
        await asyncio.sleep(0)  # all have taken their first position by then
        for member in self._pending.values():
            member.leave()
        self._pending.clear()


class AsCompleted(Generic[T]):
    """Gives operations in the order in which they end; `AsyncDurableContext.as_completed` makes it."""

    __slots__ = ("_select",)

    def __init__(self, context: Any, operations: Sequence[Awaited[T]], name: str | None) -> None:
        if not isinstance(operations, (list, tuple)):
            raise ValidationError(
                f"as_completed takes a list of operations, whose order is the same on every replay, not a "
                f"{type(operations).__name__}"
            )
        self._select: Select[int] = Select(context, name)
        is_limited = limited.get()  # what a block cuts off is not waited for
        for index, operation in enumerate(operations):
            self._select.note(index, operation)
            if isinstance(operation, Awaitable) and not is_limited:
                operation.run_in(self._select.task_of(index))

    def __aiter__(self) -> Self:
        """Give each as it ends."""
        return self

    async def __anext__(self) -> Awaited[T]:
        """Give the next."""
        _, done = await self._select.__anext__()
        return done
