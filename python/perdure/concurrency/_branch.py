"""A branch while its batch runs: the vocabulary of schedulers. Users import it from `perdure.concurrency.models`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

from perdure.exceptions import InvalidStateError

CallableType = TypeVar("CallableType", bound=Callable[..., Any])
ResultType = TypeVar("ResultType")


class BranchStatus(Enum):
    """Where a running branch stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    SUSPENDED = "suspended"
    SUSPENDED_WITH_TIMEOUT = "suspended_with_timeout"
    FAILED = "failed"


class BranchEventKind(Enum):
    """What became of one run of a branch."""

    COMPLETED = "completed"
    FAILED = "failed"
    SUSPENDED = "suspended"
    SUSPENDED_UNTIL = "suspended_until"
    ORPHANED = "orphaned"
    FATAL = "fatal"


@dataclass(frozen=True)
class Executable(Generic[CallableType]):
    """What a branch runs.

    Args:
        index: Its position among the inputs.
        func: The function.
        name: Its custom name, if it has one.

    """

    index: int
    func: CallableType
    name: str | None = None


class Branch(Generic[CallableType, ResultType]):
    """The state of one branch; whoever coordinates the batch owns it.

    Args:
        executable: What it runs.

    """

    def __init__(self, executable: Executable[CallableType]) -> None:
        self.executable = executable
        self.status = BranchStatus.PENDING
        self.result: ResultType | None = None
        self.error: Exception | None = None
        self.resume_at: float | None = None

    @property
    def index(self) -> int:
        """Its position among the inputs."""
        return self.executable.index

    def start(self) -> None:
        """Run, for the first time or after a timed suspension.

        Raises:
            InvalidStateError: In any other state.

        """
        if self.status not in (BranchStatus.PENDING, BranchStatus.SUSPENDED_WITH_TIMEOUT):
            raise InvalidStateError(
                f"branch {self.index} cannot start while it is {self.status.value}: only a pending branch can, "
                "or one that is suspended until a time"
            )
        self.status = BranchStatus.RUNNING
        self.resume_at = None

    def complete(self, result: ResultType | None) -> None:
        """End with a result."""
        self.status = BranchStatus.COMPLETED
        self.result = result

    def fail(self, error: Exception) -> None:
        """End with an error."""
        self.status = BranchStatus.FAILED
        self.error = error

    def suspend(self) -> None:
        """Wait for news from outside."""
        self.status = BranchStatus.SUSPENDED
        self.resume_at = None

    def suspend_until(self, resume_at: float) -> None:
        """Wait until a time, in Unix seconds."""
        self.status = BranchStatus.SUSPENDED_WITH_TIMEOUT
        self.resume_at = resume_at


@dataclass(frozen=True)
class BranchEvent(Generic[ResultType]):
    """What a worker reports of one run of a branch.

    Args:
        index: The branch.
        kind: What became of the run.
        result: For COMPLETED.
        error: For FAILED.
        resume_at: For SUSPENDED_UNTIL, in Unix seconds.
        fatal_error: For FATAL.

    """

    index: int
    kind: BranchEventKind
    result: ResultType | None = None
    error: Exception | None = None
    resume_at: float | None = None
    fatal_error: BaseException | None = None

    @classmethod
    def completed(cls, index: int, result: ResultType | None) -> BranchEvent[ResultType]:
        """Report a result."""
        return cls(index, BranchEventKind.COMPLETED, result=result)

    @classmethod
    def failed(cls, index: int, error: Exception) -> BranchEvent[ResultType]:
        """Report an error."""
        return cls(index, BranchEventKind.FAILED, error=error)

    @classmethod
    def suspended(cls, index: int) -> BranchEvent[ResultType]:
        """Report that the branch waits for news from outside."""
        return cls(index, BranchEventKind.SUSPENDED)

    @classmethod
    def suspended_until(cls, index: int, resume_at: float) -> BranchEvent[ResultType]:
        """Report that the branch waits until a time, in Unix seconds."""
        return cls(index, BranchEventKind.SUSPENDED_UNTIL, resume_at=resume_at)

    @classmethod
    def orphaned(cls, index: int) -> BranchEvent[ResultType]:
        """Report that the batch ended without the branch."""
        return cls(index, BranchEventKind.ORPHANED)

    @classmethod
    def fatal(cls, index: int, error: BaseException) -> BranchEvent[ResultType]:
        """Report what must leave the batch as it is, such as a broken checkpoint system."""
        return cls(index, BranchEventKind.FATAL, fatal_error=error)
