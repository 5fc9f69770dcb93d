"""A saga: a move to another city, booked piece by piece and given back when a later piece cannot be had.

    cd examples && perdure run saga:handler --event '{"missing": "van"}' --skip-time

Without an event, everything can be had. `trip.py` does the like by hand.
"""

from __future__ import annotations

from typing import Any

from perdure import DurableContext, StepContext, StepError, durable_execution, durable_step
from perdure.retries import RetryPresets

PIECES = ("flat", "storage", "van")


class NotToBeHadError(Exception):
    """Asking again does not help."""


@durable_step
def reserve(_step: StepContext, piece: str, *, missing: bool) -> str:
    """Reserve one piece."""
    if missing:
        raise NotToBeHadError(f"no {piece} to be had")
    return f"{piece}-4711"


@durable_step
def give_back(step: StepContext, reservation: str) -> None:
    """Give a reservation back: twice does no harm, and the storage's system needs to be asked twice."""
    if reservation.startswith("storage") and step.attempt == 1:
        raise ConnectionError("busy")


@durable_step
def lock(_step: StepContext, household: str) -> str:
    """Keep others from moving the same household."""
    return f"lock of {household}"


@durable_step
def release(_step: StepContext, key: str) -> None:
    """Let others again."""


@durable_execution
def handler(event: dict[str, Any], context: DurableContext) -> dict[str, Any]:
    """Reserve everything or nothing, under a lock."""
    key = context.step(lock(event.get("household", "Ada")))
    with context.finally_(release, key):
        try:
            with context.saga("move") as saga:
                reserved = [
                    saga.step(
                        reserve(piece, missing=piece == event.get("missing")),
                        name=f"reserve-{piece}",
                        retry=RetryPresets.none(),
                        undo=give_back,
                        undo_retry=RetryPresets.critical(),
                    )
                    for piece in PIECES
                ]
        except StepError as error:
            return {"reserved": [], "because": error.message}
        return {"reserved": reserved, "because": None}
