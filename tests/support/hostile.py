"""A name that tries to be markup of every kind."""

from __future__ import annotations

HOSTILE = "<script>alert(1)</script>&\"' ]]> [bold]"
