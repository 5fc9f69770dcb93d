"""Make Lambda layers of wheels: `python packaging/layer.py dist/*.whl`.

Each wheel that a runtime of Lambda's with durable functions can load becomes `perdure-layer-python3.13-x86_64.zip`
beside it; of several for the same runtime, the newest. In a layer is what a function may need of the wheel, where
Lambda looks for it: no local service, test runner or command line. Its Python is bytecode, which Lambda could not keep:
a layer is read-only there, so without it each cold start would compile what it imports. The sources, an eighth of a
layer, are left out where the bytecode is: tracebacks name perdure's files, functions and lines, and do not show these.
So are docstrings, another twentieth, and with them the assertions, all of which only tell type checkers what is so.
boto3 is not in it: Lambda has it, and perdure does without.

The same wheel, Python and libdeflate give the same bytes.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import archive

RUNTIMES = ("3.13", "3.14")
"""The versions of CPython whose runtimes have durable functions."""

GLIBC = 34
"""Those runtimes are on Amazon Linux 2023, whose glibc is 2.34."""

MOST_BYTES = 2_000_000
"""A layer of a release build is smaller; that of a debug build is larger."""

_NOT_FOR_LAMBDA = re.compile(
    r"perdure/(?:local|testing|cli|bench|migration|history)/"
    r"|perdure/_core\.pyi$"
    r"|[^/]+\.dist-info/(?:RECORD|entry_points\.txt)$"
)
_MOVED = re.compile(r"^[^/]+\.data/(?:purelib|platlib)/")
_ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64"}
_OLD_NAMES = {"manylinux1": 5, "manylinux2010": 12, "manylinux2014": 17}
_PLATFORM = re.compile(r"(?P<kind>manylinux(?:_2_(?P<glibc>\d+)|1|2010|2014))_(?P<machine>x86_64|aarch64)")


class UnfitError(Exception):
    """Lambda could not load this wheel; the message says why."""


class Wheel(NamedTuple):
    """A wheel, and the runtime that it is for."""

    path: Path
    python: str
    architecture: str

    @property
    def site(self) -> PurePosixPath:
        """Where in a layer that runtime, and no other, looks for packages."""
        return PurePosixPath("python/lib", f"python{self.python}", "site-packages")

    @property
    def layer(self) -> Path:
        """Give the path of its layer."""
        return self.path.with_name(f"perdure-layer-python{self.python}-{self.architecture}.zip")


def wheel(path: Path) -> Wheel:
    """Read from a wheel's name which runtime it is for.

    Raises:
        UnfitError: There is none.

    """
    python_tag, abi, platforms = path.stem.split("-")[-3:]
    python = next((version for version in RUNTIMES if abi == python_tag == f"cp{version.replace('.', '')}"), None)
    if python is None:
        raise UnfitError(f"durable functions run on Python {' and '.join(RUNTIMES)}, and this is for {abi}")
    found = [match for platform in platforms.split(".") if (match := _PLATFORM.fullmatch(platform))]
    if not found:
        raise UnfitError(f"{platforms} does not say that it runs on Linux with glibc 2.{GLIBC}")
    if min(_glibc(match) for match in found) > GLIBC:
        raise UnfitError(f"Lambda has glibc 2.{GLIBC}, and this needs a newer one")
    return Wheel(path, python, _ARCHITECTURES[found[0]["machine"]])


def _glibc(platform: re.Match[str]) -> int:
    return int(platform["glibc"] or _OLD_NAMES[platform["kind"]])


def files(path: Path) -> dict[str, bytes]:
    """Give the files that installing a wheel puts into site-packages, without those that no function needs."""
    with zipfile.ZipFile(path) as packed:
        installed = {_MOVED.sub("", name): name for name in packed.namelist() if not name.endswith("/")}
        found = {
            name: packed.read(source)
            for name, source in installed.items()
            if not _NOT_FOR_LAMBDA.match(name) and not name.partition("/")[0].endswith(".data")
        }
    # The metadata end with the README.
    return {
        name: data.partition(b"\n\n")[0] + b"\n" if name.endswith(".dist-info/METADATA") else data
        for name, data in found.items()
    }


def interpreter(python: str) -> str | None:
    """Find a CPython of that version: this one, or the one on the path; no prerelease, whose bytecode may differ."""
    is_it = python == f"{sys.version_info.major}.{sys.version_info.minor}"
    found = sys.executable if is_it else shutil.which(f"python{python}")
    if found is None:
        return None
    # A shim may stand for a version that is not there.
    ask = "import sys; sys.exit(sys.version_info.releaselevel != 'final')"
    answers = subprocess.run([found, "-c", ask], check=False, capture_output=True).returncode == 0
    return found if answers else None


def bytecode(sources: dict[str, bytes], python: str, site: PurePosixPath) -> dict[str, bytes]:
    """Compile what is Python of some files, to stand in their place in a layer."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, content in sources.items():
            if name.endswith(".py"):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(content)
        kind = ["-q", "-b", "-j1", "-o2", "--invalidation-mode", "unchecked-hash"]
        subprocess.run(
            [python, "-P", "-S", "-m", "compileall", *kind, "-s", folder, "-p", f"/opt/{site}", folder],
            check=True,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.pyc")}


def make(source: Wheel) -> tuple[Path, bool]:
    """Make the layer of a wheel; give its path, and whether bytecode is in it."""
    content = files(source.path)
    python = interpreter(source.python)
    if python is not None:
        compiled = bytecode(content, python, source.site)
        content = {name: data for name, data in content.items() if not name.endswith(".py")} | compiled
    archive.write({f"{source.site}/{name}": data for name, data in content.items()}, source.layer)
    return source.layer, python is not None


def newest(paths: list[Path]) -> list[Wheel]:
    """Choose the newest wheel of each runtime; say of each that fits none why."""
    chosen: dict[tuple[str, str], Wheel] = {}
    for path in sorted(paths, key=lambda path: path.stat().st_mtime):
        try:
            found = wheel(path)
        except UnfitError as error:
            print(f"no layer of {path.name}: {error}", file=sys.stderr)
        else:
            chosen[found.python, found.architecture] = found
    return list(chosen.values())


def main() -> int:
    """Make the layers, and tell their sizes."""
    parser = argparse.ArgumentParser(description="Make Lambda layers of perdure's wheels.")
    parser.add_argument("wheels", nargs="+", type=Path)
    chosen = newest(parser.parse_args().wheels)
    if not chosen:
        version = RUNTIMES[0]
        print(f"no wheel for Lambda: make layer PYTHON=python{version} VENV=.venv-{version}, on Linux", file=sys.stderr)
        return 1
    is_well = True
    for source in chosen:
        layer, has_bytecode = make(source)
        size = layer.stat().st_size
        note = "" if has_bytecode else f", without bytecode: there is no python{source.python} here"
        print(f"{layer}: {size / 1e6:.2f} MB{note}")
        if size > MOST_BYTES:
            print(f"{layer.name} is larger than {MOST_BYTES / 1e6:.2f} MB: not a release build?", file=sys.stderr)
            is_well = False
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
