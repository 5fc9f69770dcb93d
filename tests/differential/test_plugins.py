"""What plugins are told, under both SDKs: hook by hook and field by field, operation by operation.

The order between operations that run at the same time is nobody's, so what is compared is the sequence of each
operation, and that of the invocation. What `on_operation_change` tells may come merged: its last state is compared.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from support.both_sdks import OFFICIAL, PERDURE, Answer, Sdk, Stage, World, normal_message, normal_payload, places
from support.plugged import HOOKS, Told, play, recording
from support.workflow_language import AskAndWait, Branch
from support.workflows import WORKFLOWS, WORLD

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.workflow_player import Workflow

INVOCATION = "the invocation"


def compare(body: Callable[[Stage], Any], world: World | None = None, **options: Any) -> list[dict[str, Any]]:
    """Run a workflow under both SDKs, and hold what their plugins were told against each other; give it of perdure."""
    theirs = told_by(play(body, OFFICIAL, world, **options)[1])
    ours = told_by(play(body, PERDURE, world, **options)[1])
    assert [*map(sorted, theirs)] == [*map(sorted, ours)]
    for number, (invocation, mine) in enumerate(zip(theirs, ours, strict=True)):
        for place, hooks in invocation.items():
            different = places(hooks, mine[place])
            assert not different, f"invocation {number + 1}, {place}, official first, perdure second: {different}"
    return ours


def told_by(told: Told) -> list[dict[str, Any]]:
    """Give what was told, an invocation after the other, as the sequence of each operation's hooks."""
    invocations = []
    for invocation in told.invocations:
        execution = next(
            key for key, one in invocation[0][1]["operations"].items() if one["operation_type"] == "EXECUTION"
        )
        places: dict[str, Any] = defaultdict(list)
        changed: dict[str, Any] = {}
        for hook, info, thread in invocation:
            plain = normal(info, execution)
            if hook == "on_operation_change":
                assert thread == "other"
                changed |= {key: one["status"] for key, one in plain["updated_operations"].items()}
            else:
                place = plain.get("operation_id", INVOCATION)
                places[place].append((hook, plain))
        assert [hook for hook, _ in places[INVOCATION]] == ["on_invocation_start", "on_invocation_end"]
        assert [hook for hook, *_ in (invocation[0], invocation[-1])] == ["on_invocation_start", "on_invocation_end"]
        invocations.append({**places, "changed": changed})
    return invocations


def normal(info: Any, execution: str) -> Any:
    """Give an info without what differs from run to run, and with the SDKs' own messages made one."""
    if isinstance(info, dict):
        plain = {key if key != execution else "execution": normal(value, execution) for key, value in info.items()}
        for private in ("execution_arn", "request_id"):
            plain.pop(private, None)
        if plain.get("name") == "":  # none, as perdure tells of it
            plain["name"] = None
        if plain.get("operation_type") == "EXECUTION":
            plain["name"] = "execution"
        if "message" in plain and "stack_trace" in plain:
            plain["message"] = normal_message(plain["message"])
        for payload in ("result", "execution_result"):
            if payload in plain:
                plain[payload] = normal_payload(plain[payload])
        return plain
    return "execution" if info == execution else info


def names(told: list[dict[str, Any]], name: str | None, invocation: int = 0) -> list[str]:
    """Give the hooks of the operation of this name."""
    for hooks in told[invocation].values():
        if isinstance(hooks, list) and hooks[0][1].get("name") == name:
            return [hook.removeprefix("on_") for hook, _ in hooks]
    return []


def fail(*_args: Any) -> Any:
    raise ValueError("user: x")


# ---- one workflow for each thing that may happen to an operation


def a_step_and_a_wait(stage: Stage) -> Any:
    stage.ctx.step(lambda _: 1, "a")
    stage.ctx.wait(stage.seconds(5), "w")
    return stage.ctx.step(lambda _: 2, "b")


def a_retried_step(stage: Stage) -> Any:
    return stage.ctx.step(fail, "a", stage.step_config(2))


def a_failed_step_that_is_caught(stage: Stage) -> Any:
    stage.see("a", lambda: stage.ctx.step(fail, "a", stage.step_config(1)))
    stage.ctx.wait(stage.seconds(1), "w")
    return 1


def a_step_at_most_once(stage: Stage) -> Any:
    semantics = stage.sdk.config.StepSemantics.AT_MOST_ONCE_PER_RETRY
    return stage.ctx.step(lambda _: 1, "a", stage.step_config(1, step_semantics=semantics))


def a_result_that_cannot_be_written(stage: Stage) -> Any:
    return stage.ctx.step(lambda _: object(), "a", stage.step_config(1))


def a_serdes_of_ones_own(stage: Stage) -> Any:
    config = stage.step_config(1, serdes=stage.sdk.serdes.JsonSerDes())
    stage.ctx.step(lambda _: {"a": 1}, "a", config)
    stage.ctx.wait(stage.seconds(1), "w")
    return 1


def no_names(stage: Stage) -> Any:
    stage.ctx.step(lambda _: 1)
    stage.ctx.run_in_child_context(lambda inner: inner.step(lambda _: 2))
    return len(stage.ctx.parallel([lambda inner: inner.step(lambda _: 3)], config=_parallel(stage)).all)


def _parallel(stage: Stage, **options: Any) -> Any:
    return stage.sdk.config.ParallelConfig(max_concurrency=1, **options)


def a_child(stage: Stage) -> Any:
    def inside(inner: Any) -> Any:
        inner.step(lambda _: 1, "in")
        inner.wait(stage.seconds(5), "w")
        return 5

    return stage.ctx.run_in_child_context(inside, "child")


def a_failed_child(stage: Stage) -> Any:
    return stage.ctx.run_in_child_context(lambda inner: inner.step(fail, "in", stage.step_config(1)), "child")


def a_large_child(stage: Stage) -> Any:
    def inside(inner: Any) -> str:
        inner.step(lambda _: 1, "in")
        return "x" * 300_000

    large = stage.ctx.run_in_child_context(inside, "child")
    stage.ctx.wait(stage.seconds(1), "w")
    stage.ctx.wait(stage.seconds(1), "w2")
    return len(large)


def virtual_children(stage: Stage) -> Any:
    virtual = stage.sdk.config.ChildConfig(is_virtual=True)

    def innermost(inner: Any) -> Any:
        inner.step(lambda _: 1, "in")
        return 3

    result = stage.ctx.run_in_child_context(
        lambda outer: outer.run_in_child_context(innermost, "v2", virtual), "v1", virtual
    )
    stage.ctx.step(lambda _: 1, "a")
    return result


def a_wait_in_a_virtual_child(stage: Stage) -> Any:
    virtual = stage.sdk.config.ChildConfig(is_virtual=True)
    return stage.ctx.run_in_child_context(lambda inner: inner.wait(stage.seconds(1), "w"), "v", virtual)


def a_failed_virtual_child(stage: Stage) -> Any:
    return stage.ctx.run_in_child_context(fail, "v", stage.sdk.config.ChildConfig(is_virtual=True))


def a_callback(stage: Stage) -> Any:
    callback = stage.ctx.create_callback("cb")
    stage.ctx.step(lambda _: 1, "a")
    return callback.result()


def a_refused_callback(stage: Stage) -> Any:
    return stage.see("refused", stage.ctx.create_callback("refused").result)


def a_callback_that_nobody_reads(stage: Stage) -> Any:
    stage.ctx.create_callback("cb")
    stage.ctx.wait(stage.seconds(5), "w")
    return 1


def a_callback_in_a_child_that_nobody_reads(stage: Stage) -> Any:
    def inside(inner: Any) -> int:
        inner.create_callback("cb")
        inner.step(lambda _: 1, "in")
        return 1

    stage.ctx.run_in_child_context(inside, "child")
    stage.ctx.wait(stage.seconds(5), "w")
    return 1


def a_wait_for_callback(stage: Stage) -> Any:
    return stage.ctx.wait_for_callback(lambda *_: None, "wfc")


def an_invoke(stage: Stage) -> Any:
    return stage.ctx.invoke("echo", {"a": 1}, "i")


def a_failed_invoke(stage: Stage) -> Any:
    return stage.see("i", lambda: stage.ctx.invoke("broken", {"a": 1}, "i"))


def a_condition(stage: Stage) -> Any:
    waits = stage.sdk.waits

    def decide(state: int, _attempt: int) -> Any:
        decision = waits.WaitForConditionDecision
        return decision.stop_polling() if state >= 2 else decision.continue_waiting(stage.seconds(3))

    config = waits.WaitForConditionConfig(initial_state=0, wait_strategy=decide)
    return stage.ctx.wait_for_condition(lambda state, _: state + 1, config, "c")


def a_failed_condition(stage: Stage) -> Any:
    waits = stage.sdk.waits
    config = waits.WaitForConditionConfig(
        initial_state=0, wait_strategy=lambda *_: waits.WaitForConditionDecision.stop_polling()
    )
    return stage.ctx.wait_for_condition(fail, config, "c")


def _map(stage: Stage, concurrency: int | None = None, **options: Any) -> Any:
    def branch(inner: Any, item: int, *_: Any) -> int:
        inner.step(lambda _: 1, f"in{item}")
        if item == 2:
            inner.wait(stage.seconds(5), "w")
        return item

    config = stage.sdk.config.MapConfig(max_concurrency=concurrency, **options)
    return len(stage.ctx.map([1, 2, 3], branch, "m", config).all)


def a_nested_map(stage: Stage) -> Any:
    return _map(stage)


def a_flat_map(stage: Stage) -> Any:
    return _map(stage, nesting_type=stage.sdk.config.NestingType.FLAT)


def a_named_map(stage: Stage) -> Any:
    return _map(stage, 1, item_namer=lambda item, index: f"item-{item}-{index}")


def a_named_flat_parallel(stage: Stage) -> Any:
    branch = stage.sdk.config.ParallelBranch
    branches = [branch(lambda inner: inner.step(lambda _: 1, "a"), "first"), lambda inner: inner.step(lambda _: 2, "b")]
    config = _parallel(stage, nesting_type=stage.sdk.config.NestingType.FLAT)
    return len(stage.ctx.parallel(branches, "p", config).all)


def a_map_that_ends_early(stage: Stage) -> Any:
    return _map(stage, 1, completion_config=stage.sdk.config.CompletionConfig(min_successful=1))


def a_map_with_failures(stage: Stage) -> Any:
    config = stage.sdk.config.MapConfig(max_concurrency=1, completion_config=stage.tolerant())
    result = stage.ctx.map([1, 2], lambda _, item, *_rest: item if item == 1 else fail(), "m", config)
    stage.ctx.wait(stage.seconds(1), "w")
    return len(result.all)


def a_large_map(stage: Stage) -> Any:
    config = stage.sdk.config.MapConfig(max_concurrency=1)
    result = stage.ctx.map([1, 2], lambda inner, *_: inner.step(lambda _: "x" * 200_000), "m", config)
    stage.ctx.wait(stage.seconds(1), "w")
    return len(result.all)


def a_handler_that_fails(stage: Stage) -> Any:
    stage.ctx.step(lambda _: 1, "a")
    fail()


def a_large_outcome(stage: Stage) -> Any:
    stage.ctx.step(lambda _: 1, "a")
    return "x" * 6_200_000


ECHO: dict[str, Any] = {"echo": lambda event, _context: event, "broken": fail}
CASES = [
    *(a_step_and_a_wait, a_retried_step, a_failed_step_that_is_caught, a_step_at_most_once, no_names),
    *(a_result_that_cannot_be_written, a_serdes_of_ones_own, a_child, a_failed_child, a_large_child),
    *(virtual_children, a_failed_virtual_child, a_callback, a_refused_callback, a_callback_that_nobody_reads),
    *(a_callback_in_a_child_that_nobody_reads, a_wait_for_callback, an_invoke, a_failed_invoke, a_condition),
    *(a_failed_condition, a_nested_map, a_flat_map, a_named_map, a_named_flat_parallel, a_map_that_ends_early),
    *(a_map_with_failures, a_large_map, a_handler_that_fails, a_large_outcome),
]


def world() -> World:
    refused = Answer("failure", error={"ErrorMessage": "user: no", "ErrorType": "No"})
    return World(answers={"refused": refused}, functions=ECHO, event={"order": 7})


@pytest.mark.parametrize("body", CASES, ids=lambda body: body.__name__)
def test_both_sdks_tell_the_same_of(body: Callable[[Stage], Any]) -> None:
    compare(body, world())


@pytest.mark.parametrize("first", [OFFICIAL, PERDURE], ids=lambda sdk: sdk.name)
@pytest.mark.parametrize("body", CASES, ids=lambda body: body.__name__)
def test_an_execution_that_changes_hands_is_told_of_alike(body: Callable[[Stage], Any], first: Sdk) -> None:
    second = PERDURE if first is OFFICIAL else OFFICIAL
    alone = told_by(play(body, first, world())[1])
    mixed = told_by(play(body, [first, second, first, second], world())[1])
    assert not places(alone, mixed)


def test_what_was_awaited_in_a_virtual_child_is_told_of_as_anywhere() -> None:
    """The official SDK takes a virtual child for the end of the recorded history, and tells nobody of such an end."""
    told = told_by(play(a_wait_in_a_virtual_child, PERDURE, world())[1])
    assert names(told, "w") == ["operation_start"]
    assert names(told, "w", 1) == ["operation_end"]
    assert names(told, "v", 1) == ["user_function_start", "user_function_end", "operation_end"]


def test_a_submitter_that_is_to_be_repeated_is_told_of_while_its_callback_is_open() -> None:
    """The official SDK takes an open callback for the end of the recorded history, and tells of nothing behind it."""

    def asked_beside_an_invoke(stage: Stage) -> Any:
        config = stage.sdk.config.WaitForCallbackConfig(retry_strategy=stage.retries(2))
        branches: list[Callable[[Any], Any]] = [
            lambda inner: inner.wait_for_callback(fail, "asked", config),
            lambda inner: inner.invoke("echo", 1, "invoked"),
        ]
        tolerant = stage.sdk.config.ParallelConfig(completion_config=stage.tolerant())
        return len(stage.ctx.parallel(branches, config=tolerant).all)

    theirs, ours = (told_by(play(asked_beside_an_invoke, sdk, world())[1]) for sdk in (OFFICIAL, PERDURE))
    told = [[names(each, "asked submitter", number) for number in range(4)] for each in (theirs, ours)]
    tried = ["operation_start", "user_function_start", "user_function_end"]
    assert told[1] == [tried, ["operation_start"], ["operation_start"], [*tried, "operation_end"]]
    assert told[0] == [tried, [], *told[1][2:]]


# ---- several plugins, and plugins that fail


def failing(hook: str) -> Callable[[Sdk, Told], list[Any]]:
    def factories(sdk: Sdk, told: Told) -> list[Any]:
        def refuse(_info: Any) -> Any:
            raise LookupError(hook)

        return [recording(sdk, told, lambda _told: {hook: refuse})]

    return factories


def of_both(hooks: list[tuple[str, Any, str]]) -> list[tuple[str, Any]]:
    """Give what is told of a sequential workflow, in order."""
    return [(hook, info.get("name")) for hook, info, _ in hooks if hook != "on_operation_change"]


def test_plugins_hear_of_everything_one_after_the_other_in_their_order() -> None:
    for body in (a_step_and_a_wait, an_invoke, a_child):
        seen = []
        for sdk in (OFFICIAL, PERDURE):
            order: list[tuple[str, str]] = []

            def named(sdk: Sdk, name: str, order: list[tuple[str, str]] = order) -> Any:
                def note(hook: str) -> Callable[[Any, Any], None]:
                    return lambda _self, _info: order.append((name, hook))

                own = {hook: note(hook) for hook in (*HOOKS, "provide_propagation_metadata")}
                own.pop("on_operation_change")
                plugin = type("Named", (sdk.plugin.DurableInstrumentationPlugin,), own)
                return type("Factory", (), {"create_plugin": lambda _self, _info: plugin()})()

            play(body, sdk, world(), lambda sdk, _told: [named(sdk, "first"), named(sdk, "second")])
            seen.append(order)
        assert seen[0] == seen[1]
        assert [name for name, _ in seen[1]] == ["first", "second"] * (len(seen[1]) // 2)


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("body", [a_step_and_a_wait, a_child, a_callback], ids=lambda body: body.__name__)
def test_what_a_hook_raises_changes_nothing(body: Callable[[Stage], Any], hook: str) -> None:
    handle, told = play(body, PERDURE, world(), failing(hook))
    calm, well = play(body, PERDURE, world())
    assert (handle.status, handle.result) == (calm.status, calm.result) == ("SUCCEEDED", calm.result)
    _, theirs = play(body, OFFICIAL, world(), failing(hook))
    for mine, others, unharmed in zip(told.invocations, theirs.invocations, well.invocations, strict=True):
        assert of_both(mine) == of_both(others) == of_both(unharmed)


def test_the_first_trace_header_that_a_plugin_gives_goes_along_with_an_invoke() -> None:
    sent = []
    for sdk in (OFFICIAL, PERDURE):
        made: list[str] = []

        def header(sdk: Sdk, made: list[str] = made) -> Callable[[Any], Any]:
            def give(_info: Any) -> Any:
                made.append(f"Root=1-{len(made)}")
                return sdk.plugin.PropagationMetadata(x_amzn_trace_id=made[-1])

            return give

        def factories(sdk: Sdk, told: Told) -> list[Any]:
            silent = recording(sdk, told)
            return [silent, *(_with_header(sdk, told, header(sdk)) for _ in range(2))]

        handle, _ = play(an_invoke, sdk, world(), factories)
        options = [update["ChainedInvokeOptions"] for update in handle.updates if update["Type"] == "CHAINED_INVOKE"]
        sent.append([{key: value for key, value in each.items() if value is not None} for each in options])
    assert sent[0] == sent[1] == [{"FunctionName": "echo", "XAmznTraceId": "Root=1-0"}]


def _with_header(sdk: Sdk, told: Told, give: Callable[[Any], Any]) -> Any:
    return recording(sdk, told, lambda _told: {"provide_propagation_metadata": give})


# ---- workflows that hypothesis writes


def _within_bounds(node: Any, has_siblings: bool = False) -> Any:
    """Give a workflow without what the official SDK takes for the end of the recorded history: see `workflows`.

    A submitter that fails beside siblings is among that: one of them may go on while the callback is open.
    """
    if isinstance(node, tuple):
        return tuple(_within_bounds(each, has_siblings) for each in node)
    if not is_dataclass(node) or isinstance(node, type):
        return node
    has_siblings |= isinstance(node, Branch)
    changes: dict[str, Any] = {one.name: _within_bounds(getattr(node, one.name), has_siblings) for one in fields(node)}
    simple: dict[str, Any] = {"virtual": False, "flat": False, "between": ()}
    if has_siblings and isinstance(node, AskAndWait):
        simple["failures"] = 0
    return replace(node, **{**changes, **{name: value for name, value in simple.items() if name in changes}})


@given(WORKFLOWS.map(_within_bounds))
def test_both_sdks_tell_the_same_of_a_workflow(workflow: Workflow) -> None:
    compare(workflow, WORLD)
