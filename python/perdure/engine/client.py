"""The engine's view of the service: two calls, over boto3 or over any blocking `DurableServiceClient`.

What is recorded becomes the wire's dicts for the clients that take those; so are the operations that they give. The
client of our own does without. boto3 is imported with the first call that needs it.
"""

from __future__ import annotations

import logging
from _thread import RLock
from typing import TYPE_CHECKING, Any

from perdure.engine.received import A_PAGE, THE_ANSWER, Checkpoint, Wire, read_checkpoint, read_page
from perdure.exceptions import ExecutionError, ValidationError, wire_text

if TYPE_CHECKING:
    from typing import Protocol

    from perdure._core import NativeClient as Core
    from perdure._core import Updates
    from perdure.engine.received import Operations
    from perdure.lambda_service import DurableServiceClient

    class Client(Protocol):
        """What the engine asks of the service."""

        def checkpoint(self, arn: str, token: str, updates: Updates, client_token: str) -> Checkpoint:
            """Record updates; repeating a call with the same ``client_token`` records them once."""
            ...

        def state(self, arn: str, token: str, marker: str) -> tuple[Operations, str | None]:
            """Read a further page of the recorded operations."""
            ...

        def begin(self) -> None:
            """Begin to connect for an invocation that is sure to make calls, if that costs next to nothing."""

        def prepare(self) -> bool:
            """Do ahead what the next call would do first, whatever it takes; tell whether something is under way now.

            What goes wrong is for that call to tell.
            """
            ...

        def settle(self) -> None:
            """Return when nothing that `prepare` or `begin` began is under way; what is not done is given up."""

        def most_calls(self) -> int | None:
            """Give how often a call that fails may be made in all; None for as long as there is time."""
            ...


logger = logging.getLogger("perdure")


class BotoClient:
    """The service behind a boto3 Lambda client, or behind anything with its two methods."""

    __slots__ = ("_client",)

    def __init__(self, client: Any) -> None:
        self._client = client

    def checkpoint(self, arn: str, token: str, updates: Updates, client_token: str) -> Checkpoint:
        """Record updates."""
        response = self._client.checkpoint_durable_execution(
            DurableExecutionArn=arn, CheckpointToken=token, Updates=updates.dicts(), ClientToken=client_token
        )
        return read_checkpoint(response)

    def state(self, arn: str, token: str, marker: str) -> tuple[list[Wire], str | None]:
        """Read a further page."""
        response = self._client.get_durable_execution_state(
            DurableExecutionArn=arn, CheckpointToken=token, Marker=marker, MaxItems=PAGE
        )
        return read_page(response)

    def begin(self) -> None:
        """Do nothing: the client is there."""

    def prepare(self) -> bool:
        """Do nothing: the client is there."""
        return False

    def settle(self) -> None:
        """Do nothing: nothing is under way."""

    def most_calls(self) -> None:
        """Leave it to the time there is: such a client repeats calls by rules of its own, before it gives up."""


class ModelClient:
    """The service behind a `DurableServiceClient`, which speaks in the models of `perdure.lambda_service`."""

    __slots__ = ("_client", "_update")

    def __init__(self, client: DurableServiceClient) -> None:
        from perdure.lambda_service import OperationUpdate  # noqa: PLC0415  only for injected clients

        self._client = client
        self._update = OperationUpdate.from_dict

    def checkpoint(self, arn: str, token: str, updates: Updates, client_token: str) -> Checkpoint:
        """Record updates."""
        output = self._client.checkpoint(arn, token, [self._update(update) for update in updates.dicts()], client_token)
        try:
            state, next_token = _wire(output.new_execution_state), output.checkpoint_token
        except Exception as error:
            raise _unreadable(THE_ANSWER, error) from error
        return read_checkpoint({"CheckpointToken": next_token, "NewExecutionState": state})

    def state(self, arn: str, token: str, marker: str) -> tuple[list[Wire], str | None]:
        """Read a further page."""
        output = self._client.get_execution_state(arn, token, marker, PAGE)
        try:
            return read_page(_wire(output))
        except ExecutionError:
            raise
        except Exception as error:
            raise _unreadable(A_PAGE, error) from error

    def begin(self) -> None:
        """Do nothing: the client is there."""

    def prepare(self) -> bool:
        """Do nothing: the client is there."""
        return False

    def settle(self) -> None:
        """Do nothing: nothing is under way."""

    def most_calls(self) -> None:
        """Leave it to the time there is: such a client repeats calls by rules of its own, before it gives up."""


def _wire(state: Any) -> Wire:
    return {
        "Operations": [dict(operation.to_dict()) for operation in state.operations],
        "NextMarker": state.next_marker,
    }


def _unreadable(source: str, error: Exception) -> ExecutionError:
    return ExecutionError(f"{source} cannot be read: {type(error).__name__}: {wire_text(error)}")


PAGE = 1000
"""How many operations one page may hold, the most the service gives."""

CHOICE = "PERDURE_CLIENT"
"""The environment variable that decides by hand who makes the calls: ``native`` or ``boto3``."""

_default: BotoClient | Core | None = None


class ProcessClient:
    """The process's client, chosen and made with the first call, as one invocation uses it.

    Args:
        lambda_context: Tells how much of the invocation's time is left.

    """

    __slots__ = ("_client", "_is_ahead", "_lambda_context")

    def __init__(self, lambda_context: Any) -> None:
        self._lambda_context = lambda_context
        self._client: Client | None = None
        self._is_ahead = False

    def checkpoint(self, arn: str, token: str, updates: Updates, client_token: str) -> Checkpoint:
        """Record updates."""
        return (self._client or self._made()).checkpoint(arn, token, updates, client_token)

    def state(self, arn: str, token: str, marker: str) -> tuple[Operations, str | None]:
        """Read a further page."""
        return (self._client or self._made()).state(arn, token, marker)

    def begin(self) -> None:
        """Begin to connect, where calls go through the client of our own; boto3 is not imported for that."""
        try:
            is_native = native_if_at_hand() is not None
        except Exception:  # noqa: BLE001  the first call meets it again, and tells
            return
        if is_native:
            self.prepare()

    def prepare(self) -> bool:
        """Choose and make the client, and begin to connect, so that whoever has something to send need not wait."""
        try:
            client = self._client or self._made()
        except Exception:  # noqa: BLE001  the first call meets it again, and tells
            return False
        self._is_ahead |= client.prepare()
        return self._is_ahead

    def settle(self) -> None:
        """Return when nothing is being connected any more."""
        if self._is_ahead and self._client is not None:
            self._client.settle()

    def most_calls(self) -> int | None:
        """Give what the client says, once there is one."""
        return None if self._client is None else self._client.most_calls()

    def _made(self) -> Client:
        found = default_client()
        if isinstance(found, BotoClient):
            self._client = found
        else:
            from perdure.engine.native_client import NativeClient  # noqa: PLC0415  only for invocations that make calls

            self._client = NativeClient(found, self._lambda_context)
        return self._client


def default_client() -> BotoClient | Core:
    """Give the process's client, made with the first call and reused by warm invocations.

    The client of our own makes the calls wherever it understands all that the environment says about them; boto3 does
    everywhere else, and where ``PERDURE_CLIENT=boto3`` says so.

    Raises:
        ValidationError: If ``PERDURE_CLIENT`` says something else, or asks for a client that does not understand the
            environment.

    """
    global _default  # noqa: PLW0603  one client a process is the point
    if _default is None:
        with _making:
            if _default is None:
                _let_forks_wait()
                _default = _chosen()
    return _default


def native_if_at_hand() -> Core | None:
    """Give the process's client if it is that of our own, or can be: its making costs little, unlike boto3's.

    Raises:
        ValidationError: As for `default_client`.

    """
    global _default
    if _default is None and _making.acquire(blocking=False):
        try:
            _let_forks_wait()
            _default, _ = _native()
        finally:
            _making.release()
    return None if isinstance(_default, BotoClient) else _default


_making = RLock()
"""Held while the client is made: in a thread, beside a step's body, whose first call may then need it."""

FORK_PATIENCE = 10.0
"""Seconds that a fork waits for the client that is being made; more only where the two wait for each other."""

_forks_wait = False


def _let_forks_wait() -> None:
    """Let no process be forked while the client is made: it would have the locks of imports whose thread it has not."""
    global _forks_wait  # noqa: PLW0603  once a process
    if _forks_wait:
        return
    _forks_wait = True
    import os  # noqa: PLC0415  with the first call

    if not hasattr(os, "register_at_fork"):
        return  # nothing forks here

    held: list[bool] = []

    def before() -> None:
        held.append(_making.acquire(timeout=FORK_PATIENCE))

    def after() -> None:
        if held.pop():
            _making.release()

    os.register_at_fork(before=before, after_in_parent=after, after_in_child=after)


def _chosen() -> BotoClient | Core:
    core, why = _native()
    if core is not None:
        return core
    logger.debug("calls to the service go through boto3: %s", why)
    from perdure.lambda_service import LambdaClient  # noqa: PLC0415  brings boto3 along

    return BotoClient(LambdaClient.initialize_client().client)


def _native() -> tuple[Core | None, str | None]:
    """Make the client of our own, or say why calls are left to boto3."""
    import os  # noqa: PLC0415  with the first call

    choice = os.environ.get(CHOICE) or None
    if choice not in {None, "native", "boto3"}:
        raise ValidationError(f"{CHOICE} is {choice!r}: set it to native or boto3, or leave it out")
    if choice == "boto3":
        return None, f"{CHOICE} says so"
    from perdure.engine import native_client  # noqa: PLC0415  the same

    core, why = native_client.find()
    if core is None and choice == "native":
        raise ValidationError(f"{CHOICE} asks for the native client, but {why}, which only boto3 understands")
    return core, why
