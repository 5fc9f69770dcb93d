"""The operations of a workflow as data, whose outcomes are values or errors of some kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.both_sdks import USER

if TYPE_CHECKING:
    from support.both_sdks import Stage


class OutOfStock(Exception):  # noqa: N818 - users name theirs as they like
    """A user's own error."""


@dataclass(frozen=True)
class Fail:
    """An outcome: an error of some kind."""

    kind: str

    def throw(self, stage: Stage) -> Any:
        errors = stage.sdk.exceptions
        match self.kind:
            case "own":
                raise OutOfStock(USER + "own")
            case "quiet":
                raise OutOfStock
            case "rich":
                raise errors.InvokeError(USER + "rich", "their.Type", "data", ["line"])
            case "serdes":
                raise errors.SerDesError(USER + "serdes")
            case "validation":
                raise errors.ValidationError(USER + "validation")
            case "execution":
                raise errors.ExecutionError(USER + "execution")
            case "chained":
                try:
                    int("x")
                except ValueError as error:
                    raise KeyError(USER + "chained") from error
        raise ValueError(USER + self.kind)


@dataclass(frozen=True)
class Give:
    """An outcome: a value; `last` gives what the last operation gave, `long` a text of that length."""

    value: Any = None
    last: bool = False
    long: int = 0


Outcome = Fail | Give


@dataclass(frozen=True)
class Step:
    name: str | None
    outcome: Outcome
    failures: int = 0
    attempts: int = 1
    delay: int = 5
    at_most_once: bool = False
    serdes: str | None = None
    sub_type: str | None = None
    guarded: bool = True


@dataclass(frozen=True)
class Wait:
    name: str | None
    seconds: int
    guarded: bool = True


@dataclass(frozen=True)
class Ask:
    """A callback, something in between, and its result."""

    name: str | None
    between: tuple[Any, ...]
    serdes: str | None = None
    guarded: bool = True


@dataclass(frozen=True)
class AskAndWait:
    """A wait_for_callback."""

    name: str | None
    submitter: Outcome
    failures: int = 0
    serdes: str | None = None
    guarded: bool = True


@dataclass(frozen=True)
class Invoke:
    name: str | None
    function: str
    payload: Any
    tenant: str | None = None
    serdes: str | None = None
    guarded: bool = True


@dataclass(frozen=True)
class Child:
    name: str | None
    body: tuple[Any, ...]
    outcome: Outcome
    virtual: bool = False
    serdes: str | None = None
    sub_type: str | None = None
    summary: bool = False
    guarded: bool = True


@dataclass(frozen=True)
class Poll:
    """A wait_for_condition."""

    name: str | None
    polls: int
    outcome: Outcome
    limit: int = 9
    serdes: str | None = None
    guarded: bool = True


@dataclass(frozen=True)
class Branch:
    body: tuple[Any, ...]
    outcome: Outcome
    name: str | None = None


@dataclass(frozen=True)
class Batch:
    name: str | None
    parallel: bool
    branches: tuple[Branch, ...]
    concurrency: int | None = 1
    flat: bool = False
    rule: tuple[tuple[str, Any], ...] = ()
    predicate: str | None = None
    serdes: str | None = None
    item_serdes: str | None = None
    summary: bool = False
    throw: bool = False
    guarded: bool = True


@dataclass(frozen=True)
class Retry:
    """A with_retry."""

    name: str | None
    body: tuple[Any, ...]
    failures: int
    attempts: int
    wrapped: bool = True
    guarded: bool = True


@dataclass(frozen=True)
class Log:
    message: str
