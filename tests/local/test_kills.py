"""SIGKILL at random moments of a busy server: nothing acknowledged is lost, and nothing runs twice that must not.

When a kill hits differs from run to run; what the callers ask for, and how long the server lives, follows from the
seed. `PERDURE_TEST_SEED=5` makes another siege of each.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import TYPE_CHECKING

import pytest

from support.kill_harness import Caller, Server
from support.verdict import judge

if TYPE_CHECKING:
    from pathlib import Path

SEED = int(os.environ.get("PERDURE_TEST_SEED", "0"))
CALLERS = 3
LONGEST_LIFE = 0.9
EARLY = 0.15
"""The share of the kills that hit a server which is still starting."""


def besiege(folder: Path, seed: int, kills: int) -> None:
    chance = Random(seed)  # noqa: S311 - moments to kill at
    sys.stdout.write(f"PERDURE_TEST_SEED {SEED}, seed {seed}, {kills} kills\n")  # shown if it fails
    server = Server(folder)
    callers = [Caller(server, number, Random(f"{seed}-{number}")) for number in range(CALLERS)]  # noqa: S311
    try:
        with ThreadPoolExecutor(CALLERS) as threads:
            for number in range(kills):
                server.start()
                life = chance.uniform(0, LONGEST_LIFE)
                if number and chance.random() < EARLY:
                    time.sleep(life)
                    server.kill()
                    continue
                server.wait()
                lives = [threads.submit(caller.live) for caller in callers]
                time.sleep(life)
                server.kill()
                for ended in lives:
                    ended.result()
            server.start()
            server.wait()
            for finished in [threads.submit(caller.finish) for caller in callers]:
                finished.result()
        server.kill()
    finally:
        server.end()
    everything = [started for caller in callers for started in caller.mine]
    sys.stdout.write(judge(server.database, server.told, everything, kills) + "\n")


@pytest.mark.parametrize("seed", [SEED + 1, SEED + 2])
def test_twenty_kills_lose_nothing(tmp_path: Path, seed: int) -> None:
    besiege(tmp_path, seed, 10)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(SEED + 11, SEED + 21))
def test_two_hundred_kills_lose_nothing(tmp_path: Path, seed: int) -> None:
    besiege(tmp_path, seed, 20)
