"""What a schedule makes happen to a run: where it ends an invocation, and which branch it lets run next."""

from __future__ import annotations

import threading
import time
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

from perdure._core import RUN_BRANCH
from perdure.local import InvocationCut
from perdure.testing.tree import shorten

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.local import LocalService
    from perdure.testing._schedule import Schedule
    from perdure.testing._seen import Key

_OF_INVOCATIONS = frozenset({"checkpoint_durable_execution", "get_durable_execution_state"})
_HOLD, _HOLDS = 0.004, 8
"""Seconds by which operations of a thread of the handler's own are held up, times a number drawn below this one."""


class Fault:
    """Makes happen what the schedule says, and takes down what there was to see of it.

    Args:
        schedule: What happens.
        service: To whom.

    """

    def __init__(self, schedule: Schedule, service: LocalService) -> None:
        self.schedule = schedule
        self.thread = 0
        """The thread that runs the handler."""
        self.core: Any = None
        """The engine of the invocation that runs."""
        self.seconds = 0.0
        """How long the run took."""
        self.calls = 0
        self.choices = 0
        self.own_threads = False
        self.struck: str | None = "" if schedule.kind == "undisturbed" else None
        """What the API call carried with which the schedule came about, or what it orders; None until it has."""
        self.runs: Counter[Key] = Counter()
        """How often the function of each step ran."""
        self.turns: dict[Any, None] = {}
        """What the world was asked to do, in order."""
        self.lost: Counter[Key] = Counter()
        """The steps whose end was on its way when the invocation was killed: they are run again."""
        self.branches = 0
        """How many branches the running one is in, counted with itself."""
        self.places_of_branches: set[tuple[str, ...]] = set()
        """The executions that branches have invoked."""
        self._service = service
        self._places: dict[str, tuple[str, ...]] = {}
        self._random = Random(schedule.at) if schedule.kind == "order" else None  # noqa: S311  a seed, not a secret

    def place(self, arn: str) -> tuple[str, ...]:
        """Tell executions apart the same way in each run: by the invokes that lead to them."""
        if arn not in self._places:
            parent = self._service.handles[arn].parent
            self._places[arn] = () if parent is None else (*self.place(parent[0]), parent[1])
        return self._places[arn]

    def is_in_branch(self, place: tuple[str, ...]) -> bool:
        """Tell whether a branch does what runs now, in the execution at a place."""
        return self.branches > 0 or place in self.places_of_branches

    def on_call(self, name: str, arguments: Any, stage: str) -> None:
        """Take an API call of an invocation."""
        if name not in _OF_INVOCATIONS:
            return
        if stage == "before":
            self.calls += 1
        kind = self.schedule.kind
        if kind == "order" or self.calls != self.schedule.at or (stage == "before") != (kind == "crash-before"):
            return
        updates = arguments.get("Updates") or []
        self.struck = _told(name, updates)
        if kind == "lost":
            raise ConnectionError("the response was lost")
        if kind == "late":
            self.core.set_deadline(0.0)
            return
        if kind == "crash-before" and updates:
            place = self.place(arguments["DurableExecutionArn"])
            ends = (update for update in updates if update["Type"] == "STEP" and update["Action"] != "START")
            self.lost.update((place, update["Id"]) for update in ends)
        raise InvocationCut

    def pick(self, count: int) -> int:
        """Choose which of so many branches runs next."""
        return self._draw(count, "branches")

    @property
    def is_here(self) -> bool:
        """Whether the calling thread is the one that runs the handler."""
        return threading.get_ident() == self.thread

    def begin(self) -> None:
        """Take the begin of an operation: one of a thread of the handler's own is held up for as long as is drawn."""
        if not self.is_here:
            self.own_threads = True
            time.sleep(_HOLD * self._draw(_HOLDS, "threads of its own"))

    def _draw(self, count: int, what: str) -> int:
        self.choices += 1
        if self._random is None:
            return 0
        self.struck = what
        if self.schedule.picks is not None and self.choices > self.schedule.picks:
            return 0
        return self._random.randrange(count)

    @property
    def is_short_of_time(self) -> bool:
        """Whether the invocation's time is about to be up."""
        return self.schedule.kind == "late" and self.calls < self.schedule.at


def _told(name: str, updates: list[dict[str, Any]]) -> str:
    """Say what an API call carries."""
    if name == "get_durable_execution_state":
        return "which reads the history"
    found: dict[str, list[str]] = {}
    for update in updates:
        kind = update.get("SubType") or update["Type"].title()
        found.setdefault(f"{kind} {update.get('Name') or update['Id'][:8]}", []).append(update["Action"])
    carried = "; ".join(f"{' and '.join(actions)} of {what}" for what, actions in found.items())
    return shorten(carried) or "which asks for news"


class ScheduledBatch:
    """A batch that one thread works through, in an order of the fault's choosing."""

    def __init__(self, batch: Any, pick: Callable[[int], int]) -> None:
        self._batch = batch
        self._pick = pick
        self._runnable: list[tuple[int, int, int | None]] = []
        self.due = None

    def next(self, now: int) -> tuple[int, int, int | None]:
        """Give a branch out of all that may run, or what else there is to do."""
        while (found := self._batch.next(now))[0] == RUN_BRANCH:
            self._runnable.append(found)
        if not self._runnable:
            return found  # type: ignore[no-any-return]
        return self._runnable.pop(self._pick(len(self._runnable)) if len(self._runnable) > 1 else 0)

    def has_more(self, _now: int) -> bool:
        """Need no second thread."""
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)


class ShortOfTime:
    """A Lambda context that tells of hardly any time left, as long as that is so."""

    def __init__(self, context: Any, fault: Fault) -> None:
        self._context = context
        self._fault = fault

    def get_remaining_time_in_millis(self) -> int:
        """Tell the time that is left."""
        return 1 if self._fault.is_short_of_time else int(self._context.get_remaining_time_in_millis())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)
