"""A saga: book a flight, a hotel and a car, and give back what was booked when a later booking fails.

    cd examples && perdure run trip:handler --event '{"sold_out": "car"}' --skip-time

Without an event, everything can be booked.
"""

from __future__ import annotations

from typing import Any

from perdure import DurableContext, StepContext, StepError, durable_execution, durable_step
from perdure.config import StepSemantics
from perdure.retries import RetryPresets

PARTS = ("flight", "hotel", "car")


class SoldOutError(Exception):
    """There is none left; asking again does not help."""


@durable_step
def book(_step: StepContext, part: str, *, sold_out: bool) -> str:
    """Book one part of the trip. Booking twice costs money, so an attempt runs at most once."""
    if sold_out:
        raise SoldOutError(f"no {part} left")
    return f"{part}-4711"


@durable_step
def cancel(_step: StepContext, booking: str) -> str:
    """Give a booking back. Cancelling twice does no harm, so this is tried until it works."""
    return f"{booking} cancelled"


@durable_execution
def handler(event: dict[str, Any], context: DurableContext) -> dict[str, Any]:
    """Book everything or nothing."""
    booked: list[str] = []
    try:
        for part in PARTS:
            booking = context.step(
                book(part, sold_out=part == event.get("sold_out")),
                name=f"book-{part}",
                step_semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY,
                retry=RetryPresets.none(),
            )
            booked.append(booking)
    except StepError as error:
        undone = [
            context.step(cancel(booking), name=f"cancel-{booking}", retry=RetryPresets.critical())
            for booking in reversed(booked)
        ]
        return {"booked": [], "undone": undone, "because": error.message}
    return {"booked": booked, "undone": [], "because": None}
