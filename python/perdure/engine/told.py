"""What the service has told of an execution's operations, for those who are told of it.

Nothing is copied, and nothing is read before somebody asks: answers are kept by reference, as they came
(`perdure.engine.checkpoint`), `_core.Told` reads each once, and a view of all operations as they were after so many of
them is one small object, however many operations there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from perdure.plugin import OperationInfo

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from perdure._core import Told
    from perdure.engine.received import Wire


def is_inside(told: Told, raw: Wire, operation_id: str) -> bool:
    """Tell whether an operation is inside a context, however deep."""
    seen = set()
    while (parent := raw.get("ParentId")) and parent not in seen:
        if parent == operation_id:
            return True
        seen.add(parent)
        around = told.latest(parent)
        if around is None:
            break
        raw = around
    return False


class View(Mapping[str, OperationInfo]):
    """Operations by their ids, as they were after so many parts; read-only, and it changes no more.

    Args:
        told: What was told.
        parts: By so many parts.
        only: Of these operations alone.

    """

    __slots__ = ("_only", "_parts", "_told")

    def __init__(self, told: Told, parts: int, only: Collection[str] | None = None) -> None:
        self._told = told
        self._parts = parts
        self._only = only

    def __getitem__(self, operation_id: str) -> OperationInfo:
        self._told.read()
        is_in = isinstance(operation_id, str) and (self._only is None or operation_id in self._only)
        info: OperationInfo | None = self._told.info(operation_id, self._parts) if is_in else None
        if info is None:
            raise KeyError(operation_id)
        return info

    def _known(self, only: Collection[str]) -> list[str]:
        return [key for key in only if self._told.at(key, self._parts) is not None]

    def __iter__(self) -> Iterator[str]:
        self._told.read()
        return iter(self._told.ids(self._parts) if self._only is None else self._known(self._only))

    def __len__(self) -> int:
        self._told.read()
        return self._told.count(self._parts) if self._only is None else len(self._known(self._only))

    def __repr__(self) -> str:
        return repr(dict(self))

    def __reduce__(self) -> tuple[type[dict[str, OperationInfo]], tuple[dict[str, OperationInfo]]]:
        """Have copies, and what is pickled, be the dict that it looks like."""
        return dict, (dict(self),)
