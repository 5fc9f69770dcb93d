"""An embedded durable execution service: run durable functions on this machine, in this process, in virtual time.

    service = LocalService()
    service.register("greet", handler)
    execution = service.run("greet", event={"name": "Ada"})
    assert execution.status == "SUCCEEDED"

The service speaks the Lambda API through `LocalService.client`, which has the methods of a boto3 client.
"""

from __future__ import annotations

from perdure.local.client import LocalClient
from perdure.local.events import LocalEvent, LocalLambdaContext
from perdure.local.handle import ExecutionHandle, Invocation
from perdure.local.machine.clock import Clock, RealClock, SkippingClock, VirtualClock
from perdure.local.machine.errors import InvocationCut, client_error
from perdure.local.machine.limits import Limits
from perdure.local.service import LocalService, Observer, current_service
from perdure.local.store import Store, StoreError
from perdure.local.store.memory import MemoryStore
from perdure.local.store.sqlite import SqliteStore

__all__ = [
    "Clock",
    "ExecutionHandle",
    "Invocation",
    "InvocationCut",
    "Limits",
    "LocalClient",
    "LocalEvent",
    "LocalLambdaContext",
    "LocalService",
    "MemoryStore",
    "Observer",
    "RealClock",
    "SkippingClock",
    "SqliteStore",
    "Store",
    "StoreError",
    "VirtualClock",
    "client_error",
    "current_service",
]
