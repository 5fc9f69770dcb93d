"""What is left behind for good: with whom each task goes, and all that it makes.

Whoever loses a recorded decision begins in no later invocation. So nothing more is to be recorded of it either, however
deep inside of it that is: in other decisions, groups, tasks. Tasks have the context variables of whoever made them. So
what everything inside of a loser has in common is one object in such a variable, which knows the one around it.
"""

from __future__ import annotations

from asyncio import current_task
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextvars import Context

_LEFT, _KNOWN = 1, 2


class Fate:
    """That of something which may be left behind, and of all that is made inside of it.

    Args:
        around: That of what it is inside of.
        is_member: Whether it is awaited for a decision.
        is_known: Whether it is known from the record that it was left behind.

    """

    __slots__ = ("around", "is_member", "left")

    def __init__(self, around: Fate | None, is_member: bool, is_known: bool = False) -> None:
        self.around = around
        self.left = _KNOWN if is_known else 0
        self.is_member: bool = is_member or (around is not None and around.is_member)
        """Whether it, or what it is inside of, is awaited for a decision."""

    def leave(self) -> None:
        """Hear that it was left behind, and that this is recorded."""
        self.left = self.left or _LEFT

    def move(self, around: Fate) -> None:
        """Hear that it is inside of something else: what it was made for was given to that."""
        fate: Fate | None = around
        while fate is not None:
            if fate is self:
                return  # which awaits itself
            fate = fate.around
        self.around = around

    def _how_left(self) -> int:
        fate: Fate | None = self
        left = 0
        while fate is not None:
            left = max(left, fate.left)
            fate = fate.around
        return left

    def is_left(self) -> bool:
        """Whether it, or what it is inside of, was left behind."""
        return self._how_left() != 0

    def is_known(self) -> bool:
        """Whether that is known from the record: it runs for its positions alone."""
        return self._how_left() == _KNOWN

    def outside(self) -> Fate | None:
        """Give the innermost around it that is not left behind."""
        fate: Fate | None = self
        while fate is not None and fate.is_left():
            fate = fate.around
        return fate


fate_of: ContextVar[Fate | None] = ContextVar("fate_of", default=None)
"""That of what runs; None if nothing can leave it behind."""


def of_what_is_made() -> Fate | None:
    """Give the fate of what is made now: a clean-up is not of what was left behind, which it comes after."""
    fate = fate_of.get()
    if fate is not None and fate.is_left() and not fate.is_known() and cleans_up():
        return fate.outside()
    return fate


def is_left(variables: Context) -> bool:
    """Whether what has these variables was left behind."""
    fate = variables.get(fate_of)
    return fate is not None and fate.is_left()


def cleans_up() -> bool:
    """Whether the task that runs was cancelled, as all are that are left behind: what it calls now is its clean-up."""
    task = current_task()
    return task is not None and task.cancelling() > 0
