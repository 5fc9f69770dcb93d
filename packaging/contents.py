"""What must be in a wheel of perdure, and what must not: `python packaging/contents.py dist/*.whl`."""

from __future__ import annotations

import re
import struct
import sys
import zipfile
from fnmatch import fnmatch
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
WANTED = (
    "perdure-*.data/purelib/perdure_compat.pth",
    "perdure-*.dist-info/METADATA",
    "perdure-*.dist-info/entry_points.txt",
    "perdure-*.dist-info/licenses/LICENSE",
    "perdure-*.dist-info/licenses/THIRD_PARTY_LICENSES.txt",
)
PLACES = ("perdure/", "perdure-*.dist-info/", "perdure-*.data/purelib/perdure_compat.pth")
ENTRY_POINTS = ("perdure=perdure.cli:main", "perdure=perdure.testing.plugin")
# How the paths of a machine that builds look, whoever it belongs to; what precedes keeps words such as `a/root/b` out.
BUILD_PATH = re.compile(
    rb"path\+file:|\.cargo[/\\]registry"
    rb"|(?<![\w./-])(?:/root|/home/\w+|/Users/\w+|/github/\w+|/io)/[\w.-]+"
    rb"|[A-Z]:\\(?:Users|a|rust)\\"
)
SYMBOL_TABLE = 2  # SHT_SYMTAB: what `strip` takes away; the table of what is exported is another


def package() -> list[str]:
    """Give the files of the package in the checkout: code, types, and what the command lays out for new projects."""
    sources = REPOSITORY / "python"
    made = {".so", ".pyd", ".pyc"}
    found = (path for path in (sources / "perdure").rglob("*") if path.is_file() and path.suffix not in made)
    return [path.relative_to(sources).as_posix() for path in found]


def is_stripped(library: bytes) -> bool:
    """Tell whether a shared library of 64-bit ELF has no table of its inner names; others are not looked at."""
    if library[:5] != b"\x7fELF\x02":
        return True
    (start,) = struct.unpack_from("<Q", library, 0x28)
    size, count = struct.unpack_from("<HH", library, 0x3A)
    kinds = (struct.unpack_from("<I", library, start + number * size + 4)[0] for number in range(count))
    return SYMBOL_TABLE not in kinds


def leaked(content: bytes) -> set[str]:
    """Give the paths of the machine that built it."""
    here = {str(path) for path in (REPOSITORY, Path.home()) if path != Path("/") and str(path).encode() in content}
    return here | {found.decode(errors="replace") for found in BUILD_PATH.findall(content)}


def faults(wheel: Path) -> list[str]:
    """Give what is wrong with a wheel, a line each; none is well."""
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    told = [f"{wanted} is missing" for wanted in WANTED if not any(fnmatch(name, wanted) for name in contents)]
    told += [f"{name} is missing" for name in package() if name not in contents]
    points = "".join(
        text.decode() for name, text in contents.items() if fnmatch(name, "*.dist-info/entry_points.txt")
    ).replace(" ", "")
    told += [f"the entry point {point} is missing" for point in ENTRY_POINTS if point not in points]
    if (compiled := sum(name.endswith((".so", ".pyd")) for name in contents)) != 1:
        told.append(f"{compiled} compiled modules are in it, not one")
    for name, content in contents.items():
        if not any(fnmatch(name, place + "*") for place in PLACES) or "__pycache__" in name:
            told.append(f"{name} does not belong in it")
        told += [f"{name} names {path}" for path in sorted(leaked(content))]
        if not is_stripped(content):
            told.append(f"{name} is not stripped")
    return told


def main() -> None:
    """Look at each wheel that is named, and fail if there is none or one has a fault."""
    wheels = [Path(name) for name in sys.argv[1:]]
    told = [f"{wheel.name}: {fault}" for wheel in wheels for fault in faults(wheel)]
    if told or not wheels:
        sys.exit("\n".join(told) or "which wheels?")


if __name__ == "__main__":
    main()
