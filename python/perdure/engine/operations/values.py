"""Values that are the same on every replay, of which nothing is recorded: a moment, an id, random numbers.

Where code draws one, and which recorded moment is now, is the core's to say (`rust/core/src/values.rs`).
"""

from __future__ import annotations

import datetime as dt
import random as _random
import uuid as _uuid
from typing import TYPE_CHECKING, Any

from perdure._core import moment
from perdure.exceptions import ExecutionError

if TYPE_CHECKING:
    from perdure._core import Scope, Told
    from perdure.engine.contexts import Context
    from perdure.engine.flows import Flow

_MILLISECOND = dt.timedelta(milliseconds=1)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def uuid(scope: Scope, execution: str) -> _uuid.UUID:
    """Give an id of version 4 that belongs to this place."""
    return _uuid.UUID(bytes=scope.draw(execution)[:16], version=4)


def random(scope: Scope, execution: str) -> _random.Random:
    """Give a source of random numbers that belongs to this place."""
    return _random.Random(int.from_bytes(scope.draw(execution)))  # noqa: S311  as `random` itself


def now(context: Context) -> Flow[dt.datetime]:
    """Give the recorded moment that is now; wait for its record where that is on its way."""
    invocation = context.invocation
    told = invocation.told()
    of = context.scope.now()
    found = _latest(told, *of)
    if found is None:
        _, ticket = invocation.core.backlog()
        yield ticket
        found = _latest(told, *of)
    if found is None:
        whose = "the execution" if of[1] is None else f"operation {of[1]}"
        raise ExecutionError(
            f"now() is what the service has recorded, and it has not told the {of[0]} of {whose}. In an async handler "
            f"await the context's last operation first: while it is open nobody knows when it ends"
        )
    hooks = invocation.hooks
    return found if hooks is None else hooks.moment(of, found)


def _latest(told: Told, member: str, operation_id: str | None, answered: str | None) -> dt.datetime | None:
    """Give the later of an operation's moment and of a callback's end; None if that of the operation was not told."""
    told.read()
    found = _moment(told.execution() if operation_id is None else told.latest(operation_id), member)
    if found is None or answered is None:
        return found
    return max(found, _moment(told.latest(answered), "EndTimestamp") or found)


def _moment(recorded: dict[str, Any] | None, member: str) -> dt.datetime | None:
    """Give a recorded moment to the millisecond: events are no finer, answers may be."""
    found = None if recorded is None else moment(recorded.get(member))
    return None if found is None else _EPOCH + round((found - _EPOCH) / _MILLISECOND) * _MILLISECOND
