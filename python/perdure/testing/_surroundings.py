"""What is around the function under test: functions that it invokes, stand-ins for them, answers to its callbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from perdure.testing import _checks
from perdure.testing.mocks import UNSET, ErrorLike, MockedFunction, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure._duration import DurationLike
    from perdure.testing._driver import Driver
    from perdure.testing._registry import Registry

    Handler = Callable[[Any, Any], Any]


class Surroundings:
    """Of a function under test: the part of its runner that they are told to."""

    _driver: Driver
    _registry: Registry

    def register_durable_function(
        self,
        function_name: str,
        handler: Handler,
        execution_timeout: DurationLike | None = None,
        retention_period_days: int = 1,
    ) -> Self:
        """Register a durable function to be invoked; gives the runner.

        Args:
            function_name: What it is invoked by; its name or ARN, see `register_function`.
            handler: What ``@durable_execution`` made.
            execution_timeout: How long until an execution of it is TIMED_OUT; by default as long as the service allows.
            retention_period_days: How long its executions are kept, 1 to 90 days.

        """
        _checks.checked_options(retention_period_days=retention_period_days)
        seconds = _checks.checked_timeout("execution_timeout", execution_timeout)
        self._registry.add(function_name, handler, execution_timeout=seconds, retention_days=retention_period_days)
        return self

    def register_function(self, function_name: str, handler: Handler) -> Self:
        """Register a plain function to be invoked; gives the runner.

        Args:
            function_name: What it is invoked by, a name or an ARN. It serves all qualifiers, unless others of the same
                function are registered with theirs: then each serves its own, which must be an alias.
            handler: Called with its payload and a Lambda context.

        Raises:
            TypeError: If it is a durable function, or none at all.

        """
        if _checks.is_durable(handler):
            raise TypeError(f"{function_name} is a durable function: register it with register_durable_function()")
        self._registry.add(function_name, handler, durable=False)
        return self

    def mock_invoke(self, function_name: str, returns: Any = None, raises: ErrorLike | None = None) -> MockedFunction:
        """Put a stand-in in the place of a function that is invoked.

        Args:
            function_name: What it is invoked by.
            returns: What it returns; a callable is called with the payload and gives it. An exception is raised.
            raises: What it raises instead.

        Returns:
            The stand-in, which knows its `calls`.

        """
        mocked = MockedFunction(function_name, returns, raises)
        self.register_function(function_name, mocked)
        return mocked

    def answer_callback(
        self,
        name: str | None,
        result: Any = UNSET,
        error: ErrorLike | None = None,
        *,
        reply: Callable[[str], Any] | None = None,
    ) -> Self:
        """Have each callback of a name answered, as soon as the execution waits for it; gives the runner.

        Args:
            name: The callback's, or that of the ``wait_for_callback``; None for those without one.
            result: What is sent: bytes and text as they are, an exception as a failure, anything else as JSON.
            error: Sent instead.
            reply: Called with the callback's id instead; gives the result.

        """
        _checks.checked_options(name=name)
        if reply is not None:
            if result is not UNSET or error is not None:
                raise TypeError("give reply=, or a result or an error, not both")
            _checks.checked_function("reply=", reply)
            self._driver.replies[name] = lambda callback_id: Reply(reply(callback_id))
        else:
            self._driver.replies[name] = Reply(None if result is UNSET else result, error).checked()
        return self
