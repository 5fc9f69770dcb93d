"""What the recipes of docs/deploy.md deploy: an order that is paid, may be reconsidered, and is sent."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from perdure import DurableContext, StepContext, durable_execution, durable_step


@durable_step
def charge(_step: StepContext, order: str, amount: int) -> str:
    """Take the money; here you would call whoever does."""
    return f"{amount} for {order}"


@durable_step
def send(_step: StepContext, order: str) -> str:
    """Send the goods."""
    return f"parcel of {order}"


@durable_execution
def handler(event: dict[str, Any], context: DurableContext) -> dict[str, Any]:
    """Take an order: `{"order": "A-1", "amount": 42}`."""
    payment = context.step(charge(event["order"], event["amount"]))
    context.wait(timedelta(minutes=5), name="time-to-reconsider")
    return {"payment": payment, "sent": context.step(send(event["order"]))}
