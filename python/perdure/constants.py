"""Sizes that programs may want to know."""

from __future__ import annotations

CHECKPOINT_SIZE_LIMIT_BYTES = 262_144
"""Above how many characters the result of a child context, map or parallel is not recorded, but made again."""
