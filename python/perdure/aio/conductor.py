"""What leads the tasks of one invocation: who is at work, who is parked, who sends, and when all is at rest.

All but the functions of steps that are given threads runs in the thread of the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio import CancelledError
from contextvars import Context, copy_context
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Protocol
from weakref import ref

from perdure._control import CheckpointsBroken, OutOfTime
from perdure._core import MAX_THREADS
from perdure._functions import drop
from perdure._log import Log
from perdure.aio import rest
from perdure.aio.beginnings import Beginnings
from perdure.aio.loop import InnerFuture
from perdure.aio.sender import Sender, failure_of
from perdure.engine import threads as _threads
from perdure.exceptions import InvocationError, SuspendExecution

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from types import FrameType

    from perdure._core import Operation, Scope
    from perdure.engine.invocation import Invocation

logger = Log("perdure")

CONTROL = (SuspendExecution, CheckpointsBroken, OutOfTime)
"""What ends an invocation although no user code raised it: no user code sees it."""

LEFT = "left behind, since what it was to decide is decided"
"""Why a task is cancelled whose operations nobody waits for any more: that is recorded, and need not be told of."""

_INTERRUPTS = (KeyboardInterrupt, SystemExit)


def is_end(error: BaseException) -> bool:
    """Tell whether what a call to the service has raised ends the invocation, and is no failure of an operation's.

    Besides what the engine raises, that is what a tool raises to cut the invocation off. An interrupt is another
    matter: it leaves the loop.
    """
    return isinstance(error, CONTROL) or not isinstance(error, (Exception, *_INTERRUPTS))


FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds after which the service is asked again whose clock is behind: at first, and at most."""

_MOST_THROWS = 100
"""How many awaits of one task are refused when it is unwound."""


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
    task: asyncio.Task[Any] | None

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


class Due(InnerFuture):
    """An update that is to become durable: its result is the error of the call that has failed instead, if one has."""

    __slots__ = ("ticket",)

    def __init__(self, ticket: int, loop: Any) -> None:
        super().__init__(loop=loop)
        self.ticket = ticket


def _guarded(method: Callable[..., None]) -> Any:
    """Make a callback of the loop end the invocation by what it raises, which the loop would only log."""

    @wraps(method)
    def call(conductor: Conductor, *given: Any) -> None:
        try:
            method(conductor, *given)
        except BaseException as error:
            conductor.fall(error)
            if not isinstance(error, Exception):
                raise

    return call


class Conductor:
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
    activity = 0
    blocks: Sequence[Block] = ()
    """Blocks that are to be cut where they were cut, the innermost last."""
    unwinding = 0
    """Tasks and blocks that were left behind, and have not ended yet: what is cancelled meanwhile is so for that."""
    timers_came = False
    """Whether timers have come of which it is not known that what they call was called."""
    needs_loop = False
    """Whether the calls to the service are themselves made by tasks of the loop."""
    is_probing = False
    is_over = False
    _has_ended = False
    _was_cut = False
    _failed: list[ref[asyncio.Task[Any]]] | None = None
    is_drained = False
    """Whether the handler has ended, and only what it left behind goes on."""
    _starts = False
    _handler: asyncio.Task[Any] | None = None
    beginnings: Beginnings | None = None
    """The tasks that have not begun."""
    # Calls to the service.
    _news_wanted: float | None = None
    _is_sending = False
    _pumps = False
    _sender: Sender | None = None
    _heard = 0
    # How many functions of the user's have a thread.
    _threads = 0
    # Own timers.
    _deadline: Any = None
    _alarm: Any = None
    _alarm_at = 0.0
    # How it ends, and what tells that it has.
    _ended: asyncio.Future[Any] | None = None
    _error: BaseException | None = None
    _result: Any = None

    def __init__(self, invocation: Invocation, loop: Any) -> None:
        self.invocation = invocation
        self.core = invocation.core
        self.checkpoints = invocation.checkpoints
        self.loop = loop
        self.parked: dict[Parked, None] = {}
        self.batches: list[Batch] = []
        # Operations that were called, and that nobody has awaited yet.
        self._new: list[Job] = []
        self._older: list[Job] = []
        # Those that run for themselves, since nobody awaited them in time.
        self.unawaited: dict[Course, Job] = {}
        # Tasks of the invocation, in the order in which they were made; ended ones are dropped in time.
        self.tasks: list[asyncio.Task[Any]] = []
        # Of each its context, where it does not tell that itself.
        self._contexts: dict[asyncio.Task[Any], Context] = {}
        # Who waits until an update is durable.
        self._waiting: list[Due] = []
        # Functions of the user's that wait for a thread.
        self._queued: list[Callable[[], None]] = []
        self.timers: dict[int, Any] = {}
        self._generators: list[Any] = []

    # ---- what the loop tells

    def stir(self) -> None:
        """Hear that something goes on."""
        self.activity += 1
        if not self.is_probing and (self.parked or self.batches or self.blocks or self.is_drained):
            self.is_probing = True
            self.loop.soon_untold(self._probe, self.activity)

    def note_call(self, callback: Any, context: Any) -> Any:
        """Hear of what is to be called soon; give what is to be called instead."""
        beginnings = self.beginnings
        return callback if beginnings is None else beginnings.noted(callback, context)

    def note_limit(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Give what is to be called when a time limit of asyncio's is over, so as to hear of that."""

        def over() -> None:
            self._was_cut = True
            callback()

        return over

    def note_timer(self, handle: Any) -> None:
        """Hear of a timer."""
        if not self.is_over:
            timers = self.timers
            timers[id(handle)] = handle
            if len(timers) & 255 == 0:
                self.live_timers()

    def live_timers(self) -> list[Any]:
        """Give the timers that have not come, nor been cancelled; note whether others have come (`timers_came`)."""
        now, live = self.loop.time(), {}
        for key, timer in self.timers.items():
            if not timer.cancelled():
                if timer.when() > now:
                    live[key] = timer
                else:
                    self.timers_came = True
        self.timers = live
        return list(live.values())

    def note_task(self, create: Callable[..., Any], coroutine: Any, options: dict[str, Any]) -> Any:
        """Make a task, and hear of it."""
        if _TELLS_NO_CONTEXT and options.get("context") is None:
            options["context"] = copy_context()
        self._open_tasks()
        if self.beginnings is None:
            self.beginnings = Beginnings()
        task = self.beginnings.make(create, coroutine, options)
        if task.done():  # an eager one
            self._note_failure(task)
        else:
            tasks = self.tasks  # an eager one may have had them looked through meanwhile
            tasks.append(task)
            if _TELLS_NO_CONTEXT:
                self._contexts[task] = options["context"]
            if len(tasks) & 1023 == 0:
                self._drop_ended()
        return task

    def _open_tasks(self) -> list[asyncio.Task[Any]]:
        """Give the tasks, less those at the end of the list that have ended: so each is dropped once."""
        tasks = self.tasks
        while tasks and tasks[-1].done():
            ended = tasks.pop()
            if _TELLS_NO_CONTEXT:
                self._contexts.pop(ended, None)
            if ended.cancelled():
                self._note_cut((ended,))
            else:
                self._note_failure(ended)
        return tasks

    def _drop_ended(self) -> None:
        self._note_cut(self.tasks)
        for task in self.tasks:
            self._note_failure(task)
        self.tasks = [task for task in self.tasks if not task.done()]
        if _TELLS_NO_CONTEXT:
            self._contexts = {task: self._contexts[task] for task in self.tasks}

    def _note_failure(self, task: asyncio.Task[Any]) -> None:
        """Take down a task that has failed, and that nobody has asked yet what it came to."""
        if task._log_traceback:  # noqa: SLF001  asyncio itself says so in this way
            if self._failed is None:
                self._failed = []
            self._failed.append(ref(task))

    def _hush_failures(self) -> None:
        """Have nobody told that nobody has asked for a task's failure: the code that would have runs again."""
        self._drop_ended()
        for reference in self._failed or ():
            if (task := reference()) is not None:
                task._log_traceback = False  # noqa: SLF001

    def _note_cut(self, tasks: Iterable[asyncio.Task[Any]]) -> None:
        self._was_cut = self._was_cut or any(map(_is_cut, tasks))

    def was_cut(self) -> bool:
        """Whether a task was cut short, by `cancel` or a time limit: on replay it may stand elsewhere then."""
        self._note_cut(self.tasks)
        return self._was_cut

    def note_thread(self, future: asyncio.Future[Any]) -> None:
        """Hear of a thread at work, until it is done."""
        self.outside += 1
        future.add_done_callback(self._thread_is_done)

    def _thread_is_done(self, _future: Any) -> None:
        self.outside -= 1

    def note_wait(self, frame: FrameType) -> None:
        """Hear that code waits by `asyncio.wait`: who of operations is first may be another on replay."""
        named = frame.f_locals
        if named.get("return_when") != asyncio.ALL_COMPLETED or named.get("timeout") is not None:
            _warn_of_order("wait", frame, named.get("fs", ()))

    def note_first(self, frame: FrameType) -> None:
        """Hear that code waits for the next of `asyncio.as_completed`: which is that may be another on replay."""
        left = getattr(frame.f_locals.get("self"), "_todo", ())  # before CPython 3.13 nobody can tell
        if len(left) > 1:
            _warn_of_order("as_completed", frame, left)

    # ---- operations

    def begin_made(self) -> None:
        """Have the tasks begin that were made: before an operation is called, which is to come after theirs."""
        if self.beginnings is not None and self.beginnings.made and not self.is_over:
            self.at_work += 1  # who calls it goes on after them
            try:
                self.beginnings.begin(self.loop)
            finally:
                self.at_work -= 1

    def born(self, job: Job) -> None:
        """See to it that an operation runs, also if nobody awaits it."""
        new = self._new
        while new and new[-1].is_begun:
            new.pop()
        new.append(job)
        if not self._starts:
            self._starts = True
            self.loop.call_soon(self._pass_turn)

    @_guarded
    def _pass_turn(self) -> None:
        # It is in the second turn from its call that an operation runs by itself: a task of it begins in the first.
        self._older, self._new = self._new, []
        self.loop.call_soon(self._start_older)

    @_guarded
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
        if self.at_work or self.parked or self._waiting or self._is_sending or self.outside or self.needs_loop:
            return False
        if len(self._open_tasks()) > 1:
            self._drop_ended()
            if len(self.tasks) > 1:
                return False
        for called in (self._new, self._older):
            for job in called:
                if not job.is_begun:
                    return False
        return True

    def carry_out(self, scope: Scope) -> Generator[Any, None, None] | None:
        """Give what waits for what was called in a context and nobody awaits: the context ends after it. Else None."""
        called = [*self.unawaited.values(), *self._older, *self._new]
        return self._carried_out(scope, called) if called else None

    def _carried_out(self, scope: Scope, called: list[Job]) -> Generator[Any, None, None]:
        for job in called:
            course = job.course
            if course.scope is scope and not course.is_done and (course in self.unawaited or not course.is_begun):
                yield from job.carried_out()

    # ---- what is to become durable

    def durable(self, ticket: int) -> Generator[Any, None, None] | Due | None:
        """Have an update become durable; give what is to be awaited for that.

        What is given is awaited to its end: a `Due` by `still`, where the task that awaits it is cancelled. Where
        nothing else could go on meanwhile, it is waited for here, and nothing need be awaited.
        """
        if self.is_alone():
            try:
                self.core.wait(ticket, self.checkpoints)
            except BaseException as ended:
                if not is_end(ended):
                    raise
                return self.stop(ended)
            return None
        return None if self.core.is_durable(ticket) else self._due(ticket)

    def _due(self, ticket: int) -> Due:
        due = Due(ticket, self.loop)
        self._waiting.append(due)
        self._pump_soon()
        return due

    def still(self, due: Due, cancelled: CancelledError) -> Generator[Any, None, None]:
        """Wait on for what is to become durable, since it is on its way; only then tell of the cancellation."""
        while not self.core.is_durable(due.ticket):
            due = self._due(due.ticket)
            try:
                failure = yield from due
            except CancelledError as error:
                cancelled = error
            else:
                if failure is not None:
                    raise failure
        raise cancelled

    def news(self, since: float) -> None:
        """Have the service asked what has changed since a moment."""
        wanted = self._news_wanted
        self._news_wanted = since if wanted is None else max(wanted, since)
        self._pump_soon()

    def _pump_soon(self) -> None:
        if not self._pumps and not self._is_sending:
            self._pumps = True
            # In the next turn: whoever is ready now has queued its updates by then.
            self.loop.call_soon(self._pump)

    @_guarded
    def _pump(self) -> None:
        self._pumps = False
        if self._is_sending or self.is_over:
            return
        call: Callable[[], None]
        if self._waiting:
            call = partial(self.core.wait, min(due.ticket for due in self._waiting), self.checkpoints)
        elif self._news_wanted is not None:
            call = partial(self.checkpoints.ask_for_news, self._news_wanted)
        else:
            return
        self._is_sending = True
        self.send(call)

    def send(self, call: Callable[[], None]) -> None:
        """Have a call to the service made, and be told when it has ended (`sent`)."""
        if self._sender is None:
            try:
                self._sender = Sender(self)
            except RuntimeError:  # the system has no more threads: the loop waits meanwhile
                self.loop.call_soon(self.sent, failure_of(call))
                return
        self._sender.send(call)

    @_guarded
    def sent(self, error: BaseException | None) -> None:
        """Hear that a call to the service has ended."""
        self._is_sending = False
        if self.is_over:
            return
        if error is not None and is_end(error):
            self.halt(error)
            return
        waiting, self._waiting = self._waiting, []
        is_durable = self.core.is_durable
        for due in waiting:
            if due.done():
                continue
            if error is not None:
                due.set_result(error)
            elif is_durable(due.ticket):
                due.set_result(None)
            else:
                self._waiting.append(due)
        if self._news_wanted is not None and (error is not None or not self._waiting):
            self._news_wanted = None
        self._look_at_parked()
        if self._waiting or self._news_wanted is not None:
            self._pump_soon()
        else:
            self.stir()

    # ---- what is parked

    def park(self, operation: Operation, pause: float, scope: Scope | None) -> Parked:
        """Note an operation that cannot go on.

        Args:
            operation: Which.
            pause: Until it is asked about again, should the service's clock be behind; 0 at first.
            scope: Of its context, if that matters.

        Returns:
            What is done when it may be able to.

        """
        parked = Parked(operation, pause or FIRST_PAUSE, scope, self.loop)
        if parked.again_at is not None and pause > FIRST_PAUSE:
            parked.again_at = round((self.invocation.clock.time() + pause) * 1000)
        self.parked[parked] = None
        self.stir()
        return parked

    def unpark(self, parked: Parked) -> None:
        """Note that somebody waits for it no more."""
        self.parked.pop(parked, None)

    def _look_at_parked(self) -> None:
        """Let go on what has changed by what the service has told."""
        told = len(self.checkpoints.told)
        if told == self._heard or not self.parked:
            self._heard = told
            return
        self._heard = told
        for parked in list(self.parked):
            if not parked.operation.is_pending():
                self.wake(parked)

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

    @_guarded
    def _is_due(self, due: int) -> None:
        self._alarm = None
        if self.is_over:
            return
        for parked in self.parked:
            if parked.again_at is not None and parked.again_at <= due:
                parked.pause = min(parked.pause * 2, _LONGEST_PAUSE)
                parked.again_at = due + round(parked.pause * 1000)
        self.news(due / 1000)

    # ---- the functions of steps

    def in_thread(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Generator[Any, None, Any]:
        """Run a plain function in a thread; give what it returns, or raise what it raises."""
        future = InnerFuture(loop=self.loop)
        variables = copy_context()

        def run() -> None:
            outcome: tuple[Any, BaseException | None]
            try:
                outcome = variables.run(function, *args), None
            except BaseException as error:  # noqa: BLE001  raised again where it is awaited
                outcome = None, error
            if self.is_over:
                drop(outcome[0])
                return
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                self.loop.call_soon_threadsafe(self._returned, future, outcome)

        if self._threads < MAX_THREADS:
            self._start(run)
        else:
            self._queued.append(run)
        result, error = yield from future
        try:
            if error is not None:
                raise error
            return result
        finally:
            del error, result

    def _start(self, run: Callable[[], None]) -> None:
        hooks = self.invocation.hooks
        self._threads += 1
        try:
            (_threads.start if hooks is None else hooks.start_thread)(self.invocation.threads, run)
        except RuntimeError:  # the system has no more threads
            if self._threads > 1:
                self._threads -= 1
                self._queued.append(run)
            else:
                run()

    @_guarded
    def _returned(self, future: asyncio.Future[Any], outcome: Any) -> None:
        self._threads -= 1
        if self.is_over:
            drop(outcome[0])
            return
        if future.done():  # nobody waits for it any more
            drop(outcome[0])
        else:
            future.set_result(outcome)
        if self._queued:
            self._start(self._queued.pop(0))

    # ---- the whole

    def run(self, handler: Callable[[Any, Any], Any], user_event: Any, context: Any) -> Any:
        """Run the handler to its end, or until the invocation suspends."""
        loop = self.loop
        self.core.share_thread(self.was_cut)
        loop.conductor = self
        hooks = sys.get_asyncgen_hooks()
        try:
            loop.watch_generators_first()
            self.watch_generators()
            variables = copy_context()
            self._handler = first = loop.begin(self._called(handler, user_event, context), variables)
            if first.done():
                self._handler_ended(first)
            else:
                if first not in self.tasks:
                    self.tasks.insert(0, first)
                first.add_done_callback(self._handler_ended)
            if not self._has_ended:
                ended = self._ended = asyncio.Future(loop=loop)
                if not self.is_over:
                    self.set_deadline()
                loop.run_until_complete(ended)
        except BaseException:  # an interrupt
            self._break_off()
            raise
        finally:
            loop.conductor = None
            sys.set_asyncgen_hooks(*hooks)
            if (self._was_cut or self.tasks) and self.was_cut():
                self.core.excuse()
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

    @_guarded
    def _time_is_up(self) -> None:
        """End an invocation that would otherwise be cut off."""
        waits = rest.in_words(self)
        if self.parked and not self.at_work:
            logger.warning(
                "the invocation's time is up, and the handler still waits: %s. It ends, and the service continues when "
                "one of its operations can go on. Let nothing but durable operations be awaited while one of them "
                "waits.",
                waits,
            )
            self.suspend()
        else:
            self.halt(InvocationError(f"the invocation's time was up before the handler had ended. It waits: {waits}"))

    @_guarded
    def _handler_ended(self, handler: asyncio.Task[Any]) -> None:
        if self.is_over:
            return
        if handler.cancelled():
            self._error = CancelledError(
                "the handler was cancelled: by its own code, or for having awaited a task or an operation that was"
            )
        else:
            self._error = self._error or handler.exception()
            if self._error is None:
                self._result = handler.result()
        self.is_drained = True
        if self._error is None and (
            self.parked or self.at_work or self.unawaited or self._waiting or self._new or self._older
        ):
            self.stir()  # what nobody has awaited is to end first
        else:
            self.end()

    def suspend(self) -> None:
        """End the invocation: all is at rest."""
        wanted = [parked for parked in self.parked if parked.is_wanted()] or self.parked
        until = min((parked.until for parked in wanted if parked.until is not None), default=None)
        try:
            self.core.root().suspend(until)
        except BaseException as suspended:  # noqa: BLE001  what it is there for
            self.halt(suspended)

    def halt(self, error: BaseException) -> None:
        """End the invocation by an error."""
        if not self.is_over:
            self._error = error
            self._hush_failures()
            self.end()

    def fall(self, error: BaseException) -> None:
        """End the invocation by an error in here, whatever else is to be done at its end."""
        self.is_over = True
        if self._error is None:
            self._error = error
        self._tell_end()

    def _tell_end(self) -> None:
        self._has_ended = True
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def stop(self, error: BaseException | None) -> Generator[Any, None, Any]:
        """End the invocation by an error that no user code sees; who awaits this never goes on.

        Without an error it has ended.
        """
        if error is not None:
            self.halt(error)
        while True:
            yield from InnerFuture(loop=self.loop)

    @_guarded
    def _probe(self, activity: int) -> None:
        """See whether all is at rest, if nothing went on since this was asked for."""
        self.is_probing = False
        if self.is_over:
            return
        if activity != self.activity:
            self.stir()
            return
        rest.look(self)

    def settle_batches(self) -> bool:
        """Have batches hear of their branches that are at rest; tell whether that has changed anything."""
        return any(batch.settle() for batch in reversed(list(self.batches)))

    def leave(self, task: asyncio.Future[Any]) -> None:
        """Cancel what nobody waits for any more, since that is decided, and recorded."""
        if not task.done():
            self.unwinding += 1
            task.add_done_callback(self._has_left)
            task.cancel(LEFT)

    def _has_left(self, _task: Any) -> None:
        self.unwinding -= 1

    def cut_blocks(self) -> bool:
        """Cut the blocks whose time is known to have been over, now that nothing can move; tell whether there were any.

        Of those around one another the innermost: it was cut first.
        """
        innermost = {block.task: block for block in self.blocks}
        due = [block for block in innermost.values() if not block.is_cut]
        for block in due:
            block.cut()
        return bool(due)

    @property
    def is_sending(self) -> bool:
        """Whether a call to the service is under way or due."""
        return self._is_sending or self._pumps or bool(self._waiting)

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
        loop = self.loop
        for job in self.unawaited.values():
            job.report()
        for timer in (self._deadline, self._alarm):
            if timer is not None:
                timer.cancel()
        handler, tasks = self._handler, self._open_tasks()
        # (without a handler: its first step, which is made before the loop runs, has come to an end of the invocation)
        is_quiet = not self.activity  # else the loop has callbacks to come, which would stay in it until it runs again
        if is_quiet and handler is not None and handler.done() and not tasks and not self._generators:
            self._tell_end()
        else:
            loop.soon_untold(self._unwind)

    @_guarded
    def _unwind(self) -> None:
        """Close what still runs, innermost first. The response is decided: what it raises is of no consequence."""
        self.core.root().end()
        generators = [reference() for reference in self._generators]  # which nobody may have, once tasks are closed
        left = [task for task in self.tasks if not task.done()]
        for task in reversed(left):
            self._close(task)
        for generator in generators:
            if generator is not None:
                _drop(generator.aclose())
        for timer in self.live_timers():
            timer.cancel()
        waiters = [waiter for task in left if (waiter := rest.waiter_of(task)) is not None]
        for waiter in waiters:
            if not waiter.done() and type(waiter) is asyncio.Future:
                waiter.cancel()
        self.loop.soon_untold(self.loop.soon_untold, self._unwound, left, waiters)

    @_guarded
    def _unwound(self, *left: list[asyncio.Future[Any]]) -> None:
        for futures in left:
            for future in futures:
                if future.done():
                    future._log_traceback = False  # noqa: SLF001  it is of no consequence, and nobody will ask for it
        self._tell_end()

    def note_unwound(self, context: dict[str, Any]) -> None:
        """Hear of what has gone wrong while code was unwound, such as in callbacks of tasks that were ended so."""
        logger.debug("while code was unwound: %s", context.get("message"), exc_info=context.get("exception"))

    def _close(self, task: asyncio.Task[Any]) -> None:
        """Unwind a task's code, inside of its own context variables; refuse what it awaits on the way."""
        task.add_done_callback(forget)  # should what it awaited come after all, in a later run of the loop
        task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001  it is ended here
        coroutine: Any = task.get_coro()
        context = self._contexts.get(task) or _context_of(task) or copy_context()
        for _ in range(_MOST_THROWS):
            try:
                context.run(coroutine.throw, GeneratorExit)
            except (GeneratorExit, StopIteration, CancelledError):
                return
            except BaseException as error:
                if "already executing" not in str(error) and "already awaited" not in str(error):
                    logger.debug("code that was unwound raised", exc_info=error)
                return
            logger.debug(
                "an await is refused while code is unwound, in %r: the invocation has ended, and the code runs again "
                "in the next one. Clean up with context.finally_, or a saga",
                coroutine,
            )

    def _break_off(self) -> None:
        """End at once, for an interrupt that came out of the loop."""
        self.is_over = True
        self.core.root().end()
        for task in reversed(self.tasks):
            if task.done():
                task._log_traceback = False  # noqa: SLF001  it is raised here
            else:
                self._close(task)
        for timer in (self._deadline, self._alarm, *self.live_timers()):
            if timer is not None:
                timer.cancel()
        self.loop.close()

    # ---- asynchronous generators

    def _note_generator(self, generator: Any) -> None:
        self._generators.append(ref(generator, self._generators.remove))

    def watch_generators(self) -> None:
        """Note asynchronous generators that begin, so that none outlives the invocation."""
        loop = self.loop

        def end(generator: Any) -> None:
            if not self.is_over and not loop.is_closed():
                loop.call_soon_threadsafe(loop.create_task, generator.aclose())

        sys.set_asyncgen_hooks(self._note_generator, end)


_warned: set[tuple[str, int]] = set()
"""Where was warned of what asyncio does not record."""


def _warn_of_order(function: str, frame: FrameType, futures: Iterable[Any]) -> None:
    """Say once a place that what code does depends on which of its operations are done first."""
    around: FrameType | None = frame
    while around is not None and around.f_globals.get("__name__", "").startswith("asyncio."):
        around = around.f_back
    if around is not None and around.f_globals.get("__name__", "").startswith("perdure."):
        return  # what it decides is recorded
    place = ("?", 0) if around is None else (around.f_code.co_filename, around.f_lineno)
    if place not in _warned and any(map(_is_of_operation, futures)):
        _warned.add(place)
        logger.warning(
            "asyncio.%s at %s:%d: which of its operations are done first may be others on replay. Use context.race, "
            "context.any, context.as_completed or context.select, which record that.",
            function,
            *place,
        )


_TELLS_NO_CONTEXT = sys.version_info < (3, 12)
"""Whether tasks do not tell in which context they run."""


def _context_of(task: asyncio.Task[Any]) -> Context | None:
    get_context: Callable[[], Context] | None = getattr(task, "get_context", None)
    return None if get_context is None else get_context()


def _is_of_operation(future: Any) -> bool:
    return isinstance(future, asyncio.Task) and getattr(type(future.get_coro()), "is_operation", False)


def _is_cut(task: asyncio.Task[Any]) -> bool:
    """Whether a task was cancelled, or is about to be, and not for having been left behind."""
    if not task.cancelled():
        return not task.done() and task.cancelling() > 0
    try:
        task.exception()
    except CancelledError as cancelled:
        return cancelled.args != (LEFT,)
    return False


def forget(future: asyncio.Future[Any]) -> None:
    """Ask for what a task has come to, so that nobody is told that nobody has."""
    if not future.cancelled():
        future.exception()


def _drop(closing: Any) -> None:
    """Carry out the closing of an asynchronous generator as far as it goes without awaiting."""
    try:
        closing.send(None)
        for _ in range(_MOST_THROWS):
            closing.throw(GeneratorExit)
    except BaseException as error:
        if not isinstance(error, (StopIteration, GeneratorExit)):
            logger.debug("an asynchronous generator that was closed raised", exc_info=error)
