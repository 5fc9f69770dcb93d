"""A toy driver: one thread, a scheduler of its own, nothing that blocks but calls to the service.

Functions may be coroutine functions. The handler and each branch at work are tasks; which of those that may go on does,
is drawn. Who needs an update durable waits until nobody may go on: then one call sends all that is queued. Who waits
for an operation is kept where it is, with its code, until the schedule of its batch lets it go on. When all are at
rest, the invocation ends.
"""

from __future__ import annotations

import contextlib
import types
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, NamedTuple

from perdure import DurableContext, durable_execution
from perdure._core import PASS, PENDING, RUN_BRANCH, START, SUSPEND, WAIT, Operation
from perdure.engine.operations.batch import Branches

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from contextvars import Context

    from perdure.engine.flows import Flow

_scheduler: ContextVar[Scheduler] = ContextVar("scheduler")


class Rest(NamedTuple):
    """What a task asks for that waits for the world: until a moment, or for news."""

    until: int | None


@types.coroutine
def ask(what: int | Rest | CooperativeBranches) -> Generator[Any, None, None]:
    """Let others go on until a ticket is durable, what rests is let go on, or a batch has heard of a branch."""
    yield what


async def settled(value: Any) -> Any:
    """Give what comes of a value, if it is awaitable."""
    while isawaitable(value):
        value = await value
    return value


async def able(operation: Operation) -> Operation:
    """Give an operation when it can go on."""
    while True:
        if operation.decision == START:
            await ask(operation.ticket)
            operation = operation.again()
        elif operation.decision == PENDING:
            await ask(Rest(operation.until))
            operation = operation.resume()
        else:
            return operation


async def drive(context: Any, flow: Flow[Any]) -> Any:
    """Run a flow to its end."""
    before_function = context.invocation.core.before_function
    resume, given = flow.send, None
    try:
        while True:
            request = resume(given)
            try:
                if isinstance(request, tuple):
                    if ticket := before_function():
                        await ask(ticket)
                    given = await settled(request[0](*request[1]))
                elif isinstance(request, Operation):
                    given = await able(request)
                elif request == 0:  # nothing to wait for
                    given = None
                else:
                    given = await ask(request)
                resume = flow.send
            except BaseException as error:  # noqa: BLE001  the flow's business
                resume, given = flow.throw, error
    except StopIteration as returned:
        return returned.value


class CooperativeContext(DurableContext):
    """A context whose operations are awaited, but for what is recorded."""

    __slots__ = ()
    takes_async = True
    drive = drive

    def branches(self) -> type[Branches]:
        return CooperativeBranches


class CooperativeBranches(Branches):
    """The branches of a batch, each a task. It is its own wakeup: a lock, as far as the core can tell."""

    __slots__ = ("_resting", "_scheduler", "caller")

    def __init__(self, *given: Any) -> None:
        self._scheduler = _scheduler.get()
        self._resting: dict[int, Task] = {}
        self.caller: Task | None = None
        super().__init__(*given)

    def wakeups(self) -> tuple[Any, Any]:
        return self, self

    def locked(self) -> bool:
        return self.caller is not None

    def release(self) -> None:
        if self.caller is not None:
            self._scheduler.let(self.caller)
        self.caller = None

    async def drive(self, is_resumed: bool) -> Any:
        self.open(is_resumed)
        while True:
            code, index, moment = self.schedule.next(self.now())
            if code == RUN_BRANCH:
                if moment is not None:
                    self.context.invocation.checkpoints.ask_for_news(moment / 1000)
                task = self._resting.pop(index, None)
                self._scheduler.let(task or Task(self._run(index), self.variables.copy(), partial(self._rest, index)))
            elif code == WAIT:
                await ask(self)
            elif code == SUSPEND:
                await ask(Rest(moment))
            else:
                return self.conclude(code)

    async def _run(self, index: int) -> None:
        try:
            result = await settled(self.branch(index))
        except BaseException as error:  # noqa: BLE001  reported
            self.raised(index, error)
        else:
            self.returned(index, result)

    def branch(self, index: int) -> Any:
        if self.plan.options.flat:
            return self.context.drive(self.flat(index, partial(self._hold, index) if self.is_tried else None))
        found = self.schedule.come(index)
        return self.context.drive(self.nested(index, found)) if type(found) is Operation else found

    def _rest(self, index: int, task: Task, until: int | None) -> None:
        self._resting[index] = task
        self.suspended(index, until)

    def _hold(self, index: int) -> bool:
        """Have a branch that is tried unwind where it comes to something new: it runs again when all were tried."""
        self.report(partial(self.schedule.hold, index))
        return self.schedule.give_way(index) == PASS


@dataclass(eq=False)
class Task:
    """Code that goes on until it asks for something; and what is told when it rests."""

    coroutine: Coroutine[Any, Any, Any]
    variables: Context
    rests: Callable[[Task, int | None], None]


class Scheduler:
    """Lets tasks go on, one at a time; `draw` chooses one of so many."""

    def __init__(self, context: DurableContext, draw: Callable[[int], int]) -> None:
        self._context, self._draw = context, draw
        self._tasks: dict[Task, None] = {}
        self._ready: list[tuple[Task, BaseException | None]] = []
        self._waiting: list[Task] = []
        self._looking: list[CooperativeBranches] = []
        _scheduler.set(self)

    def let(self, task: Task, error: BaseException | None = None) -> None:
        """Let a task go on when its turn comes."""
        self._tasks[task] = None
        self._ready.append((task, error))

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run the handler; raises a suspension if it comes to rest."""
        moments: list[int | None] = []
        ends: list[Any] = []

        async def main() -> None:
            ends.append(await coroutine)

        self.let(Task(main(), copy_context(), lambda _task, until: moments.append(until)))
        try:
            while not ends and (self._ready or self._waiting):
                if self._ready:
                    self._go_on(*self._ready.pop(self._draw(len(self._ready))))
                else:
                    self._send()
            if not ends:
                self._context.scope.suspend(moments[-1])
            return ends[0]
        finally:
            for task in self._tasks:  # what rests, and what was left behind
                with contextlib.suppress(BaseException):
                    task.variables.run(task.coroutine.close)

    def _go_on(self, task: Task, error: BaseException | None) -> None:
        resume, given = (task.coroutine.send, None) if error is None else (task.coroutine.throw, error)
        try:
            asked = task.variables.run(resume, given)
        except StopIteration:
            del self._tasks[task]
            return
        if isinstance(asked, Rest):
            task.rests(task, asked.until)
        elif isinstance(asked, int):
            self._waiting.append(task)
        else:
            asked.caller = task
            self._looking.append(asked)

    def _send(self) -> None:
        waiting, self._waiting, error = self._waiting, [], None
        try:
            self._context.invocation.checkpoints.flush()
        except BaseException as raised:  # noqa: BLE001  that of all who wait
            error = raised
        for task in waiting:
            self.let(task, error)
        looking, self._looking = self._looking, []
        for branches in looking:  # time may have passed meanwhile
            branches.release()


def cooperative(
    function: Callable[[Any, Any], Any], draw: Callable[[int], int], **options: Any
) -> Callable[[Any, Any], Any]:
    """Make a durable handler of a coroutine function."""

    def handler(event: Any, context: DurableContext) -> Any:
        mine = CooperativeContext(context.invocation, context.scope)
        return Scheduler(mine, draw).run(settled(function(event, mine)))

    return durable_execution(handler, **options)
