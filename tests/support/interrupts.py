"""Interrupts at a chosen bytecode: what a signal, or another thread, does to Python code by chance."""

from __future__ import annotations

import dis
import sys
import threading
from typing import TYPE_CHECKING, Any, Self

from perdure.engine import threads as _threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType

    import pytest


class Interrupt(KeyboardInterrupt):
    """What is raised, so that a test knows its own."""


def offsets(code: CodeType) -> list[int]:
    """Give the places of a function at which it can be interrupted: each of its bytecodes."""
    return [instruction.offset for instruction in dis.get_instructions(code)]


class Interrupter:
    """Raises once, when a place in a function is come to: in whichever thread.

    Args:
        code: The function's.
        offset: Of the bytecode before which it is raised.
        time: At which time that it is come to, counted from 1.

    """

    def __init__(self, code: CodeType, offset: int, time: int = 1) -> None:
        self.code, self.offset = code, offset
        self.left = time
        self.struck_in: int | None = None
        """The thread in which it was raised; None as long as it was not."""

    def strike(self, error: type[BaseException] = Interrupt) -> None:
        """Raise, if it is time."""
        self.left -= 1
        if self.left == 0:
            self.struck_in = threading.get_ident()
            raise error

    def __enter__(self) -> Self:
        (_monitor if sys.version_info >= (3, 12) else _trace)(self)
        return self

    def __exit__(self, *_: object) -> None:
        _stop(self)


if sys.version_info >= (3, 12):
    _TOOL = sys.monitoring.DEBUGGER_ID

    def _monitor(interrupter: Interrupter) -> None:
        monitoring = sys.monitoring

        def before(_code: CodeType, offset: int) -> None:
            if offset == interrupter.offset:
                interrupter.strike()

        monitoring.use_tool_id(_TOOL, "interrupts")
        monitoring.register_callback(_TOOL, monitoring.events.INSTRUCTION, before)
        monitoring.set_local_events(_TOOL, interrupter.code, monitoring.events.INSTRUCTION)

    def _stop(interrupter: Interrupter) -> None:
        sys.monitoring.set_local_events(_TOOL, interrupter.code, 0)
        sys.monitoring.register_callback(_TOOL, sys.monitoring.events.INSTRUCTION, None)
        sys.monitoring.free_tool_id(_TOOL)

    def traced(monkeypatch: pytest.MonkeyPatch) -> None:
        """Let threads that are started from now on be interrupted, too: they are."""

else:
    _tracing: list[Any] = [None]

    def _trace(interrupter: Interrupter) -> None:
        def each(frame: FrameType, event: str, _arg: object) -> Any:
            if event == "opcode" and frame.f_lasti == interrupter.offset:
                interrupter.strike()
            return each

        def calls(frame: FrameType, _event: str, _arg: object) -> Any:
            if frame.f_code is not interrupter.code:
                return None
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
            return each

        _tracing[0] = calls
        threading.settrace(calls)

    def _stop(_interrupter: Interrupter) -> None:
        _tracing[0] = None
        threading.settrace(None)  # type: ignore[arg-type]

    def traced(monkeypatch: pytest.MonkeyPatch) -> None:
        """Let threads that are started from now on be interrupted, too."""
        start = _threads.start_thread

        def start_traced(threads: list[Any], forget: Callable[[], None], *called: Any) -> None:
            start(threads, forget, run_traced, *called)

        def run_traced(function: Callable[..., None], *args: Any) -> None:
            sys.settrace(_tracing[0])
            function(*args)

        monkeypatch.setattr(_threads, "start_thread", start_traced)


def each_place(function: Any) -> Iterator[tuple[CodeType, int]]:
    """Give every bytecode of a function, and of the functions inside it."""
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        codes += [constant for constant in code.co_consts if hasattr(constant, "co_code")]
        for offset in offsets(code):
            yield code, offset
