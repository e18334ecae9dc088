"""The orchestrator asks its hosts for events again and again, for as long as somebody listens."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from three_mode.agents.handlers.codec import decoder_for
from three_mode.agents.supervisor import asked_hosts
from three_mode.agents.supervisor.llm_events import LLMEventCollector
from three_mode.agents.wire.orders import EventsOrder
from transports.bus import NoSuchName

_order = decoder_for(EventsOrder)


class Hosts:
    """One host that notes what it is asked for, and answers when its gate is open."""

    def __init__(self) -> None:
        self.running = [SimpleNamespace(label="host-1")]
        self.session: Any = SimpleNamespace(bus=self)
        self.asked: list[tuple[str, ...]] = []
        self.gate, self.gone = asyncio.Event(), False
        self.gate.set()

    async def ask(self, to: str, payload: Any, topic: str, within: float) -> None:
        assert (to, topic) == ("host:host-1", "llm_events")
        self.asked.append(_order(payload.raw).kinds)
        await self.gate.wait()
        if self.gone:
            raise NoSuchName("it has ended")

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.001)


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(asked_hosts, "_AGAIN", 0.005)
    return Hosts


async def test_a_reader_that_comes_while_the_hosts_are_told_to_stop(hosts: type[Hosts]) -> None:
    fake: Any = hosts()
    collector = LLMEventCollector(fake.session, fake)
    first = collector.reader(["retry"], 8)
    await fake.until(lambda: bool(fake.asked))
    fake.gate.clear()
    first.close()
    await fake.until(lambda: fake.asked[-1] == ())
    second = collector.reader(["budget"], 8)
    fake.gate.set()
    await fake.until(lambda: fake.asked[-3:] == [("budget",)] * 3)
    second.close()
    await fake.until(lambda: fake.asked[-1] == ())
    await collector.close()


async def test_a_host_that_is_gone_hinders_no_reader(hosts: type[Hosts]) -> None:
    fake: Any = hosts()
    fake.gone = True
    collector = LLMEventCollector(fake.session, fake)
    async with collector.reader(["retry"], 8):
        await fake.until(lambda: len(fake.asked) > 3)
    await collector.close()
