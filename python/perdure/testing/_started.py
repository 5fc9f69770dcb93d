"""What `run_async` of the runners gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

T_co = TypeVar("T_co", covariant=True)


class StartedExecution(str, Generic[T_co]):
    """The ARN of an execution that was started; awaited, it gives the result, for which a thread waits.

    Args:
        arn: The ARN.
        wait: Waits for the result of an execution.

    """

    __slots__ = ("_wait",)

    _wait: Callable[[str], T_co]

    def __new__(cls, arn: str, wait: Callable[[str], T_co]) -> StartedExecution[T_co]:
        """Make one."""
        started = super().__new__(cls, arn)
        started._wait = wait
        return started

    def __await__(self) -> Generator[Any, Any, T_co]:
        """Wait for the result, while the event loop goes on."""
        import asyncio  # noqa: PLC0415  slow to import, and there where this is awaited

        return asyncio.to_thread(self._wait, str(self)).__await__()
