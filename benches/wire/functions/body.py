"""What the function does, whatever SDK it is under."""

from __future__ import annotations

from typing import Any


def body(event: dict[str, Any], context: Any) -> int:
    """Run as many steps as the event says, or a map; give the sum of what came back."""
    if "map" in event:
        return sum(context.map(range(event["map"]), lambda _context, item, *_: item, name="orders").get_results())
    value = {"order_id": 0}
    return sum(
        context.step(lambda _, number=number: {**value, "order_id": 1000 + number}, name="charge")["order_id"]
        for number in range(event["steps"])
    )
