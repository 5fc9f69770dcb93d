"""What the vocabulary asks of results and summaries. Users import it from `perdure.types`."""

from __future__ import annotations

from abc import abstractmethod
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
C_contra = TypeVar("C_contra", contravariant=True)


class BatchResult(Protocol, Generic[T]):
    """What map and parallel return."""

    @abstractmethod
    def get_results(self) -> list[T]:
        """Give the results of the branches that succeeded, in order."""
        ...


class SummaryGenerator(Protocol[C_contra]):
    """Says what to record of a result that is too large to record; it gets the result itself."""

    def __call__(self, result: C_contra) -> str:
        """Give the summary, as text."""
        ...
