"""Modules of the official SDK that are perdure's under another name; see `perdure.compat`."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

_NAMES = (
    ("aws_durable_execution_sdk_python_testing", "perdure.testing"),
    ("aws_durable_execution_sdk_python", "perdure"),
)
_MOST = 5


class CompatError(ImportError):
    """The official SDK's names cannot mean perdure any more: it was imported itself before."""


class _Alias:
    """Loads a module that is there under another name; the module itself stays as it is."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, _spec: ModuleSpec) -> ModuleType:
        """Give the module, to which the import system ascribes the spec of its other name."""
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own spec back."""
        module.__spec__ = self._spec


class _Finder:
    """Finds perdure's modules under the official names."""

    def find_spec(
        self,
        fullname: str,
        _path: Sequence[str] | None = None,
        _target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Find a module.

        Raises:
            ModuleNotFoundError: For an official module that perdure has none for.

        """
        ours = _translated(fullname)
        if ours is None:
            return None
        if ours not in sys.modules and find_spec(ours) is None:
            raise ModuleNotFoundError(
                f"there is no module {ours}, and {fullname} means that here, by perdure.compat. It is a part of the "
                "official SDK that programs do not need, or that perdure does not have yet",
                name=fullname,
            )
        module = import_module(ours)
        alias: Any = _Alias(module)
        return ModuleSpec(fullname, alias, is_package=hasattr(module, "__path__"))


_finder = _Finder()


def install() -> None:
    """Let the official SDK's imports mean perdure from now on; once is enough, and importing this module does it.

    Raises:
        CompatError: If the official SDK itself was imported before.

    """
    official = [name for name, ours in _imported() if sys.modules[name] is not sys.modules.get(ours)]
    if official:
        raise CompatError(_too_late(official))
    if not is_installed():
        sys.meta_path.insert(0, _finder)


def uninstall() -> None:
    """Let the official SDK's imports mean that SDK again. What was imported meanwhile stays what it is."""
    if is_installed():
        sys.meta_path.remove(_finder)
        for name, ours in list(_imported()):
            if sys.modules[name] is sys.modules.get(ours):
                del sys.modules[name]


def is_installed() -> bool:
    """Tell whether the official SDK's imports mean perdure."""
    return _finder in sys.meta_path


def uses_official(name: str) -> bool:
    """Tell whether a module has something of the official SDK itself among its names.

    Of a package that was made for that SDK, whether any of its modules has.
    """
    package = name.partition(".")[0]
    if not package.startswith(f"{_NAMES[-1][0]}_"):
        return _uses_official(name, sys.modules.get(name))
    return any(
        _uses_official(other, module)
        for other, module in list(sys.modules.items())
        if other.partition(".")[0] == package
    )


def _translated(name: str) -> str | None:
    """Give what a module of the official SDK is called here; None for any other module."""
    for official, ours in _NAMES:
        if name == official or name.startswith(f"{official}."):
            return ours + name[len(official) :]
    return None


def _imported() -> Iterator[tuple[str, str]]:
    """Go through the modules that were imported by official names; give the names and what they are called here."""
    for name, module in list(sys.modules.items()):
        if module is not None and (ours := _translated(name)) is not None:
            yield name, ours


def _too_late(official: list[str]) -> str:
    """Say that the official SDK was imported before, by whom, and what to do."""
    users = {id(module): name for name, module in list(sys.modules.items()) if _uses_official(name, module)}
    named = sorted(users.values())
    by = f" (by {', '.join(named[:_MOST])}{', …' if len(named) > _MOST else ''})" if named else ""
    return (
        f"{min(official, key=len)} was imported before perdure.compat{by}, so that its names cannot mean perdure any "
        "more: classes of both would meet. Import perdure.compat first, at the top of the module that the program "
        "starts with (in tests: conftest.py, or pytest --perdure-compat), or set PERDURE_COMPAT=1 in the environment"
    )


def _uses_official(name: str, module: ModuleType | None) -> bool:
    """Tell whether a module that is none of its own has something of the official SDK among its names."""
    if module is None or _translated(name) is not None:
        return False
    for value in list(getattr(module, "__dict__", {}).values()):
        home = getattr(value, "__name__", None) if type(value) is type(sys) else getattr(value, "__module__", None)
        if isinstance(home, str) and _translated(home) is not None:
            return True
    return False
