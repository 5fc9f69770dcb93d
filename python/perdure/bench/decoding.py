"""The payloads that a replay reads with the default serdes, and what reading them takes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from perdure._core import RECORDED, Batch, Operation, Ready, decode_extended, decode_json, typed_of
from perdure.bench.measurement import Times
from perdure.bench.replay import Guard, replaced, replay_once
from perdure.context import DurableContext
from perdure.engine.operations import batch as _executor

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.bench.replay import Handler

    Payloads = dict[str, list[tuple[Callable[[Any], Any], str]]]


class _WatchedScope:
    """A scope that hands out payloads unread, notes them, and reads them then."""

    __slots__ = ("_is_awaited", "_scope", "_seen")

    def __init__(self, scope: Any, seen: Payloads, is_awaited: bool) -> None:
        self._scope = scope
        self._seen = seen
        self._is_awaited = is_awaited

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scope, name)

    def step(
        self, name: Any, of: Any = None, sub_type: str = "Step", at_most_once: bool = False, raw: bool = False
    ) -> Any:
        found = self._scope.step(name, None, sub_type, at_most_once, True)
        read = self._read("step", found, raw, decode_extended, of)
        return Ready(read) if self._is_awaited and type(read) is not Operation else read

    def condition(self, name: Any, raw: bool = False, of: Any = None) -> Any:
        return self._read("wait_for_condition", self._scope.condition(name, True), raw, decode_extended, of)

    def invoke(self, name: Any, raw: bool = False, of: Any = None) -> Any:
        return self._read("invoke", self._scope.invoke(name, True), raw, decode_json, of)

    def child(self, name: Any, sub_type: str, raw: bool = False, of: Any = None) -> Any:
        found = self._scope.child(name, sub_type, True)
        return self._read(_CONTEXTS.get(sub_type, "run_in_child_context"), found, raw, decode_extended, of)

    def batch(self, name: Any, sub_type: str, raw: bool = False, of: Any = None) -> Any:
        return self._read(_CONTEXTS[sub_type], self._scope.batch(name, sub_type, True), raw, decode_extended, of)

    def schedule(self, *given: Any) -> Any:
        """Make the schedule of a batch in this context."""
        make: Any = Batch
        *most, sub_type, _raw = given
        kind = _CONTEXTS.get(sub_type, "")
        return _WatchedBatch(
            make(self._scope, *most, sub_type, True), lambda found: self._read(kind, found, _raw, decode_extended)
        )

    def _read(self, kind: str, found: Any, raw: bool, decode: Callable[[Any], Any], of: Any = None) -> Any:
        if raw or type(found) is not Operation or found.decision != RECORDED:
            return found
        payload = found.payload
        if payload is None:
            return None
        typed = typed_of(of)
        read = decode if typed is None else lambda text: typed.read(decode(text))
        self._seen.setdefault(kind, []).append((read, payload))
        return read(payload)


class _WatchedBatch:
    """A schedule that does the same with what is recorded of branches."""

    __slots__ = ("_batch", "_read")

    def __init__(self, batch: Any, read: Callable[[Any], Any]) -> None:
        self._batch = batch
        self._read = read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def come(self, index: int) -> Any:
        return self._read(self._batch.come(index))


_CONTEXTS = {
    "Map": "map",
    "MapIteration": "map",
    "Parallel": "parallel",
    "ParallelBranch": "parallel",
    "WaitForCallback": "wait_for_callback",
}


def payloads_read(handler: Handler, text: str) -> tuple[Payloads, int]:
    """Give the payloads that a replay reads, by kind, and how many invocations of perdure's there were."""
    seen: Payloads = {}
    slot = DurableContext.__dict__["scope"]
    watched = property(lambda self: _WatchedScope(slot.__get__(self), seen, self.takes_async), slot.__set__)
    guard = Guard()

    def schedule(scope: Any, *given: Any) -> Any:
        return scope.schedule(*given)

    with replaced((DurableContext, "scope", watched), (_executor, "Batch", schedule)):
        replay_once(handler, text, guard)
    return seen, guard.invocations


def decoding_time(payloads: list[tuple[Callable[[Any], Any], str]], rounds: int) -> float:
    """Give the median seconds that reading all of these takes."""
    if not payloads:
        return 0.0
    times = Times()
    for _ in range(min(rounds, 20)):
        begin = time.perf_counter()
        for decode, payload in payloads:
            decode(payload)
        times.samples.append(time.perf_counter() - begin)
    return times.median
