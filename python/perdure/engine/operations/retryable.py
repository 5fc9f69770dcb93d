"""Which errors of a step are worth another attempt: what stands beside its retry strategy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from perdure._functions import drop
from perdure._retry_decision import RetryDecision, message_of
from perdure.exceptions import ExecutionError, InvocationError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure._retry_decision import RetryableErrors

    RetryStrategy = Callable[[Exception, int], RetryDecision]
    RetryIf = Callable[[Exception], bool]


class Narrowed:
    """A retry strategy that asks another one, about such errors alone as are worth it.

    Args:
        strategy: The other one.
        whose: Which operation's it is, in words.
        retry_if: Says of an error whether it is worth another attempt; None if all are.
        errors: Those that are, by class, by a text in their message or by a pattern of it; None for all.

    Raises:
        ValidationError: If these are none.

    """

    __slots__ = ("_classes", "_retry_if", "_strategy", "_texts", "_whose")

    def __init__(
        self, strategy: RetryStrategy, whose: str, retry_if: RetryIf | None, errors: RetryableErrors | None
    ) -> None:
        if retry_if is not None and not callable(retry_if):
            raise ValidationError(f"retry_if of {whose} must be a function of the error, not {retry_if!r}")
        self._strategy = strategy
        self._whose = whose
        self._retry_if = retry_if
        self._classes: tuple[type[BaseException], ...] | None = None
        self._texts: tuple[str | re.Pattern[str], ...] = ()
        if errors is not None:
            self._classes, self._texts = _sorted(errors, whose)

    def __call__(self, error: Exception, attempts_made: int) -> RetryDecision:
        """Decide about an error."""
        is_worth_it = self._is_among(error) and (self._retry_if is None or self._ask(self._retry_if, error))
        return self._strategy(error, attempts_made) if is_worth_it else RetryDecision.no_retry()

    def _is_among(self, error: Exception) -> bool:
        if self._classes is None or isinstance(error, self._classes):
            return True
        message = message_of(error) if self._texts else ""
        return any(text in message if isinstance(text, str) else text.search(message) for text in self._texts)

    def _ask(self, retry_if: RetryIf, error: Exception) -> bool:
        try:
            answer = retry_if(error)
        except (ExecutionError, InvocationError):
            raise
        except Exception as problem:
            raise ValidationError(
                f"retry_if of {self._whose} raised {problem!r} when it was asked about {error!r}"
            ) from problem
        if not isinstance(answer, bool):
            drop(answer)
            raise ValidationError(f"retry_if of {self._whose} must return True or False, not {answer!r}") from error
        return answer


def _sorted(
    errors: RetryableErrors, whose: str
) -> tuple[tuple[type[BaseException], ...], tuple[str | re.Pattern[str], ...]]:
    """Give the classes, and the texts and patterns, by which errors are known."""
    alone = isinstance(errors, (type, str, re.Pattern)) or not hasattr(errors, "__iter__")
    every: tuple[Any, ...] = (errors,) if alone else tuple(errors)  # type: ignore[arg-type]
    classes, texts = [], []
    for each in every:
        if isinstance(each, type) and issubclass(each, BaseException):
            classes.append(each)
        elif isinstance(each, str) or (isinstance(each, re.Pattern) and isinstance(each.pattern, str)):
            texts.append(each)
        else:
            raise ValidationError(
                f"retryable_errors of {whose} must be exception classes, texts in their messages or compiled patterns "
                f"of text, not {each!r}"
            )
    return tuple(classes), tuple(texts)
