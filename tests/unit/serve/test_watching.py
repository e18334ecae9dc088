"""One timer looks after the clients of all answers: a client that goes ends its own answer, and no other."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from tests.support.agents.until import until
from three_mode.serve import watching
from three_mode.serve.watching import Disconnected, EventWatch, Watched


class Client:
    """As the server hands one on: it says when it has gone, and counts who waits to hear that."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.watched = 0

    async def receive(self) -> MutableMapping[str, Any]:
        self.watched += 1
        await self.gone.wait()
        return {"type": "http.disconnect"}


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "EVERY", 0.01)


async def answer(watch: EventWatch, client: Client, work: asyncio.Event) -> str:
    with Watched(watch, client.receive):
        await work.wait()
    return "answered"


async def test_a_client_that_goes_ends_its_answer_and_no_other() -> None:
    watch, leaves, stays, work = EventWatch(), Client(), Client(), asyncio.Event()
    ended = asyncio.create_task(answer(watch, leaves, work))
    other = asyncio.create_task(answer(watch, stays, work))
    leaves.gone.set()
    with pytest.raises(Disconnected):
        await asyncio.wait_for(ended, 5)
    assert not other.done()
    work.set()
    assert await asyncio.wait_for(other, 5) == "answered"
    assert len(watch) == 0, "nothing is kept of answers that are over"


async def test_an_answer_that_is_there_at_once_costs_no_task() -> None:
    watch, client, work = EventWatch(), Client(), asyncio.Event()
    work.set()
    before = len(asyncio.all_tasks())
    with Watched(watch, client.receive):
        assert len(asyncio.all_tasks()) == before
    await asyncio.sleep(0.05)
    assert client.watched == 0


async def test_the_timer_rests_while_nothing_is_answered_and_comes_back() -> None:
    watch = EventWatch()

    async def long_answer() -> None:
        client, work = Client(), asyncio.Event()
        asked = asyncio.create_task(answer(watch, client, work))
        await until(lambda: client.watched > 0)
        work.set()
        assert await asked == "answered"

    for _ in range(2):
        await long_answer()
        await until(lambda: not watch._ticking)


async def test_a_task_that_is_cancelled_by_others_stays_cancelled() -> None:
    watch, client = EventWatch(), Client()
    asked = asyncio.create_task(answer(watch, client, asyncio.Event()))
    await asyncio.sleep(0.05)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert len(watch) == 0
