"""The operations of a block with a time limit: noted while it runs at first, and held back where it is to be cut again.

When a block is cut it is recorded which operation it had come to last, which of its operations were not over, and of
which callbacks it had asked for an answer that had not come. On replay these may be over. The block's code must not see
that: it would go on where it was cut, and what it cleans up would come too late, or not at all.
"""

from __future__ import annotations

from asyncio import CancelledError, current_task
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from perdure._core import FAILED, PENDING, RECORDED, RUN, START, Operation
from perdure.aio.job import LEFT_BEHIND, Awaitable, Held, Job
from perdure.aio.loop import InnerFuture
from perdure.aio.tasks import LEFT
from perdure.exceptions import InvalidStateError

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Callable, Generator

    from perdure._core import Scope
    from perdure.aio.conductor import Conductor

MOST_TURNS = 1_000
"""How many turns of the loop a block that is to be cut has to come to the operations that it had come to."""

_SHORT = 12
"""Characters of an operation's id that are recorded: they tell those of one execution apart."""

limited: ContextVar[bool] = ContextVar("limited", default=False)
"""Whether code is in a block with a time limit."""

around: ContextVar[tuple[Block, ...]] = ContextVar("around", default=())
"""The blocks that are to be cut, and that the code which runs is in; the innermost last."""

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


def short(operation_id: str) -> str:
    """Give what is recorded of an operation's id."""
    return operation_id[:_SHORT]


class Block:
    """A block with a time limit: what it is under way with, and where it is cut.

    Args:
        conductor: Of its invocation.

    """

    __slots__ = (
        "_after",
        "_came",
        "_cuts",
        "_is_cut",
        "_latest",
        "_lens",
        "_never_came",
        "_over",
        "_task",
        "_under_way",
        "_waiting",
        "_was_open",
        "_was_unanswered",
        "conductor",
        "given",
        "is_deciding",
    )
    _task: Task[Any]
    _over: InnerFuture

    def __init__(self, conductor: Conductor) -> None:
        self.conductor = conductor
        self._lens: Lens | None = None
        self._is_cut = False
        self.is_deciding = False
        """Whether what is come to is what a block inside of this one is recorded as: it begins without it."""
        # While nothing is decided: what was come to last, and the operations that are under way, by what is recorded.
        self._latest: str | None = None
        self._under_way: dict[Job, tuple[str, bool]] = {}
        # Where it is cut: what was not over then, what is awaited instead, and who waits for the end of the block.
        self._after: str | None = None
        self._was_open: frozenset[str] = frozenset()
        self._was_unanswered: frozenset[str] = frozenset()
        self._cuts: list[Cut] = []
        self._waiting: list[InnerFuture] = []
        # The tasks that have come to operations of the block; and those that had come to none when it was cut.
        self._came: set[Any] = set()
        self._never_came: set[Any] = set()
        self.given: tuple[Any, ...] | None = None
        """What an operation that is called again gives, since it has come to it already."""

    # ---- while nothing is decided

    def come_to(self, operation_id: str | None) -> None:
        """Hear which operation the block has come to; None for one that is over."""
        self._latest = operation_id

    def note(self, job: Job) -> None:
        """Hear of an operation with something to do: that which the block has come to last, if it is one of it."""
        if self._latest is not None:
            self._keep(job, self._latest, is_answer=False)
            self._latest = None

    def note_answer(self, job: Job, operation_id: str) -> None:
        """Hear that the answer to a callback is asked for."""
        self._keep(job, operation_id, is_answer=True)

    def _keep(self, job: Job, operation_id: str, *, is_answer: bool) -> None:
        kept = self._under_way
        kept[job] = short(operation_id), is_answer
        if len(kept) & 255 == 0:
            self._under_way = {job: what for job, what in kept.items() if not job.course.is_done}

    def under_way(self) -> dict[str, list[str]]:
        """Give what is recorded of the operations that are not over."""
        kept = [what for job, what in self._under_way.items() if not job.course.is_done]
        found = {
            "open": sorted({key for key, is_answer in kept if not is_answer}),
            "unanswered": sorted({key for key, is_answer in kept if is_answer}),
        }
        return {kind: keys for kind, keys in found.items() if keys}

    # ---- where it is cut

    def hold(self, recorded: dict[str, Any]) -> None:
        """Hold back what was not over when the block was cut."""
        self._after = recorded["after"]
        self._was_open = frozenset(recorded.get("open", ()))
        self._was_unanswered = frozenset(recorded.get("unanswered", ()))

    def cut(self) -> None:
        """Cancel the block."""
        if not self._is_cut:
            self._is_cut = True
            self._note_new()
            self.conductor.unwinding += 1
            self._task.cancel(LEFT)

    def _note_new(self) -> None:
        tasks = self.conductor.tasks  # (of others what is held in a branch may be called)
        self._never_came |= {task for task in tasks if self in tasks.context_of(task).get(around, ())} - self._came

    def has_left(self, task: Task[Any] | None) -> bool:
        """Whether what a task comes to is no more to be cut: the block is over, or cleans up.

        Raises:
            OfBlock: If it was not come to at first: the task has not heard of the cut yet.

        """
        if not self.is_past():
            self._came.add(task)
            return False
        if not self._over.done() and self._goes_on(task):
            raise OfBlock(self)
        return True

    def _goes_on(self, task: Any) -> bool:
        """Whether a task goes beyond the cut: the block's is about to hear of it, another had come to nothing."""
        if task is not self._task:
            return task in self._never_came and not task.cancelling()
        is_to_hear: bool = getattr(task, "_must_cancel", False)
        if is_to_hear:
            self._note_new()
        return is_to_hear

    def has_come(self) -> bool:
        """Whether the block has come to all that it had come to when it was cut."""
        assert self._lens is not None, "it is where it is cut"  # noqa: S101
        return self._lens.real.latest_id == self._after  # type: ignore[no-any-return]

    def was_open(self, operation_id: str) -> bool:
        """Whether an operation was not over when the block was cut."""
        return short(operation_id) in self._was_open

    def was_unanswered(self, operation_id: str) -> bool:
        """Whether the answer to a callback is asked for that the block was waiting for when it was cut."""
        return not self.is_past() and short(operation_id) in self._was_unanswered

    def held(self, operation: Any) -> Cut:
        """Give what is awaited instead of an operation."""
        if isinstance(operation, Job):
            self.conductor.unborn(operation)
        cut = Cut(self, operation)
        self._cuts.append(cut)
        return cut

    def forget(self) -> list[Cut]:
        """Forget what the block was under way with; give what was awaited instead of operations."""
        cuts, self._cuts, self._under_way = self._cuts, [], {}
        self._came, self._never_came = set(), set()
        return cuts

    def is_past(self) -> bool:
        """Whether the block is over, or cleans up."""
        return self._is_cut or self._over.done()

    def is_left_by(self, task: Task[Any] | None) -> bool:
        """Whether a task is in the block no more, or only to clean up."""
        return self._over.done() or (self._is_cut and task is self._task)

    def until_over(self) -> Generator[Any, Any, None]:
        """Return when the block is over, or nothing else can move."""
        if not self._over.done():
            waiting = InnerFuture(loop=self.loop)
            self._waiting.append(waiting)
            yield from waiting

    def release(self) -> bool:
        """Let those go on who wait for the block to be over; tell whether there were any."""
        waiting, self._waiting = self._waiting, []
        return sum(map(_wake, waiting)) > 0

    @property
    def loop(self) -> Any:
        """Of its invocation."""
        return self.conductor.loop

    @property
    def task(self) -> Task[Any]:
        """Whose block it is."""
        return self._task

    @property
    def is_cut(self) -> bool:
        """Whether the block is being unwound."""
        return self._is_cut


def _wake(waiting: InnerFuture) -> bool:
    """Have whoever waits go on; tell whether somebody does."""
    if waiting.done():
        return False
    waiting.set_result(None)
    return True


class Lens:
    """The scope of a context while a block of it runs: what comes to operations is looked at.

    So is that of a virtual context inside of it, whose operations are the block's.

    Args:
        block: The block.
        real: The scope, or another lens.
        is_virtual: Whether it is that of a virtual context.

    """

    __slots__ = ("_block", "_is_virtual", "real")

    def __init__(self, block: Block, real: Any, *, is_virtual: bool = False) -> None:
        object.__setattr__(self, "_block", block)
        object.__setattr__(self, "real", real)
        object.__setattr__(self, "_is_virtual", is_virtual)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.real, name)
        return self._come(name, found) if name in _OPERATIONS else found

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.real, name, value)

    @property
    def own(self) -> Scope:
        """The scope itself."""
        return getattr(self.real, "own", self.real)  # type: ignore[no-any-return]

    def take_out(self, context: Any) -> None:
        """Have a context do without it; others may have been put before it, and stay."""
        before: Any = None
        lens = context.scope
        while isinstance(lens, Lens) and lens is not self:
            before, lens = lens, lens.real
        if lens is not self:
            return
        if before is None:
            context.scope = self.real
        else:
            object.__setattr__(before, "real", self.real)

    def _come(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        raise NotImplementedError


class Noting(Lens):
    """Of a block that runs for the first time, or again while nothing is decided of it."""

    __slots__ = ()

    def _come(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def come(*given: Any) -> Any:
            found = method(*given)
            if name == "open_virtual":
                return Noting(self._block, found, is_virtual=True)
            block = self._block
            is_over = type(found) is not Operation or found.decision in (RECORDED, FAILED)
            block.come_to(None if is_over else found.id)
            return found

        return come


class Replayed(Lens):
    """Of a block that is to be cut where it was cut: it comes to operations up to there."""

    __slots__ = ()

    def _come(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        block = self._block

        def come(*given: Any) -> Any:
            if block not in around.get() or block.has_left(current_task()):  # other tasks use the context, too
                return method(*given)
            if block.given is not None:
                (found,), block.given = block.given, None
                return found
            if self._is_virtual:
                if not self.real.expects_next():
                    raise OfBlock(block)
            elif block.has_come():
                block.cut()
                raise OfBlock(block)
            try:
                found = method(*given)
            except OfBlock as other:  # it is not over for a block around this one, and this one was cut first
                raise OfBlock(block, other.found) from None
            if name == "open_virtual":
                return Replayed(block, found, is_virtual=True)
            if not block.is_deciding and (block.was_open(self.real.latest_id) or _is_open(name, found)):
                raise OfBlock(block, (found,))
            return found

        return come


def _is_open(name: str, found: Any) -> bool:
    return type(found) is Operation and found.decision in _OPERATIONS[name] and not _is_rebuilt(found)


def _is_rebuilt(operation: Operation) -> bool:
    """Whether an operation is over, and its code runs again for its large result."""
    return operation.decision == RUN and not operation.write


class OfBlock(Held):
    """An operation is one that a block was cut at.

    Args:
        block: The block.
        found: What there is of it, in a tuple; empty if the block had not come to it.

    """

    def __init__(self, block: Block, found: tuple[Any, ...] = ()) -> None:
        super().__init__(self._made)
        self._block = block
        self.found = found

    def _made(self, call: Callable[[], Any], _scope: Any) -> Cut:
        """Give what is awaited instead of the operation, which is made all the same."""
        block = self._block
        if not self.found:
            return Cut(block, None)
        block.given = self.found
        try:
            return block.held(call())
        finally:
            block.given = None


def ask(operation_id: str, answer: Callable[[], Any]) -> Any:
    """Ask for the answer to a callback, which may have come only after the block in which it is asked for was cut."""
    for block in reversed(around.get()):
        if block.was_unanswered(operation_id):
            return block.held(answer())
    return answer()


class Cut(Awaitable):
    """An operation of a block that was not over when the block was cut: who awaits it sees the block cut.

    Args:
        block: The block.
        operation: To be awaited once the block is over; None if there is none.

    """

    __slots__ = ("_block", "_is_asked", "_is_left", "operation")

    def __init__(self, block: Block, operation: Any) -> None:
        self._steps = None
        self._block = block
        self.operation = operation
        self._is_asked = False
        self._is_left = False

    def __await__(self) -> Generator[Any, Any, Any]:
        """Have the block cut, once it has come to all that it had come to; whoever it does not end goes on after it."""
        block, self._is_asked = self._block, True
        if not block.is_left_by(current_task()):
            try:
                yield from self._held()
            except CancelledError:
                self._is_left = True
                raise
        elif self._is_left:
            raise InvalidStateError(LEFT_BEHIND)
        while self.operation is None:
            yield from InnerFuture(loop=block.loop)
        return (yield from self.operation.__await__())

    def _held(self) -> Generator[Any, Any, None]:
        block = self._block
        for _ in range(MOST_TURNS):
            if block.is_past() or block.has_come():
                break
            yield
        block.cut()
        while current_task() is block.task:
            yield from InnerFuture(loop=block.loop)
        yield from block.until_over()

    def give_up(self) -> None:
        """Hear that nobody will await it where it was to be awaited."""
        self._is_left = True

    def go_on(self) -> None:
        """Let the operation run by itself, if nobody has awaited it: the block is over."""
        if isinstance(self.operation, Job) and not (self._is_asked or self._is_left):
            self._block.conductor.born(self.operation)
