"""What stands around the processes that are measured: the service, a certificate of its own, Lambda's environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import trustme

from peers.service import PAGE, event_of, execution
from peers.values import small
from peers.works import ids, step_history
from perdure._core import encode_extended
from wire.service import write_pages

if TYPE_CHECKING:
    from types import TracebackType

    from peers.service import Wire

PAGES = 3
BENCHES = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Contender:
    """Whose processes are measured.

    Attributes:
        name: In the results.
        title: In the tables.
        module: The function's, below `wire.functions`.
        variables: What it needs of the environment besides Lambda's own.

    """

    name: str
    title: str
    module: str
    variables: tuple[tuple[str, str], ...] = ()


PERDURE = Contender("perdure", "perdure", "perdure_function")
OVER_BOTO3 = Contender("boto3", "perdure over boto3", "perdure_function", (("PERDURE_CLIENT", "boto3"),))
OFFICIAL = Contender("official", "official SDK", "official_function")
FLOOR = Contender("floor", "no SDK, no calls", "floor_function")
CALLERS = (PERDURE, OVER_BOTO3, OFFICIAL)


class World:
    """The service in its process, and the environment in which the contenders find it."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        authority, self._bundle, certificate = trustme.CA(), folder / "ca.pem", folder / "server.pem"
        authority.cert_pem.write_to_path(str(self._bundle))
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
        write_pages(folder, [_recorded(range(begin, begin + PAGE)) for begin in range(0, PAGES * PAGE, PAGE)])
        self._server = subprocess.Popen(  # noqa: S603  our own module
            [sys.executable, "-m", "wire.service", str(certificate), str(folder)],
            cwd=BENCHES,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._server.stdout is not None
        self._ports: list[int] = json.loads(self._server.stdout.readline())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.communicate()
        self._stack.close()

    def environment(self, contender: Contender, *, tls: bool) -> dict[str, str]:
        """Give what Lambda sets, and where the service is."""
        plain, secure = self._ports
        return {
            "PATH": os.environ["PATH"],
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "LAMBDA_TASK_ROOT": str(BENCHES),
            "PYTHONPATH": str(BENCHES),
            "AWS_REGION": "eu-central-1",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG",
            "AWS_SESSION_TOKEN": "a token that nobody checks",
            "AWS_LAMBDA_FUNCTION_NAME": "bench",
            "AWS_ENDPOINT_URL_LAMBDA": f"https://localhost:{secure}" if tls else f"http://127.0.0.1:{plain}",
            "AWS_CA_BUNDLE": str(self._bundle),
            **dict(contender.variables),
        }


def _recorded(numbers: range) -> list[Wire]:
    """Give finished steps, as either SDK records them."""
    (one,) = step_history(1, small)
    keys = ids(numbers.stop)
    return [
        {**one, "Id": keys[number], "StepDetails": {"Attempt": 1, "Result": encode_extended(small(number))}}
        for number in numbers
    ]


def event_text(given: dict[str, Any], *, paged: bool = False) -> str:
    """Give the event of an execution that has recorded nothing, or only pages that are still to be read."""
    event = event_of([], marker="0" if paged else None)
    event["InitialExecutionState"]["Operations"][0]["ExecutionDetails"] = execution(json.dumps(given))[
        "ExecutionDetails"
    ]
    return json.dumps(event)


def result_of(given: dict[str, Any]) -> str:
    """Give what the function's result must be."""
    if "map" in given:
        return json.dumps(sum(range(given["map"])))
    return json.dumps(sum(1000 + number for number in range(given["steps"])))
