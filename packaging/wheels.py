"""Make a release wheel for each CPython that is here, look into it, and try it without compiler and source.

    make wheels
    make wheels PYTHONS="3.13 3.14"

On Linux, Zig links against the symbols of glibc 2.17, the oldest that Rust's own library works with, so that the
wheels run on every distribution of use, whatever this machine has. Elsewhere, and where the C library is another,
the tag says what the machine has.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import contents

REPOSITORY = Path(__file__).resolve().parents[1]
DIST = REPOSITORY / "dist"
SMOKE = REPOSITORY / "packaging" / "smoke.py"
GLIBC = "manylinux_2_17"


def output(*command: str | Path, **options: object) -> str:
    """Run a command, and give what it printed; how it failed is on the terminal."""
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout.strip()  # type: ignore[call-overload]


def pythons() -> list[str]:
    """Give the interpreters that are named, or those that are found."""
    try:
        found = output(REPOSITORY / ".ci" / "pythons", *os.environ.get("PYTHONS", "").split())
    except subprocess.CalledProcessError:
        sys.exit(1)  # which is not here has been printed
    return found.splitlines() or sys.exit("no CPython from 3.11 on is here")


def without_paths(environment: dict[str, str]) -> dict[str, str]:
    """Have the compiler name its sources by short names: a panic tells where it was raised, and so does the binary."""
    crates = Path(environment.get("CARGO_HOME") or Path.home() / ".cargo") / "registry" / "src"
    short = {crates: "/crates", REPOSITORY: "/perdure"}
    sources = Path(output("rustc", "--print", "sysroot")) / "lib" / "rustlib" / "src"
    if sources.exists():  # else Rust's own library has short names already
        short[sources] = "/rust"
    flags = [f"--remap-path-prefix={path}={name}" for path, name in short.items()]
    return environment | {"RUSTFLAGS": " ".join([environment.get("RUSTFLAGS", ""), *flags]).strip()}


def built(python: str, folder: Path, *options: str) -> Path:
    """Have maturin make a wheel for an interpreter; give its path."""
    tools = Path(sys.executable).parent
    environment = without_paths(dict(os.environ))
    environment["PATH"] = f"{tools}{os.pathsep}{environment['PATH']}"
    environment["CARGO_TARGET_DIR"] = str(REPOSITORY / "target" / "wheels")  # other flags would build all anew
    command = [tools / "maturin", "build", "--release", "--locked", "--out", folder, "--interpreter", python, *options]
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def build(python: str, folder: Path) -> Path:
    """Make the wheel for an interpreter of this machine; give its path."""
    is_glibc = platform.libc_ver()[0] == "glibc"
    return built(python, folder, *(("--zig", "--compatibility", GLIBC) if is_glibc else ()))


def tried(wheel: Path, python: str) -> str:
    """Install a wheel where there is nothing else, and use it; give what it ran on."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        output(python, "-m", "venv", folder / "venv")
        tools = folder / "venv" / "bin"
        # Neither a compiler nor the checkout is to be found.
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
        environment["PATH"] = str(tools)
        install = [tools / "python", "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
        output(*install, wheel, cwd=folder, env=environment)
        ran_on = output(tools / "python", "-I", SMOKE, cwd=folder, env=environment)
        output(*install, f"perdure[local] @ {wheel.as_uri()}", cwd=folder, env=environment)
        version = output(tools / "perdure", "--version", cwd=folder, env=environment)
        if version.split()[-1] != wheel.name.split("-")[1]:
            sys.exit(f"{wheel.name} says that it is {version}")
        examples = shutil.copytree(REPOSITORY / "examples", folder / "examples")
        order = ["run", "order:handler", "--event", "order.json", "--skip-time"]
        output(tools / "perdure", *order, cwd=examples, env=environment)
        output(tools / "perdure", "new", "fresh", cwd=folder, env=environment)
        output(tools / "perdure", "run", "--skip-time", cwd=folder / "fresh", env=environment)
        return ran_on


def main() -> None:
    """Make and try all of them; what is not well stays out of `dist/`."""
    DIST.mkdir(exist_ok=True)
    for python in pythons():
        with tempfile.TemporaryDirectory() as folder:
            wheel = build(python, Path(folder))
            if faults := contents.faults(wheel):
                sys.exit("\n".join([f"{wheel.name}:", *faults]))
            ran_on = tried(wheel, python)
            shutil.move(wheel, DIST / wheel.name)
        size = (DIST / wheel.name).stat().st_size
        print(f"dist/{wheel.name}: {size / 1e6:.2f} MB, ran on {ran_on}", flush=True)


if __name__ == "__main__":
    main()
