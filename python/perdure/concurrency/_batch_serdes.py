"""What records the result of a batch whose items have a serdes of their own, and the batch has none."""

from __future__ import annotations

from typing import Any

from perdure.exceptions import SerDesError
from perdure.serdes import SerDes, SerDesContext, deserialize, serialize


class BatchSerDes(SerDes[Any]):
    """The default, as in the official SDK; it says whose it is where it cannot write what the items' serdes could."""

    def serialize(self, value: Any, serdes_context: SerDesContext) -> str:
        """Write the result of a batch."""
        try:
            return serialize(None, value, serdes_context.operation_id, serdes_context.durable_execution_arn)
        except SerDesError as error:
            raise SerDesError(
                "the BatchResult of a map or parallel is recorded besides its items, by a serdes of its own: "
                f"item_serdes= wrote the items, but serdes= was not given, and the default cannot write them: {error} "
                "Give serdes= one that can; alone, it serves the items as well"
            ) from error

    def deserialize(self, data: str, serdes_context: SerDesContext) -> Any:
        """Read the result of a batch."""
        return deserialize(None, data, serdes_context.operation_id, serdes_context.durable_execution_arn)
