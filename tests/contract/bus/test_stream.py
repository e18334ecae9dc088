"""Streams of replies on every carrier: credit, leaving and failing."""

import asyncio
from typing import Any

import pytest

from tests.support.bus.members import Members, eventually
from transports.bus import (
    CallCancelled,
    NoSuchName,
    RemoteError,
    Request,
)


async def test_stream_of_replies_with_credit(group: Members) -> None:
    a, b = await group.join(), await group.join()
    produced: list[int] = []

    async def produce(request: Request) -> None:
        out = request.open_stream()
        for n in range(100):
            await out.send(n)
            produced.append(n)
        out.end()

    tasks: list[asyncio.Task[None]] = []
    await b.register("x", lambda request: tasks.append(asyncio.create_task(produce(request))))
    await a.wait_for("x")
    async with a.stream("x", None, credit=4) as parts:
        first = await anext(parts)
        await asyncio.sleep(0.1)
        assert len(produced) <= 8
        assert [first.payload, *[part.payload async for part in parts]] == list(range(100))
    await asyncio.gather(*tasks)


async def test_leaving_a_stream_cancels_the_far_side(group: Members) -> None:
    a, b = await group.join(), await group.join()
    ended: list[BaseException] = []

    async def produce(request: Request) -> None:
        out = request.open_stream()
        try:
            while True:
                await out.send(1)
        except CallCancelled as error:
            ended.append(error)

    tasks: list[asyncio.Task[None]] = []
    await b.register("x", lambda request: tasks.append(asyncio.create_task(produce(request))))
    await a.wait_for("x")
    async with a.stream("x", None) as parts:
        async for _ in parts:
            break
    await eventually(lambda: ended)
    await asyncio.gather(*tasks)


async def test_closing_a_stream_ends_whoever_waits_for_its_parts(group: Members) -> None:
    a, b = await group.join(), await group.join()
    await b.register("silent", Request.open_stream)
    await a.wait_for("silent")
    parts = a.stream("silent", 1)

    async def read() -> list[Any]:
        return [part.payload async for part in parts]

    readers = [asyncio.create_task(read()) for _ in range(2)]
    await eventually(lambda: b.status().open_requests)
    await parts.aclose()
    async with asyncio.timeout(5):
        assert await asyncio.gather(*readers) == [[], []]


async def test_a_stream_that_could_not_begin_says_so_each_time(group: Members) -> None:
    bus = await group.join()
    parts = bus.stream("nobody", 1)
    async with asyncio.timeout(5):
        for _ in range(2):
            with pytest.raises(NoSuchName):
                await anext(parts)
        await parts.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(parts)


async def test_stream_that_fails_midway(group: Members) -> None:
    a, b = await group.join(), await group.join()

    def serve(request: Request) -> None:
        out = request.open_stream()
        assert out.try_send(1)
        out.fail("broke", "midway")

    await b.register("x", serve)
    await a.wait_for("x")
    got: list[Any] = []
    with pytest.raises(RemoteError, match="midway"):  # noqa: PT012
        async for part in a.stream("x", None):
            got.append(part.payload)  # noqa: PERF401 - what came before the error counts
    assert got == [1]
