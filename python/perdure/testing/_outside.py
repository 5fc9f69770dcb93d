"""What a test does to executions from outside: it answers callbacks, and pauses, resumes and stops executions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.local.durations import seconds_of
from perdure.testing import _checks
from perdure.testing._driver import over, translated
from perdure.testing.exceptions import ResourceNotFoundException
from perdure.testing.mocks import ErrorLike, encode_error, encode_result

if TYPE_CHECKING:
    from perdure._duration import DurationLike
    from perdure.local import ExecutionHandle, LocalService
    from perdure.testing._driver import Driver


class Outside:
    """Of the executions of a runner: the part of it that stands for whoever else there is."""

    service: LocalService
    _driver: Driver

    def send_callback_success(self, callback_id: str, result: Any = None) -> None:
        """Answer a callback: bytes and text as they are, anything else as JSON.

        The execution runs on as far as it gets without time passing.

        Raises:
            ResourceNotFoundException: If it is not there, or closed.
            InvalidParameterValueException: If the id is empty.

        """
        with translated():
            self.service.client.send_durable_execution_callback_success(
                CallbackId=_checks.checked_id(callback_id), Result=encode_result(result)
            )
        self._settle_all()

    def send_callback_failure(self, callback_id: str, error: ErrorLike | None = None) -> None:
        """Answer a callback with a failure: an error object or a dict of its members, an exception, a message.

        See `send_callback_success`.
        """
        with translated():
            self.service.client.send_durable_execution_callback_failure(
                CallbackId=_checks.checked_id(callback_id), Error=encode_error(error)
            )
        self._settle_all()

    def send_callback_heartbeat(self, callback_id: str) -> None:
        """Show that whoever will answer a callback is still alive."""
        with translated():
            self.service.client.send_durable_execution_callback_heartbeat(CallbackId=_checks.checked_id(callback_id))

    def pause_execution(self, execution_arn: str, timeout: DurationLike = 60) -> None:
        """Invoke an execution no more until it is resumed; one that has ended or is paused stays as it is.

        Args:
            execution_arn: The execution.
            timeout: Real time to wait for a running invocation to end.

        """
        if not seconds_of(timeout, "timeout"):
            raise ValueError("timeout must be above 0 seconds")
        handle = self._handle(execution_arn)
        if over(handle):
            return
        with translated():
            self.service.client.pause_durable_execution(DurableExecutionArn=execution_arn)
        self._driver.settle(handle)

    def resume_execution(self, execution_arn: str) -> None:
        """Go on with a paused execution; one that is not paused stays as it is."""
        handle = self._handle(execution_arn)
        if over(handle) and not handle.terminal:
            with translated():
                self.service.client.resume_durable_execution(DurableExecutionArn=execution_arn)
            self._driver.settle(handle)

    def stop_execution(self, execution_arn: str, error: ErrorLike | None = None) -> None:
        """Stop an execution for good; for errors, see `send_callback_failure`."""
        self._handle(execution_arn)
        with translated():
            self.service.client.stop_durable_execution(
                DurableExecutionArn=execution_arn, Error=encode_error(error) or None
            )

    def _handle(self, execution_arn: str) -> ExecutionHandle:
        try:
            return self.service.execution(execution_arn)
        except KeyError:
            raise ResourceNotFoundException(f"this runner has no execution with the ARN {execution_arn!r}") from None

    def _settle_all(self) -> None:
        for handle in list(self.service.handles.values()):
            if not handle.terminal:
                self._driver.settle(handle)
                return
