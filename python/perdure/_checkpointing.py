"""When an invocation sends what it records. Users import it from `perdure` or `perdure.config`."""

from __future__ import annotations

from enum import Enum


class Checkpointing(Enum):
    """When the updates of an invocation leave, and which of them are waited for.

    BATCHED: what is queued leaves with the next call, and the outcome of each operation is waited for. A short step is
        one call.
    EAGER: each update is a call of its own, and a step's start is recorded before its function runs.
    OPTIMISTIC: the results of steps, child contexts, map and parallel are handed on before they are recorded. They
        leave with the next call, at the latest before anything outside is told or waited for. If the sandbox dies
        before that, those steps run again.
    """

    EAGER = "EAGER"
    BATCHED = "BATCHED"
    OPTIMISTIC = "OPTIMISTIC"


Checkpointing.__module__ = "perdure.config"
