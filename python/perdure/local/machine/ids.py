"""Ids that nothing else has."""

from __future__ import annotations

from os import urandom
from uuid import UUID


def fresh_id() -> str:
    """Give a random UUID as text, also while a test has something else in the place of `uuid.uuid4` or `os.urandom`.

    Executions, invocations and requests are told apart by these: a constant in their place would make all of them one.
    """
    return str(UUID(bytes=urandom(16), version=4))
