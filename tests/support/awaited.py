"""Executions of asynchronous handlers: run, hurt at every API call, gone on with by another handler, replayed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from perdure import durable_execution
from perdure.local import InvocationCut, LocalService, VirtualClock
from perdure.local.event_forms import to_event_operation

if TYPE_CHECKING:
    from collections.abc import Callable

    Hurt = Callable[[int, str], None]

_DETAILS = ("StepDetails", "ContextDetails", "ChainedInvokeDetails")


def unhurt(_number: int, _when: str) -> None:
    """Leave every call alone."""


class Trial:
    """One execution.

    Args:
        handlers: Undecorated; they take turns, invocation by invocation, and the last stays.
        hurt: Called with the number of each API call (from 1) and "before" or "after"; raises to hurt.
        answer: What callbacks are answered with; None leaves them open.
        clock: Makes the service's.
        loop_factory: Makes event loops of asynchronous handlers.
        functions: Durable functions that can be invoked, by name; undecorated.

    """

    def __init__(
        self,
        *handlers: Callable[[Any, Any], Any],
        hurt: Hurt = unhurt,
        answer: bytes | None = None,
        clock: Callable[[], Any] = VirtualClock,
        loop_factory: Any = None,
        functions: dict[str, Callable[[Any, Any], Any]] | None = None,
    ) -> None:
        self.calls = 0
        self._hurt = hurt
        self._lock = threading.Lock()
        decorated = [durable_execution(handler, loop_factory=loop_factory) for handler in handlers]
        turns = iter(decorated)
        current = decorated[-1:]

        def handler(event: Any, context: Any) -> Any:
            current[:] = [next(turns, decorated[-1])]
            return current[0](event, context)

        def reply(operation: Any, client: Any) -> None:
            if answer is not None:
                key = operation["CallbackDetails"]["CallbackId"]
                client.send_durable_execution_callback_success(CallbackId=key, Result=answer)

        self.service = LocalService(
            clock=clock(), on_api_call=self._on_call, on_callback=reply, retry_delay=lambda _: 0.0
        )
        self.service.register("f", handler)
        for name, function in (functions or {}).items():
            self.service.register(name, durable_execution(function))
        self.handle = self.service.run("f")

    def _on_call(self, name: str, _arguments: dict[str, Any], when: str) -> None:
        if name.startswith("send_"):
            return
        with self._lock:
            if when == "before":
                self.calls += 1
            number = self.calls
        self._hurt(number, when)

    @property
    def value(self) -> Any:
        """The execution's result."""
        assert self.handle.status == "SUCCEEDED", self.handle.error
        return self.handle.value

    @property
    def operations(self) -> list[tuple[str, str]]:
        """Names and statuses of the operations, in the order of their beginnings."""
        return [
            (each.get("Name", ""), each["Status"]) for each in self.handle.operations if each["Type"] != "EXECUTION"
        ]

    @property
    def shape(self) -> dict[str, Any]:
        """Each operation, but for its times."""
        return {each["Id"]: _clean(each) for each in self.handle.operations if each["Type"] != "EXECUTION"}

    def check_replay(self, handler: Callable[[Any, Any], Any]) -> None:
        """Invoke a finished execution once more, with its full history: the same output, and nothing is sent."""
        history = [to_event_operation(operation) for operation in self.handle.machine.operations.values()]
        event = {
            "DurableExecutionArn": self.handle.arn,
            "CheckpointToken": "spent",
            "InitialExecutionState": {"Operations": history, "NextMarker": None},
        }

        class Refusing:
            def checkpoint_durable_execution(self, **arguments: Any) -> Any:
                raise AssertionError(f"a replay wrote {arguments['Updates']}")

            def get_durable_execution_state(self, **_arguments: Any) -> Any:
                raise AssertionError("everything was in the event")

        output = durable_execution(handler, boto3_client=Refusing())(event, None)  # type: ignore[arg-type,call-overload]
        assert output == self.handle.invocations[-1].output


def _clean(operation: dict[str, Any]) -> dict[str, Any]:
    kept = {key: operation.get(key) for key in ("ParentId", "Type", "SubType", "Name", "Status")}
    for key in _DETAILS:
        details = dict(operation.get(key) or {})
        details.pop("NextAttemptTimestamp", None)
        kept[key] = details
    return kept


def cut_at(call: int, way: str) -> Hurt:
    """Make what ends the invocation at one API call, before it or after it."""

    def hurt(number: int, when: str) -> None:
        if (number, when) == (call, way):
            raise InvocationCut

    return hurt


def everywhere(make: Callable[[], tuple[Callable[[Any, Any], Any], ...]], **options: Any) -> Trial:
    """Run handlers undisturbed, replay that, and then with each API call cut, before and after: all end the same.

    Args:
        make: Makes the handlers anew for each run.
        options: Of the trials.

    """
    handlers = make()
    whole = Trial(*handlers, **options)
    assert whole.value is not None
    whole.check_replay(handlers[-1])
    for call in range(1, whole.calls + 1):
        for way in ("before", "after"):
            again = Trial(*make(), hurt=cut_at(call, way), **options)
            assert (again.value, again.shape) == (whole.value, whole.shape), f"cut {way} call {call}"
    return whole
