"""Make release wheels for Linux on arm64 on a machine that is not, and try each on an arm64 CPython under QEMU.

    make wheels-arm64
    make wheels-arm64 PYTHONS="3.14"

1. *Build.* rustc makes code for arm64 once it has the standard library for it, which `rustup target add` fetches. Zig
   links, as it does for this machine, and brings the C library's symbols. PyO3 needs no interpreter: maturin knows what
   there is to know of a CPython on arm64.
2. *An arm64 CPython.* Debian has one of each version that it supports. apt resolves what it needs, as if for a machine
   with nothing installed, from the mirror that this machine uses; the packages are unpacked into a folder, and none is
   installed. Of this machine apt learns nothing: it has folders of its own for it.
3. *Try.* QEMU runs programs of arm64, and looks into that folder for their libraries. pip, of this machine, installs
   the wheel and what it needs for arm64 into a virtual environment of that CPython, from wheels alone.

What is downloaded, some 30 MB, is kept in `target/arm64`. What cannot be had is named, and nothing is left in `dist/`
that was not tried.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import contents
import wheels
from wheels import DIST, GLIBC, REPOSITORY, SMOKE, output

TARGET = "aarch64-unknown-linux-gnu"
VERSIONS = ("3.13", "3.14")
"""Those of Lambda's runtimes with durable functions."""

FOLDER = REPOSITORY / "target" / "arm64"
SUITE = "sid"
"""Where Debian has the newest CPythons."""

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
EMULATORS = ("qemu-aarch64-static", "qemu-aarch64")


def require_library() -> None:
    """Have Rust's standard library for arm64."""
    if (Path(output("rustc", "--print", "sysroot")) / "lib" / "rustlib" / TARGET / "lib").exists():
        return
    if shutil.which("rustup") is None:
        sys.exit(f"missing: Rust's standard library for {TARGET}; there is no rustup to fetch it")
    if subprocess.run(["rustup", "target", "add", TARGET], check=False).returncode:
        sys.exit(f"missing: Rust's standard library for {TARGET}; rustup could not fetch it")


class Debian:
    """What Debian has for another machine, unpacked into a folder."""

    def __init__(self, folder: Path) -> None:
        if missing := [name for name in ("apt-get", "dpkg-deb") if shutil.which(name) is None]:
            sys.exit(f"missing: {' and '.join(missing)}, to unpack an arm64 CPython; a Debian or a derivative has them")
        if not KEYRING.exists():
            sys.exit(f"missing: {KEYRING}, of the package debian-archive-keyring")
        self.folder = folder
        self.environment = os.environ | {"APT_CONFIG": str(self._configured())}
        if not self._apt("update"):
            sys.exit(f"missing: Debian's lists of packages in {SUITE}; the mirror could not be reached")

    def _configured(self) -> Path:
        for name in ("state/lists/partial", "cache/archives/partial"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").touch()
        sources = self.folder / "sources.list"
        sources.write_text(f"deb [signed-by={KEYRING}] {mirror()} {SUITE} main\n")
        configuration = self.folder / "apt.conf"
        settings = {
            "Dir::State": self.folder / "state",
            "Dir::State::status": self.folder / "status",
            "Dir::Cache": self.folder / "cache",
            "Dir::Etc::SourceList": sources,
            "Dir::Etc::SourceParts": "-",
            "APT::Architecture": "arm64",
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
        }
        lines = [f'{name} "{value}";' for name, value in settings.items()]
        machine = output("dpkg", "--print-architecture")
        configuration.write_text("\n".join([*lines, f'APT::Architectures {{ "arm64"; "{machine}"; }};', ""]))
        return configuration

    def _apt(self, *command: str) -> bool:
        return not subprocess.run(["apt-get", "-qq", *command], check=False, env=self.environment).returncode

    def unpacked(self, *packages: str) -> Path:
        """Unpack packages and all that they need; give where."""
        name = packages[0]
        tree, archives = self.folder / name.replace(":", "-"), self.folder / "cache" / "archives"
        self._apt("clean")
        if not self._apt("install", "--yes", "--download-only", *packages):
            sys.exit(f"missing: {name}, which Debian {SUITE} does not have, or not now")
        shutil.rmtree(tree, ignore_errors=True)
        for archive in sorted(archives.glob("*.deb")):
            output("dpkg-deb", "--extract", archive, tree)
        for folder in ("bin", "lib", "lib64"):  # what an installed Debian has in both places
            if not (tree / folder).exists():
                (tree / folder).symlink_to(Path("usr") / folder)
        return tree


def mirror() -> str:
    """Give the mirror of Debian that this machine uses."""
    told = output("apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)", "Created-By: Packages")
    found = [line.split()[-1] for line in told.splitlines() if line.startswith("Debian Debian ")]
    return found[0] if found else sys.exit("missing: a mirror of Debian among the sources of apt")


def emulator(debian: Debian) -> str:
    """Give a QEMU that runs programs of arm64: that of this machine, or Debian's."""
    for name in EMULATORS:
        if found := shutil.which(name):
            return found
    machine = output("dpkg", "--print-architecture")
    return str(debian.unpacked(f"qemu-user:{machine}") / "usr" / "bin" / "qemu-aarch64")


def build(version: str, folder: Path) -> Path:
    """Make the wheel for a version of CPython; give its path."""
    return wheels.built(f"python{version}", folder, "--zig", "--compatibility", GLIBC, "--target", TARGET)


def tried(wheel: Path, version: str, emulated: list[str | Path]) -> str:
    """Install a wheel into a virtual environment of an arm64 CPython, and use it; give what it ran on."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        output(*emulated, "-m", "venv", "--without-pip", folder / "venv")
        packages = folder / "venv" / "lib" / f"python{version}" / "site-packages"
        for_arm64 = ["--platform", f"{GLIBC}_aarch64", "--platform", "any", "--python-version", version]
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", "--no-warn-conflicts"]
        output(*install, "--target", packages, *for_arm64, f"perdure[local] @ {wheel.as_uri()}")
        python = [*emulated[:-1], folder / "venv" / "bin" / "python", "-I"]
        ran_on = output(*python, SMOKE, cwd=folder)
        version_told = output(*python, "-m", "perdure.cli", "--version", cwd=folder)
        if version_told.split()[-1] != wheel.name.split("-")[1]:
            sys.exit(f"{wheel.name} says that it is {version_told}")
        return ran_on


def main() -> None:
    """Make and try all of them."""
    require_library()
    debian = Debian(FOLDER)
    qemu = emulator(debian)
    DIST.mkdir(exist_ok=True)
    for version in os.environ.get("PYTHONS", "").replace("python", "").split() or VERSIONS:
        tree = debian.unpacked(f"python{version}:arm64")
        with tempfile.TemporaryDirectory() as folder:
            wheel = build(version, Path(folder))
            if faults := contents.faults(wheel):
                sys.exit("\n".join([f"{wheel.name}:", *faults]))
            ran_on = tried(wheel, version, [qemu, "-L", tree, tree / "usr" / "bin" / f"python{version}"])
            shutil.move(wheel, DIST / wheel.name)
        size = (DIST / wheel.name).stat().st_size
        print(f"dist/{wheel.name}: {size / 1e6:.2f} MB, ran on {ran_on}, under QEMU", flush=True)


if __name__ == "__main__":
    main()
