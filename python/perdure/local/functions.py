"""The functions a service knows, their versions and aliases."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from perdure.local.machine.errors import INVALID_PARAMETER, NOT_FOUND, Fault
from perdure.local.machine.validation import function_parts

if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[[Any, Any], Any]

LATEST, LATEST_PUBLISHED = "$LATEST", "$LATEST.PUBLISHED"
LONGEST_SECONDS, LONGEST_EXECUTION_SECONDS = 900, 31_622_400
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,140}")
_VERSION = re.compile(r"[1-9][0-9]{0,17}")
_ALIAS = re.compile(r"(?![0-9]+$)[a-zA-Z0-9_-]{1,128}")


@dataclass(frozen=True, slots=True)
class Function:
    """A registered function: durable, plain, or (without a handler) answered from outside."""

    name: str
    handler: Handler | None
    durable: bool
    timeout_seconds: float | None = None
    execution_timeout: float | None = None
    retention_days: int | None = None
    version: str = LATEST


class Functions(dict[str, Function]):
    """The latest version of each function by its name, its published versions and their aliases."""

    def __init__(self) -> None:
        super().__init__()
        self._published: dict[str, dict[int, Function]] = {}
        self._aliases: dict[tuple[str, str], str] = {}

    def add(self, function: Function) -> None:
        """Take a function, or a new `$LATEST` of one; or one of its versions, in the place of what that was before."""
        if _NAME.fullmatch(function.name) is None:
            raise ValueError(f"{function.name!r} is no function name: letters, digits, - and _, at most 140.")
        for what, value, low, high in (
            ("timeout_seconds", function.timeout_seconds, 0, LONGEST_SECONDS),
            ("execution_timeout", function.execution_timeout, 0, LONGEST_EXECUTION_SECONDS),
            ("retention_days", function.retention_days, 1, 90),
        ):
            if value is not None and not (low <= value <= high and value > 0):
                raise ValueError(f"{what} of {function.name} must be from {low or 'above 0'} to {high}, not {value!r}.")
        if function.version == LATEST:
            self[function.name] = function
            return
        if _VERSION.fullmatch(function.version) is None:
            raise ValueError(f"{function.name}:{function.version} is no version: versions are whole numbers from 1.")
        self._published.setdefault(function.name, {})[int(function.version)] = function
        self.setdefault(function.name, replace(function, version=LATEST))

    def publish(self, name: str) -> str:
        """Keep the function as it is now under the next version number; return that."""
        version = str(max(self._published.get(name, ()), default=0) + 1)
        self.add(replace(self[name], version=version))
        return version

    def alias(self, name: str, alias: str, version: str) -> None:
        """Let an alias stand for a version."""
        if _ALIAS.fullmatch(alias) is None:
            raise ValueError(
                f"{name}:{alias} is no alias: letters, digits, - and _, at most 128, and not digits alone."
            )
        self.at(name, version)
        self._aliases[name, alias] = version

    def qualifiers(self, name: str) -> list[str]:
        """Return the published versions of a function, and its aliases as ``alias = version``."""
        versions = [str(version) for version in sorted(self._published.get(name, ()))]
        return versions + [f"{alias} = {version}" for (known, alias), version in self._aliases.items() if known == name]

    def at(self, name: str, version: str) -> Function:
        """Return a function at the version an execution is pinned to."""
        function = self.get(name)
        if function is None:
            raise Fault(
                NOT_FOUND,
                f"Function not found: {name}. Known are: {', '.join(sorted(self)) or 'none'}. More are registered as "
                "NAME=MODULE:HANDLER on the command line, or by LocalService.register().",
            )
        published = self._published.get(name)
        if version == LATEST:
            return function
        if not published:
            return replace(function, version=version)
        kept = published.get(int(version)) if version.isdecimal() else None
        if kept is None:
            raise Fault(NOT_FOUND, f"Function not found: {name}:{version} was not published.")
        return kept

    def resolve(self, reference: str, qualifier: str | None = None) -> Function:
        """Return what a name or an ARN stands for, the version fixed; `$LATEST.PUBLISHED` is the newest published one.

        A function of which nothing was published answers to every version and alias with what it is now.
        """
        name, own = function_parts(reference)
        if qualifier is not None and own is not None and qualifier != own:
            raise Fault(
                INVALID_PARAMETER,
                f"The qualifier in the function's name ({own}) and the one beside it ({qualifier}) differ.",
            )
        wanted = qualifier or own or LATEST
        if name not in self:
            return self.at(name, LATEST)  # which says that there is none
        if wanted == LATEST_PUBLISHED and name in self._published:
            wanted = str(max(self._published[name]))
        if wanted.isdigit() or wanted == LATEST:
            return self.at(name, wanted)
        version = self._aliases.get((name, wanted))
        if version is None and (name in self._published or any(known == name for known, _ in self._aliases)):
            raise Fault(NOT_FOUND, f"Function not found: {name}:{wanted} is neither a version nor an alias.")
        return self.at(name, version or LATEST)
