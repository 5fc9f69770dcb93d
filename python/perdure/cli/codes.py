"""What the commands exit with, and the one exception that ends a command early."""

from __future__ import annotations

OK = 0
"""The command has done what it was asked to; what it waited for has succeeded."""
FAILED = 1
"""The execution that the command waited for has failed, was stopped, or ran out of time."""
USAGE = 2
"""The command line or the configuration is wrong: options, files, credentials, region, a missing extra."""
BLOCKED = 3
"""There is no such execution, function or callback; or what was waited for has not ended in the time given."""
REFUSED = 4
"""The service refused the request, throttled it, or could not be reached; or the output could not be written."""
INTERRUPTED = 130
"""Ctrl-C; an execution that was followed runs on."""


class CommandError(Exception):
    """A command ends here.

    Args:
        message: What went wrong.
        code: What to exit with.
        kind: A stable word for scripts: the service's error code, or one of ours.
        hint: What to do next.
        arn: The execution that runs on, if it is known.

    """

    def __init__(self, message: str, code: int, kind: str, hint: str = "", arn: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.kind = kind
        self.hint = hint
        self.arn = arn
