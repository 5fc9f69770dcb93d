"""Which plugins a handler has: those of ``plugins=``, then those that the environment names.

``DURABLE_EXECUTION_PLUGINS=otel,audit`` names entry points of the group ``aws_durable_execution.plugins``, in which
packages register their factories.

Packages that were made for the official SDK import its modules. Named in the environment, they find perdure's in their
place (see `perdure.compat`); one that found the official ones is refused, since it would not know perdure's classes.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable
from importlib import metadata
from typing import TYPE_CHECKING, Any

from perdure import _aliases
from perdure._log import Log
from perdure.exceptions import PluginLoadError
from perdure.plugin import DurableInstrumentationPluginFactory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = [
    "PLUGIN_ENTRY_POINT_GROUP",
    "PLUGIN_ENVIRONMENT_VARIABLE",
    "DurableInstrumentationPluginFactory",
    "PluginLoadError",
    "load_configured_plugins",
]

PLUGIN_ENTRY_POINT_GROUP = "aws_durable_execution.plugins"
PLUGIN_ENVIRONMENT_VARIABLE = "DURABLE_EXECUTION_PLUGINS"

_logger = Log(__name__)

_MARKER = "__durable_registration_api__"
_VERSION = 1
_OFFICIAL = "aws-durable-execution-sdk-python"
_SHAPE = "an object with a method create_plugin(info) that gives a DurableInstrumentationPlugin"


def load_configured_plugins(
    explicit_plugins: Sequence[DurableInstrumentationPluginFactory] | None,
    *,
    environment: Mapping[str, str] | None = None,
) -> list[DurableInstrumentationPluginFactory]:
    """Give the factories of a handler, after a check that each is one and that they go together.

    Args:
        explicit_plugins: Those of ``plugins=``.
        environment: Where to look for names; by default the environment of the process.

    Raises:
        PluginLoadError: One is no factory, cannot be found or imported, or excludes another.

    """
    named = _names((os.environ if environment is None else environment).get(PLUGIN_ENVIRONMENT_VARIABLE, ""))
    if not named and not explicit_plugins:
        return []
    if explicit_plugins is not None and not isinstance(explicit_plugins, Iterable):
        raise PluginLoadError(f"plugins= takes a list of plugin factories, not {_described(explicit_plugins)}.")
    candidates: list[Any] = list(explicit_plugins or ())
    try:
        _check_factories(candidates)
        _load_named(named, candidates)
        _check_groups(candidates)
    except BaseException:
        _tell(candidates, registered=False)
        raise
    _tell(candidates, registered=True)
    return candidates


def _names(value: str) -> list[str]:
    if not value.strip():
        return []
    names = [name.strip() for name in value.split(",")]
    if not all(names):
        raise PluginLoadError(
            f"{PLUGIN_ENVIRONMENT_VARIABLE} is {value!r}: names of plugins with commas between them are expected."
        )
    for name in names:
        if names.count(name) > 1:
            raise PluginLoadError(f"{PLUGIN_ENVIRONMENT_VARIABLE} names {name!r} twice: leave one of them out.")
    return names


# ---- factories


def _is_factory(value: object) -> bool:
    """Whether it has a `create_plugin` that can be called with an info alone. Nothing of it is called."""
    create = getattr(value, "create_plugin", None)
    if not callable(create):
        return False
    if isinstance(value, type) and inspect.isfunction(create):
        return isinstance(inspect.getattr_static(value, "create_plugin"), staticmethod) and _takes_one(create)
    return _takes_one(create)


def _check_factories(explicit: list[Any]) -> None:
    for position, factory in enumerate(explicit):
        if not _is_factory(factory):
            raise PluginLoadError(
                f"plugins[{position}] is {_described(factory)}, and must be a plugin factory: {_SHAPE}. Give an "
                f"instance of the factory; neither the factory's class, nor a plugin or its class, nor a function."
            )
        module = _class_of(factory).__module__
        if _aliases.uses_official(module):
            raise PluginLoadError(
                f"plugins[{position}] is {_described(factory)}, and {module} has imported the official SDK, whose "
                f"classes perdure's are not. Import perdure.compat before it."
            )


def _takes_one(function: Any) -> bool:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of a function written in C, perhaps, which may well take one
        return True
    try:
        signature.bind(None)
    except TypeError:
        return False
    return True


def _described(value: object) -> str:
    if isinstance(value, type):
        return f"the class {_qualified(value)}"
    if callable(value) and hasattr(value, "__qualname__"):
        return f"the function {_qualified(value)}"
    return f"an instance of {_qualified(type(value))}"


def _qualified(named: Any) -> str:
    return f"{getattr(named, '__module__', '?')}.{getattr(named, '__qualname__', '?')}"


# ---- entry points


def _load_named(names: list[str], candidates: list[Any]) -> None:
    """Add the factories of these names; one that is there already is not added again."""
    found = [(name, _entry_point(name)) for name in names]
    for name, entry_point in found:
        factory = _load(name, entry_point)
        if any(factory is known for known in candidates):
            _logger.warning("The plugin %r of %s is registered already", name, PLUGIN_ENVIRONMENT_VARIABLE)
        else:
            candidates.append(factory)


def _entry_point(name: str) -> metadata.EntryPoint:
    found = list(metadata.entry_points(group=PLUGIN_ENTRY_POINT_GROUP, name=name))
    if not found:
        installed = sorted({entry.name for entry in metadata.entry_points(group=PLUGIN_ENTRY_POINT_GROUP)})
        raise PluginLoadError(
            f"{PLUGIN_ENVIRONMENT_VARIABLE} names {name!r}, and no package here registers a plugin of that name. "
            f"Installed are: {', '.join(installed) or 'none'}. Put its package into the function's artifact or a layer."
        )
    if len(found) > 1:
        raise PluginLoadError(
            f"{PLUGIN_ENVIRONMENT_VARIABLE} names {name!r}, which several packages register: "
            f"{', '.join(map(_distribution, found))}. Leave one of them out."
        )
    return found[0]


def _distribution(entry_point: metadata.EntryPoint) -> str:
    return entry_point.dist.name if entry_point.dist is not None else "a package without a name"


def _is_for_official(entry_point: metadata.EntryPoint) -> bool:
    """Whether its package imports the official SDK, by what it requires."""
    requirements = (entry_point.dist.requires if entry_point.dist is not None else None) or ()
    names = (requirement.partition(";")[0].strip() for requirement in requirements)
    return any(name.startswith(_OFFICIAL) and name[len(_OFFICIAL) :][:1] in " <>=!~[(" for name in names)


def _load(name: str, entry_point: metadata.EntryPoint) -> Any:
    try:
        if _is_for_official(entry_point):
            _aliases.install()
        factory = entry_point.load()
    except Exception as error:
        raise PluginLoadError(
            f"The plugin {name!r} ({entry_point.value}, of {_distribution(entry_point)}) cannot be imported: {error}"
        ) from error
    if not _is_factory(factory):
        raise PluginLoadError(
            f"The plugin {name!r} is {_described(factory)}, and must be a plugin factory: {_SHAPE}. Its entry point "
            f"has to name an instance of the factory."
        )
    return factory


# ---- what a factory's class says of its registration


def _class_of(factory: object) -> type:
    return factory if isinstance(factory, type) else type(factory)


def _contract(cls: type) -> type | None:
    """Give the first class, in the order of inheritance, that says a version; None unless it is ours."""
    owner = next((base for base in cls.__mro__ if _MARKER in vars(base)), None)
    return owner if owner is not None and _is_ours(owner) else None


def _is_ours(cls: type) -> bool:
    version = vars(cls).get(_MARKER)
    return type(version) is int and version == _VERSION


def _groups(cls: type) -> Iterator[str]:
    """Give the exclusive groups that a class is in, by itself and by its bases."""
    if _contract(cls) is None:
        return
    seen = set()
    for base in cls.__mro__:
        group = vars(base).get("exclusive_group") if _is_ours(base) else None
        if group is None:
            continue
        if not isinstance(group, str) or not group:
            raise PluginLoadError(
                f"The plugin factory {_qualified(cls)} has the exclusive_group {group!r}: a text or None is expected."
            )
        if group not in seen:
            seen.add(group)
            yield group


def _check_groups(factories: list[Any]) -> None:
    taken: dict[str, type] = {}
    for cls in map(_class_of, factories):
        for group in _groups(cls):
            other = taken.get(group)
            if other is cls:
                raise PluginLoadError(
                    f"The plugin factory {_qualified(cls)} is registered twice, and its group {group!r} takes one: "
                    f"leave one of them out."
                )
            if other is not None:
                raise PluginLoadError(
                    f"The plugin factories {_qualified(other)} and {_qualified(cls)} exclude each other (group "
                    f"{group!r}). Keep one of them, in plugins= or {PLUGIN_ENVIRONMENT_VARIABLE}."
                )
            taken[group] = cls


def _tell(factories: list[Any], *, registered: bool) -> None:
    """Tell each factory that wants to know whether the handler has it. What they raise is logged."""
    for factory in {id(factory): factory for factory in factories}.values():
        try:
            callback = _callback(factory)
            if callback is not None:
                callback(registered)
        except Exception:
            _logger.exception("A plugin factory failed when it was told of its registration")


def _callback(factory: Any) -> Any:
    """Give the method of the class that says a version; what a subclass without one calls so is something else."""
    cls = _class_of(factory)
    owner = _contract(cls)
    for base in owner.__mro__ if owner is not None else ():
        if "on_registration_result" in vars(base):
            method = vars(base)["on_registration_result"]
            if hasattr(method, "__get__"):
                method = method.__get__(None if factory is cls else factory, cls)
            return method if callable(method) else None
    return None
