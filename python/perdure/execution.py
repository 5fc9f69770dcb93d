"""`@durable_execution`: an event in, one invocation, an envelope out."""

from __future__ import annotations

import functools
import os
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from perdure._checkpointing import Checkpointing
from perdure._control import CheckpointsBroken, OutOfTime
from perdure._core import MAX_PAYLOAD, MAX_RESPONSE, Execution, encode_json
from perdure._functions import PLAIN, PLAIN_ANNOTATIONS, is_coroutine, refuse_awaitable, unawaited_in
from perdure._log import Log
from perdure.context import DurableContext
from perdure.engine.client import BotoClient, ModelClient, ProcessClient
from perdure.engine.hosted import HostedEvent
from perdure.engine.invocation import Invocation
from perdure.engine.operations.common import REFUSALS, used_after_its_end, wire_error
from perdure.engine.received import read_event, read_input
from perdure.engine.time_left import WALL_CLOCK
from perdure.exceptions import (
    BackgroundThreadError,
    BotoClientError,
    CheckpointError,
    ExecutionError,
    InvocationError,
    NonDeterministicExecutionError,
    OrphanedChildException,
    SuspendExecution,
    ValidationError,
    wire_error_type,
    wire_text,
)

T = TypeVar("T")

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Coroutine, MutableMapping, Sequence
    from typing import Protocol

    from perdure._duration import DurationLike
    from perdure._invocation_input import (
        DurableExecutionInvocationInput,
        DurableExecutionInvocationInputWithClient,
        InitialExecutionState,
    )
    from perdure.aio import AsyncDurableContext
    from perdure.engine.checkpoint import Checkpointer
    from perdure.engine.client import Client
    from perdure.engine.hooks import Hooks
    from perdure.engine.received import Operations
    from perdure.lambda_service import (
        DurableExecutionInvocationOutput,
        DurableServiceClient,
        ErrorObject,
        InvocationStatus,
        LambdaClient,
        Operation,
        OperationUpdate,
    )
    from perdure.plugin import DurableInstrumentationPluginFactory
    from perdure.serdes import SerDes
    from perdure.state import ExecutionState
    from perdure.types import AsyncDurableHandler, DurableHandler, LambdaContext

    Handler = Callable[[Any, DurableContext], Any]
    Factories = Sequence[DurableInstrumentationPluginFactory]

    class _Decorator(Protocol):
        """What `durable_execution` is with its arguments."""

        @overload
        def __call__(
            self, func: Callable[[Any, AsyncDurableContext], Coroutine[Any, Any, T]], /
        ) -> AsyncDurableHandler[T]: ...
        @overload
        def __call__(self, func: Callable[[Any, DurableContext], T], /) -> DurableHandler[T]: ...


logger = Log("perdure")

PLAIN_ANNOTATIONS.add(DurableContext)  # as almost every handler has

LAMBDA_RESPONSE_SIZE_LIMIT = MAX_RESPONSE - 50
"""Bytes that the response of an invocation may have; a larger result goes by a checkpoint."""

_ROOM_FOR_RESULT = MAX_RESPONSE - len('{"Status": "SUCCEEDED", "Result": ""}')

DEADLINE_RESERVE = 5.0
"""Seconds at the end of an invocation in which no operation begins, by default."""

RESERVE_SHARE = 0.2
"""The reserve takes no larger share than this of the time that the invocation started with."""

_BATCHED = Checkpointing.BATCHED.value
_FOR_EVER = float("inf")

__all__ = [
    "LAMBDA_RESPONSE_SIZE_LIMIT",
    "BackgroundThreadError",
    "BotoClientError",
    "CheckpointError",
    "DurableContext",
    "DurableExecutionInvocationInput",
    "DurableExecutionInvocationInputWithClient",
    "DurableExecutionInvocationOutput",
    "DurableServiceClient",
    "ErrorObject",
    "ExecutionError",
    "ExecutionState",
    "InitialExecutionState",
    "InvocationError",
    "InvocationStatus",
    "LambdaClient",
    "Operation",
    "OperationUpdate",
    "SuspendExecution",
    "durable_execution",
    "handle_checkpoint_error",
    "run_durable_handler",
]


def __getattr__(name: str) -> Any:
    if name.startswith("__"):  # every import from here asks for __path__
        raise AttributeError(name)
    from perdure._elsewhere import find  # noqa: PLC0415  only for names that programs import from here

    return find(__name__, name)


@overload
def durable_execution(
    func: Callable[[Any, AsyncDurableContext], Coroutine[Any, Any, T]],
    *,
    boto3_client: Any | None = None,
    plugins: Sequence[DurableInstrumentationPluginFactory] | None = None,
    deadline_reserve: DurationLike | None = DEADLINE_RESERVE,
    serdes: SerDes[Any] | None = None,
    callback_serdes: SerDes[Any] | None = None,
    checkpointing: Checkpointing = Checkpointing.BATCHED,
    loop_factory: Callable[[], AbstractEventLoop] | None = None,
) -> AsyncDurableHandler[T]: ...
@overload
def durable_execution(
    func: Callable[[Any, DurableContext], T],
    *,
    boto3_client: Any | None = None,
    plugins: Sequence[DurableInstrumentationPluginFactory] | None = None,
    deadline_reserve: DurationLike | None = DEADLINE_RESERVE,
    serdes: SerDes[Any] | None = None,
    callback_serdes: SerDes[Any] | None = None,
    checkpointing: Checkpointing = Checkpointing.BATCHED,
    loop_factory: Callable[[], AbstractEventLoop] | None = None,
) -> DurableHandler[T]: ...
@overload
def durable_execution(
    func: None = None,
    *,
    boto3_client: Any | None = None,
    plugins: Sequence[DurableInstrumentationPluginFactory] | None = None,
    deadline_reserve: DurationLike | None = DEADLINE_RESERVE,
    serdes: SerDes[Any] | None = None,
    callback_serdes: SerDes[Any] | None = None,
    checkpointing: Checkpointing = Checkpointing.BATCHED,
    loop_factory: Callable[[], AbstractEventLoop] | None = None,
) -> _Decorator: ...
def durable_execution(
    func: Callable[..., Any] | None = None,
    *,
    boto3_client: Any | None = None,
    plugins: Sequence[DurableInstrumentationPluginFactory] | None = None,
    deadline_reserve: DurationLike | None = DEADLINE_RESERVE,
    serdes: SerDes[Any] | None = None,
    callback_serdes: SerDes[Any] | None = None,
    checkpointing: Checkpointing = Checkpointing.BATCHED,
    loop_factory: Callable[[], AbstractEventLoop] | None = None,
) -> Callable[..., Any]:
    """Make a durable Lambda handler of a function that takes the user's event and a `DurableContext`.

    Args:
        func: The function, plain or ``async def``, which is given an `AsyncDurableContext`; the decorator works with
            and without parentheses.
        boto3_client: A boto3 Lambda client to use; by default one is made with the first call to the service and kept
            for the life of the process. For an ``async def`` handler it may be an asynchronous one: anything whose
            ``checkpoint_durable_execution`` and ``get_durable_execution_state`` are coroutine functions.
        plugins: Factories of plugins, each of which makes one for each invocation; see `perdure.plugin`. Those that the
            environment variable ``DURABLE_EXECUTION_PLUGINS`` names come after them.
        deadline_reserve: How much time before the invocation's timeout new operations stop to begin, so that the
            invocation ends in good order: at most this much (a `Duration`, a `timedelta` or seconds), and at most a
            fifth of the time that the invocation started with. Once it has recorded something new, the invocation then
            ends at the next operation, and the service continues in another one. None turns this off; so does a Lambda
            context that does not tell the remaining time.
        serdes: Of the results of all steps, child contexts, conditions, maps, parallels and their branches that are
            given none of their own.
        callback_serdes: Of the answers of all callbacks that are given none of their own.
        checkpointing: When updates leave, and which of them are waited for: see `perdure.config.Checkpointing`.
        loop_factory: Of an ``async def`` handler: makes its event loop, which is kept for later invocations; for
            example ``uvloop.new_event_loop``. By default it is asyncio's own.

    Returns:
        A handler for Lambda, which takes the service's event and the Lambda context; what it was made of is its
        ``__wrapped__``, for a unit test that has a context of its own. One of an ``async def`` function
        is a plain function all the same, and has an event loop of its own; where one is running already, use
        ``await handler.run(event, context)``.

    Raises:
        PluginLoadError: If one of the plugins is no factory, cannot be loaded, or excludes another.

    Example:
        >>> @durable_execution
        ... def handler(event: dict, context: DurableContext) -> str:
        ...     return context.step(lambda step: "done")

    """
    if func is None:
        return functools.partial(
            durable_execution,
            boto3_client=boto3_client,
            plugins=plugins,
            deadline_reserve=deadline_reserve,
            serdes=serdes,
            callback_serdes=callback_serdes,
            checkpointing=checkpointing,
            loop_factory=loop_factory,
        )
    inner = _prepared(func, serdes, callback_serdes)
    if is_coroutine(func):
        from perdure.aio import client as _awaited  # noqa: PLC0415  only for handlers that are
        from perdure.aio.handler import asynchronous  # noqa: PLC0415  the same

        needs_loop = _awaited.is_asynchronous(boto3_client)
        client = _awaited.AwaitedClient(boto3_client, loop_factory) if needs_loop else boto3_client
        settings = _settings(client, plugins, deadline_reserve, checkpointing)

        def invoke(event: Any, context: LambdaContext, plain: Handler) -> dict[str, Any]:
            return _invoke(event, context, plain, settings)

        return asynchronous(func, inner, loop_factory, invoke, needs_loop=needs_loop)
    settings = _settings(boto3_client, plugins, deadline_reserve, checkpointing)
    if loop_factory is not None:
        raise ValidationError("loop_factory is for handlers that are async def: this one runs in no event loop")

    @functools.wraps(func)
    def handler(event: Any, context: LambdaContext) -> dict[str, Any]:
        return _invoke(event, context, inner, settings)

    return handler


def run_durable_handler(
    event: Any,
    context: LambdaContext,
    handler: Handler,
    *,
    boto3_client: Any | None = None,
    plugins: Sequence[DurableInstrumentationPluginFactory] | None = None,
    deadline_reserve: DurationLike | None = DEADLINE_RESERVE,
    serdes: SerDes[Any] | None = None,
    callback_serdes: SerDes[Any] | None = None,
    checkpointing: Checkpointing = Checkpointing.BATCHED,
    loop_factory: Callable[[], AbstractEventLoop] | None = None,
) -> dict[str, Any]:
    """Run one invocation of a durable handler, for callers that cannot decorate it.

    Args:
        event: What the service sent.
        context: The Lambda context.
        handler: Takes the user's event and a `DurableContext`.
        boto3_client: A boto3 Lambda client to use.
        plugins: As for `durable_execution`.
        deadline_reserve: As for `durable_execution`.
        serdes: As for `durable_execution`.
        callback_serdes: As for `durable_execution`.
        checkpointing: As for `durable_execution`.
        loop_factory: As for `durable_execution`.

    Returns:
        The response that the service expects: ``{"Status": …}``.

    Raises:
        ExecutionError: If the event is not of a durable execution.
        InvocationError: For trouble that passes, so that Lambda repeats the invocation.
        PluginLoadError: As for `durable_execution`.

    """
    settings = _settings(boto3_client, plugins, deadline_reserve, checkpointing)
    inner = _prepared(handler, serdes, callback_serdes)
    if is_coroutine(handler):
        from perdure.aio.handler import called  # noqa: PLC0415  only for handlers that are

        inner = called(handler, inner, loop_factory)
    return _invoke(event, context, inner, settings)


def handle_checkpoint_error(error: Any) -> DurableExecutionInvocationOutput:
    """Give the response to a failed checkpoint, or raise the error again if repeating the invocation may help.

    Args:
        error: A `CheckpointError`.

    """
    from perdure.lambda_service import (  # noqa: PLC0415
        DurableExecutionInvocationOutput,
        ErrorObject,
        InvocationStatus,
    )

    if error.is_retryable():
        raise error
    return DurableExecutionInvocationOutput(InvocationStatus.FAILED, error=ErrorObject.from_exception(error))


def _prepared(handler: Handler, serdes: SerDes[Any] | None, callback_serdes: SerDes[Any] | None) -> Handler:
    """Give a handler with what it is decorated with, and with types, if its annotations may need any."""
    if serdes is None and callback_serdes is None and not _may_be_typed(handler):
        return handler
    from perdure._handlers import prepared  # noqa: PLC0415  only where there is something to do

    return prepared(handler, serdes, callback_serdes)


def _may_be_typed(handler: Handler) -> bool:
    try:
        return not PLAIN_ANNOTATIONS.issuperset(handler.__annotations__.values())
    except AttributeError:
        return False  # an object that can be called
    except Exception:  # noqa: BLE001  what cannot be hashed, or not be evaluated yet
        return True


class _Settings:
    """How a handler is run: by which client, with what reserve of time and which plugins, and when it sends updates."""

    __slots__ = ("checkpointing", "client", "factories", "reserve")

    def __init__(self, client: Client | None, reserve: float | None, factories: Factories, checkpointing: str) -> None:
        self.client = client
        self.reserve = reserve
        self.factories = factories
        self.checkpointing = checkpointing


def _settings(
    boto3_client: Any | None,
    plugins: Sequence[DurableInstrumentationPluginFactory] | None,
    deadline_reserve: DurationLike | None,
    checkpointing: Checkpointing,
) -> _Settings:
    """Read what a handler is given besides its function."""
    if not isinstance(checkpointing, Checkpointing):
        raise ValidationError(
            f"checkpointing must be one of {', '.join(map(str, Checkpointing))}, not {checkpointing!r}"
        )
    client = None if boto3_client is None else BotoClient(boto3_client)
    return _Settings(client, _reserve(deadline_reserve), _factories(plugins), checkpointing.value)


def _factories(plugins: Sequence[DurableInstrumentationPluginFactory] | None) -> Factories:
    """Give the plugin factories of a handler: those that it is given, and those that the environment names."""
    if not plugins and not os.environ.get("DURABLE_EXECUTION_PLUGINS"):
        return ()
    from perdure.plugin_discovery import load_configured_plugins  # noqa: PLC0415  only where there are any

    return load_configured_plugins(plugins)


def _reserve(given: DurationLike | None) -> float | None:
    seconds: float | None
    if given is None or isinstance(given, (int, float)):
        seconds = given
    else:
        from perdure._duration import duration_seconds  # noqa: PLC0415  brings dataclasses along

        seconds = duration_seconds(given, "deadline_reserve")
    if seconds is not None and not 0 <= seconds < _FOR_EVER:
        raise ValidationError(f"deadline_reserve must be 0 s or more, not {seconds} s: None turns it off")
    return seconds


def _invoke(
    event: Any,
    lambda_context: Any,
    handler: Handler,
    settings: _Settings,
) -> dict[str, Any]:
    """Run one invocation, in a copy of the caller's context variables: what it sets there is gone with it."""
    try:
        return copy_context().run(_run, event, lambda_context, handler, settings)
    except Exception as error:
        try:
            str(error).encode()
        except Exception:  # noqa: BLE001  a lone surrogate, or whatever the user's __str__ raises
            # Lambda's runtime would die of it, and with it what is warm.
            raise InvocationError(f"{wire_error_type(error)}: {wire_text(error)}") from error
        raise


def _run(event: Any, lambda_context: Any, handler: Handler, settings: _Settings) -> dict[str, Any]:
    host = hooks = None
    if type(event) is not dict and isinstance(event, HostedEvent):
        host, hooks = event, event.hooks
    event, client, clock = _source(event, settings.client)
    arn, token, operations, marker = read_event(event)
    core = Execution(token)
    if settings.checkpointing != _BATCHED:
        core.set_checkpointing(settings.checkpointing)
    core.load(operations)
    invocation = Invocation(core, client or ProcessClient(lambda_context), arn, lambda_context, clock, hooks)
    if hooks is not None:
        hooks.invocation_started(core, arn)
    checkpoints = invocation.checkpoints
    checkpoints.used = len(operations)
    checkpoints.told.append(operations)
    if marker:
        try:
            more = checkpoints.pages(token, marker)
        except InvocationError as unread:
            return _failed_by(unread)
        core.load_pages(more)
        _count(checkpoints, more)
    found, payload = core.input()
    if not found:
        raise ExecutionError("the recorded history has no EXECUTION operation, so there is no input to run with")
    if settings.reserve is not None:
        _set_deadline(invocation, settings.reserve)
    user_event = read_input(payload)
    factories = settings.factories
    if logger.has_debug():
        from perdure.engine import debug_log  # noqa: PLC0415  only for those who want to see it

        factories = debug_log.listen(invocation, factories)
    if not factories:
        return _carry_out(invocation, handler, user_event, host)
    from perdure.engine.plugins import Plugins  # noqa: PLC0415  only where there are any

    plugins = Plugins(invocation, factories, event, user_event)
    return plugins.around(functools.partial(_carry_out, invocation, handler, user_event, host))


def _carry_out(invocation: Invocation, handler: Handler, user_event: Any, host: HostedEvent | None) -> dict[str, Any]:
    """Call the handler, and give the response to its invocation."""
    result: Any = None
    error: BaseException | None = None
    checkpoints = invocation.checkpoints
    try:
        if checkpoints.used <= 1:
            # An execution's first invocation has nothing to replay, and so is all but sure to make calls. A later one
            # may end without any, as one that returns what it waited for, and must not pay for a connection.
            checkpoints.begin()
        result = _call(handler, user_event, invocation)
    except BaseException as raised:  # noqa: BLE001  sorted below
        error = raised
        if host is not None and not isinstance(raised, _CONTROL):
            host.failures.append(raised)
    try:
        return _outcome(invocation, result, error)
    finally:
        # The traceback of a caught exception would keep the handler's frames alive into the next invocation.
        error = checkpoints.failure = None


def _call(handler: Handler, user_event: Any, invocation: Invocation) -> Any:
    """Call a handler with the context that is its own for as long as it runs."""
    root = invocation.core.root()
    try:
        root.enter()
        kind = DurableContext if invocation.hooks is None else _kind_of_context(invocation.hooks)
        result = handler(user_event, kind(invocation, root))
    finally:
        root.leave()
    if type(result) not in PLAIN:
        refuse_awaitable(result, "the handler")
    return result


def _kind_of_context(hooks: Hooks) -> type[DurableContext]:
    """Give the class of the contexts of an invocation with hooks: a plain one, unless they hear of each call."""
    if not hooks.watches_operations():
        return DurableContext
    from perdure._watched_context import AwaitingContext, WatchedContext  # noqa: PLC0415  only for those who look inside

    return WatchedContext if hooks.watches_replays() else AwaitingContext


def _count(checkpoints: Checkpointer, pages: list[Operations]) -> None:
    """Add further pages of the history to what is known of the execution's size."""
    from perdure.engine import budget as _budget  # noqa: PLC0415  only for histories that do not fit into the event

    checkpoints.told += pages
    for page in pages:
        checkpoints.used += len(page)
        checkpoints.written += _budget.recorded_bytes(page)


def _source(event: Any, client: Client | None) -> tuple[MutableMapping[str, Any], Client | None, Any]:
    """Find out what else an event brings along: its own client, its own clock."""
    if type(event) is dict:
        return event, client, WALL_CLOCK
    if isinstance(event, HostedEvent):
        return event, BotoClient(event.client), event.clock
    service_client = getattr(event, "service_client", None)  # as the official SDK's events have one, and ours
    if service_client is not None:
        return event.to_dict(), ModelClient(service_client), WALL_CLOCK
    if not isinstance(event, dict) and hasattr(event, "to_dict"):
        return event.to_dict(), client, WALL_CLOCK
    return event, client, WALL_CLOCK


def _set_deadline(invocation: Invocation, reserve: float) -> None:
    remaining = invocation.given_seconds
    if remaining is not None:
        invocation.core.set_deadline(remaining - min(reserve, remaining * RESERVE_SHARE))


def _outcome(invocation: Invocation, result: Any, error: BaseException | None) -> dict[str, Any]:
    """Give the response to an invocation whose handler has returned or raised: as the core says that it ends."""
    core, payload = invocation.core, ""
    try:
        if error is None and not core.is_stopped:
            try:
                payload = encode_json(result)
            except Exception as unserialisable:  # noqa: BLE001  whatever the user's objects raise
                error = _unserialisable(result, unserialisable)
        invocation.end()
        if isinstance(error, OrphanedChildException):
            error = used_after_its_end(error)
        if core.is_late:
            # Before it is judged what is still to wake the execution: the answer may say that it has come.
            _save(invocation)
        ending, flushes = core.ending(_did(error), int(invocation.clock.time() * 1000))
        if ending == "raise" and error is not None:
            if flushes:
                _save(invocation)
            raise error
        if ending == "broken":
            return _failed_by(invocation.checkpoints.failure)
        return _carried_out(invocation, ending, flushes, payload, error)
    finally:
        del error  # whose traceback may hold this frame


def _save(invocation: Invocation) -> None:
    """Record what was handed on, although the invocation is broken off; failing that, it is as if the sandbox died."""
    try:
        invocation.checkpoints.flush()
    except (Exception, *_CONTROL) as unsaved:  # what breaks it off goes first
        logger.debug("what was handed on is not recorded", exc_info=unsaved)


def _did(
    error: BaseException | None,
) -> Literal["returned", "suspended", "passing", "refused", "failed", "broken off"]:
    """Say what the handler did, in the core's words."""
    if error is None:
        return "returned"
    if isinstance(error, SuspendExecution):
        return "suspended"
    if isinstance(error, InvocationError) and error.is_retryable():
        return "passing"
    if isinstance(error, REFUSALS):
        return "refused"
    return "failed" if isinstance(error, (Exception, *_CONTROL)) else "broken off"


def _carried_out(
    invocation: Invocation, ending: str, flushes: bool, payload: str, error: BaseException | None
) -> dict[str, Any]:
    """End an invocation so; what else goes wrong on the way decides in its place."""
    checkpoints = invocation.checkpoints
    try:
        if flushes:
            checkpoints.flush()
        return _ended(invocation, ending, payload, error)
    except SuspendExecution:
        return {"Status": "PENDING"}
    except OutOfTime as late:
        raise InvocationError(
            f"{late}: what was recorded so far is kept, and the service is asked to repeat the invocation"
        ) from None
    except CheckpointsBroken:
        return _failed_by(checkpoints.failure)
    except InvocationError as failed:
        return _failed_by(failed)
    except ExecutionError as different:
        # The one that the handler raised has the traceback.
        return _failed(error if isinstance(error, REFUSALS) else different)
    finally:
        del error  # whose traceback may hold this frame


def _ended(invocation: Invocation, ending: str, payload: str, error: BaseException | None) -> dict[str, Any]:
    try:
        if ending == "succeed":
            return _succeeded(invocation, payload)
        if ending in ("pending", "revoked"):
            return {"Status": "PENDING"}
        if ending in ("fail", "fail as refused", "repeat") and error is not None:
            return _raised(invocation, ending, error)
        return _stopped(invocation.core, error)
    finally:
        del error  # whose traceback may hold this frame


def _raised(invocation: Invocation, ending: str, error: BaseException) -> dict[str, Any]:
    """End an invocation by what its handler raised."""
    if ending == "repeat":
        try:
            raise error
        finally:
            del error  # whose traceback holds this frame
    logger.debug("the handler of %s raised", invocation.durable_execution_arn, exc_info=error)
    if ending == "fail":
        _conclude(invocation, error)
        invocation.checkpoints.flush()
    return _failed(error)


def _stopped(core: Execution, error: BaseException | None) -> dict[str, Any]:
    """End an invocation by what stopped its operations."""
    try:
        core.check()
    except RecursionError as exhausted:
        return _failed(error if isinstance(error, RecursionError) else exhausted)
    finally:
        del error  # whose traceback may hold this frame
    raise AssertionError("an invocation was stopped, and may go on")


_CONTROL = (SuspendExecution, CheckpointsBroken, OutOfTime)


def _unserialisable(result: Any, problem: Exception) -> Exception:
    """Say that it is the handler's result which JSON cannot hold, and what to do about it."""
    kind = type(problem)
    if kind is not TypeError and kind is not ValueError:
        return problem  # one of the user's own
    if unawaited_in(result):
        instead = "what comes of operations, not themselves: one of them was not awaited"
    else:
        instead = "its get_results()" if hasattr(result, "get_results") else "what json.dumps takes"
    error = kind(f"the handler's result cannot be written as JSON: {problem}. Return {instead}")
    error.__cause__ = problem
    return error


def _succeeded(invocation: Invocation, payload: str) -> dict[str, Any]:
    core = invocation.core
    if over := core.conclude():
        _warn_of_unvisited(over)
    # Encoded with ASCII escapes, a payload has as many bytes as characters.
    size = len(payload)
    if size > MAX_PAYLOAD:
        raise ExecutionError(
            f"the handler's result takes {size} bytes as JSON, and the service takes at most "
            f"{MAX_PAYLOAD}: store it elsewhere (in S3, say) and return a reference"
        )
    if 2 * size > _ROOM_FOR_RESULT and not _can_be_returned(payload):
        now = int(invocation.clock.time() * 1000)
        invocation.checkpoints.wait(core.write_outcome(now, payload, None))
        payload = ""
    else:
        invocation.checkpoints.flush()
    return {"Status": "SUCCEEDED", "Result": payload}


def _can_be_returned(payload: str) -> bool:
    """Whether Lambda takes a result in a response, where each quote and each backslash in it has another before it."""
    size = len(payload)
    if size > LAMBDA_RESPONSE_SIZE_LIMIT:
        return False
    return size + payload.count('"') + payload.count("\\") <= _ROOM_FOR_RESULT


def _conclude(invocation: Invocation, error: BaseException) -> None:
    """Hold what a handler has come to against the record, that has raised an error.

    An operation that is not over and was not come to goes before what the handler says: it may say so for having been
    given the results of other operations.
    """
    try:
        over = invocation.core.conclude()
    except NonDeterministicExecutionError as different:
        raised = wire_error(error)
        what = f"It raised {raised['ErrorType']}: {raised.get('ErrorMessage')}"
        raise NonDeterministicExecutionError(f"{different} {what}", different.step_id) from None
    if over:
        _warn_of_unvisited(over)


def _failed(error: BaseException) -> dict[str, Any]:
    return {"Status": "FAILED", "Error": wire_error(error)}


def _failed_by(error: BaseException | None) -> dict[str, Any]:
    """End an invocation by a failure of the service or of what talks to it."""
    if isinstance(error, CheckpointsBroken):  # whose client was told that the invocation has ended
        error = InvocationError("the invocation's time was over before a call to the service had returned")
    if isinstance(error, InvocationError) and not error.is_retryable():
        return _failed(error)
    try:
        raise error or ExecutionError("a checkpoint failed without an error")
    finally:
        del error  # whose traceback holds this frame


def _warn_of_unvisited(missed: list[str]) -> None:
    shown = ", ".join(missed[:10]) + (f" and {len(missed) - 10} more" if len(missed) > 10 else "")  # noqa: PLR2004
    logger.warning(
        "the handler ended without coming to %d recorded operation(s): %s. The code has changed since they were "
        "recorded, or does not run the same way each time, as code with tasks that are cancelled does not.",
        len(missed),
        shown,
    )
