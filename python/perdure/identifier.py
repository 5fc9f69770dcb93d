"""Which operation is meant: its id, and what must agree with the history."""

from __future__ import annotations

import hashlib
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

from perdure.exceptions import NonDeterministicExecutionError

if TYPE_CHECKING:
    from perdure.lambda_service import Operation, OperationType

__all__ = [
    "NonDeterministicExecutionError",
    "Operation",
    "OperationIdNamespace",
    "OperationIdentifier",
    "OperationType",
]

_ID_LENGTH = 64


def __getattr__(name: str) -> Any:
    if name.startswith("__"):  # every import from here asks for __path__
        raise AttributeError(name)
    from perdure._elsewhere import find  # noqa: PLC0415  only for names that programs import from here

    return find(__name__, name)


@dataclass(frozen=True)
class OperationIdNamespace:
    """Makes the ids of one context's operations (`docs/protocol.md` §2).

    Args:
        prefix: The context's own id; None or "" at the root.

    """

    prefix: str | None = None

    def create_id_for_step(self, step: int) -> str:
        """Give the id at position ``step``, counted from 1 in a context and from 0 among branches."""
        position = f"{self.prefix}-{step}" if self.prefix else str(step)
        return hashlib.blake2b(position.encode()).hexdigest()[:_ID_LENGTH]


@dataclass(frozen=True)
class OperationIdentifier:
    """An operation as the code asks for it.

    Args:
        operation_id: Its id.
        sub_type: The SDK's or the user's kind.
        parent_id: The context it belongs to; None at the root.
        name: Its name, if it has one.
        operation_type: The service's kind.

    """

    operation_id: str
    sub_type: str
    parent_id: str | None = None
    name: str | None = None
    _: KW_ONLY
    operation_type: OperationType

    @property
    def type(self) -> OperationType:
        """The service's kind."""
        return self.operation_type

    def validate_checkpoint(self, checkpoint: Operation | None) -> None:
        """Check that a recorded operation is the one that the code asks for.

        Args:
            checkpoint: What is recorded under the id; None when nothing is, which is fine.

        Raises:
            NonDeterministicExecutionError: When type, subtype, name or parent differ; an empty name is none.

        """
        if checkpoint is None:
            return
        sides = (
            ("type", checkpoint.operation_type.value, self.operation_type.value),
            ("subtype", checkpoint.sub_type or None, self.sub_type or None),
            ("name", checkpoint.name or None, self.name or None),
            ("parent", checkpoint.parent_id or None, self.parent_id or None),
        )
        differences = [
            f"its {what} is recorded as {recorded!r}, but the code now says {current!r}"
            for what, recorded, current in sides
            if recorded != current
        ]
        if differences:
            raise NonDeterministicExecutionError(
                f"the code no longer matches the history at operation {self.operation_id}: {'; '.join(differences)}. "
                "Running executions must be continued by code that performs the same operations in the same order",
                step_id=self.operation_id,
            )
