"""The application with every command: each of these modules adds its own, in the order of the help."""

from __future__ import annotations

from perdure.cli import acting, bench, explore, migrating, new, run, serve, viewing
from perdure.cli.app import app

__all__ = ["acting", "app", "bench", "explore", "migrating", "new", "run", "serve", "viewing"]
