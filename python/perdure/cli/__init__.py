"""The `perdure` command: what must work without the `local` extra, and the door to the rest."""

from __future__ import annotations

import sys

from perdure._core import __version__
from perdure.cli.codes import OK, REFUSED, USAGE
from perdure.cli.outputs import lead_nowhere, reader_left, unwritable

_EXTRA = ("typer", "rich")


def version() -> str:
    """Return the installed version of perdure."""
    return __version__


def main() -> None:
    """Run the command; exit 0 succeeded, 1 failed, 2 usage, 3 blocked or not found, 4 refused by the service."""
    try:
        _written()
    except (OSError, SystemExit) as end:
        why = unwritable(end)
        if why is None and not reader_left(end):
            raise
        lead_nowhere(sys.stdout)
        if why is None:
            sys.exit(OK)  # who reads the first line only has had what they wanted
        sys.stderr.write(f"{why}\n")
        sys.exit(REFUSED)


def _written() -> None:
    """Run the command, and write what it has printed; at exit it would be too late to tell what is wrong with that."""
    try:
        _run()
    finally:
        if sys.stdout is not None:  # closed from the start
            sys.stdout.flush()


def _run() -> None:
    if sys.argv[1:] == ["--version"]:
        print(f"perdure {version()}")  # noqa: T201 - into what may be closed, which is no failure
        return
    try:
        from perdure.cli.commands import app  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _EXTRA:
            raise
        sys.stderr.write(
            f"The perdure command needs {error.name}, which is not installed. It comes with an extra:\n\n"
            "    pip install 'perdure[local]'\n"
        )
        sys.exit(USAGE)
    app()
