"""What a schedule makes happen to a run: where it ends an invocation, and which branch it lets run next."""

from __future__ import annotations

import threading
import time
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

from perdure._core import RUN_BRANCH
from perdure.local import InvocationCut
from perdure.testing.exploring.hands import Hands
from perdure.testing.exploring.record import Record
from perdure.testing.exploring.schedule import UNDISTURBED
from perdure.testing.tree import shorten

if TYPE_CHECKING:
    from perdure.local import LocalService
    from perdure.testing.exploring.hands import Patience
    from perdure.testing.exploring.schedule import Schedule
    from perdure.testing.exploring.world import Key

_OF_INVOCATIONS = frozenset({"checkpoint_durable_execution", "get_durable_execution_state"})
_TURNS = (0, 2, 5, 12, 30, 80)
"""For how many turns of an event loop a task is kept back; an operation of another takes about three."""
_HOLD, _HOLDS = 0.004, 8
"""Seconds by which operations of a thread of the handler's own are held up, times a number drawn below this one."""


class Fault:
    """Makes happen what the schedule says, and takes down what there was to see of it.

    Args:
        schedule: What happens.
        service: To whom.
        patience: With threads that are held up.

    """

    def __init__(self, schedule: Schedule, service: LocalService, patience: Patience) -> None:
        self.schedule = schedule
        self.core: Any = None
        """The engine of the invocation that runs."""
        self.is_over = False
        """Whether the run is: what threads of it still do is of no more interest."""
        self.seconds = 0.0
        """How long the run took."""
        self.calls = 0
        self.choices = 0
        self.width = 0
        """Among how many branches there was a choice at most."""
        self.calls_of_branches: list[int] = []
        """The API calls that branches made."""
        self.own_threads = False
        self.decided: set[Key] = set()
        """The contexts that recorded which of several operations came first."""
        self.is_asynchronous = False
        """Whether an ``async def`` handler has run."""
        self.struck: str | None = "" if schedule == UNDISTURBED else None
        """What the API call carried with which the schedule came about, or what it orders; None until it has."""
        self.runs: Counter[Key] = Counter()
        """How often the function of each step ran."""
        self._begun: dict[Key, int] = {}
        """The steps whose function has run, and the attempt: with tasks, several may be about to be sent."""
        self.turns: dict[Any, None] = {}
        """What the world was asked to do, in order."""
        self.lost: Counter[Key] = Counter()
        """The steps whose end was on its way when the invocation was killed: they are run again."""
        self.hands = Hands(schedule.hands or 1, patience, self._next_hand)
        self._branches: Counter[int] = Counter()
        self.places_of_branches: set[tuple[str, ...]] = set()
        """The executions that branches have invoked."""
        self.record = Record(service)
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
        """Tell whether a branch does what runs now, in the execution at a place; or whatever may be a task's own."""
        return self.is_asynchronous or self._branches[threading.get_ident()] > 0 or place in self.places_of_branches

    def enter_branch(self) -> None:
        """Take that the calling thread begins a branch."""
        self._branches[threading.get_ident()] += 1

    def leave_branch(self) -> None:
        """Take that it leaves one: it ended, or waits."""
        self._branches[threading.get_ident()] -= 1

    def on_call(self, name: str, arguments: Any, stage: str) -> None:
        """Take an API call of an invocation."""
        if name not in _OF_INVOCATIONS:
            return
        if stage == "before":
            self.calls += 1
            if self._branches[threading.get_ident()]:
                self.calls_of_branches.append(self.calls)
        kind = self.schedule.kind
        if (
            kind in ("order", "undisturbed")
            or self.calls != self.schedule.at
            or (stage == "before") != (kind == "crash-before")
        ):
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
        if self.is_asynchronous:
            begun = self._begun.items()
            self.lost.update(key for key, attempt in begun if key not in self.lost and not self._has_end(key, attempt))
        raise InvocationCut

    def begin_attempt(self, key: Key, attempt: int) -> None:
        """Take that the function of a step is called."""
        self.runs[key] += 1
        self._begun[key] = attempt

    def _has_end(self, key: Key, attempt: int) -> bool:
        """Whether the end of an attempt of a step is recorded."""
        arn = next(arn for arn, place in self._places.items() if place == key[0])
        operation = self._service.handles[arn].machine.operations.get(key[1])
        return operation is not None and operation["StepDetails"]["Attempt"] >= attempt

    def pick(self, count: int) -> int:
        """Choose which of so many branches runs next."""
        self.width = max(self.width, count)
        return self._draw(count, "branches") if count > 1 else 0

    def meet_branches(self, *, has_room: bool) -> None:
        """Take that there is a branch to begin for one more thread; and whether there may be one."""
        if self.schedule.kind == "undisturbed" and (has_room or self.schedule.hands == 1):
            self.struck = "branches"

    def _next_hand(self, count: int, may_stay: bool) -> int:
        """Choose which of so many hands goes on: one after the other, unless an order is drawn."""
        drawn = self._draw(count, "branches")
        return int(may_stay) if self._random is None else drawn

    @property
    def is_here(self) -> bool:
        """Whether the calling thread is one that runs the handler and its branches."""
        return self.hands.is_one(threading.get_ident())

    def begin(self) -> None:
        """Take the begin of an operation, at which another thread may go on.

        One of a thread of the handler's own is held up for as long as is drawn.
        """
        if self.is_here:
            self.hands.switch()
        else:
            self.own_threads = True
            time.sleep(_HOLD * self._draw(_HOLDS, "threads of its own"))

    def turns_to_wait(self) -> int:
        """Give for how many turns of an event loop a task is kept from what has come for it."""
        return _TURNS[self._draw(len(_TURNS), "tasks")]

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
    """A batch whose branches are begun by as many threads as the schedule has, in an order of the fault's choosing.

    Without a number of threads, one works through it as if there were one a branch: all are begun at once, so to say,
    and which of them goes on first is a choice.
    """

    due = None

    def __init__(self, batch: Any, fault: Fault) -> None:
        self._batch = batch
        self._fault = fault
        self._runnable: list[tuple[int, int, int | None]] = []

    def next(self, now: int) -> tuple[int, int, int | None]:
        """Give a branch out of all that may be begun, or what else there is to do."""
        found: Any = self._batch.next(now)
        if self._fault.schedule.hands is None:
            while found[0] == RUN_BRANCH:
                self._runnable.append(found)
                found = self._batch.next(now)
            if self._runnable:
                found = self._runnable.pop(self._fault.pick(len(self._runnable)))
        if found[0] == RUN_BRANCH:
            self._fault.enter_branch()
        return found  # type: ignore[no-any-return]

    def has_more(self, now: int) -> bool:
        """Tell whether one more thread would find something to do, and there may be one."""
        if self._fault.schedule.hands is None or not self._batch.has_more(now):
            return False
        has_room = self._fault.hands.has_room
        self._fault.meet_branches(has_room=has_room)
        return has_room

    def finish(self, index: int, *given: Any) -> Any:
        """Take the end of a branch."""
        self._fault.leave_branch()
        return self._batch.finish(index, *given)

    def suspend(self, index: int, *given: Any) -> Any:
        """Take the suspension of a branch."""
        self._fault.leave_branch()
        return self._batch.suspend(index, *given)

    def abort(self, index: int, at_once: bool) -> Any:
        """Take that a branch ended in what is no item."""
        self._fault.leave_branch()
        return self._batch.abort(index, at_once)

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
