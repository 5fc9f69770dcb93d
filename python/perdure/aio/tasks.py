"""The tasks of an invocation: those that go on, and what is remembered of those that have ended."""

from __future__ import annotations

import sys
from asyncio import CancelledError
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any
from weakref import ref

from perdure._core import Scope, at_work_in

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Iterator

    from perdure.aio.beginnings import Beginnings

LEFT = "left behind, since what it was to decide is decided"
"""Why a task is cancelled whose operations nobody waits for any more: that is recorded, and need not be told of."""

_TELLS_NO_CONTEXT = sys.version_info < (3, 12)
"""Whether tasks do not tell in which context they run."""


class Tasks:
    """The tasks of one invocation, in the order in which they were made; ended ones are dropped in time."""

    __slots__ = ("_contexts", "_cut", "_failed", "_known", "left")

    def __init__(self) -> None:
        self._known: list[asyncio.Task[Any]] = []
        if _TELLS_NO_CONTEXT:
            self._contexts: dict[asyncio.Task[Any], Context] = {}
        self._failed: list[ref[asyncio.Task[Any]]] | None = None
        # Whose code was cut short, as far as is noted: all that have ended are not looked at before somebody asks.
        self._cut: set[Any] | None = None
        self.left: list[Scope] = []
        """The marks of tasks that were in contexts when the handler had ended."""

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        """Give them, the ended ones too that were not dropped yet."""
        return iter(self._known)

    def make(
        self, beginnings: Beginnings, create: Callable[..., Any], coroutine: Any, options: dict[str, Any]
    ) -> asyncio.Task[Any]:
        """Make a task."""
        if _TELLS_NO_CONTEXT and options.get("context") is None:
            options["context"] = copy_context()
        self._drop_last()
        task: asyncio.Task[Any] = beginnings.make(create, coroutine, options)
        if task.done():  # an eager one
            self._note_failure(task)
        else:
            known = self._known  # an eager one may have had them looked through meanwhile
            known.append(task)
            if _TELLS_NO_CONTEXT:
                self._contexts[task] = options["context"]
            if len(known) & 1023 == 0:
                self._drop_ended()
        return task

    def add_first(self, task: asyncio.Task[Any]) -> None:
        """Note the task that all others come from, unless it was noted when it was made."""
        if task not in self._known:
            self._known.insert(0, task)

    def is_any(self) -> bool:
        """Whether any goes on."""
        if self._known:
            self._drop_last()
        return bool(self._known)

    def are_several(self) -> bool:
        """Whether more than one goes on."""
        self._drop_last()
        if len(self._known) > 1:
            self._drop_ended()
        return len(self._known) > 1

    def are_in_contexts(self) -> bool:
        """Whether any goes on in a child context or a branch: had it come further by now, it would be waited for."""
        going = (task for task in self._known if not task.done() and not task.cancelling())
        return any((scope := self._inner_scope_of(task)) is not None and scope.is_alive() for task in going)

    def _inner_scope_of(self, task: asyncio.Task[Any]) -> Scope | None:
        """Give the scope of the child context or branch that a task is in, if it is in one."""
        mark = at_work_in(self.context_of(task))
        return mark if type(mark) is Scope and mark.operation_id is not None else None

    def context_of(self, task: asyncio.Task[Any]) -> Context:
        """Give the context variables that a task runs with."""
        if _TELLS_NO_CONTEXT:
            return self._contexts.get(task) or copy_context()
        get_context: Callable[[], Context] | None = getattr(task, "get_context", None)
        return copy_context() if get_context is None else get_context()

    def note_cut(self, mark: Any) -> None:
        """Hear that the code of a context, or an operation's function, was cut short: on replay it may stand elsewhere.

        Args:
            mark: Whose it was (`perdure._core.at_work`).

        """
        if self._cut is None:
            self._cut = set()
        self._cut.add(mark)

    def note_left(self, tasks: Iterable[asyncio.Task[Any]]) -> None:
        """Hear that the handler has ended without tasks: the code of contexts that they are in stands anywhere."""
        self.left += [scope for task in tasks if (scope := self._inner_scope_of(task)) is not None]

    def cut(self) -> Iterable[Any]:
        """Give the marks of tasks that were cut short, by `cancel` or a time limit."""
        self._note_cut(self._known)
        return self._cut or ()

    def hush_failures(self) -> None:
        """Have nobody told that nobody has asked for a task's failure: the code that would have runs again."""
        self._drop_ended()
        for reference in self._failed or ():
            if (task := reference()) is not None:
                forget(task)

    def _drop_last(self) -> None:
        """Drop those at the end of the list that have ended: so each is dropped once."""
        known = self._known
        while known and known[-1].done():
            ended = known.pop()
            if ended.cancelled():
                self._note_cut((ended,))
            else:
                self._note_failure(ended)
            if _TELLS_NO_CONTEXT:
                self._contexts.pop(ended, None)

    def _drop_ended(self) -> None:
        # A task may be made amid this: one that ends an asynchronous generator, which is collected then.
        known, self._known = self._known, []
        self._note_cut(known)
        going: list[asyncio.Task[Any]] = []
        for task in known:
            if not task.done():
                going.append(task)
                continue
            self._note_failure(task)
            if _TELLS_NO_CONTEXT:
                self._contexts.pop(task, None)
        self._known[:0] = going

    def _note_failure(self, task: asyncio.Task[Any]) -> None:
        """Take down a task that has failed, and that nobody has asked yet what it came to."""
        if task._log_traceback:  # noqa: SLF001  asyncio itself says so in this way
            if self._failed is None:
                self._failed = []
            self._failed.append(ref(task))

    def _note_cut(self, tasks: Iterable[asyncio.Task[Any]]) -> None:
        for task in tasks:
            if _is_cut(task):
                self.note_cut(at_work_in(self.context_of(task)))


def _is_cut(task: asyncio.Task[Any]) -> bool:
    """Whether a task was cancelled, or is about to be, and not for having been left behind."""
    if not task.cancelled():
        return not task.done() and task.cancelling() > 0
    try:
        task.exception()
    except CancelledError as cancelled:
        return cancelled.args != (LEFT,)
    return False


def forget(future: asyncio.Future[Any]) -> None:
    """Ask for what a task has come to, so that nobody is told that nobody has."""
    if not future.cancelled():
        future.exception()
