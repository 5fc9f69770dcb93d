"""`--log-level`: what of the handlers' logs the commands that run handlers show."""

from __future__ import annotations

import logging
import sys
from enum import StrEnum
from typing import Annotated, TextIO

import typer

from perdure.cli.writer import CleanFormatter

_LIBRARIES = ("asyncio", "botocore", "boto3", "urllib3")


class Level(StrEnum):
    """The levels one can ask for."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


LogLevel = Annotated[Level, typer.Option("--log-level", help="Show the log of handlers from this level on.")]


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what standard error is by then: while a tree is drawn, something that writes above it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        self.stream = sys.stderr
        super().emit(record)


def log_to_stderr(level: Level) -> None:
    """Show the log from a level on, that of libraries only when something is wrong."""
    handler = _Stderr()
    handler.setFormatter(CleanFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
