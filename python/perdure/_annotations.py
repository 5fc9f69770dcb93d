"""The type that a function's results have, by its annotations: looked for once a function.

The core asks `typed_of` for functions whose return annotation is not among `PLAIN_ANNOTATIONS`.
"""

from __future__ import annotations

import re
import sys
import typing
import weakref
from functools import partial
from types import FunctionType, MethodType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from perdure._functions import PLAIN_ANNOTATIONS
from perdure._kinds import KEPT, is_batch, kinds_of, without_none

if TYPE_CHECKING:
    from perdure._typed import Typed

_NOTHING = object()
_MOST_PLAIN = 4096

_known: dict[int, tuple[weakref.ref[Any], Typed | None]] = {}
"""What is known of functions that live, by their ids."""

_known_codes: dict[int, tuple[weakref.ref[Any], tuple[Any, int], Typed | None]] = {}
"""And of functions of the same code, made again and again: by its id, what the type follows from, and the type."""


def typed_of(function: Any) -> Typed | None:
    """Give what converts the results of a function, or of whatever else was handed to an operation.

    Args:
        function: A function, a method, a partial, an object that can be called; or what converts, itself.

    Returns:
        None if its results need no converting, or nothing is known of them.

    """
    known = _known.get(id(function))
    if known is not None:
        return known[1]
    if type(function) is FunctionType:
        of_code = _known_codes.get(id(function.__code__))
        if of_code is not None and of_code[1] == _basis(function) and not hasattr(function, "__wrapped__"):
            return of_code[2]
    elif _is_typed(function):
        return function  # type: ignore[no-any-return]
    return _of(_plain_function(function), "return")


def _basis(function: Any) -> Any:
    """Give what the type of a function's results follows from, if it is known by its code."""
    return function.__annotations__.get("return"), id(function.__globals__)


def _is_typed(value: Any) -> bool:
    made = sys.modules.get("perdure._typed")  # which most programs do without
    return made is not None and isinstance(value, made.Typed)


def typed_input_of(handler: Any) -> Typed | None:
    """Give what converts the event that a handler takes.

    A wrapper's annotations are those of what it wraps, which need not be given what the wrapper is given.
    """
    function = _plain_function(handler)
    if function is None or hasattr(function, "__wrapped__"):
        return None
    code = function.__code__
    first = 1 if isinstance(handler, MethodType) else 0
    return None if code.co_argcount <= first else _of(function, code.co_varnames[first], remember=False)


def takes_plain_context(function: Any) -> bool:
    """Tell whether a function is annotated to take a `DurableContext`, and not that of ``async def`` handlers."""
    names = getattr(function, "__globals__", {})
    return any(
        _PLAIN.search(text) and not _AWAITED.search(text)
        for text in (
            _in_words(names.get(each, each) if isinstance(each, str) else each)
            for of, each in _annotations(function).items()
            if of != "return"
        )
    )


_PLAIN, _AWAITED = re.compile(r"\bDurableContext\b"), re.compile(r"\bAsyncDurableContext\b")


def _in_words(annotation: Any) -> str:
    """Give an annotation as text, evaluated or not; of a class, its name and those of its bases."""
    if isinstance(annotation, type):
        return " ".join(each.__name__ for each in annotation.__mro__)
    return annotation if isinstance(annotation, str) else repr(annotation)


def _plain_function(function: Any) -> Any:
    """Give the plain function behind something that can be called; None if there is none."""
    while True:
        kind = type(function)
        if kind is FunctionType:
            return function
        if kind is MethodType:
            function = function.__func__
        elif issubclass(kind, partial):
            function = function.func
        elif issubclass(kind, type):
            return None
        else:
            called = getattr(kind, "__call__", None)  # noqa: B004  the class's, not an instance's
            return called if type(called) is FunctionType else None


def _of(function: Any, parameter: str, *, remember: bool = True) -> Typed | None:
    if function is None:
        return None
    known = _known.get(id(function)) if remember else None
    if known is not None:
        return known[1]
    annotation = _annotation(function, parameter)
    if annotation is _NOTHING:
        return None
    if _is_typed(annotation):
        return annotation  # type: ignore[no-any-return]
    return _found(function, annotation) if remember else _resolved(function, annotation)


def _found(function: Any, annotation: Any) -> Typed | None:
    """Find the type of a function's results, and keep it for the next time."""
    typed = _resolved(function, annotation)
    if _is_known_by_code(function, annotation):
        _remember(_known_codes, function.__code__, _basis(function), typed)
    if not function.__closure__ or id(function.__code__) not in _known_codes:
        _remember(_known, function, typed)
    if typed is None:
        _note_plain(annotation)
    return typed


def _is_known_by_code(function: Any, annotation: Any) -> bool:
    """Whether a type follows from a function's annotation and module alone, as for all functions of its code."""
    if hasattr(function, "__wrapped__") or getattr(function, "__type_params__", None):
        return False
    text = str(annotation)
    return "<locals>" not in text and not set(function.__code__.co_freevars).intersection(_words(text))


def _remember(known: dict[int, Any], key: Any, *what: Any) -> None:
    """Keep something as long as the function or the code lives that it is known of."""
    key_id = id(key)

    def forget(_dead: Any) -> None:
        known.pop(key_id, None)

    known[key_id] = weakref.ref(key, forget), *what


def _annotation(function: Any, parameter: str) -> Any:
    return _annotations(function).get(parameter, _NOTHING)


def _annotations(function: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = function.__annotations__
    except Exception:  # noqa: BLE001  evaluated only now, where CPython does so, it finds names that are not there
        found = _forward_annotations(function)
    return found


def _forward_annotations(function: Any) -> dict[str, Any]:
    """Give annotations with references in the place of what cannot be evaluated, from CPython 3.14 on."""
    import annotationlib  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    found: dict[str, Any] = annotationlib.get_annotations(function, format=annotationlib.Format.FORWARDREF)
    return found


def _resolved(function: Any, annotation: Any) -> Typed | None:
    inner = function
    while hasattr(inner, "__wrapped__"):
        inner = inner.__wrapped__
    holder = SimpleNamespace(__annotations__={"return": annotation})
    names = {**getattr(function, "__globals__", {}), **getattr(inner, "__globals__", {})}
    try:
        hints = typing.get_type_hints(holder, names, {**_around(function), **_around(inner)}, include_extras=True)
    except Exception as error:  # noqa: BLE001  whatever evaluating the user's annotation raises
        from perdure._typed import Unconverted  # noqa: PLC0415  brings more along

        name = getattr(function, "__qualname__", function)
        return Unconverted(
            annotation,
            f"the annotation {annotation!r} of {name} cannot be evaluated when it runs ({error}). Import what it names "
            f"outside of TYPE_CHECKING, or give returns=",
        )
    returned = hints["return"]
    if kinds_of(returned).lost is KEPT and not is_batch(typing.get_origin(without_none(returned))):
        return None
    from perdure._typed import converter  # noqa: PLC0415  brings more along

    return converter(returned)


def _around(function: Any) -> dict[str, Any]:
    """Give the names that a function knows of the functions around it, and its type parameters."""
    names = {parameter.__name__: parameter for parameter in getattr(function, "__type_params__", ())}
    if isinstance(function, FunctionType) and function.__closure__:
        for name, cell in zip(function.__code__.co_freevars, function.__closure__, strict=True):
            try:
                names[name] = cell.cell_contents
            except ValueError:  # not set yet
                continue
    return names


_WORDS = frozenset({"None", "bool", "int", "float", "str", "bytes", "object", "list", "dict", "tuple", "Any"})


def _words(text: str) -> list[str]:
    return "".join(each if each.isidentifier() or each.isdigit() else " " for each in text).split()


def _note_plain(annotation: Any) -> None:
    """Let the core know an annotation that never needs converting, whatever function has it."""
    if len(PLAIN_ANNOTATIONS) >= _MOST_PLAIN:
        return
    if isinstance(annotation, str):
        context_free = _WORDS.issuperset(_words(annotation))
    else:
        try:
            hash(annotation)
        except TypeError:
            return
        context_free = not kinds_of(annotation).local
    if context_free:
        PLAIN_ANNOTATIONS.add(annotation)
