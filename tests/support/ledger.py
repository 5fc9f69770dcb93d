"""A plugin that keeps a ledger of what it is told in each invocation, and checks that it adds up."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from perdure.plugin import DurableInstrumentationPlugin


class Entries(DurableInstrumentationPlugin):
    """Of one invocation."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.hooks: list[tuple[str, str | None]] = []
        self.changed: dict[str, str] = {}
        self.last: dict[str, str] = {}

    def note(self, hook: str, info: Any) -> None:
        with self.lock:
            self.hooks.append((hook, getattr(info, "operation_id", None)))

    def on_invocation_start(self, info: Any) -> None:
        self.note("begin", info)

    def on_invocation_end(self, info: Any) -> None:
        self.note("end", info)
        self.last = {key: operation.status.value for key, operation in info.operations.items()}

    def on_operation_start(self, info: Any) -> None:
        self.note("started", info)

    def on_operation_end(self, info: Any) -> None:
        self.note("ended", info)

    def on_operation_change(self, info: Any) -> None:
        self.note("changed", info)
        self.changed |= {key: operation.status.value for key, operation in info.updated_operations.items()}

    def on_user_function_start(self, info: Any) -> None:
        self.note("called", info)

    def on_user_function_end(self, info: Any) -> None:
        self.note("returned", info)


class Ledger:
    """Makes the plugins, and keeps them."""

    def __init__(self) -> None:
        self.invocations: list[Entries] = []

    def create_plugin(self, _info: Any) -> Entries:
        self.invocations.append(Entries())
        return self.invocations[-1]

    def check(self, invocations: int) -> None:
        """Check that everything was told, once, and nothing after the end."""
        assert len(self.invocations) == invocations
        for entries in self.invocations:
            told = [hook for hook, _ in entries.hooks]
            assert told[0] == "begin"
            assert told[-1] == "end"
            assert (told.count("begin"), told.count("end")) == (1, 1)
            counts = Counter(entries.hooks)
            assert all(count == 1 for (hook, _), count in counts.items() if hook == "ended"), counts
            called = {place: count for (hook, place), count in counts.items() if hook == "called"}
            assert called == {place: count for (hook, place), count in counts.items() if hook == "returned"}
            assert entries.changed.items() <= entries.last.items()
