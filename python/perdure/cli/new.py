"""`perdure new`: a project to begin with. Needs the `local` extra."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Annotated, NoReturn

import typer

from perdure._core import __version__
from perdure.cli.app import HERE, AsJson, app
from perdure.cli.codes import USAGE, CommandError
from perdure.cli.usage import Command, print_document
from perdure.cli.writer import write

FILES = ("README.md", "app.py", "event.json", "pyproject.toml", "template.yaml", "test_app.py")
"""What a project is made of; each has a template of its name and `.txt`, since the package has no such modules."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_NEXT = """
Now, for instance:

  cd {name}
  perdure run                          # a handler, as it comes
  perdure run --skip-time --timeline   # at once, and drawn over time
  python -m pytest                     # its test, once `pip install pytest` has been run

README.md says more."""


@app.command(cls=Command, rich_help_panel=HERE)
def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the function, and of the folder that is made here.")],
    as_json: AsJson = False,
) -> None:
    """Make a project: a handler, its test, an event, a template to deploy it. Asks nothing, overwrites nothing."""
    if not _NAME.fullmatch(name):
        why = f"{name!r} is no name of a project: a letter, then up to 63 letters, digits and hyphens, as in orders."
        raise typer.BadParameter(why, param_hint="NAME")
    folder = Path(name)
    _make(folder, {file: template(file, name) for file in FILES})
    if as_json:
        print_document(context, {"folder": str(folder.absolute()), "files": list(FILES)})
    else:
        write("\n".join([*(f"{name}/{file}" for file in FILES), _NEXT.format(name=name)]))


def template(file: str, name: str) -> str:
    """Return a file as a project of a name has it."""
    text = (files("perdure.cli") / "templates" / f"{file}.txt").read_text(encoding="utf-8")
    return text if file.endswith(".py") else Template(text).substitute(name=name, version=__version__)


def _make(folder: Path, contents: dict[str, str]) -> None:
    """Write files into a folder that is new or empty; what somebody puts there meanwhile is not overwritten."""
    try:
        folder.mkdir(exist_ok=True)
        if any(folder.iterdir()):
            _refuse(f"{folder} has files already, which are left as they are.", "Give another name, or empty it.")
        for file, content in contents.items():
            with (folder / file).open("x", encoding="utf-8", newline="\n") as opened:
                opened.write(content)
    except FileExistsError as problem:
        _refuse(f"{problem.filename} is there already, and left as it is.", "Give another name, or move it away.")
    except OSError as problem:
        _refuse(f"{folder} cannot be written: {problem}.")


def _refuse(message: str, hint: str = "") -> NoReturn:
    raise CommandError(message, USAGE, "Usage", hint) from None
