"""`packaging/contents.py`, which looks into wheels: what it lets through, and each fault that it finds."""

from __future__ import annotations

import importlib.util
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "packaging" / "contents.py"
specification = importlib.util.spec_from_file_location("wheel_contents", SCRIPT)
assert specification is not None
assert specification.loader is not None
contents = importlib.util.module_from_spec(specification)
specification.loader.exec_module(contents)

INFO = "perdure-1.2.3.dist-info"
LIBRARY = "perdure/_core.cpython-313-x86_64-linux-gnu.so"


def library(*sections: int) -> bytes:
    """Make the headers of a shared library with sections of these kinds."""
    header = bytearray(64)
    header[:5] = b"\x7fELF\x02"
    struct.pack_into("<Q", header, 0x28, len(header))
    struct.pack_into("<HH", header, 0x3A, 64, len(sections))
    return bytes(header) + b"".join(struct.pack("<II", 0, kind) + bytes(56) for kind in sections)


def good() -> dict[str, bytes]:
    return {
        "perdure/__init__.py": b"",
        LIBRARY: library(1, 11) + b"/crates/ring-0.17.14/src/lib.rs /rustc/0123abc/library/core/src/lib.rs",
        "perdure/_core.pyi": b"",
        "perdure/py.typed": b"",
        "perdure-1.2.3.data/purelib/perdure_compat.pth": b"",
        f"{INFO}/METADATA": b"Name: perdure",
        f"{INFO}/entry_points.txt": (
            b"[console_scripts]\nperdure=perdure.cli:main\n[pytest11]\nperdure = perdure.testing.plugin\n"
        ),
        f"{INFO}/licenses/LICENSE": b"",
        f"{INFO}/licenses/THIRD_PARTY_LICENSES.txt": b"",
    }


real_package = contents.package


@pytest.fixture(autouse=True)
def small_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the package have few files."""
    names = [name for name in good() if name.startswith("perdure/") and name != LIBRARY]
    monkeypatch.setattr(contents, "package", lambda: names)


def wheel(folder: Path, files: dict[str, bytes]) -> Path:
    path = folder / "perdure-1.2.3-cp313-cp313-linux_x86_64.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_whole_wheel_has_no_faults(tmp_path: Path) -> None:
    assert contents.faults(wheel(tmp_path, good())) == []


@pytest.mark.parametrize("name", list(good()))
def test_whatever_is_missing_is_told(tmp_path: Path, name: str) -> None:
    files = good()
    del files[name]
    told = contents.faults(wheel(tmp_path, files))
    assert any(fault.endswith(("is missing", "not one")) for fault in told)


def test_a_module_for_another_python_is_told(tmp_path: Path) -> None:
    other = {"perdure/_core.cpython-311-x86_64-linux-gnu.so": library(1, 11)}
    assert contents.faults(wheel(tmp_path, good() | other)) == ["2 compiled modules are in it, not one"]


@pytest.mark.parametrize(
    "path",
    [
        b"path+file:///somewhere",
        b"/root/.cargo/registry/src/index/ring-0.17.14/src/lib.rs",
        b"/home/ada/perdure/rust/core/src/lib.rs",
        b"/Users/runner/work/perdure",
        b"C:\\Users\\runneradmin\\.cargo",
        b"D:\\a\\perdure\\perdure",
        str(SCRIPT.parent).encode(),
    ],
)
def test_a_path_of_the_machine_that_built_it_is_told(tmp_path: Path, path: bytes) -> None:
    files = good()
    files[LIBRARY] += b"\0" + path + b"\0"
    (fault, *_) = contents.faults(wheel(tmp_path, files))
    assert fault.startswith(f"{LIBRARY} names ")


def test_a_library_with_its_inner_names_is_told(tmp_path: Path) -> None:
    assert contents.faults(wheel(tmp_path, good() | {LIBRARY: library(1, 2)})) == [f"{LIBRARY} is not stripped"]


@pytest.mark.parametrize("name", ["tests/test_it.py", "perdure/__pycache__/context.cpython-313.pyc", "setup.py"])
def test_what_does_not_belong_in_it_is_told(tmp_path: Path, name: str) -> None:
    assert contents.faults(wheel(tmp_path, good() | {name: b""})) == [f"{name} does not belong in it"]


def test_an_entry_point_that_leads_elsewhere_is_told(tmp_path: Path) -> None:
    files = good() | {f"{INFO}/entry_points.txt": b"[pytest11]\nperdure = perdure.testing.plugin\n"}
    assert contents.faults(wheel(tmp_path, files)) == ["the entry point perdure=perdure.cli:main is missing"]


def test_the_command_fails_for_a_fault_and_for_no_wheel(tmp_path: Path) -> None:
    def code(*arguments: Path) -> int:
        return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, check=False).returncode

    whole = wheel(tmp_path, dict.fromkeys(real_package(), b"") | good())
    assert code(whole) == 0
    assert code() == 1
    assert code(wheel(tmp_path, good() | {"setup.py": b""})) == 1


def test_the_package_has_code_types_and_templates_and_nothing_that_is_made() -> None:
    names = real_package()
    assert {"perdure/__init__.py", "perdure/_core.pyi", "perdure/py.typed"} <= set(names)
    assert "perdure/cli/templates/app.py.txt" in names
    assert not any(name.endswith((".so", ".pyd", ".pyc")) for name in names)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_wheel_for_this_python_is_whole_and_works_where_nothing_else_is() -> None:
    make = ["make", "wheels", f"PYTHONS={sys.executable}"]
    ran = subprocess.run(make, cwd=SCRIPT.parents[1], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert sum(" MB, ran on CPython " in line for line in ran.stdout.splitlines()) == 1
