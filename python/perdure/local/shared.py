"""What the parts of a service share: its settings, its lock, its functions, and who looks on.

`LocalService` is one, and makes its parts with it. The parts know it and those of each other that they are given; none
of them knows the service.
"""

from __future__ import annotations

from collections import Counter, deque
from threading import Condition, RLock
from typing import TYPE_CHECKING, Any, Protocol

from perdure.local.functions import LATEST, Functions
from perdure.local.machine.clock import VirtualClock
from perdure.local.machine.errors import Fault
from perdure.local.machine.ids import fresh_id
from perdure.local.machine.limits import Limits
from perdure.local.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.engine.hooks import Hooks
    from perdure.local.calls import Call
    from perdure.local.client import LocalClient
    from perdure.local.handle import ExecutionHandle, Invocation
    from perdure.local.logs import FailureLog
    from perdure.local.machine.clock import Clock
    from perdure.local.machine.execution import Origin
    from perdure.local.machine.transitions import Operation
    from perdure.local.store import Store

    Handler = Callable[[Any, Any], Any]
    MakesHooks = Callable[[ExecutionHandle], Hooks | None]
    ApiHook = Callable[[str, dict[str, Any], str], None]


class Observer(Protocol):
    """Who wants to see what happens while it happens. Called under the service's lock: look, do not call back."""

    def operation(self, handle: ExecutionHandle, operation: Operation) -> None:
        """See an operation that was started or has moved on."""

    def invocation(self, handle: ExecutionHandle, invocation: Invocation) -> None:
        """See an invocation that began (its outcome is RUNNING) or ended."""

    def waiting(self, seconds: float, *, skipped: bool) -> None:
        """See time pass in which nothing happens; a virtual clock skips it."""


class Target(Protocol):
    """What one drives: an execution, or a call of a plain function."""

    @property
    def terminal(self) -> bool:
        """Whether it has ended."""
        ...


def backoff(failures: int) -> float:
    """Give the seconds until a failed invocation is repeated: 1, 2, 4, … up to 60."""
    return min(2.0 ** (failures - 1), 60.0)


class Shared:
    """The settings and the state of a service, with the meaning that `LocalService` documents."""

    def __init__(
        self,
        *,
        clock: Clock | None,
        limits: Limits | None,
        store: Store | None,
        inline_operations: int | None,
        state_page: int | None,
        response_page: int | None,
        latency: float,
        on_api_call: ApiHook | None,
        on_callback: Callable[[Operation, LocalClient], None] | None,
        retry_delay: Callable[[int], float],
        record: bool,
        sync_timeout: float | None,
        region: str,
        account_id: str,
        hooks: MakesHooks | None,
        identify: Callable[[Origin], str] | None,
        functions: Functions | None,
        handler_of: Callable[[Call], Handler | None] | None,
        failure_log: FailureLog | None,
    ) -> None:
        self.clock: Clock = clock or VirtualClock()
        self.limits = limits or Limits()
        self.store: Store = store or MemoryStore()
        self.inline_operations = inline_operations
        self.state_page = state_page
        self.response_page = response_page
        self.latency = latency
        self.on_api_call = on_api_call
        self.on_callback = on_callback
        self.retry_delay = retry_delay
        self.record = record
        self.region, self.account_id = region, account_id
        self.sync_timeout = sync_timeout if sync_timeout is not None else 0.0 if self.clock.virtual else 900.0
        self.calls: Counter[str] = Counter()
        self.identify = identify or (lambda _origin: fresh_id())
        """Draws the ids of executions, and the names of those that are given none."""
        self.observers: list[Observer] = []
        self.failure_log = failure_log
        self.hooks = hooks
        self.handler_of = handler_of or (lambda call: call.function.handler)
        self.functions = Functions() if functions is None else functions
        self.tasks: deque[Call] = deque()
        """The calls of plain functions that wait for their turn."""
        self.lock = RLock()
        self.wake = Condition(self.lock)

    def function_arn(self, function_name: str, version: str = LATEST) -> str:
        """Return the qualified ARN of a function."""
        return f"arn:aws:lambda:{self.region}:{self.account_id}:function:{function_name}:{version}"

    def preflight(self, function_name: str) -> dict[str, Any] | None:
        """Return the error of an invoke that cannot be made, None when it can."""
        try:
            self.functions.resolve(function_name)
        except Fault as fault:
            return {"ErrorMessage": fault.message, "ErrorType": fault.code}
        return None
