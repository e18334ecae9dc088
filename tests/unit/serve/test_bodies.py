"""Bodies that are being read share one bound: the oldest is given up for the others."""

import asyncio

import pytest

from three_mode.errors import InvalidRequest
from three_mode.serve import wire_in
from three_mode.serve.bodies import Bodies
from three_mode.serve.watching import CutShort, EventWatch, Limited


async def test_the_oldest_is_cut_short() -> None:
    bodies, watch = Bodies(100), EventWatch()
    reading = [asyncio.Event() for _ in range(3)]

    async def read(begun: asyncio.Event) -> None:
        with Limited(watch, 60) as block:
            try:
                bodies.hold(block, 40)
                begun.set()
                await asyncio.Event().wait()
            finally:
                bodies.release(block)

    tasks = []
    for begun in reading:
        tasks.append(asyncio.create_task(read(begun)))
        await begun.wait()
    with pytest.raises(CutShort):
        await tasks[0]
    assert (len(bodies), bodies.total) == (2, 80)
    for task in tasks[1:]:
        task.cancel()
    await asyncio.gather(*tasks[1:], return_exceptions=True)
    assert (len(bodies), bodies.total) == (0, 0)


async def test_one_that_is_too_large_by_itself_ends_itself() -> None:
    bodies, watch = Bodies(100), EventWatch()

    async def read() -> None:
        with Limited(watch, 60) as block:
            bodies.hold(block, 101)
            await asyncio.sleep(1)

    with pytest.raises(CutShort):
        await read()
    assert bodies.total == 0


def test_messages_are_counted_before_they_are_checked() -> None:
    body = b'{"model":"m","messages":[' + b",".join([b'{"role":"user","content":"x"}'] * 11) + b"]}"
    assert len(wire_in.read_chat(body, 1.0, 11).request.messages) == 11
    with pytest.raises(InvalidRequest, match="at most 10 messages"):
        wire_in.read_chat(body, 1.0, 10)
