"""What a program imports that perdure does not have."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType


def notes_on_lacking(module: str, names: Iterable[str]) -> list[str]:
    """Say what is lacking of a module of perdure, and of names that are imported from it."""
    found = _module(module)
    if found is None:
        why = "it is a part of the official SDK that programs do not need, or that perdure does not have yet"
        return [f"perdure has no module {module}: {why}"]
    return [
        f"{module} has no {name}"
        for name in names
        if name != "*" and not hasattr(found, name) and _module(f"{module}.{name}") is None
    ]


@cache
def _module(name: str) -> ModuleType | None:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        return None
