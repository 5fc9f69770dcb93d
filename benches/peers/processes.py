"""What needs a process of its own: the cost of importing, and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from peers.contenders import OFFICIAL_PACKAGE
from peers.service import event_of, text_of
from peers.values import small
from peers.works import NAME, step_history

STEPS = 1000

IMPORTS = {
    "perdure": "from perdure import durable_execution, DurableContext, StepContext",
    "official": (
        f"from {OFFICIAL_PACKAGE} import durable_execution; "
        f"from {OFFICIAL_PACKAGE}.context import DurableContext; from {OFFICIAL_PACKAGE}.types import StepContext"
    ),
    "nothing": "pass",
}

_PROBE = """
import json, logging, datetime, sys
from time import perf_counter
begin = perf_counter()
{imports}
took = perf_counter() - begin

def resident():
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    except OSError:
        import resource
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak // 1024 if sys.platform == "darwin" else peak

found = {{"seconds": took, "boto3": "boto3" in sys.modules, "imported": resident(), "replayed": None}}
if len(sys.argv) > 1:
    with open(sys.argv[1]) as file:
        event = json.load(file)
    found["loaded"] = resident()

    class Context:
        aws_request_id = "x"
        def get_remaining_time_in_millis(self):
            return 900000

    class Client:
        pass

    def body(event, context):
        return len([context.step(lambda step: None, name={name!r}) for _ in range({steps})])

    if "durable_execution" in globals():
        output = durable_execution(boto3_client=Client())(body)(event, Context())
        assert output["Status"] == "SUCCEEDED", output
    found["replayed"] = resident()
print(json.dumps(found))
"""


@dataclass
class Process:
    """What was seen of processes that import one of the contenders.

    Attributes:
        seconds: Of the import.
        boto3: Whether it brought boto3 along.
        imported: Resident memory after the import, in KiB.
        replayed: Resident memory after the import and a replay, in KiB.

    """

    seconds: list[float] = field(default_factory=list)
    boto3: bool = False
    imported: list[int] = field(default_factory=list)
    replayed: list[int] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle of the imports."""
        return median(self.seconds)

    @property
    def minimum(self) -> float:
        """The fastest import."""
        return min(self.seconds)


def processes(rounds: int, memory_rounds: int = 3) -> dict[str, Process]:
    """Import each contender ``rounds`` times, in turns, each time in a fresh interpreter."""
    found = {name: Process() for name in IMPORTS}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "event.json"
        file.write_text(text_of(event_of(step_history(STEPS, small))), encoding="utf-8")
        for number in range(rounds + 1):
            for name, process in found.items():
                seen = _probe(name, folder)
                if number:  # the first one may have to compile
                    process.seconds.append(seen["seconds"])
                    process.imported.append(seen["imported"])
                    process.boto3 |= seen["boto3"]
        for _ in range(memory_rounds):
            for name, process in found.items():
                process.replayed.append(_probe(name, folder, str(file))["replayed"])
    return found


def _probe(name: str, folder: str, *arguments: str) -> dict[str, float | int | bool]:
    source = _PROBE.format(imports=IMPORTS[name], name=NAME, steps=STEPS)
    # Byte code is kept, as it is when a package is installed: nobody compiles on every start.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(  # noqa: S603  our own text
        [sys.executable, "-c", source, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if done.returncode:
        raise RuntimeError(f"the probe of {name} failed:\n{done.stderr}")
    return json.loads(done.stdout)
