"""What is handed to the code of operations. Users import it from `perdure.types`.

The classes are written by hand, with slots: one is made for every step that runs, and this module is imported on every
cold start, so it must pay for neither `dataclasses` nor protocols.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure._frozen import Frozen

if TYPE_CHECKING:
    from perdure._protocols import ContextLogger, LoggerInterface


class OperationContext(Frozen):
    """Handed to the code of an operation.

    Args:
        logger: Logs with the operation's name and id.

    """

    __slots__ = ("logger",)
    __match_args__ = ("logger",)

    logger: ContextLogger

    def __init__(self, logger: LoggerInterface) -> None:
        _set_logger(self, logger)


_set_logger = OperationContext.__dict__["logger"].__set__  # past the immutability


class StepContext(OperationContext):
    """Handed to the code of a step.

    Args:
        logger: Logs with the step's name, id and attempt.
        attempt: Which attempt this is, counted from 1.

    """

    __slots__ = ("attempt",)
    __match_args__ = ("logger", "attempt")

    attempt: int

    def __init__(self, logger: LoggerInterface, attempt: int) -> None:
        _set_logger(self, logger)
        _set_step_attempt(self, attempt)


_set_step_attempt = StepContext.__dict__["attempt"].__set__  # past the immutability


class WaitForCallbackContext(OperationContext):
    """Handed to the submitter of a ``wait_for_callback``.

    Args:
        logger: Logs with the submitter's name, id and attempt.

    """

    __slots__ = ()


class WaitForConditionCheckContext(OperationContext):
    """Handed to the check of a ``wait_for_condition``.

    Args:
        logger: Logs with the operation's name, id and attempt.
        attempt: Which check this is, counted from 1.

    """

    __slots__ = ("attempt",)
    __match_args__ = ("logger", "attempt")

    attempt: int

    def __init__(self, logger: LoggerInterface, attempt: int) -> None:
        _set_logger(self, logger)
        _set_check_attempt(self, attempt)


_set_check_attempt = WaitForConditionCheckContext.__dict__["attempt"].__set__  # past the immutability

for _named in (OperationContext, StepContext, WaitForCallbackContext, WaitForConditionCheckContext):
    _named.__module__ = "perdure.types"  # where users import them from
