"""What a handler is decorated with besides being durable: serdes for all its operations, and types of its own.

Most handlers have none of it, and do without this module.
"""

from __future__ import annotations

from functools import cache, wraps
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from perdure._annotations import typed_input_of
from perdure._core import typed_of
from perdure.exceptions import SerDesError
from perdure.serdes import HandlerSerDes

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.context import DurableContext
    from perdure.serdes import SerDes

    Handler = Callable[[Any, DurableContext], Any]


def prepared(handler: Handler, serdes: SerDes[Any] | None, callback_serdes: SerDes[Any] | None) -> Handler:
    """Give a handler that has serdes, is given an event of its type, and gives a result that JSON can hold."""
    with_serdes = None if serdes is None and callback_serdes is None else _kinds(serdes, callback_serdes)
    types: list[Any] = []

    @wraps(handler)
    def inner(event: Any, context: DurableContext) -> Any:
        if not types:  # not before all names are there
            types[:] = typed_input_of(handler), typed_of(handler)
        takes, gives = types
        if takes is not None:
            event = _read(event, takes)
        if with_serdes is not None:
            context = context.as_kind(with_serdes(type(context)))
        result = handler(event, context)
        if gives is None:
            return result
        if context.takes_async:
            return _awaited(result, gives)
        return result if type(result) is CoroutineType else gives.sent(result)  # which is none, but for a mistake

    return inner


async def _awaited(result: Any, gives: Any) -> Any:
    """Give the result of an asynchronous handler as JSON can hold it."""
    return gives.sent(await result)


def _read(event: Any, typed: Any) -> Any:
    from perdure._typed import MisfitError, shown  # noqa: PLC0415  only for handlers with types

    try:
        return typed.read(event)
    except MisfitError as error:
        raise SerDesError(f"the input of the execution cannot be read: {error}. It is {shown(event)}") from error


def _kinds(
    serdes: SerDes[Any] | None, callback_serdes: SerDes[Any] | None
) -> Callable[[type[DurableContext]], type[DurableContext]]:
    """Give what makes, of a class of contexts, one whose operations have these serdes."""
    own = {
        "handler_serdes": None if serdes is None else HandlerSerDes(serdes),
        "callback_serdes": callback_serdes,
        "__slots__": (),
    }

    def kind(base: type[DurableContext]) -> type[DurableContext]:
        return type(base.__name__, (_WithSerDes, base), dict(own))

    return cache(kind)  # type: ignore[return-value]  # classes can be hashed


class _WithSerDes:
    """The operations of a context, each with the handler's serdes unless it is given one."""

    __slots__ = ()

    handler_serdes: SerDes[Any] | None
    callback_serdes: SerDes[Any] | None

    def step(self, func: Any, name: Any = None, config: Any = None, **options: Any) -> Any:
        self._complete(config, options)
        return super().step(func, name, config, **options)  # type: ignore[misc]

    def run_in_child_context(self, func: Any, name: Any = None, config: Any = None, **options: Any) -> Any:
        self._complete(config, options)
        return super().run_in_child_context(func, name, config, **options)  # type: ignore[misc]

    def wait_for_condition(self, check: Any, config: Any = None, name: Any = None, **options: Any) -> Any:
        self._complete(config, options)
        return super().wait_for_condition(check, config, name, **options)  # type: ignore[misc]

    def map(self, inputs: Any, func: Any, name: Any = None, config: Any = None, **options: Any) -> Any:
        self._complete(config, options)
        return super().map(inputs, func, name, config, **options)  # type: ignore[misc]

    def parallel(self, functions: Any, name: Any = None, config: Any = None, **options: Any) -> Any:
        self._complete(config, options)
        return super().parallel(functions, name, config, **options)  # type: ignore[misc]

    def create_callback(self, name: Any = None, config: Any = None, **options: Any) -> Any:
        if options.get("serdes") is None and getattr(config, "serdes", None) is None:
            options["serdes"] = self.callback_serdes
        return super().create_callback(name, config, **options)  # type: ignore[misc]

    def wait_for_callback(self, submitter: Any, name: Any = None, config: Any = None, **options: Any) -> Any:
        if options.get("serdes") is None and getattr(config, "serdes", None) is None:
            options["serdes"] = self.callback_serdes
        return super().wait_for_callback(submitter, name, config, **options)  # type: ignore[misc]

    def _complete(self, config: Any, options: dict[str, Any]) -> None:
        """Add the handler's serdes to the options of an operation that has none."""
        if options.get("serdes") is None and getattr(config, "serdes", None) is None:
            options["serdes"] = self.handler_serdes
