"""What the serdes that store values outside the history have in common: the envelope that is recorded instead.

It is one of ``{"data": text}``, ``{"file": pointer}`` and ``{"file": pointer, "preview": {...}}``: plain JSON, in
which the text is what the serdes of the value wrote.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from perdure.constants import CHECKPOINT_SIZE_LIMIT_BYTES
from perdure.exceptions import SerDesError
from perdure.serdes import SerDes

if TYPE_CHECKING:
    from perdure.serdes import SerDesContext

OVERFLOW_THRESHOLD = CHECKPOINT_SIZE_LIMIT_BYTES - 1024
"""The most bytes of an envelope that stay in the history where only what is too large is stored outside."""


class FileSystemSerDesMode(StrEnum):
    """Which values are stored outside the history."""

    ALWAYS = "ALWAYS"
    """All."""
    OVERFLOW = "OVERFLOW"
    """Those that would take more than 255 KiB in it."""


class GeneratePreview(Protocol):
    """Makes the preview of a value, as `perdure.preview.build_preview` does; None or an empty dict for none."""

    def __call__(self, value: Any) -> dict[str, Any] | None:
        """Make it.

        Args:
            value: What the operation returned or was given.

        """


class OffloadingSerDes(SerDes[Any]):
    """A serdes that stores texts somewhere and has pointers to them recorded."""

    def __init__(self, mode: FileSystemSerDesMode, serdes: SerDes[Any], preview: GeneratePreview | None) -> None:
        self._mode = FileSystemSerDesMode(mode)
        self._serdes = serdes
        self._preview = preview

    @abstractmethod
    def _store(self, text: str, context: SerDesContext) -> str:
        """Store a text for good and give the pointer to it."""

    @abstractmethod
    def _load(self, pointer: str, context: SerDesContext) -> str:
        """Give the text that a pointer leads to."""

    def serialize(self, value: Any, serdes_context: SerDesContext) -> str:
        """Write a value as text, store that if it is to be stored, and give the envelope.

        Args:
            value: What the operation returned or was given.
            serdes_context: Which operation of which execution it belongs to.

        Raises:
            SerDesError: The value cannot be written, or its text cannot be stored.
            RetryableSerDesError: The store does not take the text now, and may later.

        """
        text = self._serdes.serialize(value, serdes_context)
        if self._mode is FileSystemSerDesMode.OVERFLOW:
            inline = json.dumps({"data": text})
            if len(inline) <= OVERFLOW_THRESHOLD:
                return inline
        bare: dict[str, Any] = {"file": self._store(text, serdes_context)}
        return self._with_preview(bare, value, serdes_context) or json.dumps(bare)

    def _with_preview(self, bare: dict[str, Any], value: Any, context: SerDesContext) -> str | None:
        """Add the preview. It is there to be looked at: no execution fails of it."""
        if self._preview is None:
            return None
        try:
            preview = self._preview(value)
            envelope = json.dumps({**bare, "preview": preview}, default=str) if preview else None
        except Exception as error:  # noqa: BLE001  whatever the user's function raises
            _warn("The preview of operation %s is left out: making it raised %r", context.operation_id, error)
            return None
        if envelope is not None and len(envelope) > OVERFLOW_THRESHOLD:
            message = "The preview of operation %s is left out: with it %d bytes would be recorded, and %d are allowed"
            _warn(message, context.operation_id, len(envelope), OVERFLOW_THRESHOLD)
            return None
        return envelope

    def deserialize(self, data: str, serdes_context: SerDesContext) -> Any:
        """Read back what `serialize` wrote.

        Args:
            data: The envelope.
            serdes_context: Which operation of which execution it belongs to.

        Raises:
            SerDesError: It is no envelope; or what was stored is gone, cut, or stands where this serdes does not read.
            RetryableSerDesError: The store does not answer now, and may later.

        """
        envelope = _parsed(data)
        pointer, text = envelope.get("file"), envelope.get("data")
        if isinstance(pointer, str):
            text, where = self._load(pointer, serdes_context), f" stored in {pointer}"
        elif isinstance(text, str):
            where = " recorded"
        else:
            raise _no_envelope(data)
        try:
            return self._serdes.deserialize(text, serdes_context)
        except (ValueError, SerDesError) as error:
            raise SerDesError(
                f"What operation {serdes_context.operation_id}{where} is not what was written there, or was written by "
                f"another serdes: {error}"
            ) from error


def _parsed(data: str) -> dict[str, Any]:
    try:
        envelope = json.loads(data)
    except (ValueError, TypeError, RecursionError):
        envelope = None
    if not isinstance(envelope, dict):
        raise _no_envelope(data)
    return envelope


def _no_envelope(data: Any) -> SerDesError:
    shown = repr(data[:60] if isinstance(data, str) else data)
    return SerDesError(
        f"{shown} is no envelope of a value that is stored outside: an object with the text 'file' or 'data' was "
        f"expected. Was it recorded before the operation had this serdes?"
    )


def _warn(message: str, *args: Any) -> None:
    from logging import getLogger  # noqa: PLC0415  only when something is wrong

    getLogger("perdure").warning(message, *args)
