"""An invocation's calls to the service, made for all that tasks have queued meanwhile, without holding up the loop."""

from __future__ import annotations

from asyncio import CancelledError
from functools import partial
from typing import TYPE_CHECKING, Any

from perdure.aio.endings import guarded, is_end
from perdure.aio.loop import InnerFuture
from perdure.aio.sender import Sender, failure_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from perdure.engine.invocation import Invocation


class Due(InnerFuture):
    """An update that is to become durable: its result is the error of the call that has failed instead, if one has."""

    __slots__ = ("ticket",)

    def __init__(self, ticket: int, loop: Any) -> None:
        super().__init__(loop=loop)
        self.ticket = ticket


class Calls:
    """The calls of one invocation: what leads its tasks is built on this.

    It is a class to derive from since an object of its own would have to know who leads, and be known by it: such a
    circle would keep an invocation, with its whole history, until Python looks for circles.

    Args:
        invocation: Whose.
        loop: A watched loop, which nobody else uses meanwhile.

    """

    is_over: bool
    """Whether it is decided how the invocation ends."""
    needs_loop = False
    """Whether the calls are themselves made by tasks of the loop."""
    _news_wanted: float | None = None
    _is_calling = False
    _tried = 0
    _pumps = False
    _sender: Sender | None = None

    def __init__(self, invocation: Invocation, loop: Any) -> None:
        self.invocation = invocation
        self.core = invocation.core
        self.checkpoints = invocation.checkpoints
        self.loop = loop
        # Who waits until an update is durable.
        self._waiting: list[Due] = []

    # ---- what these calls ask of who leads

    def is_alone(self) -> bool:
        """Whether nothing else could go on while this thread waits. Where it is not known, nothing else is assumed."""
        raise NotImplementedError

    def stir(self) -> None:
        """Hear that something goes on."""
        raise NotImplementedError

    def told(self) -> bool:
        """Hear that the service may have told something new; tell whether anything goes on for that."""
        raise NotImplementedError

    def halt(self, error: BaseException) -> None:
        """End the invocation by an error."""
        raise NotImplementedError

    def stop(self, error: BaseException | None) -> Generator[Any, None, Any]:
        """End the invocation by an error that no user code sees; who awaits this never goes on.

        Without an error it has ended.
        """
        if error is not None:
            self.halt(error)
        while True:
            yield from InnerFuture(loop=self.loop)

    # ---- what is to become durable

    def durable(self, ticket: int) -> Generator[Any, None, None] | Due | None:
        """Have an update become durable; give what is to be awaited for that.

        What is given is awaited to its end: a `Due` by `still`, where the task that awaits it is cancelled. Where
        nothing else could go on meanwhile, it is waited for here, and nothing need be awaited.
        """
        if self.is_alone():
            try:
                self.core.wait(ticket, self.checkpoints)
            except BaseException as ended:
                if not is_end(ended):
                    raise
                return self.stop(ended)
            return None
        return None if self.core.is_durable(ticket) else self._due(ticket)

    def _due(self, ticket: int) -> Due:
        due = Due(ticket, self.loop)
        self._waiting.append(due)
        self._pump_soon()
        return due

    def still(self, due: Due, cancelled: CancelledError) -> Generator[Any, None, None]:
        """Wait on for what is to become durable, since it is on its way; only then tell of the cancellation."""
        while not self.core.is_durable(due.ticket):
            due = self._due(due.ticket)
            try:
                failure = yield from due
            except CancelledError as error:
                cancelled = error
            else:
                if failure is not None:
                    raise failure
        raise cancelled

    def sends_rest(self) -> bool:
        """Have sent what is queued and nobody waits for; tell whether that is under way. It is tried once."""
        latest = self.core.backlog()[1]
        if self._tried == latest or self.core.is_durable(latest):
            return False
        self._tried = latest
        self._due(latest)
        return True

    def news(self, since: float) -> None:
        """Have the service asked what has changed since a moment."""
        wanted = self._news_wanted
        self._news_wanted = since if wanted is None else max(wanted, since)
        self._pump_soon()

    def _pump_soon(self) -> None:
        if not self._pumps and not self._is_calling:
            self._pumps = True
            # In the next turn: whoever is ready now has queued its updates by then.
            self.loop.call_soon(self._pump)

    @guarded
    def _pump(self) -> None:
        self._pumps = False
        if self._is_calling or self.is_over:
            return
        call: Callable[[], None]
        if self._waiting:
            call = partial(self.core.wait, min(due.ticket for due in self._waiting), self.checkpoints)
        elif self._news_wanted is not None:
            call = partial(self.checkpoints.ask_for_news, self._news_wanted)
        else:
            return
        self._is_calling = True
        self.send(call)

    def send(self, call: Callable[[], None]) -> None:
        """Have a call to the service made, and be told when it has ended (`sent`)."""
        if self._sender is None:
            try:
                self._sender = Sender(self)
            except RuntimeError:  # the system has no more threads: the loop waits meanwhile
                self.loop.call_soon(self.sent, failure_of(call))
                return
        self._sender.send(call)

    @guarded
    def sent(self, error: BaseException | None) -> None:
        """Hear that a call to the service has ended."""
        self._is_calling = False
        if self.is_over:
            return
        if error is not None and is_end(error):
            self.halt(error)
            return
        waiting, self._waiting = self._waiting, []
        is_durable = self.core.is_durable
        for due in waiting:
            if due.done():
                continue
            if error is not None:
                due.set_result(error)
            elif is_durable(due.ticket):
                due.set_result(None)
            else:
                self._waiting.append(due)
        if self._news_wanted is not None and (error is not None or not self._waiting):
            self._news_wanted = None
        self.told()
        if self._waiting or self._news_wanted is not None:
            self._pump_soon()
        else:
            self.stir()

    @property
    def is_sending(self) -> bool:
        """Whether a call to the service is under way or due."""
        return self._is_calling or self._pumps or bool(self._waiting)
