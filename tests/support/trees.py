"""Trees of what runs side by side in an ``async def`` handler, as data, and how hypothesis writes them.

There are operations, each of which takes one position where it is called; members, an operation each that others run
beside; and statements, one after the other, of which a body is made. In a *certain* tree nothing is left to chance:
whatever ends first, and wherever it is cut, the same is recorded. In the others, who ends first decides what is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from hypothesis import strategies as st

# ---- operations


@dataclass(frozen=True)
class Step:
    """A step that fails so often: a plain function, or an async one that awaits so many turns of the loop."""

    turns: int | None
    failures: int
    attempts: int


@dataclass(frozen=True)
class Rest:
    """A wait."""

    seconds: int


@dataclass(frozen=True)
class Ask:
    """A wait_for_callback."""

    reply: str


@dataclass(frozen=True)
class Poll:
    """A wait_for_condition."""

    checks: int
    is_plain: bool


@dataclass(frozen=True)
class Call:
    """An invoke."""

    function: str


@dataclass(frozen=True)
class Within:
    """A child context, with what comes of it: `text`, `large` or `error`."""

    body: tuple[Any, ...]
    outcome: str


@dataclass(frozen=True)
class Spread:
    """A map or a parallel."""

    is_map: bool
    bodies: tuple[Within, ...]
    limit: int | None
    is_flat: bool
    rule: str


# ---- members


@dataclass(frozen=True)
class Member:
    """An operation as it is given to others: as it is, in a coroutine, or as a task of either."""

    form: str
    operation: Any


# ---- statements


@dataclass(frozen=True)
class Await:
    operation: Any
    is_guarded: bool


@dataclass(frozen=True)
class Gather:
    members: tuple[Member, ...]
    is_tolerant: bool


@dataclass(frozen=True)
class Group:
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Later:
    """A member, then other statements; then it is awaited, or it is forgotten."""

    member: Member
    between: tuple[Any, ...]
    is_awaited: bool


@dataclass(frozen=True)
class Combine:
    """A combinator, over members or over functions, which are children's."""

    kind: str
    members: tuple[Any, ...]
    timeout: int | None


@dataclass(frozen=True)
class InOrder:
    """An as_completed that is left after so many."""

    members: tuple[Member, ...]
    most: int


@dataclass(frozen=True)
class Choose:
    """A select: after each that comes one more is added; it is left after so many."""

    members: tuple[Member, ...]
    more: tuple[Member, ...]
    most: int


@dataclass(frozen=True)
class Limit:
    """A context.timeout, whose block may clean up at its end."""

    seconds: int
    body: tuple[Any, ...]
    is_cleaned: bool = False


@dataclass(frozen=True)
class Cancel:
    """A task that is cancelled: at once, after so many turns of the loop, or after another operation."""

    member: Member
    after: Any


@dataclass(frozen=True)
class Opened:
    """A callback, other statements, and its result."""

    reply: str
    between: tuple[Any, ...]


def fails(part: Any) -> bool:
    """Whether an operation or a statement raises something in the end."""
    match part:
        case Step():
            return part.failures >= part.attempts
        case Ask():
            return part.reply == "denied"
        case Call():
            return part.function == "broken"
        case Within():
            return part.outcome == "error" or any(map(fails, part.body))
        case Await():
            return not part.is_guarded and fails(part.operation)
    return False


# ---- how they are written

STEPS = st.builds(Step, st.sampled_from([None, 0, 1, 2]), st.sampled_from([0, 0, 0, 1, 2]), st.sampled_from([1, 2, 3]))
RESTS = st.builds(Rest, st.integers(1, 40))
SIMPLE = st.one_of(
    *[STEPS] * 4,
    *[RESTS] * 2,
    st.builds(Ask, st.sampled_from(["yes", "yes", "denied"])),
    st.builds(Poll, st.integers(1, 3), st.booleans()),
    st.builds(Call, st.sampled_from(["echo", "echo", "broken"])),
)
FORMS = st.sampled_from(["operation", "operation", "task", "coroutine", "task of a coroutine"])
TASKS = st.sampled_from(["task", "task of a coroutine"])
OUTCOMES = st.sampled_from(["text"] * 8 + ["large"] + ["error"] * 2)


def _few(parts: st.SearchStrategy[Any], most: int = 3, least: int = 1) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(parts, min_size=least, max_size=most).map(tuple)


def _members(operations: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Member, ...]]:
    return _few(st.builds(Member, FORMS, operations), 4)


def _sound(part: Any) -> bool:
    return not fails(part)


@cache
def operations(depth: int, is_certain: bool) -> st.SearchStrategy[Any]:
    """Give operations, with so many levels of others in them."""
    if depth == 0:
        return SIMPLE
    children = st.builds(Within, bodies(depth - 1, is_certain), OUTCOMES)
    spreads = st.builds(
        Spread,
        st.booleans(),
        _few(children, 4, 0),
        st.sampled_from([None, 1, 2]),
        st.booleans(),
        st.just("all") if is_certain else st.sampled_from(["all", "default", "first"]),
    )
    return st.one_of(SIMPLE, SIMPLE, children, children, spreads)


@cache
def statements(depth: int, is_certain: bool, is_root: bool = False) -> st.SearchStrategy[Any]:
    """Give statements, with so many levels of others in their operations."""
    given = operations(depth, is_certain)
    members = _members(given)
    between = _few(st.builds(Await, SIMPLE, st.just(True)), 2, 0)
    sound = _members(given.filter(_sound))
    below = bodies(depth - 1, is_certain) if depth else between
    children = st.builds(Within, below, OUTCOMES)
    common = [
        *[st.builds(Await, given, st.sampled_from([True, True, False]))] * 3,
        st.builds(Gather, members, st.just(True)),
        st.builds(Gather, sound, st.just(False)),
        st.builds(Group, sound),
        st.builds(Later, st.builds(Member, FORMS, given), between, st.just(True)),
        st.builds(Combine, st.just("all"), _few(children.filter(_sound)), st.none()),
        st.builds(Combine, st.just("all_settled"), _few(children), st.none()),
        st.builds(Opened, st.sampled_from(["yes", "denied"]), between),
        st.builds(Limit, st.just(900_000), _few(st.builds(Await, given, st.just(True)), 2, 0)),
    ]
    if is_root:
        common.append(st.builds(Later, st.builds(Member, FORMS, given), between, st.just(False)))
    if is_certain:
        return st.one_of(*common)
    functions = _few(children, 3)
    return st.one_of(
        *common,
        st.builds(Gather, members, st.just(False)),
        st.builds(Group, members),
        st.builds(Later, st.builds(Member, FORMS, given), between, st.just(False)),
        st.builds(
            Combine,
            st.sampled_from(["race", "any", "all", "all_settled"]),
            st.one_of(members, members, functions),
            st.sampled_from([None, None, 3, 15]),
        ),
        st.builds(InOrder, members, st.integers(1, 4)),
        st.builds(Choose, members, _few(st.builds(Member, FORMS, given), 3, 0), st.integers(1, 5)),
        st.builds(Limit, st.integers(1, 40), below, st.booleans()),
        st.builds(Cancel, st.builds(Member, TASKS, given), st.one_of(st.integers(0, 3), SIMPLE)),
    )


@cache
def bodies(depth: int, is_certain: bool) -> st.SearchStrategy[tuple[Any, ...]]:
    """Give what a context does."""
    return _few(statements(depth, is_certain), 3, 0)


def trees(is_certain: bool) -> st.SearchStrategy[Within]:
    """Give handlers."""
    found = st.builds(
        Within, _few(statements(1, is_certain, is_root=True), 4), st.sampled_from(["text"] * 5 + ["error"])
    )
    return found.map(_forgetting_nothing) if is_certain else found


def _forgetting_nothing(tree: Within) -> Within:
    """Have a handler that fails forget nothing that it has called: what it does not wait for may end before it."""
    if not fails(tree):
        return tree
    return replace(
        tree, body=tuple(replace(each, is_awaited=True) if isinstance(each, Later) else each for each in tree.body)
    )
