"""What `make docs` adds to the pages in docs/: those that stand elsewhere, and one for each module of the reference.

A page links to others as they lie in the repository. On the site the files of the root lie beside those of docs/, and
README.md is its first page; the links are changed to fit. Whatever leads nowhere then fails the build.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).resolve().parents[1]
ROOT = {
    "index.md": "README.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "LICENSE": "LICENSE",
}
EXAMPLES = "examples/index.md"
LINK = re.compile(r"(\]\(|(?:href|src)=\")(?!\w+:|#)([^)\"#]*)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for name, source in ROOT.items():
        files.append(File.generated(config, name, abs_src_path=str(REPOSITORY / source)))
    examples = sorted(path for path in (REPOSITORY / "examples").rglob("*") if is_source(path))
    for path in examples:
        name = path.relative_to(REPOSITORY).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    files.append(File.generated(config, EXAMPLES, content=listed(examples)))
    for name in named(config.nav):
        if name.startswith("reference/"):
            module = Path(name).stem
            files.append(File.generated(config, name, content=f"# {module}\n\n::: {module}\n"))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Have the links of a page lead to where things lie on the site."""
    name = page.file.src_uri
    if name == EXAMPLES or name.startswith("reference/"):
        return markdown
    folder = REPOSITORY if name in ROOT else REPOSITORY / "docs"
    # Markdown within HTML is rendered where it is asked for alone.
    markdown = markdown.replace("<details>", '<details markdown="1">')
    return LINK.sub(lambda found: found[1] + moved(folder / found[2]) if found[2] else found[0], markdown)


def moved(target: Path) -> str:
    """Give where a file or folder of the repository lies on the site, from one of its pages."""
    path = target.resolve()
    if path.is_dir():
        return EXAMPLES if path.is_relative_to(REPOSITORY / "examples") else f"{path.name}/"
    name = path.relative_to(REPOSITORY).as_posix()
    return {source: page for page, source in ROOT.items()}.get(name, name.removeprefix("docs/"))


def named(nav: Any) -> Iterator[str]:
    """Give the pages of the navigation."""
    if isinstance(nav, str):
        yield nav
    elif nav:
        for item in nav.values() if isinstance(nav, dict) else nav:
            yield from named(item)


def is_source(path: Path) -> bool:
    """Tell whether it is a file of the examples, and not what running them left."""
    return (
        path.is_file()
        and "__pycache__" not in path.parts
        and path.suffix in {".py", ".json", ".yaml", ".tf", ".txt", ""}
    )


def listed(paths: list[Path]) -> str:
    """Give a page that leads to files of the examples."""
    names = [path.relative_to(REPOSITORY / "examples").as_posix() for path in paths]
    return "\n".join(["# Examples", "", *(f"* [{name}]({name})" for name in names), ""])
