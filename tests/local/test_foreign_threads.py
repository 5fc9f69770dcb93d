"""Looking at what other threads do, without harm to anybody."""

from __future__ import annotations

import subprocess
import sys

GARBAGE = """
import gc, threading
from perdure.local.foreign_threads import at_rest

class Holder:
    def __init__(self):
        self.me, self.local = self, threading.local()
        self.local.value = 1

gc.set_threshold(1)
for _ in range(100):
    up, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: (up.set(), done.wait()))
    thread.start()
    up.wait()
    gc.disable()
    garbage = [Holder() for _ in range(5)]
    del garbage
    gc.enable()
    assert not at_rest(thread)
    done.set()
    thread.join()
assert gc.isenabled()
"""


def test_garbage_that_is_collected_meanwhile_does_not_bring_the_process_to_a_stand() -> None:
    subprocess.run([sys.executable, "-c", GARBAGE], check=True, timeout=60)
