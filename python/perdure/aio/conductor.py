"""What leads the tasks of one invocation: who is at work, what is to run by itself, and how it ends.

All but the functions of steps that are given threads runs in the thread of the loop.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import CancelledError
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Protocol

from perdure._control import OutOfTime
from perdure._core import Operation
from perdure._core import at_work as mark
from perdure._log import Log
from perdure.aio import rest, unwinding
from perdure.aio.beginnings import Beginnings
from perdure.aio.eager import failing_later
from perdure.aio.endings import guarded
from perdure.aio.hands import Hands
from perdure.aio.parking import Parking, own
from perdure.aio.tasks import LEFT, Tasks, forget
from perdure.exceptions import InvocationError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from weakref import ref

    from perdure._core import Scope
    from perdure.engine.invocation import Invocation

logger = Log("perdure")

_NOTHING_GOES_ON = (
    "Nothing goes on that could wake it: if that was to be done in a child context, a branch or a step, remember that "
    "those do not run again once they are over, and that what they put into a queue, or set, is not there on replay"
)


_LATE_TURNS = 16
"""After so many turns with nothing of ours under way an invocation short of time ends, whatever else goes on."""


class Course(Protocol):
    """An operation with something to do, as who leads sees it."""

    @property
    def is_done(self) -> bool:
        """Whether it has ended."""
        ...


class Job(Protocol):
    """The same, as its caller has it."""

    variables: Any
    course: Any
    task: asyncio.Future[Any] | None
    is_left_over: bool
    """Whether the function that called it has ended: nobody will await it."""

    @property
    def is_begun(self) -> bool:
        """Whether somebody has awaited it."""
        ...

    async def by_itself(self) -> None:
        """Run it, since nobody has awaited it."""

    def carried_out(self) -> Generator[Any, None, None]:
        """Return when it has ended, however."""
        ...

    def report(self) -> None:
        """Log the failure that nobody has asked for."""


class Failed(Protocol):
    """An operation that had failed when it was called."""

    def report(self) -> None:
        """Log the failure, if nobody has asked for it."""


class Batch(Protocol):
    """A map or parallel, as who leads sees it."""

    def settle(self) -> bool:
        """Hear of the branches that are at rest; tell whether that has changed anything."""
        ...


class Block(Protocol):
    """A block that runs again up to where its time was over, as who leads sees it."""

    @property
    def task(self) -> asyncio.Task[Any]:
        """Whose block it is."""
        ...

    @property
    def is_cut(self) -> bool:
        """Whether the block is being unwound."""
        ...

    def cut(self) -> None:
        """Cancel the block."""

    def release(self) -> bool:
        """Let those go on who wait for the block to be over; tell whether there were any."""
        ...


class Watching(Protocol):
    """A block that notes which of its operations are under way, as who leads sees it."""

    is_deciding: bool

    def note(self, job: Any) -> None:
        """Hear of an operation with something to do."""

    def note_answer(self, job: Any, operation_id: str) -> None:
        """Hear that the answer to a callback is asked for."""


class Conductor(Parking):
    """Leads the tasks of one invocation.

    Args:
        invocation: Whose.
        loop: A watched loop, which nobody else uses meanwhile.

    """

    # What most invocations never set is here: an empty one pays for each attribute.
    at_work = 0
    """Functions of steps and checks that are awaited, or that threads run."""
    outside = 0
    """Threads that the loop was given work for."""
    blocks: Sequence[Block] = ()
    """Blocks that are to be cut where they were cut, the innermost last."""
    watching: Sequence[Watching] = ()
    """Blocks of which nothing is decided yet."""
    unwinding = 0
    """Tasks and blocks that were left behind, and have not ended yet: what is cancelled meanwhile is so for that."""
    timers_came = 0
    """In how many turns of the loop what timers call will have been called, of those that have come."""
    is_probing = False
    late: OutOfTime | None = None
    """What has been raised since its time was about to be up: nothing more begins, and what is at work is let end."""
    _turns_late = 0
    _failed: list[Failed] | None = None
    was_halted = False
    """Whether something else than the handler's end has ended it."""
    _has_fallen = False
    """Whether a fault in here has ended it: what still runs was not unwound."""
    _starts = False
    _hands: Hands | None = None
    _deadline: Any = None
    # What tells that it has ended.
    _ended: asyncio.Future[Any] | None = None

    def __init__(self, invocation: Invocation, loop: Any) -> None:
        super().__init__(invocation, loop)
        self.parked = {}
        # What all invocations set is no attribute of the class: Python is slow to find what hides one.
        self.is_over = self.is_drained = self._has_ended = False
        self.activity = 0
        # The tasks that have not begun.
        self.beginnings: Beginnings | None = None
        self._handler: asyncio.Task[Any] | None = None
        # How it ends.
        self._error: BaseException | None = None
        self._result: Any = None
        self.batches: list[Batch] = []
        # Operations that were called, and that nobody has awaited yet.
        self._new: list[Job] = []
        self._older: list[Job] = []
        # Those that run for themselves, since nobody awaited them in time.
        self.unawaited: dict[Course, Job] = {}
        self.tasks = Tasks()
        self.timers: dict[int, Any] = {}
        self.generators: list[ref[Any]] = []

    # ---- what the loop tells

    def stir(self) -> None:
        """Hear that something goes on."""
        self.activity += 1
        if not self.is_probing and (self.parked or self.batches or self.blocks or self.is_drained or self.late):
            self.is_probing = True
            self.loop.soon_untold(self._probe, self.activity)

    def note_call(self, callback: Any, context: Any) -> Any:
        """Hear of what is to be called soon; give what is to be called instead."""
        beginnings = self.beginnings
        return callback if beginnings is None else beginnings.noted(callback, context)

    def note_limit(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Give what is to be called when a time limit of asyncio's is over, so as to hear of that."""

        def over() -> None:
            self.tasks.note_cut(mark())
            callback()

        return over

    def note_timer(self, handle: Any) -> None:
        """Hear of a timer, unless the function of a step has set it, or of another operation that is no context."""
        if not self.is_over and type(mark()) is not Operation:
            timers = self.timers
            timers[id(handle)] = handle
            if len(timers) & 255 == 0:
                self.live_timers()

    def live_timers(self) -> list[Any]:
        """Give the timers that have not come, nor been cancelled; note if others have come (`timers_came`)."""
        now, live = self.loop.time(), {}
        for key, timer in self.timers.items():
            if not timer.cancelled():
                if timer.when() > now:
                    live[key] = timer
                else:
                    self.timers_came = 2  # the loop may not have seen it yet, and puts it behind what is ready then
        self.timers = live
        return list(live.values())

    def note_task(self, create: Callable[..., Any], coroutine: Any, options: dict[str, Any]) -> Any:
        """Make a task, and hear of it."""
        if self.beginnings is None:
            self.beginnings = Beginnings()
        if self.loop.get_task_factory() is not None or options.get("eager_start"):
            create = failing_later(create)
        return self.tasks.make(self.beginnings, create, coroutine, options)

    def note_thread(self, future: asyncio.Future[Any]) -> None:
        """Hear of a thread at work, until it is done."""
        self.outside += 1
        future.add_done_callback(self._thread_is_done)

    def _thread_is_done(self, _future: Any) -> None:
        self.outside -= 1

    def watch_generators(self) -> None:
        """Note asynchronous generators that begin."""
        unwinding.watch_generators(self)

    def note_unwound(self, context: dict[str, Any]) -> None:
        """Hear of what has gone wrong in the loop since it was decided how the invocation ends."""
        unwinding.note_error(context)

    # ---- operations

    def begin_made(self) -> bool:
        """Have the tasks begin that were made: before an operation is called, which is to come after theirs.

        Returns:
            Whether it is called too late: it is decided how the invocation ends, and its caller is about to be unwound.

        """
        if self.beginnings is not None and self.beginnings.made and not self.is_over:
            self.at_work += 1  # who calls it goes on after them
            try:
                self.beginnings.begin(self.loop)
            finally:
                self.at_work -= 1
        return self.is_over

    def born(self, job: Job) -> None:
        """See to it that an operation runs, also if nobody awaits it."""
        new = self._new
        while new and new[-1].is_begun:
            new.pop()
        new.append(job)
        if self.watching:
            for block in self.watching:
                block.note(job)
        if not self._starts:
            self._starts = True
            self.loop.call_soon(self._pass_turn)

    def note_failed(self, failed: Failed) -> None:
        """Hear of an operation that had failed when it was called."""
        if self._failed is None:
            self._failed = []
        self._failed.append(failed)

    def unborn(self, job: Job) -> None:
        """Have an operation run by itself no more, which was called just now."""
        if self._new and self._new[-1] is job:
            self._new.pop()

    @guarded
    def _pass_turn(self) -> None:
        # It is in the second turn from its call that an operation runs by itself: a task of it begins in the first.
        self._older, self._new = self._new, []
        self.loop.call_soon(self._start_older)

    @guarded
    def _start_older(self) -> None:
        older, self._older = self._older, []
        self._starts = bool(self._new)
        if self._new:
            self.loop.call_soon(self._pass_turn)
        for job in older:
            if not job.is_begun and not self.is_over:
                self.unawaited[job.course] = job
                job.task = self.loop.create_task(job.by_itself(), context=job.variables)

    def is_alone(self) -> bool:
        """Whether nothing else could go on while this thread waits. Where it is not known, nothing else is assumed."""
        if self.at_work or self.parked or self._waiting or self._is_calling or self.outside or self.needs_loop:
            return False
        if self.tasks.are_several():
            return False
        for called in (self._new, self._older):
            for job in called:
                if not job.is_begun:
                    return False
        return True

    def carry_out(self, scope: Scope) -> Generator[Any, None, None] | None:
        """Give what waits for what was called in a context and nobody awaits: the context ends after it. Else None."""
        self.begin_made()  # what they call is called in it, too
        called = [*self.unawaited.values(), *self._older, *self._new]
        return self._carried_out(scope, called) if called else None

    def _carried_out(self, scope: Scope, called: list[Job]) -> Generator[Any, None, None]:
        for job in called:
            course = job.course
            if own(course.scope) is scope and not course.is_done and (course in self.unawaited or not course.is_begun):
                yield from job.carried_out()

    def in_thread(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Generator[Any, None, Any]:
        """Run a plain function in a thread; give what it returns, or raise what it raises."""
        if self._hands is None:
            self._hands = Hands()
        return self._hands.call(self, function, args)

    # ---- the whole

    def run(self, handler: Callable[[Any, Any], Any], user_event: Any, context: Any) -> Any:
        """Run the handler to its end, or until the invocation suspends."""
        loop = self.loop
        self.core.share_thread(self.tasks.cut)
        loop.conductor = self
        hooks = sys.get_asyncgen_hooks()
        try:
            loop.watch_generators_first()
            unwinding.watch_generators(self)
            variables = copy_context()
            self._handler = first = loop.begin(self._called(handler, user_event, context), variables)
            if first.done():
                self._handler_ended(first)
            else:
                self.tasks.add_first(first)
                first.add_done_callback(self._handler_ended)
            if not self._has_ended:
                ended = self._ended = asyncio.Future(loop=loop)
                if not self.is_over:
                    self.set_deadline()
                # The frame that runs the loop keeps hooks that it finds, before CPython 3.13 in what the garbage
                # collector does not look into: ours are those of an invocation, and may lead back to that frame.
                sys.set_asyncgen_hooks(*hooks)
                loop.run_until_complete(ended)
            if self._has_fallen:
                unwinding.break_off(self)
        except BaseException:  # an interrupt
            self.is_over = True
            self._cancel_timers()
            unwinding.break_off(self)
            raise
        finally:
            loop.conductor = None
            sys.set_asyncgen_hooks(*hooks)
            for of in self.tasks.cut():
                self.core.excuse(of)
            for of in self.tasks.left:
                self.core.leave_at_work(of)
            if self._sender is not None:
                self._sender.end()
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
            return self._result
        finally:
            del error

    async def _called(self, handler: Callable[[Any, Any], Any], user_event: Any, context: Any) -> Any:
        try:
            result = handler(user_event, context)
            return await result if hasattr(type(result), "__await__") else result
        except (KeyboardInterrupt, SystemExit) as interrupt:
            # Out of a task it would come both through the loop, and as that of a task which nobody has asked.
            self._error = interrupt
            return None

    def set_deadline(self) -> None:
        """Have the invocation end before it would be cut off."""
        remaining = self.invocation.remaining_seconds()
        if remaining is not None:
            self._deadline = self.loop.later_untold(max(0.0, remaining - self.invocation.margin), self._time_is_up)

    @guarded
    def _time_is_up(self) -> None:
        """End an invocation that would otherwise be cut off."""
        if self.late is not None:
            self._end_by(self.late)
            return
        waits = rest.in_words(self)
        if self.parked and not self.at_work and not self.told():
            logger.warning(
                "the invocation's time is up, and the handler still waits: %s. It ends, and the service continues when "
                "one of its operations can go on. Let nothing but durable operations be awaited while one of them "
                "waits.",
                waits,
            )
            self.suspend()
        else:
            why = "" if rest.goes_on(self) else f". {_NOTHING_GOES_ON}"
            ended = f"the invocation's time was up before the handler had ended. It waits: {waits}{why}"
            self.halt(InvocationError(ended))

    @guarded
    def _handler_ended(self, handler: asyncio.Task[Any]) -> None:
        if self.is_over:
            forget(handler)
            return
        if self.beginnings is not None and self.beginnings.made and not self.is_drained:
            self.is_drained = True  # the tasks that it has made last begin before it is seen what it has left
            self.loop.soon_untold(self._handler_ended, handler)
            return
        if handler.cancelled():
            self._error = CancelledError(
                "the handler was cancelled: by its own code, or for having awaited a task or an operation that was"
            )
        else:
            failure = handler.exception()  # in any case: else asyncio tells that nobody has asked
            self._error = self._error or failure
            if self._error is None:
                self._result = handler.result()
        self.is_drained = True
        if (
            self.parked
            or self.at_work
            or self.unawaited
            or self._waiting
            or self._new
            or self._older
            or self.tasks.are_in_contexts()
            if self._error is None
            else self.late is not None and isinstance(self._error, Exception) and (self.at_work or self.is_sending)
        ):
            self.stir()  # what nobody has awaited is to end first
        else:
            self.end()

    def suspend(self) -> None:
        """End the invocation: all is at rest."""
        try:
            self.core.root().suspend(self.due_first())
        except BaseException as suspended:  # noqa: BLE001  what it is there for
            self.halt(suspended)

    def halt(self, error: BaseException) -> None:
        """End the invocation by an error; for want of time, after what is at work, which is recorded."""
        if isinstance(error, OutOfTime) and (self.at_work or self.is_sending):
            self.late = error
        else:
            self._end_by(error)

    def _end_by(self, error: BaseException) -> None:
        if not self.is_over:
            self._error = error
            self.was_halted = True
            self.tasks.hush_failures()
            self.end()

    def fall(self, error: BaseException) -> None:
        """End the invocation by an error in here, whatever else is to be done at its end."""
        self.is_over = self._has_fallen = True
        if self._error is None:
            self._error = error
        self.tell_end()

    def tell_end(self) -> None:
        """Tell that nothing of the invocation goes on any more."""
        self._has_ended = True
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    @guarded
    def _probe(self, activity: int) -> None:
        """See whether all is at rest, if nothing went on since this was asked for."""
        self.is_probing = False
        if self.is_over:
            return
        if activity != self.activity:
            if self.late is not None and not (self.at_work or self.is_sending):
                self._turns_late += 1
                if self._turns_late > _LATE_TURNS:  # others may go on for ever
                    self._end_by(self.late)
                    return
            self.stir()
            return
        rest.look(self)

    def settle_batches(self) -> bool:
        """Have batches hear of their branches that are at rest; tell whether that has changed anything."""
        return any(batch.settle() for batch in reversed(list(self.batches)))

    def leave(self, task: asyncio.Future[Any]) -> None:
        """Cancel what nobody waits for any more, since that is decided, and recorded."""
        if task.done():
            forget(task)
        else:
            self.unwinding += 1
            task.add_done_callback(self._has_left)
            task.cancel(LEFT)

    def _has_left(self, task: asyncio.Future[Any]) -> None:
        self.unwinding -= 1
        forget(task)  # nobody will ask what it has failed of

    def cut_blocks(self) -> bool:
        """Cut the blocks whose time is known to have been over, now that nothing can move; tell whether there were any.

        Of those around one another the innermost: it was cut first.
        """
        innermost = {block.task: block for block in self.blocks}
        due = [block for block in innermost.values() if not block.is_cut]
        for block in due:
            block.cut()
        return bool(due) or sum(block.release() for block in self.blocks) > 0

    @property
    def runs_unawaited(self) -> bool:
        """Whether operations that nobody awaits may still go on by themselves: there are more than are parked."""
        return sum(not course.is_done for course in self.unawaited) > len(self.parked)

    # ---- the end

    def end(self) -> None:
        """Decide how the invocation ends. What still runs is unwound in the next turn of the loop."""
        if self.is_over:
            return
        self.is_over = True
        for job in self.unawaited.values():
            if job.is_left_over or not self.was_halted:  # else the code that may yet ask runs again
                job.report()
        if not self.was_halted:
            for failed in self._failed or ():
                failed.report()
        if self._alarm is not None or self._deadline is not None:
            self._cancel_timers()
        handler = self._handler
        # (without a handler: its first step, which is made before the loop runs, has come to an end of the invocation)
        is_quiet = not self.activity  # else the loop has callbacks to come, which would stay in it until it runs again
        if is_quiet and handler is not None and handler.done() and not self.generators and not self.tasks.is_any():
            self.tell_end()
        else:
            self.loop.soon_untold(unwinding.unwind, self)

    def _cancel_timers(self) -> None:
        self.cancel_alarm()
        if self._deadline is not None:
            self._deadline.cancel()
