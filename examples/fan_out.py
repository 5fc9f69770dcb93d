"""A fan-out: the prices of many articles, in the currency of the shop, from whoever answers first.

    cd examples && perdure run fan_out:handler --event '{"articles": 250}' --skip-time

250 articles are 3 branches, the exchange rate comes from the quicker of two sources, and what takes too long is left
out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure import DurableContext, ItemBatcher, StepContext, durable_execution, durable_step
from perdure.config import CompletionConfig
from perdure.retries import RetryPresets

if TYPE_CHECKING:
    from collections.abc import Sequence


UNKNOWN = 137
"""An article that the catalogue knows nothing of."""


class NoPriceError(Exception):
    """In the words of the shop."""


@durable_step
def look_up(_step: StepContext, articles: list[int]) -> list[int]:
    """Ask the catalogue for many prices at once."""
    if UNKNOWN in articles:
        raise LookupError(f"article {UNKNOWN}")
    return [article % 50 + 1 for article in articles]


def price(inner: DurableContext, articles: list[int], first: int, _all: Sequence[int]) -> list[int]:
    """Price a batch of articles."""
    return inner.step(look_up(articles), name=f"look-up-{first}", retry=RetryPresets.none())


def in_our_words(error: Exception) -> Exception:
    """Say of a failure what the shop calls it."""
    return NoPriceError(f"no price: {error}")


def exchange(inner: DurableContext) -> float:
    """Ask the exchange, which takes its time."""
    inner.wait(30)
    return inner.step(lambda _: 1.11, name="exchange")


def bank(inner: DurableContext) -> float:
    """Ask the bank, which is quick today."""
    inner.wait(2)
    return inner.step(lambda _: 1.1, name="bank")


def news(inner: DurableContext) -> str:
    """Wait for somebody to write a headline, who has two hours."""
    inner.wait(7200)
    return "nothing new"


@durable_execution
def handler(event: dict[str, Any], context: DurableContext) -> dict[str, Any]:
    """Make the price list."""
    began, number = context.now(), context.uuid()
    rate = context.race([exchange, bank], "rate", timeout=60)
    prices = context.map(
        range(event.get("articles", 250)),
        price,
        "prices",
        batcher=ItemBatcher(max_items=100),
        completion_config=CompletionConfig.all_completed(),
        map_error=in_our_words,
    )
    (headline,) = context.all_settled([news], "headline", timeout=600)
    return {
        "list": f"list-{number.version}",
        "rate": rate,
        "prices": len(prices.get_results()),
        "missing": [error.message for error in prices.get_errors() if error],
        "headline": headline.status.value,
        "took": round((context.now() - began).total_seconds()),
    }
