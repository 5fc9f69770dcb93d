"""Sizes that programs may want to know."""

from __future__ import annotations

from perdure._core import MAX_CONTEXT_RESULT

CHECKPOINT_SIZE_LIMIT_BYTES = MAX_CONTEXT_RESULT
"""Above how many characters the result of a child context, map or parallel is not recorded, but made again."""
