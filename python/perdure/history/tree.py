"""An execution as its history tells it: operations in a tree, each with its attempts, and when the function ran.

A step starts once an attempt; everything else starts once. An event of an operation that is not known (its START may
be missing from what one is allowed to see) makes the operation known.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from perdure.history.kinds import ENDED, KINDS, STATUSES, split

if TYPE_CHECKING:
    from collections.abc import Iterator

Event = dict[str, Any]


@dataclass(slots=True)
class Period:
    """A stretch of time; open while `ended_at` is None.

    Args:
        started_at: Its begin.
        ended_at: Its end.
        failed: It ended badly.

    """

    started_at: datetime
    ended_at: datetime | None = None
    failed: bool = False


@dataclass(slots=True)
class Node:
    """An operation."""

    id: str
    type: str
    started_at: datetime
    sub_type: str | None = None
    name: str | None = None
    parent_id: str | None = None
    status: str = "STARTED"
    ended_at: datetime | None = None
    attempts: list[Period] = field(default_factory=list)
    attempt_count: int = 0
    input_bytes: int | None = None
    result_bytes: int | None = None
    truncated: bool = False
    error: dict[str, Any] | None = None
    callback_id: str | None = None
    due: datetime | None = None
    """When a wait ends, an attempt is made again, or a callback times out."""
    heartbeat: timedelta | None = None
    """How long a callback may stay without a heartbeat. Heartbeats that have come are not part of a history."""
    target: str | None = None
    child_arn: str | None = None
    children: list[Node] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """What people call it: the subtype, else the type."""
        return self.sub_type or self.type.replace("_", " ").capitalize()

    @property
    def label(self) -> str:
        """Its name, else the begin of its id."""
        return self.name or f"({self.id[:8]})"

    @property
    def failed_attempt(self) -> int:
        """The number of the last attempt of a step, if that failed and is repeated; else 0."""
        ended = self.attempts if self.status == "PENDING" else self.attempts[:-1] if self.status == "STARTED" else []
        return self.attempt_count - len(self.attempts) + len(ended) if ended and ended[-1].failed else 0

    def heartbeat_due(self, now: datetime) -> datetime | None:
        """When the first heartbeat is due at the latest; None once that has passed, since there was one then."""
        first = None if self.heartbeat is None else self.started_at + self.heartbeat
        return first if self.status == "STARTED" and first is not None and first > now else None

    def deadline(self, now: datetime) -> datetime | None:
        """When something happens by itself, as far as is known: what is `due`, or a heartbeat that stays away."""
        return min((moment for moment in (self.due, self.heartbeat_due(now)) if moment is not None), default=None)

    @property
    def duration(self) -> timedelta | None:
        """From its first start to its end; None while it has none."""
        return None if self.ended_at is None else self.ended_at - self.started_at


@dataclass(slots=True)
class Run:
    """An execution.

    Args:
        described: What GetDurableExecution says.
        nodes: Its operations by id, in the order of their start.
        roots: Those that are in no other.
        invocations: When the function ran.
        failures: The errors of the invocations that have failed since the last one that did not.
        pauses: When the execution was paused.
        written_bytes: Bytes of the payloads and errors the function has written, as far as they are known.
        now: The moment that everything still open lasts to.

    """

    described: dict[str, Any]
    nodes: dict[str, Node] = field(default_factory=dict)
    roots: list[Node] = field(default_factory=list)
    invocations: list[Period] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    pauses: list[Period] = field(default_factory=list)
    written_bytes: int = 0
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def arn(self) -> str:
        """Its ARN."""
        return str(self.described["DurableExecutionArn"])

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.described["DurableExecutionName"])

    @property
    def function(self) -> str:
        """The plain name of its function."""
        parts = str(self.described.get("FunctionArn", "")).split(":")
        return parts[6] if len(parts) > 6 else parts[-1]  # noqa: PLR2004 - arn:aws:lambda:region:account:function:name

    @property
    def status(self) -> str:
        """Its status."""
        return str(self.described["Status"])

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return has_ended(self.described)

    @property
    def started_at(self) -> datetime:
        """When it started."""
        moment: datetime = self.described["StartTimestamp"]
        return moment

    @property
    def ended_at(self) -> datetime | None:
        """When it ended."""
        return self.described.get("EndTimestamp")

    @property
    def lasted(self) -> timedelta:
        """How long it took, or has taken until now."""
        return (self.ended_at or self.now) - self.started_at

    def walk(self) -> Iterator[tuple[Node, tuple[bool, ...]]]:
        """Give the operations as a tree is drawn: each with, level by level, whether it is the last of its siblings."""
        stack: list[tuple[Node, tuple[bool, ...]]]
        stack = [(node, (index == 0,)) for index, node in enumerate(reversed(self.roots))]
        while stack:
            node, lasts = stack.pop()
            yield node, lasts
            stack += [(child, (*lasts, index == 0)) for index, child in enumerate(reversed(node.children))]


def has_ended(described: dict[str, Any]) -> bool:
    """Tell whether nothing more happens to an execution."""
    return described["Status"] in ENDED or described["Status"] == "DELETING"


def build(described: dict[str, Any], events: list[Event], now: datetime | None = None) -> Run:
    """Make an execution of what the service says of it and of its events, which are in order."""
    run = Run(described)
    for event in events:
        _take(run, event)
    last = max((event["EventTimestamp"] for event in events), default=run.started_at)
    if run.ended:
        run.now = max(last, run.ended_at or last)
    else:
        run.now = max(last, now or datetime.now(UTC))
    _arrange(run)
    return run


def _take(run: Run, event: Event) -> None:
    kind, happened = split(event["EventType"])
    details = event.get(f"{event['EventType']}Details") or {}
    moment: datetime = event["EventTimestamp"]
    if event["EventType"] == "InvocationCompleted":
        error = details.get("Error") or {}
        failed = bool(error.get("Payload") or error.get("Truncated"))
        run.invocations.append(
            Period(details.get("StartTimestamp", moment), details.get("EndTimestamp", moment), failed)
        )
        run.failures = [*run.failures, error.get("Payload") or {}] if failed else []
    elif kind == "Execution":
        _take_execution(run, happened, moment)
    elif kind and happened in STATUSES and "Id" in event:
        node = run.nodes.get(event["Id"])
        if node is None:
            node = run.nodes[event["Id"]] = Node(event["Id"], KINDS[kind], moment)
        node.name = event.get("Name") or node.name
        node.sub_type = event.get("SubType") or node.sub_type
        node.parent_id = event.get("ParentId") or node.parent_id
        _take_payloads(run, node, details)
        if happened == "Started":
            _start(node, details, moment)
        else:
            _end(node, happened, details, moment)


def _take_execution(run: Run, happened: str, moment: datetime) -> None:
    if happened == "Paused":
        run.pauses.append(Period(moment))
    elif run.pauses and run.pauses[-1].ended_at is None and happened != "Started":
        run.pauses[-1].ended_at = moment


def _take_payloads(run: Run, node: Node, details: dict[str, Any]) -> None:
    for member in ("Input", "Result", "Error"):
        wrapped = details.get(member) or {}
        node.truncated |= bool(wrapped.get("Truncated"))
        value = wrapped.get("Payload")
        if member == "Error":
            node.error = value or (node.error if details.get("Error") is None else None)
            weight = sum(len(part.encode("utf-8", "replace")) for part in _parts(value))
        elif value is None:
            continue
        else:
            weight = len(value.encode("utf-8", "replace"))
            if member == "Input":
                node.input_bytes = weight
            else:
                node.result_bytes = weight
        if (node.type in ("STEP", "CONTEXT")) or member == "Input":  # the rest is written by others
            run.written_bytes += weight


def _parts(error: dict[str, Any] | None) -> Iterator[str]:
    for value in (error or {}).values():
        if isinstance(value, str):
            yield value
        else:
            yield from (str(part) for part in value or ())


def _start(node: Node, details: dict[str, Any], moment: datetime) -> None:
    node.status, node.ended_at, node.due = "STARTED", None, None
    if node.type == "STEP":
        node.attempts.append(Period(moment))
        node.attempt_count = max(node.attempt_count, len(node.attempts))
    elif node.type == "WAIT":
        node.due = details.get("ScheduledEndTimestamp")
    elif node.type == "CALLBACK":
        node.callback_id = details.get("CallbackId")
        if timeout := details.get("Timeout"):
            node.due = moment + timedelta(seconds=timeout)
        if heartbeat := details.get("HeartbeatTimeout"):
            node.heartbeat = timedelta(seconds=heartbeat)
    elif node.type == "CHAINED_INVOKE":
        node.target = details.get("FunctionName")
        node.child_arn = details.get("DurableExecutionArn")


def _end(node: Node, happened: str, details: dict[str, Any], moment: datetime) -> None:
    status = STATUSES[happened]
    if node.type == "STEP":
        if not node.attempts or node.attempts[-1].ended_at is not None:
            node.attempts.append(Period(moment))
        attempt = node.attempts[-1]
        attempt.ended_at, attempt.failed = moment, status == "FAILED"
        retry = details.get("RetryDetails") or {}
        node.attempt_count = max(node.attempt_count, retry.get("CurrentAttempt") or 0, len(node.attempts))
        if delay := retry.get("NextAttemptDelaySeconds"):
            node.status, node.due = "PENDING", moment + timedelta(seconds=delay)
            return
        if status == "SUCCEEDED":
            node.error = None
    node.status, node.ended_at, node.due = status, moment, None


def _arrange(run: Run) -> None:
    """Hang every operation below the one it is in; what is in none that is known, or in itself, stands at the root."""
    for node in run.nodes.values():
        parent = run.nodes.get(node.parent_id or "")
        (run.roots if parent is None or parent is node else parent.children).append(node)
    seen = {node.id for node, _ in run.walk()}
    for node in run.nodes.values():
        if node.id in seen:
            continue
        run.nodes[node.parent_id or ""].children.remove(node)  # a ring: cut it here
        run.roots.append(node)
        seen.update(found.id for found, _ in run.walk())
