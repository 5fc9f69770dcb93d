"""Tracebacks as the author of a handler wants them: without the frames of this package."""

from __future__ import annotations

import traceback
from pathlib import Path

_PACKAGE = str(Path(__file__).resolve().parent.parent)


def traceback_text(failure: BaseException | None) -> str:
    """Format an exception and what led to it; "" for none. An exception raised within this package keeps its frames."""
    if failure is None:
        return ""
    report = traceback.TracebackException.from_exception(failure)
    link: traceback.TracebackException | None = report
    while link is not None:
        kept = [frame for frame in link.stack if not frame.filename.startswith(_PACKAGE)]
        link.stack = traceback.StackSummary.from_list(kept or list(link.stack))
        link = link.__cause__ or link.__context__
    return "".join(report.format())
