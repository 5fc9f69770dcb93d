"""A wheel of the tree under test, as `make wheel` would make it, but of the build that is there."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import importlib.util
import platform
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
PACKAGE = Path(importlib.util.find_spec("perdure").origin).parent
DATA = PACKAGE.parent / "perdure.data"


def wheel_of_this_tree(folder: Path) -> Path:
    """Write the wheel into a folder. It is called fit for every Linux that this Python may be on."""
    distribution = importlib.metadata.distribution("perdure")
    name = f"perdure-{distribution.version}"
    tag = f"{sys.implementation.cache_tag.replace('cpython-', 'cp')}"
    tags = f"{tag}-{tag}-manylinux_2_17_{platform.machine()}"
    content = {
        path.relative_to(PACKAGE.parent).as_posix(): _without_debugging(path, folder)
        for path in sorted(PACKAGE.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and not _is_of_another_python(path)
    }
    content |= {f"{name}.data/{path.relative_to(DATA)}": path.read_bytes() for path in DATA.rglob("*.pth")}
    content |= {
        f"{name}.dist-info/{path}": (distribution.read_text(path) or "").encode()
        for path in ("METADATA", "entry_points.txt")
    }
    content[f"{name}.dist-info/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: false\nTag: {tags}\n".encode()
    )
    content[f"{name}.dist-info/RECORD"] = _record(content, name).encode()
    wheel = folder / f"{name}-{tags}.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path, data in content.items():
            archive.writestr(path, data)
    return wheel


def _is_of_another_python(path: Path) -> bool:
    """Tell whether it was compiled for another CPython, whose tests ran in this tree, too."""
    return path.suffix == ".so" and not path.name.endswith(sysconfig.get_config_var("EXT_SUFFIX"))


def _without_debugging(path: Path, folder: Path) -> bytes:
    """Read a file; a library without what is for debuggers, most of a debug build, if there is somebody to strip it."""
    if path.suffix == ".so" and (strip := shutil.which("strip")):
        stripped = folder / path.name
        subprocess.run([strip, "-g", "-o", stripped, path], check=True)
        path = stripped
    return path.read_bytes()


def _record(content: dict[str, bytes], name: str) -> str:
    lines = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}"
        for path, data in content.items()
    ]
    return "\n".join([*lines, f"{name}.dist-info/RECORD,,", ""])
