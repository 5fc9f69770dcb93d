"""A user's asynchronous client: its calls run in the event loop of the handler, and who needs one waits in a thread."""

from __future__ import annotations

from asyncio import CancelledError
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from perdure._control import CheckpointsBroken
from perdure._functions import is_async
from perdure.aio import loop as _loops

if TYPE_CHECKING:
    from collections.abc import Callable

METHODS = ("checkpoint_durable_execution", "get_durable_execution_state")
"""What the engine calls."""


def is_asynchronous(client: Any) -> bool:
    """Whether a client's methods give coroutines."""
    return any(is_async(getattr(client, method, None)) for method in METHODS)


class AwaitedClient:
    """An asynchronous client, as one that blocks.

    Args:
        client: The user's.
        factory: Makes event loops; None for asyncio's own.

    """

    def __init__(self, client: Any, factory: Callable[[], Any] | None) -> None:
        self._client = client
        self._factory = factory

    def checkpoint_durable_execution(self, **request: Any) -> Any:
        """Record updates."""
        return self._answer(self._client.checkpoint_durable_execution(**request))

    def get_durable_execution_state(self, **request: Any) -> Any:
        """Read a further page."""
        return self._answer(self._client.get_durable_execution_state(**request))

    def _answer(self, call: Any) -> Any:
        """Await a call: in the loop of the invocation while that runs, else in the one that is kept for the next."""
        loop = _loops.called_for()
        if loop is None:
            loop = _loops.take(self._factory)
            try:
                return loop.run_until_complete(call)
            except CancelledError:
                raise _lost() from None
            finally:
                _loops.give_back(self._factory, loop)
        answer: Future[Any] = Future()
        loop.call_soon_threadsafe(_begin, loop, call, answer)
        return answer.result()


def _begin(loop: Any, call: Any, answer: Future[Any]) -> None:
    if loop.conductor is None:
        call.close()
        answer.set_exception(CheckpointsBroken())
    else:
        loop.create_task(_carried_out(call, answer))


async def _carried_out(call: Any, answer: Future[Any]) -> None:
    try:
        answer.set_result(await call)
    except GeneratorExit:  # the invocation has ended, and waits for nothing
        answer.set_exception(CheckpointsBroken())
        raise
    except CancelledError:
        answer.set_exception(_lost())
    except BaseException as error:  # noqa: BLE001  raised where it is waited for
        answer.set_exception(error)


def _lost() -> ConnectionError:
    """Say that a call was cancelled, by the client or by code that cancels whatever task there is: it is made again."""
    return ConnectionError("a call to the service was cancelled before its answer had come")
