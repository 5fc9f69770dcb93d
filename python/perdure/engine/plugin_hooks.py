"""What plugins are told of operations, on the seam for whatever looks into an invocation (`perdure.engine.hooks`).

The core shows each operation that the code comes to and that is not simply replayed; contexts, steps and branches say
when one has ended, and what calls the user's functions asks for something around them. What is told of an operation is
what the service has recorded (`perdure.engine.told`), and its end is told once, by whoever takes it from there first.
"""

from __future__ import annotations

import datetime as dt
from _thread import allocate_lock
from typing import TYPE_CHECKING, Any

from perdure._core import RUN
from perdure.engine.hooks import Around, Hooks
from perdure.engine.operations.common import wire_error
from perdure.engine.plugin_changes import Changes
from perdure.engine.told import TERMINAL, info_of
from perdure.exceptions import DurableOperationError, SerDesError
from perdure.lambda_service import ErrorObject, OperationStatus
from perdure.plugin import (
    OperationEndInfo,
    OperationStartInfo,
    OperationType,
    PropagationInput,
    PropagationMetadata,
    UserFunctionEndInfo,
    UserFunctionOutcome,
    UserFunctionStartInfo,
    made,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from perdure._core import Operation, Scope
    from perdure.engine.hooks import Kind
    from perdure.engine.invocation import Invocation
    from perdure.engine.plugin_listeners import Listeners
    from perdure.engine.received import Wire
    from perdure.engine.told import Told

_START, _END = "on_operation_start", "on_operation_end"
_FUNCTION_START, _FUNCTION_END = "on_user_function_start", "on_user_function_end"
_CHANGE, _PROPAGATE = "on_operation_change", "provide_propagation_metadata"

OF_OPERATIONS = frozenset({_START, _END, _FUNCTION_START, _FUNCTION_END, _CHANGE, _PROPAGATE})
"""The hooks of which an invocation must be looked into."""

_moment, _UTC = dt.datetime.fromtimestamp, dt.UTC

_KINDS = {kind.value: kind for kind in OperationType}


class PluginHooks(Around):
    """Tells plugins of an invocation's operations.

    Args:
        invocation: It.
        inner: The hooks that it has besides.
        told: What the service has told.
        listeners: The plugins.
        updated: The operations that changed before the invocation began, as the service says.

    """

    __slots__ = (
        "_begun",
        "_changes",
        "_early",
        "_fresh",
        "_has_ends",
        "_has_functions",
        "_has_starts",
        "_invocation",
        "_is_optimistic",
        "_is_watched",
        "_listeners",
        "_lock",
        "_time",
        "_told",
        "_unread",
        "_within",
    )

    def __init__(
        self, invocation: Invocation, inner: Hooks, told: Told, listeners: Listeners, updated: Collection[str]
    ) -> None:
        super().__init__(inner)
        self._is_watched = type(inner) is not Hooks
        self._invocation = invocation
        self._time = invocation.clock.time
        self._told = told
        self._listeners = listeners
        self._has_starts = listeners.any_of({_START})
        self._has_ends = listeners.any_of({_END})
        self._has_functions = listeners.any_of({_FUNCTION_START, _FUNCTION_END})
        self._changes = Changes(invocation, told, listeners) if listeners.any_of({_CHANGE}) else None
        # Operations that this invocation has come to which were not recorded before; contexts among them whose function
        # has not begun.
        self._begun: set[str] = set()
        self._fresh: set[str] = set()
        # What had ended when the invocation began, and is new: told of when somebody reads it.
        self._unread: dict[str, Wire] = _ended(told, updated) if self._has_ends else {}
        # What has given its result before that was recorded, where results are handed on so: its end is told later.
        self._is_optimistic = invocation.core.is_optimistic
        self._early: dict[str, None] = {}
        # Ends that are being told, with a lock that is held meanwhile.
        self._within: dict[str, Any] = {}
        self._lock = allocate_lock()

    def begin(self) -> None:
        """Be told from now on."""
        self._invocation.add(self)
        if self._has_starts or self._has_ends or self._has_functions:
            self._told.read()
            self._invocation.core.observe(self.operation_found)

    def end(self) -> BaseException | None:
        """Tell what nobody has read, and what has changed since; give what a plugin raised that is no `Exception`."""
        last = None
        self._told.read()
        for key, raw in tuple(self._told.ended.items()) if self._has_ends else ():
            try:
                self._tell_end(key, raw)
            except BaseException as raised:  # noqa: BLE001  given
                last = raised
        return (self._changes.close() or last) if self._changes is not None else last

    def heard(self) -> None:
        """Have what an answer has changed told."""
        if self._changes is not None:
            self._changes.ring()

    # ---- an operation

    def operation_found(self, operation: Operation) -> None:
        """Tell of the start or the end of an operation that code comes to. Called by the core."""
        key, told = operation.id, self._told
        if self._early:
            self._tell_late()
        raw = told.at(key, told.at_first)
        is_replayed = raw is not None
        if raw is None and key in self._begun:  # a branch that runs once more
            told.read()
            raw = told.latest(key)
        if raw is None:
            self._begun.add(key)
            if operation.kind == "CONTEXT":
                self._fresh.add(key)
            if operation.kind != "CHAINED_INVOKE" or operation.decision == RUN:  # that of an invoke is told later
                self._tell_start(operation, None, is_replayed=False)
            return
        told.read()
        latest = told.latest(key) or raw
        if latest["Status"] not in TERMINAL:
            self._tell_start(operation, latest, is_replayed=is_replayed)
        elif operation.write:
            self._tell_end(key, latest)

    def _tell_start(self, operation: Operation, raw: Wire | None, *, is_replayed: bool) -> None:
        """Tell of an operation that begins, or that was begun, as it is recorded, and is not over."""
        if not self._has_starts:
            return
        info: OperationStartInfo
        if raw is None or (operation.starts and raw["Status"] != "STARTED"):
            info = made(OperationStartInfo, {**_plain(operation), "is_replayed": is_replayed})
        else:
            info = info_of(OperationStartInfo, raw, is_replayed=True, attempt=None, error=None, result=None)
        self._listeners.tell(_START, info)

    def after_operation(self, scope: Scope) -> None:
        """Tell of the end of the operation that a context has come to last."""
        if self._is_watched:
            self.inner.after_operation(scope)
        if self._has_ends and self._is_news():
            self._tell_if_ended(scope.latest_id)

    def steers(self) -> bool:
        """Whether the hooks inside do."""
        return self._is_watched and self.inner.steers()

    def before_operation(self, method: str) -> None:
        """Have the hooks inside hear of it."""
        if self._is_watched:
            self.inner.before_operation(method)

    def watches_operations(self) -> bool:
        """Whether contexts are to say what their code comes to."""
        return self._has_ends or self.inner.watches_operations()

    def _is_news(self) -> bool:
        """Whether anything has ended that nobody was told of."""
        self._told.read()
        return bool(self._told.ended or self._unread or self._within)

    def _tell_if_ended(self, key: str) -> None:
        """Tell of the end of an operation, if it has one that nobody has been told of."""
        raw = self._told.ended.get(key) or self._unread.get(key)
        if raw is not None or key in self._within:
            self._tell_end(key, raw)

    def _tell_end(self, key: str, raw: Wire | None) -> None:
        """Tell of the end of an operation, unless somebody has; return when those who do so are done.

        What has ended inside it and was read by nobody is told of before. Within a hook nothing is told, since the
        plugin may hold a lock that it needs to hear of it.
        """
        if not self._has_ends or self._listeners.is_within():
            return
        ended = self._told.ended
        if raw is not None and raw["Type"] == "CONTEXT" and (len(ended) > 1 or key not in ended):
            for inner, state in tuple(ended.items()):
                if self._told.is_inside(state, key):
                    self._tell_end(inner, state)
        if raw is not None and raw["Type"] != "CALLBACK":  # which one thread alone can have asked for
            mine = ended.pop(key, None) or self._unread.pop(key, None)
            if mine is not None:
                self._listeners.tell(_END, info_of(OperationEndInfo, mine))
            return
        own = allocate_lock()
        with own:
            with self._lock:
                mine = ended.pop(key, None) or self._unread.pop(key, None)
                other = self._within.get(key)
                if mine is not None:
                    self._within[key] = own
            if mine is not None:
                try:
                    self._listeners.tell(_END, info_of(OperationEndInfo, mine))
                finally:
                    self._within.pop(key, None)
            elif other is not None:
                with other:
                    pass

    def _now(self) -> dt.datetime:
        return _moment(self._time(), _UTC)

    # ---- the user's functions

    def function(self, kind: Kind, operation: Operation, function: Any) -> Any:
        """Give a function that tells of its beginning and its end."""
        if self._is_watched:
            function = self.inner.function(kind, operation, function)
        is_again = not operation.write
        if not callable(function) or not (self._has_functions or (is_again and self._has_ends)):
            return function
        attempt = 1 if operation.id in self._fresh else None
        self._fresh.discard(operation.id)
        base = {**_plain(operation), "attempt": attempt, "is_replay_children": is_again}
        return _Told(self, function, base, has_attempts=kind != "context")

    def start_function(self, base: dict[str, Any], given: tuple[Any, ...], *, has_attempts: bool) -> dict[str, Any]:
        """Tell of a function that is about to be called; give what is known of it."""
        known = {**base, "start_time": self._now()}
        if has_attempts:
            known["attempt"] = given[-1].attempt  # what a step or a check is handed knows it
        self._listeners.tell(_FUNCTION_START, made(UserFunctionStartInfo, known))
        return known

    def end_function(self, known: dict[str, Any], outcome: UserFunctionOutcome, error: ErrorObject | None) -> None:
        """Tell of a function that has ended."""
        end = {**known, "end_time": self._now(), "outcome": outcome, "error": error}
        self._listeners.tell(_FUNCTION_END, made(UserFunctionEndInfo, end))

    # ---- the ends of what calls functions

    def operation_gave(self, operation: Operation, value: Any, *, by_default: bool) -> None:
        """Tell of the end of a step, a condition or a context."""
        if self._is_watched:
            self.inner.operation_gave(operation, value, by_default=by_default)
        self._tell_outcome(operation, None)

    def operation_raised(self, operation: Operation, error: Exception, *, by_default: bool) -> None:
        """Tell of the end of a step, a condition or a context, that has failed."""
        if self._is_watched:
            self.inner.operation_raised(operation, error, by_default=by_default)
        self._tell_outcome(operation, error)

    def _tell_outcome(self, operation: Operation, error: Exception | None) -> None:
        if not self._has_ends:
            return
        if not operation.write:  # a context that ran again for its large result
            self._tell_unrecorded(_plain(operation), error, is_replayed=True)
            return
        if self._is_news():
            self._tell_if_ended(operation.id)
        if self._is_optimistic:
            self._tell_late()
            latest = self._told.latest(operation.id)
            if latest is None or latest["Status"] not in TERMINAL:
                self._early[operation.id] = None

    def _tell_late(self) -> None:
        """Tell of the ends that are recorded by now of what gave its result before."""
        self._told.read()
        for key in [key for key in self._told.ended if key in self._early]:
            self._early.pop(key, None)
            self._tell_end(key, self._told.ended.get(key))

    def virtual_function(self, inner: Scope, called: tuple[str | None, str], function: Any) -> Any:
        """Give a function that tells of its beginning and its end."""
        function = self.inner.virtual_function(inner, called, function)
        if not self._has_functions:
            return function
        base = {**_plain_virtual(inner, called), "attempt": 1, "is_replay_children": False}
        return _Told(self, function, base, has_attempts=False)

    def virtual_ended(self, inner: Scope, called: tuple[str | None, str], error: Exception | None) -> None:
        """Tell of the end of a context of which nothing is recorded."""
        self.inner.virtual_ended(inner, called, error)
        self._tell_unrecorded(_plain_virtual(inner, called), error, is_replayed=False)

    def _tell_unrecorded(self, known: dict[str, Any], error: Exception | None, *, is_replayed: bool) -> None:
        if not self._has_ends or self._listeners.is_within():
            return
        self._unread.pop(known["operation_id"], None)
        status = OperationStatus.SUCCEEDED if error is None else OperationStatus.FAILED
        known.update(
            is_replayed=is_replayed,
            status=status,
            end_time=self._now(),
            error=None if error is None else _error_of_operation(error),
        )
        self._listeners.tell(_END, made(OperationEndInfo, known))

    # ---- an invoke

    def trace_id(self, operation: Operation, function_name: str) -> str | None:
        """Ask the plugins for what goes along with an invoke, and tell of its start."""
        trace_id = self.inner.trace_id(operation, function_name)
        if self._listeners.any_of({_PROPAGATE}):
            arn = self._invocation.durable_execution_arn
            info = PropagationInput(arn, operation.id, function_name, operation.parent_id)
            answers = self._listeners.ask(_PROPAGATE, info)
            headers = [answer.x_amzn_trace_id for answer in answers if isinstance(answer, PropagationMetadata)]
            trace_id = next((header for header in headers if isinstance(header, str) and header), trace_id)
        self._tell_start(operation, None, is_replayed=False)
        return trace_id


class _Told:
    """A function around one of the user's, which it passes for: it tells of its beginning and of its end."""

    __slots__ = ("_base", "_function", "_has_attempts", "_hooks")

    def __init__(self, hooks: PluginHooks, function: Any, base: dict[str, Any], *, has_attempts: bool) -> None:
        self._hooks = hooks
        self._function = function
        self._base = base
        self._has_attempts = has_attempts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)

    def __call__(self, *given: Any) -> Any:
        hooks = self._hooks
        known = hooks.start_function(self._base, given, has_attempts=self._has_attempts)
        outcome, failed = UserFunctionOutcome.INCOMPLETE, None
        try:
            result = self._function(*given)
            outcome = UserFunctionOutcome.SUCCEEDED
        except Exception as error:
            outcome, failed = UserFunctionOutcome.FAILED, _error(error)
            raise
        finally:
            hooks.end_function(known, outcome, failed)
        return result


def _ended(told: Told, keys: Collection[str]) -> dict[str, Wire]:
    """Give those of the operations that have ended."""
    if keys:
        told.read()
    states = [(key, told.latest(key)) for key in keys]
    return {key: raw for key, raw in states if raw and raw["Status"] in TERMINAL}


def _plain(operation: Operation) -> dict[str, Any]:
    """Give the fields of an info of an operation that is at work."""
    operation_id, kind, sub_type, name, parent_id = operation.facts()
    return _fields(operation_id, _KINDS[kind], sub_type, name, parent_id)


def _plain_virtual(inner: Scope, called: tuple[str | None, str]) -> dict[str, Any]:
    return _fields(inner.operation_id, OperationType.CONTEXT, called[1], called[0], inner.parent_id)


def _fields(
    operation_id: str | None, kind: OperationType, sub_type: str, name: str | None, parent_id: str | None
) -> dict[str, Any]:
    return {
        "operation_id": operation_id,
        "operation_type": kind,
        "sub_type": sub_type,
        "name": name,
        "parent_id": parent_id,
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
