"""A workflow under an SDK with a plugin that takes down everything it is told."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from perdure.local import LocalService, VirtualClock
from support.both_sdks import FAR_AWAY, OFFICIAL, Answer, Sdk, Stage, World
from support.official import official_handler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from perdure.local import ExecutionHandle

HOOKS = (
    *("on_invocation_start", "on_invocation_end", "on_operation_start", "on_operation_end", "on_operation_change"),
    *("on_user_function_start", "on_user_function_end"),
)
MOMENTS = ("start_time", "end_time", "execution_start_time")


@dataclass
class Told:
    """What the plugins of an execution were told, an invocation after the other."""

    invocations: list[list[tuple[str, Any, str]]] = field(default_factory=list)
    lock: Any = field(default_factory=threading.Lock)

    def take(self, hook: str, info: Any) -> None:
        with self.lock:
            thread = "handler" if threading.get_ident() == self.handler else "other"
            self.invocations[-1].append((hook, plain(info), thread))

    handler: int = 0


def plain(value: Any) -> Any:
    """Give an info so that two SDKs' compare: what it says, but moments as whether there is one."""
    if is_dataclass(value) and not isinstance(value, type):
        return {
            one.name: (getattr(value, one.name) is not None) if one.name in MOMENTS else plain(getattr(value, one.name))
            for one in fields(value)
        }
    if hasattr(value, "items"):
        return {key: plain(item) for key, item in value.items()}
    return getattr(value, "value", value)


def recording(sdk: Sdk, told: Told, make: Callable[[Any], dict[str, Any]] | None = None) -> Any:
    """Make a factory of plugins that take down what they are told; `make` gives methods of the plugin's own."""

    def method(name: str, own: Any) -> Callable[[Any, Any], Any]:
        def hook(_self: Any, info: Any) -> Any:
            told.take(name, info)
            return own(info) if own is not None else None

        return hook

    more = make(told) if make else {}
    methods = {name: method(name, more.get(name)) for name in (*HOOKS, "provide_propagation_metadata")}
    plugin = type("Recording", (sdk.plugin.DurableInstrumentationPlugin,), methods)

    class Factory:
        def create_plugin(self, _info: Any) -> Any:
            told.handler = threading.get_ident()
            told.invocations.append([])
            return plugin()

    return Factory()


def play(
    body: Callable[[Stage], Any],
    sdks: Sdk | Iterable[Sdk],
    world: World | None = None,
    factories: Callable[[Sdk, Told], list[Any]] = lambda sdk, told: [recording(sdk, told)],
) -> tuple[ExecutionHandle, Told]:
    """Run a workflow to its end, with plugins; several SDKs take turns, and the last of them stays."""
    world = world or World()
    turns = iter([sdks] if isinstance(sdks, Sdk) else sdks)
    told = Told()
    current: list[Sdk] = []

    def handler(event: Any, context: Any) -> Any:
        current[:] = [next(turns, current[0] if current else OFFICIAL)]
        sdk = current[0]
        decorated = sdk.top.durable_execution(
            lambda given, ctx: body(Stage(sdk, ctx, given, {})), plugins=factories(sdk, told)
        )
        return (official_handler(decorated) if sdk is OFFICIAL else decorated)(event, context)

    def answer(_operation: Any, client: Any) -> None:
        for operation in handle.open_callbacks:
            reply = world.answers.get(operation.get("Name"), Answer())
            key = operation["CallbackDetails"]["CallbackId"]
            if reply.kind == "success":
                client.send_durable_execution_callback_success(
                    CallbackId=key, Result=None if reply.result is None else reply.result.encode()
                )
            elif reply.kind == "failure":
                client.send_durable_execution_callback_failure(CallbackId=key, Error=reply.error)

    service = LocalService(clock=VirtualClock(FAR_AWAY), on_callback=answer, **world.options)
    for name, function in world.functions.items():
        service.register(name, function, durable=False)
    service.register("f", handler)
    handle = service.start("f", event=world.event)
    handle.drive()
    return handle, told
