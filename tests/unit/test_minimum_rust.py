"""The oldest Rust that Cargo.toml names; `make minimum-rust` builds with it, clippy knows what its library had."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def packages() -> list[dict[str, object]]:
    command = ["cargo", "metadata", "--locked", "--format-version", "1"]
    return json.loads(subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True).stdout)["packages"]


def test_no_crate_needs_a_newer_rust_than_perdure_says_it_does() -> None:
    found = packages()
    (ours,) = {
        version(str(package["rust_version"])) for package in found if str(package["name"]).startswith("perdure-")
    }
    newer = {
        f"{package['name']} needs {package['rust_version']}"
        for package in found
        if package["rust_version"] and version(str(package["rust_version"])) > ours
    }
    assert not newer


def test_the_documents_name_the_same_rust() -> None:
    named = re.search(r'^rust-version = "(.+)"$', (REPOSITORY / "Cargo.toml").read_text(), re.MULTILINE)
    assert named
    for document in ("README.md", "CONTRIBUTING.md"):
        told = re.findall(r"Rust\s+toolchain\s+\((\d+\.\d+) or newer", (REPOSITORY / document).read_text())
        assert told == [named[1]], document
