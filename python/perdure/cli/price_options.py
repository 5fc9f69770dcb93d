"""The options about prices, for the commands that estimate what an execution costs. Needs the `local` extra."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from perdure.local.machine.budget import MILLION, PRICE_LIST, Prices

_WHERE = f"in {PRICE_LIST.currency}; else {PRICE_LIST.region}, {PRICE_LIST.date}"


def finite(value: float | None) -> float | None:
    """Refuse infinity and NaN, which are floats, but no prices and no lengths of time."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no finite number.")
    return value


PriceOperations = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="PRICE",
        callback=finite,
        envvar="PERDURE_PRICE_OPERATIONS",
        help=f"Of a million operations, {_WHERE}.",
    ),
]
PriceWritten = Annotated[
    float | None,
    typer.Option(
        min=0, metavar="PRICE", callback=finite, envvar="PERDURE_PRICE_WRITTEN", help="Of a GB written, likewise."
    ),
]
PriceRetained = Annotated[
    float | None,
    typer.Option(
        min=0, metavar="PRICE", callback=finite, envvar="PERDURE_PRICE_RETAINED", help="Of a GB kept a month, likewise."
    ),
]


def prices_of(operations: float | None, written: float | None, retained: float | None) -> Prices:
    """Return the prices that were given, and the list's for the others."""
    listed = Prices()
    return Prices(
        listed.operation if operations is None else operations / MILLION,
        listed.written_gb if written is None else written,
        listed.retained_gb_month if retained is None else retained,
    )
