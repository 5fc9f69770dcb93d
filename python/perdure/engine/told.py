"""What the service has told of an execution's operations, by id, as it was at any moment of the invocation.

Nothing is copied, and nothing is read before somebody asks: answers are kept by reference, as they came
(`perdure.engine.checkpoint`), each is read once, and a view of all operations as they were after so many of them is one
small object, however many operations there are.
"""

from __future__ import annotations

import datetime as dt
from _thread import allocate_lock
from bisect import bisect_left
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from perdure.engine.received import as_dicts
from perdure.lambda_service import ErrorObject, OperationStatus
from perdure.plugin import OperationInfo, OperationType, made

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from perdure.engine.received import Operations, Wire

T = TypeVar("T")

TERMINAL = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "TIMED_OUT", "STOPPED"})

_TYPES = {kind.value: kind for kind in OperationType}
_STATUSES = {status.value: status for status in OperationStatus}
_DETAILS = {
    "STEP": "StepDetails",
    "CONTEXT": "ContextDetails",
    "CALLBACK": "CallbackDetails",
    "CHAINED_INVOKE": "ChainedInvokeDetails",
}


class Told:
    """What was told, answer after answer; it grows while the invocation runs.

    Args:
        parts: The operations of the event and of its further pages, which others add those of answers to.

    """

    __slots__ = ("_counts", "_keys", "_lock", "_parts", "_states", "at_first", "ended")

    def __init__(self, parts: list[Operations]) -> None:
        self._parts = parts
        self._lock = allocate_lock()
        # Of each operation: the number of an answer and the state it told, and so on; operations as they came.
        self._states: dict[str, list[Any]] = {}
        # How many operations are known after each answer.
        self._counts: list[int] = [0]
        # Which operations each answer since the first parts tells of.
        self._keys: list[list[str]] = []
        self.at_first = len(parts)
        """How many parts there were when the invocation began."""
        self.ended: dict[str, Wire] = {}
        """Operations that have ended since, until somebody takes them out."""

    def size(self) -> int:
        """Give how many parts there are, read or not."""
        return len(self._parts)

    def read(self) -> int:
        """Read what has come; give how many parts there are."""
        counts, parts = self._counts, self._parts
        if len(counts) <= len(parts):
            with self._lock:
                for number in range(len(counts) - 1, len(parts)):
                    self._take(number, as_dicts(parts[number]))
                    counts.append(len(self._states))
        return len(counts) - 1

    def _take(self, number: int, operations: list[Wire]) -> None:
        """Note what an answer tells. One that has ended stays so; what there are no names for yet is left out."""
        states, is_news = self._states, number >= self.at_first
        named = [raw for raw in operations if _is_named(raw)]
        if is_news:
            self._keys.append([raw["Id"] for raw in named])
        for raw in named:
            key, status = raw["Id"], raw["Status"]
            known = states.get(key)
            if known is None:
                states[key] = [number, raw]
            elif known[-1]["Status"] in TERMINAL:
                continue
            else:
                known += (number, raw)
            if is_news and status in TERMINAL:
                self.ended[key] = raw

    def latest(self, operation_id: str) -> Wire | None:
        """Give the latest that was read of an operation; None if nothing was."""
        known = self._states.get(operation_id)
        return None if known is None else known[-1]

    def at(self, operation_id: str, parts: int) -> Wire | None:
        """Give what so many parts tell of an operation; None if they tell nothing."""
        known = self._states.get(operation_id)
        if known is None or known[0] >= parts:
            return None
        found: Wire = known[-1] if known[-2] < parts else known[2 * bisect_left(known[::2], parts) - 1]
        return found

    def count(self, parts: int) -> int:
        """Give how many operations so many parts tell of."""
        return self._counts[parts]

    def ids(self, parts: int) -> Iterator[str]:
        """Give the operations that so many parts tell of, in the order in which they were first told of."""
        return iter(tuple(islice(self._states, self._counts[parts])))

    def changed(self, since: int, parts: int) -> dict[str, None]:
        """Give the operations whose status the answers from `since` on have changed, in the order of that."""
        found: dict[str, None] = {}
        for keys in self._keys[since - self.at_first : parts - self.at_first]:
            for key in keys:
                after, before = self.at(key, parts), self.at(key, since)
                if after is not None and (before is None or before["Status"] != after["Status"]):
                    found[key] = None
        return found

    def execution(self) -> Wire | None:
        """Give the operation that is the execution itself, as it was at first; nearly always the first of all."""
        first = (raw for part in self._parts[: self.at_first] for raw in as_dicts(part))
        return next((raw for raw in first if _is_named(raw) and raw["Type"] == "EXECUTION"), None)

    def is_inside(self, raw: Wire, operation_id: str) -> bool:
        """Tell whether an operation is inside a context, however deep."""
        seen = set()
        while (parent := raw.get("ParentId")) and parent not in seen:
            if parent == operation_id:
                return True
            seen.add(parent)
            around = self.latest(parent)
            if around is None:
                break
            raw = around
        return False


def _is_named(raw: Any) -> bool:
    """Whether an operation is one that there are names for. What is odd about others is for the core to say."""
    try:
        return isinstance(raw["Id"], str) and raw["Status"] in _STATUSES and raw["Type"] in _TYPES
    except (TypeError, LookupError):
        return False


class View(Mapping[str, OperationInfo]):
    """Operations by their ids, as they were after so many parts; read-only, and it changes no more.

    Args:
        told: What was told.
        parts: By so many parts.
        only: Of these operations alone.

    """

    __slots__ = ("_only", "_parts", "_told")

    def __init__(self, told: Told, parts: int, only: Collection[str] | None = None) -> None:
        self._told = told
        self._parts = parts
        self._only = only

    def __getitem__(self, operation_id: str) -> OperationInfo:
        self._told.read()
        raw = self._told.at(operation_id, self._parts)
        if raw is None or (self._only is not None and operation_id not in self._only):
            raise KeyError(operation_id)
        return info_of(OperationInfo, raw)

    def _known(self, only: Collection[str]) -> list[str]:
        return [key for key in only if self._told.at(key, self._parts) is not None]

    def __iter__(self) -> Iterator[str]:
        self._told.read()
        return self._told.ids(self._parts) if self._only is None else iter(self._known(self._only))

    def __len__(self) -> int:
        self._told.read()
        return self._told.count(self._parts) if self._only is None else len(self._known(self._only))

    def __repr__(self) -> str:
        return repr(dict(self))


def info_of(kind: type[T], raw: Wire, **other: Any) -> T:
    """Give an info of a recorded operation."""
    return made(kind, {**_fields(raw), **other})


def _fields(raw: Wire) -> dict[str, Any]:
    get = raw.get
    kind = raw["Type"]
    details: Any = get(_DETAILS.get(kind, "")) or {}
    error = details.get("Error")
    return {
        "operation_id": raw["Id"],
        "operation_type": _TYPES[kind],
        "sub_type": get("SubType") or None,
        "name": get("Name"),
        "parent_id": get("ParentId"),
        "start_time": moment(get("StartTimestamp")),
        "is_replayed": False,
        "status": _STATUSES[raw["Status"]],
        "end_time": moment(get("EndTimestamp")),
        "result": details.get("Result"),
        "error": None if error is None else ErrorObject.from_dict(error),
        "attempt": details.get("Attempt"),
    }


def moment(value: Any) -> dt.datetime | None:
    """Give a moment as the wire has it, in Unix milliseconds or as a datetime; None for none, or for an odd one."""
    if value is None or isinstance(value, dt.datetime):
        return value
    try:
        return dt.datetime.fromtimestamp(value / 1000, dt.UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
