"""Callbacks: made here, completed from outside."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from perdure._core import FAILED, MAX_NAME, RECORDED, START
from perdure._functions import check_function, refuse_unrun
from perdure._handed import WaitForCallbackContext
from perdure.engine.operations import child
from perdure.engine.operations.common import deserialise
from perdure.exceptions import (
    CallbackError,
    CallbackExternalError,
    CallbackSubmitterError,
    CallbackTimeoutError,
    ChildContextError,
    ExecutionError,
    InvocationError,
    StepError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure._core import Operation
    from perdure.engine.contexts import Context
    from perdure.engine.flows import Flow
    from perdure.retries import RetryDecision
    from perdure.serdes import SerDes
    from perdure.types import StepContext

T = TypeVar("T")


class Callback(Generic[T]):
    """A value that somebody outside will send.

    Give `callback_id` to whoever is to answer, by ``SendDurableExecutionCallbackSuccess``, ``…Failure`` and
    ``…Heartbeat`` of the Lambda API, and ask for the answer with `result`.
    """

    __slots__ = ("_context", "_name", "_serdes", "callback_id", "operation_id")

    def __init__(
        self,
        callback_id: str,
        operation_id: str,
        context: Context,
        serdes: SerDes[T] | None = None,
        name: str | None = None,
    ) -> None:
        self.callback_id = callback_id
        self.operation_id = operation_id
        self._context = context
        self._serdes = serdes
        self._name = name

    def __repr__(self) -> str:
        return f"Callback(callback_id={self.callback_id!r})"

    def result(self) -> T | None:
        """Give what the outside has sent; suspends the execution until it has.

        Returns:
            The raw string that was sent, or what the callback's serdes makes of it; None if nothing came along.

        Raises:
            CallbackTimeoutError: If the callback, or its heartbeat, timed out.
            CallbackExternalError: If the outside answered with a failure.

        """
        try:
            return self._result()
        except RecursionError:
            self._context.scope.is_exhausted = True
            raise

    def _result(self) -> T | None:
        # The one who waits is the one who asks, which need not be the context that made the callback.
        operation = self._context.invocation.core.here().callback_result(self.operation_id)
        if operation.decision == RECORDED and self._serdes is None:
            return operation.payload  # type: ignore[no-any-return]
        return self._context.drive(self._answer(operation))  # type: ignore[no-any-return]

    def _answer(self, operation: Operation) -> Flow[T | None]:
        """Give the answer, as a flow, when it is there."""
        operation = yield operation
        if operation.decision == FAILED:
            raise _failure(operation, self._name)
        payload = operation.payload
        if self._serdes is None or payload is None:
            return payload  # type: ignore[no-any-return]
        try:
            operation.enter()
            return deserialise(  # type: ignore[no-any-return]
                self._context, self._serdes, payload, self.operation_id, self._name
            )
        finally:
            operation.leave()


def _failure(operation: Operation, name: str | None) -> CallbackError:
    timed_out = operation.timed_out
    error: dict[str, Any] = operation.error or {}
    message = error.get("ErrorMessage")
    if not message:  # in the words of the official SDK, so that what is made of them is the same under both
        message = "Callback timed out" if timed_out else "Callback failed"
    cls = CallbackTimeoutError if timed_out else CallbackExternalError
    failed = cls(message, data=error.get("ErrorData"), stack_trace=error.get("StackTrace"))
    failed.add_note(f"(callback {name or operation.id[:8]} ended with {operation.status})")
    return failed


class Options:
    """What a callback is made with: its subtype, its limits in seconds (0 for none), and what reads the answer.

    ``serdes`` is the user's, which writes what a submitter returns, too; ``returns`` the type of the answer.
    """

    __slots__ = ("heartbeat", "reader", "serdes", "sub_type", "timeout")

    def __init__(
        self, sub_type: str, timeout: int, heartbeat: int, serdes: SerDes[Any] | None, returns: Any = None
    ) -> None:
        self.sub_type = sub_type
        self.timeout = timeout
        self.heartbeat = heartbeat
        self.serdes = self.reader = serdes
        if returns is not None:
            from perdure._typed import Sent, sent_as  # noqa: PLC0415  only for handlers that use it

            self.reader = Sent(sent_as(returns), serdes)


def create(context: Context, operation: Operation, options: Options) -> Flow[Callback[Any]]:
    """Record a callback's START, and make it."""
    operation = yield operation
    if not operation.payload:  # an odd answer, of which the record knows more
        raise InvocationError(
            f"the service has answered the START of callback {operation.name or operation.id} without its CallbackId"
        )
    return recorded(context, operation, options)


def recorded(context: Context, operation: Operation, options: Options) -> Callback[Any]:
    """Make a callback that is recorded."""
    callback_id = operation.payload
    if not callback_id:
        raise ExecutionError(f"the service has recorded callback {operation.name or operation.id} without a CallbackId")
    return context.callback_kind(callback_id, operation.id, context, options.reader, operation.name)  # type: ignore[no-any-return]


LONGEST_NAME = MAX_NAME - len(" create callback id")
"""Characters of the name of a `wait_for_callback`, whose operations are named after it."""


def run(
    context: Context,
    operation: Operation,
    submitter: Callable[[str, WaitForCallbackContext], Any],
    name: str | None,
    options: Options,
    retry_strategy: Callable[[Exception, int], RetryDecision] | None,
    serdes: SerDes[Any] | None = None,
) -> Flow[Any]:
    """Carry out what the core decided for the context of a `wait_for_callback`, whose result has a serdes."""
    check_function(
        submitter, "wait_for_callback", "the callback's id and a WaitForCallbackContext", context.takes_async
    )
    prefix = f"{name} " if name else ""

    def submit_and_wait(inner: Context) -> Any:
        return inner.drive(_submit_and_wait(inner, submitter, prefix, options, retry_strategy))

    try:
        return (yield from child.run(context, operation, submit_and_wait, serdes, None))
    except ChildContextError as error:
        surfaced = _surfaced(error)
    try:
        raise surfaced
    finally:
        del surfaced  # whose traceback holds this frame


def _submit_and_wait(
    inner: Context,
    submitter: Callable[[str, WaitForCallbackContext], Any],
    prefix: str,
    options: Options,
    retry_strategy: Callable[[Exception, int], RetryDecision] | None,
) -> Flow[Any]:
    """Make a callback, submit it in a step, and give the answer: what the context of a `wait_for_callback` is for."""
    made = inner.scope.callback(f"{prefix}create callback id", options.sub_type, options.timeout, options.heartbeat)
    if made.decision == START:
        callback = yield from create(inner, made, options)
    else:
        callback = recorded(inner, made, options)

    def submit(step_context: Any) -> Any:
        return inner.drive(_submit(submitter, callback.callback_id, step_context))

    async def submit_awaited(step_context: Any) -> None:  # which no driver gives a thread of its own
        await submit(step_context)

    submitting = functools.partial(inner.step, retry=retry_strategy, serdes=options.serdes)
    yield submitting, (submit_awaited if inner.takes_async else submit, f"{prefix}submitter")
    return (yield callback.result, ())


def _submit(
    submitter: Callable[[str, WaitForCallbackContext], Any], callback_id: str, step_context: StepContext
) -> Flow[None]:
    refuse_unrun((yield submitter, (callback_id, WaitForCallbackContext(logger=step_context.logger))))


def _surfaced(error: ChildContextError) -> Exception:
    """Give what the failure of the context around a callback surfaces as: the callback's, or the submitter's."""
    inner = error.__cause__
    if isinstance(inner, CallbackError):
        inner.__context__ = None  # which is the same error once more
        return inner
    if isinstance(inner, StepError):
        message = error.message or "Callback submitter failed"  # in the words of the official SDK, as above
        surfaced = CallbackSubmitterError(message, data=error.data, stack_trace=error.stack_trace)
        surfaced.__cause__ = inner
        return surfaced
    return error
