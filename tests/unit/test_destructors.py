"""Objects that come back to the engine when the engine lets them go: no lock is held then."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from perdure._core import Execution, Operation
from support.invocations import NOW, execution, op

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


pytestmark = pytest.mark.timeout(60)

gone: list[str] = []
on_end: list[Callable[[], object]] = []


def ended(what: str) -> None:
    gone.append(what)
    for act in on_end:
        act()


class Text(str):
    """A payload, a token, a name: whatever is text on the wire."""

    __slots__ = ("__weakref__",)

    def __del__(self) -> None:
        ended("text")


class Error(dict[str, Any]):
    """An error object."""

    def __del__(self) -> None:
        ended("error")


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    on_end.clear()
    gone.clear()


class Engine:
    """An engine whose objects ask it questions when they end, in this thread and in another.

    Args:
        *operations: The recorded operations.

    """

    def __init__(self, *operations: dict[str, Any]) -> None:
        self.core = Execution(Text("token-0"))
        self.core.load([execution(), *operations])
        self.root = self.core.root()
        on_end.append(self.ask)

    def ask(self) -> None:
        def questions() -> None:
            _ = self.core.is_stopped
            self.core.backlog()
            self.root.is_replaying()

        questions()
        other = threading.Thread(target=questions)
        other.start()
        other.join(30)
        assert not other.is_alive()

    def step(self) -> Operation:
        found = self.root.step(None)
        assert isinstance(found, Operation)
        return found

    def send(
        self,
        token: str | None,
        operations: list[dict[str, Any]],
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        """Send what is queued.

        Args:
            token: Of the answer.
            operations: Of the answer.
            meanwhile: Called before the answer.

        """
        driver = SimpleNamespace(failure=None)
        answer = [(token, [operations], NOW, 0.0, 0.0)]

        def send(*_: Any) -> Any:
            meanwhile()
            return answer.pop()

        driver.send = send
        self.core.hear(0.0, driver)


def started_with_a_payload(status: str, **members: Any) -> dict[str, Any]:
    return op("STEP", status, details={"Result": Text("1"), "Error": Error(ErrorMessage=Text("no")), **members})


def recorded_again(engine: Engine) -> None:
    engine.core.load([started_with_a_payload("PENDING")])
    gone.clear()
    engine.core.load([op("STEP", "SUCCEEDED", details={"Result": "2"})])


def acknowledged_by_the_service(engine: Engine) -> None:
    engine.step().succeed(Text("1"))
    engine.send(Text("token-1"), [op("STEP", "SUCCEEDED", details={"Result": "2"})])


def a_retry_after_a_retry(engine: Engine) -> None:
    step = engine.step()
    step.retry(1, Error(ErrorMessage="no"), Text("state"))
    engine.send("token-1", [])
    gone.clear()
    step.retry(1, None, None)
    engine.send("token-2", [])


def an_outcome_after_a_retry(engine: Engine) -> None:
    step = engine.step()
    step.retry(1, Error(ErrorMessage="no"), Text("state"))
    engine.send("token-1", [])
    gone.clear()
    step.succeed("1")
    engine.send("token-2", [])


def options_of_an_invoke(engine: Engine) -> None:
    found = engine.root.invoke(None, False)
    assert isinstance(found, Operation)
    found.start_invoke(Text("1"), Text("function"), Text("tenant"), Text("trace"))
    engine.send("token-1", [])


def a_token_replaced(engine: Engine) -> None:
    engine.step()
    engine.send("token-1", [])


def a_token_revoked(engine: Engine) -> None:
    engine.step().succeed(Text("1"))
    engine.send(None, [])


def unsent_when_the_token_was_revoked(engine: Engine) -> None:
    engine.step().succeed(Text("1"))
    engine.send(None, [], lambda: engine.step().fail(Error(ErrorMessage=Text("no"))))


def unsent_when_a_call_failed(engine: Engine) -> None:
    engine.step().succeed(Text("1"))

    def fail() -> None:
        engine.step().fail(Error(ErrorMessage=Text("no")))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.send(None, [], fail)


def refused(engine: Engine) -> None:
    step = engine.step()
    engine.root.end()
    with pytest.raises(BaseException, match="has ended"):
        step.succeed(Text("1"))


def the_end_of_the_engine(engine: Engine) -> None:
    engine.step().succeed(Text("1"))
    on_end.clear()
    engine.__dict__.clear()


WAYS = [
    recorded_again,
    acknowledged_by_the_service,
    a_retry_after_a_retry,
    an_outcome_after_a_retry,
    options_of_an_invoke,
    a_token_replaced,
    a_token_revoked,
    unsent_when_the_token_was_revoked,
    unsent_when_a_call_failed,
    refused,
    the_end_of_the_engine,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_what_ends_in_the_engine_may_come_back_to_it(way: Callable[[Engine], None]) -> None:
    way(Engine())
    assert gone
