"""What perdure says to a Python without a global lock: that it counts on one, as do the modules around the core."""

from __future__ import annotations

import ctypes
import sys

import pytest

from perdure import _core

MODULE_SLOT_OF_THE_LOCK = 4
"""`Py_mod_gil` of Python's headers."""
LOCK_IS_USED = None
"""`Py_MOD_GIL_USED`: a null pointer, as ctypes reads it."""


class Slot(ctypes.Structure):
    """Python's `PyModuleDef_Slot`."""

    _fields_ = (("slot", ctypes.c_int), ("value", ctypes.c_void_p))


class Definition(ctypes.Structure):
    """Python's `PyModuleDef`, up to its slots."""

    _fields_ = (
        ("base", ctypes.c_ssize_t * 5),
        ("name", ctypes.c_char_p),
        ("doc", ctypes.c_char_p),
        ("size", ctypes.c_ssize_t),
        ("methods", ctypes.c_void_p),
        ("slots", ctypes.POINTER(Slot)),
    )


def slots() -> dict[int, int | None]:
    """Give what the extension says of itself before it is made."""
    begin = ctypes.PyDLL(str(_core.__file__)).PyInit__core
    begin.restype = ctypes.POINTER(Definition)
    definition = begin().contents
    assert definition.name.rpartition(b".")[2] == b"_core", "this Python lays a definition out in another way"
    found: dict[int, int | None] = {}
    place = 0
    while definition.slots[place].slot:
        found[definition.slots[place].slot] = definition.slots[place].value
        place += 1
    return found


@pytest.mark.skipif(sys.version_info < (3, 13), reason="older Pythons have a global lock whatever is said")
@pytest.mark.skipif(hasattr(sys, "_is_gil_enabled") and not sys._is_gil_enabled(), reason="objects have another layout")
def test_the_extension_says_that_it_needs_the_global_lock() -> None:
    assert slots()[MODULE_SLOT_OF_THE_LOCK] is LOCK_IS_USED
