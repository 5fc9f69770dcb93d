"""A process that stays warm: however many invocations it has seen, it has grown by nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.wire import Connection, kind, scripted
from support.wired import authority, certified

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="it is read from Linux's /proc")

PROGRAM = """
import gc, json, os, sys, time
from perdure import durable_execution
from support.invocations import LambdaContext, event, op

@durable_execution
def handler(event, context):
    first = context.step(lambda _: "x" * 1_000)
    if event.get("n") == "branches":
        context.map([1, 2], lambda inner, *_: inner.step(lambda _: 1))
    return len(first)

def invoke(number):
    payload = '{"n": "branches"}' if number % 20 == 0 else "{}"
    given = handler(event(payload=payload), LambdaContext())
    assert given == {"Status": "SUCCEEDED", "Result": "1000"}, given

def standing():
    gc.collect()
    until = time.monotonic() + 5
    while True:
        with open("/proc/self/status") as status:
            lines = dict(line.split(":", 1) for line in status)
        if int(lines["Threads"]) == 1 or time.monotonic() > until:
            break
        time.sleep(0.01)  # one that was joined may still be on its way out
    return int(lines["VmRSS"].split()[0]), len(os.listdir("/proc/self/fd")), int(lines["Threads"])

count = int(sys.argv[1])
for number in range(count // 4):
    invoke(number)
before = standing()
for number in range(count):
    invoke(number)
print(json.dumps([before, standing()]))
"""

MOST_KIB = 1_024
"""What an allocator may take a little later: twenty bytes an invocation would be four times as much under soak."""


def grown(url: str, count: int, **variables: str) -> tuple[list[int], list[int]]:
    """Make invocations in a process of its own; give how it stood after some of them, and after all."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "token",
        "AWS_ENDPOINT_URL_LAMBDA": url,
        **variables,
    }
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(count)], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    before, after = json.loads(ran.stdout)
    return before, after


@pytest.mark.parametrize("transport", ["http", "https"])
@pytest.mark.parametrize("count", [1_000, pytest.param(20_000, marks=pytest.mark.soak)])
def test_a_warm_process_does_not_grow(count: int, transport: str, tmp_path: Path) -> None:
    numbers: set[int] = set()

    def script(connection: Connection) -> None:
        numbers.add(connection.number)
        kind(connection)

    authority().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = certified() if transport == "https" else None
    with scripted(script, context) as (port, requests):
        url = f"https://localhost:{port}" if context else f"http://127.0.0.1:{port}"
        before, after = grown(url, count, AWS_CA_BUNDLE=str(tmp_path / "ca.pem"))
        assert len(requests) > count
    assert after[1:] == before[1:], "descriptors and threads"
    assert after[0] - before[0] < MOST_KIB, f"from {before[0]} to {after[0]} KiB"
    assert after[2] == 1
    # Branches that call at the same time have a connection each; what is open is used again.
    assert len(numbers) < 1 + count / 10
