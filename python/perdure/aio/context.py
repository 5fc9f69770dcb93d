"""`AsyncDurableContext`: what an ``async def`` handler calls.

Its operations are those of `perdure.context.DurableContext`, driven by tasks. Each takes its position when it is
called, in the order of the program, and gives something to await: for what is recorded, a value that is there at once.
"""

from __future__ import annotations

from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, overload

from perdure._core import FAILED, RECORDED, Operation, Ready, typed_of
from perdure.aio.endings import is_end
from perdure.aio.job import Awaitable, Course, Failed, Held, Job, is_member
from perdure.context import DurableContext, members_of, seconds_of
from perdure.engine.operations import step as _step
from perdure.engine.operations.callback import Callback
from perdure.exceptions import OrphanedChildException, ValidationError

if TYPE_CHECKING:
    from collections.abc import Awaitable as Awaited
    from collections.abc import Callable, Coroutine, Generator, Sequence
    from datetime import datetime

    from perdure._core import Scope
    from perdure._duration import DurationLike
    from perdure.aio.conductor import Conductor
    from perdure.aio.races import AsCompleted, Select
    from perdure.aio.sagas import AsyncCleanUp, AsyncSaga
    from perdure.aio.timeouts import Timeout
    from perdure.combinators import Combinator
    from perdure.concurrency.models import BatchItem, BatchResult
    from perdure.config import (
        CallbackConfig,
        ChildConfig,
        InvokeConfig,
        MapConfig,
        ParallelBranch,
        ParallelConfig,
        StepConfig,
        WaitForCallbackConfig,
    )
    from perdure.engine.flows import Flow
    from perdure.engine.invocation import Invocation
    from perdure.engine.operations.batch import Branches
    from perdure.retries import RetryDecision
    from perdure.types import StepContext, WaitForCallbackContext, WaitForConditionCheckContext
    from perdure.waits import WaitForConditionConfig

    RetryStrategy = Callable[[Exception, int], RetryDecision]

T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")


def awaited(method: Callable[..., Any]) -> Callable[..., Any]:
    """Make an operation one that is awaited."""

    @wraps(method)
    def call(context: AsyncDurableContext, *given: Any, **named: Any) -> Any:
        if context.conductor.beginnings is not None and context.conductor.begin_made():
            return _Halted(context.conductor, None)
        try:
            found = method(context, *given, **named)
        except Held as held:
            return held.later(partial(call, context, *given, **named), context.scope)
        except (Exception, OrphanedChildException) as error:  # noqa: BLE001  raised where it is awaited
            return Failed(error, context.conductor)
        except BaseException as ended:
            if not is_end(ended):
                raise
            return _Halted(context.conductor, ended)
        return found if isinstance(found, (Ready, Awaitable)) else Ready(found)

    return call


class _Halted(Awaitable):
    """What is awaited for ever, since the invocation ends: by what an operation's call has raised, or before it."""

    __slots__ = ("_conductor", "_error")

    def __init__(self, conductor: Conductor, error: BaseException | None) -> None:
        self._steps = None
        self._conductor = conductor
        self._error = error

    def __await__(self) -> Generator[Any, Any, Any]:
        """End it."""
        return self._conductor.stop(self._error)


class AsyncCallback(Callback[T]):
    """A value that somebody outside will send; its `result` is awaited."""

    __slots__ = ()

    @property
    def conductor(self) -> Conductor:
        """Who leads the tasks of its invocation."""
        return self._context.conductor  # type: ignore[attr-defined,no-any-return]

    def _result(self) -> Any:
        if not (self.conductor.watching or self.conductor.blocks):
            return self._asked()
        from perdure.aio.blocks import ask  # noqa: PLC0415  only for handlers that use it

        return ask(self.operation_id, self._asked)

    def _asked(self) -> Any:
        scope = self._context.invocation.core.here()
        operation = scope.callback_result(self.operation_id, counts=False)
        job = self._context.drive(self._counted(scope, operation))
        if operation.decision not in (RECORDED, FAILED):
            for block in self.conductor.watching:
                block.note_answer(job, self.operation_id)
        return job

    def _counted(self, scope: Scope, operation: Operation) -> Flow[T | None]:
        """Give the answer; let it count for what is now once it is awaited, whether or not it was there when asked for.

        Where it takes part in a decision, it is the decision that counts.
        """
        operation = yield operation
        if not is_member.get():
            scope.answered(self.operation_id)
        return (yield from self._answer(operation))

    if TYPE_CHECKING:

        def result(self) -> Coroutine[Any, Any, T | None]:  # type: ignore[override]
            """Give what the outside has sent: see `Callback.result`."""
    else:
        result = awaited(Callback.result)


class AsyncDurableContext(DurableContext):
    """The durable operations of an ``async def`` handler, child context or branch.

    As `DurableContext`, whose operations it has by the same names and with the same parameters, but that they are
    awaited. Functions given to it may be ``async def`` or plain.

    Example:
        >>> @durable_execution
        ... async def handler(event: dict, context: AsyncDurableContext) -> str:
        ...     order, stock = await asyncio.gather(context.step(load), context.step(count))
        ...     await context.wait(60)
        ...     return await context.step(ship(order))

    """

    __slots__ = ("conductor",)

    takes_async = True
    callback_kind: ClassVar[type[Any]] = AsyncCallback

    def __init__(self, invocation: Invocation, scope: Scope, *more: Any, conductor: Conductor) -> None:
        super().__init__(invocation, scope, *more)
        self.conductor = conductor

    def drive(self, flow: Flow[Any]) -> Job:  # type: ignore[override]
        """Make something to await of a flow. Used by the operations."""
        job = Job(Course(self.conductor, flow, self.scope))
        job.note_place()
        self.conductor.born(job)
        return job

    def made(self, scope: Scope, *more: Any) -> AsyncDurableContext:
        """Make a context of the same kind. Used by `child`."""
        return type(self)(self.invocation, scope, *more, conductor=self.conductor)

    def as_kind(self, kind: type[AsyncDurableContext]) -> AsyncDurableContext:  # type: ignore[override]
        """Make the same context of another class. Used where a handler has defaults."""
        return kind(self.invocation, self.scope, conductor=self.conductor)

    def branches(self) -> type[Branches]:
        """Give what runs the branches of a map or parallel. Used by the operations."""
        from perdure.aio.batch import BranchTasks  # noqa: PLC0415  only for handlers that use them

        return BranchTasks

    def saga(self, name: str | None = None) -> AsyncSaga:  # type: ignore[override]
        """Undo what was done when what follows fails: ``async with context.saga() as saga``.

        As `DurableContext.saga`, but that it and its steps are awaited.
        """
        from perdure.aio.sagas import AsyncSaga  # noqa: PLC0415  only for handlers that use it

        return AsyncSaga(self, name)

    def finally_(  # type: ignore[override]
        self, func: Callable[..., Any], *args: Any, name: str | None = None, retry: RetryStrategy | None = None
    ) -> AsyncCleanUp:
        """Clean up after a block: ``async with context.finally_(release, key)``; see `DurableContext.finally_`."""
        from perdure.aio.sagas import AsyncCleanUp  # noqa: PLC0415  only for handlers that use it

        return AsyncCleanUp(self, func, args, name, retry)

    def as_completed(self, operations: Sequence[Awaited[T]], name: str | None = None) -> AsCompleted[T]:
        """Give operations in the order in which they end: it is recorded, and the same on every replay.

        Args:
            operations: Called already: each is given back to be awaited for its result.
            name: Of the decisions, which are child contexts.

        Example:
            >>> async for done in context.as_completed([context.step(a), context.step(b)]):
            ...     result = await done

        """
        from perdure.aio.races import AsCompleted  # noqa: PLC0415  only for handlers that use it

        return AsCompleted(self, operations, name)

    def select(self, name: str | None = None) -> Select[Any]:
        """Wait for the first of several operations, again and again: each decision is recorded.

        Args:
            name: Of the decisions, which are child contexts.

        Example:
            >>> async with context.select() as select:
            ...     select.add("approval", context.wait_for_callback(ask))
            ...     select.add("reminder", context.wait(3600))
            ...     async for key, done in select:
            ...         result = await done

        """
        from perdure.aio.races import Select  # noqa: PLC0415  only for handlers that use it

        return Select(self, name)

    def timeout(self, duration: DurationLike, name: str | None = None) -> Timeout:
        """Give a block so long: ``async with context.timeout(60)`` raises a `TimeoutError`, as `asyncio.timeout` does.

        The time is a durable wait: it goes on while the execution is suspended. Whether it was over first is recorded,
        and the same on every replay.

        Args:
            duration: A `Duration`, a `datetime.timedelta`, or seconds; 1 second to 366 days.
            name: Of the child context that it is recorded as.

        """
        from perdure.aio.timeouts import Timeout  # noqa: PLC0415  only for handlers that use it

        return Timeout(self, seconds_of(duration, "the timeout", name), name)

    def _combine(
        self,
        combinator: Combinator,
        given: Sequence[Any],
        name: str | None,
        max_concurrency: int | None,
        timeout: DurationLike | None,
    ) -> Any:
        from perdure.aio.races import Combination, Then, are_awaited  # noqa: PLC0415  only for handlers that use it

        members = members_of(combinator, given, name, timeout)
        if are_awaited(given, combinator.name):
            if max_concurrency is not None:
                raise ValidationError("max_concurrency= is of functions: operations that were called are under way")
            return Combination(self, members, name)
        functions, policy, limit = members.to_run(max_concurrency)
        found: Any = self.parallel(functions, name, max_concurrency=limit, completion_config=policy)
        return Then(found, members.give)

    if TYPE_CHECKING:
        # The operations of `DurableContext`, as they are awaited. A function that gives something to await comes first:
        # it is taken for one that gives what that comes to.

        @overload  # type: ignore[override]
        def step(
            self,
            func: Callable[[StepContext], Any],
            name: str | None = None,
            config: StepConfig | None = None,
            *,
            returns: type[T],
            **options: Any,
        ) -> Coroutine[Any, Any, T]: ...
        @overload
        def step(
            self,
            func: Callable[[StepContext], Coroutine[Any, Any, T]],
            name: str | None = None,
            config: StepConfig | None = None,
            **options: Any,
        ) -> Coroutine[Any, Any, T]: ...
        @overload
        def step(
            self,
            func: Callable[[StepContext], T],
            name: str | None = None,
            config: StepConfig | None = None,
            **options: Any,
        ) -> Coroutine[Any, Any, T]: ...
        def step(self, func: Any, name: Any = None, config: Any = None, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            """See `DurableContext.step`."""

        def wait(  # type: ignore[override]
            self, duration: DurationLike, name: str | None = None
        ) -> Coroutine[Any, Any, None]:
            """See `DurableContext.wait`."""
            ...

        @overload  # type: ignore[override]
        def create_callback(
            self, name: str | None = None, config: CallbackConfig | None = None, *, returns: type[T], **options: Any
        ) -> Coroutine[Any, Any, AsyncCallback[T]]: ...
        @overload
        def create_callback(
            self, name: str | None = None, config: CallbackConfig | None = None, **options: Any
        ) -> Coroutine[Any, Any, AsyncCallback[Any]]: ...
        def create_callback(self, name: Any = None, config: Any = None, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            """See `DurableContext.create_callback`."""

        @overload  # type: ignore[override]
        def wait_for_callback(
            self,
            submitter: Callable[[str, WaitForCallbackContext], Any],
            name: str | None = None,
            config: WaitForCallbackConfig | None = None,
            *,
            returns: type[T],
            **options: Any,
        ) -> Coroutine[Any, Any, T]: ...
        @overload
        def wait_for_callback(
            self,
            submitter: Callable[[str, WaitForCallbackContext], Any],
            name: str | None = None,
            config: WaitForCallbackConfig | None = None,
            **options: Any,
        ) -> Coroutine[Any, Any, Any]: ...
        def wait_for_callback(self, submitter: Any, name: Any = None, config: Any = None, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            """See `DurableContext.wait_for_callback`."""

        @overload  # type: ignore[override]
        def wait_for_condition(
            self,
            check: Callable[[T, WaitForConditionCheckContext], Coroutine[Any, Any, T]],
            config: WaitForConditionConfig[T] | None = None,
            name: str | None = None,
            **options: Any,
        ) -> Coroutine[Any, Any, T]: ...
        @overload
        def wait_for_condition(
            self,
            check: Callable[[T, WaitForConditionCheckContext], T],
            config: WaitForConditionConfig[T] | None = None,
            name: str | None = None,
            **options: Any,
        ) -> Coroutine[Any, Any, T]: ...
        def wait_for_condition(self, check: Any, config: Any = None, name: Any = None, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            """See `DurableContext.wait_for_condition`."""

        @overload  # type: ignore[override]
        def invoke(
            self,
            function_name: str,
            payload: Any,
            name: str | None = None,
            config: InvokeConfig[Any, Any] | None = None,
            *,
            returns: type[T],
            **options: Any,
        ) -> Coroutine[Any, Any, T]: ...
        @overload
        def invoke(
            self,
            function_name: str,
            payload: Any,
            name: str | None = None,
            config: InvokeConfig[Any, Any] | None = None,
            **options: Any,
        ) -> Coroutine[Any, Any, Any]: ...
        def invoke(  # pyright: ignore[reportIncompatibleMethodOverride]
            self, function_name: Any, payload: Any, name: Any = None, config: Any = None, **options: Any
        ) -> Any:
            """See `DurableContext.invoke`."""

        @overload  # type: ignore[override]
        def run_in_child_context(
            self,
            func: Callable[[AsyncDurableContext], Any],
            name: str | None = None,
            config: ChildConfig[Any] | None = None,
            *,
            returns: type[T],
            **options: Any,
        ) -> Coroutine[Any, Any, T]: ...
        @overload
        def run_in_child_context(
            self,
            func: Callable[[AsyncDurableContext], Coroutine[Any, Any, T]],
            name: str | None = None,
            config: ChildConfig[Any] | None = None,
            **options: Any,
        ) -> Coroutine[Any, Any, T]: ...
        @overload
        def run_in_child_context(
            self,
            func: Callable[[AsyncDurableContext], T],
            name: str | None = None,
            config: ChildConfig[Any] | None = None,
            **options: Any,
        ) -> Coroutine[Any, Any, T]: ...
        def run_in_child_context(self, func: Any, name: Any = None, config: Any = None, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            """See `DurableContext.run_in_child_context`."""

        @overload  # type: ignore[override]
        def map(
            self,
            inputs: Sequence[U],
            func: Callable[[AsyncDurableContext, U, int, Any], Coroutine[Any, Any, T]],
            name: str | None = None,
            config: MapConfig[U] | None = None,
            **options: Any,
        ) -> Coroutine[Any, Any, BatchResult[T]]: ...
        @overload
        def map(
            self,
            inputs: Sequence[U],
            func: Callable[[AsyncDurableContext, U, int, Any], T],
            name: str | None = None,
            config: MapConfig[U] | None = None,
            **options: Any,
        ) -> Coroutine[Any, Any, BatchResult[T]]: ...
        @overload
        def map(
            self,
            inputs: Sequence[Any],
            func: Callable[..., Any],
            name: str | None = None,
            config: MapConfig[Any] | None = None,
            **options: Any,
        ) -> Coroutine[Any, Any, BatchResult[Any]]: ...
        def map(self, inputs: Any, func: Any, name: Any = None, config: Any = None, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            """See `DurableContext.map`."""

        @overload  # type: ignore[override]
        def parallel(
            self,
            functions: Sequence[Callable[[AsyncDurableContext], Coroutine[Any, Any, T]]],
            name: str | None = None,
            config: ParallelConfig | None = None,
            **options: Any,
        ) -> Coroutine[Any, Any, BatchResult[T]]: ...
        @overload
        def parallel(
            self,
            functions: Sequence[Any],
            name: str | None = None,
            config: ParallelConfig | None = None,
            **options: Any,
        ) -> Coroutine[Any, Any, BatchResult[Any]]: ...
        def parallel(self, functions: Any, name: Any = None, config: Any = None, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            """See `DurableContext.parallel`."""

        def now(self) -> Coroutine[Any, Any, datetime]:  # type: ignore[override]
            """See `DurableContext.now`."""
            ...

        @overload  # type: ignore[override]
        def all(  # type: ignore[overload-overlap]  # a tuple is a Sequence, too
            self,
            functions: tuple[Awaited[T]],
            name: str | None = None,
            *,
            timeout: DurationLike | None = None,
        ) -> Coroutine[Any, Any, tuple[T]]: ...
        @overload
        def all(  # type: ignore[overload-overlap]  # a tuple is a Sequence, too
            self,
            functions: tuple[Awaited[T], Awaited[U]],
            name: str | None = None,
            *,
            timeout: DurationLike | None = None,
        ) -> Coroutine[Any, Any, tuple[T, U]]: ...
        @overload
        def all(  # type: ignore[overload-overlap]  # a tuple is a Sequence, too
            self,
            functions: tuple[Awaited[T], Awaited[U], Awaited[V]],
            name: str | None = None,
            *,
            timeout: DurationLike | None = None,
        ) -> Coroutine[Any, Any, tuple[T, U, V]]: ...
        @overload
        def all(  # type: ignore[overload-overlap]  # a tuple is a Sequence, too
            self,
            functions: tuple[Awaited[T], ...],
            name: str | None = None,
            *,
            timeout: DurationLike | None = None,
        ) -> Coroutine[Any, Any, tuple[T, ...]]: ...
        @overload
        def all(  # type: ignore[overload-overlap]  # a tuple is a Sequence, too
            self,
            functions: tuple[Callable[[AsyncDurableContext], Coroutine[Any, Any, T]]],
            name: str | None = None,
            *,
            max_concurrency: int | None = None,
            timeout: DurationLike | None = None,
        ) -> Coroutine[Any, Any, tuple[T]]: ...
        @overload
        def all(  # type: ignore[overload-overlap]  # a tuple is a Sequence, too
            self,
            functions: tuple[
                Callable[[AsyncDurableContext], Coroutine[Any, Any, T]],
                Callable[[AsyncDurableContext], Coroutine[Any, Any, U]],
            ],
            name: str | None = None,
            *,
            max_concurrency: int | None = None,
            timeout: DurationLike | None = None,
        ) -> Coroutine[Any, Any, tuple[T, U]]: ...
        @overload
        def all(  # type: ignore[overload-overlap]  # a tuple is a Sequence, too
            self,
            functions: tuple[
                Callable[[AsyncDurableContext], Coroutine[Any, Any, T]],
                Callable[[AsyncDurableContext], Coroutine[Any, Any, U]],
                Callable[[AsyncDurableContext], Coroutine[Any, Any, V]],
            ],
            name: str | None = None,
            *,
            max_concurrency: int | None = None,
            timeout: DurationLike | None = None,
        ) -> Coroutine[Any, Any, tuple[T, U, V]]: ...
        @overload
        def all(  # type: ignore[overload-overlap]  # a tuple is a Sequence, too
            self,
            functions: tuple[Callable[[AsyncDurableContext], Coroutine[Any, Any, T]], ...],
            name: str | None = None,
            *,
            max_concurrency: int | None = None,
            timeout: DurationLike | None = None,
        ) -> Coroutine[Any, Any, tuple[T, ...]]: ...
        @overload
        def all(
            self,
            functions: Sequence[Awaited[T]],
            name: str | None = None,
            *,
            timeout: DurationLike | None = None,
        ) -> Coroutine[Any, Any, list[T]]: ...
        @overload
        def all(
            self,
            functions: Sequence[
                Callable[[AsyncDurableContext], Coroutine[Any, Any, T]] | ParallelBranch[Coroutine[Any, Any, T]]
            ],
            name: str | None = None,
            *,
            max_concurrency: int | None = None,
            timeout: DurationLike | None = None,
        ) -> Coroutine[Any, Any, list[T]]: ...
        @overload
        def all(
            self,
            functions: Sequence[Callable[[AsyncDurableContext], T] | ParallelBranch[T]],
            name: str | None = None,
            *,
            max_concurrency: int | None = None,
            timeout: DurationLike | None = None,
        ) -> Coroutine[Any, Any, list[T]]: ...
        def all(self, functions: Any, name: Any = None, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            """See `DurableContext.all`. Members are functions, or operations that were called."""

        @overload  # type: ignore[override]
        def any(
            self,
            functions: Sequence[Awaited[T]],
            name: str | None = None,
            *,
            timeout: DurationLike | None = None,
        ) -> Coroutine[Any, Any, T]: ...
        @overload
        def any(
            self,
            functions: Sequence[
                Callable[[AsyncDurableContext], Coroutine[Any, Any, T]] | ParallelBranch[Coroutine[Any, Any, T]]
            ],
            name: str | None = None,
            *,
            max_concurrency: int | None = None,
            timeout: DurationLike | None = None,
        ) -> Coroutine[Any, Any, T]: ...
        @overload
        def any(
            self,
            functions: Sequence[Callable[[AsyncDurableContext], T] | ParallelBranch[T]],
            name: str | None = None,
            *,
            max_concurrency: int | None = None,
            timeout: DurationLike | None = None,
        ) -> Coroutine[Any, Any, T]: ...
        def any(self, functions: Any, name: Any = None, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            """See `DurableContext.any`. Members are functions, or operations that were called."""

        @overload  # type: ignore[override]
        def race(
            self,
            functions: Sequence[Awaited[T]],
            name: str | None = None,
            *,
            timeout: DurationLike | None = None,
        ) -> Coroutine[Any, Any, T]: ...
        @overload
        def race(
            self,
            functions: Sequence[
                Callable[[AsyncDurableContext], Coroutine[Any, Any, T]] | ParallelBranch[Coroutine[Any, Any, T]]
            ],
            name: str | None = None,
            *,
            timeout: DurationLike | None = None,
        ) -> Coroutine[Any, Any, T]: ...
        @overload
        def race(
            self,
            functions: Sequence[Callable[[AsyncDurableContext], T] | ParallelBranch[T]],
            name: str | None = None,
            *,
            timeout: DurationLike | None = None,
        ) -> Coroutine[Any, Any, T]: ...
        def race(self, functions: Any, name: Any = None, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            """See `DurableContext.race`. Members are functions, or operations that were called."""

        @overload  # type: ignore[override]
        def all_settled(
            self,
            functions: Sequence[Awaited[T]],
            name: str | None = None,
            *,
            timeout: DurationLike | None = None,
        ) -> Coroutine[Any, Any, list[BatchItem[T]]]: ...
        @overload
        def all_settled(
            self,
            functions: Sequence[
                Callable[[AsyncDurableContext], Coroutine[Any, Any, T]] | ParallelBranch[Coroutine[Any, Any, T]]
            ],
            name: str | None = None,
            *,
            max_concurrency: int | None = None,
            timeout: DurationLike | None = None,
        ) -> Coroutine[Any, Any, list[BatchItem[T]]]: ...
        @overload
        def all_settled(
            self,
            functions: Sequence[Callable[[AsyncDurableContext], T] | ParallelBranch[T]],
            name: str | None = None,
            *,
            max_concurrency: int | None = None,
            timeout: DurationLike | None = None,
        ) -> Coroutine[Any, Any, list[BatchItem[T]]]: ...
        def all_settled(self, functions: Any, name: Any = None, **options: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            """See `DurableContext.all_settled`. Members are functions, or operations that were called."""

    else:

        def step(  # noqa: PLR0911  in one frame: a step pays for each
            self, func: Any, name: str | None = None, config: Any = None, **options: Any
        ) -> Any:
            """Run a function once and record its result: see `DurableContext.step`.

            Of a plain function, ``in_thread`` says whether it runs in a thread of its own, beside the event loop, or in
            the loop's, which then does nothing else. By default it gets a thread if there is anything else to do.
            """
            if self.conductor.beginnings is not None and self.conductor.begin_made():
                return _Halted(self.conductor, None)
            if config is not None or options:
                return _step_in(options.pop("in_thread", None), self, func, name, config, **options)
            try:
                if not name:
                    name = getattr(func, "_original_name", None)
                found = self.scope.step(name, func)
                if type(found) is not Operation:
                    return found
                return self.drive(_step.run(self, found, func, None, typed_of(func)))
            except Held as held:
                return held.later(partial(self.step, func, name), self.scope)  # a lambda would make cells in each call
            except (Exception, OrphanedChildException) as error:  # noqa: BLE001  the same
                if isinstance(error, RecursionError):
                    self.scope.is_exhausted = True
                return Failed(error, self.conductor)
            except BaseException as ended:
                if not is_end(ended):
                    raise
                return _Halted(self.conductor, ended)

        wait = awaited(DurableContext.wait)
        create_callback = awaited(DurableContext.create_callback)
        wait_for_callback = awaited(DurableContext.wait_for_callback)
        wait_for_condition = awaited(DurableContext.wait_for_condition)
        invoke = awaited(DurableContext.invoke)
        run_in_child_context = awaited(DurableContext.run_in_child_context)
        map = awaited(DurableContext.map)
        parallel = awaited(DurableContext.parallel)
        now = awaited(DurableContext.now)
        all = awaited(DurableContext.all)
        any = awaited(DurableContext.any)
        race = awaited(DurableContext.race)
        all_settled = awaited(DurableContext.all_settled)


_step_with_options = awaited(DurableContext.step)


def _step_in(in_thread: bool | None, *given: Any, **options: Any) -> Any:
    found = _step_with_options(*given, **options)
    if in_thread is not None:
        job = getattr(found, "operation", found)  # where it is one of a block that is to be cut
        if type(job) is Job:
            job.course.in_thread = in_thread
    return found
