"""A contender's function in a process of its own, without Lambda's runtime client: an invocation a line of input.

python -m wire.probe MODULE    reads events as JSON, a line each; answers with what each took, wall and CPU
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
import time


class Context:
    """What Lambda hands to a handler."""

    function_name = "bench"
    aws_request_id = "4b6c0c64-7d3c-4d0a-9a3f-0d9a2f0d4b11"
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:bench:1"
    tenant_id = None

    def get_remaining_time_in_millis(self) -> int:
        """Give the time that is left."""
        return 900_000


def main() -> None:
    """Make one invocation for each event."""
    handler = importlib.import_module(f"wire.functions.{sys.argv[1]}").handler
    for line in sys.stdin:
        event = json.loads(line)
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        output = handler(event, Context())
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(json.dumps({"wall": wall, "cpu": cpu, "output": output}), flush=True)


if __name__ == "__main__":
    main()
