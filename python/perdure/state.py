"""What is recorded of an execution, for those who want to look: `DurableContext.state`.

The engine does not work with it. It holds what the service has told, as it came, and makes something of that when
somebody asks: AWS Powertools does, to know a replay by more operations than the execution itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from perdure.engine.received import ENDED, as_dicts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perdure.engine.invocation import Invocation
    from perdure.engine.received import Operations
    from perdure.lambda_service import Operation

_TYPES = frozenset({"EXECUTION", "CONTEXT", "STEP", "WAIT", "CALLBACK", "CHAINED_INVOKE"})
_OPEN = frozenset({"STARTED", "PENDING", "READY"})


class ExecutionState:
    """The execution as the service has told of it in this invocation.

    Args:
        invocation: Whose it is.

    """

    __slots__ = ("_invocation",)

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation

    @property
    def durable_execution_arn(self) -> str:
        """The execution's ARN."""
        return self._invocation.durable_execution_arn

    @property
    def operations(self) -> Mapping[str, Operation]:
        """The operations recorded up to now by their ids, the execution itself among them; it changes no more."""
        return _Recorded(self._invocation.checkpoints.told)


class _Recorded(Mapping[str, "Operation"]):
    """Operations that are read when somebody looks at them."""

    __slots__ = ("_latest", "_told")

    def __init__(self, told: list[Operations]) -> None:
        self._told = told[:]
        self._latest: dict[str, dict[str, Any]] | None = None

    def _known(self) -> dict[str, dict[str, Any]]:
        """Give the latest that was told of each operation; one that has ended stays so.

        What there are no names for yet, types or statuses, is left out.
        """
        if self._latest is None:
            latest: dict[str, dict[str, Any]] = {}
            for operations in self._told:
                for operation in as_dicts(operations):
                    key, status = operation["Id"], operation["Status"]
                    is_known = operation["Type"] in _TYPES and (status in _OPEN or status in ENDED)
                    if is_known and not (key in latest and latest[key]["Status"] in ENDED):
                        latest[key] = operation
            self._latest = latest
        return self._latest

    def __getitem__(self, operation_id: str) -> Operation:
        from perdure.lambda_service import Operation  # noqa: PLC0415  dataclasses, which no invocation needs

        return Operation.from_json_dict(self._known()[operation_id])

    def __iter__(self) -> Iterator[str]:
        return iter(self._known())

    def __len__(self) -> int:
        return len(self._known())

    def __repr__(self) -> str:
        return repr(dict(self))
