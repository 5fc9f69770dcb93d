"""One run of a handler under a given schedule. The explorer's hands.

A trial runs in one thread and in virtual time, so that the same schedule gives the same run. The world outside stays
the same from trial to trial: ids are those of the first, and if it is held, an attempt of a step, a check or a function
ends the way it did the first time, whatever its body does this time.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

from perdure.engine.time_left import steady
from perdure.testing.exploring.control import controlled
from perdure.testing.exploring.environment import Environment
from perdure.testing.exploring.observe import look
from perdure.testing.exploring.watchdog import StuckError

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.testing.exploring.observation import Observation
    from perdure.testing.exploring.schedule import Schedule
    from perdure.testing.exploring.watchdog import Worker
    from perdure.testing.exploring.world import Hold, World

    Handler = Callable[[Any, Any], Any]

_FUNCTION = "explored"


def run_trial(
    handler: Handler,
    payload: str,
    world: World,
    schedule: Schedule,
    *,
    hold: Hold,
    worker: Worker,
    limit: float,
) -> Observation:
    """Run a handler to its end under a schedule.

    Args:
        handler: The handler.
        payload: Its event.
        world: The world.
        schedule: What happens.
        hold: What in the world ends as it did the first time.
        worker: Where it runs.
        limit: After how many seconds it counts as stuck.

    """
    world.begin(hold)
    environment = Environment(world, schedule, limit)
    fault = environment.fault
    handle = environment.service.register(_FUNCTION, handler).start(_FUNCTION, payload, "exploration")
    beside = world.handler_threads.begin()

    def run() -> None:
        fault.hands.begin()
        if world.setup is not None:
            world.setup()
        environment.finish(handle, inf)

    probed = stuck = None
    with controlled(world, fault):
        began = steady()
        try:
            worker.do(run, limit, lambda: fault.hands.ident)
            fault.seconds = steady() - began
            # What threads do yet is to be seen by the probe, and not to reach into the next run.
            world.handler_threads.settle(limit)
            probed = worker.do(world.look, limit)
        except StuckError as error:
            stuck = error
        finally:
            fault.hands.close()
    return replace(look(handle, fault, probed, stuck), beside=beside, unlike=world.unlike)
