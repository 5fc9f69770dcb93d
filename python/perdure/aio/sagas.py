"""Sagas and clean-ups of ``async def`` handlers: those of `perdure.sagas`, awaited, and recorded alike."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from perdure.engine.operations.common import passes_through
from perdure.sagas import Remembers, ToCleanUp, is_failure, raise_failures, recorded_failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from types import TracebackType
    from typing import Self

    from perdure.config import StepConfig
    from perdure.retries import RetryDecision
    from perdure.types import StepContext

    RetryStrategy = Callable[[Exception, int], RetryDecision]

__all__ = ["AsyncCleanUp", "AsyncSaga"]

T = TypeVar("T")


class _Done(NamedTuple):
    """A step of a saga.

    Args:
        step: To be awaited, any number of times.
        undo: Makes its undo, given its result.

    """

    step: Awaitable[Any]
    undo: Callable[[Any], Any]


class AsyncSaga(Remembers):
    """Remembers how to undo what was done; `AsyncDurableContext.saga` makes it. See `perdure.sagas.Saga`.

    Steps may be under way side by side. They are undone in the order of their calls, the last first, once all of them
    have ended. Undos may be ``async def`` or plain.
    """

    __slots__ = ()

    @overload
    def step(
        self,
        func: Callable[[StepContext], Coroutine[Any, Any, T]],
        name: str | None = None,
        config: StepConfig | None = None,
        *,
        undo: Callable[..., Any],
        undo_name: str | None = None,
        undo_retry: RetryStrategy | None = None,
        **options: Any,
    ) -> Awaitable[T]: ...
    @overload
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
    ) -> Awaitable[T]: ...
    def step(
        self,
        func: Callable[[StepContext], Any],
        name: str | None = None,
        config: StepConfig | None = None,
        *,
        undo: Callable[..., Any],
        undo_name: str | None = None,
        undo_retry: RetryStrategy | None = None,
        **options: Any,
    ) -> Awaitable[Any]:
        """Run a step, and remember how to undo it once it has succeeded: see `perdure.sagas.Saga.step`."""
        name, undo_name = self._named_undo(func, name, undo, undo_name)
        step = self._context.step(func, name, config, **options)
        self._undos.append(_Done(step, lambda result: self._act(undo, (result,), undo_name, undo_retry)))
        return step  # type: ignore[no-any-return]

    async def compensate(self) -> None:
        """Undo what is remembered, and forget it.

        Raises:
            CompensationError: If undos failed.

        """
        self._check_open()
        await self._compensate(None)

    async def __aenter__(self) -> Self:
        """Begin the block."""
        self._check_open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the block: undo, if it failed."""
        self._is_over = True
        if error is not None and is_failure(error):
            await self._compensate(error)

    async def _compensate(self, error: BaseException | None) -> None:
        remembered, self._undos = self._undos, []
        undos = [undo for each in remembered if (undo := await _undo_of(each)) is not None][::-1]
        if undos:
            recorded = await self._context.run_in_child_context(partial(_undo_all, undos), self._name)
            raise_failures(recorded, len(undos), error)


async def _undo_of(remembered: Any) -> Any:
    """Give an undo; None for that of a step that has not succeeded."""
    if type(remembered) is not _Done:
        return remembered
    try:
        result = await remembered.step
    except CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return None
    except Exception as error:
        if not is_failure(error) or passes_through(error):
            raise
        return None
    return remembered.undo(result)


async def _undo_all(undos: list[Any], context: Any) -> list[dict[str, Any]]:
    """Run undos one after the other, whichever of them fail; give what is recorded of those."""
    failed: list[dict[str, Any]] = []
    for undo in undos:
        try:
            await undo.run(context)
        except Exception as error:
            if passes_through(error):
                raise
            failed.append(recorded_failure(undo, error))
    return failed


class AsyncCleanUp(ToCleanUp):
    """Runs a step when its ``async with`` block has ended, however; `AsyncDurableContext.finally_` makes it."""

    __slots__ = ()

    async def __aenter__(self) -> None:
        """Begin the block."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the block: clean up, unless the invocation ends."""
        if error is None or is_failure(error):
            await self._act.run(self._context)
