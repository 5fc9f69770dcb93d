"""Calls to the service that have failed: which are made again, after what pauses, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from perdure.engine.retry_after import asked_to_wait
from perdure.engine.time_left import steady
from perdure.exceptions import BotoClientError, ExecutionError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
"""Seconds before a throttled or lost call is repeated: at first, and at most."""

_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500


class Means(NamedTuple):
    """By what calls are repeated.

    Args:
        patience: Gives the seconds that it may take, asked once.
        most: How many calls there may be, the first included; None for any number.
        draw: Gives a number from 0 up to 1, which spreads the calls.
        nap: Waits so many seconds.

    """

    patience: Callable[[], float]
    most: int | None
    draw: Callable[[], float]
    nap: Callable[[float], None]


def repeat(
    call: Callable[[], T], kind: type[BotoClientError], error: Exception, handled: BaseException | None, means: Means
) -> T:
    """Repeat a throttled or lost call while the invocation's time allows.

    Args:
        call: Makes it.
        kind: What its failure is raised as.
        error: What it has raised.
        handled: What was being handled around it, which whatever it raises has as its context.
        means: How.

    """
    pause, until, calls = FIRST_PAUSE, None, 1
    try:
        while True:
            _raise_exhaustion(error, handled)
            now = steady()
            delay = max(pause * (0.5 + means.draw() / 2), asked_to_wait(error))
            until = now + means.patience() if until is None else until
            if not _is_passing(error) or calls == means.most or now + delay > until:
                if isinstance(error, (kind, ExecutionError)):  # classified already, or an odd answer
                    raise error
                raise kind.from_exception(error) from error
            means.nap(delay)
            pause, calls = min(pause * 2, LONGEST_PAUSE), calls + 1
            try:
                return call()
            except Exception as again:  # noqa: BLE001  classified above
                error = again
    finally:
        del error, handled  # whose tracebacks hold this frame


def _raise_exhaustion(error: BaseException, handled: BaseException | None) -> None:
    """Raise the `RecursionError` behind a failed call, if there is one.

    It is the caller's stack that was at its end, and no trouble of the call, though HTTP clients raise it as one.
    """
    cause: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if cause is None or cause is handled:
            return
        if isinstance(cause, RecursionError):
            raise cause
        cause = cause.__cause__ or cause.__context__


_MOST_CAUSES = 50
"""How far back causes are looked through, which may go round."""


def _is_passing(error: Exception) -> bool:
    """Whether the same call may succeed a moment later: throttling, the service's own trouble, a lost connection."""
    response = getattr(error, "response", None)
    if isinstance(error, BotoClientError):
        if error.response_metadata is None:
            return error.is_retryable()
        response = {"Error": error.error, "ResponseMetadata": error.response_metadata}
    if isinstance(response, dict):
        said, metadata = response.get("Error"), response.get("ResponseMetadata")
        code = said.get("Code") if isinstance(said, dict) else None
        status = metadata.get("HTTPStatusCode") if isinstance(metadata, dict) else None
        if (isinstance(code, str) and code.startswith("KMS")) or not isinstance(status, int):
            return False
        return status == _TOO_MANY_REQUESTS or status >= _SERVER_ERROR
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    return any(base.__module__ == "botocore.exceptions" and base.__name__ in _LOST for base in type(error).__mro__)


_LOST = frozenset({"HTTPClientError", "ConnectionError"})
