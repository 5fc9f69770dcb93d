"""What the explorer makes happen to a run, as text that can be read back: ``crash-after:3``, ``order:17/2``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Schedule:
    """What happens to a run; written and read as text (``crash-after:3``, ``order:17``, ``order:17/2``).

    Args:
        kind: ``undisturbed``; ``crash-before`` and ``crash-after`` an API call: the invocation ends there, and a new
            one begins; ``lost``: the response to the call is lost, and the call repeated; ``late``: the invocation's
            time is up with the call; ``order``: branches run in an order drawn by chance.
        at: The API call, counted from 1; the seed of an order.
        picks: How many choices of an order are drawn, before branches run in the order of their index; None for all.

    """

    kind: str = "undisturbed"
    at: int = 0
    picks: int | None = None

    KINDS = ("undisturbed", "crash-before", "crash-after", "lost", "late", "order")

    def __str__(self) -> str:
        if self.kind == "undisturbed":
            return self.kind
        return f"{self.kind}:{self.at}" + ("" if self.picks is None else f"/{self.picks}")

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Read a schedule from its text.

        Raises:
            ValueError: If it is none.

        """
        kind, _, rest = text.partition(":")
        at, _, picks = rest.partition("/")
        if kind not in cls.KINDS or (kind != "undisturbed" and not at.isdigit()) or (picks and not picks.isdigit()):
            raise ValueError(f"{text!r} is no schedule: write KIND:NUMBER, and KIND is one of {', '.join(cls.KINDS)}")
        return cls(kind, int(at or 0), int(picks) if picks else None)

    def in_words(self, carried: str = "") -> str:
        """Say what happens.

        Args:
            carried: What the API call carried; of an order, what was put in order.

        """
        call = f"API call {self.at}" + (f" ({carried})" if carried else "")
        return {
            "undisturbed": "it was merely run again, and nothing went wrong",
            "crash-before": f"the invocation was killed before {call} arrived, and repeated",
            "crash-after": f"the invocation was killed right after {call}, and repeated",
            "lost": f"the response to {call} was lost, and the call repeated",
            "late": f"the invocation was short of time, and out of it with {call}",
            "order": f"{carried or 'branches'} ran in the order of seed {self.at}",
        }[self.kind]


UNDISTURBED = Schedule()
