"""The functions around the one under test, by the names that they are invoked by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.local.beside import is_asynchronous
from perdure.local.machine.validation import function_parts
from perdure.testing._checks import checked_function, checked_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure.local import LocalService

    Handler = Callable[[Any, Any], Any]


class Registry:
    """Registers functions under their bare names, which every qualifier leads to, or under their aliases.

    Args:
        service: Where they are registered.
        timeout_seconds: Of their invocations.

    """

    def __init__(self, service: LocalService, timeout_seconds: float | None) -> None:
        self._service = service
        self._timeout_seconds = timeout_seconds
        self._qualified: dict[str, dict[str | None, Callable[[], None]]] = {}

    def add(self, function_name: str, handler: Handler, **options: Any) -> None:
        """Register a function, with options of the service's `register`.

        Raises:
            TypeError: If it is no function, or its name no text.
            ValueError: If it has a version, and stands beside others of its name.

        """
        name, qualifier = function_parts(checked_name(function_name))
        checked_function(f"the function {function_name}", handler)

        def register() -> None:
            self._service.register(name, handler, timeout_seconds=self._timeout_seconds, **options)

        known = {**self._qualified.get(name, {}), qualifier: register}
        wrong = [each for each in known if each is not None and (each.isdigit() or each.startswith("$"))]
        if len(known) > 1 and wrong:
            given = ", ".join(each or name for each in known)
            raise ValueError(f"{name} is registered as {given}: beside each other only aliases can be")
        self._qualified[name] = known
        functions = self._service.functions
        for alias, again in known.items():
            if alias is not None and len(known) > 1:
                again()
                functions.alias(name, alias, functions.publish(name))
        known.get(None, register)()  # the bare name is what serves every other qualifier


def for_tenant(function: Handler, tenant_id: str | None) -> Handler:
    """Give a handler whose Lambda context shows a tenant."""
    if tenant_id is None:
        return function

    def handler(event: Any, context: Any) -> Any:
        context.tenant_id = tenant_id
        return function(event, context)

    if is_asynchronous(function):
        handler.run = function.run  # type: ignore[attr-defined]  # by which it is known as such
    return handler
