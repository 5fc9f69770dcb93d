"""The Python in the documents runs, and gives what the documents say.

The blocks of a document share their names, top to bottom. A block that defines `handler` is run on a local service, one
that defines `test_…` functions has them called. A comment above a block may say what goes in and what comes out:

    <!-- test {"event": …, "result": …, "status": "FAILED", "error": "part of the message", "answers": ["…"]} -->

`answers` go to the callbacks in the order in which they open; `functions` are names of the block to be registered. A
block that changes the whole process says `"alone": true`, and has one of its own.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perdure.local import LocalService, VirtualClock

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^(?:<!-- test (?P<test>\{[^\n]*\}) -->\n)?```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
DOCUMENTS = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))]


def blocks(text: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    for block in BLOCK.finditer(text):
        line = text[: block.start("code")].count("\n")
        yield line, block["code"], json.loads(block["test"] or "{}")


def without_code(path: Path) -> str:
    return re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def run_handler(names: dict[str, Any], test: dict[str, Any]) -> None:
    answers = iter(test.get("answers", ()))

    def answer(operation: Any, client: Any) -> None:
        text = next(answers, None)
        if text is not None:
            callback_id = operation["CallbackDetails"]["CallbackId"]
            client.send_durable_execution_callback_success(CallbackId=callback_id, Result=text.encode())

    service = LocalService(clock=VirtualClock(), on_callback=answer)
    for function in ("handler", *test.get("functions", ())):
        service.register(function, names[function])
    execution = service.run("handler", event=test.get("event", {}))
    assert execution.status == test.get("status", "SUCCEEDED"), execution.error
    if "result" in test:
        assert execution.value == test["result"]
    if "error" in test:
        assert execution.error is not None
        assert test["error"] in execution.error["ErrorMessage"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_python_of_a_document_runs_as_it_says(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    assert text.count("```python\n") == len(list(blocks(text))), "a block is not closed, or its test comment is off"
    names: dict[str, Any] = {"__name__": "document"}
    for line, code, test in blocks(text):
        before = dict(names)
        if test.get("alone"):
            subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
            continue
        # With the empty lines, a traceback shows the line of the document.
        source = "\n" * line + code
        exec(compile(source, str(ROOT / document), "exec", dont_inherit=True), names)  # noqa: S102  the documents are ours
        fresh = {name for name, value in names.items() if before.get(name) is not value}
        if "handler" in fresh:
            run_handler(names, test)
        for name in sorted(fresh):
            if name.startswith("test_"):
                names[name]()


def headings(path: Path) -> set[str]:
    """Give what links to the headings of a page end with."""
    titles = re.findall(r"^#+ +(.+)$", without_code(path), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_documents_point_at_files_and_headings_that_exist() -> None:
    for document in [*DOCUMENTS, "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"]:
        path = ROOT / document
        links = re.findall(r"(?<!\w)\[[^]\n]+\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", without_code(path))
        for target, heading in links:
            page = path.parent / target if target else path
            assert page.exists(), f"{document} points at {target}"
            assert not heading or heading in headings(page), f"{document} points at {target}#{heading}"


def test_the_site_names_each_page() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for document in DOCUMENTS[1:]:
        assert f"- {Path(document).name}\n" in navigation, f"{document} is not in mkdocs.yml"
