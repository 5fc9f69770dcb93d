"""Times that exclude each other, and a replay that takes them in each kind of operation."""

from __future__ import annotations

import functools
import sys
import threading
import time
from statistics import median
from typing import TYPE_CHECKING, Any

from perdure import execution as _execution
from perdure.bench.replay import replaced, replay_once
from perdure.config import ParallelBranch
from perdure.context import Callback, DurableContext

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.bench.replay import Handler

YOUR_CODE, HISTORY = "your code", "history"
_SIMPLE = ("step", "wait", "create_callback", "wait_for_callback", "wait_for_condition", "invoke")


class Stopwatch:
    """Takes times that exclude each other: what is called inside counts for itself alone."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._threads: list[dict[str, list[float]]] = []

    @property
    def threads(self) -> int:
        """How many threads came by."""
        return len(self._threads)

    def timed(self, kind: str, func: Callable[..., Any]) -> Callable[..., Any]:
        """Make a function whose time counts for ``kind``."""
        clock = time.perf_counter

        @functools.wraps(func)
        def call(*arguments: Any, **keywords: Any) -> Any:
            stack = self._stack()
            frame = [0.0, 0.0]  # seconds and calls inside
            stack.append(frame)
            begin = clock()
            try:
                return func(*arguments, **keywords)
            finally:
                seconds = clock() - begin
                stack.pop()
                if stack:
                    stack[-1][0] += seconds
                    stack[-1][1] += 1
                entry = self._local.found.setdefault(kind, [0, 0.0, 0.0])
                entry[0] += 1
                entry[1] += seconds - frame[0]
                entry[2] += frame[1]

        return call

    def _stack(self) -> list[list[float]]:
        try:
            return self._local.stack  # type: ignore[no-any-return]
        except AttributeError:
            self._local.stack = []
            self._local.found = {}
            self._threads.append(self._local.found)
            return self._local.stack  # type: ignore[no-any-return]

    def totals(self) -> dict[str, tuple[int, float, float]]:
        """Give calls, seconds, and timed calls inside, by kind, over all threads."""
        totals: dict[str, tuple[int, float, float]] = {}
        for found in self._threads:
            for kind, (calls, seconds, inside) in found.items():
                before = totals.get(kind, (0, 0.0, 0.0))
                totals[kind] = (before[0] + int(calls), before[1] + seconds, before[2] + inside)
        return totals

    @staticmethod
    def medians(watches: list[Stopwatch]) -> dict[str, tuple[int, float]]:
        """Give calls and median seconds by kind, less what taking the times costs."""
        own, around = _overhead()
        totals = [watch.totals() for watch in watches]
        kinds = dict.fromkeys([HISTORY, YOUR_CODE, *(kind for total in totals for kind in total)])
        found = {}
        for kind in kinds:
            entries = [total.get(kind, (0, 0.0, 0.0)) for total in totals]
            seconds = median(max(0.0, spent - calls * own - inside * around) for calls, spent, inside in entries)
            found[kind] = (entries[-1][0], seconds)
        return found


@functools.cache
def _overhead() -> tuple[float, float]:
    """Give what one timed call adds to its own time, and what to that of the one around it."""
    own, around = [], []
    turns = 200
    for _ in range(30):
        watch = Stopwatch()
        nothing = watch.timed("nothing", lambda: None)

        def calls(nothing: Callable[..., Any] = nothing) -> None:
            for _ in range(turns):
                nothing()

        watch.timed("calls", calls)()
        totals = watch.totals()
        own.append(totals["nothing"][1] / turns)
        around.append(totals["calls"][1] / turns)
    return median(own), median(around)


def instrumented(handler: Handler, text: str) -> Stopwatch:
    """Replay once with instruments."""
    watch = Stopwatch()
    timed, invoke = watch.timed, _execution._invoke  # noqa: SLF001  our own

    def code(func: Callable[..., Any]) -> Callable[..., Any]:
        if isinstance(func, ParallelBranch):
            return ParallelBranch(timed(YOUR_CODE, func.func), func.name)
        return timed(YOUR_CODE, func)

    history = timed(HISTORY, lambda event, context, func, *rest: invoke(event, context, code(func), *rest))
    changes = [change for kind in _kinds_of_context() for change in _timed_operations(kind, timed, code)]
    with replaced(
        *changes,
        (Callback, "result", timed("callback.result", Callback.result)),
        (_execution, "_invoke", history),
    ):
        replay_once(timed(YOUR_CODE, handler), text)
    return watch


def _kinds_of_context() -> list[type[DurableContext]]:
    """Give the classes of contexts whose operations are timed, each by its own methods."""
    awaited = sys.modules.get("perdure.aio.context")  # there, if the handler is one that needs it
    return [DurableContext] if awaited is None else [DurableContext, awaited.AsyncDurableContext]


def _timed_operations(
    kind: type[DurableContext],
    timed: Callable[[str, Callable[..., Any]], Callable[..., Any]],
    code: Callable[[Callable[..., Any]], Callable[..., Any]],
) -> list[tuple[Any, str, Any]]:
    """Give what replaces the operations of a class of contexts.

    Args:
        kind: The class.
        timed: Makes a function whose time counts for something.
        code: Makes one of the user's own, whose time counts for that.

    """

    def child_context(self: DurableContext, func: Any, *rest: Any, **options: Any) -> Any:
        return in_child(self, code(func), *rest, **options)

    def mapped(self: DurableContext, inputs: Any, func: Any, *rest: Any, **options: Any) -> Any:
        return over(self, inputs, code(func), *rest, **options)

    def beside(self: DurableContext, functions: Any, *rest: Any, **options: Any) -> Any:
        return together(self, [code(func) for func in functions], *rest, **options)

    in_child = timed("run_in_child_context", kind.run_in_child_context)
    over = timed("map", kind.map)
    together = timed("parallel", kind.parallel)
    return [
        *((kind, name, timed(name, kind.__dict__[name])) for name in _SIMPLE),
        (kind, "run_in_child_context", child_context),
        (kind, "map", mapped),
        (kind, "parallel", beside),
    ]
