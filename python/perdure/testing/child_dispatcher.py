"""The functions that a durable function may invoke, as `WebRunnerConfig` is told of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from perdure.local.machine.validation import function_parts

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DEFAULT_CHILD_EXECUTION_TIMEOUT_SECONDS",
    "DEFAULT_CHILD_RETENTION_PERIOD_DAYS",
    "FunctionConfig",
    "FunctionConfigs",
]

DEFAULT_CHILD_EXECUTION_TIMEOUT_SECONDS = 120
"""How long an execution of an invoked function may take, where its configuration does not say."""

DEFAULT_CHILD_RETENTION_PERIOD_DAYS = 1
"""How long it is kept, likewise."""

_FILE = "file://"


@dataclass(frozen=True)
class FunctionConfig:
    """How a function is configured.

    Args:
        is_durable: Whether it is a durable function.
        execution_timeout_seconds: Of its executions.
        retention_period_days: How long they are kept.

    """

    is_durable: bool
    execution_timeout_seconds: int = DEFAULT_CHILD_EXECUTION_TIMEOUT_SECONDS
    retention_period_days: int = DEFAULT_CHILD_RETENTION_PERIOD_DAYS


@dataclass(frozen=True)
class FunctionConfigs:
    """Functions by their names, which may have a qualifier.

    Args:
        by_name: The functions.

    """

    by_name: Mapping[str, FunctionConfig]

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Read Lambda's own form: ``{"pay": {"DurableConfig": {"ExecutionTimeout": 60}}, "price": {}}``.

        Raises:
            ValueError: For what has another form.

        """
        return cls({name: _read(name, entry) for name, entry in raw.items()})

    @classmethod
    def from_value(cls, value: str) -> Self:
        """Read that form as JSON, or from the file named after ``file://``."""
        text = Path(value.removeprefix(_FILE)).read_text("utf-8") if value.startswith(_FILE) else value
        raw = json.loads(text)
        if not isinstance(raw, dict):
            raise _unreadable("The configurations of functions are a JSON object: names, and what each is.")
        return cls.from_dict(raw)

    def lookup(self, function_name: str, qualifier: str | None) -> FunctionConfig | None:
        """Give what is known by a name and qualifier, or by the name alone."""
        own = None if qualifier is None else self.by_name.get(f"{function_name}:{qualifier}")
        return own or self.by_name.get(function_name)

    def find(self, reference: str) -> FunctionConfig | None:
        """Give what is known of what a function is invoked by, a name or an ARN."""
        return self.by_name.get(reference) or self.lookup(*function_parts(reference))


def _read(name: str, entry: Any) -> FunctionConfig:
    if entry is not None and not isinstance(entry, dict):
        raise _unreadable(f"The configuration of {name!r} is to be a JSON object or null, not {entry!r}.")
    durable = (entry or {}).get("DurableConfig")
    if durable is None:
        return FunctionConfig(is_durable=False)
    if not isinstance(durable, dict):
        raise _unreadable(f"The DurableConfig of {name!r} is to be a JSON object, not {durable!r}.")
    return FunctionConfig(
        True,
        _positive(name, durable, "ExecutionTimeout", DEFAULT_CHILD_EXECUTION_TIMEOUT_SECONDS),
        _positive(name, durable, "RetentionPeriodInDays", DEFAULT_CHILD_RETENTION_PERIOD_DAYS),
    )


def _positive(name: str, durable: Mapping[str, Any], member: str, default: int) -> int:
    value = durable.get(member, default)
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise _unreadable(f"DurableConfig.{member} of {name!r} is to be a whole number above 0, not {value!r}.")
    return value


def _unreadable(message: str) -> ValueError:
    """Make the error of a configuration; a ValueError whatever is wrong, as from the official package."""
    return ValueError(message)
