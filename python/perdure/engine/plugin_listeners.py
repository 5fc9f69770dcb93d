"""Which plugins listen to what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure._core import Listeners
from perdure._log import Log
from perdure.plugin import DurableInstrumentationPlugin

if TYPE_CHECKING:
    from collections.abc import Iterable

logger = Log("perdure")

_HOOKS = tuple(name for name in vars(DurableInstrumentationPlugin) if not name.startswith("_"))


def listeners_of(plugins: Iterable[DurableInstrumentationPlugin]) -> Listeners:
    """Give the hooks of plugins, in their order; a hook that a plugin does not override is nobody's."""
    plugins = list(plugins)
    methods: dict[str, list[Any]] = {}
    for name in _HOOKS:
        own = vars(DurableInstrumentationPlugin)[name]
        bound = [getattr(plugin, name) for plugin in plugins]
        methods[name] = [method for method in bound if getattr(method, "__func__", None) is not own]
    return Listeners(methods, _log)


def _log(hook: str, method: Any, error: BaseException) -> None:
    logger.error("the hook %s of the plugin %r failed", hook, getattr(method, "__self__", method), exc_info=error)
