"""What a bench found."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass
class Times:
    """How long something took, in seconds."""

    samples: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle; 0 without samples."""
        return median(self.samples) if self.samples else 0.0

    @property
    def minimum(self) -> float:
        """The least; 0 without samples."""
        return min(self.samples, default=0.0)


@dataclass
class Kind:
    """What one kind of operation costs in one replay.

    Attributes:
        name: The method of `DurableContext`.
        calls: How often the handler came to one.
        seconds: In all of them, without the code that they call.
        decoding: The share of that for reading payloads with the default serdes.
        payload_bytes: Read by that.

    """

    name: str
    calls: int
    seconds: float
    decoding: float
    payload_bytes: int


@dataclass
class Measurement:
    """What a bench found.

    Attributes:
        outcome: ``SUCCEEDED``, ``PENDING`` or ``FAILED`` as the handler's invocation answered, or ``FRESH_WORK``.
        detail: Where the replay stopped, or what it failed with.
        recorded: How many operations of each type the history has, the execution itself left out.
        event_bytes: Of the event's text.
        payload_bytes: Of all payloads in it.
        parse: Of ``json.loads`` of the event, which Lambda's runtime does before the handler is called.
        replay: Of the handler's invocation.
        kinds: By kind of operation.
        history: Seconds for loading the history and answering, once an invocation.
        your_code: Seconds in the handler and in functions it hands to operations.
        threads: Whether branches ran in threads, whose times overlap.

    """

    outcome: str
    detail: str | None
    recorded: dict[str, int]
    event_bytes: int
    payload_bytes: int
    parse: Times
    replay: Times
    kinds: list[Kind]
    history: float
    your_code: float
    threads: bool

    @property
    def operations(self) -> int:
        """How many operations the history has, the execution itself left out."""
        return sum(self.recorded.values())

    @property
    def decoding(self) -> float:
        """Seconds for reading payloads."""
        return sum(kind.decoding for kind in self.kinds)

    @property
    def engine(self) -> float:
        """Seconds for everything else that perdure does."""
        return self.history + sum(kind.seconds - kind.decoding for kind in self.kinds)

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain data; times in seconds."""
        return {
            "outcome": self.outcome,
            "detail": self.detail,
            "apiCalls": 0,
            "rounds": len(self.replay.samples),
            "operations": self.operations,
            "recorded": self.recorded,
            "eventBytes": self.event_bytes,
            "payloadBytes": self.payload_bytes,
            "parse": {"median": self.parse.median, "minimum": self.parse.minimum},
            "replay": {"median": self.replay.median, "minimum": self.replay.minimum},
            "split": {
                "history": self.history,
                "operations": self.engine - self.history,
                "decoding": self.decoding,
                "yourCode": self.your_code,
                "overlapping": self.threads,
            },
            "kinds": [
                {
                    "name": kind.name,
                    "calls": kind.calls,
                    "seconds": kind.seconds,
                    "perCall": kind.seconds / kind.calls,
                    "decoding": kind.decoding,
                    "payloadBytes": kind.payload_bytes,
                }
                for kind in self.kinds
            ],
        }
