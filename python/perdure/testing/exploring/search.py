"""The search for a schedule that makes a difference: which are run, when one counts, and which is the smallest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Any

from perdure.engine.time_left import steady
from perdure.testing.exploring.mask import Mask
from perdure.testing.exploring.report import Report
from perdure.testing.exploring.schedule import UNDISTURBED, Schedule
from perdure.testing.exploring.trial import run_trial
from perdure.testing.exploring.varying import Varying
from perdure.testing.exploring.watchdog import Worker
from perdure.testing.exploring.world import Hold, Unlike

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from perdure.testing.exploring.observation import Observation
    from perdure.testing.exploring.world import World

    Handler = Callable[[Any, Any], Any]
    Progress = Callable[[int, int, Schedule], None]

_UNDISTURBED = 3
_WORLDS, _MOST_WORLDS = 3, 6
"""Of how many undisturbed runs one is chosen to be held; and of how many at most."""
_DOUBTS, _TRIES = 6, 24
"""How often a difference must come again that may be chance, and how often it is tried."""
_RETRIALS = 3
_PICKS = 32
_MOST_HANDS = 5
"""Branches are tried with one thread, with two, and with as many as there are branches, up to so many."""
_LEAST, _TIMES = 1.0, 10.0
"""What a run may take although time is about to be up: so many seconds, and so many times what others took at most."""


@dataclass
class _Found:
    """What came of a schedule."""

    schedule: Schedule
    differences: list[str]
    expected: Observation
    got: Observation


class _TimeIsUpError(Exception):
    """There is no time left to find out."""


class Search:
    """Runs a handler under schedules, and holds what is seen against the first, undisturbed run."""

    def __init__(
        self, handler: Handler, payload: str, world: World, trial_limit: float, *, idempotent: bool = False
    ) -> None:
        self._what = handler, payload, world
        self._world = world
        self._trial_limit = trial_limit
        self._idempotent = idempotent
        self._worker: Worker | None = None
        self._expected: Observation
        self._varying: Varying
        self._is_chosen = False
        self._is_turned = False
        self._left_behind: dict[str, None] = {}
        self._normal = 0.0
        self._began = steady()
        self._until = inf

    def begin(self) -> None:
        """Make the undisturbed run."""
        self._expect(self._run(UNDISTURBED, Hold.ALL, limit=self._trial_limit))

    def close(self) -> None:
        """Let the thread go that the runs are made in."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def only(self, schedule: Schedule) -> Report:
        """Run one schedule."""
        if (hopeless := self._hopeless(1)) is not None:
            return hopeless
        if (learnt := self._choose() or self._learn()).differences:
            return self._report(learnt, 0, 1)
        found = self._compare(schedule)
        for _ in range(_UNDISTURBED - 1):
            if found.differences or schedule != UNDISTURBED:
                break
            found = self._compare(schedule)  # nothing but chance makes a difference there
        report = self._report(found if found.differences else None, 1, 1)
        report.missed = schedule if not found.differences and found.got.struck is None else None
        return report

    def again(self, schedule: Schedule) -> Report:
        """Run one schedule once the search is over."""
        self._began, self._until = steady(), inf
        try:
            return self.only(schedule)
        finally:
            self.close()

    def all(self, orders: int, most: int, time_limit: float, on_progress: Progress | None) -> Report:
        """Run them all, until one differs or time is up."""
        self._until = self._began + time_limit
        planned = min(most, sum(1 for _ in _plan(self._expected, orders)))
        if (hopeless := self._hopeless(planned)) is not None:
            return hopeless
        if (chosen := self._choose()) is not None:
            return self._report(chosen, 0, planned)
        everything = list(_plan(self._expected, orders))
        plan = _choice(everything, most)
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
        if self._expected.contradictions:
            found = _Found(UNDISTURBED, self._expected.contradictions, self._expected, self._expected)
            return self._report(found, 0, planned)
        if self._expected.is_non_deterministic:
            told = f"it did not even do the same within one run: {self._expected.outcome()}"
            return self._report(_Found(UNDISTURBED, [told], self._expected, self._expected), 0, planned)
        return None

    def _expect(self, expected: Observation, *others: Observation) -> None:
        """Hold further runs against this one, but for what is not the same in others."""
        self._expected, self._varying = expected, Varying(expected)
        for other in others:
            self._varying.learn(other)
        self._world.in_vain = expected.unanswered_keys()

    def _choose(self) -> _Found | None:
        """Choose which world to hold: where chance decides how far the handler gets, the one where it gets furthest.

        A step that fails in the first run would hide all that comes after it from the exploration.
        """
        if self._is_chosen:
            return None
        first = self._expected, self._world.outcomes
        worlds = [first]
        while len(worlds) < self._worlds([seen for seen, _ in worlds]) and steady() <= self._until:
            self._world.outcomes = {}
            got = self._run(UNDISTURBED, Hold.ALL, limit=self._patience())
            worlds.append((got, self._world.outcomes))
            if (learnt := self._learn_from(got)).differences:
                self._world.outcomes = first[1]
                return learnt
        chosen = max(worlds, key=lambda world: (not world[0].raced, world[0].status == "SUCCEEDED", world[0].calls))
        self._world.outcomes = first[1]
        if chosen is not first and (held := self._once(UNDISTURBED, Hold.ALL)).differences:
            return held  # it was not the world's chance
        self._world.outcomes = chosen[1]
        self._expect(chosen[0], *(seen for seen, _ in worlds))
        self._is_chosen = True
        return None

    def _worlds(self, seen: list[Observation]) -> int:
        """Tell from how many worlds to choose: from more where they vary, or where none is known that ends well."""
        return _MOST_WORLDS if self._varying or all(each.status != "SUCCEEDED" for each in seen) else _WORLDS

    def _report(self, found: _Found | None, tried: int, planned: int) -> Report:
        return Report(
            None if found is None else found.schedule,
            [] if found is None else found.differences,
            tried,
            planned,
            steady() - self._began,
            self._expected if found is None else found.expected,
            None if found is None else found.got,
            left_behind=list(self._left_behind),
            is_unprobed=self._varying.hides("probe"),
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
            smaller = [replace(schedule, picks=picks) for picks in range(_PICKS)]
        else:
            smaller = sorted(one for one in left_out if (one.kind, one.hands) == (schedule.kind, schedule.hands))
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

        Where threads that an earlier run has left behind were at work beside it, they may have made them: it is run
        again, if possible without these, and what it was not each time is nothing that was found.
        """
        found = self._compared(schedule)
        for _ in range(_RETRIALS):
            if not found.differences or not found.got.beside or found.got.stuck is not None:
                break
            self._check_time()
            self._world.handler_threads.clear()
            found = self._compared(schedule)
        return found

    def _compared(self, schedule: Schedule) -> _Found:
        """Run a schedule, and give the differences that it makes.

        Each kind of run finds what the other cannot. Where the world is held, what steps give is the same in each run,
        and so whatever differs is the handler's doing; but where a step gives what the handler had drawn outside of it,
        holding it hides that. Where nothing is held, what varies in undisturbed runs cannot be compared.
        """
        if schedule == UNDISTURBED:
            found = self._once(schedule, Hold.ALL)
            return found if found.differences else self._learn()
        held = None
        self._is_turned = not self._is_turned
        # A world that does another thing every other time is not to do the same each time that it is free.
        if self._varying and self._is_turned and (held := self._once(schedule, Hold.ALL)).differences:
            return held
        found = self._free(schedule)
        if found.got.stuck is not None:
            return found
        if held is None and (self._varying or found.differences):
            held = self._once(schedule, Hold.ALL)
            if held.differences:
                return held
        if found.differences:
            return self._beyond_doubt(found)
        # Chance may have led elsewhere before the schedule could come about.
        return held if held is not None and found.got.struck is None else found

    def _beyond_doubt(self, found: _Found) -> _Found:
        """Give a difference again only if it is no chance, and not the world's.

        Chance may have come late, and a function that was cut off and runs again may find another world. A run that
        chance leads to another end says nothing: it is made once more.
        """
        sure = 0
        for doubt in range(_TRIES):
            if found.got.is_run_again or (doubt == _DOUBTS and not sure):
                break
            self._check_time()
            if doubt < _DOUBTS and (held := self._once(UNDISTURBED, Hold.ALL)).differences:
                return held  # chance it is, but of the handler's own
            for _ in range(1 + doubt % 2):  # what comes round every few runs is not to meet the same ones each time
                if (learnt := self._learn()).differences:
                    return learnt
            again = self._free(found.schedule)
            if again.got.stuck is not None:
                return again
            if again.got.end != found.got.end or again.got.struck is None:
                continue
            if not again.differences:
                break
            found = again
            sure += self._varying.is_sure_of(found.got)
            if sure == _DOUBTS:
                return found
        return replace(found, differences=[])

    def _learn(self) -> _Found:
        """Run it undisturbed with nothing held, and see what varies; what must not be at all is found."""
        return self._learn_from(self._run(UNDISTURBED, Hold.NOTHING, limit=self._patience()))

    def _learn_from(self, got: Observation) -> _Found:
        found = _Found(UNDISTURBED, [], self._expected, got)
        if got.stuck is not None or got.is_non_deterministic or got.contradictions:
            found.differences = self._expected.differences(got, result=True, probe=False)
        else:
            self._varying.learn(got)
        return found

    def _free(self, schedule: Schedule) -> _Found:
        """Run a schedule with nothing held.

        Where branches come in another order by it, what their steps give may hang on that (the next number of a row,
        say), and is the world's doing: then it is held.
        """
        found = self._once(schedule, Hold.NOTHING)
        if not found.differences or found.got.stuck is not None or found.got.is_in_the_order_of(found.expected):
            return found
        return self._once(schedule, Hold.BRANCHES)

    def _once(self, schedule: Schedule, hold: Hold) -> _Found:
        got = self._run(schedule, hold, limit=self._patience())
        expected, mask = (self._expected, Mask()) if hold == Hold.ALL else self._varying.like(got)
        loose = got.interrupted or not expected.raced_alike(got)
        probed = (schedule.kind != "crash-before" and not got.is_run_again) or self._idempotent
        probed = probed and not (loose or got.raced or expected.raced) and got.unlike != Unlike.ENDS
        was, now = expected.without(mask), got.without(mask)
        if got.unlike:  # then what it does is as free as where nothing is held
            of_probe = self._varying.like(expected)[1]
            was, now = was.without_probe(of_probe), now.without_probe(of_probe)
        return _Found(schedule, was.differences(now, result=not loose, probe=probed), expected, got)

    def _patience(self) -> float:
        return min(self._trial_limit, max(self._until - steady(), _LEAST + _TIMES * self._normal))

    def _run(self, schedule: Schedule, hold: Hold, limit: float) -> Observation:
        self._worker = self._worker or Worker()
        seen = run_trial(*self._what, schedule, hold=hold, worker=self._worker, limit=limit)
        if seen.stuck is not None:
            self._worker = None
        elif schedule == UNDISTURBED:
            self._normal = max(self._normal, seen.seconds)
        self._left_behind.update(dict.fromkeys(seen.beside))
        return seen

    def _check_time(self) -> None:
        if steady() > self._until:
            raise _TimeIsUpError


def _plan(expected: Observation, orders: int) -> Iterator[Schedule]:
    """Give all schedules, those of early calls first, and the most telling ones first of all.

    In the undisturbed run one thread works through all branches that are begun; with several, these go on by turns, an
    operation at a time. Those of an ``async def`` handler are tasks, and there are no threads to vary.
    """
    yield from [UNDISTURBED] * _UNDISTURBED
    most = min(expected.width, _MOST_HANDS)
    tried = sorted({1, 2, most}) if most > 1 and not expected.is_asynchronous else []
    yield from (Schedule(hands=hands) for hands in tried)
    for call in range(1, expected.calls + 1):
        for kind in ("crash-after", "crash-before", "lost", "late"):
            yield Schedule(kind, call)
        if tried and call in expected.calls_of_branches:
            yield Schedule("crash-after", call, hands=most)
    if expected.choices:
        for seed in range(1, orders + 1):
            yield Schedule("order", seed, hands=most if tried and seed % 2 == 0 else None)


def _choice(plan: list[Schedule], most: int) -> list[Schedule]:
    if len(plan) <= most:
        return plan
    return [plan[index * len(plan) // most] for index in range(most)]
