"""Speaking to the local service without an SDK: one invocation, its token, and builders of updates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from perdure.local import LocalService, SqliteStore, VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from perdure.local import ExecutionHandle

ERROR = {"ErrorMessage": "broken", "ErrorType": "ValueError"}
RETRY = {"StepOptions": {"NextAttemptDelaySeconds": 5}}


def update(kind: str, key: str, action: str, **members: Any) -> dict[str, Any]:
    """Build an update; `subtype` and `name` become members."""
    subtypes = {
        "STEP": "Step",
        "CONTEXT": "RunInChildContext",
        "WAIT": "Wait",
        "CALLBACK": "Callback",
        "CHAINED_INVOKE": "ChainedInvoke",
    }
    given = {"Id": key, "Type": kind, "Action": action}
    if kind in subtypes:
        given["SubType"] = subtypes[kind]
    return {**given, **members}


def step(key: str, action: str, **members: Any) -> dict[str, Any]:
    return update("STEP", key, action, **members)


def context(key: str, action: str, **members: Any) -> dict[str, Any]:
    return update("CONTEXT", key, action, **members)


def wait(key: str, seconds: int = 60, **members: Any) -> dict[str, Any]:
    return update("WAIT", key, "START", WaitOptions={"WaitSeconds": seconds}, **members)


def callback(key: str, timeout: int = 0, heartbeat: int = 0, **members: Any) -> dict[str, Any]:
    options = {"TimeoutSeconds": timeout, "HeartbeatTimeoutSeconds": heartbeat}
    return update("CALLBACK", key, "START", CallbackOptions=options, **members)


def invoke(key: str, function: str = "other", payload: str | None = "1", **members: Any) -> dict[str, Any]:
    if payload is not None:
        members["Payload"] = payload
    return update("CHAINED_INVOKE", key, "START", ChainedInvokeOptions={"FunctionName": function}, **members)


def execution(action: str, **members: Any) -> dict[str, Any]:
    return update("EXECUTION", "execution-result-1", action, **members)


class Raw:
    """One running invocation, driven by hand."""

    def __init__(
        self,
        service: LocalService | None = None,
        payload: str | None = "{}",
        client: Any = None,
        execution_timeout: float | None = None,
    ) -> None:
        self.service = service or LocalService()
        self.service.register("f", lambda _event, _context: {"Status": "PENDING"})
        self.handle: ExecutionHandle = self.service.start("f", payload, execution_timeout=execution_timeout)
        self.client = client or self.service.client
        self.handle.machine.begin_invocation()
        self.token = self.handle.machine.token

    @property
    def arn(self) -> str:
        return self.handle.arn

    def send(self, *updates: dict[str, Any], client_token: str | None = None) -> list[dict[str, Any]]:
        """Checkpoint, take the new token, and return the operations of the response."""
        more = {} if client_token is None else {"ClientToken": client_token}
        response = self.client.checkpoint_durable_execution(
            DurableExecutionArn=self.arn, CheckpointToken=self.token, Updates=list(updates), **more
        )
        self.token = response.get("CheckpointToken", self.token)
        return response["NewExecutionState"]["Operations"]

    def one(self, *updates: dict[str, Any]) -> dict[str, Any]:
        """Checkpoint, and return the one operation of the response."""
        (operation,) = self.send(*updates)
        return operation

    def operation(self, key: str) -> dict[str, Any]:
        return self.handle.machine.operations[key]

    def leave(self, output: Any) -> None:
        """End the invocation with what it returns."""
        with self.service.wake:
            self.handle.machine.end_invocation(output, self.service.clock.now())
            self.service.executions.absorb(self.handle)
            self.service.executions.commit()

    def advance(self, seconds: float) -> None:
        """Move the virtual clock."""
        clock: Any = self.service.clock
        clock.advance(seconds)


class Life:
    """A service on a file that can crash and be started again; its virtual clock goes on."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.path = path
        self.clock = VirtualClock()
        self.registered: list[tuple[str, Callable[[Any, Any], Any], dict[str, Any]]] = []
        self._options = options
        self.service = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.service.close()

    def _start(self) -> LocalService:
        return LocalService(store=SqliteStore(self.path), clock=self.clock, **self._options)

    def register(self, name: str, handler: Callable[[Any, Any], Any], **options: Any) -> None:
        self.registered.append((name, handler, options))
        self.service.register(name, handler, **options)

    def raw(self) -> Raw:
        raw = Raw(self.service)
        raw.service.executions.commit()
        return raw

    def crash(self) -> LocalService:
        self.service.store.close()
        self.service = self._start()
        for name, handler, options in self.registered:
            self.service.register(name, handler, **options)
        return self.service
