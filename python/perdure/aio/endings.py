"""What ends an invocation although no user code raised it, and who sees to it that it does."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol

from perdure._control import CheckpointsBroken, OutOfTime
from perdure.exceptions import SuspendExecution

if TYPE_CHECKING:
    from collections.abc import Callable

CONTROL = (SuspendExecution, CheckpointsBroken, OutOfTime)
"""What ends an invocation although no user code raised it: no user code sees it."""

_INTERRUPTS = (KeyboardInterrupt, SystemExit)


def is_end(error: BaseException) -> bool:
    """Tell whether what a call to the service has raised ends the invocation, and is no failure of an operation's.

    Besides what the engine raises, that is what a tool raises to cut the invocation off. An interrupt is another
    matter: it leaves the loop.
    """
    return isinstance(error, CONTROL) or not isinstance(error, (Exception, *_INTERRUPTS))


class Ends(Protocol):
    """An invocation that can be ended."""

    def fall(self, error: BaseException) -> None:
        """End it by an error of ours, whatever else is to be done at its end."""


def guarded(function: Callable[..., None]) -> Any:
    """Make a callback of the loop, whose first argument is an invocation, end that by what it raises.

    The loop itself would only log it.
    """

    @wraps(function)
    def call(invocation: Ends, *given: Any) -> None:
        try:
            function(invocation, *given)
        except BaseException as error:
            invocation.fall(error)
            if not isinstance(error, Exception):
                raise

    return call
