"""The limits the service holds an execution to, each of which a test or a bench can lift."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * 1024
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Limits:
    """What one execution and one call may weigh; None lifts a limit.

    `shapes` switches the checks of patterns, lengths and ranges of the service model, `strict` the rule that is
    stricter than what is known of the service: an operation that was never started cannot be completed. The rules of
    the protocol themselves always hold.

    A payload may have `payload_bytes`, whatever operation it is of, and the answer to a callback, too. That of an
    EXECUTION is a result, which may be as large as a response.

    What is more than `event_bytes` of an execution's state is left out of the event, and read in pages of at most
    `response_bytes`, which no result of a handler may exceed either. That of an execution which nobody waits for, since
    an `Event` or a chained invoke began it, may not exceed `async_result_bytes`.
    """

    operations: int | None = 3_000
    written_bytes: int | None = 100 * MIB
    duration_seconds: int | None = 366 * DAY
    payload_bytes: int | None = 1 * MIB
    error_bytes: int | None = 32 * KIB
    batch_updates: int | None = 250
    batch_bytes: int | None = 750 * KIB
    event_bytes: int | None = 6 * MIB
    response_bytes: int | None = 6 * MIB
    async_result_bytes: int | None = 1 * MIB
    shapes: bool = True
    strict: bool = True

    @classmethod
    def off(cls) -> Limits:
        """Return limits that limit nothing."""
        return cls(None, None, None, None, None, None, None, None, None, None, shapes=False, strict=False)
