"""Which plugins listen to what, and how they are called: one after the other, and what one raises harms nobody."""

from __future__ import annotations

from _thread import get_ident
from typing import TYPE_CHECKING, Any

from perdure._log import Log
from perdure.plugin import DurableInstrumentationPlugin

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

logger = Log("perdure")

_HOOKS = tuple(name for name in vars(DurableInstrumentationPlugin) if not name.startswith("_"))


class Listeners:
    """The hooks of plugins, in their order; a hook that a plugin does not override is nobody's.

    Args:
        plugins: They.

    """

    __slots__ = ("_methods", "_within")

    def __init__(self, plugins: Iterable[DurableInstrumentationPlugin]) -> None:
        plugins = list(plugins)
        self._methods: dict[str, list[Callable[[Any], Any]]] = {}
        for name in _HOOKS:
            own = vars(DurableInstrumentationPlugin)[name]
            methods = [getattr(plugin, name) for plugin in plugins]
            self._methods[name] = [method for method in methods if getattr(method, "__func__", None) is not own]
        # Threads that are in a hook.
        self._within: set[int] = set()

    def any_of(self, hooks: Collection[str]) -> bool:
        """Whether somebody listens to one of these hooks."""
        return any(self._methods[name] for name in hooks)

    def is_within(self) -> bool:
        """Whether this thread is in a hook."""
        return get_ident() in self._within

    def tell(self, hook: str, info: Any) -> None:
        """Call a hook. What is no `Exception` is raised, and nobody after that is called."""
        within, thread = self._within, get_ident()
        is_outermost = thread not in within
        within.add(thread)
        try:
            for method in self._methods[hook]:
                try:
                    method(info)
                except Exception as error:  # noqa: BLE001  whatever a plugin raises is logged
                    _log(hook, method, error)
        finally:
            if is_outermost:
                within.discard(thread)

    def ask(self, hook: str, info: Any) -> list[Any]:
        """Call a hook; give what each plugin answers, None where it failed."""
        within, thread = self._within, get_ident()
        is_outermost = thread not in within
        within.add(thread)
        answers = []
        try:
            for method in self._methods[hook]:
                try:
                    answers.append(method(info))
                except Exception as error:  # noqa: BLE001  whatever a plugin raises is logged
                    _log(hook, method, error)
                    answers.append(None)
        finally:
            if is_outermost:
                within.discard(thread)
        return answers

    def tell_all(self, hook: str, info: Any) -> BaseException | None:
        """Call a hook of every plugin, whatever those before it raise; give the last that is no `Exception`."""
        within, thread = self._within, get_ident()
        within.add(thread)
        last = None
        try:
            for method in self._methods[hook]:
                try:
                    method(info)
                except BaseException as raised:  # noqa: BLE001  told to the caller, or logged
                    _log(hook, method, raised)
                    last = last if isinstance(raised, Exception) else raised
        finally:
            within.discard(thread)
        return last


def _log(hook: str, method: Any, error: BaseException) -> None:
    logger.error("the hook %s of the plugin %r failed", hook, getattr(method, "__self__", method), exc_info=error)
