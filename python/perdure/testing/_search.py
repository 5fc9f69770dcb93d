"""The search for a schedule that makes a difference: which are run, when one counts, and which is the smallest."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from perdure.testing._mask import Mask
from perdure.testing._report import Report
from perdure.testing._schedule import UNDISTURBED, Schedule
from perdure.testing._trial import run_trial
from perdure.testing._watchdog import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from perdure.testing._seen import Seen
    from perdure.testing._trial import Around

    Handler = Callable[[Any, Any], Any]
    Progress = Callable[[int, int, Schedule], None]

_UNDISTURBED = 3
_DOUBTS = 6
_PICKS = 32
_LEAST, _TIMES = 1.0, 10.0
"""What a run may take although time is about to be up: so many seconds, and so many times what the first one took."""


@dataclass
class _Found:
    """What came of a schedule."""

    schedule: Schedule
    differences: list[str]
    got: Seen


class _TimeIsUpError(Exception):
    """There is no time left to find out."""


class Search:
    """Runs a handler under schedules, and holds what is seen against the first, undisturbed run."""

    def __init__(
        self, handler: Handler, payload: str, around: Around, trial_limit: float, *, idempotent: bool = False
    ) -> None:
        self._what = handler, payload, around
        self._trial_limit = trial_limit
        self._idempotent = idempotent
        self._worker: Worker | None = None
        self._expected: Seen
        self._mask = Mask()  # what varies between undisturbed runs in which nothing is held
        self._normal = 0.0
        self._began = time.monotonic()
        self._until = inf

    def begin(self) -> None:
        """Make the undisturbed run."""
        self._expected = self._run(UNDISTURBED, held=True, limit=self._trial_limit)
        self._normal = time.monotonic() - self._began

    def close(self) -> None:
        """Let the thread go that the runs are made in."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def only(self, schedule: Schedule) -> Report:
        """Run one schedule."""
        if (hopeless := self._hopeless(1)) is not None:
            return hopeless
        for _ in range(_UNDISTURBED):
            self._learn()
        found = self._compare(schedule)
        if found.differences:
            return self._report(found, 1, 1)
        report = self._report(None, 1, 1)
        report.missed = schedule if found.got.struck is None else None
        return report

    def again(self, schedule: Schedule) -> Report:
        """Run one schedule once the search is over."""
        self._began, self._until = time.monotonic(), inf
        try:
            return self.only(schedule)
        finally:
            self.close()

    def all(self, orders: int, most: int, time_limit: float, on_progress: Progress | None) -> Report:
        """Run them all, until one differs or time is up."""
        everything = list(_plan(self._expected, orders))
        plan = _choice(everything, most)
        if (hopeless := self._hopeless(len(plan))) is not None:
            return hopeless
        self._until = self._began + time_limit
        tried = 0
        try:
            for tried, schedule in enumerate(plan):
                self._check_time()
                if on_progress is not None:
                    on_progress(tried, len(plan), schedule)
                found = self._compare(schedule)
                if found.differences:
                    left_out = set(everything[: everything.index(schedule)]).difference(plan)
                    return self._report(self._smallest(found, left_out), tried + 1, len(plan))
        except _TimeIsUpError:
            report = self._report(None, tried, len(plan))
            report.nothing_tried = tried <= plan.count(UNDISTURBED) < len(plan)
            return report
        return self._report(None, len(plan), len(plan))

    def _hopeless(self, planned: int) -> Report | None:
        """Report on an undisturbed run after which there is nothing to look for."""
        if self._expected.stuck is not None or not self._expected.is_durable:
            return self._report(None, 0, planned)
        if self._expected.is_non_deterministic:
            told = f"it did not even do the same within one run: {self._expected.outcome()}"
            return self._report(_Found(UNDISTURBED, [told], self._expected), 0, planned)
        return None

    def _report(self, found: _Found | None, tried: int, planned: int) -> Report:
        return Report(
            None if found is None else found.schedule,
            [] if found is None else found.differences,
            tried,
            planned,
            time.monotonic() - self._began,
            self._expected,
            None if found is None else found.got,
            again=self.again,
        )

    def _smallest(self, found: _Found, left_out: set[Schedule]) -> _Found:
        """Find the least schedule of its kind that makes a difference.

        Those of earlier calls were tried before, but for any that were left out since there are too many. An order is
        drawn by chance for the shortest time possible.
        """
        schedule = found.schedule
        if found.got.stuck is not None or schedule.kind == "undisturbed":
            return found
        if schedule.kind == "order":
            smaller = [Schedule("order", schedule.at, picks) for picks in range(_PICKS)]
        else:
            smaller = sorted(one for one in left_out if one.kind == schedule.kind)
        try:
            for one in smaller:
                self._check_time()
                less = self._compare(one)
                if less.differences:
                    return less
        except _TimeIsUpError:
            pass
        return found

    def _compare(self, schedule: Schedule) -> _Found:
        """Give the differences that a schedule makes.

        Each kind of run finds what the other cannot. Where the world is held, what steps give is the same in each run,
        and so whatever differs is the handler's doing; but where a step gives what the handler had drawn outside of it,
        holding it hides that. Where nothing is held, what varies in undisturbed runs cannot be compared.
        """
        if schedule == UNDISTURBED:
            found = self._once(schedule, held=True)
            if not found.differences:
                self._learn()
            return found
        if self._mask and (held := self._once(schedule, held=True)).differences:
            return held
        found = self._once(schedule, held=False)
        if not found.differences or found.got.stuck is not None:
            return found
        if not self._mask and (held := self._once(schedule, held=True)).differences:
            return held
        return self._beyond_doubt(found)

    def _beyond_doubt(self, found: _Found) -> _Found:
        """Give a difference again only if it is no chance, and not the world's.

        Chance may have come late, and a function that was cut off and runs again may find another world.
        """
        for _ in range(_DOUBTS):
            if found.got.is_run_again or not found.differences:
                return _Found(found.schedule, [], found.got)
            self._check_time()
            if (held := self._once(UNDISTURBED, held=True)).differences:
                return held  # chance it is, but of the handler's own
            self._learn()
            found = self._once(found.schedule, held=False)
        return found

    def _learn(self) -> None:
        """Run it undisturbed with nothing held, and see what varies."""
        got = self._run(UNDISTURBED, held=False, limit=self._patience())
        if got.stuck is not None:
            return
        self._mask.learn(self._expected.facts(), got.facts())

    def _once(self, schedule: Schedule, *, held: bool) -> _Found:
        got = self._run(schedule, held=held, limit=self._patience())
        loose = got.interrupted or got.raced or self._expected.raced
        probed = (schedule.kind != "crash-before" or self._idempotent) and not loose
        expected, shown = self._expected, got
        if not held:
            expected, shown = expected.without(self._mask), got.without(self._mask)
        return _Found(schedule, expected.differences(shown, result=not loose, probe=probed), got)

    def _patience(self) -> float:
        return min(self._trial_limit, max(self._until - time.monotonic(), _LEAST + _TIMES * self._normal))

    def _run(self, schedule: Schedule, *, held: bool, limit: float) -> Seen:
        self._worker = self._worker or Worker()
        seen = run_trial(*self._what, schedule, held=held, worker=self._worker, limit=limit)
        if seen.stuck is not None:
            self._worker = None
        return seen

    def _check_time(self) -> None:
        if time.monotonic() > self._until:
            raise _TimeIsUpError


def _plan(expected: Seen, orders: int) -> Iterator[Schedule]:
    """Give all schedules, those of early calls first, and the most telling ones first of all."""
    yield from [UNDISTURBED] * _UNDISTURBED
    for call in range(1, expected.calls + 1):
        for kind in ("crash-after", "crash-before", "lost", "late"):
            yield Schedule(kind, call)
    if expected.choices:
        for seed in range(1, orders + 1):
            yield Schedule("order", seed)


def _choice(plan: list[Schedule], most: int) -> list[Schedule]:
    if len(plan) <= most:
        return plan
    return [plan[index * len(plan) // most] for index in range(most)]
