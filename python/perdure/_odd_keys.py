"""Keys of dicts that are no text: a payload has them as text, and so they come back. Said once a process, in the log.

In the log, and not by `warnings`: what is written is right by the protocol, and a program that makes errors of warnings
must not fail in the middle of an execution, after a step has done its work.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from perdure._control import user_line
from perdure._log import Log

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOG = Log("perdure")
_said: set[str] = set()


def note(entries: Mapping[Any, Any]) -> bool:
    """Say that keys of a dict come back as text, or that entries are lost by that; tell whether some are.

    Args:
        entries: A dict that has keys which are no text. The codec calls this for the first one of a process, and for
            those that have keys of both sorts until entries were lost.

    """
    odd = sorted({type(key).__name__ for key in entries if not isinstance(key, str)})
    lost = len(entries) - len({_text(key) for key in entries})
    if lost:
        _say(
            "lost",
            "a value has keys that become the same text in a payload, such as 1 and '1': of each such pair only the "
            f"last entry comes back, and {lost} of {len(entries)} are lost. Give all keys of a dict as text",
        )
    _say(
        "text",
        f"a value has keys of the type {', '.join(odd)}: a payload has keys as text only, and so they come back, 101 "
        "as '101'. Give them as text, or use a serdes that keeps them",
    )
    return lost > 0


def _say(what: str, message: str) -> None:
    if what not in _said:
        _said.add(what)
        line = user_line()
        where = f" (at {line})" if line else ""
        _LOG.warning("%s%s. This is said once.", message[0].upper() + message[1:], where)


def _text(key: Any) -> str:
    """Give the text that a key becomes; of a key that JSON has no text for, any: it is refused later."""
    return json.dumps(key) if key is None or isinstance(key, (int, float)) else str(key)
