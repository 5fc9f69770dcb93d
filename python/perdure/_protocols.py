"""What the vocabulary asks of loggers, results and summaries. Users import it from `perdure.types`."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

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


class LoggerInterface(Protocol):
    """What a logger must offer; `logging.Logger` and AWS Powertools' do."""

    __slots__ = ()

    def debug(self, msg: object, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log at DEBUG: ``msg % args``, with ``extra`` as further fields."""

    def info(self, msg: object, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log at INFO."""

    def warning(self, msg: object, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log at WARNING."""

    def error(self, msg: object, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log at ERROR."""

    def exception(self, msg: object, *args: object, extra: Mapping[str, object] | None = None) -> None:
        """Log at ERROR, with the exception being handled."""


class ContextLogger(LoggerInterface, Protocol):
    """The logger of a context or an operation, which also takes what the logger behind it does.

    Other keywords (``exc_info=True``, ``customer=1``) go on to that logger, or become fields of the line.
    """

    __slots__ = ()

    def debug(self, msg: object, *args: object, extra: Mapping[str, object] | None = None, **keywords: object) -> None:
        """Log at DEBUG: ``msg % args``, with ``extra`` as further fields."""

    def info(self, msg: object, *args: object, extra: Mapping[str, object] | None = None, **keywords: object) -> None:
        """Log at INFO."""

    def warning(
        self, msg: object, *args: object, extra: Mapping[str, object] | None = None, **keywords: object
    ) -> None:
        """Log at WARNING."""

    def error(self, msg: object, *args: object, extra: Mapping[str, object] | None = None, **keywords: object) -> None:
        """Log at ERROR."""

    def exception(
        self, msg: object, *args: object, extra: Mapping[str, object] | None = None, **keywords: object
    ) -> None:
        """Log at ERROR, with the exception being handled."""


for _named in (BatchResult, SummaryGenerator, LoggerInterface, ContextLogger):
    _named.__module__ = "perdure.types"  # where users import them from
