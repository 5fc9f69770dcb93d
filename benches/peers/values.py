"""The results that steps return."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

from perdure._core import encode_extended

STRUCTURED_SIZE = 550_000


def small(number: int) -> dict[str, int]:
    """Give a result whose recorded payload has 45 bytes."""
    return {"order_id": 1000 + number % 9000}


def nested(number: int) -> dict[str, Any]:
    """Give a result of 60 leaves, 1 KB as plain JSON."""
    return {
        f"line_{line}": {
            "sku": f"SKU-{number % 10_000:04}-{line:02}",
            "name": "chair, oak",
            "size": {"width": 45 + line, "height": 90, "depth": 51.5},
            "count": line + 1,
            "price": 129.9 + line,
            "tax": 0.19,
            "gift": line % 2 == 0,
            "note": None,
        }
        for line in range(6)
    }


@dataclass
class Receipt:
    """A result of ten fields."""

    number: int
    customer: str
    street: str
    city: str
    paid: bool
    amount: Decimal
    rate: float
    note: str | None
    items: list[str]
    units: int


def receipt(number: int) -> Receipt:
    """Give a receipt."""
    return Receipt(
        number, "Ada", "Main Street 1", "Turin", True, Decimal("129.90"), 0.19, None, ["chair", "table"], number % 7
    )


@cache
def structured() -> list[dict[str, Any]]:
    """Give one large result: a list of nested dicts, 550 KB as a recorded payload."""
    one = len(encode_extended(nested(0))) + 1
    return [nested(number) for number in range(STRUCTURED_SIZE // one)]
