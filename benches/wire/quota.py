"""A share of a CPU, as a small Lambda function has it: a cgroup of our own, where the system lets us make one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PERIOD = 20_000
"""Microseconds."""


@contextlib.contextmanager
def quota(share: float) -> Iterator[Path | str]:
    """Make a cgroup that may use a share of one CPU; give its folder, or why there is none."""
    allowed = str(int(PERIOD * share))
    try:
        folder, limits = _place()
        group = folder / f"perdure-bench-{os.getpid()}"
        group.mkdir()
    except OSError as error:
        yield f"no cgroup can be made here: {error}"
        return
    try:
        for name, text in limits.items():
            (group / name).write_text(text.format(allowed=allowed, period=PERIOD), encoding="ascii")
        yield group
    except PermissionError as error:
        yield f"no cgroup can be given a quota here: {error}"
    finally:
        with contextlib.suppress(OSError):
            group.rmdir()


def _place() -> tuple[Path, dict[str, str]]:
    """Find where groups are made, and what says how much CPU they get: of cgroup version 1, then 2."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()]
    for _, controllers, path in own:
        if "cpu" in controllers.split(","):
            mounted = next(m[1] for m in mounts if m[2] == "cgroup" and "cpu" in m[3].split(","))
            return Path(mounted + path), {"cpu.cfs_period_us": "{period}", "cpu.cfs_quota_us": "{allowed}"}
    for mount in mounts:
        if mount[2] == "cgroup2" and "cpu" in (Path(mount[1]) / "cgroup.subtree_control").read_text().split():
            return Path(mount[1]), {"cpu.max": "{allowed} {period}"}
    raise OSError("there is no controller for CPU time")


def inside(group: Path | None, command: list[str]) -> list[str]:
    """Give a command that runs another one within a group."""
    if group is None:
        return command
    return ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', str(group / "cgroup.procs"), *command]
