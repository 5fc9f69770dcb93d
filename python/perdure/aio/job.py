"""What an asynchronous context gives for an operation: something to await, that passes for a coroutine.

An operation takes its position when it is called. What there is to do for it is done where it is first awaited, in the
task that awaits it; if nobody does so in time, in a task of its own.
"""

from __future__ import annotations

import contextlib
import sys
from asyncio import CancelledError, current_task
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any

from perdure import _core
from perdure._core import Operation
from perdure._functions import PLAIN, is_coroutine
from perdure._handed import StepContext, WaitForCallbackContext, WaitForConditionCheckContext
from perdure._log import Log
from perdure.aio.hands import Stopped
from perdure.aio.loop import InnerFuture
from perdure.aio.tasks import LEFT, forget
from perdure.exceptions import InvalidStateError, OrphanedChildException, StepTimeoutError

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Generator
    from types import CodeType

    from perdure._core import Scope
    from perdure.aio.conductor import Conductor
    from perdure.engine.flows import Flow

logger = Log("perdure")

_NEW, _BEGUN, _LEFT, _CUT_SHORT, _DONE = range(5)

LEFT_BEHIND = (
    "the operation was left behind: what it was awaited in (a race, a select, a time limit) is decided without it, and "
    "nobody waits for it any more. Call an operation of its own for each decision, as with callback.result(), or use "
    "context.select, which goes on to wait for what has not come"
)

left_behind: ContextVar[bool] = ContextVar("left_behind", default=False)
"""Whether a task runs for its positions alone: what it comes to that is not recorded does not begin."""

is_member: ContextVar[bool] = ContextVar("is_member", default=False)
"""Whether a task awaits something for a decision: when that is done is chance, and counts for nothing else."""

_OF_USERS = (StepContext, WaitForConditionCheckContext, WaitForCallbackContext)


class Held(Exception):  # noqa: N818  a branch is, by its gate
    """A branch of a FLAT batch that is tried has come to something new.

    Args:
        later: Gives what is awaited instead: called with what makes the operation, and the scope of its context.

    """

    def __init__(self, later: Callable[[Callable[[], Any], Scope], Any]) -> None:
        super().__init__("the branch is held")
        self.later = later


class Awaitable:
    """What passes for a coroutine: it can be awaited, and be made a task of."""

    __slots__ = ("_driver", "_more", "_steps")

    is_operation = True
    _steps: Generator[Any, Any, Any] | None
    _driver: int
    _more: dict[int, Generator[Any, Any, Any]]

    def __await__(self) -> Generator[Any, Any, Any]:
        """Give its steps."""
        raise NotImplementedError

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Say that it is not yet what comes of it."""
            raise AttributeError(
                f"an operation that was not awaited has no {name!r}: await it first, as in `(await ...).{name}`",
                name=name,
                obj=self,
            )

    def __bool__(self) -> bool:
        """Refuse to be taken for what comes of it: whoever looks has forgotten to await it.

        But asyncio looks whether a task has a coroutine, to say in words which task that is; others look for that at
        tasks that run.
        """
        if self.is_awaited or sys._getframe(1).f_globals.get("__name__", "").startswith("asyncio."):  # noqa: SLF001  documented
            return True
        raise TypeError(
            "an operation that was not awaited is neither true nor false: await it first, as in `if await "
            "context.step(...)`. Whether there is one at all, `is not None` tells"
        )

    @property
    def is_awaited(self) -> bool:
        """Whether somebody awaits it."""
        return self._steps is not None

    @property
    def cr_await(self) -> Any:
        """What is awaited for it."""
        return self._steps

    def send(self, value: Any) -> Any:
        """Go on."""
        driver = id(current_task())
        steps = self._steps
        if steps is None:
            steps = self._begin(driver)
        elif self._driver != driver:
            steps = self._beside(driver)
        try:
            return steps.send(value)
        except BaseException:  # its end, one way or the other
            self._has_ended(driver)
            raise

    def throw(self, *error: Any) -> Any:
        """Go on with an error."""
        if error[0] is GeneratorExit:
            return self._unwind()
        driver = id(current_task())
        steps = self._steps
        if steps is None:
            self.give_up()
            steps = self._begin(driver)
        elif self._driver != driver:
            steps = self._beside(driver)
        try:
            return steps.throw(*error)
        except BaseException:
            self._has_ended(driver)
            raise

    def _unwind(self) -> Any:
        """Go on no more, called by who ends all, outside of the task that was made of it."""
        if self._steps is None:
            self.give_up()
            raise GeneratorExit
        try:
            return self._steps.throw(GeneratorExit)
        except BaseException:
            self._steps = None
            raise

    def _begin(self, driver: int) -> Generator[Any, Any, Any]:
        self._driver = driver
        steps = self._steps = self.__await__()
        return steps

    def _beside(self, driver: int) -> Generator[Any, Any, Any]:
        """Give the steps of another task that was made of the same."""
        more: dict[int, Generator[Any, Any, Any]] | None = getattr(self, "_more", None)
        if more is None:
            more = self._more = {}
        if driver not in more:
            more[driver] = self.__await__()
        return more[driver]

    def _has_ended(self, driver: int) -> None:
        """Let whoever asks next have steps of its own."""
        if self._driver == driver:
            self._steps = None
        else:
            self._more.pop(driver, None)

    def give_up(self) -> None:
        """Hear that the task that it was given to was cancelled before it had begun: there it is not awaited."""

    def run_in(self, task: Future[Any]) -> None:
        """Have it carried out as what nobody awaits is, by a task that is about to run it."""

    def close(self) -> None:
        """Go on no more."""
        if self._steps is not None:
            self._steps.close()


def _excused(error: BaseException) -> BaseException:
    """Have nobody told of a task that an error is raised in, if it is one that was left behind; give the error."""
    if isinstance(error, OrphanedChildException) and (task := current_task()) is not None:
        task.add_done_callback(forget)
    return error


class Failed(Awaitable):
    """An operation whose call has failed, or whose failure is recorded: awaited, it raises that."""

    __slots__ = ("_code", "_error", "_is_asked", "_line")

    def __init__(self, error: BaseException, conductor: Conductor) -> None:
        self._steps = None
        self._error = error
        self._is_asked = False
        self._code, self._line = _place()
        conductor.note_failed(self)

    def report(self) -> None:
        """Log the failure, if nobody has asked for it."""
        if not self._is_asked:
            _report(self._error, self._code, self._line)

    def __await__(self) -> Generator[Any, Any, Any]:
        """Raise it."""
        self._is_asked = True
        raise _excused(self._error).with_traceback(None)
        yield  # a generator, as every awaitable has


_LOOP_OR_THREAD = (
    "(a plain function may find the event loop running, or be in a thread without one: make it async def, or have it "
    "always run in a thread by context.step(…, in_thread=True))"
)


class Drive(_core.Drive):
    """What runs a flow where it is awaited: the native driver, with what is seldom in one."""

    __slots__ = ()

    in_thread: bool | None = None
    scope: Scope | None = None
    """Of the context whose operation it is, where that matters."""

    def ended(self, result: Any, error: BaseException | None) -> bool:
        """Hear what came of the flow.

        Args:
            result: What it has returned.
            error: What it was ended by, if it was: a `GeneratorExit`, if it was closed, or if code of the user's
                raises one.

        Returns:
            Whether nobody need have the error raised.

        """
        raise NotImplementedError

    def call(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Generator[Any, Any, Any]:
        """Call a function that is no context's, and await what it gives, if that can be awaited."""
        if not args or not isinstance(args[-1], _OF_USERS):
            try:
                result = function(*args)
            except StopIteration as stopped:
                raise Stopped(stopped) from None
            if type(result) in PLAIN or not hasattr(type(result), "__await__"):
                return result
            return (yield from result.__await__())
        conductor = self.conductor
        is_alone = conductor.is_alone()
        conductor.at_work += 1
        try:
            in_thread = self.in_thread
            if in_thread is None:
                in_thread = not (is_alone or is_coroutine(function))
            if in_thread:
                result = yield from conductor.in_thread(function, args)
            else:
                result = function(*args)
            if type(result) in PLAIN or not hasattr(type(result), "__await__"):
                return result
            return (yield from result.__await__())
        except StopIteration as stopped:
            raise Stopped(stopped) from None
        except RuntimeError as error:
            if type(error) is RuntimeError and "event loop" in str(error) and not is_coroutine(function):
                error.add_note(_LOOP_OR_THREAD)
            raise
        finally:
            conductor.at_work -= 1
            conductor.stir()

    def cut(self, at: Any, cancelled: CancelledError) -> BaseException | None:  # noqa: ARG002  for those derived
        """Have the flow's task cancelled.

        Args:
            at: What the flow waits for: an operation, a function and its arguments, or the scope of a context.
            cancelled: By what.

        Returns:
            What is raised in the flow, which goes on; None if it is closed.

        """
        if isinstance(at, tuple):
            if _is_of_live_step(at):
                return _cut_short(at)
        elif at is not None and not isinstance(at, Operation):
            at.break_off()
        return None

    def is_left(self, cancelled: CancelledError) -> bool:
        """Whether a cancellation is none of the user's: nothing waits for what is cancelled."""
        conductor = self.conductor
        is_over = self.scope is not None and not self.scope.is_alive()
        return is_over or cancelled.args == (LEFT,) or conductor.is_over or bool(conductor.unwinding)


class Course(Drive):
    """An operation with something to do, and what came of it: awaited by one, and asked for by any number.

    Args:
        conductor: Of its invocation.
        flow: What there is to do.
        scope: Of the context whose operation it is.

    """

    __slots__ = ("_error", "_joined", "_result", "_state", "in_thread", "on_end", "scope")

    def __init__(self, conductor: Conductor, flow: Flow[Any], scope: Scope | None = None) -> None:  # noqa: ARG002
        self._state = _NEW
        self.scope = scope
        self._joined: list[Future[Any]] | None = None
        self._result: Any = None
        self._error: BaseException | None = None
        self.in_thread: bool | None = None
        self.on_end: Callable[[Any, BaseException | None], None] | None = None

    @property
    def is_begun(self) -> bool:
        """Whether somebody has awaited it."""
        return self._state != _NEW

    @property
    def is_done(self) -> bool:
        """Whether it has ended."""
        return self._state == _DONE

    @property
    def error(self) -> BaseException | None:
        """What it has failed of."""
        return self._error

    def begin(self) -> Generator[Any, Any, Any]:
        """Give what is iterated by who awaits it: it does what is to be done, or waits for who has begun that."""
        if self._state != _NEW:
            return self._join()
        self._state = _BEGUN
        return self._never() if left_behind.get() else self

    def cancel(self, error: CancelledError) -> None:
        """Have it ended by this before it has begun."""
        self.close()
        self.ended(None, error)
        self.conductor.unawaited.pop(self, None)

    def cut(self, at: Any, cancelled: CancelledError) -> BaseException | None:
        """Have it cancelled. An attempt of a step fails of that, which is recorded; of all else is warned."""
        is_left = self._state == _LEFT and isinstance(at, tuple)
        instead = None if is_left else Drive.cut(self, at, cancelled)
        if instead is not None:
            self._state = _CUT_SHORT
        else:
            self._state = _BEGUN  # a step's next attempt is due later: nobody waits for it
            self._warn(cancelled, at)
        return instead

    def leave(self) -> None:
        """Have no attempt come after one that is cancelled: no invocation will come to it again."""
        if self._state == _BEGUN:
            self._state = _LEFT

    def _warn(self, cancelled: CancelledError, at: Any = None) -> None:
        if not self.is_left(cancelled):
            warn_of_chance(cancelled, at, self.scope)

    def _never(self) -> Generator[Any, Any, Any]:
        while True:
            yield from InnerFuture(loop=self.conductor.loop)

    def until_done(self) -> Generator[Any, Any, None]:
        """Return when it has ended, however."""
        if self._state != _DONE:
            future = InnerFuture(loop=self.conductor.loop)
            self._joined = [*(self._joined or ()), future]
            yield from future

    def _join(self) -> Generator[Any, Any, Any]:
        try:
            yield from self.until_done()
        except CancelledError as cancelled:
            self._warn(cancelled)
            raise
        self.conductor.unawaited.pop(self, None)
        if self._error is not None:
            if isinstance(self._error, CancelledError) and self._error.args == (LEFT,):
                raise InvalidStateError(LEFT_BEHIND)
            raise _excused(self._error).with_traceback(None)
        return self._result

    def ended(self, result: Any, error: BaseException | None) -> bool:
        """Let those know who have joined, and who was to be told."""
        if self._state == _BEGUN and isinstance(error, CancelledError):
            self._warn(error)  # of what was on its way, and is recorded
        self._state = _DONE
        if self.conductor.is_over and isinstance(error, GeneratorExit):
            return False
        self._result, self._error = result, error
        if error is not None:
            _excused(error)
        for future in self._joined or ():
            if not future.done():
                future.set_result(None)
        conductor = self.conductor
        if self in conductor.unawaited:
            if self._joined or error is None:
                conductor.unawaited.pop(self)
            conductor.stir()
        if self.on_end is not None:
            self.on_end(result, error)
        return False


class Job(Awaitable):
    """An operation with something to do, as its caller has it, with where it was called until somebody awaits it."""

    __slots__ = ("_code", "_line", "course", "is_left_over", "task", "variables")

    def __init__(self, course: Course) -> None:
        self._steps = None
        self.course = course
        self.task: Future[Any] | None = None
        self.is_left_over = False
        self.variables: Any = None
        self._code: Any = None
        self._line = 0

    @property
    def is_begun(self) -> bool:
        """Whether somebody has awaited it."""
        return self.course.is_begun

    def __await__(self) -> Generator[Any, Any, Any]:
        """Do what is to be done; or await that, if somebody else has begun it."""
        self.variables = None  # it has those of the task that awaits it
        return self.course.begin()

    @property
    def is_awaited(self) -> bool:
        """Whether somebody awaits it, or has done so."""
        return self.course.is_begun

    async def by_itself(self) -> None:
        """Run it, since nobody has awaited it; what comes of it is kept for who may yet ask, or told at the end."""
        course = self.course
        if course.is_begun:  # somebody has awaited it meanwhile, and hears of its end
            course.conductor.unawaited.pop(course, None)
            return
        with contextlib.suppress(Exception, CancelledError, OrphanedChildException):  # kept
            await self

    def run_in(self, task: Future[Any]) -> None:
        """Have it carried out as what nobody awaits is, by a task that is about to run it."""
        if not self.course.is_begun:
            self.task = task
            self.course.conductor.unawaited[self.course] = self

    def carried_out(self) -> Generator[Any, Any, None]:
        """Return when it has ended, however; it is told at the end if it has failed."""
        course = self.course
        yield from course.until_done()
        if course.error is not None:
            self.is_left_over = True
            course.conductor.unawaited[course] = self

    def give_up(self) -> None:
        """Have it cancelled before it has begun, unless somebody else has awaited it."""
        if not self.course.is_begun:
            self.course.cancel(CancelledError())

    def leave(self) -> None:
        """Let it be waited for by nobody: what comes of it is of no consequence."""
        if not self.course.is_begun:
            self.course.cancel(CancelledError(LEFT))
        elif (job := self.course.conductor.unawaited.pop(self.course, None)) is not None and job.task is not None:
            self.course.conductor.leave(job.task)

    def note_place(self) -> None:
        """Note the user's line that has called it."""
        self._code, self._line = _place()
        self.variables = copy_context()

    def is_called_as(self, other: Job) -> None:
        """Take the user's line from another, in whose place it was called."""
        self._code, self._line = other._code, other._line

    def report(self) -> None:
        """Log the failure that nobody has asked for."""
        if self.course.error is not None and self._code is not None:
            _report(self.course.error, self._code, self._line)


def _place() -> tuple[CodeType, int]:
    """Give the user's line that has called an operation."""
    frame = sys._getframe(2)  # noqa: SLF001  the documented way to look at the stack
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("perdure."):
        frame = frame.f_back
    return frame.f_code, frame.f_lineno


def _report(error: BaseException, code: CodeType, line: int) -> None:
    if not isinstance(error, OrphanedChildException):  # its context is left behind, and what it came to
        logger.error(
            "an operation failed that nobody has awaited, called at %s:%d in %s",
            code.co_filename,
            line,
            code.co_name,
            exc_info=error,
        )


def warn_of_chance(cancelled: CancelledError, at: Any = None, scope: Scope | None = None) -> None:
    """Say that an operation was cut off where nothing records that, once for all that were by one cancellation.

    Args:
        cancelled: By what.
        at: What it was at: an operation, or the scope of a context; anything else tells nobody which one it was.
        scope: Of the context whose operation it is.

    """
    if vars(cancelled).get("is_told"):
        return
    vars(cancelled)["is_told"] = True
    logger.warning(
        "an operation%s was cancelled before it had ended, as asyncio.timeout and task.cancel() do. It stays recorded; "
        "whether it is cancelled on replay, too, depends on real time. Use context.timeout, context.race or the "
        "operation's own timeout.",
        _in_words(at, scope),
    )


def _in_words(at: Any, scope: Scope | None) -> str:
    if isinstance(at, Operation):
        return f" ({at.kind} {at.name or at.id[:8]})"
    if at is not None and not isinstance(at, tuple):
        return f" (CONTEXT {at.operation_id[:8]})"
    within = None if scope is None else scope.operation_id
    return "" if within is None else f" in a context ({within[:8]})"


def _is_of_live_step(request: tuple[Any, Any]) -> bool:
    """Whether a function is a step's, which can still fail."""
    args = request[1]
    if not args or not isinstance(args[-1], StepContext):
        return False
    of = getattr(args[-1], "_of", None)
    return of is None or of[0].scope.is_alive()


def _cut_short(request: tuple[Any, Any]) -> StepTimeoutError:
    return StepTimeoutError(
        f"attempt {request[1][-1].attempt} was cancelled before it had ended, as asyncio.timeout and task.cancel() do"
    )
