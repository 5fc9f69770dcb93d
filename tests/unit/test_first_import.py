"""What `import perdure` loads: a new sandbox pays for each module of it before the first invocation begins."""

from __future__ import annotations

from support import imports

FIRST = "from perdure import durable_execution, DurableContext, StepContext"

OWN = {
    "perdure",
    "perdure._checkpointing",
    "perdure._control",
    "perdure._core",
    "perdure._decorators",
    "perdure._frozen",
    "perdure._functions",
    "perdure._handed",
    "perdure._log",
    "perdure._unrecoverable",
    "perdure.context",
    "perdure.engine",
    "perdure.engine.checkpoint",
    "perdure.engine.client",
    "perdure.engine.driver",
    "perdure.engine.hosted",
    "perdure.engine.invocation",
    "perdure.engine.operations",
    "perdure.engine.operations.callback",
    "perdure.engine.operations.child",
    "perdure.engine.operations.common",
    "perdure.engine.operations.condition",
    "perdure.engine.operations.step",
    "perdure.engine.operations.wait",
    "perdure.engine.received",
    "perdure.engine.threads",
    "perdure.engine.time_left",
    "perdure.exceptions",
    "perdure.execution",
}

OF_THE_STANDARD_LIBRARY = {"__future__", "_contextvars", "_typing", "contextvars", "typing", "typing.io", "typing.re"}

# Base classes, decorators and functions by which a module makes classes that are dear to make.
DEAR = """
import sys
def dear(kind):
    is_dict = hasattr(kind, "__total__") and kind.__module__ != "typing"
    return hasattr(kind, "__dataclass_fields__") or (issubclass(kind, tuple) and hasattr(kind, "_fields")) or is_dict
for name in sorted(name for name in sys.modules if name.partition(".")[0] == "perdure"):
    for kind in vars(sys.modules[name]).values():
        if isinstance(kind, type) and dear(kind):
            sys.modules[f"dear:{name}.{kind.__name__}"] = sys
"""


def test_nothing_is_loaded_that_a_first_invocation_does_not_need() -> None:
    # Whoever adds to these: 0.2 ms of the 15 that there are, for a module of nothing; see `docs/architecture.md`.
    assert imports.brought(FIRST, before="import logging, json, datetime") <= OWN | OF_THE_STANDARD_LIBRARY


def test_no_class_is_made_of_the_kinds_that_take_a_millisecond() -> None:
    brought = imports.brought(f"{FIRST}\n{DEAR}", before="import logging, json, datetime")
    assert not [name for name in brought if name.startswith("dear:")]
    seen = imports.brought(f"import perdure.config\n{DEAR}", before="import logging, json, datetime")
    assert [name for name in seen if name.startswith("dear:")]  # it finds what there is elsewhere
