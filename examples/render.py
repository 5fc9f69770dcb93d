"""Polling: start a job elsewhere, and look after it, less and less often, without paying for the time between.

    cd examples && perdure run render:handler --skip-time

Between two looks the execution is suspended; the renderer here does 30 percent in each pause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from perdure import DurableContext, StepContext, durable_execution, durable_step
from perdure.config import JitterStrategy
from perdure.waits import WaitStrategyConfig, create_wait_strategy

if TYPE_CHECKING:
    from perdure.types import WaitForConditionCheckContext


class Job(TypedDict):
    """What the renderer tells of a job."""

    id: str
    percent: int


PATIENTLY = create_wait_strategy(
    WaitStrategyConfig[Job](
        should_continue_polling=lambda job: job["percent"] < 100,  # noqa: PLR2004  percent
        initial_delay=10,
        backoff_rate=2,
        max_delay=60,
        jitter_strategy=JitterStrategy.NONE,
    )
)


@durable_step
def submit(_step: StepContext, film: str) -> Job:
    """Hand the film to the renderer."""
    return {"id": f"job-{film}", "percent": 0}


def look(job: Job, check: WaitForConditionCheckContext) -> Job:
    """Ask the renderer how far it is; this one is never late."""
    return {"id": job["id"], "percent": min(100, 30 * check.attempt)}


@durable_execution
def handler(event: dict[str, Any], context: DurableContext) -> dict[str, Any]:
    """Render a film."""
    job = context.step(submit(event.get("film", "metropolis")))
    done = context.wait_for_condition(look, name="rendered", wait_strategy=PATIENTLY, initial_state=job)
    return {"job": done["id"], "percent": done["percent"]}
