"""Sagas: what was done is undone when what follows fails; and clean-ups that run however a block ends.

Both are built on the public operations: an undo is a step, and all of a saga's are steps of one child context. What is
recorded is what a program would record that wrote them out.
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from perdure._core import MAX_NAME, at_work, check_name
from perdure._functions import check_function, is_coroutine, refuse_awaitable
from perdure.config import StepConfig
from perdure.engine.operations.common import REFUSALS, passes_through
from perdure.exceptions import (
    DurableExecutionsError,
    DurableOperationError,
    InvalidStateError,
    InvocationError,
    SerDesError,
    StepError,
    ValidationError,
    WrongContextError,
    operation_error,
    wire_error_type,
    wire_text,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType
    from typing import Self

    from perdure.retries import RetryDecision
    from perdure.types import DurableContext, StepContext

    RetryStrategy = Callable[[Exception, int], RetryDecision]

T = TypeVar("T")

_NAMELESS = "without a name"

__all__ = ["CleanUp", "CompensationError", "Saga"]


class CompensationError(DurableExecutionsError):
    """Undos of a saga failed, after all their attempts; the others have run.

    ``__cause__`` is the error that the saga failed of; None when `Saga.compensate` was called by hand.

    Args:
        message: Which undos failed, and why.
        failures: The error of each, in the order in which they ran; a note of it names the undo.

    """

    def __init__(self, message: str, failures: list[DurableOperationError | SerDesError]) -> None:
        super().__init__(message)
        self.group = ExceptionGroup(message, failures)
        """The errors of the undos, as a group."""

    @property
    def failures(self) -> tuple[Exception, ...]:
        """The errors of the undos, in the order in which they ran."""
        return self.group.exceptions


class _Act(NamedTuple):
    """A step to be run later.

    Args:
        function: The step's.
        name: Its name.
        retry: Its retry strategy.

    """

    function: Callable[[StepContext], Any]
    name: str | None
    retry: RetryStrategy | None

    def run(self, context: DurableContext) -> Any:
        """Run it; or give what is awaited, where that is what operations are."""
        return context.step(self.function, self.name, StepConfig(retry_strategy=self.retry))


class Remembers:
    """What sagas have in common, whether or not they are awaited.

    Args:
        context: Where the undos run.
        name: Of the saga.

    """

    __slots__ = ("_at_work", "_context", "_is_over", "_name", "_undos")

    def __init__(self, context: Any, name: str | None = None) -> None:
        self._context = context
        self._name = f"{name}-compensation" if name else "compensation"
        check_name(self._name)
        self._undos: list[Any] = []
        self._is_over = False
        self._at_work = at_work()

    def add(
        self, undo: Callable[..., Any], *args: Any, name: str | None = None, retry: RetryStrategy | None = None
    ) -> None:
        """Remember something to be undone.

        Args:
            undo: A function of a step, plain or decorated with `durable_step`: called with a `StepContext` and the
                arguments.
            args: Its further arguments.
            name: Of the undo's step; by default the function's.
            retry: Decides whether and when a failed undo is repeated; default `RetryPresets.default()`.

        Raises:
            ValidationError: For an undo that could not be called.
            WrongContextError: In another function than the saga was made in.

        """
        self._check_open()
        _check(undo, "an undo", len(args), self._context.takes_async)
        self._undos.append(self._act(undo, args, name, retry))

    def _named_undo(self, func: Any, name: str | None, undo: Any, undo_name: str | None) -> tuple[str | None, Any]:
        """Give the names of a step and of its undo, once it is known that this could be called."""
        name = name or getattr(func, "_original_name", None)
        if not undo_name and name:
            undo_name = f"undo-{name}"[:MAX_NAME]
        self._check_open()
        _check(undo, "an undo", 1, self._context.takes_async)
        _name_of(undo, undo_name)
        return name, undo_name

    def _act(self, undo: Callable[..., Any], args: tuple[Any, ...], name: str | None, retry: Any) -> _Act:
        return _act(undo, args, name, retry, self._context.takes_async)

    def _check_open(self) -> None:
        if self._is_over:
            raise InvalidStateError("the saga's block has ended: nothing would be undone any more")
        if at_work() is not self._at_work:
            raise WrongContextError(
                "a saga was used in another function than it was made in, such as that of a step, a branch or a child "
                "context: that does not run again once it is recorded, and what the saga is told there would be "
                "forgotten. Make a saga of its own inside, or return what is to be undone and add it outside"
            )


class Saga(Remembers):
    """Remembers how to undo what was done; `DurableContext.saga` makes it.

    As a ``with`` block it undoes, last in first out, when an exception leaves the block, and then lets that go on. A
    suspension undoes nothing, nor does what ends the invocation: the block goes on in the next one.

    What is remembered is rebuilt by running the block again. So use it in the function that its context was handed to
    alone: not in a step, a branch or a child context, whose code does not run again once they are recorded.

    Args:
        context: Where the undos run.
        name: Of the saga; the context of its undos is named after it.

    """

    __slots__ = ()

    def step(
        self,
        func: Callable[[StepContext], T],
        name: str | None = None,
        config: StepConfig | None = None,
        *,
        undo: Callable[..., Any],
        undo_name: str | None = None,
        undo_retry: RetryStrategy | None = None,
        **options: Any,
    ) -> T:
        """Run a step, and remember how to undo it once it has succeeded.

        Args:
            func: As for `DurableContext.step`.
            name: Of the step.
            config: Of the step.
            undo: A function of a step, plain or decorated with `durable_step`: called with a `StepContext` and the
                step's result.
            undo_name: Of the undo's step; by default that of the step, after ``undo-``.
            undo_retry: Decides whether and when a failed undo is repeated; default `RetryPresets.default()`.
            options: Of the step, as `DurableContext.step` takes them: ``retry=``, ``step_semantics=``, ….

        Returns:
            The step's result.

        Raises:
            StepError: If the step failed. It is not undone then: what may have to be undone all the same is given to
                `add` before.
            ValidationError: For an undo that could not be called.

        """
        name, undo_name = self._named_undo(func, name, undo, undo_name)
        result: T = self._context.step(func, name, config, **options)
        self._undos.append(self._act(undo, (result,), undo_name, undo_retry))
        return result

    def compensate(self) -> None:
        """Undo what is remembered, and forget it.

        Raises:
            CompensationError: If undos failed.

        """
        self._check_open()
        self._compensate(None)

    def __enter__(self) -> Self:
        """Begin the block."""
        self._check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the block: undo, if it failed."""
        self._is_over = True
        if error is not None and is_failure(error):
            self._compensate(error)

    def _compensate(self, error: BaseException | None) -> None:
        undos, self._undos = self._undos[::-1], []
        if undos:
            recorded = self._context.run_in_child_context(partial(_undo_all, undos), self._name)
            raise_failures(recorded, len(undos), error)


def raise_failures(recorded: list[dict[str, Any]], total: int, error: BaseException | None) -> None:
    """Raise the failures of undos, if there are any.

    Args:
        recorded: What is recorded of each.
        total: How many undos there were.
        error: What the saga failed of.

    Raises:
        CompensationError: If there are.

    """
    if recorded:
        failures = [_failure(each) for each in recorded]
        told = "; ".join(map(_told, recorded))
        after = "" if error is None else f", after {wire_error_type(error)}: {wire_text(error)}"
        message = f"{len(failures)} of {total} undos failed ({told}){after}"
        raise CompensationError(message, failures) from error


class ToCleanUp:
    """A step that is to run when a block has ended, whether or not that is awaited.

    Args:
        context: Where it runs.
        func: A function of a step, plain or decorated with `durable_step`.
        args: Its further arguments.
        name: Of the step.
        retry: Of the step.

    """

    __slots__ = ("_act", "_context")

    def __init__(
        self,
        context: Any,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        name: str | None,
        retry: RetryStrategy | None,
    ) -> None:
        _check(func, "a clean-up", len(args), context.takes_async)
        self._context = context
        self._act = _act(func, args, name, retry, context.takes_async)


class CleanUp(ToCleanUp):
    """Runs a step when its ``with`` block has ended, however; `DurableContext.finally_` makes it."""

    __slots__ = ()

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the block: clean up, unless the invocation ends."""
        if error is None or is_failure(error):
            self._act.run(self._context)


def is_failure(error: BaseException) -> bool:
    """Whether an exception is the program's, rather than what ends the invocation."""
    if isinstance(error, REFUSALS) or (isinstance(error, InvocationError) and error.is_retryable()):
        return False
    return isinstance(error, Exception)


def _check(function: Callable[..., Any], what: str, count: int, takes_async: bool) -> None:
    """Refuse what could not be called later on, when it is too late to mend it."""
    takes: Any = function
    if _is_decorated(function):
        takes = takes.durable_decorator[2]  # what it binds the arguments of
    else:
        check_function(function, what, "a StepContext and its arguments", takes_async)
    try:
        signature = inspect.signature(takes)
    except (TypeError, ValueError):  # not every function of C tells
        return
    try:
        signature.bind(None, *[None] * count)
    except TypeError as misfit:
        raise ValidationError(
            f"{what} is called with a StepContext and {count} argument{'' if count == 1 else 's'}, and "
            f"{getattr(function, '__qualname__', function)} takes {signature}: {misfit}"
        ) from None


def _is_decorated(function: Any) -> bool:
    """Whether a function makes a step of its arguments, rather than being one's."""
    mark = getattr(function, "durable_decorator", None)
    return type(mark) is tuple and mark[0] == "durable_step"


def _act(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    name: str | None,
    retry: RetryStrategy | None,
    takes_async: bool,
) -> _Act:
    """Make the step that calls a function; what that returns is not recorded, so that it need be no value."""
    decorated = _is_decorated(function)

    def given(step: StepContext) -> Any:
        return function(*args)(step) if decorated else function(step, *args)

    def call(step: StepContext) -> Any:
        result = given(step)
        if takes_async and hasattr(type(result), "__await__"):
            return _dropped(result)
        refuse_awaitable(result, name or "an undo")
        return None

    async def awaited(step: StepContext) -> None:
        await given(step)

    return _Act(awaited if takes_async and is_coroutine(function) else call, _name_of(function, name), retry)


async def _dropped(result: Awaitable[Any]) -> None:
    """Await what need be no value."""
    await result


def _name_of(function: Callable[..., Any], name: str | None) -> str | None:
    """Give the name of a function's step, which the service must take."""
    name = name or getattr(function, "_original_name", None) or getattr(function, "__name__", None)
    if not isinstance(name, str) or name == "<lambda>":
        return None
    check_name(name)
    return name


def _undo_all(undos: list[_Act], context: DurableContext) -> list[dict[str, Any]]:
    """Run undos, whichever of them fail; give what is recorded of those."""
    failed: list[dict[str, Any]] = []
    for undo in undos:
        try:
            undo.run(context)
        except Exception as error:
            if passes_through(error):
                raise
            failed.append(recorded_failure(undo, error))
    return failed


def recorded_failure(undo: _Act, error: Exception) -> dict[str, Any]:
    """Give what is recorded of an undo that failed: its name, and the members of an error object that there are."""
    members: dict[str, Any] = {"Name": undo.name}
    if isinstance(error, (DurableOperationError, SerDesError)):
        members |= {"ErrorType": error.error_type, "ErrorMessage": error.message}
        members |= {"ErrorData": error.data, "StackTrace": error.stack_trace}
    else:
        members |= {"ErrorType": wire_error_type(error), "ErrorMessage": wire_text(error)}
    return {key: value for key, value in members.items() if value is not None}


def _failure(recorded: dict[str, Any]) -> DurableOperationError | SerDesError:
    """Build the error of an undo from what is recorded of it."""
    error = operation_error(
        StepError,
        recorded.get("ErrorType"),
        recorded.get("ErrorMessage"),
        recorded.get("ErrorData"),
        recorded.get("StackTrace"),
    )
    error.add_note(f"(undo {recorded.get('Name', _NAMELESS)})")
    return error


def _told(recorded: dict[str, Any]) -> str:
    name, kind, message = (recorded.get(key) for key in ("Name", "ErrorType", "ErrorMessage"))
    return f"{name or _NAMELESS}: {kind}: {message}"
