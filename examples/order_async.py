"""The order once more, written with async: what needs not wait for each other runs side by side.

    cd examples && perdure run order_async:handler --event order.json --skip-time

The stock is held and the customer looked up side by side, the payment provider is asked by a coroutine, and again,
the customer has an hour to change their mind, the items are picked side by side, and a warehouse that knows nothing of
this program answers when the parcel has left. What an order is, and the warehouse, are those of `order.py`.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from order import PATIENT, Item, Order, hand_over
from perdure import AsyncDurableContext, StepContext, durable_execution, durable_step, durable_wait_for_callback
from perdure.config import Duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perdure.types import WaitForCallbackContext


@durable_step
def add_up(_step: StepContext, items: list[Item]) -> int:
    """Give the total in cents. A plain function does as well."""
    return sum(item["price"] * item["quantity"] for item in items)


@durable_step
async def look_up(_step: StepContext, customer: str) -> str:
    """Look the customer up."""
    await asyncio.sleep(0)  # a call to the customer register, by an asynchronous client
    return f"{customer} is known"


@durable_step
async def hold(_step: StepContext, item: Item) -> int:
    """Hold the items of one line for this order."""
    await asyncio.sleep(0)
    return item["quantity"]


@durable_step
async def charge(step: StepContext, order: Order, total: int) -> str:
    """Charge the card. The provider is not at its best today: the first two attempts fail."""
    step.logger.info("charging %s cents", total)
    await asyncio.sleep(0)
    if step.attempt <= 2:  # noqa: PLR2004  a made-up outage
        raise ConnectionError("the payment provider did not answer")
    return f"payment-{order['id']}"


async def reserve(context: AsyncDurableContext, items: list[Item]) -> str:
    """Hold all items: in a context of its own, since it has several operations and others run beside it."""
    async with asyncio.TaskGroup() as group:
        held = [group.create_task(context.step(hold(item), name=f"hold-{item['sku']}")) for item in items]
    return f"{sum(task.result() for task in held)} items held"


async def pick(context: AsyncDurableContext, item: Item, index: int, _items: Sequence[Item]) -> str:
    """Fetch one line of the order from its shelf."""
    return await context.step(lambda _step: f"{item['quantity']} x {item['sku']} from shelf {index + 1}", name="fetch")


@durable_wait_for_callback
async def dispatch(callback_id: str, _context: WaitForCallbackContext, order: Order, picked: list[str]) -> None:
    """Tell the warehouse what to send; it will answer under the callback's id."""
    await asyncio.to_thread(hand_over, {"callback": callback_id, "order": order["id"], "contents": picked})


@durable_execution
async def handler(order: Order, context: AsyncDurableContext) -> dict[str, Any]:
    """Take an order."""
    total, customer, stock = await asyncio.gather(
        context.step(add_up(order["items"])),
        context.step(look_up(order["customer"])),
        context.run_in_child_context(lambda inner: reserve(inner, order["items"]), name="reserve-stock"),
    )

    payment = await context.step(charge(order, total), retry=PATIENT)
    await context.wait(Duration.from_hours(1), name="time-to-reconsider")

    picked = await context.map(
        order["items"], pick, name="pick", max_concurrency=2, item_namer=lambda item, _index: f"pick-{item['sku']}"
    )
    picked.throw_if_error()

    answer = await context.wait_for_callback(dispatch(order, picked.get_results()), timeout=Duration.from_days(2))

    return {
        "order": order["id"],
        "total": f"{total / 100:.2f} EUR",
        "payment": payment,
        "checks": [customer, stock],
        "picked": picked.get_results(),
        "tracking": json.loads(answer)["tracking"],
    }
