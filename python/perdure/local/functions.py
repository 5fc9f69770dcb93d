"""The functions a service knows, their versions and aliases."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from perdure.local.errors import INVALID_PARAMETER, NOT_FOUND, Fault
from perdure.local.validation import function_parts

if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[[Any, Any], Any]

LATEST = "$LATEST"
LONGEST_SECONDS, LONGEST_EXECUTION_SECONDS = 900, 31_622_400
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,140}")


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
    """The latest version of each function by its name, and what `publish` has kept of earlier ones."""

    def __init__(self) -> None:
        super().__init__()
        self._published: dict[str, list[Function]] = {}
        self._aliases: dict[tuple[str, str], str] = {}

    def add(self, function: Function) -> None:
        """Take a function, or a new `$LATEST` of one."""
        if _NAME.fullmatch(function.name) is None:
            raise ValueError(f"{function.name!r} is no function name: letters, digits, - and _, at most 140.")
        for what, value, low, high in (
            ("timeout_seconds", function.timeout_seconds, 0, LONGEST_SECONDS),
            ("execution_timeout", function.execution_timeout, 0, LONGEST_EXECUTION_SECONDS),
            ("retention_days", function.retention_days, 1, 90),
        ):
            if value is not None and not (low <= value <= high and value > 0):
                raise ValueError(f"{what} of {function.name} must be from {low or 'above 0'} to {high}, not {value!r}.")
        self[function.name] = function

    def publish(self, name: str) -> str:
        """Keep the function as it is now under the next version number; return that."""
        versions = self._published.setdefault(name, [])
        version = str(len(versions) + 1)
        versions.append(replace(self[name], version=version))
        return version

    def alias(self, name: str, alias: str, version: str) -> None:
        """Let an alias stand for a version."""
        self.at(name, version)
        self._aliases[name, alias] = version

    def at(self, name: str, version: str) -> Function:
        """Return a function at the version an execution is pinned to."""
        function = self.get(name)
        if function is None:
            raise Fault(
                NOT_FOUND,
                f"Function not found: {name}. Known are: {', '.join(sorted(self)) or 'none'}. More are registered as "
                "NAME=MODULE:HANDLER on the command line, or by LocalService.register().",
            )
        published = self._published.get(name, [])
        if version == LATEST:
            return function
        if not published:
            return replace(function, version=version)
        number = int(version)
        if not 1 <= number <= len(published):
            raise Fault(NOT_FOUND, f"Function not found: {name}:{version} was not published.")
        return published[number - 1]

    def resolve(self, reference: str, qualifier: str | None = None) -> Function:
        """Return what a name or an ARN stands for, the version fixed.

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
        if wanted.isdigit() or wanted == LATEST:
            return self.at(name, wanted)
        version = self._aliases.get((name, wanted))
        if version is None and (name in self._published or any(known == name for known, _ in self._aliases)):
            raise Fault(NOT_FOUND, f"Function not found: {name}:{wanted} is neither a version nor an alias.")
        return self.at(name, version or LATEST)
