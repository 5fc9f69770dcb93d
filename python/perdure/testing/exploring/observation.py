"""What can be seen of a run, and how two runs differ, in words."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from perdure.testing.exploring.mask import same
from perdure.testing.exploring.world import Key, Unlike

if TYPE_CHECKING:
    from perdure.testing.exploring.mask import JsonText, Mask
    from perdure.testing.exploring.watchdog import StuckError

_KIND = ("Type", "SubType", "Name")
_LONG = 600
_BEFORE, _WINDOW = 60, 400


@dataclass
class Observation:
    """What can be seen of a run, comparable but for moments, which differ from run to run.

    Args:
        status: The execution's.
        result: Its result as JSON.
        error: Its error.
        operations: What is recorded, what was asked for, and how often functions of steps ran, of it and the executions
            it invoked.
        names: What to call the operations.
        open_callbacks: Those that are still open.
        unanswered: Those that nobody answered in time.
        probe: What the probe saw.
        calls: How many API calls were made.
        choices: How often it was open what went on next: one of several branches, or a thread of the handler's own.
        width: How many branches there were to choose from at most.
        calls_of_branches: The API calls that were made by branches.
        turns: What attempts of steps, checks and functions were run, in order.
        own_threads: Whether threads of the handler's own began operations.
        is_asynchronous: Whether there were tasks in the place of threads.
        invocations: How many there were.
        tree: All of it, drawn.
        interrupted: Whether an at-most-once step was cut off.
        raced: The batches that ended before all of their branches had, and what recorded who came first.
        decided: The latter: those who did not come first are left behind, wherever they are.
        in_races: The operations below these.
        contradictions: In words, how what it gave contradicts what is recorded.
        struck: What the API call carried with which the schedule came about, or what it put in order; None if it did
            not come about.
        stuck: Where it was when it was given up.
        seconds: How long it took.
        beside: The threads that earlier runs had left behind, and that were still at work when this one began.
        unlike: What in the world really was not as it was held to be.
        is_durable: Whether perdure's engine ran at all.
        is_run_again: Whether the invocation was killed with the end of a step on its way, whose function ran again.
        unknown_functions: Those that were invoked, and that nobody stands for.

    """

    status: str
    result: JsonText | None
    error: dict[str, Any] | None
    operations: dict[Key, dict[str, Any]]
    names: dict[Key, str]
    open_callbacks: list[str]
    unanswered: list[str]
    probe: Any
    calls: int
    choices: int
    width: int
    calls_of_branches: list[int]
    turns: list[Any]
    own_threads: bool
    is_asynchronous: bool
    invocations: int
    tree: str
    interrupted: bool
    raced: set[Key]
    decided: set[Key]
    in_races: set[Key]
    contradictions: list[str]
    struck: str | None
    stuck: StuckError | None
    is_durable: bool
    is_run_again: bool
    unknown_functions: list[str]
    seconds: float
    beside: list[str] = field(default_factory=list)
    unlike: Unlike = Unlike.NOTHING

    def facts(self) -> dict[str, Any]:
        """Give all that can be compared as one value."""
        return {
            "status": self.status,
            "result": self.result,
            "error": self.error,
            "operations": self.operations,
            "callbacks": self.open_callbacks,
            "probe": self.probe,
        }

    def without(self, mask: Mask) -> Observation:
        """Leave out what varies; of a whole member that does, what stands in its place says so."""
        if not mask:
            return self
        return replace(
            self,
            status=mask.over(self.status, "status"),
            result=mask.over(self.result, "result"),
            error=mask.over(self.error, "error"),
            operations={
                key: mask.over(recorded, "operations", key)
                for key, recorded in self.operations.items()
                # There now and then, or now this and now that is at its place.
                if not (mask.hides([key], "operations") or mask.hides(_KIND, "operations", key))
            },
            open_callbacks=mask.over(self.open_callbacks, "callbacks"),
            probe=mask.over(self.probe, "probe"),
        )

    def without_probe(self, mask: Mask) -> Observation:
        """Leave out what varies of what the probe saw, and nothing else."""
        return replace(self, probe=mask.over(self.probe, "probe"))

    def differences(self, other: Observation, *, result: bool, probe: bool) -> list[str]:
        """Say in words how another run differs from this one.

        Args:
            other: The other run.
            result: Whether its outcome and operations must be the same, but for those that raced; or it only must come
                to its end, and do the same within itself.
            probe: Whether what the probe saw must be the same.

        """
        if other.stuck is not None:
            return [f"it had not come to its end after {other.stuck.seconds:.3g} s, and was here:\n{other.stuck.where}"]
        found = list(other.contradictions)
        if result:
            found += self._outcome_differences(other)
            keys = [*self.operations, *(key for key in other.operations if key not in self.operations)]
            for key in keys if not (self.decided or other.decided) else ():
                if key not in self.in_races and key not in other.in_races:
                    found += self._operation_differences(key, other)
        elif other.status == "RUNNING" != self.status:
            found.append("the execution did not come to its end")
        elif other.is_non_deterministic and not self.is_non_deterministic:
            found.append(f"it did not even do the same within one run: {other.outcome()}")
        if probe and not same(self.probe, other.probe):
            found.append(_apart("the probe saw", self.probe, other.probe, "sees"))
        return found

    def is_in_the_order_of(self, other: Observation) -> bool:
        """Tell whether what both did came in the same order."""
        mine, others = set(self.turns), set(other.turns)
        return [key for key in self.turns if key in others] == [key for key in other.turns if key in mine]

    def raced_alike(self, other: Observation) -> bool:
        """Tell whether the batches that ended before all of their branches had gave the same in both.

        Then whatever comes of them must be the same, too.
        """
        nothing: dict[str, Any] = {}
        return all(
            self.operations.get(key, nothing).get("Result") == other.operations.get(key, nothing).get("Result")
            for key in self.raced | other.raced
        )

    def unanswered_keys(self) -> set[Key]:
        """Give the callbacks that nobody answered."""
        unanswered = ("STARTED", "TIMED_OUT")
        return {key for key, o in self.operations.items() if o["Type"] == "CALLBACK" and o["Status"] in unanswered}

    @property
    def is_non_deterministic(self) -> bool:
        """Whether it asked for other operations than those it had recorded itself."""
        return self.end[1].endswith("NonDeterministicExecutionError")

    @property
    def end(self) -> tuple[str, str]:
        """How it ended: the status, and the type of the error."""
        return self.status, str(self.error.get("ErrorType")) if isinstance(self.error, dict) else ""

    def outcome(self) -> str:
        """Say how the run ended."""
        told: Any = self.result if self.error is None else self.error
        if isinstance(told, dict):
            told = f"{str(told.get('ErrorType')).rpartition('.')[2]}: {told.get('ErrorMessage')}"
        return f"{self.status} {told}" if told is not None else self.status

    def _outcome_differences(self, other: Observation) -> list[str]:
        found = []
        if self.outcome() != other.outcome():
            found.append("the outcome was {}, and is {}".format(*_cut(self.outcome(), other.outcome())))
        else:
            for name, mine, others in (
                ("result", self.result, other.result),
                ("error", self.error, other.error),
            ):
                if mine != others:
                    found.append(_apart(f"the {name} was", mine, others))
        if self.open_callbacks != other.open_callbacks and not (self.raced or other.raced):
            found.append(_apart("open callbacks were", self.open_callbacks, other.open_callbacks, "are"))
        return found

    def _operation_differences(self, key: Key, other: Observation) -> list[str]:
        mine, others = self.operations.get(key), other.operations.get(key)
        name = self.names.get(key) or other.names.get(key)
        if mine is None or others is None:
            return [f"operation {name} is {'only recorded now' if mine is None else 'no longer recorded'}"]
        if (was := _kind(mine)) != (now := _kind(others)):
            return [f"where {was} was recorded, {now} is now"]
        members = [member for member in mine.keys() | others.keys() if mine.get(member) != others.get(member)]
        if "Runs" in members and not (self.own_threads or other.own_threads):
            members.remove("Runs")
            runs = f"its function ran {_times(mine.get('Runs'))}, and runs {_times(others.get('Runs'))}"
            return [f"operation {name}: {runs}", *_told(name, members, mine, others)]
        return _told(name, [member for member in members if member != "Runs"], mine, others)


def _told(name: str | None, members: list[str], mine: dict[str, Any], others: dict[str, Any]) -> list[str]:
    return [_apart(f"operation {name}: {m} was", mine.get(m), others.get(m)) for m in sorted(members)]


def _kind(operation: dict[str, Any]) -> str:
    name = operation.get("Name")
    return f"a {operation.get('SubType') or operation['Type']} " + (f"named {name!r}" if name else "without a name")


def _times(count: int | None) -> str:
    return f"{count or 0} time" + ("" if count == 1 else "s")


def _apart(subject: str, one: Any, other: Any, verb: str = "is") -> str:
    was, now = _cut(repr(one), repr(other))
    return f"{subject} {was}, and {verb} {now}"


def _cut(one: str, other: str) -> tuple[str, str]:
    """Cut two long texts to where they differ."""
    if max(len(one), len(other)) <= _LONG:
        return one, other
    differs = (index for index, (was, now) in enumerate(zip(one, other, strict=False)) if was != now)
    begin = max(0, next(differs, min(len(one), len(other))) - _BEFORE)

    def cut(text: str) -> str:
        piece = text[begin : begin + _WINDOW]
        return ("…" if begin else "") + piece + ("…" if begin + _WINDOW < len(text) else "")

    return cut(one), cut(other)
