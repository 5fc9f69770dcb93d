"""What an asynchronous context gives for an operation: something to await, that passes for a coroutine.

An operation takes its position when it is called. What there is to do for it is done where it is first awaited, in the
task that awaits it; if nobody does so in time, in a task of its own.
"""

from __future__ import annotations

import contextlib
import sys
from asyncio import CancelledError
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any

from perdure._core import PENDING, START, Operation
from perdure._functions import PLAIN, is_coroutine
from perdure._log import Log
from perdure.aio.conductor import CONTROL, FIRST_PAUSE, LEFT
from perdure.aio.loop import InnerFuture
from perdure.exceptions import OrphanedChildException, StepTimeoutError
from perdure.types import StepContext, WaitForCallbackContext, WaitForConditionCheckContext

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Generator

    from perdure._core import Scope
    from perdure.aio.conductor import Conductor
    from perdure.engine.flows import Flow

logger = Log("perdure")

_NEW, _BEGUN, _DONE = range(3)

left_behind: ContextVar[bool] = ContextVar("left_behind", default=False)
"""Whether a task runs for its positions alone: what it comes to that is not recorded does not begin."""

_OF_USERS = (StepContext, WaitForConditionCheckContext, WaitForCallbackContext)


class Held(Exception):  # noqa: N818  a branch is, by its gate
    """A branch of a FLAT batch that is tried has come to something new."""

    def __init__(self, later: Callable[[Callable[[], Any]], Any]) -> None:
        super().__init__("the branch is held")
        self.later = later


class Awaitable:
    """What passes for a coroutine: it can be awaited, and be made a task of."""

    __slots__ = ("_steps",)

    is_operation = True
    _steps: Generator[Any, Any, Any] | None

    def __await__(self) -> Generator[Any, Any, Any]:
        """Give its steps."""
        raise NotImplementedError

    def send(self, value: Any) -> Any:
        """Go on."""
        steps = self._steps
        if steps is None:
            steps = self._steps = self.__await__()
        return steps.send(value)

    def throw(self, *error: Any) -> Any:
        """Go on with an error."""
        steps = self._steps
        if steps is None:
            self.give_up()
            steps = self._steps = self.__await__()
        return steps.throw(*error)

    def give_up(self) -> None:
        """Hear that the task that it was given to was cancelled before it had begun: there it is not awaited."""

    def close(self) -> None:
        """Go on no more."""
        if self._steps is not None:
            self._steps.close()


class Failed(Awaitable):
    """An operation whose call has failed, or whose failure is recorded: awaited, it raises that."""

    __slots__ = ("_error",)

    def __init__(self, error: BaseException) -> None:
        self._steps = None
        self._error = error

    def __await__(self) -> Generator[Any, Any, Any]:
        """Raise it."""
        raise self._error.with_traceback(None)
        yield  # a generator, as every awaitable has


class Job(Awaitable):
    """An operation with something to do."""

    __slots__ = (
        "__weakref__",
        "_cancelled",
        "_error",
        "_inner",
        "_joined",
        "_pause",
        "_result",
        "_state",
        "conductor",
        "flow",
        "in_thread",
        "on_end",
        "scope",
        "variables",
        "where",
    )

    def __init__(self, conductor: Conductor, flow: Flow[Any], scope: Scope | None = None) -> None:
        self._steps = None
        self._state = _NEW
        self.conductor = conductor
        self.flow = flow
        self.scope = scope
        self.variables: Any = None
        self.in_thread: bool | None = None
        self.on_end: Callable[[Any, BaseException | None], None] | None = None
        self.where: tuple[Any, int] | None = None
        self._inner: Scope | None = None
        self._joined: list[Future[Any]] | None = None
        self._cancelled: BaseException | None = None
        self._pause = FIRST_PAUSE
        self._result: Any = None
        self._error: BaseException | None = None

    @property
    def is_begun(self) -> bool:
        """Whether somebody has awaited it."""
        return self._state != _NEW

    @property
    def is_done(self) -> bool:
        """Whether it has ended."""
        return self._state == _DONE

    def __await__(self) -> Generator[Any, Any, Any]:
        """Do what is to be done; or await that, if somebody else has begun it."""
        if self._state == _NEW:
            self._state = _BEGUN
            self.variables = None  # it has those of the task that awaits it
            return self._never() if left_behind.get() else self._run()
        return self._join()

    async def by_itself(self) -> None:
        """Run it, since nobody has awaited it; what comes of it is kept for who may yet ask, or told at the end."""
        if self._state != _NEW:  # somebody has awaited it meanwhile, and hears of its end
            self.conductor.unawaited.pop(self, None)
            return
        with contextlib.suppress(Exception, CancelledError, OrphanedChildException):  # kept
            await self

    def carried_out(self) -> Generator[Any, Any, None]:
        """Return when it has ended, however; it is told at the end if it has failed."""
        if self._state != _DONE:
            future = InnerFuture(loop=self.conductor.loop)
            self._joined = [*(self._joined or ()), future]
            yield from future
        if self._error is not None:
            self.conductor.unawaited[self] = None

    def give_up(self) -> None:
        """Have it cancelled before it has begun, unless somebody else has awaited it."""
        if self._state == _NEW:
            self._never_begins(CancelledError())

    def _never_begins(self, error: BaseException) -> None:
        self.variables = None
        self.flow.close()
        self._finish(None, error)
        self.conductor.unawaited.pop(self, None)

    def leave(self) -> None:
        """Let it be waited for by nobody: what comes of it is of no consequence."""
        if self._state == _NEW:
            self._never_begins(CancelledError(LEFT))
        elif (task := self.conductor.unawaited.pop(self, None)) is not None:
            self.conductor.leave(task)

    def _never(self) -> Generator[Any, Any, Any]:
        while True:
            yield from InnerFuture(loop=self.conductor.loop)

    # ---- who comes later

    def _join(self) -> Generator[Any, Any, Any]:
        if self._state != _DONE:
            future = InnerFuture(loop=self.conductor.loop)
            self._joined = [*(self._joined or ()), future]
            yield from future
        self.conductor.unawaited.pop(self, None)
        if self._error is not None:
            raise self._error.with_traceback(None)
        return self._result

    def _finish(self, result: Any, error: BaseException | None) -> None:
        self._state = _DONE
        self._result, self._error = result, error
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

    # ---- the driver

    def _run(self) -> Generator[Any, Any, Any]:  # noqa: C901, PLR0912, PLR0915  in one frame: each costs, as long as it waits
        conductor, flow = self.conductor, self.flow
        checkpoints, before_function = conductor.checkpoints, conductor.core.before_function
        resume: Any = flow.send
        given: Any = None
        failure: BaseException | None = None
        try:
            while True:
                request = resume(given)
                resume, given = flow.send, None
                try:
                    if isinstance(request, tuple):
                        if ticket := before_function():
                            yield from conductor.durable(ticket)
                        checkpoints.watch()
                        given = yield from self._call(*request)
                    elif isinstance(request, Operation):
                        given = yield from self._able(request)
                    elif request:
                        yield from conductor.durable(request)
                    elif ticket := before_function():
                        yield from conductor.durable(ticket)
                    else:
                        checkpoints.watch()
                except GeneratorExit:
                    raise
                except CONTROL as ended:
                    yield from conductor.stop(ended)
                except CancelledError as cancelled:
                    was_cut_short = self._cancelled is not None
                    self._cancelled = cancelled
                    if isinstance(request, int):  # it is on its way all the same, and durable now
                        continue
                    if isinstance(request, tuple) and _is_of_live_step(request):
                        resume, given = flow.throw, _cut_short(request)
                        continue
                    if self._inner is not None:
                        self._inner.break_off()
                    if not was_cut_short:
                        self._warn(request)
                    flow.close()
                    self._finish(None, cancelled)
                    raise
                except BaseException as error:  # noqa: BLE001  the flow's business
                    resume, given = flow.throw, error
        except StopIteration as returned:
            if self._cancelled is None:
                self._finish(returned.value, None)
                return returned.value
            failure = self._cancelled
        except GeneratorExit:
            self._state = _DONE
            flow.close()
            raise
        except CONTROL as ended:
            yield from conductor.stop(ended)
        except CancelledError:
            raise
        except BaseException as raised:
            if self._cancelled is None or not isinstance(raised, Exception):
                self._finish(None, raised)
                raise
            failure = self._cancelled
        if failure is None:  # the invocation has ended
            failure = CancelledError()
        self._finish(None, failure)
        raise failure from None

    def _able(self, operation: Operation) -> Generator[Any, Any, Operation]:
        """Give an operation when it can go on."""
        while True:
            if operation.decision == START:
                yield from self.conductor.durable(operation.ticket)
                operation = operation.again()
            elif operation.decision == PENDING:
                if self._cancelled is not None:  # its attempt was cut short: whoever awaited it does so no more
                    raise self._cancelled
                parked = self.conductor.park(operation, self._pause, self.scope)
                try:
                    yield from parked.future
                finally:
                    self.conductor.unpark(parked)
                self._pause = parked.pause
                operation = operation.resume()
            else:
                return operation

    def _call(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Generator[Any, Any, Any]:
        """Call a function, and await what it gives, if that can be awaited."""
        if self.conductor.is_over:  # it has ended in this turn of the loop: nothing begins any more
            yield from self.conductor.stop(CancelledError())
        last = args[-1] if args else None
        if not isinstance(last, _OF_USERS):
            scope = getattr(last, "scope", None)
            if scope is not None:
                self._inner = scope
            result = function(*args)
            if type(result) not in PLAIN and hasattr(type(result), "__await__"):
                result = yield from result.__await__()
            if scope is not None:
                yield from self.conductor.carry_out(scope)
            return result
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
        finally:
            conductor.at_work -= 1
            conductor.stir()

    def _warn(self, request: Any) -> None:
        is_over = self.scope is not None and not self.scope.is_alive()
        is_left = (
            is_over or self.conductor.unwinding or (self._cancelled is not None and self._cancelled.args == (LEFT,))
        )
        if isinstance(request, Operation) and not self.conductor.is_over and not is_left:
            logger.warning(
                "an operation (%s) was cancelled while it waited for the service, as asyncio.timeout and task.cancel() "
                "do. It stays recorded; whether it is cancelled on replay, too, depends on real time. Use "
                "context.timeout, context.race or the operation's own timeout.",
                f"{request.kind} {request.name or request.id[:8]}",
            )

    def note_place(self) -> None:
        """Note the user's line that has called it."""
        frame = sys._getframe(2)  # noqa: SLF001  the documented way to look at the stack
        while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("perdure."):
            frame = frame.f_back
        self.where = frame.f_code, frame.f_lineno
        self.variables = copy_context()

    def report(self) -> None:
        """Log the failure that nobody has asked for."""
        is_orphan = isinstance(self._error, OrphanedChildException)  # its context is left behind, and what it came to
        if self._error is not None and self.where is not None and not is_orphan:
            code, line = self.where
            logger.error(
                "an operation failed that nobody has awaited, called at %s:%d in %s",
                code.co_filename,
                line,
                code.co_name,
                exc_info=self._error,
            )


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
