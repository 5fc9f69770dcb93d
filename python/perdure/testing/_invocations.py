"""The invocations of an execution: how many, for those who count them, and each, for those who take them for a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self, overload

from perdure.testing.model import InvocationCompletedDetails

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perdure.testing.model import Event


class Invocations(int, Sequence[InvocationCompletedDetails]):
    """How many times the handler was called; and, as a sequence, what the history tells of each call that has ended.

        assert result.invocations == 2
        assert len(result.invocations) == 2
        assert result.invocations[0].error is None

    The history is read when somebody looks at one.
    """

    _events: Sequence[Event]
    _found: tuple[InvocationCompletedDetails, ...] | None

    def __new__(cls, count: int, events: Sequence[Event]) -> Self:
        """Make it of their number and the execution's history."""
        made = super().__new__(cls, count)
        made._events = events
        made._found = None
        return made

    def _ended(self) -> tuple[InvocationCompletedDetails, ...]:
        if self._found is None:
            details = (event.invocation_completed_details for event in self._events)
            self._found = tuple(each for each in details if each is not None)
        return self._found

    def __len__(self) -> int:
        return len(self._ended())

    def __iter__(self) -> Iterator[InvocationCompletedDetails]:
        return iter(self._ended())

    @overload
    def __getitem__(self, index: int) -> InvocationCompletedDetails: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[InvocationCompletedDetails, ...]: ...
    def __getitem__(self, index: Any) -> Any:
        return self._ended()[index]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (int(self), [event for event in self._events if event.invocation_completed_details])
