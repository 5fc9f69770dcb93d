"""What plugins are told of operations, on the seam for whatever looks into an invocation (`perdure.engine.hooks`).

The core shows each operation that the code comes to and that is not simply replayed; contexts, steps and branches say
when one has ended, and what calls the user's functions asks for something around them. What is told of an operation is
what the service has recorded (`_core.Told`), and its end is told once, by whoever takes it from there first.

What happens with nearly every operation is native (`_core.Teller`); what does not is here.
"""

from __future__ import annotations

from _thread import allocate_lock
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from perdure._core import Teller, info_at_work, info_recorded, operation_end_info, operation_start_info
from perdure.engine.awaited import Awaited
from perdure.engine.hooks import Around, Hooks
from perdure.engine.operations.common import wire_error
from perdure.engine.plugin_changes import Changes, logger
from perdure.engine.received import ENDED
from perdure.engine.told import is_inside
from perdure.exceptions import DurableOperationError, SerDesError
from perdure.lambda_service import ErrorObject, OperationStatus
from perdure.plugin import OperationType, PropagationInput, PropagationMetadata, UserFunctionOutcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure._core import Operation, OperationFields, Scope
    from perdure.engine.flows import Flow
    from perdure.engine.hooks import Kind
    from perdure.engine.invocation import Invocation
    from perdure.engine.received import Wire
    from perdure.serdes import SerDes

T = TypeVar("T")

_START, _END = "on_operation_start", "on_operation_end"
_FUNCTION_START, _FUNCTION_END = "on_user_function_start", "on_user_function_end"
_CHANGE, _PROPAGATE = "on_operation_change", "provide_propagation_metadata"

OF_OPERATIONS = (_START, _END, _FUNCTION_START, _FUNCTION_END, _CHANGE, _PROPAGATE)
"""The hooks of which an invocation must be looked into."""


class PluginHooks(Teller, Hooks):
    """Tells plugins of an invocation's operations."""

    __slots__ = ("_changes", "_early", "_has_ends", "_has_functions", "_invocation", "_lock")

    _changes: Changes | None
    _early: dict[str, None]
    _has_ends: bool
    _has_functions: bool
    _invocation: Invocation
    _lock: Any

    stopwatch = staticmethod(perf_counter)  # pyright: ignore[reportAssignmentType]  called as a method is

    def prepare(self, invocation: Invocation, updated: list[str]) -> None:
        """Look at what there is to tell.

        Args:
            invocation: It.
            updated: The operations that changed before it began, as the service says.

        """
        listeners = self.listeners
        self._invocation = invocation
        self._has_ends = listeners.any_of(_END)
        self._has_functions = listeners.any_of(_FUNCTION_START, _FUNCTION_END)
        self._changes = Changes(invocation, self.told, listeners) if listeners.any_of(_CHANGE) else None
        self._lock = allocate_lock()
        # What has given its result before that was recorded, where results are handed on so: its end is told later.
        self._early = {}
        if self._has_ends and updated:
            self.told.expect(updated)

    def begin(self) -> None:
        """Be told from now on."""
        self._invocation.add(self)
        if self._has_ends or self._has_functions or self.listeners.any_of(_START):
            self.told.read()
            self._invocation.core.observe(self)

    def end(self) -> BaseException | None:
        """Tell what nobody has read, and what has changed since; give what a plugin raised that is no `Exception`."""
        last = None
        if self._has_ends:
            self.told.read()
            for key, raw in self.told.ended():
                try:
                    self.tell_end(key, raw)
                except BaseException as raised:  # noqa: BLE001  given
                    last = raised
        return (self._changes.close() or last) if self._changes is not None else last

    def first_heard(self) -> Any:
        """Have what the first answer has changed told; give the bell that says so of others."""
        assert self._changes is not None  # noqa: S101  asked where somebody listens
        return self._changes.ring()

    def watches_replays(self) -> bool:
        """Whether ends are left to be told of what had ended before the invocation began."""
        return self.told.has_unread

    # ---- an operation

    def operation_found(self, operation: Operation) -> None:
        """Tell of the start or the end of an operation that code comes to, and of which something is recorded."""
        key, told = operation.id, self.told
        raw = told.at(key, told.at_first)
        is_replayed = raw is not None
        if raw is None and self.was_begun(operation):  # a branch that runs once more
            told.read()
            raw = told.latest(key)
        if raw is None:
            self.begin_operation(operation)
            return
        told.read()
        latest = told.latest(key) or raw
        if latest["Status"] not in ENDED:
            self._tell_start(operation, latest, is_replayed=is_replayed)
        elif operation.write:
            self.tell_end(key, latest)

    def _tell_start(self, operation: Operation, raw: Wire, *, is_replayed: bool) -> None:
        """Tell of an operation that was begun, as it is recorded, and that is not over."""
        if not self.listeners.any_of(_START):
            return
        if operation.starts and raw["Status"] != "STARTED":
            fields = {**info_at_work(operation), "is_replayed": is_replayed}
        else:
            fields = {**info_recorded(raw), "is_replayed": True, "attempt": None, "error": None, "result": None}
        self.listeners.tell(_START, operation_start_info(fields))

    def tell_end(self, key: str, raw: Wire | None) -> None:
        """Tell of the end of an operation, unless somebody has; return when those who do so are done.

        What has ended inside it and was read by nobody is told of before. Within a hook nothing is told, since the
        plugin may hold a lock that it needs to hear of it.
        """
        if not self._has_ends or self.listeners.is_within():
            return
        told = self.told
        if raw is not None and raw["Type"] == "CONTEXT":
            for inner, state in told.ended():
                if inner != key and is_inside(told, state, key):
                    self.tell_end(inner, state)
        if raw is not None and raw["Type"] != "CALLBACK":  # which one thread alone can have asked for
            mine = told.take(key)
            if mine is not None:
                self.tell_recorded_end(mine)
            return
        own = allocate_lock()
        with own:
            with self._lock:
                mine = told.take(key)
                other = self.within.get(key)
                if mine is not None:
                    self.within[key] = own
            if mine is not None:
                try:
                    self.tell_recorded_end(mine)
                finally:
                    self.within.pop(key, None)
            elif other is not None:
                with other:
                    pass

    def gave_early(self, operation: Operation) -> None:
        """Note what has given its result, where that is handed on before it is recorded."""
        self.tell_late()
        latest = self.told.latest(operation.id)
        if latest is None or latest["Status"] not in ENDED:
            self._early[operation.id] = None

    def tell_late(self) -> None:
        """Tell of the ends that are recorded by now of what gave its result before."""
        if not self._early:
            return
        self.told.read()
        for key, raw in self.told.ended():
            if key in self._early:
                self._early.pop(key, None)
                self.tell_end(key, raw)

    def after_awaited(self, operation_id: str) -> None:
        """Tell of the end of an operation that was awaited."""
        if self._has_ends:
            self.told.read()
            latest = self.told.latest(operation_id)
            self.tell_end(operation_id, latest if latest is not None and latest["Status"] in ENDED else None)

    # ---- the user's functions

    def function_gave(self, known: OperationFields, value: Any) -> Any:
        """Give what a function has given that can be awaited; its end is told when that has ended, if it is awaited."""
        if self._invocation.is_asynchronous:
            return Awaited(value, partial(self._tell_success, known), partial(self.function_failed, known))
        self._tell_success(known, value)
        return value

    def _tell_success(self, known: OperationFields, _value: Any) -> None:
        self.end_function(known, UserFunctionOutcome.SUCCEEDED, None)

    def function_failed(self, known: OperationFields, error: BaseException) -> None:
        """Tell of a function that has raised, while that is being handled; it stays as it was raised."""
        failed = _error(error) if isinstance(error, Exception) else None
        outcome = UserFunctionOutcome.INCOMPLETE if failed is None else UserFunctionOutcome.FAILED
        _while_handled(error, partial(self.end_function, known, outcome, failed))

    def operation_failed(self, operation: Operation, error: Exception) -> None:
        """Tell of the end of an operation that has failed, while that is being handled; it stays as it was raised."""
        _while_handled(error, partial(self.operation_raised, operation, error, by_default=True))

    # ---- the ends of what calls functions

    def tell_again(self, operation: Operation, error: Exception | None) -> None:
        """Tell of the end of a context that ran again for its large result."""
        self._tell_unrecorded(info_at_work(operation), error, is_replayed=True)

    def virtual_function(self, inner: Scope, called: tuple[str | None, str], function: Any) -> Any:
        """Give a function that tells of its beginning and its end."""
        if not self._has_functions:
            return function
        return self.telling({**_virtual(inner, called), "attempt": 1, "is_replay_children": False}, function)

    def virtual_ended(self, inner: Scope, called: tuple[str | None, str], error: Exception | None) -> None:
        """Tell of the end of a context of which nothing is recorded."""
        self._tell_unrecorded(_virtual(inner, called), error, is_replayed=False)

    def _tell_unrecorded(self, known: dict[str, Any], error: Exception | None, *, is_replayed: bool) -> None:
        if not self._has_ends or self.listeners.is_within():
            return
        if known["operation_id"] is not None:
            self.told.take(known["operation_id"])
        status = OperationStatus.SUCCEEDED if error is None else OperationStatus.FAILED
        known.update(
            is_replayed=is_replayed,
            status=status,
            end_time=self.now(),
            error=None if error is None else _error_of_operation(error),
        )
        self.listeners.tell(_END, operation_end_info(known))

    # ---- an invoke

    def trace_id(self, operation: Operation, function_name: str) -> str | None:
        """Ask the plugins for what goes along with an invoke, and tell of its start."""
        trace_id = None
        if self.listeners.any_of(_PROPAGATE):
            arn = self._invocation.durable_execution_arn
            info = PropagationInput(arn, operation.id, function_name, operation.parent_id)
            answers = self.listeners.ask(_PROPAGATE, info)
            trace_id = next(filter(None, [_header(answer) for answer in answers]), None)
        if self.listeners.any_of(_START):
            self.listeners.tell(_START, operation_start_info(info_at_work(operation)))
        return trace_id


class BesideATool(Around, PluginHooks):
    """The same where a tool has hooks of its own, which hear first."""

    __slots__ = ("inner",)

    def followed(self, operation: Operation, flow: Flow[T], serdes: SerDes[Any] | None) -> Flow[T]:
        """Give a flow by which both see how an operation ends."""
        return Hooks.followed(self, operation, flow, serdes)

    def heard(self) -> None:
        """Have both hear of an answer."""
        self.inner.heard()
        PluginHooks.heard(self)

    def watches_operations(self) -> bool:
        """Whether either is to be told what code comes to."""
        return self._has_ends or self.inner.watches_operations()

    def watches_replays(self) -> bool:
        """Whether either is to be told of what is simply replayed."""
        return self.inner.watches_operations() or PluginHooks.watches_replays(self)

    def after_operation(self, scope: Scope) -> None:
        """Have both hear of an operation."""
        self.inner.after_operation(scope)
        PluginHooks.after_operation(self, scope)

    def after_awaited(self, operation_id: str) -> None:
        """Have both hear of an operation."""
        self.inner.after_awaited(operation_id)
        PluginHooks.after_awaited(self, operation_id)

    def function(self, kind: Kind, operation: Operation, function: Any) -> Any:
        """Put both around a function, the plugins outside."""
        return PluginHooks.function(self, kind, operation, self.inner.function(kind, operation, function))

    def operation_gave(self, operation: Operation, value: Any, *, by_default: bool) -> None:
        """Have both see what an operation gives."""
        self.inner.operation_gave(operation, value, by_default=by_default)
        PluginHooks.operation_gave(self, operation, value, by_default=by_default)

    def operation_raised(self, operation: Operation, error: Exception, *, by_default: bool) -> None:
        """Have both see what an operation fails with."""
        self.inner.operation_raised(operation, error, by_default=by_default)
        PluginHooks.operation_raised(self, operation, error, by_default=by_default)

    def virtual_function(self, inner: Scope, called: tuple[str | None, str], function: Any) -> Any:
        """Put both around the function of a context of which nothing is recorded."""
        return PluginHooks.virtual_function(self, inner, called, self.inner.virtual_function(inner, called, function))

    def virtual_ended(self, inner: Scope, called: tuple[str | None, str], error: Exception | None) -> None:
        """Have both see what came of a context of which nothing is recorded."""
        self.inner.virtual_ended(inner, called, error)
        PluginHooks.virtual_ended(self, inner, called, error)

    def trace_id(self, operation: Operation, function_name: str) -> str | None:
        """Give what goes along with an invoke: the plugins' own, or the tool's."""
        given = self.inner.trace_id(operation, function_name)
        return PluginHooks.trace_id(self, operation, function_name) or given


def _header(answer: Any) -> str | None:
    """Give the trace header of an answer, if it has one; an answer that can have none is told of."""
    header = answer.x_amzn_trace_id if isinstance(answer, PropagationMetadata) else answer
    if header is None or (header is not answer and isinstance(header, str)):
        return header
    logger.error("provide_propagation_metadata must give a PropagationMetadata with a text, or None, not %r", answer)
    return None


def _while_handled(error: BaseException, tell: Callable[[], None]) -> None:
    """Call what may look for the error that is being handled; that stays as it was raised."""
    context, traceback = error.__context__, error.__traceback__
    try:
        raise error  # noqa: TRY301  so that it is being handled
    except BaseException:  # noqa: BLE001  raised again by who calls
        tell()
    finally:
        error.__context__ = context
        error.__traceback__ = traceback
        del error, context, traceback


def _virtual(inner: Scope, called: tuple[str | None, str]) -> dict[str, Any]:
    """Give the fields of an info of a context of which nothing is recorded."""
    return {
        "operation_id": inner.operation_id,
        "operation_type": OperationType.CONTEXT,
        "sub_type": called[1],
        "name": called[0],
        "parent_id": inner.parent_id,
        "start_time": None,
        "is_replayed": False,
        "status": OperationStatus.STARTED,
        "end_time": None,
        "result": None,
        "error": None,
        "attempt": None,
    }


def _error(error: BaseException) -> ErrorObject:
    return ErrorObject.from_dict(wire_error(error))


def _error_of_operation(error: Exception) -> ErrorObject:
    """Give the error that is recorded, or would be, of an operation that surfaces as this one."""
    if isinstance(error, (DurableOperationError, SerDesError)):
        return ErrorObject(error.message, error.error_type, error.data, error.stack_trace)
    return _error(error)
