"""The world around a handler, which stays the same from run to run."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID, uuid5

from perdure.testing.exploring.handler_threads import HandlerThreads
from perdure.testing.exploring.hands import Patience
from perdure.testing.exploring.mask import same

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping

    Handler = Callable[[Any, Any], Any]

Key: TypeAlias = tuple[tuple[str, ...], str]
"""An operation: the invokes that lead to its execution, then its id."""
Outcome: TypeAlias = tuple[bool, Any]
"""Whether something succeeded, and what it gave or raised."""


_explorations = count()


def _family() -> UUID:
    return uuid5(UUID(int=0), str(next(_explorations)))


class Hold(Enum):
    """What in the world ends as it did the first time, whatever its body does this time."""

    ALL = "all"
    BRANCHES = "what branches do"
    NOTHING = "nothing"


class Unlike(IntEnum):
    """How far what really happens in a run is from what is held: something gives another value, or fails instead."""

    NOTHING = 0
    VALUES = 1
    ENDS = 2


@dataclass
class World:
    """The world around the handler, and what of it has been seen."""

    functions: Mapping[str, Handler] = field(default_factory=dict)
    durable_functions: Mapping[str, Handler] = field(default_factory=dict)
    answers: Mapping[Any, Any] = field(default_factory=dict)
    setup: Callable[[], Any] | None = None
    probe: Callable[[], Any] | None = None
    outcomes: dict[Any, Outcome] = field(default_factory=dict)
    """How everything in the world ended the first time."""
    moments: dict[Any, dt.datetime] = field(default_factory=dict)
    """What was now to handlers the first time, by whose recorded moment that is."""
    handler_threads: HandlerThreads = field(default_factory=HandlerThreads)
    patience: Patience = field(default_factory=Patience)
    """With branches that are held up, by a lock of the handler's, say."""
    in_vain: set[Key] = field(default_factory=set)
    """The callbacks that nobody answered in the first run, although it waited for whoever might."""
    family: UUID = field(default_factory=_family)
    """What the ids of all runs come of. It is the exploration's own: what a thread of an earlier one still answers late
    is then nothing of this one's."""
    hold: Hold = Hold.ALL
    unlike: Unlike = Unlike.NOTHING
    """What in this run really was not as it is held to be, so that what it did may be something else, too."""
    _done: set[Any] = field(default_factory=set)

    def begin(self, hold: Hold) -> None:
        """Let a run begin, in which so much ends as it did the first time, and all else as it does now."""
        self.hold, self.unlike = hold, Unlike.NOTHING
        self._done.clear()

    def again(self, key: Any, call: Callable[..., Any], *arguments: Any, in_branch: bool = False) -> Any:
        """Do something in the world: really, but if it is held, with the outcome it had the first time.

        Args:
            key: What it is.
            call: Does it.
            arguments: What it is called with.
            in_branch: Whether a branch does it.

        """
        try:
            outcome: Outcome = (True, call(*arguments))
        except Exception as error:  # noqa: BLE001  whatever it raises is its outcome
            outcome = (False, error)
        return self._settled(key, outcome, in_branch=in_branch)

    async def again_awaited(self, key: Any, call: Callable[..., Any], *arguments: Any, in_branch: bool = False) -> Any:
        """Do the same, and await what the call gives, if that can be awaited."""
        try:
            value = call(*arguments)
            outcome: Outcome = (True, await value if hasattr(type(value), "__await__") else value)
        except Exception as error:  # noqa: BLE001  the same
            outcome = (False, error)
        return self._settled(key, outcome, in_branch=in_branch)

    def _settled(self, key: Any, outcome: Outcome, *, in_branch: bool) -> Any:
        if self.hold == Hold.ALL or (self.hold == Hold.BRANCHES and in_branch):
            outcome = self._held(key, outcome)
        succeeded, value = outcome
        if succeeded:
            return value
        raise value

    def _held(self, key: Any, outcome: Outcome) -> Outcome:
        if key not in self.outcomes:
            self.outcomes[key] = outcome[0], as_it_is(outcome[1])
        held = self.outcomes[key]
        if key not in self._done:  # run again after a crash, it may well end in another way
            self._done.add(key)
            self.unlike = max(self.unlike, _unlike(outcome, held))
        return held

    def look(self) -> Any:
        """Give what the probe sees."""
        return None if self.probe is None else as_it_is(self.probe())


def as_it_is(value: Any) -> Any:
    """Give a value as it is now, whatever becomes of it later; one that cannot be copied is given itself."""
    if isinstance(value, BaseException):
        return value
    try:
        return deepcopy(value)
    except Exception:  # noqa: BLE001  whatever copying the user's objects raises
        return value


def _unlike(one: Outcome, other: Outcome) -> Unlike:
    if one[0] != other[0]:
        return Unlike.ENDS
    alike = same(one[1], other[1]) if one[0] else repr(one[1]) == repr(other[1])
    return Unlike.NOTHING if alike else Unlike.VALUES
