"""`--log-level`: what of the handlers' logs the commands that run handlers show."""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import Annotated

import typer

_LIBRARIES = ("asyncio", "botocore", "boto3", "urllib3")


class Level(StrEnum):
    """The levels one can ask for."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


LogLevel = Annotated[Level, typer.Option("--log-level", help="Show the log of handlers from this level on.")]


def log_to_stderr(level: Level, *, handler: logging.Handler | None = None) -> None:
    """Show the log from a level on, that of libraries only when something is wrong."""
    logging.basicConfig(
        format="%(levelname)s %(name)s: %(message)s",
        level=level.upper(),
        handlers=None if handler is None else [handler],
    )
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
