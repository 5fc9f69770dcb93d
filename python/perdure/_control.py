"""Control flow inside the engine: what ends an invocation although no user code raised it.

All of it is `BaseException`, so that `except Exception` in user code cannot swallow it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from perdure.exceptions import NonDeterministicExecutionError

if TYPE_CHECKING:
    from types import FrameType

_HERE = __name__.partition(".")[0]
_OUTERMOST = f"{_HERE}.execution"


class CheckpointsBroken(BaseException):
    """A checkpoint failed earlier; the invocation ends by how that failure is classified."""


class OutOfTime(BaseException):
    """The invocation has too little time left to begin more work."""


def user_line() -> str | None:
    """Find the user's line that called the operation: the innermost frame outside this package, up to the handler."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  the documented way to look at the stack
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module == _OUTERMOST:
            return None
        if module != _HERE and not module.startswith(_HERE + "."):
            return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
        frame = frame.f_back
    return None


_MEND = (
    "Replay needs the same operations in the same order: deploy the code that began this execution, or let running "
    "executions finish before changing operations they have passed."
)


def ended_without(id_: str, who: str, what: str) -> NonDeterministicExecutionError:
    """Build the error for code that has ended without coming to what an earlier invocation left under way.

    Args:
        id_: The id of the first such operation.
        who: Whose function it was.
        what: The operations.

    """
    return NonDeterministicExecutionError(
        f"{who} has ended without coming to recorded operations that are not over: {what}. The code has changed since "
        f"they were recorded, or does not run the same way each time, or it called operations from where replay does "
        f"not call them again, such as the function of a step. {_MEND}",
        step_id=id_,
    )


def non_deterministic(
    id_: str, place: int, recorded: str, called: str, line: str | None
) -> NonDeterministicExecutionError:
    """Build the error for an operation that differs from its recorded history.

    Args:
        id_: The operation's id.
        place: Its position in its context, as the code counts.
        recorded: What the history holds.
        called: What the code asks for.
        line: Where it does.

    """
    where = f" at {line}" if line else ""
    return NonDeterministicExecutionError(
        f"operation {place} of its context is {recorded} in the recorded history, but the code{where} now asks for "
        f"{called}. {_MEND}",
        step_id=id_,
    )
