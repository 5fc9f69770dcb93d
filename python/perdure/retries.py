"""When to try again after a failure: strategies for steps, and `with_retry` for whole blocks of operations.

A strategy is any function of the exception and the number of attempts made (from 1 on) that gives a `RetryDecision`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from perdure import _core
from perdure._duration import Duration, DurationLike, duration_seconds, normalise_durations, seconds_field
from perdure._functions import ask, check_function, refuse_awaitable
from perdure._jitter import JitterStrategy, Numeric, jitter_of
from perdure._retry_decision import RetryDecision, message_of
from perdure.exceptions import NonDeterministicExecutionError, SuspendExecution, WrongContextError

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Generator
    from typing import Protocol

    from perdure._duration import DurationField
    from perdure.config import ChildConfig

    class _Context(Protocol):
        """What `with_retry` asks of a context, whose operations give values or are awaited."""

        @property
        def run_in_child_context(self) -> Any: ...

        @property
        def wait(self) -> Any: ...


__all__ = [
    "Duration",
    "JitterStrategy",
    "LinearRetryStrategyConfig",
    "Numeric",
    "RetryDecision",
    "RetryPresets",
    "RetryStrategyConfig",
    "SuspendExecution",
    "T",
    "WithRetryConfig",
    "create_linear_retry_strategy",
    "create_retry_strategy",
    "with_retry",
]

T = TypeVar("T")
C = TypeVar("C", bound="_Context")

RetryDecision.__module__ = __name__  # where users import it from


@dataclass
class RetryStrategyConfig:
    """Exponential backoff: ``initial_delay * backoff_rate ** (attempts made - 1)``, at most ``max_delay``, spread.

    Without ``retryable_errors`` and ``retryable_error_types`` every error is retried; with either, an error that
    matches one of them.

    Args:
        max_attempts: Attempts in all, the first one included.
        initial_delay: Before the second attempt.
        max_delay: No delay is longer.
        backoff_rate: The factor from one delay to the next.
        jitter_strategy: How delays are spread.
        retryable_errors: Texts to be found in ``str(error)``, or compiled patterns to be searched for in it.
        retryable_error_types: Exception classes.

    Example:
        >>> create_retry_strategy(RetryStrategyConfig(max_attempts=5, retryable_error_types=[TimeoutError]))

    """

    max_attempts: int = 3
    initial_delay: DurationField = seconds_field(5)  # noqa: RUF009  a dataclasses.field
    max_delay: DurationField = seconds_field(300)  # noqa: RUF009  the same
    backoff_rate: Numeric = 2.0
    jitter_strategy: JitterStrategy = JitterStrategy.FULL
    retryable_errors: list[str | re.Pattern[str]] | None = None
    retryable_error_types: list[type[Exception]] | None = None

    def __post_init__(self) -> None:
        normalise_durations(self, "initial_delay", "max_delay")
        self.jitter_strategy = jitter_of(self.jitter_strategy)

    @property
    def initial_delay_seconds(self) -> int:
        """The first delay in seconds."""
        return duration_seconds(self.initial_delay, "initial_delay")

    @property
    def max_delay_seconds(self) -> int:
        """The longest delay in seconds."""
        return duration_seconds(self.max_delay, "max_delay")


@dataclass
class LinearRetryStrategyConfig:
    """Linear backoff: ``initial_delay + increment * (attempts made - 1)``, at most ``max_delay``, spread at random.

    Args:
        max_attempts: Attempts in all, the first one included.
        initial_delay: Before the second attempt.
        increment: Added from one delay to the next.
        max_delay: No delay is longer.
        jitter_strategy: How delays are spread.
        retryable_errors: As in `RetryStrategyConfig`.
        retryable_error_types: As in `RetryStrategyConfig`.

    """

    max_attempts: int = 6
    initial_delay: DurationField = seconds_field(1)  # noqa: RUF009  a dataclasses.field
    increment: DurationField = seconds_field(1)  # noqa: RUF009  the same
    max_delay: DurationField = seconds_field(300)  # noqa: RUF009  the same
    jitter_strategy: JitterStrategy = JitterStrategy.FULL
    retryable_errors: list[str | re.Pattern[str]] | None = None
    retryable_error_types: list[type[Exception]] | None = None

    def __post_init__(self) -> None:
        normalise_durations(self, "initial_delay", "increment", "max_delay")
        self.jitter_strategy = jitter_of(self.jitter_strategy)

    @property
    def initial_delay_seconds(self) -> int:
        """The first delay in seconds."""
        return duration_seconds(self.initial_delay, "initial_delay")

    @property
    def increment_seconds(self) -> int:
        """What is added from one delay to the next, in seconds."""
        return duration_seconds(self.increment, "increment")

    @property
    def max_delay_seconds(self) -> int:
        """The longest delay in seconds."""
        return duration_seconds(self.max_delay, "max_delay")


def _may_retry(config: RetryStrategyConfig | LinearRetryStrategyConfig, error: Exception, attempts_made: int) -> bool:
    """Tell whether attempts are left and the error is one to retry."""
    if attempts_made >= config.max_attempts:
        return False
    texts, types = config.retryable_errors, config.retryable_error_types
    if texts is None and types is None:
        return True
    if types and isinstance(error, types if isinstance(types, type) else tuple(types)):
        return True
    if not texts:
        return False
    one = isinstance(texts, str) or hasattr(texts, "search")
    patterns: Any = [texts] if one else texts  # a text alone is not each of its letters
    message = message_of(error)
    return any(text in message if isinstance(text, str) else text.search(message) is not None for text in patterns)


def create_retry_strategy(config: RetryStrategyConfig | None = None) -> Callable[[Exception, int], RetryDecision]:
    """Make a strategy with exponential backoff.

    Args:
        config: How; by default 3 attempts, 5 s, doubling, at most 5 min, full jitter.

    """
    settings = config or RetryStrategyConfig()

    def strategy(error: Exception, attempts_made: int) -> RetryDecision:
        if not _may_retry(settings, error, attempts_made):
            return RetryDecision.no_retry()
        delay = _core.exponential_delay(
            attempts_made, settings.initial_delay_seconds, settings.backoff_rate, settings.max_delay_seconds
        )
        return RetryDecision.retry(Duration(settings.jitter_strategy.finalize_delay(delay)))

    return strategy


def create_linear_retry_strategy(
    config: LinearRetryStrategyConfig | None = None,
) -> Callable[[Exception, int], RetryDecision]:
    """Make a strategy with linear backoff.

    Args:
        config: How; by default 6 attempts, 1 s, 1 s more each time, at most 5 min, full jitter.

    """
    settings = config or LinearRetryStrategyConfig()

    def strategy(error: Exception, attempts_made: int) -> RetryDecision:
        if not _may_retry(settings, error, attempts_made):
            return RetryDecision.no_retry()
        delay = _core.linear_delay(
            attempts_made, settings.initial_delay_seconds, settings.increment_seconds, settings.max_delay_seconds
        )
        return RetryDecision.retry(Duration(settings.jitter_strategy.finalize_delay(delay)))

    return strategy


class RetryPresets:
    """Ready-made strategies."""

    @classmethod
    def none(cls) -> Callable[[Exception, int], RetryDecision]:
        """Never try again."""
        return create_retry_strategy(RetryStrategyConfig(max_attempts=1))

    @classmethod
    def default(cls) -> Callable[[Exception, int], RetryDecision]:
        """Do what a step does without a strategy: 6 attempts, 5 s, doubling, at most 60 s, full jitter."""
        return create_retry_strategy(RetryStrategyConfig(max_attempts=6, max_delay=Duration(60)))

    @classmethod
    def transient(cls) -> Callable[[Exception, int], RetryDecision]:
        """Bridge trouble that passes soon: 3 attempts, 5 s, doubling, half jitter."""
        return create_retry_strategy(RetryStrategyConfig(jitter_strategy=JitterStrategy.HALF))

    @classmethod
    def resource_availability(cls) -> Callable[[Exception, int], RetryDecision]:
        """Wait for what may take a while to come back: 5 attempts, 5 s, doubling, at most 5 min, full jitter."""
        return create_retry_strategy(RetryStrategyConfig(max_attempts=5))

    @classmethod
    def critical(cls) -> Callable[[Exception, int], RetryDecision]:
        """Insist on what must succeed: 10 attempts, 1 s, times 1.5, at most 60 s, no jitter."""
        return create_retry_strategy(
            RetryStrategyConfig(
                max_attempts=10,
                initial_delay=Duration(1),
                max_delay=Duration(60),
                backoff_rate=1.5,
                jitter_strategy=JitterStrategy.NONE,
            )
        )

    @classmethod
    def linear(cls) -> Callable[[Exception, int], RetryDecision]:
        """Try 6 times, after 1, 2, 3, 4 and 5 s, no jitter."""
        return create_linear_retry_strategy(LinearRetryStrategyConfig(jitter_strategy=JitterStrategy.NONE))

    @classmethod
    def fixed(cls, interval: DurationLike | None = None) -> Callable[[Exception, int], RetryDecision]:
        """Try 5 times, always the same delay apart, no jitter.

        Args:
            interval: The delay; by default 5 s.

        """
        delay = Duration(5) if interval is None else interval
        return create_linear_retry_strategy(
            LinearRetryStrategyConfig(
                max_attempts=5,
                initial_delay=delay,
                increment=Duration(),
                max_delay=delay,
                jitter_strategy=JitterStrategy.NONE,
            )
        )


@dataclass(frozen=True)
class WithRetryConfig(Generic[T]):
    """How `with_retry` tries again.

    Args:
        retry_strategy: Asked after each failure; by default that of ``RetryStrategyConfig()``.
        wrap_with_run_in_child_context: Whether all attempts run in one child context. The last failure then comes as a
            `perdure.exceptions.ChildContextError`; otherwise it comes as it is.
        child_context_config: For that child context.

    """

    retry_strategy: Callable[[Exception, int], RetryDecision] | None = None
    wrap_with_run_in_child_context: bool = True
    child_context_config: ChildConfig[T] | None = None


def with_retry(
    context: C,
    func: Callable[[C, int], T],
    config: WithRetryConfig[T],
    name: str | None = None,
) -> T:
    """Run a block of durable operations, and run it again from its beginning when it raises.

    A step retries one action; this retries many. The waits between attempts are durable, and named
    ``{name}-backoff-{attempt}`` when there is a name. Suspension passes through, and so does a history that does not
    match the code, which no further attempt could mend.

    Args:
        context: Where the block runs.
        func: The block, given its context and the attempt, counted from 1.
        config: How to try again.
        name: Names the child context and the waits.

    Raises:
        Exception: That of the last attempt, wrapped as `WithRetryConfig` says.

    Example:
        >>> with_retry(context, lambda ctx, attempt: book_trip(ctx), WithRetryConfig(), name="trip")

    """
    awaits = getattr(context, "takes_async", None) is True  # not what a mock has
    check_function(func, "with_retry", "a DurableContext and the attempt", awaits)
    strategy = config.retry_strategy or create_retry_strategy()

    def attempts(inner: C) -> T:
        flow = _attempts(inner, func, strategy, name)
        return inner.drive(flow) if awaits else _called_through(flow)  # type: ignore[attr-defined]

    if not config.wrap_with_run_in_child_context:
        return attempts(context)
    return context.run_in_child_context(  # type: ignore[no-any-return]
        attempts, name=name, config=config.child_context_config
    )


def _attempts(
    context: C,
    func: Callable[[C, int], T],
    strategy: Callable[[Exception, int], RetryDecision],
    name: str | None,
) -> Generator[tuple[Callable[..., Any], tuple[Any, ...]], Any, T]:
    """Make attempts, as a flow (`perdure.engine.flows`) that asks for nothing but calls."""
    attempt = 1
    while True:
        try:
            result = yield func, (context, attempt)
        except (NonDeterministicExecutionError, WrongContextError):
            raise
        except Exception as error:  # which errors are worth it is the strategy's business
            delay = ask(strategy, "retry", f"with_retry {name or ''}".rstrip(), error, attempt)
            if delay is None:
                raise
        else:
            refuse_awaitable(result, "the block of with_retry")
            return result  # type: ignore[no-any-return]
        # The service waits at least one second.
        pause = partial(
            context.wait, duration=Duration(max(1, delay)), name=f"{name}-backoff-{attempt}" if name else None
        )
        yield pause, ()
        attempt += 1


def _called_through(flow: Generator[tuple[Callable[..., Any], tuple[Any, ...]], Any, T]) -> T:
    """Run a flow that asks for nothing but calls: with whatever context, if it blocks."""
    resume: Callable[[Any], Any] = flow.send
    given: Any = None
    try:
        try:
            while True:
                function, arguments = resume(given)
                try:
                    given = function(*arguments)
                    resume = flow.send
                except BaseException as error:  # noqa: BLE001  the flow's business
                    resume, given = flow.throw, error
        except StopIteration as returned:
            return returned.value  # type: ignore[no-any-return]
        except RuntimeError as instead:
            if not isinstance(given, StopIteration) or instead.__cause__ is not given:
                raise
        raise given  # for which generators raise a RuntimeError
    finally:
        del given  # whose traceback may hold this frame
