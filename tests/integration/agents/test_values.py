"""Values beyond plain data, as arguments and results, between two processes."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import pytest_asyncio

from tests.support.agents.value_cast import Keeper, Order, Part
from three_mode.agents import AgentGroup, AgentRef, Orchestrator, OrchestratorOptions, replay
from three_mode.errors import BadCall

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXACT = [
    (1, (2, "x")),
    {1, 2},
    frozenset({("a", 1)}),
    datetime(2026, 1, 2, 3, 4, 5, 6),
    datetime(2026, 7, 2, 3, tzinfo=timezone(timedelta(hours=2))),
    datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
    {"deep": [{"pair": (1, 2)}, {3}], (1, 2): timedelta(seconds=3)},
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def orc() -> AsyncIterator[Orchestrator]:
    async with Orchestrator(hosts=2) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keepers(orc: Orchestrator) -> AgentGroup:
    return await orc.spawn(Keeper, 2, name="keeper")


@pytest.mark.parametrize("value", EXACT, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("by_name", [False, True])
async def test_values_without_a_hint_come_back_as_they_went(keepers: AgentGroup, value: Any, by_name: bool) -> None:
    came = await keepers[0].ask("same" if by_name else Keeper.same, value)
    assert came == value
    assert type(came) is type(value)
    assert [part async for part in keepers[0].stream(Keeper.each, [value])] == [value]
    assert (await keepers.gather(Keeper.same, value)).values == dict.fromkeys(keepers.names, value)


async def test_a_sender_without_the_hint_reaches_a_handler_with_one(keepers: AgentGroup) -> None:
    assert await keepers[0].ask("pair", (1, 2)) == [1, 2]  # the answer has a hint at the agent, and none here
    assert await keepers[0].ask("pair", value=(1, 2)) == [1, 2]
    with pytest.raises(BadCall, match="argument 'value'"):
        await keepers[0].ask("pair", {1, "x"})


async def test_what_is_broadcast_arrives_as_it_went(orc: Orchestrator, keepers: AgentGroup) -> None:
    for topic in ("open", "hinted"):
        assert (await (await orc.broadcast(topic, (1, 2))).settled(5.0)).complete
    assert (await keepers[1].ask(Keeper.all_heard))[-2:] == [(1, 2), (1, 2)]


async def test_models_of_pydantic_are_arguments_and_results(keepers: AgentGroup) -> None:
    sent = Order(Item="nut", parts=[Part(number=2)], tags={"a"})
    for handler in (Keeper.order, "order"):
        came = await keepers[0].ask(handler, sent)  # type: ignore[call-overload]
        assert came == (Order(Item="nut", parts=[Part(number=2)], tags={"a", "seen"}) if handler != "order" else came)
    assert came == {"item": "nut", "parts": [{"number": 2}], "tags": {"a", "seen"}}  # without a hint it is data
    assert (await keepers[0].ask(Keeper.order, order={"Item": "nut"})).item == "nut"  # type: ignore[arg-type]
    with pytest.raises(BadCall, match=r"argument 'order'.*parts\.0\.number: Input should be greater than 0"):
        await keepers[0].ask("order", {"Item": "nut", "parts": [{"number": 0}]})


async def test_arrays_and_scalars_of_numpy_are_arguments_and_results(keepers: AgentGroup) -> None:
    for array in (np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(2, 3).T, np.zeros((0, 3)), np.array(1.5)):
        came = await keepers[0].ask(Keeper.double, array)
        assert came.dtype == array.dtype
        np.testing.assert_array_equal(came, array * 2)
    assert await keepers[0].ask(Keeper.mean, np.arange(3)) == 1.0
    assert await keepers[0].ask(Keeper.same, np.int64(3)) == 3
    with pytest.raises(BadCall, match="expected ndarray of float64, got ndarray of int64"):
        await keepers[0].ask("double", np.arange(3))
    with pytest.raises(BadCall, match="holds Python objects"):
        await keepers[0].ask(Keeper.same, np.array([object()]))


async def test_a_large_array_travels(keepers: AgentGroup) -> None:
    array = np.random.default_rng(1).random((512, 512))
    np.testing.assert_array_equal(await keepers[1].ask(Keeper.same, array), array)


async def test_references_work_in_the_other_process(orc: Orchestrator, keepers: AgentGroup) -> None:
    assert await keepers[0].ask(Keeper.ask_peer, keepers[1], "hi") == "keeper/1 hi"
    assert (await keepers[0].ask(Keeper.ask_any, orc.any("keeper"), "hi")).startswith("keeper/")
    assert await keepers[0].ask("ask_all", keepers[:2]) == ["keeper/0 all", "keeper/1 all"]
    ref = await keepers[1].ask(Keeper.me)
    assert isinstance(ref, AgentRef)
    assert await ref.ask(Keeper.who, "back") == "keeper/1 back"
    await keepers[0].tell(Keeper.tell_peer, ref)  # a plain handler that nobody waits for
    await keepers[0].ask(Keeper.who, "then")
    assert (await keepers[1].ask(Keeper.all_heard))[-1] == "told"


async def test_a_recorded_run_with_such_values_is_replayed(tmp_path: Path) -> None:
    path = tmp_path / "run.rec"
    async with Orchestrator(hosts=0, options=OrchestratorOptions(record=str(path))) as recorded:
        keepers = await recorded.spawn(Keeper, 2, name="keeper")
        assert await keepers[0].ask(Keeper.pass_on, keepers[1], (1, {2}, np.arange(2).sum())) == (1, {2}, 1)
        assert await keepers[0].ask(Keeper.ask_peer, keepers[1], "hi") == "keeper/1 hi"
        assert (await (await recorded.broadcast("hinted", (1, 2))).settled(5.0)).complete
    replayed = await asyncio.to_thread(replay, path)
    assert replayed.divergence is None
    assert (replayed.messages, replayed.effects) == (7, 3)
