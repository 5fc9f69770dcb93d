"""What is installed beside the code: licences, entry points, and nothing of the machine that built it."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def installed(ending: str) -> list[str]:
    """Give the texts of the installed files whose path ends so."""
    files = metadata.distribution("perdure").files or []
    return [Path(file.locate()).read_text(encoding="utf-8") for file in files if str(file).endswith(ending)]


def test_the_licences_of_linked_crates_are_those_that_the_lock_file_asks_for() -> None:
    script = REPOSITORY / "packaging" / "third_party.py"
    ran = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_both_licence_files_are_installed() -> None:
    for name in ("LICENSE", "THIRD_PARTY_LICENSES.txt"):
        assert installed(f".dist-info/licenses/{name}") == [(REPOSITORY / name).read_text(encoding="utf-8")]


def test_no_metadata_names_the_place_where_it_was_built() -> None:
    files = metadata.distribution("perdure").files or []
    # This one is written by the installer, for an installation from a folder.
    names = [file for file in files if ".dist-info" in str(file) and file.name != "direct_url.json"]
    assert len(names) > 4
    told = {str(file) for file in names if str(REPOSITORY) in Path(file.locate()).read_text(encoding="utf-8")}
    assert told == set()


def test_the_command_and_the_pytest_plugin_are_entry_points() -> None:
    points = {(point.group, point.name): point.value for point in metadata.distribution("perdure").entry_points}
    assert points == {
        ("console_scripts", "perdure"): "perdure.cli:main",
        ("pytest11", "perdure"): "perdure.testing.plugin",
    }


def test_types_are_published() -> None:
    package = REPOSITORY / "python" / "perdure"
    assert (package / "py.typed").is_file()
    assert (package / "_core.pyi").is_file()


def test_the_source_distribution_has_all_that_a_wheel_is_made_of(tmp_path: Path) -> None:
    maturin = Path(sys.executable).with_name("maturin")
    subprocess.run([maturin, "sdist", "--out", tmp_path], cwd=REPOSITORY, capture_output=True, check=True)
    (path,) = tmp_path.glob("perdure-*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    listed = subprocess.run(
        ["git", "ls-files", "python", ":(glob)rust/*/src/**", ":(glob)rust/*/Cargo.toml"],  # noqa: S607
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = {*listed.stdout.split(), "Cargo.lock", "LICENSE", "THIRD_PARTY_LICENSES.txt"}
    assert wanted - names == set()
    assert not any(name.endswith((".so", ".pyd")) for name in names)


WITHOUT_POSIX = """
import importlib, os, pkgutil, sys
for name in ("fork", "register_at_fork", "getuid", "fchmod", "sched_getaffinity", "pread", "pwrite", "killpg"):
    vars(os).pop(name, None)
for name in ("fcntl", "grp", "pwd", "readline", "resource", "syslog", "termios", "tty", "pty"):
    sys.modules[name] = None
import perdure
for module in pkgutil.walk_packages(perdure.__path__, "perdure."):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
"""


def test_all_modules_import_where_there_is_nothing_of_posix() -> None:
    """As on Windows, for which there are wheels."""
    program = f"import sys; sys.path[:0] = {sys.path!r}\n{WITHOUT_POSIX}"
    ran = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
