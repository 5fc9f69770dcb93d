"""A pretended warehouse, for running `order.py` on this machine. It is not part of what is deployed.

On AWS the warehouse is some other system: it reads the queue, and answers with `SendDurableExecutionCallbackSuccess`.
"""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from typing import Any

from perdure.local import current_service

PACKING_SECONDS = 0.1


def receive(message: dict[str, Any]) -> None:
    """Take a message, and answer it in a while from a thread of the warehouse's own."""
    threading.Timer(PACKING_SECONDS, answer, [message]).start()


def answer(message: dict[str, Any]) -> None:
    """Say that the parcel has left.

    After a crash the same message may come once more. The first answer counts; the service refuses the second, and
    that is as it should be.
    """
    client = current_service().client
    parcel = {"tracking": f"PX-{message['order']}", "lines": len(message["contents"])}
    with suppress(client.exceptions.CallbackTimeoutException, client.exceptions.ResourceNotFoundException):
        client.send_durable_execution_callback_success(
            CallbackId=message["callback"], Result=json.dumps(parcel).encode()
        )
