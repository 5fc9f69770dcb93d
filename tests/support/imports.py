"""What an import brings along, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

STANDARD = "import logging"
"""What perdure imports in any case. What comes along differs: from CPython 3.14 on, `dataclasses` and `inspect` do."""


def brought(code: str, *arguments: str, before: str = STANDARD) -> set[str]:
    """Return the modules that a piece of code loads which `before` has not loaded already."""
    program = (
        f"import sys; sys.path[:0] = {sys.path!r}; {before}; before = set(sys.modules)\n{code}\n"
        "print(*set(sys.modules) - before)"
    )
    # Without `site`, which runs what any package has left in `.pth` files.
    ran = subprocess.run([sys.executable, "-S", "-c", program, *arguments], check=True, capture_output=True, text=True)
    return set(ran.stdout.split())
