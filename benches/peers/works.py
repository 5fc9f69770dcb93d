"""The works: what each contender has to do, and how its answer is checked."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from functools import cache
from math import prod
from typing import TYPE_CHECKING, Any

from peers.contenders import BARE, JSON, LAMBDA_CONTEXT, OPTIMISTIC, PERDURE, SDKS, Bare, Sdk
from peers.race import Call, Entry, Work
from peers.service import ARN, EXECUTION_ID, PAGE, TOKEN, Service, event_of, text_of
from peers.values import Receipt, nested, receipt, small, structured
from perdure.identifier import OperationIdNamespace

if TYPE_CHECKING:
    from collections.abc import Callable

    from peers.service import Wire

    Value = Callable[[int], Any]
    Body = Callable[[Any, Any], Any]

NAME = "charge"
ITEMS = 1000
SPANS = ["DurableExecutionRoot", "Invocation", "Workflow"]
"""What is traced of an invocation in which everything is replayed."""

BATCH = 250
"""Updates that one call carries at most."""


class Seen:
    """The values that user code got from the last call."""

    def __init__(self) -> None:
        self.values: Any = None


def expect(given: Any, wanted: Any, what: str) -> None:
    """Insist on equality; bare ``assert`` would go with ``-O``."""
    if given != wanted:
        raise AssertionError(f"{what}: {str(given)[:300]} is not {str(wanted)[:300]}")


def answer(result: Any) -> Wire:
    """Give what an invocation that returned ``result`` answers."""
    return {"Status": "SUCCEEDED", "Result": json.dumps(result)}


# ---- handlers; the same code for every SDK


def steps_body(count: int, value: Value, seen: Seen) -> Body:
    """Run ``count`` steps one after the other."""

    def body(_event: Any, context: Any) -> int:
        values = [context.step(lambda _, number=number: value(number), name=NAME) for number in range(count)]
        seen.values = values
        return len(values)

    return body


def map_body(sdk: Sdk, count: int, concurrency: int | None, seen: Seen) -> Body:
    """Map over ``count`` items, one step each."""
    config = sdk.map_config(concurrency)
    items = list(range(count))

    def work(context: Any, item: int, _index: int, _items: Any) -> Any:
        return context.step(lambda _: small(item), name=NAME)

    def body(_event: Any, context: Any) -> int:
        batch = context.map(items, work, name="orders", config=config)
        values = batch.get_results()
        seen.values = values
        return len(values)

    return body


# ---- recorded histories


def ids(count: int) -> list[str]:
    """Give the ids of the first operations at the root."""
    namespace = OperationIdNamespace()
    return [namespace.create_id_for_step(number) for number in range(1, count + 1)]


def recorded_by(sdk: Sdk, make: Callable[[Seen], Body]) -> list[Wire]:
    """Run a handler on an empty history, and give what it recorded."""
    service, seen = Service(), Seen()
    with sdk.ready():
        sdk.durable(make(seen), service)(event_of([]), LAMBDA_CONTEXT)
    return list(service.operations.values())


@cache
def step_history(count: int, value: Value) -> list[Wire]:
    """Give the history of finished steps."""
    return recorded_by(PERDURE, lambda seen: steps_body(count, value, seen))


@cache
def map_history(count: int) -> list[Wire]:
    """Give the history of a finished map."""
    return recorded_by(PERDURE, lambda seen: map_body(PERDURE, count, 1, seen))


def with_open_parent(operations: list[Wire]) -> list[Wire]:
    """Give the same history just before the map itself was finished."""
    parent = {key: operations[0][key] for key in ("Id", "Type", "SubType", "Name", "StartTimestamp")}
    return [{**parent, "Status": "STARTED"}, *operations[1:]]


# ---- entries


def sdk_entries(
    make: Callable[[Sdk, Seen], Body],
    event_text: str,
    wanted: Any,
    result: Any,
    *,
    latency: float = 0.0,
    operations: list[Wire] | None = None,
    pages: list[list[Wire]] | None = None,
    sdks: tuple[Sdk, ...] = SDKS,
    plugins: Callable[[Sdk], list[Any]] = lambda _sdk: [],
) -> list[Entry]:
    """Give the SDKs' part in a work."""

    def entry(sdk: Sdk) -> Entry:
        service, seen = Service(latency), Seen()
        handler = sdk.durable(make(sdk, seen), service, plugins(sdk))

        def prepare() -> Call:
            service.reset([dict(operation) for operation in operations or ()], pages)
            seen.values = None
            event = json.loads(event_text)

            def verify(output: Any) -> None:
                expect(output, answer(result), f"{sdk.name}'s response")
                expect(seen.values, wanted, f"{sdk.name}'s values")

            return Call(lambda: handler(event, LAMBDA_CONTEXT), verify, lambda: service.calls)

        return Entry(sdk.name, prepare, sdk.ready)

    return [entry(sdk) for sdk in sdks]


def bare_entry(bare: Bare, prepare: Callable[[], tuple[Callable[[], Any], Any, Callable[[], int]]]) -> Entry:
    """Give a bare loop's part; ``prepare`` gives what to run, what it must return, and a count of API calls."""

    def ready_call() -> Call:
        run, wanted, calls = prepare()
        return Call(run, lambda output: expect(output, wanted, f"the loop with {bare.name}"), calls)

    return Entry(bare.name, ready_call, bare.ready)


# ---- works


def empty() -> Work:
    """Return at once."""

    def body(_sdk: Sdk, seen: Seen) -> Body:
        def handler(event: Any, _context: Any) -> int:
            seen.values = event
            return 0

        return handler

    text = text_of(event_of([]))

    def loop(bare: Bare) -> Entry:
        def prepare() -> Any:
            event = json.loads(text)

            def run() -> Wire:
                operations = event["InitialExecutionState"]["Operations"]
                bare.loads(operations[0]["ExecutionDetails"]["InputPayload"])
                return {"Status": "SUCCEEDED", "Result": bare.dumps(0)}

            return run, answer(0), int

        return bare_entry(bare, prepare)

    entries = sdk_entries(body, text, {}, 0) + [loop(bare) for bare in BARE]
    return Work("empty", "empty invocation", entries, repeatable=True, event_text=text)


def replay(count: int, value: Value, label: str, *, weight: float = 1.0) -> Work:
    """Replay finished steps."""
    history = step_history(count, value)
    wanted = [value(number) for number in range(count)]
    text = text_of(event_of(history))
    entries = sdk_entries(lambda _sdk, seen: steps_body(count, value, seen), text, wanted, count)
    entries += [_bare_replay(bare, count, history, wanted) for bare in BARE]
    return Work(
        f"replay-{count}-{label}",
        f"replay of {count:,} steps, {label}",
        entries,
        operations=count,
        repeatable=True,
        event_text=text,
        weight=weight,
    )


def typed_body(sdk: Sdk, count: int, seen: Seen) -> Body:
    """Run ``count`` steps that return a dataclass: by their annotation, or by the serdes that the other SDK needs."""
    config = None if sdk is PERDURE else sdk.module("config").StepConfig(serdes=receipt_serdes(sdk))

    def made(number: int) -> Callable[[Any], Receipt]:
        def charge(_step: Any) -> Receipt:
            return receipt(number)

        return charge

    def body(_event: Any, context: Any) -> int:
        values = [context.step(made(number), name=NAME, config=config) for number in range(count)]
        seen.values = values
        return len(values)

    return body


def receipt_serdes(sdk: Sdk) -> Any:
    """Make the serdes that one would write by hand: no slower than it needs to be."""

    class ReceiptSerDes(sdk.module("serdes").SerDes):  # type: ignore[misc]
        def serialize(self, value: Receipt, _context: Any) -> str:
            return json.dumps({**vars(value), "amount": str(value.amount)})

        def deserialize(self, data: str, _context: Any) -> Receipt:
            members = json.loads(data)
            members["amount"] = Decimal(members["amount"])
            return Receipt(**members)

    return ReceiptSerDes()


def replay_typed(count: int) -> Work:
    """Replay finished steps that have returned a dataclass of ten fields; each SDK what it has recorded itself."""
    wanted = [receipt(number) for number in range(count)]
    entries: list[Entry] = []
    for sdk in SDKS:
        history = recorded_by(sdk, lambda seen, sdk=sdk: typed_body(sdk, count, seen))
        text = text_of(event_of(history))
        entries += sdk_entries(lambda sdk, seen: typed_body(sdk, count, seen), text, wanted, count, sdks=(sdk,))
    return Work(
        f"replay-typed-{count}",
        f"replay of {count:,} steps that return a dataclass of 10 fields",
        entries,
        operations=count,
        repeatable=True,
    )


def contexts_body(widths: tuple[int, ...], count: int, seen: Seen) -> Body:
    """Run ``count`` steps in each of the innermost of contexts within contexts."""

    def inside(context: Any, widths: tuple[int, ...]) -> list[Any]:
        if not widths:
            return [context.step(lambda _, number=number: small(number), name=NAME) for number in range(count)]
        width, *deeper = widths
        found: list[Any] = []
        for _ in range(width):
            found += context.run_in_child_context(lambda inner: inside(inner, tuple(deeper)), name="part")
        return found

    def body(_event: Any, context: Any) -> int:
        seen.values = inside(context, widths)
        return len(seen.values)

    return body


def replay_in_contexts(widths: tuple[int, ...], count: int) -> Work:
    """Replay steps below child contexts, whose results are made anew: no id is remembered, each is hashed."""
    recorded = recorded_by(PERDURE, lambda seen: contexts_body(widths, count, seen))
    again: Wire = {"ReplayChildren": True, "Result": ""}
    history = [{**one, "ContextDetails": again} if one["Type"] == "CONTEXT" else one for one in recorded]
    total = count * prod(widths)
    wanted = [small(number) for number in range(count)] * prod(widths)
    text = text_of(event_of(history))
    entries = sdk_entries(lambda _sdk, seen: contexts_body(widths, count, seen), text, wanted, total)
    within = " of ".join(f"{width} context{'s' * (width > 1)}" for width in widths)
    return Work(
        f"contexts-{'-'.join(map(str, widths))}-{count}",
        f"replay of {total:,} steps in {within}, 45 B",
        entries,
        operations=len(history),
        repeatable=True,
        event_text=text,
    )


def _bare_replay(bare: Bare, count: int, history: list[Wire], wanted: list[Any]) -> Entry:
    plain = [
        {**operation, "StepDetails": {"Attempt": 1, "Result": JSON.dumps(value)}}
        for operation, value in zip(history, wanted, strict=True)
    ]
    text, keys = text_of(event_of(plain)), ids(count)

    def prepare() -> Any:
        event = json.loads(text)

        def run() -> list[Any]:
            loads = bare.loads
            found = {operation["Id"]: operation for operation in event["InitialExecutionState"]["Operations"]}
            return [loads(found[key]["StepDetails"]["Result"]) for key in keys]

        return run, wanted, int

    return bare_entry(bare, prepare)


def pages(count: int = 2500) -> Work:
    """Replay a history of which only the first page comes with the event."""
    history = step_history(count, small)
    wanted = [small(number) for number in range(count)]
    first, rest = history[: PAGE - 1], history[PAGE - 1 :]
    further = [rest[begin : begin + PAGE] for begin in range(0, len(rest), PAGE)]
    text = text_of(event_of(first, marker="0"))
    entries = sdk_entries(lambda _sdk, seen: steps_body(count, small, seen), text, wanted, count, pages=further)
    entries += [_bare_pages(bare, text, further, wanted) for bare in BARE]
    return Work("pages", f"replay of {count:,} steps in {1 + len(further)} pages", entries, count, event_text=text)


def _bare_pages(bare: Bare, text: str, further: list[list[Wire]], wanted: list[Any]) -> Entry:
    service, keys = Service(), ids(len(wanted))

    def prepare() -> Any:
        service.reset(pages=further)
        event = json.loads(text)

        def run() -> list[Any]:
            loads, state = bare.loads, event["InitialExecutionState"]
            found = {operation["Id"]: operation for operation in state["Operations"]}
            while marker := state.get("NextMarker"):
                state = service.get_durable_execution_state(
                    DurableExecutionArn=ARN, CheckpointToken=TOKEN, Marker=marker
                )
                found.update({operation["Id"]: operation for operation in state["Operations"]})
            return [loads(found[key]["StepDetails"]["Result"])["v"]["order_id"]["v"] for key in keys]

        return run, [value["order_id"] for value in wanted], lambda: service.calls

    return bare_entry(bare, prepare)


def fresh(count: int, latency: float, *, weight: float = 1.0) -> Work:
    """Run steps that were never run."""
    text = text_of(event_of([]))
    wanted = [small(number) for number in range(count)]
    sdks = (*SDKS, OPTIMISTIC) if latency else SDKS
    entries = sdk_entries(
        lambda _sdk, seen: steps_body(count, small, seen), text, wanted, count, latency=latency, sdks=sdks
    )
    bare_loops = (JSON,) if latency else BARE
    entries += [_bare_fresh(bare, count, small, wanted, latency) for bare in bare_loops]
    milliseconds = f"{latency * 1000:g} ms"
    return Work(
        f"fresh-{count}-{latency * 1000:g}ms",
        f"{count} fresh steps, {milliseconds} service",
        entries,
        operations=count,
        weight=weight,
    )


def plugged(count: int, sdks: tuple[Sdk, ...] = (PERDURE,)) -> Work:
    """Run steps that were never run, without a plugin, with one that overrides nothing, and one that overrides all."""
    text = text_of(event_of([]))
    wanted = [small(number) for number in range(count)]

    def entries(plugins: Callable[[Sdk], list[Any]], suffix: str, sdks: tuple[Sdk, ...] = sdks) -> list[Entry]:
        made = sdk_entries(
            lambda _sdk, seen: steps_body(count, small, seen), text, wanted, count, sdks=sdks, plugins=plugins
        )
        return [replace(entry, name=f"{entry.name}{suffix}") for entry in made]

    contenders = [
        *entries(lambda _sdk: [], "", (PERDURE,)),
        *entries(lambda sdk: [sdk.plugin(overrides=False)], "-silent", (PERDURE,)),
        *entries(lambda sdk: [sdk.plugin(overrides=True)], "-all"),
    ]
    return Work(f"plugin-{count}", f"{count:,} fresh steps, 0 ms service, plugins", contenders, operations=count)


def traced(count: int) -> Work:
    """Replay finished steps with AWS's plugin for OpenTelemetry, whose spans are kept in memory."""
    history = step_history(count, small)
    wanted = [small(number) for number in range(count)]
    text = text_of(event_of(history))

    def entry(sdk: Sdk) -> Entry:
        factory, exporter = sdk.tracing()
        (made,) = sdk_entries(
            lambda _sdk, seen: steps_body(count, small, seen),
            text,
            wanted,
            count,
            sdks=(sdk,),
            plugins=lambda _: [factory],
        )

        def prepare() -> Call:
            exporter.clear()
            call = made.prepare()

            def verify(output: Any) -> None:
                call.verify(output)
                spans = sorted({span.name for span in exporter.get_finished_spans()})
                expect(spans, SPANS, f"{sdk.name}'s spans")

            return replace(call, verify=verify)

        return replace(made, prepare=prepare)

    title = f"replay of {count:,} steps, 45 B, traced by OpenTelemetry"
    entries = [entry(sdk) for sdk in SDKS]
    return Work(f"traced-{count}", title, entries, operations=count, repeatable=True, event_text=text)


def _bare_fresh(bare: Bare, count: int, value: Value, wanted: list[Any], latency: float) -> Entry:
    service, keys = Service(latency), ids(count)

    def run() -> list[Any]:
        token, values = TOKEN, []
        for number, key in enumerate(keys):
            payload = bare.dumps(value(number))
            common = {"Id": key, "Type": "STEP", "SubType": "Step", "Name": NAME}
            response = service.checkpoint_durable_execution(
                DurableExecutionArn=ARN,
                CheckpointToken=token,
                Updates=[{**common, "Action": "START"}, {**common, "Action": "SUCCEED", "Payload": payload}],
            )
            token = response["CheckpointToken"]
            values.append(bare.loads(payload))
        return values

    def prepare() -> Any:
        service.reset()
        return run, wanted, lambda: service.calls

    return bare_entry(bare, prepare)


def map_fresh(concurrency: int | None, latency: float = 0.0, *, weight: float = 1.0) -> Work:
    """Run a map from the start."""
    text = text_of(event_of([]))
    wanted = [small(number) for number in range(ITEMS)]
    entries = sdk_entries(
        lambda sdk, seen: map_body(sdk, ITEMS, concurrency, seen), text, wanted, ITEMS, latency=latency
    )
    entries += [_bare_map_fresh(bare, concurrency, wanted, latency) for bare in ((JSON,) if latency else BARE)]
    return Work(
        f"map-fresh-{concurrency or 'none'}-{latency * 1000:g}ms",
        f"map of {ITEMS:,}, {_shown(concurrency)}, fresh, {latency * 1000:g} ms service",
        entries,
        operations=ITEMS,
        weight=weight,
    )


def map_in_batches(count: int, size: int, latency: float, *, weight: float = 1.0) -> Work:
    """Run a map of small items from the start: a branch an item, and, with perdure alone, a branch for many."""
    text = text_of(event_of([]))
    wanted = [small(number) for number in range(count)]
    items = list(range(count))

    def of_items(_sdk: Sdk, seen: Seen) -> Body:
        def body(_event: Any, context: Any) -> int:
            seen.values = context.map(items, lambda _inner, item, *_: small(item), name="orders").get_results()
            return len(seen.values)

        return body

    def of_batches(_sdk: Sdk, seen: Seen) -> Body:
        from perdure import ItemBatcher  # noqa: PLC0415

        def body(_event: Any, context: Any) -> int:
            batch = context.map(
                items, lambda _inner, some, *_: [small(item) for item in some], batcher=ItemBatcher(max_items=size)
            )
            seen.values = batch.get_results()
            return len(seen.values)

        return body

    (batched,) = sdk_entries(of_batches, text, wanted, count, latency=latency, sdks=(PERDURE,))
    return Work(
        f"map-items-{count}-{latency * 1000:g}ms",
        f"map of {count:,} items without steps, fresh, {latency * 1000:g} ms service",
        [
            *sdk_entries(of_items, text, wanted, count, latency=latency),
            replace(batched, name=f"perdure-in batches of {size}"),
        ],
        operations=count,
        weight=weight,
    )


def _shown(concurrency: int | None) -> str:
    return "unlimited" if concurrency is None else f"concurrency {concurrency}"


def _bare_map_fresh(bare: Bare, concurrency: int | None, wanted: list[Any], latency: float) -> Entry:
    """Record as many items at once as may be in flight and as one call carries: first the steps, then the items."""
    service = Service(latency)
    (parent,) = ids(1)
    inside = OperationIdNamespace(parent)
    keys = [inside.create_id_for_step(index) for index in range(ITEMS)]
    step_keys = [OperationIdNamespace(key).create_id_for_step(1) for key in keys]
    at_once = min(concurrency or ITEMS, BATCH // 3)

    def send(updates: list[Wire]) -> None:
        service.checkpoint_durable_execution(DurableExecutionArn=ARN, CheckpointToken=TOKEN, Updates=updates)

    def run() -> list[Any]:
        whole = {"Id": parent, "Type": "CONTEXT", "SubType": "Map", "Name": "orders"}
        waiting: list[Wire] = [{**whole, "Action": "START"}]
        values: list[Any] = []
        for begin in range(0, ITEMS, at_once):
            ends = []
            for index in range(begin, min(begin + at_once, ITEMS)):
                name = f"map-item-{index}"
                item = {
                    "Id": keys[index],
                    "Type": "CONTEXT",
                    "SubType": "MapIteration",
                    "Name": name,
                    "ParentId": parent,
                }
                step = {
                    "Id": step_keys[index],
                    "Type": "STEP",
                    "SubType": "Step",
                    "Name": NAME,
                    "ParentId": keys[index],
                }
                payload = bare.dumps(small(index))
                values.append(bare.loads(payload))
                waiting += [
                    {**item, "Action": "START"},
                    {**step, "Action": "START"},
                    {**step, "Action": "SUCCEED", "Payload": payload},
                ]
                ends.append({**item, "Action": "SUCCEED", "Payload": payload})
            send(waiting)
            send(ends)
            waiting = []
        send([{**whole, "Action": "SUCCEED", "Payload": bare.dumps(values)}])
        return values

    def prepare() -> Any:
        service.reset()
        return run, wanted, lambda: service.calls

    return bare_entry(bare, prepare)


def map_replay(*, parent_open: bool, concurrency: int | None = None, count: int = ITEMS) -> Work:
    """Replay a map whose items are all done."""
    history = map_history(count)
    if parent_open:
        history = with_open_parent(history)
    wanted = [small(number) for number in range(count)]
    text = text_of(event_of(history))
    entries = sdk_entries(
        lambda sdk, seen: map_body(sdk, count, concurrency, seen), text, wanted, count, operations=history
    )
    entries += [_bare_map_replay(bare, history, wanted, parent_open=parent_open) for bare in BARE]
    state = f"all items done, map still open, {_shown(concurrency)}" if parent_open else "finished"
    key = f"map-open-{count}-{concurrency or 'none'}" if parent_open else "map-finished"
    return Work(key, f"map of {count:,}, replay: {state}", entries, operations=count, event_text=text)


def _bare_map_replay(bare: Bare, history: list[Wire], wanted: list[Any], *, parent_open: bool) -> Entry:
    parent, *inner = history
    items = [operation for operation in inner if operation["Type"] == "CONTEXT"]
    keys = [operation["Id"] for operation in items]
    plain = [
        {**operation, "ContextDetails": {"Result": JSON.dumps(value)}}
        for operation, value in zip(items, wanted, strict=True)
    ]
    whole = parent if parent_open else {**parent, "ContextDetails": {"Result": JSON.dumps(wanted)}}
    text = text_of(event_of([whole, *plain]))
    service = Service()

    def prepare() -> Any:
        service.reset([whole])
        event = json.loads(text)

        def run() -> list[Any]:
            loads = bare.loads
            found = {operation["Id"]: operation for operation in event["InitialExecutionState"]["Operations"]}
            if not parent_open:
                return loads(found[parent["Id"]]["ContextDetails"]["Result"])  # type: ignore[no-any-return]
            values = [loads(found[key]["ContextDetails"]["Result"]) for key in keys]
            end = {"Id": parent["Id"], "Type": "CONTEXT", "SubType": "Map", "Name": "orders", "Action": "SUCCEED"}
            service.checkpoint_durable_execution(
                DurableExecutionArn=ARN, CheckpointToken=TOKEN, Updates=[{**end, "Payload": bare.dumps(values)}]
            )
            return values

        return run, wanted, lambda: service.calls

    return bare_entry(bare, prepare)


def structured_works() -> list[Work]:
    """Run and replay one step with a large structured result."""
    value = structured()
    history = recorded_by(PERDURE, lambda seen: steps_body(1, _structured, seen))
    size = len(history[0]["StepDetails"]["Result"]) // 1000

    def body(_sdk: Sdk, seen: Seen) -> Body:
        return steps_body(1, _structured, seen)

    begun, done = text_of(event_of([])), text_of(event_of(history))
    first = sdk_entries(body, begun, [value], 1) + [_bare_fresh(bare, 1, _structured, [value], 0.0) for bare in BARE]
    again = sdk_entries(body, done, [value], 1) + [_bare_replay(bare, 1, history, [value]) for bare in BARE]
    return [
        Work("structured-first", f"one {size} KB structured result, first run", first),
        Work("structured-replay", f"one {size} KB structured result, replay", again, event_text=done),
    ]


def _structured(_number: int) -> Any:
    return structured()


def check_recorders() -> None:
    """Insist that the SDKs record the same operations, so that a history may come from either."""
    from peers.contenders import PATCHED  # noqa: PLC0415

    for value in (small, nested):
        ours, theirs = (
            recorded_by(sdk, lambda seen, value=value: steps_body(5, value, seen)) for sdk in (PERDURE, PATCHED)
        )
        expect(_by_id(ours), _by_id(theirs), "what perdure records and what the official SDK records")


def _by_id(operations: list[Wire]) -> dict[str, Wire]:
    return {operation["Id"]: operation for operation in operations if operation["Id"] != EXECUTION_ID}
