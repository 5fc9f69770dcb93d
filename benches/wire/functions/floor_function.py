"""The function without an SDK: nothing is durable and nothing is called. Nobody can be faster."""

import json
from typing import Any

from wire.functions.body import body


class Steps:
    """Runs what it is given."""

    def step(self, function: Any, name: str) -> Any:  # noqa: ARG002  as the SDKs are called
        """Run a function."""
        return function(None)


def handler(event: Any, _context: Any) -> Any:
    """Do the work, and answer as a durable function does."""
    operations = event["InitialExecutionState"]["Operations"]
    given = json.loads(operations[0]["ExecutionDetails"]["InputPayload"])
    return {"Status": "SUCCEEDED", "Result": json.dumps(body(given, Steps()))}
