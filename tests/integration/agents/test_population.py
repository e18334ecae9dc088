"""Two orders to one host at the same moment."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.agents.agent_cast import Scout
from tests.support.agents.until import until
from three_mode.agents.calling.session import Session
from three_mode.agents.runtime import lifecycle
from three_mode.agents.runtime.lifecycle import init_schema
from three_mode.agents.runtime.population import Population
from three_mode.agents.wire.importing import path_of
from three_mode.agents.wire.orders import SpawnOrder
from transports.bus import Bus, BusOptions, Closed


@pytest_asyncio.fixture
async def population() -> AsyncIterator[Population]:
    bus = await Bus.join("population-test", BusOptions(label="host"))
    session = Session(bus)
    yield Population(session, "host-1", lambda _: None)
    session.close()
    await bus.leave()


def order(group: str, *roles: str) -> SpawnOrder:
    return SpawnOrder(group, (0,), path_of(Scout), init_schema(Scout).encode_call(group, "__init__", (), {}), roles)


class Gate:
    """Stands before a method of the bus: the first call waits until it is opened, and may fail then."""

    def __init__(self, population: Population, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.inner = getattr(population.session.bus, method)
        self.opened, self.calls, self.fails = asyncio.Event(), 0, False
        monkeypatch.setattr(population.session.bus, method, self.call)

    async def call(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.calls == 1:
            await self.opened.wait()
            if self.fails:
                raise Closed("it failed")
        return await self.inner(*args, **kwargs)


async def heard(population: Population, count: int) -> None:
    """That many agents have the broadcasts so far."""
    await until(lambda: sum(actor.agent.seen for actor in population.actors.values()) >= count)  # type: ignore[attr-defined]


async def test_a_second_order_waits_for_the_subscription_that_the_first_one_makes(
    population: Population, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(population, "subscribe_many", monkeypatch)
    first = asyncio.create_task(lifecycle.spawn(order("first"), population))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(lifecycle.spawn(order("second"), population))
    await asyncio.sleep(0.2)
    assert not second.done()  # it would miss the next broadcast
    gate.opened.set()
    assert await asyncio.gather(first, second) == [{}, {}]
    population.session.bus.publish("news.eu", {"id": 1})
    await heard(population, 2)
    assert gate.calls == 1


async def test_a_second_order_subscribes_where_the_first_one_failed(
    population: Population, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(population, "subscribe_many", monkeypatch)
    gate.fails = True
    first = asyncio.create_task(lifecycle.spawn(order("first"), population))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(lifecycle.spawn(order("second"), population))
    await asyncio.sleep(0.05)
    gate.opened.set()
    assert list(await first) == ["first/0"]
    assert await second == {}
    population.session.bus.publish("news.eu", {"id": 1})
    await heard(population, 1)
    (actor,) = population.actors.values()
    assert (actor.name, len(actor.fanouts)) == ("second/0", 1)


async def test_a_role_of_two_orders_is_on_the_bus_though_one_of_them_failed(
    population: Population, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(population, "register", monkeypatch)
    gate.fails = True
    first = asyncio.create_task(lifecycle.spawn(order("first", "critic"), population))
    await asyncio.sleep(0.05)
    assert await lifecycle.spawn(order("second", "critic"), population) == {}
    gate.opened.set()
    assert list(await first) == ["first/0"]
    assert population.session.bus.locate("any:critic@host-1") == population.session.bus.id
