"""Wait strategies."""

from __future__ import annotations

import pytest

from perdure.config import Duration, JitterStrategy
from perdure.exceptions import WaitForConditionError
from perdure.waits import WaitForConditionConfig, WaitForConditionDecision, WaitStrategyConfig, create_wait_strategy


def pending(state: str) -> bool:
    return state != "done"


CONFIG = WaitStrategyConfig(pending, 4, 2, 5.0, 2, JitterStrategy.NONE)


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 2), (2, 4), (3, 5)])
def test_delays_grow_until_the_cap(attempt: int, seconds: int) -> None:
    decision = create_wait_strategy(CONFIG)("pending", attempt)
    assert decision == WaitForConditionDecision(should_continue=True, delay=Duration(seconds))


def test_the_condition_met_on_the_last_check_wins() -> None:
    assert create_wait_strategy(CONFIG)("done", 4) == WaitForConditionDecision.stop_polling()


def test_the_last_check_gives_up_and_says_what_to_change() -> None:
    with pytest.raises(WaitForConditionError, match=r"exhausted 4 attempts.*max_attempts"):
        create_wait_strategy(CONFIG)("pending", 4)


def test_a_decision_takes_seconds() -> None:
    assert WaitForConditionDecision.continue_waiting(1.5).delay_seconds == 2


def test_a_config_holds_the_strategy_and_the_state() -> None:
    strategy = create_wait_strategy(CONFIG)
    assert WaitForConditionConfig(strategy, "queued").initial_state == "queued"
