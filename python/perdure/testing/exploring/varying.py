"""What undisturbed runs teach: what of a run varies by chance, and so is no difference between two of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from perdure.testing.exploring.mask import Mask

if TYPE_CHECKING:
    from perdure.testing.exploring.observation import Observation


_ENOUGH = 3


class Varying:
    """What is not the same in undisturbed runs in which nothing is held.

    A run is compared with one that ended as it did, but for what varies among those that ended so. Were it only one
    for all, nothing would be left to compare where a step that fails now and then makes the handler fail.
    """

    def __init__(self, first: Observation) -> None:
        self._first = first
        self._known = {first.end: (first, Mask())}
        self._count = Counter([first.end])

    def __bool__(self) -> bool:
        return len(self._known) > 1 or bool(self._known[self._first.end][1])

    def hides(self, member: str) -> bool:
        """Tell whether a whole member of `Observation.facts` varies among the runs that ended like the first."""
        return self._known[self._first.end][1].hides([member])

    def learn(self, other: Observation) -> None:
        """Take note of another undisturbed run."""
        like, mask = self._known.setdefault(other.end, (other, Mask()))
        mask.learn(like.facts(), other.facts())
        self._count[other.end] += 1

    def is_sure_of(self, seen: Observation) -> bool:
        """Tell whether what varies is known of runs that end like this one; or that there are none."""
        return not 0 < self._count[seen.end] < _ENOUGH

    def like(self, seen: Observation) -> tuple[Observation, Mask]:
        """Give what a run is to be compared with, and what is to be left out of both.

        One that ended as no other did is compared with the first, and differs.
        """
        return self._known.get(seen.end) or self._known[self._first.end]
