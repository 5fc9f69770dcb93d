"""A human in the loop: somebody approves an expense within three days, or their manager decides, or nobody does.

    cd examples && perdure run approval:handler --skip-time

On a terminal you are asked for the answer (`"yes"` or `"no"`). Leave it empty, and three days pass in no time. Answers
are JSON here, which the serdes of the callback reads: `perdure callback succeed ID --result '"yes"'`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from perdure import CallbackTimeoutError, DurableContext, durable_execution, durable_wait_for_callback
from perdure.serdes import DEFAULT_JSON_SERDES

if TYPE_CHECKING:
    from perdure.types import WaitForCallbackContext


@durable_wait_for_callback
def ask(callback_id: str, context: WaitForCallbackContext, person: str, amount: int) -> None:
    """Send a message with two links in it. Either ends in a callback under this id, `"yes"` or `"no"`."""
    context.logger.info("asking %s about %s EUR under %s", person, amount, callback_id)


@durable_execution
def handler(event: dict[str, Any], context: DurableContext) -> dict[str, Any]:
    """Get an expense approved."""
    amount = event.get("amount", 420)
    for person in event.get("approvers", ["Grace", "Edsger"]):
        try:
            answer = context.wait_for_callback(
                ask(person, amount),
                name=f"ask-{person}",
                timeout=timedelta(days=3),
                serdes=DEFAULT_JSON_SERDES,
            )
        except CallbackTimeoutError:
            continue
        return {"approved": answer == "yes", "by": person}
    return {"approved": False, "by": None}
