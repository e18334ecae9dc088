"""A connection to a real NATS server: messages go the direct way, and those that have to wait keep their order."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.cluster.nodes import until
from tests.support.cluster.server import NatsServer, on_each_server
from transports.nats import NatsConnection, NatsOptions
from transports.nats.direct_way import DirectWay


class Listening:
    """A connection that hears what it says, and what no caller waits for."""

    def __init__(self, url: str) -> None:
        self.errors: list[Exception] = []
        self.heard: list[bytes] = []
        self.connection = NatsConnection(NatsOptions(url, connect_within=60.0), self.errors.append)

    async def open(self) -> None:
        await self.connection.open()
        await self.connection.subscribe("said", self._arrived)

    def _arrived(self, payload: bytes) -> None:
        if payload == b"bad":
            raise ValueError("a bad one")
        self.heard.append(payload)


@pytest.fixture
async def server() -> AsyncIterator[NatsServer]:
    async with NatsServer() as server:
        yield server


@pytest.fixture
async def listening(server: NatsServer) -> AsyncIterator[Listening]:
    listening = Listening(server.url)
    await listening.open()
    yield listening
    await listening.connection.close()


@on_each_server
async def test_small_and_large_messages_come_in_the_order_in_which_they_were_published(listening: Listening) -> None:
    sent = [bytes([number % 251]) * (100_000 if number % 7 == 3 else number % 50) for number in range(500)]
    short = 0
    for payload in sent:
        before = len(listening.connection._queue)
        assert listening.connection.publish("said", payload)
        short += len(listening.connection._queue) == before
        if short % 40 == 1:
            await asyncio.sleep(0)
    await until(lambda: len(listening.heard) == len(sent))
    assert listening.heard == sent
    assert 0 < short < len(sent)  # both ways were gone
    assert listening.errors == []


@on_each_server
async def test_a_message_goes_out_and_comes_in_without_a_task_between(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none(*_: object) -> None:
        raise AssertionError("it went the usual way of nats-py")

    monkeypatch.setattr(listening.connection._client, "publish", none)
    listening.connection._direct_way._usual = none  # type: ignore[union-attr]
    assert listening.connection.publish("said", b"one")
    await until(lambda: listening.heard == [b"one"])


async def test_a_callback_that_raises_is_told_and_later_messages_come(listening: Listening) -> None:
    for payload in (b"one", b"bad", b"two"):
        listening.connection.publish("said", payload)
    await until(lambda: listening.heard == [b"one", b"two"])
    assert [str(error) for error in listening.errors] == ["a bad one"]


async def test_a_server_that_starts_anew_is_spoken_to_again(server: NatsServer, listening: Listening) -> None:
    server.kill()
    await until(lambda: not listening.connection.connected)
    assert not listening.connection.publish("said", b"lost")
    await server.start()
    await until(lambda: listening.connection.publish("said", b"again") and b"again" in listening.heard)
    assert b"lost" not in listening.heard


async def test_a_client_that_is_not_as_it_is_known_goes_its_usual_way(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DirectWay, "publish", lambda *_: False)
    monkeypatch.setattr(DirectWay, "takes", lambda *_: None)
    listening = Listening(server.url)
    await listening.open()
    for number in range(20):
        listening.connection.publish("said", bytes([number]))
    await until(lambda: listening.heard == [bytes([number]) for number in range(20)])
    await listening.connection.close()
