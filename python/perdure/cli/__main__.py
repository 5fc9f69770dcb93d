"""`python -m perdure.cli` is the command `perdure`."""

from __future__ import annotations

from perdure.cli import main

main()
