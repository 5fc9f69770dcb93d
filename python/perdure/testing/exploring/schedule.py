"""What the explorer makes happen to a run, as text that can be read back: ``crash-after:3``, ``order:17/2+hands:2``."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Schedule:
    """What happens to a run; written and read as text (``crash-after:3``, ``order:17/2``, ``lost:4+hands:1``).

    Args:
        kind: ``undisturbed``; ``crash-before`` and ``crash-after`` an API call: the invocation ends there, and a new
            one begins; ``lost``: the response to the call is lost, and the call repeated; ``late``: the invocation's
            time is up with the call; ``order``: branches run in an order drawn by chance.
        at: The API call, counted from 1; the seed of an order.
        picks: How many choices of an order are drawn, before branches run in the order of their index; None for all.
        hands: How many threads work on branches, which then go on by turns, an operation at a time; with None, one
            works through all that are begun. ``hands:2`` alone is an undisturbed run with two.

    """

    kind: str = "undisturbed"
    at: int = 0
    picks: int | None = None
    hands: int | None = None

    KINDS = ("undisturbed", "crash-before", "crash-after", "lost", "late", "order", "hands")

    def __str__(self) -> str:
        hands = [] if self.hands is None else [f"hands:{self.hands}"]
        if self.kind == "undisturbed":
            return "".join(hands) or self.kind
        at = f"{self.kind}:{self.at}" + ("" if self.picks is None else f"/{self.picks}")
        return "+".join([at, *hands])

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read a schedule from its text.

        Raises:
            ValueError: If it is none.

        """
        found = _TEXT.fullmatch(text)
        if found is None:
            raise ValueError(
                f"{text!r} is no schedule: write KIND:NUMBER, and KIND is one of {', '.join(cls.KINDS)}; "
                "to another, +hands:NUMBER may be added"
            )
        kind, at, seed, picks, *hands = found.groups()
        if seed is not None:
            kind, at = "order", seed
        given = next((int(number) for number in hands if number), None)
        return cls(kind or "undisturbed", int(at or 0), int(picks) if picks else None, given)

    def in_words(self, carried: str = "") -> str:
        """Say what happens.

        Args:
            carried: What the API call carried; of an order, what was put in order.

        """
        call = f"API call {self.at}" + (f" ({carried})" if carried else "")
        hands = "" if self.hands is None else f"{self.hands} thread{'s'[: self.hands > 1]}"
        if self.kind == "undisturbed" and hands:
            return f"there {'was' if self.hands == 1 else 'were'} {hands} for the branches of maps and parallels"
        happens = {
            "undisturbed": "it was merely run again, and nothing went wrong",
            "crash-before": f"the invocation was killed before {call} arrived, and repeated",
            "crash-after": f"the invocation was killed right after {call}, and repeated",
            "lost": f"the response to {call} was lost, and the call repeated",
            "late": f"the invocation was short of time, and out of it with {call}",
            "order": f"{carried or 'branches'} ran in the order of seed {self.at}",
        }[self.kind]
        return f"{happens}, with {hands} for the branches of maps and parallels" if hands else happens


_HANDS = r"hands:0*([1-9]\d*)"
_TEXT = re.compile(
    rf"(?:(crash-before|crash-after|lost|late):(\d+)|order:(\d+)(?:/(\d+))?|undisturbed)(?:\+{_HANDS})?|{_HANDS}",
    re.ASCII,
)
UNDISTURBED = Schedule()
