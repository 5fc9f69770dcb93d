"""`explore`: run a handler, then again with everything going wrong that may, one thing at a time.

A durable function must do the same each time it is run again. What makes it differ (chance, the clock, globals, side
effects outside of steps) shows only when an invocation ends in an unlucky place, so the explorer ends them in all
places: crashes before and after each API call, a lost response to each, an invocation out of time with each, and
branches in orders drawn by chance. The first run that differs is reported as a schedule that can be run again.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from perdure.testing._trial import Around, Schedule, Seen, run_trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Handler = Callable[[Any, Any], Any]
    Progress = Callable[[int, int, Schedule], None]

UNDISTURBED = Schedule()
_SHOWN = 10
_DOUBTS = 6
_PICKS = 32


class ExplorationError(AssertionError):
    """A handler that does not do the same each time."""


@dataclass
class Report:
    """What an exploration found.

    Args:
        schedule: The first schedule under which the handler did something else; None if there is none.
        differences: In words, how.
        tried: How many schedules were run.
        planned: How many there are.
        seconds: How long it took.
        expected: The undisturbed run.
        got: The run that differs.

    """

    schedule: Schedule | None
    differences: list[str]
    tried: int
    planned: int
    seconds: float
    expected: Seen
    got: Seen | None = None
    again: Callable[[Schedule], Report] | None = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        """Whether all runs were the same, and the undisturbed one came to an end by itself."""
        return self.schedule is None and self.unfit is None

    @property
    def unfit(self) -> str | None:
        """Why the undisturbed run says nothing about the handler; None if it does."""
        if self.expected.status == "RUNNING":
            return (
                "the undisturbed run did not come to its end, so what follows was not explored: "
                f"name its callbacks in answers= (open: {', '.join(self.expected.open_callbacks) or 'none'})"
            )
        error_type = (self.expected.error or {}).get("ErrorType", "")
        if error_type.endswith("NonDeterministicExecutionError"):
            return f"the handler does not do the same even undisturbed: {self.expected.outcome()}"
        return None

    @property
    def complete(self) -> bool:
        """Whether nothing was left out for want of time."""
        return self.tried >= self.planned or not self.ok

    def __bool__(self) -> bool:
        return self.ok

    def reproduce(self) -> Report:
        """Run exactly the schedule again that was found, and report; without one, run the handler undisturbed."""
        if self.again is None:
            raise ValueError("this report was not made by explore()")
        return self.again(self.schedule or UNDISTURBED)

    def recipe(self) -> str:
        """Give the call that runs exactly this schedule again."""
        return f'explore(handler, event, schedule="{self.schedule or UNDISTURBED}")'

    def assert_ok(self) -> None:
        """Raise if a run differs.

        Raises:
            ExplorationError: With the report as its message.

        """
        if not self.ok:
            raise ExplorationError(str(self))

    def __str__(self) -> str:
        tried = f"{self.tried} of {self.planned} schedules in {self.seconds:.1f} s"
        if self.got is None and self.unfit:
            return f"{self.unfit}\n{self.expected.tree}\n({tried})"
        if self.got is None:
            return f"the handler did the same in {tried}: {self.expected.outcome()}"
        more = len(self.differences) - _SHOWN
        shown = self.differences[:_SHOWN] + ([f"… and {more} more"] if more > 0 else [])
        return "\n".join(
            [
                f"the handler did something else under {self.schedule} ({_in_words(self.schedule or UNDISTURBED)}):",
                *(f"  * {difference}" for difference in shown),
                f"run it again: {self.recipe()}",
                f"undisturbed: {self.expected.tree}",
                f"under {self.schedule}: {self.got.tree}",
                f"({tried})",
            ]
        )


def explore(
    handler: Handler,
    event: Any = None,
    *,
    input: str | None = None,  # noqa: A002  as the runner calls it
    schedule: str | Schedule | None = None,
    functions: Mapping[str, Handler] | None = None,
    durable_functions: Mapping[str, Handler] | None = None,
    mocks: Mapping[str, Any] | None = None,
    answers: Mapping[str | None, Any] | None = None,
    setup: Callable[[], Any] | None = None,
    probe: Callable[[], Any] | None = None,
    orders: int = 20,
    time_limit: float = 60.0,
    max_schedules: int = 2_000,
    on_progress: Progress | None = None,
) -> Report:
    """Search for a way to make a handler do something else than it does undisturbed.

    Steps may be random and flaky: what varies between undisturbed runs ends the same way again in each run. A run in
    which an at-most-once step is interrupted, or in whose order a batch that ends early is raced, may differ.

    Args:
        handler: What ``@durable_execution`` made.
        event: Its event.
        input: Its event as JSON, in the place of `event`.
        schedule: Run this schedule only, besides the undisturbed run: what `Report.recipe` names.
        functions: Plain functions that it invokes, by their names.
        durable_functions: Durable functions that it invokes, by their names.
        mocks: What functions return that it invokes, by their names.
        answers: What callbacks are answered with, by their names or those of the ``wait_for_callback``; exceptions
            fail them. One that is not named here is not answered.
        setup: Called before each run, to put back what runs share.
        probe: Called after each run; gives what of the outside world must be the same then, such as how many mails
            were sent. Not asked after a crash before a call, since a step that was under way is run again then.
        orders: How many orders of branches to try, when there are branches.
        time_limit: Seconds after which no further run begins.
        max_schedules: How many runs there are at most; of more, an even choice is made.
        on_progress: Called before each run with how many are done, how many there are, and the schedule.

    Returns:
        A report; call its `assert_ok`.

    """
    began = time.monotonic()
    payload = input if input is not None else json.dumps(event)
    plain = {**_mocked(mocks or {}), **(functions or {})}
    around = Around(plain, durable_functions or {}, answers or {}, setup, probe)
    search = _Search(handler, payload, around)
    expected, compare = search.expected, search.compare

    def again(one: Schedule) -> Report:
        started = time.monotonic()
        differences, got = compare(one)
        found = one if differences else None
        seconds = time.monotonic() - started
        return Report(found, differences, 1, 1, seconds, expected, got if differences else None, again)

    if schedule is not None:
        return again(Schedule.parse(schedule) if isinstance(schedule, str) else schedule)
    plan = _choice(list(_plan(expected, orders)), max(2, max_schedules))
    tried = 0
    for tried, one in enumerate(plan):
        if time.monotonic() - began > time_limit:
            break
        if on_progress is not None:
            on_progress(tried, len(plan), one)
        differences, got = compare(one)
        if differences:
            smaller = _smallest(one, compare) if one.kind == "order" else None
            if smaller is not None:
                one, differences, got = smaller  # noqa: PLW2901  the same, only less of it
            seconds = time.monotonic() - began
            return Report(one, differences, tried + 1, len(plan), seconds, expected, got, again)
    else:
        tried = len(plan)
    return Report(None, [], tried, len(plan), time.monotonic() - began, expected, None, again)


class _Search:
    """Runs a handler under schedules, and holds what is seen against the first, undisturbed run."""

    def __init__(self, handler: Handler, payload: str, around: Around) -> None:
        self._trial = handler, payload, around
        self.expected = run_trial(*self._trial, UNDISTURBED, fixed=True)

    def compare(self, schedule: Schedule) -> tuple[list[str], Seen]:
        """Give the differences that a schedule makes."""
        if schedule == UNDISTURBED:
            return self._once(schedule, fixed=True)
        found = self._once(schedule, fixed=False)
        if not found[0]:
            return found
        # With the world held fixed, a difference is the handler's own. Without, it may be chance that came late.
        certain = self._once(schedule, fixed=True)
        if certain[0]:
            return certain
        for _ in range(_DOUBTS):
            undisturbed = self._once(UNDISTURBED, fixed=True)
            found = self._once(schedule, fixed=False)
            if undisturbed[0] or not found[0]:
                return [], found[1]
        return found

    def _once(self, schedule: Schedule, *, fixed: bool) -> tuple[list[str], Seen]:
        got = run_trial(*self._trial, schedule, fixed=fixed)
        loose = got.interrupted or (schedule.kind == "order" and (got.raced or self.expected.raced))
        probed = schedule.kind != "crash-before" and not loose
        return self.expected.differences(got, result=not loose, probe=probed), got


def _mocked(mocks: Mapping[str, Any]) -> dict[str, Handler]:
    def mocked(returns: Any) -> Handler:
        return lambda payload, _context: returns(payload) if callable(returns) else returns

    return {name: mocked(returns) for name, returns in mocks.items()}


def _plan(expected: Seen, orders: int) -> Iterator[Schedule]:
    """Give all schedules, those of early calls first, and the most telling ones first of all."""
    yield UNDISTURBED
    yield UNDISTURBED
    for call in range(1, expected.calls + 1):
        for kind in ("crash-after", "crash-before", "lost", "late"):
            yield Schedule(kind, call)
    if any(operation["SubType"] in ("Map", "Parallel") for operation in expected.operations.values()):
        for seed in range(1, orders + 1):
            yield Schedule("order", seed)


def _choice(plan: list[Schedule], most: int) -> list[Schedule]:
    if len(plan) <= most:
        return plan
    return [plan[index * len(plan) // most] for index in range(most)]


def _smallest(
    schedule: Schedule, compare: Callable[[Schedule], tuple[list[str], Seen]]
) -> tuple[Schedule, list[str], Seen] | None:
    """Find the order that is drawn by chance for the shortest time and still makes a difference."""
    for picks in range(_PICKS):
        shorter = Schedule("order", schedule.at, picks)
        differences, got = compare(shorter)
        if differences:
            return shorter, differences, got
    return None


def _in_words(schedule: Schedule) -> str:
    at = schedule.at
    return {
        "undisturbed": "run a second time, and nothing went wrong",
        "crash-before": f"the invocation was killed before API call {at} arrived, and repeated",
        "crash-after": f"the invocation was killed right after API call {at}, and repeated",
        "lost": f"the response to API call {at} was lost, and the call repeated",
        "late": f"the time of the invocation was up after API call {at}",
        "order": f"branches ran in the order of seed {at}",
    }[schedule.kind]
