"""`explore`: run a handler, then again with everything going wrong that may, one thing at a time.

A durable function must do the same each time it is run again. What makes it differ (chance, the clock, globals, side
effects outside of steps) shows only when an invocation ends in an unlucky place, so the explorer ends them in all
places: crashes before and after each API call, a lost response to each, an invocation out of time with each; and
branches in orders drawn by chance, with one thread and with several. The first run that differs, or that contradicts
what is recorded of it, is reported as a schedule that can be run again.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from perdure.testing.exploring.progress import shown
from perdure.testing.exploring.report import ExplorationError, Report
from perdure.testing.exploring.schedule import Schedule
from perdure.testing.exploring.search import Search
from perdure.testing.exploring.world import World
from perdure.testing.mocks import MockedFunction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Handler = Callable[[Any, Any], Any]
    Progress = Callable[[int, int, Schedule], None]

__all__ = ["ExplorationError", "Report", "Schedule", "explore"]


def explore(
    handler: Handler,
    event: Any = None,
    *,
    input: str | None = None,  # noqa: A002  as the runner calls it
    schedule: str | Schedule | None = None,
    functions: Mapping[str, Handler] | None = None,
    durable_functions: Mapping[str, Handler] | None = None,
    mocks: Mapping[str, Any] | None = None,
    answers: Mapping[Any, Any] | None = None,
    setup: Callable[[], Any] | None = None,
    probe: Callable[[], Any] | None = None,
    idempotent: bool = False,
    orders: int = 20,
    time_limit: float = 60.0,
    trial_limit: float = 30.0,
    max_schedules: int = 2_000,
    on_progress: Progress | None = None,
    progress: bool = False,
) -> Report:
    """Search for a way to make a handler do something else than it does undisturbed.

    Steps may be random and flaky, and strategies may decide by chance: what varies between undisturbed runs is held as
    it was in the one that got furthest, and in further runs left out of the comparison. A run in which an at-most-once
    step is interrupted, or a batch that ends before all its branches have gives another result, only has to end, and to
    ask for the operations that it has recorded.

    Each run is held against its own record as well: what a handler was given must be what is recorded.

    Everything runs in one thread that is not the caller's, so that a run which hangs can be given up; where branches
    have several, one of them goes on at a time. The exploration ends with a run that hangs: Python cannot end a thread
    that waits for ever, and what it holds would be missing in later runs.

    Threads that the handler starts may answer its callbacks: they get up to 5 real seconds (a quarter of `trial_limit`
    at most) before the callback times out, unless they did nothing in the first run, and up to 3 seconds to end once a
    run has. The report names those that were still at work when the next run began. What differs in such a run is run
    again before it is reported, since they may have reached into it.

    Args:
        handler: What ``@durable_execution`` made.
        event: Its event.
        input: Its event as JSON, in the place of `event`.
        schedule: Run this schedule only, besides the undisturbed run: what `Report.recipe` names.
        functions: Plain functions that it invokes, by their names.
        durable_functions: Durable functions that it invokes, by their names.
        mocks: What functions return that it invokes, by their names; a callable is called with the payload, and
            exceptions fail the call.
        answers: What callbacks are answered with, by their names or those of the ``wait_for_callback``; exceptions
            fail them. One that is not named here is not answered.
        setup: Called before each run, to put back what runs share.
        probe: Called after each run; gives what of the outside world must be the same then, such as how many mails
            were sent. Not asked after a crash before a call, since a step that was under way is run again then, unless
            functions are to be `idempotent`.
        idempotent: Ask the probe after a crash before a call, too: that finds functions of steps which, run a second
            time, do what they did once more.
        orders: How many orders of branches to try, when there are branches.
        time_limit: Seconds after which no further run begins.
        trial_limit: Seconds after which a run counts as stuck. Where less is left of `time_limit`, that counts, but
            never less than a second and ten times what the undisturbed run took.
        max_schedules: How many schedules are run at most, undisturbed ones included; of more, an even choice is made.
        on_progress: Called before each run with how many are done, how many there are, and the schedule.
        progress: Show that on standard error, if it is a terminal.

    Returns:
        A report; call its `assert_ok`.

    Raises:
        ValueError: If `schedule` is none.

    """
    payload = input if input is not None else json.dumps(event)
    plain = {**_mocked(mocks or {}), **(functions or {})}
    world = World(plain, durable_functions or {}, answers or {}, setup, probe)
    only = Schedule.parse(schedule) if isinstance(schedule, str) else schedule
    search = Search(handler, payload, world, trial_limit, idempotent=idempotent)
    try:
        search.begin()
        if only is not None:
            return search.only(only)
        with shown() if progress and on_progress is None else nullcontext(on_progress) as told:
            return search.all(orders, max_schedules, time_limit, told)
    finally:
        search.close()


def _mocked(mocks: Mapping[str, Any]) -> dict[str, Handler]:
    def mocked(name: str, returns: Any) -> Handler:
        if isinstance(returns, BaseException):
            return MockedFunction(name, raises=returns)
        return MockedFunction(name, returns)

    return {name: mocked(name, returns) for name, returns in mocks.items()}
