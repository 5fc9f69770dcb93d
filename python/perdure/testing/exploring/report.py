"""What an exploration found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perdure.testing.exploring.schedule import UNDISTURBED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from perdure.testing.exploring.observation import Observation
    from perdure.testing.exploring.schedule import Schedule

_SHOWN = 10


class ExplorationError(AssertionError):
    """A handler that does not do the same each time."""


@dataclass
class Report:
    """What an exploration found.

    Args:
        schedule: The first schedule under which the handler did something else; None if there is none.
        differences: In words, how.
        tried: How many schedules were run.
        planned: How many were to be run.
        seconds: How long it took.
        expected: The undisturbed run.
        got: The run that differs.
        missed: The schedule that was asked for, and did not come about.
        nothing_tried: Whether time was up before anything went wrong on purpose.
        left_behind: The threads that runs left behind, and that were still at work when the next one began.
        is_unprobed: Whether what the probe saw was left out, since it was not the same in undisturbed runs.

    """

    schedule: Schedule | None
    differences: list[str]
    tried: int
    planned: int
    seconds: float
    expected: Observation
    got: Observation | None = None
    missed: Schedule | None = None
    nothing_tried: bool = False
    left_behind: list[str] = field(default_factory=list)
    is_unprobed: bool = False
    again: Callable[[Schedule], Report] | None = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        """Whether all runs were the same, and there was something to see."""
        return self.schedule is None and self.unfit is None

    @property
    def unfit(self) -> str | None:
        """Why this says nothing about the handler; None if it does."""
        return next(self._objections(), None)

    def _objections(self) -> Iterator[str]:
        expected = self.expected
        if expected.stuck is not None:
            yield (
                f"the undisturbed run had not come to its end after {expected.stuck.seconds:.3g} s (trial_limit), so "
                f"nothing was explored; it was here:\n{expected.stuck.where}"
            )
        elif not expected.is_durable:
            yield "the handler is not one that perdure's @durable_execution made, so nothing was explored"
        if expected.status == "RUNNING":
            yield (
                "the undisturbed run did not come to its end, so what follows was not explored: "
                f"say what its callbacks are answered with, by answers= or --answer "
                f"(open: {', '.join(expected.open_callbacks) or 'none'})"
            )
        if expected.unknown_functions:
            yield (
                "it invokes functions that nobody stands for here, so what follows was not explored: name them in "
                f"mocks=, functions= or durable_functions= ({', '.join(expected.unknown_functions)})"
            )
        if self.nothing_tried:
            yield (
                f"time was up after {self.seconds:.3g} s, before anything went wrong on purpose; "
                "give it a longer time_limit"
            )
        if self.missed is not None and self.missed.kind in ("undisturbed", "order"):
            yield f"{self.missed} did not come about: there never was more than one branch to go on with"
        elif self.missed is not None:
            calls = f"{expected.calls} API call{'' if expected.calls == 1 else 's'}"
            yield f"{self.missed} did not come about: the undisturbed run makes {calls}"

    @property
    def complete(self) -> bool:
        """Whether nothing was left out for want of time."""
        return self.tried >= self.planned or self.schedule is not None

    def __bool__(self) -> bool:
        return self.ok

    def reproduce(self) -> Report:
        """Run exactly the schedule again that was found, and report; without one, run the handler undisturbed."""
        if self.again is None:
            raise ValueError("this report was not made by explore()")
        return self.again(self.schedule or UNDISTURBED)

    def recipe(self) -> str:
        """Give the call that runs exactly this schedule again."""
        return f'explore(handler, event, schedule="{self.schedule or UNDISTURBED}")'

    def assert_ok(self) -> None:
        """Raise if a run differs.

        Raises:
            ExplorationError: With the report as its message.

        """
        if not self.ok:
            raise ExplorationError(str(self))

    def __str__(self) -> str:
        return self.text([self.recipe()])

    def text(self, recipes: Iterable[str]) -> str:
        """Tell all of it.

        Args:
            recipes: What runs the schedule again.

        """
        tried = f"{self.tried} of {self.planned} schedules in {self.seconds:.1f} s"
        if self.schedule is not None:
            return self._found(self.schedule, recipes, tried)
        if self.unfit:
            return "\n".join([self.unfit, self.expected.tree, *self._notes(), f"({tried})"])
        late = "" if self.complete else ", then time was up"
        told = [f"the handler did the same in {tried}{late}: {self.expected.outcome()}"]
        if self.expected.unanswered:
            names = ", ".join(dict.fromkeys(self.expected.unanswered))
            told.append(f"callbacks that nobody answered in time, for want of answers= or --answer: {names}")
        return "\n".join([*told, *self._notes()])

    def _notes(self) -> Iterator[str]:
        if self.is_unprobed:
            yield (
                "what the probe saw was not the same in undisturbed runs, and so was left out where these differ "
                "(setup= puts back what runs share)"
            )
        if self.left_behind:
            names = ", ".join(self.left_behind[:_SHOWN]) + (", …" if len(self.left_behind) > _SHOWN else "")
            yield (
                "threads that runs had left behind were still at work when the next one began, and may have reached "
                f"into it: {names}"
            )

    def _found(self, schedule: Schedule, recipes: Iterable[str], tried: str) -> str:
        more = len(self.differences) - _SHOWN
        shown = self.differences[:_SHOWN] + ([f"… and {more} more"] if more > 0 else [])
        carried = self.got.struck if self.got is not None else None
        happened = schedule.in_words(carried or "")
        if schedule == UNDISTURBED and self.got is self.expected:
            happened = "nothing went wrong"
        contradicts = self.got is not None and self.got.contradictions
        did = "what the handler was given contradicts the record" if contradicts else "the handler did something else"
        told = [
            f"{did} when {happened} [{schedule}]:",
            *(f"  * {difference}".replace("\n", "\n    ") for difference in shown),
            *(f"run it again: {recipe}" for recipe in recipes),
        ]
        if self.expected.own_threads or (self.got is not None and self.got.own_threads):
            told.append("threads of the handler's own began operations: ids go to whichever comes first")
        told += self._notes()
        once, again = ("the first time", "then") if schedule == UNDISTURBED else ("undisturbed", f"under {schedule}")
        if self.got is None or self.got.tree == self.expected.tree:
            told.append(f"{once}, and {again}: {self.expected.tree}")
        else:
            told += [f"{once}: {self.expected.tree}", f"{again}: {self.got.tree}"]
        return "\n".join([*told, f"({tried})"])
