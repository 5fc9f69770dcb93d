"""Batches of items in a map: one branch for many small items, where a branch for each would cost more than its work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from perdure._core import encode_extended
from perdure._functions import check_function, items_of
from perdure.concurrency.models import BatchItemStatus, BatchResult
from perdure.exceptions import NonDeterministicExecutionError, SerDesError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

R = TypeVar("R")

__all__ = ["BatchedResult", "Batches", "ItemBatcher"]


@dataclass(frozen=True)
class ItemBatcher:
    """How the items of a map are put together, in their order.

    Args:
        max_items: At most so many in a batch; None for no bound.
        max_bytes: At most so many bytes in a batch, as the default serdes writes each item; None for no bound.
            An item that is larger by itself stands alone.

    Raises:
        ValidationError: For a bound below 1, and for none at all.

    """

    max_items: int | None = None
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        for name, bound in (("max_items", self.max_items), ("max_bytes", self.max_bytes)):
            if bound is not None and (not isinstance(bound, int) or isinstance(bound, bool) or bound < 1):
                raise ValidationError(
                    f"{name} must be a whole number of at least 1, or None for no bound, not {bound!r}"
                )
        if self.max_items is None and self.max_bytes is None:
            raise ValidationError("an ItemBatcher needs a bound: give max_items=, max_bytes=, or both")

    def firsts(self, items: Sequence[Any]) -> list[int]:
        """Give the index of the first item of each batch: by the items alone, so that it is the same on replay.

        Raises:
            SerDesError: If the size of an item counts, and the default serdes cannot write it.

        """
        if self.max_bytes is None:
            return list(range(0, len(items), self.max_items or 1))
        firsts: list[int] = []
        filled = 0
        for index, item in enumerate(items):
            size = _size(item, index)
            is_full = bool(firsts) and (filled + size > self.max_bytes or index - firsts[-1] == self.max_items)
            if not firsts or is_full:
                firsts.append(index)
                filled = 0
            filled += size
        return firsts


@dataclass(frozen=True)
class BatchedResult(BatchResult[R]):
    """The result of a map over batches that give a list each: an item is a branch, and `get_results` flattens.

    Recorded as a `BatchResult`, and read as one where it is the result of something else.
    """

    def get_results(self) -> list[R]:
        """Give the results of the items of all batches that succeeded, in order."""
        return [result for item in self.succeeded() for result in item.result]  # type: ignore[union-attr]


class Batches:
    """A map's items in batches, and what its branches do.

    Args:
        items: All of them; not an iterator.
        func: Called with a context, the items of a batch, the index of their first, and all items.
        batcher: Puts them together.
        per_batch: Whether ``func`` gives one value instead of one for each item.
        namer: Names a branch by its items and the index of their first.
        takes_async: Whether ``func`` may be asynchronous.

    """

    __slots__ = ("_firsts", "_func", "_items", "_namer", "_per_batch", "inputs")

    def __init__(
        self,
        items: Sequence[Any],
        func: Callable[..., Any],
        batcher: ItemBatcher | None,
        per_batch: bool,
        namer: Callable[[Any, int], str] | None,
        takes_async: bool,
    ) -> None:
        if not isinstance(batcher, ItemBatcher):
            raise ValidationError(f"batcher= takes an ItemBatcher, such as ItemBatcher(max_items=100), not {batcher!r}")
        if isinstance(items, (str, bytes)):
            raise ValidationError(f"a map in batches needs a list of items, not a {type(items).__name__}")
        inputs = items_of(items)
        check_function(
            func, "map", "a DurableContext, a batch of items, the index of its first and all items", takes_async
        )
        self._items = items
        self._func = func
        self._per_batch = per_batch
        self._namer = namer
        self._firsts = batcher.firsts(inputs)
        ends = [*self._firsts[1:], len(inputs)]
        self.inputs = [inputs[first:end] for first, end in zip(self._firsts, ends, strict=False)]

    def run(self, context: Any, batch: list[Any], index: int, _batches: Any) -> Any:
        """Do the work of a branch."""
        own = [*batch]  # it may empty its list: how many items there were is asked again, on replay, too
        result = self._func(context, own, self._firsts[index], self._items)
        if not hasattr(type(result), "__await__"):
            return self._checked(result, batch, index)
        return self._awaited(result, batch, index) if context.takes_async else result  # which is refused

    async def _awaited(self, result: Any, batch: list[Any], index: int) -> Any:
        return self._checked(await result, batch, index)

    def _checked(self, result: Any, batch: list[Any], index: int) -> Any:
        """Refuse other than a result for each item."""
        if self._per_batch:
            return result
        if not isinstance(result, (list, tuple)):
            raise ValidationError(
                f"the function of a map with a batcher must return a list with a result for each item of the batch, "
                f"not a {type(result).__name__}: give per_batch=True if it returns one value for all of them"
            )
        if len(result) != len(batch):
            raise ValidationError(
                f"the function of a map with a batcher returned {len(result)} results for the {len(batch)} items from "
                f"{self._firsts[index]} on: it must return one for each, in their order"
            )
        return result

    def name(self, batch: list[Any], index: int) -> str:
        """Name a branch."""
        first = self._firsts[index]
        return f"map-item-{first}" if self._namer is None else self._namer(batch, first)

    def after(self, flow: Generator[Any, Any, BatchResult[Any]]) -> Generator[Any, Any, BatchResult[Any]]:
        """Give the flow of a map with what the map returns at its end."""
        return self.result((yield from flow))

    def result(self, found: BatchResult[Any]) -> BatchResult[Any]:
        """Give what the map returns, of what its branches gave or what is recorded of them.

        Raises:
            NonDeterministicExecutionError: If what is recorded is that of other batches.

        """
        if self._per_batch:
            return found
        for item in found.all:
            if item.status is not BatchItemStatus.SUCCEEDED:
                continue
            batch = self.inputs[item.index] if item.index < len(self.inputs) else []
            if not isinstance(item.result, (list, tuple)) or len(item.result) != len(batch):
                raise NonDeterministicExecutionError(
                    f"the items of a map with a batcher are not those that it was recorded with: batch {item.index} "
                    f"has {len(batch)} items now, and other results are recorded for it. What decides over the items "
                    f"and their sizes must be the same on every replay: get it in a step"
                )
        return BatchedResult(found.all, found.completion_reason)


def _size(item: Any, index: int) -> int:
    try:
        text = encode_extended(item)
    except Exception as error:
        raise SerDesError(
            f"item {index} of a map has no size for max_bytes=, since the default serdes cannot write it ({error}): "
            f"give max_items= alone"
        ) from error
    return len(text) if text.isascii() else len(text.encode())
