"""Handlers that follow their source: when a file below a folder changes, the modules there are imported anew."""

from __future__ import annotations

import importlib
import sys
import sysconfig
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure._log import Log
from perdure.local.traces import traceback_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

_LOG = Log("perdure.local")
_GLANCE = 0.5
_INSTALLED = {"site-packages", "dist-packages"}
_STANDARD = tuple(
    form
    for name in ("stdlib", "platstdlib")
    for path in [Path(sysconfig.get_path(name))]
    for form in (path, path.resolve())
)


class Reloader:
    """Looks at the files of the modules below a folder; `on_change` registers the handlers again.

    Args:
        root: the folder; installed packages below it are left alone.
        on_change: called when the modules have been forgotten, to import them anew. If it raises, the modules are put
            back as they were, so that a mistake in a file leaves the last good handlers at work.
        why: tells what it has raised.

    """

    def __init__(
        self, root: Path, on_change: Callable[[], Any], why: Callable[[BaseException], str] = traceback_text
    ) -> None:
        self._root = root.resolve()
        self._on_change = on_change
        self._why = why
        self._tried: set[Path] = set()  # files that could not be loaded, and so are no modules
        self._seen = self._stamps()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="perdure-reload", daemon=True)

    def start(self) -> None:
        """Look every half second from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()

    def check(self) -> list[Path]:
        """Look once; return the files that have changed, if the handlers were loaded anew for them."""
        stamps = self._stamps()
        changed = sorted(path for path in stamps.keys() | self._seen.keys() if stamps.get(path) != self._seen.get(path))
        if not changed:
            return []
        loaded = self._reload()
        self._seen = {**self._stamps(), **stamps}  # what changed meanwhile is seen the next time
        return changed if loaded else []

    def _watch(self) -> None:
        while not self._stop.wait(_GLANCE):
            for path in self.check():
                _LOG.warning("%s has changed; the handlers were loaded again.", path)

    def _reload(self) -> bool:
        kept = {name: module for name, module in sys.modules.items() if self._file(module) is not None}
        for name in kept:
            del sys.modules[name]
        importlib.invalidate_caches()
        try:
            self._on_change()
        except BaseException as problem:  # noqa: BLE001 - whatever the user's module does at import, SystemExit too
            self._tried = {path for path in map(Path, _files_of(problem)) if self._is_ours(path)}
            _LOG.error("The changed handlers could not be loaded; the ones before stay at work. %s", self._why(problem))
            sys.modules.update(kept)
            return False
        self._tried.clear()
        return True

    def _stamps(self) -> dict[Path, tuple[int, int]]:
        stamps = {}
        for path in {*self._tried, *map(self._file, list(sys.modules.values()))}:
            if path is not None and path.is_file():
                status = path.stat()
                stamps[path] = (status.st_mtime_ns, status.st_size)
        return stamps

    def _file(self, module: ModuleType) -> Path | None:
        name, file = getattr(module, "__name__", ""), getattr(module, "__file__", None)
        if not file or name == "__main__" or name.partition(".")[0] == "perdure":
            return None
        path = Path(file)
        return path if self._is_ours(path) else None

    def _is_ours(self, path: Path) -> bool:
        """Tell whether a file is one that somebody works on here."""
        if not path.is_relative_to(self._root) or path.suffix != ".py":
            return False
        return _INSTALLED.isdisjoint(path.parts) and not any(map(path.is_relative_to, _STANDARD))


def _files_of(problem: BaseException) -> Iterator[str]:
    """Give the files that an import came through until it failed."""
    frame = problem.__traceback__
    while frame is not None:
        yield frame.tb_frame.f_code.co_filename
        frame = frame.tb_next
    if isinstance(problem, SyntaxError) and problem.filename:
        yield problem.filename
    before = problem.__cause__ or problem.__context__
    if before is not None:
        yield from _files_of(before)
