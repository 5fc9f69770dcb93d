"""The branches of map and parallel, each a task.

The core schedules (`_core.Batch`) and says who is admitted. A branch that waits stays where it is, with its code: the
schedule hears of it only when that makes a difference, at a moment at which nothing else goes on
(`BranchTasks.settle`).

Branches that leave no record of their own (FLAT) are tried when their batch goes on with a record: each runs over what
is recorded, up to its end or to its first new operation. What is new is held: it takes its position, and begins, when
all have been tried and the policy has judged.
"""

from __future__ import annotations

from asyncio import CancelledError, Task
from collections import deque
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from perdure._core import PASS, RUN_BRANCH, STARTED, WAIT, Operation
from perdure.aio.job import Course, Drive, Held, Job
from perdure.aio.loop import InnerFuture
from perdure.aio.parking import own
from perdure.engine.flows import itself
from perdure.engine.operations.batch import Branches
from perdure.exceptions import OrphanedChildException

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from perdure._core import Scope
    from perdure.aio.conductor import Conductor
    from perdure.engine.flows import Flow


class _Bell:
    """Has a batch look again: a lock, as far as the core can tell, which knows nothing of whose it is.

    The core keeps it, and is kept by the batch: were it the batch itself, nothing would be let go.
    """

    __slots__ = ("caller",)

    def __init__(self) -> None:
        self.caller: Any = None

    def locked(self) -> bool:
        """Whether the batch waits for a report."""
        return self.caller is not None

    def release(self) -> None:
        """Have the batch look again."""
        caller, self.caller = self.caller, None
        if caller is not None and not caller.done():
            caller.set_result(None)


class BranchTasks(Branches):
    """The branches of one batch at work in tasks."""

    __slots__ = ("_at_work", "_bell", "_conductor", "_held", "_is_stopped", "_late", "_settled")

    def __init__(self, *given: Any) -> None:
        self._conductor: Conductor = given[0].conductor
        self._bell = _Bell()
        self._is_stopped = False
        # Branches that have a task; and what those that are held have come to, in order.
        self._at_work: dict[int, Any] = {}
        self._held: dict[int, deque[Callable[[], None]]] = {}
        # Branches that the schedule takes for suspended, while they stay where they are; and the reports of those of
        # them that have ended all the same.
        self._settled: set[int] = set()
        self._late: list[Callable[[], None]] = []
        super().__init__(*given)

    def scope_of(self, context: Any) -> Scope:
        """Give the scope of a context, as the core knows it."""
        scope: Scope = own(context.scope)
        return scope

    def wakeups(self) -> tuple[Any, Any]:
        """Give what is released with every report."""
        return self._bell, self._bell

    async def drive(self, is_resumed: bool) -> Any:
        """Run the batch until it is done."""
        conductor, next_ = self._conductor, self.schedule.next
        conductor.batches.append(self)
        try:
            self.open(is_resumed)
            while True:
                self._keep()
                code, index, _moment = next_(self.now())
                if code == RUN_BRANCH:
                    self._begin(index)
                    self._let_pass()
                elif code == WAIT:
                    self._let_pass()
                    self._bell.caller = InnerFuture(loop=conductor.loop)
                    await self._bell.caller
                else:
                    return self.conclude(code)
        except BaseException:
            self._is_stopped = True
            self.schedule.stop(False)
            raise
        finally:
            conductor.batches.remove(self)
            if not conductor.is_over:
                for task in list(self._at_work.values()):  # what a batch leaves behind that is over
                    if task is not None:
                        task.cancel()

    # ---- one branch

    def _begin(self, index: int) -> None:
        conductor = self._conductor
        self._at_work[index] = None
        try:
            is_over, found = self._come(index)
        except BaseException as error:  # noqa: BLE001  reported
            self.ended(index, None, error)
            return
        if is_over:
            self.ended(index, found, None)
        else:
            branch = _Branch(conductor, found, self, index)
            # In its turn, also where tasks begin as they are made: all are counted before any of them goes on.
            create = partial(Task, loop=conductor.loop)
            self._at_work[index] = conductor.note_task(create, branch, {"context": self.variables.copy()})

    def _come(self, index: int) -> tuple[bool, Any]:
        """Come to a branch: tell whether it is over, and give what is recorded of it, or its flow."""
        if self.plan.options.flat:
            return False, self.flat(index, partial(self._gate, index) if self.is_tried else None)
        found = self.schedule.come(index)
        return (False, self.nested(index, found)) if type(found) is Operation else (True, found)

    def branch(self, index: int) -> Any:
        """Run a branch again, for the result of a batch that is over."""
        is_over, found = self._come(index)
        if is_over:
            return found
        return _in_task(self._conductor, Course(self._conductor, found), self.variables.copy())

    def ended(self, index: int, result: Any, error: BaseException | None) -> None:
        """Hear of the end of a branch."""
        self._at_work.pop(index, None)
        self._held.pop(index, None)
        if self._conductor.is_over or self._is_stopped:
            return
        report = partial(self.returned, index, result) if error is None else partial(self.raised, index, error)
        if index in self._settled:  # to be counted once all others are
            self._late.append(report)
            self._bell.release()
        else:
            report()

    def _keep(self) -> None:
        """Have the schedule know that branches it took for suspended are at work, now that all are counted."""
        if not self._settled or self.schedule.is_settling or self.is_aborted:
            return
        settled, self._settled = self._settled, set()
        for index in sorted(settled):
            self.schedule.keep(index)
        late, self._late = self._late, []
        for report in late:
            report()

    def report(self, change: Callable[[], int]) -> int:
        """Change the schedule."""
        calls = self.answered(change)
        if calls & STARTED:
            self._conductor.checkpoints.watch()
        return calls

    # ---- what is held

    def _gate(self, index: int) -> bool:
        if not self.schedule.is_settling:
            return True
        raise Held(partial(self._later, index))

    def _later(self, index: int, call: Callable[[], Any], scope: Scope) -> Job:
        """Give what is awaited in the place of an operation that is held."""
        passed = InnerFuture(loop=self._conductor.loop)
        job = Job(Course(self._conductor, _once_passed(passed), scope))
        job.note_place()
        variables = copy_context()

        def let_pass() -> None:
            if not passed.done():
                found = variables.run(call)  # as the code that called it
                if isinstance(found, Job):
                    found.is_called_as(job)
                passed.set_result(found)

        self._held.setdefault(index, deque()).append(let_pass)
        self._conductor.born(job)
        return job

    def _let_pass(self) -> None:
        """Have go on what was held, if all are counted: in the order in which it was called."""
        for index in list(self._held):
            if not self.schedule.is_settling and self.schedule.held(index) == PASS:
                for call in self._held.pop(index):
                    call()

    def settle(self) -> bool:
        """Have the schedule hear of branches at rest, where it waits for that; tell whether anything has changed."""
        if self.schedule.is_settling:
            left = [index for index in self._at_work if index not in self._settled]
            for index in left:
                if index in self._held:
                    self.report(partial(self.schedule.hold, index))
                else:
                    self._settled.add(index)
                    self.suspended(index, self.now())
        elif self.is_aborted:
            left = [index for index in self._at_work if index not in self._settled]
            for index in left:
                self._settled.add(index)
                self.suspended(index, None)
        else:
            return False
        self._bell.release()
        return bool(left)


def _told(error: BaseException) -> BaseException:
    """Give what a branch is to be judged by: a group of tasks that was left behind raises that in a group."""
    if isinstance(error, BaseExceptionGroup) and not isinstance(error, Exception):
        orphaned, others = error.split(OrphanedChildException)
        if orphaned is not None and (others is None or isinstance(others, Exception)):
            first: BaseException = orphaned
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            return first
    return error


def _once_passed(passed: Any) -> Generator[Any, Any, Any]:
    found = yield itself, (passed,)
    return (yield itself, (found,))


_OF_TASKS = (CancelledError, KeyboardInterrupt, SystemExit)
"""What a task ends by, too: nobody else raises it, or not at once."""


class _Branch(Drive):
    """A branch at work."""

    __slots__ = ("_batch", "_index")

    def __init__(self, conductor: Conductor, flow: Flow[Any], batch: BranchTasks, index: int) -> None:  # noqa: ARG002
        self._batch = batch
        self._index = index

    def ended(self, result: Any, error: BaseException | None) -> bool:
        """Have its batch know."""
        told = None if error is None else _told(error)
        self._batch.ended(self._index, result, told)
        return told is not None and not isinstance(told, _OF_TASKS)


async def _in_task(conductor: Conductor, branch: Course, variables: Any) -> Any:
    return await conductor.loop.create_task(branch, context=variables)
